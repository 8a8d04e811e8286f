#include "load/result.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/cpu.h"
#include "load/spread.h"

namespace rerankd::load {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kLateMs = 1;  // sends later than this at the 99th percentile are the generator's own fault
constexpr double kSloPercentile = 99;
constexpr double kSingleStreamPercentile = 90;  // MLPerf's figure of that scenario
constexpr int64_t kFewForP99 = 1000;
constexpr double kSlowMedians = 10;

// The numbers of a repeat that have an interval over all of them.
struct RepeatNumber {
  const char* key;
  const char* label;
  double LoadRepeat::*value;
};
constexpr RepeatNumber kRepeatNumbers[] = {
    {"requests_per_s", "requests/s", &LoadRepeat::requests_per_s},
    {"pairs_per_s", "pairs/s", &LoadRepeat::pairs_per_s},
    {"goodput_requests_per_s", "goodput, requests/s", &LoadRepeat::goodput_requests_per_s},
    {"p50_ms", "latency p50, ms", &LoadRepeat::p50_ms},
    {"p99_ms", "latency p99, ms", &LoadRepeat::p99_ms}};

std::vector<double> OfRepeats(const LoadResult& r, double LoadRepeat::*value) {
  std::vector<double> values;
  for (const LoadRepeat& repeat : r.repeats) values.push_back(repeat.*value);
  return values;
}

double Rate(int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; }

Json ToJson(const Times& times) {
  if (times.count() == 0) return nullptr;
  return {{"count", times.count()},      {"mean", times.mean()},
          {"min", times.min()},          {"p50", times.Percentile(50)},
          {"p90", times.Percentile(90)}, {"p95", times.Percentile(95)},
          {"p99", times.Percentile(99)}, {"p99_9", times.Percentile(99.9)},
          {"max", times.max()}};
}

Json OutcomesJson(const Summary& summary) {
  Json list = Json::array();
  for (const OutcomeSummary* o : summary.outcomes()) {
    Json j = {{"outcome", OutcomeName(o->outcome)},
              {"status", o->status},
              {"count", o->count},
              {"latency_ms", ToJson(o->latency)}};
    if (!o->detail.empty()) j["detail"] = o->detail;
    list.push_back(std::move(j));
  }
  return list;
}

Json WindowsJson(const Summary& summary) {
  Json list = Json::array();
  for (const Window& w : summary.windows()) {
    Json j = {{"due", w.due}, {"ok", w.ok}, {"pairs", w.pairs}};
    if (w.ok > 0) {
      j["p50_ms"] = w.latency.Percentile(50);
      j["p99_ms"] = w.latency.Percentile(99);
    }
    list.push_back(std::move(j));
  }
  return list;
}

Json LoadJson(const LoadOptions& o, const LoadResult& r) {
  Json j = {{"mode", r.mode}, {"docs_per_request", o.documents}};
  if (r.mode == "closed") j["concurrency"] = o.concurrency;
  if (r.rate > 0) j["rate"] = r.rate;
  if (r.rate > 0 && o.arrivals == "poisson") j["seed"] = r.seed;
  if (!o.scenario.empty()) j["scenario"] = o.scenario;
  return j;
}

Json ClientJson(const LoadOptions& o, const LoadResult& r) {
  const double thousands = static_cast<double>(r.summary.requests()) / 1000;
  Json j = {{"cpu_s", r.stats.client_cpu_s},
            {"system_cpu_s", r.stats.client_system_s},
            {"cpu_ms_per_request", thousands > 0 ? r.stats.client_cpu_s / thousands : 0},
            {"peak_in_flight", r.stats.peak_in_flight},
            {"timing_error_ms", ToJson(r.summary.timing_error())}};
  if (r.mode != "closed") {
    j["max_in_flight"] = o.max_in_flight;
    j["held_by_max_in_flight"] = r.stats.held;
  }
  return j;
}

Json ServerJson(const LoadResult& r) {
  if (r.server.cpu_s < 0) return nullptr;
  return {{"cpu_s", r.server.cpu_s},
          {"pairs_per_cpu_s", Rate(r.summary.ok_pairs(), r.server.cpu_s)},
          {"resident_bytes_before", r.server.resident_before},
          {"resident_bytes_after", r.server.resident_after}};
}

Json ToJson(const Capacity& capacity) {
  return {{"requests_per_s", capacity.requests_per_s}, {"in_flight", capacity.in_flight}};
}

double RatioOf(const Times& real, const Times& ideal, double percentile) {
  return ideal.Percentile(percentile) > 0 ? real.Percentile(percentile) / ideal.Percentile(percentile) : 0;
}

Json IdealJson(const LoadResult& r) {
  const IdealComparison& ideal = *r.ideal;
  return {{"servers", ideal.servers},
          {"capacity_requests_per_s", ideal.capacity_per_s},
          {"alone_mean_ms", ideal.alone_mean_ms},
          {"latency_ms", ToJson(ideal.latency)},
          {"real_by_ideal",
           {{"p50", RatioOf(r.summary.latency(), ideal.latency, 50)},
            {"p90", RatioOf(r.summary.latency(), ideal.latency, 90)},
            {"p99", RatioOf(r.summary.latency(), ideal.latency, 99)}}}};
}

Json RepeatsJson(const LoadResult& r) {
  Json j = {{"count", r.repeats.size()}};
  for (const RepeatNumber& number : kRepeatNumbers) {
    const std::vector<double> values = OfRepeats(r, number.value);
    j[number.key] = {{"values", values}};
    if (const auto interval = IntervalOfMean(values)) {
      j[number.key]["mean"] = interval->mean;
      j[number.key]["interval"] = {interval->low, interval->high};
    }
  }
  return j;
}

std::string RepeatRows(const LoadResult& r) {
  std::string text =
      fmt::format("\n{:<22}{:>12}{:>26}\n", fmt::format("{} repeats", r.repeats.size()), "mean", "95 %");
  for (const RepeatNumber& number : kRepeatNumbers) {
    const std::vector<double> values = OfRepeats(r, number.value);
    const double mean =
        std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
    const auto interval = IntervalOfMean(values);
    text += fmt::format("{:<22}{:>12.6g}{:>26}\n", number.label, mean,
                        interval ? fmt::format("{:.6g} .. {:.6g}", interval->low, interval->high) : "-");
  }
  return text;
}

Json SpeedJson(const LoadResult& r) {
  return {{"step_ns_before", r.speed_before.step_ns},
          {"step_ns_after", r.speed_after.step_ns},
          {"change", SpeedChange(r.speed_before, r.speed_after)}};
}

// The one number that a scenario is about.
std::string ScenarioLine(const LoadOptions& o, const LoadResult& r) {
  if (o.scenario == "single-stream")
    return fmt::format("single-stream: {:g}th percentile of latency {:.2f} ms\n", kSingleStreamPercentile,
                       r.summary.latency().Percentile(kSingleStreamPercentile));
  if (o.scenario == "offline")
    return fmt::format("offline: {:.1f} pairs/s\n", Rate(r.summary.ok_pairs(), r.stats.seconds));
  return "";
}

// Of the seconds of one repeat but the first and the last, which are not whole: pairs of a closed loop, the
// median latency of an open one.
std::vector<double> WholeSeconds(const LoadResult& r) {
  std::vector<double> values;
  const auto& windows = r.summary.windows();
  for (size_t i = 1; i + 1 < windows.size(); ++i)
    values.push_back(r.mode == "closed" ? static_cast<double>(windows[i].pairs)
                                        : windows[i].latency.Percentile(50));
  return values;
}

void WarnOfSpread(const LoadResult& r, std::vector<std::string>* warnings) {
  const std::vector<double> rates = OfRepeats(r, &LoadRepeat::pairs_per_s);
  for (const size_t i : OutliersOf(rates))
    warnings->push_back(fmt::format("repeat {} is an outlier: {:.1f} pairs/s, the median is {:.1f}", i + 1,
                                    rates[i], Median(rates)));
  const bool repeated = r.repeats.size() > 1;
  if (const auto change = DriftOf(repeated ? rates : WholeSeconds(r)))
    warnings->push_back(fmt::format("{} {} by {:.1f} % from the first half to the second",
                                    repeated || r.mode == "closed" ? "the rate" : "the median latency",
                                    *change > 0 ? "rose" : "fell", std::abs(100 * *change)));
  const Times& latency = r.summary.latency();
  if (latency.max() > kSlowMedians * latency.Percentile(50))
    warnings->push_back(fmt::format("the slowest request took {:.1f} ms, more than {:g} times the median",
                                    latency.max(), kSlowMedians));
}

std::string TimesRow(const char* name, const Times& t) {
  if (t.count() == 0) return "";
  return fmt::format("{:<16}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}\n", name,
                     t.mean(), t.min(), t.Percentile(50), t.Percentile(90), t.Percentile(99),
                     t.Percentile(99.9), t.max());
}

std::string OutcomeRows(const Summary& summary) {
  std::string text;
  for (const OutcomeSummary* o : summary.outcomes()) {
    const std::string name =
        fmt::format("{}{}", OutcomeName(o->outcome),
                    o->status != 0 && o->outcome != Outcome::kOk ? fmt::format(" ({})", o->status) : "");
    text +=
        fmt::format("  {:<28}{:>9}{}\n", name, o->count, o->detail.empty() ? "" : "  first: " + o->detail);
  }
  return text;
}

const char* PartialMark(bool interrupted) { return interrupted ? " (PARTIAL)" : ""; }

std::string Headline(const LoadOptions& o, const LoadResult& r) {
  std::string text = fmt::format("{} loop, {} documents a request", r.mode, o.documents);
  if (r.mode == "closed") text += fmt::format(", {} in flight", o.concurrency);
  if (r.rate > 0) text += fmt::format(", {:.6g} requests/s", r.rate);
  if (o.rate_share) text += fmt::format(" ({:.4g} % of capacity)", 100 * *o.rate_share);
  return fmt::format("{} ({}): {}{}\n", o.target.url, o.target.protocol, text, PartialMark(r.interrupted));
}

}  // namespace

