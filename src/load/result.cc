#include "load/result.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/cpu.h"

namespace rerankd::load {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kLateMs = 1;  // sends later than this at the 99th percentile are the generator's own fault
constexpr double kSloPercentile = 99;

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
  if (o.rate) j["rate"] = *o.rate;
  if (o.rate && o.arrivals == "poisson") j["seed"] = o.seed;
  return j;
}

Json ClientJson(const LoadOptions& o, const LoadResult& r) {
  const double thousands = static_cast<double>(r.summary.requests()) / 1000;
  Json j = {{"cpu_s", r.stats.client_cpu_s},
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

std::string Headline(const LoadOptions& o, const LoadResult& r) {
  std::string text = fmt::format("{} loop, {} documents a request", r.mode, o.documents);
  if (r.mode == "closed") text += fmt::format(", {} in flight", o.concurrency);
  if (o.rate) text += fmt::format(", {} requests/s", *o.rate);
  return fmt::format("{} ({}): {}\n", o.target.url, o.target.protocol, text);
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
  if (!r.stats.lost.empty()) warnings.push_back("ended early: " + r.stats.lost);
  if (r.interrupted) warnings.push_back("interrupted: what was sent until then counts");
  if (!r.warm_up.steady && options.warm_up_s > 0)
    warnings.push_back(fmt::format("the rate was not steady after {:.1f} s of warm-up", r.warm_up.seconds));
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
      {"server", ServerJson(r)}};
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
  text += "\n\n" + OutcomeRows(s);
  text += fmt::format("\n{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "ms", "mean", "min", "p50",
                      "p90", "p99", "p99.9", "max");
  text += TimesRow("latency", s.latency()) + TimesRow("  queue", s.queue()) +
          TimesRow("  tokenise", s.tokenize()) + TimesRow("  inference", s.inference());
  if (r.mode != "closed") text += TimesRow("sent late", s.timing_error());
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

}  // namespace rerankd::load
