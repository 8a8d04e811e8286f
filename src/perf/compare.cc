#include "perf/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/progress.h"
#include "perf/child.h"
#include "perf/statistics.h"

namespace rerankd::perf {
namespace {

using Json = nlohmann::ordered_json;

bool SameSeries(const Figure& f, const Comparison& c) {
  return f.workload == c.workload && f.precision == c.precision && f.threads == c.threads;
}

std::vector<std::string> CommandOf(const std::string& binary, const CompareOptions& options) {
  std::vector<std::string> command = {binary, "bench"};
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  for (const char* argument : {"--rounds", "1", "--json", "--quiet"}) command.emplace_back(argument);
  return command;
}

Result<std::vector<Figure>> RunOnce(const std::string& binary, const CompareOptions& options) {
  RERANKD_ASSIGN_OR_RETURN(const std::string json, RunProgram(CommandOf(binary, options)));
  return ParseFigures(json, binary);
}

// Adds the figures of a pair of neighbours. The first pair says which series both builds have.
void Add(const std::vector<Figure>& old_figures, const std::vector<Figure>& new_figures,
         std::vector<Comparison>* comparisons) {
  if (comparisons->empty()) {
    for (const Figure& f : new_figures) comparisons->push_back({f.workload, f.precision, f.threads, {}, {}});
  }
  const auto find = [](const std::vector<Figure>& figures, const Comparison& c) {
    return std::find_if(figures.begin(), figures.end(), [&](const Figure& f) { return SameSeries(f, c); });
  };
  std::erase_if(*comparisons, [&](Comparison& c) {
    const auto before = find(old_figures, c), now = find(new_figures, c);
    if (before == old_figures.end() || now == new_figures.end()) return true;
    c.old_pairs_per_s.push_back(before->pairs_per_s);
    c.new_pairs_per_s.push_back(now->pairs_per_s);
    return false;
  });
}

}  // namespace

std::vector<double> Comparison::ratios() const {
  std::vector<double> ratios;
  for (size_t i = 0; i < new_pairs_per_s.size(); ++i)
    ratios.push_back(new_pairs_per_s[i] / old_pairs_per_s[i]);
  return ratios;
}

Result<std::vector<Figure>> ParseFigures(const std::string& json, const std::string& source) {
  const Json document = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto bad = [&](const std::string& why) {
    return Internal("the output of '" + source + "' is not a report of rerankd bench: " + why);
  };
  if (!document.is_object() || !document.contains("end_to_end") || !document["end_to_end"].is_array())
    return bad("no list \"end_to_end\"");
  std::vector<Figure> figures;
  for (const Json& row : document["end_to_end"]) {
    try {
      figures.push_back({row.at("workload").get<std::string>(), row.at("precision").get<std::string>(),
                         row.at("threads").get<int>(), row.at("pairs_per_s").get<double>()});
    } catch (const Json::exception& error) {
      return bad(error.what());
    }
    if (!(figures.back().pairs_per_s > 0)) return bad("a speed of 0");
  }
  return figures;
}

Result<std::vector<Comparison>> Compare(const CompareOptions& options) {
  std::vector<Comparison> comparisons;
  ProgressBar bar("comparing", options.rounds, "rounds", options.progress);
  for (int round = 0; round < options.rounds; ++round) {
    const bool old_first = round % 2 == 0;
    RERANKD_ASSIGN_OR_RETURN(auto first,
                             RunOnce(old_first ? options.old_binary : options.new_binary, options));
    RERANKD_ASSIGN_OR_RETURN(auto second,
                             RunOnce(old_first ? options.new_binary : options.old_binary, options));
    Add(old_first ? first : second, old_first ? second : first, &comparisons);
    if (comparisons.empty())
      return FailedPrecondition("'" + options.old_binary + "' and this build have no series in common");
    bar.Set(round + 1);
  }
  return comparisons;
}

Json ToJson(const std::vector<Comparison>& comparisons, const CompareOptions& options, const Facts& facts) {
  Json json;
  for (const auto& [name, value] : facts) json["machine"][name] = value;
  json["comparisons"] = Json::array();
  const auto side = [&](const std::string& name, const std::string& binary,
                        const std::vector<double>& values) {
    return Json{{"name", name},
                {"command", fmt::format("{}", fmt::join(CommandOf(binary, options), " "))},
                {"median", Median(values)}};
  };
  for (const Comparison& c : comparisons) {
    const Interval ratio = BootstrapMedian(c.ratios());
    Json rounds = Json::array();
    for (size_t i = 0; i < c.new_pairs_per_s.size(); ++i)
      rounds.push_back({{"a", c.new_pairs_per_s[i]}, {"b", c.old_pairs_per_s[i]}});
    json["comparisons"].push_back(
        {{"workload", c.workload},
         {"precision", c.precision},
         {"threads", c.threads},
         {"a", side("new", options.new_binary, c.new_pairs_per_s)},
         {"b", side("old", options.old_binary, c.old_pairs_per_s)},
         {"ratio", {{"median", ratio.median}, {"low", ratio.low}, {"high", ratio.high}}},
         {"rounds", rounds}});
  }
  return json;
}

std::string ToTable(const std::vector<Comparison>& comparisons, const CompareOptions& options,
                    const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += fmt::format("{:<18}{}\n", name, value);
  std::vector<std::vector<std::string>> rows = {
      {"pairs of", "precision", "threads", "old pairs/s", "new pairs/s", "new / old", "95 % interval"}};
  for (const Comparison& c : comparisons) {
    const Interval ratio = BootstrapMedian(c.ratios());
    rows.push_back({c.workload, c.precision, std::to_string(c.threads),
                    fmt::format("{:.1f}", Median(c.old_pairs_per_s)),
                    fmt::format("{:.1f}", Median(c.new_pairs_per_s)), fmt::format("{:.3f}", ratio.median),
                    fmt::format("{:.3f} to {:.3f}", ratio.low, ratio.high)});
  }
  return text + fmt::format("\n{} interleaved rounds in fresh processes, old = {}\n{}", options.rounds,
                            options.old_binary, AlignColumns(rows, 2));
}

}  // namespace rerankd::perf