bool MeetsSlo(const LoadResult& r) {
  const Summary& s = r.summary;
  return s.slo_ms() > 0 && s.requests() > 0 &&
         static_cast<double>(s.good()) >= kSloPercentile / 100 * static_cast<double>(s.requests());
}

std::vector<std::string> Warnings(const LoadOptions& options, const LoadResult& r) {
  std::vector<std::string> warnings;
  const Summary& s = r.summary;
  if (!r.stats.lost.empty()) warnings.push_back(r.stats.lost);
  if (r.interrupted) warnings.push_back("interrupted: what was sent until then counts");
  if (!r.log_fault.empty()) warnings.push_back(r.log_fault);
  if (!r.warm_up.steady && options.warm_up_s > 0)
    warnings.push_back(fmt::format("the rate was not steady after {:.1f} s of warm-up", r.warm_up.seconds));
  if (r.stats.clock_went_back > 0)
    warnings.push_back(fmt::format("the clock went back {} times: latencies then are lower bounds",
                                   r.stats.clock_went_back));
  if (options.documents > r.dataset_pairs)
    warnings.push_back(
        fmt::format("a request holds {} documents of a data set of {}: a target that scores equal "
                    "documents once does less work than the pairs/s say",
                    options.documents, r.dataset_pairs));
  if (const double change = SpeedChange(r.speed_before, r.speed_after); std::abs(change) > kSpeedTolerance)
    warnings.push_back(fmt::format("this machine was {:.0f} % {} after the load than before it",
                                   std::abs(100 * change), change > 0 ? "faster" : "slower"));
  WarnOfSpread(r, &warnings);
  if (r.stats.held > 0)
    warnings.push_back(fmt::format("{} requests were sent late because {} were unanswered (--max-in-flight)",
                                   r.stats.held, options.max_in_flight));
  else if (s.timing_error().Percentile(99) > kLateMs)
    warnings.push_back(
        fmt::format("1 % of the requests were sent {:.2f} ms late or more: this machine is too busy",
                    s.timing_error().Percentile(99)));
  return warnings;
}

