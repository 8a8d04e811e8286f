#include "config/reference_keys.h"

namespace rerankd {
namespace {

using Kind = ReferenceKey::Kind;

constexpr ReferenceKey kKeys[] = {
    {"batching.length_aware_batching", Kind::kAlias, "batching.length_aware",
     "the reference system did not read this spelling and left its batches unsorted"},
    {"scheduler.enable_length_aware_batching", Kind::kAlias, "batching.length_aware",
     "the reference system did not read this key and left its batches unsorted"},
    {"server.port", Kind::kAlias, "server.grpc_port", "the reference system did not read this spelling"},
    {"experiment.batch_size", Kind::kAlias, "experiment.batch_sizes", ""},
    {"experiment.concurrency", Kind::kAlias, "experiment.concurrency_levels", ""},
    {"experiment.num_requests", Kind::kAlias, "experiment.benchmark_requests", ""},
    {"experiment.duration_s", Kind::kAlias, "experiment.benchmark_duration_s", ""},
    {"model.compiled.mode", Kind::kAlias, "model.compile_mode", ""},
    {"model.mlx.group_size", Kind::kAlias, "model.group_size", ""},
    {"model.quantization", Kind::kPrecision, "", ""},
    {"model.use_fp16", Kind::kPrecision, "", ""},
    {"model.quantized", Kind::kPrecision, "", ""},
    {"model.quantization_mode", Kind::kPrecision, "", ""},
    {"model.mps.fp16", Kind::kPrecision, "", ""},
    {"model.mlx.bits", Kind::kPrecision, "", ""},
    {"model.compiled.fp16", Kind::kPrecision, "", ""},
    {"model.compile", Kind::kInert, "", "only backend 'compiled' compiles, and it always does"},
    {"model.compile_model", Kind::kInert, "", "only backend 'compiled' compiles, and it always does"},
    {"model.mps.compile", Kind::kInert, "", "only backend 'compiled' compiles, and it always does"},
    {"model.onnx_optimize", Kind::kInert, "", "graph optimisation is always on"},
    {"model.onnx.optimize", Kind::kInert, "", "graph optimisation is always on"},
    {"model.onnx.use_gpu", Kind::kInert, "", "model.device decides"},
    {"batching.sequence_packing", Kind::kInert, "", "the native engine never pads"},
    {"scheduler.enable_stage_timing", Kind::kInert, "", "stages are always timed", true},
    {"tokenizer_pool.enabled", Kind::kInert, "", "the pool always exists", true},
    {"pipeline.enabled", Kind::kInert, "", "the pipeline always exists", true},
    {"screenshot.enabled", Kind::kInert, "", "reports need no screenshots", false},
    {"screenshot.output_dir", Kind::kInert, "", "reports need no screenshots", false},
    {"prometheus_url", Kind::kInert, "", "the server keeps its own history"},
    {"defaults", Kind::kInert, "",
     "groups of a composed file are not read: the defaults of docs/settings.md apply"},
};

}  // namespace

std::span<const ReferenceKey> ReferenceKeys() { return kKeys; }

const ReferenceKey* FindReferenceKey(std::string_view key) {
  for (const ReferenceKey& row : kKeys)
    if (row.key == key) return &row;
  return nullptr;
}

}  // namespace rerankd
