#include "core/request.h"

#include <utility>

namespace rerankd {

ScoreRequest ScoreRequest::ForQuery(std::string query, std::vector<std::string> documents) {
  ScoreRequest request;
  request.queries.push_back(std::move(query));
  request.documents.reserve(documents.size());
  for (std::string& text : documents) request.documents.push_back({std::move(text), 0});
  return request;
}

ScoreRequest ScoreRequest::ForPairs(std::vector<std::pair<std::string, std::string>> pairs) {
  ScoreRequest request;
  request.documents.reserve(pairs.size());
  for (auto& [query, document] : pairs) {
    if (request.queries.empty() || request.queries.back() != query)
      request.queries.push_back(std::move(query));
    request.documents.push_back({std::move(document), static_cast<uint32_t>(request.queries.size() - 1)});
  }
  return request;
}

}  // namespace rerankd
