// What differs between the HTTP rerank APIs: the path, the body, and where the scores are in the reply.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "load/client.h"
#include "load/workload.h"

namespace rerankd::load {

// Immutable after creation.
class HttpDialect {
 public:
  // `protocol`: "tei", "jina", "cohere", "infinity" or "kserve". `model` is named to targets that want one.
  // Keeps every text of the data set as JSON, so that a request costs little more than a copy.
  static Result<std::unique_ptr<HttpDialect>> Create(std::string_view protocol, const std::string& model,
                                                     const Workload& workload);

  const std::string& path() const { return path_; }
  void WriteBody(const Work& work, std::string* body) const;
  // Takes the scores out of the body of a successful reply, or says what is wrong with it.
  void ReadScores(const std::string& body, const Work& work, Reply* reply) const;

  struct Format;

 private:
  HttpDialect(const Format& format, const std::string& model, const Workload& workload);

  const Format& format_;
  const Workload workload_;
  const std::string path_, head_, middle_;
  std::vector<std::string> queries_, documents_;  // as JSON strings, by pair of the data set
};

}  // namespace rerankd::load
