#include "backends/fake/fake_backend.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/text.h"

namespace rerankd {
namespace {

constexpr Duration kCancelPoll = std::chrono::milliseconds(2);

BackendCaps CapsOf(const FakeOptions& options) {
  BackendCaps caps;
  caps.name = "fake";
  caps.device = "cpu";
  caps.precision = "fp32";
  caps.details = "scripted double, scores mean nothing";
  caps.padded = options.padded;
  caps.max_tokens = options.max_tokens;
  caps.max_rows = options.max_rows;
  caps.num_labels = options.num_labels;
  caps.batch_tokens = options.batch_tokens;
  return caps;
}

uint64_t HashInt(uint64_t hash, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ ((value >> shift) & 0xFFU)) * 0x100000001B3ULL;
  return hash;
}

Result<double> ParseNumber(std::string_view key, std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || !(value >= 0 && value <= 1e9))
    return InvalidArgument("device option " + std::string(key) + "='" + copy +
                           "' is not a number from 0 to 1e9");
  return value;
}

Status SetOption(std::string_view key, double value, FakeOptions* options) {
  const int integer = static_cast<int>(value);
  const std::vector<std::pair<std::string, int*>> integers = {
      {"fail_every", &options->fail_every}, {"out_of_memory_every", &options->out_of_memory_every},
      {"nan_every", &options->nan_every},   {"lost_after", &options->lost_after},
      {"num_labels", &options->num_labels}, {"max_tokens", &options->max_tokens},
      {"max_rows", &options->max_rows},     {"batch_tokens", &options->batch_tokens}};
  std::vector<std::string> names = {"ms_per_token", "ms_per_batch", "padded"};
  for (const auto& [name, field] : integers) {
    if (name == key) return *field = integer, Status();
    names.push_back(name);
  }
  if (key == "ms_per_token") return options->ms_per_token = value, Status();
  if (key == "ms_per_batch") return options->ms_per_batch = value, Status();
  if (key == "padded") return options->padded = value != 0, Status();
  return InvalidArgument("device option '" + std::string(key) + "' of backend fake is not one of " +
                         Join(names, ", ") + Hint(key, names));
}

// False if `cancel` was seen.
bool Wait(double ms, const CancelFlag& cancel) {
  const TimePoint end = SteadyClock::Get().Now() + FromMs(ms);
  for (TimePoint now = SteadyClock::Get().Now(); now < end; now = SteadyClock::Get().Now()) {
    if (cancel.cancelled()) return false;
    std::this_thread::sleep_for(std::min<Duration>(end - now, kCancelPoll));
  }
  return true;
}

}  // namespace

Result<FakeOptions> ParseFakeOptions(std::string_view device, FakeOptions options) {
  if (device == "cpu" || device == "fake") return options;
  constexpr std::string_view kPrefix = "fake:";
  if (!device.starts_with(kPrefix))
    return InvalidArgument("device '" + std::string(device) +
                           "' of backend fake is not 'cpu' or 'fake:key=value,...'");
  for (const std::string_view item : Split(device.substr(kPrefix.size()), ',')) {
    const size_t equals = std::min(item.find('='), item.size());
    const std::string_view key = item.substr(0, equals);
    RERANKD_ASSIGN_OR_RETURN(const double value,
                             ParseNumber(key, item.substr(std::min(equals + 1, item.size()))));
    RERANKD_RETURN_IF_ERROR(SetOption(key, value, &options));
  }
  if (options.num_labels < 1 || options.max_tokens < 1 || options.batch_tokens < 1)
    return InvalidArgument("num_labels, max_tokens and batch_tokens of backend fake must be at least 1");
  return options;
}

float FakeLogit(std::span<const int32_t> ids, int label) {
  uint64_t hash = HashInt(0xCBF29CE484222325ULL, static_cast<uint32_t>(label));
  for (const int32_t id : ids) hash = HashInt(hash, static_cast<uint32_t>(id));
  return static_cast<float>(hash % 20001) / 1000.0F - 10.0F;
}

FakeBackend::FakeBackend(FakeOptions options) : options_(std::move(options)), caps_(CapsOf(options_)) {}

Status FakeBackend::Warmup(std::span<const int> lengths) {
  for (const int length : lengths)
    if (length > caps_.max_tokens)
      return InvalidArgument("warm-up length " + std::to_string(length) + " is above max_tokens " +
                             std::to_string(caps_.max_tokens));
  return {};
}

Status FakeBackend::Score(const Batch& batch, const CancelFlag& cancel, std::span<float> logits,
                          BatchStats* stats) {
  const TimePoint start = SteadyClock::Get().Now();
  if (options_.on_score) options_.on_score(batch);
  ++calls_;
  if (lost()) return health();
  const int64_t computed = options_.padded ? batch.padded_tokens() : batch.tokens();
  const double ms = options_.ms_per_batch + options_.ms_per_token * static_cast<double>(computed);
  if (!Wait(ms, cancel)) return Cancelled("cancelled while scoring");
  if (options_.fail_every > 0 && calls_ % options_.fail_every == 0)
    return Internal("scripted failure of call " + std::to_string(calls_));
  if (options_.out_of_memory_every > 0 && calls_ % options_.out_of_memory_every == 0)
    return ResourceExhausted("scripted lack of memory of call " + std::to_string(calls_));
  size_t at = 0;
  for (const EncodedPair& pair : batch.pairs())
    for (int label = 0; label < caps_.num_labels; ++label) logits[at++] = FakeLogit(pair.ids, label);
  if (options_.nan_every > 0 && calls_ % options_.nan_every == 0)
    logits.front() = std::numeric_limits<float>::quiet_NaN();
  if (stats != nullptr) *stats = {ToMs(SteadyClock::Get().Now() - start), computed};
  return {};
}

Status FakeBackend::health() const {
  if (!lost()) return {};
  return Unavailable("the scripted device is lost after " + std::to_string(options_.lost_after) + " calls");
}

}  // namespace rerankd
