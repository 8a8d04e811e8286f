#include "backends/padded_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <new>
#include <numeric>
#include <utility>

#include "base/clock.h"

namespace rerankd {
namespace {

// About what a rectangle needs at its peak: activations of one layer, its attention weights, a few copies of
// each.
size_t PeakBytes(const ModelConfig& config, int rows, int longest) {
  const auto width = static_cast<size_t>(8 * config.hidden_size + 6 * config.intermediate_size);
  const size_t attention = 3 * static_cast<size_t>(config.num_heads) * static_cast<size_t>(longest);
  return static_cast<size_t>(rows) * static_cast<size_t>(longest) * (width + attention) * sizeof(float);
}

// Engines that run out of memory in the middle end the process (MLX, on a CPU) or give no result ever after
// (OpenVINO, PyTorch): so they are not asked for what a limit of the process (ulimit -v) or the system's rule
// of overcommitment refuses. Nothing is touched, which costs microseconds, and promises nothing of pages that
// the system has lent twice.
bool HasMemory(size_t bytes) {
  if (bytes == 0) return true;
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return false;
  munmap(block, bytes);
  return true;
}

constexpr const char* kLessMemory = "lower scheduler.batch_tokens or model.threads";

}  // namespace

PaddedBackend::PaddedBackend(BackendCaps caps, const ModelConfig& config)
    : caps_(std::move(caps)), config_(config) {
  caps_.padded = true;
  caps_.max_tokens = config.max_positions;
  caps_.num_labels = config.num_labels;
}

// One pair alone and a full rectangle of each length.
Status PaddedBackend::Warmup(std::span<const int> lengths) {
  for (const int wanted : lengths) {
    const int length = std::clamp(wanted, 1, caps_.max_tokens);
    const std::vector<int32_t> ids(static_cast<size_t>(length), 0);
    const std::vector<uint8_t> types(static_cast<size_t>(length), 0);
    for (const size_t rows : {size_t{1}, Rows(length)}) {
      Batch batch;
      for (size_t i = 0; i < rows; ++i) batch.Add({ids, types});
      std::vector<float> logits(rows * static_cast<size_t>(caps_.num_labels));
      RERANKD_RETURN_IF_ERROR(Score(batch, CancelFlag(), logits, nullptr));
    }
  }
  return {};
}

Status PaddedBackend::Score(const Batch& batch, const CancelFlag& cancel, std::span<float> logits,
                            BatchStats* stats) {
  const TimePoint start = SteadyClock::Get().Now();
  const auto labels = static_cast<size_t>(caps_.num_labels);
  RERANKD_RETURN_IF_ERROR(CheckBatch(config_, batch, logits.size()));
  order_.resize(batch.pairs().size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(),
                   [&](int a, int b) { return batch[a].ids.size() > batch[b].ids.size(); });
  int64_t computed = 0;
  for (std::span<const int> rest = order_; !rest.empty();) {
    if (cancel.cancelled()) return Cancelled("cancelled while scoring");
    const std::span<const int> rows =
        rest.first(std::min(Rows(static_cast<int>(batch[rest.front()].ids.size())), rest.size()));
    Fill(batch, rows);
    RERANKD_RETURN_IF_ERROR(CheckMemory());
    out_.assign(rows.size() * labels, std::numeric_limits<float>::quiet_NaN());
    RERANKD_RETURN_IF_ERROR(Note(RunGuarded(out_)));
    for (size_t r = 0; r < rows.size(); ++r)
      std::copy_n(out_.begin() + static_cast<ptrdiff_t>(r * labels), labels,
                  logits.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(rows[r]) * labels));
    computed += int64_t{in_.rows} * in_.longest;
    rest = rest.subspan(rows.size());
  }
  if (stats != nullptr) *stats = {ToMs(SteadyClock::Get().Now() - start), computed};
  return {};
}

size_t PaddedBackend::Rows(int longest) const {
  const int fitting = std::max(1, caps_.batch_tokens / longest);
  return static_cast<size_t>(caps_.max_rows > 0 ? std::min(fitting, caps_.max_rows) : fitting);
}

