// The public C++ API of rerankd: a cross-encoder in this process. Link rerankd_engine.
//
//   auto reranker = rerankd::Reranker::Load({.model = "default"});
//   if (!reranker.ok()) { std::cerr << reranker.status().ToString() << "\n"; return 1; }
//   auto ranking = (*reranker)->Rank("what is a cat", {"a small animal", "a river in France"}, 10);
//
// Errors are returned, never thrown (base/status.h). Every call is thread-safe and uses all workers; calls
// from several threads share them fairly.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace rerankd {

struct RerankerOptions {
  std::string model = "default";  // bundled name, folder, or Hugging Face id in the local cache
  std::string backend = "native";
  std::string precision = "auto";  // auto, fp32, bf16, int8
  int threads = 0;                 // 0 = one a physical core
  int max_length = 512;            // tokens of a pair; longer ones are cut, the longer text first
};

struct RankedDocument {
  int index = 0;    // into the documents that were passed
  float score = 0;  // raw logit; for two labels the probability of the second
};

class Reranker {
 public:
  static Result<std::unique_ptr<Reranker>> Load(const RerankerOptions& options);
  ~Reranker();

  int num_labels() const;

  // Raw logits, [documents x num_labels].
  Result<std::vector<float>> Score(const std::string& query, std::vector<std::string> documents);

  // The `top_n` best documents (all if 0), best first; equal scores keep input order. kFailedPrecondition for
  // a model with more than two labels.
  Result<std::vector<RankedDocument>> Rank(const std::string& query, std::vector<std::string> documents,
                                           int top_n = 0);

 private:
  struct State;
  explicit Reranker(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
};

}  // namespace rerankd
