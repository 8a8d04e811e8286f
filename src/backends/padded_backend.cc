#include "backends/padded_backend.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <new>
#include <numeric>
#include <utility>

#include "base/clock.h"

namespace rerankd {

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
    for (const int rows : {1, std::max(1, caps_.batch_tokens / length)}) {
      Batch batch;
      for (int i = 0; i < rows; ++i) batch.Add({ids, types});
      std::vector<float> logits(static_cast<size_t>(rows * caps_.num_labels));
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
    const size_t fitting = static_cast<size_t>(caps_.batch_tokens) / batch[rest.front()].ids.size();
    const std::span<const int> rows = rest.first(std::clamp<size_t>(fitting, 1, rest.size()));
    Fill(batch, rows);
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

Status PaddedBackend::RunGuarded(std::span<float> logits) {
  const std::string what =
      caps_.name + " failed on " + std::to_string(in_.rows) + " x " + std::to_string(in_.longest) + " tokens";
  try {
    RERANKD_RETURN_IF_ERROR(Run(in_, logits).WithContext(what));
    if (std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); }))
      return {};
    return Internal(what + ": a logit is missing or not finite");
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(what + ": out of memory; lower scheduler.batch_tokens");
  } catch (const std::exception& error) {
    return Internal(what + ": " + error.what());
  }
}

Status PaddedBackend::Note(Status status) {
  failures_ = status.ok() ? 0 : failures_ + 1;
  if (failures_ >= kMaxFailures && health_.ok())
    health_ =
        Unavailable(std::to_string(failures_) + " failures in a row, the last one: " + status.message());
  return status;
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