void PaddedBackend::Fill(const Batch& batch, std::span<const int> rows) {
  in_.rows = static_cast<int>(rows.size());
  in_.longest = static_cast<int>(batch[rows.front()].ids.size());
  in_.padded = static_cast<int>(batch[rows.back()].ids.size()) < in_.longest;
  const size_t cells = rows.size() * static_cast<size_t>(in_.longest);
  for (std::vector<int64_t>* values : {&in_.ids, &in_.type_ids, &in_.mask}) values->assign(cells, 0);
  auto at = ptrdiff_t{0};
  for (const int row : rows) {
    const EncodedPair& pair = batch[row];
    std::copy(pair.ids.begin(), pair.ids.end(), in_.ids.begin() + at);
    std::copy(pair.type_ids.begin(), pair.type_ids.end(), in_.type_ids.begin() + at);
    std::fill_n(in_.mask.begin() + at, pair.ids.size(), 1);
    at += in_.longest;
  }
}

std::string PaddedBackend::Failed() const {
  return caps_.name + " failed on " + std::to_string(in_.rows) + " x " + std::to_string(in_.longest) +
         " tokens: ";
}

// No failure of the engine, which has not been asked. Memory of another device is its own to count.
Status PaddedBackend::CheckMemory() const {
  const size_t bytes = caps_.device == "cpu" ? PeakBytes(config_, in_.rows, in_.longest) : 0;
  if (HasMemory(bytes)) return {};
  return ResourceExhausted(Failed() + "out of memory: about " + std::to_string(bytes >> 20) +
                           " MiB are needed; " + kLessMemory);
}

Status PaddedBackend::RunGuarded(std::span<float> logits) {
  Status status;
  try {
    status = Run(in_, logits);
  } catch (const std::exception& error) {
    status = StatusOf(error);
  }
  if (status.code() == Code::kResourceExhausted)
    return ResourceExhausted(Failed() + "out of memory: " + status.message() + "; " + kLessMemory);
  if (!status.ok()) return {status.code(), Failed() + status.message()};
  if (std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); })) return {};
  return Internal(Failed() + "a logit is missing or not finite");
}

Status PaddedBackend::Note(Status status) {
  failures_ = status.ok() ? 0 : failures_ + 1;
  if (failures_ >= kMaxFailures && health_.ok())
    health_ =
        Unavailable(std::to_string(failures_) + " failures in a row, the last one: " + status.message());
  return status;
}

// Who says it: C++'s own and OpenVINO; PyTorch for CUDA and MPS, MLX for Metal; PyTorch for the CPU; MLX for
// the CPU; ONNX Runtime for the CPU and CUDA; the system; OpenVINO for GPUs.
bool MeansOutOfMemory(std::string_view message) {
  constexpr std::string_view kWords[] = {"bad_alloc",
                                         "bad allocation",
                                         "out of memory",
                                         "Out of memory",
                                         "can't allocate memory",
                                         "Unable to allocate",
                                         "Failed to allocate memory",
                                         "is smaller than requested bytes",
                                         "Cannot allocate memory",
                                         "CL_OUT_OF_RESOURCES",
                                         "CL_MEM_OBJECT_ALLOCATION_FAILURE",
                                         "ALLOC_FAILED"};
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](std::string_view words) { return message.find(words) != std::string_view::npos; });
}

Status StatusOf(const std::exception& error) {
  const bool memory =
      dynamic_cast<const std::bad_alloc*>(&error) != nullptr || MeansOutOfMemory(error.what());
  return memory ? ResourceExhausted(error.what()) : Internal(error.what());
}

bool HasVnni() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512vnni") != 0;
#else
  return true;
#endif
}

Status NoSuchDevice(const std::string& device, const std::string& backend, const std::string& reason) {
  return FailedPrecondition("device '" + device + "' of backend " + backend + ": " + reason);
}

}  // namespace rerankd
