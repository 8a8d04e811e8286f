#include "backends/onnx/provider_options.h"

#include <algorithm>
#include <cstdlib>

#include "backends/onnx/onnx_model.h"
#include "backends/padded_backend.h"
#include "base/text.h"

namespace rerankd::ort {
namespace {

// "input_ids:32x128,attention_mask:32x128,token_type_ids:32x128"
std::string Shapes(int rows, int tokens) {
  std::vector<std::string> shapes;
  for (const char* input : OnnxModel::kInputs)
    shapes.push_back(std::string(input) + ":" + std::to_string(rows) + "x" + std::to_string(tokens));
  return Join(shapes, ",");
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here calls setenv
  return value != nullptr ? value : "";
}

}  // namespace

std::string CudaIndex(const std::string& device) {
  const size_t colon = device.find(':');
  return colon == std::string::npos ? "0" : device.substr(colon + 1);
}

int TensorRtRows(int max_positions) { return std::max(1, kGpuRectangle / std::max(1, max_positions)); }

ProviderOptions TensorRtSettings(const std::string& device, const std::string& precision, int max_positions,
                                 const std::string& cache) {
  const int rows = TensorRtRows(max_positions);
  ProviderOptions options = {{"device_id", CudaIndex(device)},
                             {"trt_fp16_enable", precision == "fp16" ? "1" : "0"},
                             {"trt_int8_enable", "0"},
                             {"trt_profile_min_shapes", Shapes(1, 1)},
                             {"trt_profile_opt_shapes", Shapes(rows, std::min(128, max_positions))},
                             {"trt_profile_max_shapes", Shapes(rows, max_positions)}};
  if (cache.empty()) return options;
  options.insert(options.end(), {{"trt_engine_cache_enable", "1"},
                                 {"trt_engine_cache_path", cache},
                                 {"trt_timing_cache_enable", "1"},
                                 {"trt_timing_cache_path", cache}});
  return options;
}

std::string TensorRtCache() {
  std::string cache = Environment("XDG_CACHE_HOME");
  if (const std::string home = Environment("HOME"); cache.empty() && !home.empty()) cache = home + "/.cache";
  return cache.empty() ? "" : cache + "/rerankd/tensorrt";
}

}  // namespace rerankd::ort
