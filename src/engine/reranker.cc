// The public API (include/rerankd/rerankd.h) over Engine.
#include <limits>
#include <utility>

#include "core/scoring.h"
#include "engine/engine.h"
#include "rerankd/rerankd.h"

namespace rerankd {

struct Reranker::State {
  std::unique_ptr<Engine> engine;
};

Reranker::Reranker(std::unique_ptr<State> state) : state_(std::move(state)) {}
Reranker::~Reranker() = default;

Result<std::unique_ptr<Reranker>> Reranker::Load(const RerankerOptions& options) {
  Settings settings;
  InstanceSettings& instance = settings.instances.front();
  instance.model = options.model;
  instance.backend = options.backend;
  instance.precision = options.precision;
  instance.threads = options.threads;
  instance.max_length = options.max_length;
  settings.scheduler.max_queue_ms = std::numeric_limits<double>::infinity();  // the caller waits
  settings.scheduler.max_queue_tokens = 0;
  settings.scheduler.max_queue_requests = 0;
  auto state = std::make_unique<State>();
  RERANKD_ASSIGN_OR_RETURN(state->engine, Engine::Create(settings));
  return std::unique_ptr<Reranker>(new Reranker(std::move(state)));
}

int Reranker::num_labels() const { return state_->engine->model().num_labels; }

Result<std::vector<float>> Reranker::Score(const std::string& query, std::vector<std::string> documents) {
  if (documents.empty()) return std::vector<float>();
  RERANKD_ASSIGN_OR_RETURN(ScoreResult result,
                           state_->engine->Score(ScoreRequest::ForQuery(query, std::move(documents))));
  return std::move(result.logits);
}

Result<std::vector<RankedDocument>> Reranker::Rank(const std::string& query,
                                                   std::vector<std::string> documents, int top_n) {
  const int labels = num_labels();
  if (labels > 2)
    return FailedPrecondition("the model has " + std::to_string(labels) +
                              " labels and no single score to rank by: use Score");
  RERANKD_ASSIGN_OR_RETURN(std::vector<float> scores, Score(query, std::move(documents)));
  if (labels == 2) {
    Activate(Activation::kSoftmax, 2, scores);
    for (size_t i = 0; i < scores.size() / 2; ++i) scores[i] = scores[2 * i + 1];
    scores.resize(scores.size() / 2);
  }
  std::vector<RankedDocument> ranking;
  for (const int i : RankDescending(scores, top_n)) ranking.push_back({i, scores[static_cast<size_t>(i)]});
  return ranking;
}

}  // namespace rerankd
