#include "experiment/quality.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <unordered_map>
#include <utility>
#include <vector>

#include "eval/agreement.h"
#include "eval/metrics.h"
#include "load/arrivals.h"
#include "load/collection.h"
#include "load/generator.h"

namespace rerankd::experiment {
namespace {

namespace fs = std::filesystem;

constexpr int kInFlight = 2;
constexpr size_t kTop = 10;
constexpr int kRelevant = 2;  // binary metrics count grades from here on, as `rerankd eval` does
constexpr int kResamples = 2000;
constexpr uint64_t kSeed = 1;

// One request a query: its candidates are consecutive pairs.
std::vector<load::Arrival> RequestsOf(const TrecRun& candidates) {
  std::vector<load::Arrival> arrivals;
  int64_t first = 0;
  for (const QueryRun& query : candidates) {
    const auto count = static_cast<int>(query.docs.size());
    arrivals.push_back({{}, {static_cast<int64_t>(arrivals.size()), first, count}});
    first += count;
  }
  return arrivals;
}

using Scores = std::unordered_map<std::string, double>;

Scores ByDocument(const QueryRun& query) {
  Scores scores;
  for (const ScoredDoc& doc : query.docs) scores[doc.id] = doc.score;
  return scores;
}

void AddDifferences(const TrecRun& ranked, const TrecRun& other, AgreementRecord* agreement) {
  std::unordered_map<std::string, const QueryRun*> by_id;
  for (const QueryRun& query : other) by_id[query.query_id] = &query;
  double sum = 0;
  int64_t count = 0;
  for (const QueryRun& query : ranked) {
    const auto found = by_id.find(query.query_id);
    if (found == by_id.end()) continue;
    const Scores scores = ByDocument(*found->second);
    for (const ScoredDoc& doc : query.docs) {
      const auto match = scores.find(doc.id);
      if (match == scores.end()) continue;
      const double difference = std::abs(doc.score - match->second);
      agreement->max_difference = std::max(agreement->max_difference, difference);
      sum += difference;
      ++count;
    }
  }
  agreement->mean_difference = count > 0 ? sum / static_cast<double>(count) : 0;
}

std::vector<double> NdcgOf(const QualitySet& set, const TrecRun& run) {
  std::vector<double> values;
  for (const QueryScore& score : Evaluate({Metric::Kind::kNdcg, kTop}, run, set.qrels, kRelevant))
    values.push_back(score.value);
  return values;
}

AgreementRecord AgreementWith(const QualitySet& set, const TrecRun& ranked, const TrecRun& other) {
  const Agreement agreement = Compare(ranked, other, kTop);
  AgreementRecord record;
  record.queries = agreement.queries;
  record.spearman = agreement.spearman;
  record.kendall_tau = agreement.kendall_tau;
  record.top10_overlap = agreement.top_overlap;
  AddDifferences(ranked, other, &record);
  if (set.qrels.empty()) return record;
  const Interval change = PairedBootstrap(NdcgOf(set, ranked), NdcgOf(set, other), kResamples, kSeed);
  record.has_ndcg = true;
  record.ndcg10_change = change.mean;
  record.ndcg10_low = change.low;
  record.ndcg10_high = change.high;
  return record;
}

double MeanOf(const Metric& metric, const QualitySet& set, const TrecRun& run) {
  return Mean(Evaluate(metric, run, set.qrels, kRelevant));
}

constexpr Metric kNdcg{Metric::Kind::kNdcg, kTop}, kMrr{Metric::Kind::kMrr, kTop};

void AddJudged(const QualitySet& set, const TrecRun& ranked, QualityRecord* record) {
  const auto ndcg = Evaluate(kNdcg, ranked, set.qrels, kRelevant);
  const auto mrr = Evaluate(kMrr, ranked, set.qrels, kRelevant);  // the same queries in the same order
  record->has_qrels = true;
  record->ndcg10 = Mean(ndcg);
  record->mrr10 = Mean(mrr);
  record->first_stage_ndcg10 = MeanOf(kNdcg, set, set.candidates);
  record->first_stage_mrr10 = MeanOf(kMrr, set, set.candidates);
  for (size_t i = 0; i < ndcg.size(); ++i)
    record->by_query.push_back({ndcg[i].query_id, ndcg[i].value, mrr[i].value});
}

}  // namespace

Result<QualitySet> LoadQualitySet(const QualitySettings& settings) {
  std::string folder = settings.data;
  if (folder == "bundled") {
    RERANKD_ASSIGN_OR_RETURN(folder, load::FindInstalled("RERANKD_DATA_DIR", "data"));
  }
  const load::CollectionLimits limits{static_cast<size_t>(settings.queries),
                                      static_cast<size_t>(settings.documents)};
  auto collection = load::LoadCollection(folder, limits);
  if (!collection.ok()) return collection.status().WithContext("experiment.quality.data");
  QualitySet set;
  set.name = settings.data == "bundled" ? settings.data : fs::path(folder).filename().string();
  set.candidates = std::move(collection->candidates);
  set.qrels = std::move(collection->qrels);
  set.pairs.pairs = std::move(collection->pairs);
  set.pairs.info.pairs = static_cast<int64_t>(set.pairs.pairs.size());
  if (!settings.scores.empty()) {
    RERANKD_ASSIGN_OR_RETURN(set.given, ReadRun(settings.scores));
  }
  return set;
}

Result<TrecRun> RankOnServer(const QualitySet& set, const load::Target& target,
                             const std::atomic<bool>& interrupt) {
  const load::Workload workload(set.pairs, true);
  RERANKD_ASSIGN_OR_RETURN(const auto client, load::MakeClient(target, workload));
  TrecRun ranked = set.candidates;
  Status status;
  load::LoadPlan plan;
  plan.in_flight = kInFlight;
  plan.stop_on_failure = true;
  load::LoadHooks hooks;
  hooks.sink = [&](const load::Sample& sample) {
    if (sample.reply.outcome != load::Outcome::kOk) {
      if (status.ok()) status = Unavailable("ranking on the server: " + sample.reply.detail);
      return;
    }
    QueryRun& query = ranked[static_cast<size_t>(sample.work.index)];
    for (size_t i = 0; i < query.docs.size(); ++i)
      query.docs[i].score = static_cast<double>(sample.reply.scores[i]);
  };
  const auto arrivals = load::MakeReplay(RequestsOf(set.candidates));
  const load::LoadStats stats = load::RunLoad(plan, *arrivals, *client, interrupt, hooks);
  RERANKD_RETURN_IF_ERROR(status);
  if (stats.sent < static_cast<int64_t>(ranked.size())) return Cancelled("interrupted while ranking");
  for (QueryRun& query : ranked) SortAsTrecEval(&query.docs);
  return ranked;
}

QualityRecord MeasureQuality(const QualitySet& set, const TrecRun& ranked, const TrecRun* fp32) {
  QualityRecord record;
  record.data = set.name;
  record.queries = static_cast<int>(ranked.size());
  record.pairs = set.pairs.info.pairs;
  if (!set.qrels.empty()) AddJudged(set, ranked, &record);
  if (fp32 != nullptr) record.fp32 = AgreementWith(set, ranked, *fp32);
  if (set.given) record.given = AgreementWith(set, ranked, *set.given);
  return record;
}

std::string ReferenceKey(const Settings& settings) {
  const InstanceSettings& i = settings.instances.front();
  const DocumentSettings& d = settings.documents;
  const QualitySettings& q = settings.experiment.quality;
  return fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", i.model, i.backend, i.device, i.max_length,
                     d.overflow, d.max_tokens_per_query, d.max_tokens_per_doc, d.window, d.stride,
                     d.max_windows, q.data, q.queries, q.documents);
}

Settings InFp32(Settings settings) {
  for (InstanceSettings& instance : settings.instances) instance.precision = "fp32";
  return settings;
}

}  // namespace rerankd::experiment