std::string ResultToJson(const LoadOptions& options, const LoadResult& r) {
  const Summary& s = r.summary;
  Json j = {
      {"format", "rerankd-load"},
      {"version", 1},
      {"partial", r.interrupted},
      {"target", options.target.url},
      {"protocol", options.target.protocol},
      {"data", {{"name", r.dataset_name}, {"sha256", r.dataset_sha256}, {"pairs", r.dataset_pairs}}},
      {"load", LoadJson(options, r)},
      {"machine", {{"cpu", GetCpuInfo().model}, {"cores", GetCpuInfo().physical_cores}}},
      {"warm_up",
       {{"requests", r.warm_up.requests}, {"seconds", r.warm_up.seconds}, {"steady", r.warm_up.steady}}},
      {"seconds", r.stats.seconds},
      {"requests", {{"sent", r.stats.sent}, {"ok", s.ok()}, {"failed", s.requests() - s.ok()}}},
      {"requests_per_s", Rate(s.ok(), r.stats.seconds)},
      {"pairs_per_s", Rate(s.ok_pairs(), r.stats.seconds)},
      {"goodput_requests_per_s", Rate(s.good(), r.stats.seconds)},
      {"goodput_pairs_per_s", Rate(s.good_pairs(), r.stats.seconds)},
      {"latency_ms", ToJson(s.latency())},
      {"outcomes", OutcomesJson(s)},
      {"stages_ms",
       {{"queue", ToJson(s.queue())},
        {"tokenize", ToJson(s.tokenize())},
        {"inference", ToJson(s.inference())}}},
      {"client", ClientJson(options, r)},
      {"server", ServerJson(r)},
      {"machine_speed", SpeedJson(r)}};
  if (r.repeats.size() > 1) j["repeats"] = RepeatsJson(r);
  if (r.capacity) j["capacity"] = ToJson(*r.capacity);
  if (r.ideal) j["ideal"] = IdealJson(r);
  if (s.slo_ms() > 0) j["slo"] = {{"p99_ms", s.slo_ms()}, {"met", MeetsSlo(r)}};
  if (s.retry_after().count() > 0)
    j["retry_after_s"] = {{"count", s.retry_after().count()},
                          {"min", s.retry_after().min() / 1000},
                          {"max", s.retry_after().max() / 1000}};
  j["windows"] = WindowsJson(s);
  j["warnings"] = Warnings(options, r);
  return j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ResultTable(const LoadOptions& options, const LoadResult& r) {
  const Summary& s = r.summary;
  std::string text = Headline(options, r);
  text += fmt::format("{} requests in {:.2f} s: {:.1f} requests/s, {:.1f} pairs/s", r.stats.sent,
                      r.stats.seconds, Rate(s.ok(), r.stats.seconds), Rate(s.ok_pairs(), r.stats.seconds));
  if (s.slo_ms() > 0)
    text += fmt::format("; within {:g} ms: {:.1f} requests/s, SLO {}", s.slo_ms(),
                        Rate(s.good(), r.stats.seconds), MeetsSlo(r) ? "met" : "missed");
  text += "\n" + ScenarioLine(options, r) + "\n" + OutcomeRows(s);
  text += fmt::format("\n{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "ms", "mean", "min", "p50",
                      "p90", "p99", "p99.9", "max");
  text += TimesRow("latency", s.latency()) + TimesRow("  queue", s.queue()) +
          TimesRow("  tokenise", s.tokenize()) + TimesRow("  inference", s.inference());
  if (r.mode != "closed") text += TimesRow("sent late", s.timing_error());
  if (r.ideal) {
    text += TimesRow("ideal server", r.ideal->latency);
    text += fmt::format(
        "\nreal / ideal: p50 {:.2f}, p99 {:.2f}; ideal: {} at once, {:.1f} ms alone, {:.1f} requests/s\n",
        RatioOf(s.latency(), r.ideal->latency, 50), RatioOf(s.latency(), r.ideal->latency, 99),
        r.ideal->servers, r.ideal->alone_mean_ms, r.ideal->capacity_per_s);
  }
  if (r.repeats.size() > 1) text += RepeatRows(r);
  text += fmt::format("\nclient: {:.2f} s of CPU, at most {} requests in flight\n", r.stats.client_cpu_s,
                      r.stats.peak_in_flight);
  if (r.server.cpu_s >= 0)
    text +=
        fmt::format("server: {:.2f} s of CPU, {:.1f} pairs per CPU-second, resident {:.1f} -> {:.1f} MB\n",
                    r.server.cpu_s, Rate(s.ok_pairs(), r.server.cpu_s),
                    static_cast<double>(r.server.resident_before) / 1e6,
                    static_cast<double>(r.server.resident_after) / 1e6);
  return text;
}

namespace {

Json ToJson(const RateTrial& t) {
  return {{"rate", t.rate},     {"met", t.met},       {"cut", t.cut},
          {"sent", t.sent},     {"ok", t.ok},         {"p50_ms", t.p50_ms},
          {"p99_ms", t.p99_ms}, {"within", t.within}, {"timing_error_p99_ms", t.timing_error_p99_ms}};
}

}  // namespace

std::string TrialLine(const RateTrial& t) {
  return fmt::format("{:>12.4g}{:>10}{:>10.2f}{:>10.2f}{:>11.2f} %  {}{}", t.rate, t.sent, t.p50_ms, t.p99_ms,
                     100 * t.within, t.met ? "met" : "missed", t.cut ? ", ended early" : "");
}

std::string MaxRateTable(const LoadOptions& o, const MaxRateResult& r) {
  std::string text = fmt::format(
      "{} ({}): {} arrivals, {} documents a request, 99 % within {:g} "
      "ms{}\n\n{:>12}{:>10}{:>10}{:>10}{:>13}\n",
      o.target.url, o.target.protocol, o.arrivals, o.documents, o.slo_ms, PartialMark(r.interrupted),
      "requests/s", "sent", "p50 ms", "p99 ms", "within");
  for (const RateTrial& trial : r.trials) text += TrialLine(trial) + "\n";
  text += fmt::format("\nclosed loop: {:.4g} requests/s with {} in flight\n", r.capacity.requests_per_s,
                      r.capacity.in_flight);
  if (r.rate <= 0)
    return text + (r.trials.empty() ? "no rate was tried\n" : "no rate that was tried keeps the limit\n");
  return text + fmt::format("highest rate: {:.4g} requests/s, {:.4g} pairs/s, {:.0f} % of the closed loop\n",
                            r.rate, r.rate * o.documents, 100 * r.rate / r.capacity.requests_per_s);
}

std::string MaxRateToJson(const LoadOptions& o, const MaxRateResult& r) {
  Json j = {{"format", "rerankd-max-rate"},
            {"version", 1},
            {"partial", r.interrupted},
            {"target", o.target.url},
            {"protocol", o.target.protocol},
            {"arrivals", o.arrivals},
            {"docs_per_request", o.documents},
            {"slo", {{"p99_ms", o.slo_ms}}},
            {"capacity", ToJson(r.capacity)},
            {"max_rate_requests_per_s", r.rate},
            {"max_rate_pairs_per_s", r.rate * o.documents},
            {"confirmed", r.confirmed},
            {"trials", Json::array()},
            {"warnings", MaxRateWarnings(r)}};
  for (const RateTrial& trial : r.trials) j["trials"].push_back(ToJson(trial));
  j["best"] = r.best ? Json::parse(ResultToJson(o, *r.best)) : Json(nullptr);
  return j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> MaxRateWarnings(const MaxRateResult& r) {
  std::vector<std::string> warnings;
  if (r.interrupted) warnings.push_back("interrupted: the search is not finished");
  if (r.rate > 0 && !r.confirmed && !r.interrupted)
    warnings.push_back("the rate was met in one trial only: the trials allowed are used up");
  const RateTrial* best = nullptr;
  for (const RateTrial& trial : r.trials)
    if (trial.rate == r.rate && trial.met) best = &trial;
  if (best == nullptr) return warnings;
  if (best->sent < kFewForP99)
    warnings.push_back(
        fmt::format("a 99th percentile of {} requests is rough: a longer --duration is better", best->sent));
  if (best->timing_error_p99_ms > kLateMs)
    warnings.push_back(
        fmt::format("1 % of the requests were sent {:.2f} ms late or more: this machine is too busy",
                    best->timing_error_p99_ms));
  return warnings;
}

}  // namespace rerankd::load
