#include "perf/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "perf/statistics.h"

namespace rerankd::perf {
namespace {

using Json = nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

double TokensPerPair(const Series& s) {
  return s.pairs == 0 ? 0 : static_cast<double>(s.tokens) / static_cast<double>(s.pairs);
}

// Null where nothing is known: a backend without a peak has no share of it.
Json OrNull(double value) { return value > 0 ? Json(value) : Json(nullptr); }

Json ToJson(const Series& s) {
  const double pairs_per_s = Median(s.pairs_per_s);
  return {{"workload", s.workload},
          {"precision", s.precision},
          {"threads", s.threads},
          {"requests", s.requests},
          {"pairs", s.pairs},
          {"tokens", s.tokens},
          {"pairs_per_s", pairs_per_s},
          {"tokens_per_s", pairs_per_s * TokensPerPair(s)},
          {"share_of_peak", OrNull(Median(s.share_of_peak))},
          {"rounds", {{"pairs_per_s", s.pairs_per_s}, {"share_of_peak", s.share_of_peak}}}};
}

std::string Percent(double share) { return share > 0 ? fmt::format("{:.1f} %", share * 100) : "-"; }

Rows PeakRows(const SuiteResult& result) {
  Rows rows = {{"precision", "threads", "G multiply-adds/s", "lowest", "highest"}};
  for (const PeakSeries& peak : result.peaks) {
    const auto [low, high] =
        std::minmax_element(peak.multiply_adds_per_s.begin(), peak.multiply_adds_per_s.end());
    if (low == peak.multiply_adds_per_s.end()) continue;
    rows.push_back({peak.precision, std::to_string(peak.threads),
                    fmt::format("{:.1f}", Median(peak.multiply_adds_per_s) * 1e-9),
                    fmt::format("{:.1f}", *low * 1e-9), fmt::format("{:.1f}", *high * 1e-9)});
  }
  return rows;
}

Rows SeriesRows(const SuiteResult& result) {
  Rows rows = {
      {"pairs of", "precision", "threads", "pairs", "tokens/pair", "pairs/s", "tokens/s", "of peak"}};
  for (const Series& s : result.series) {
    const double pairs_per_s = Median(s.pairs_per_s);
    rows.push_back({s.workload, s.precision, std::to_string(s.threads), std::to_string(s.pairs),
                    fmt::format("{:.1f}", TokensPerPair(s)), fmt::format("{:.1f}", pairs_per_s),
                    fmt::format("{:.0f}", pairs_per_s * TokensPerPair(s)), Percent(Median(s.share_of_peak))});
  }
  return rows;
}

Json ToJson(const StageProfile& profile) {
  Json json = {{"precision", profile.precision},
               {"workload", profile.workload},
               {"pairs", profile.pairs},
               {"tokens", profile.tokens},
               {"stages", Json::array()}};
  for (const StageTime& stage : profile.stages)
    json["stages"].push_back({{"stage", stage.stage},
                              {"us_per_token", Median(stage.us_per_token)},
                              {"share_of_peak", OrNull(Median(stage.share_of_peak))}});
  return json;
}

Rows StageRows(const StageProfile& profile) {
  double total = 0;
  for (const StageTime& stage : profile.stages) total += Median(stage.us_per_token);
  Rows rows = {{"stage", "us/token", "of time", "of peak"}};
  for (const StageTime& stage : profile.stages) {
    const double time = Median(stage.us_per_token);
    rows.push_back({stage.stage, fmt::format("{:.3f}", time), Percent(time / total),
                    Percent(Median(stage.share_of_peak))});
  }
  rows.push_back({"all", fmt::format("{:.3f}", total), "", ""});
  return rows;
}

std::string StageText(const StageProfile& profile) {
  const double tokens = static_cast<double>(profile.tokens) / static_cast<double>(profile.pairs);
  return fmt::format("\nStages in {}, one thread, {} pairs of {:.1f} tokens ({})\n{}", profile.precision,
                     profile.pairs, tokens, profile.workload, AlignColumns(StageRows(profile), 1));
}

}  // namespace

Json ToJson(const SuiteResult& result, const Facts& facts) {
  Json json;
  for (const auto& [name, value] : facts) json["machine"][name] = value;
  json["model"] = {{"name", result.model.name},
                   {"layers", result.config.num_layers},
                   {"hidden", result.config.hidden_size},
                   {"intermediate", result.config.intermediate_size},
                   {"heads", result.config.num_heads}};
  json["backend"] = result.backend;
  json["peak"] = Json::array();
  for (const PeakSeries& peak : result.peaks)
    json["peak"].push_back({{"precision", peak.precision},
                            {"threads", peak.threads},
                            {"multiply_adds_per_s", OrNull(Median(peak.multiply_adds_per_s))}});
  json["end_to_end"] = Json::array();
  for (const Series& s : result.series) json["end_to_end"].push_back(ToJson(s));
  json["stages"] = Json::array();
  for (const StageProfile& profile : result.stages) json["stages"].push_back(ToJson(profile));
  json["notes"] = result.notes;
  return json;
}

std::string ToTable(const SuiteResult& result, const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += fmt::format("{:<18}{}\n", name, value);
  text += fmt::format("{:<18}{} ({} layers, {} wide, {} heads)\n", "Model", result.model.name,
                      result.config.num_layers, result.config.hidden_size, result.config.num_heads);
  text += fmt::format("{:<18}{}\n", "Runs", result.backend);
  const size_t rounds = result.series.empty() ? 0 : result.series.front().pairs_per_s.size();
  text += fmt::format("\nPeak of this machine, measured on registers beside every sample\n{}",
                      AlignColumns(PeakRows(result), 1));
  text += fmt::format("\nEnd to end, text in to score out, medians of {} interleaved rounds\n{}", rounds,
                      AlignColumns(SeriesRows(result), 2));
  for (const StageProfile& profile : result.stages) text += StageText(profile);
  for (const std::string& note : result.notes) text += "\nnote: " + note;
  return text + (result.notes.empty() ? "" : "\n");
}

}  // namespace rerankd::perf
