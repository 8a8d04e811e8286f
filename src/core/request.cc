#include "core/request.h"

#include <utility>

#include "base/text.h"

namespace rerankd {

Result<Overflow> ParseOverflow(std::string_view name) {
  const std::vector<std::string> names = {"truncate", "error", "max_window"};
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<Overflow>(i);
  return InvalidArgument("overflow '" + std::string(name) + "' is not one of " + Join(names, ", ") +
                         Hint(name, names));
}

ScoreRequest ScoreRequest::ForQuery(std::string query, std::vector<std::string> documents) {
  ScoreRequest request;
  request.queries.push_back(std::move(query));
  request.documents.reserve(documents.size());
  for (std::string& text : documents) request.documents.push_back({std::move(text), 0});
  return request;
}

ScoreRequest ScoreRequest::ForQueries(std::vector<std::string> queries, std::vector<std::string> documents) {
  if (queries.size() == 1) return ForQuery(std::move(queries.front()), std::move(documents));
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(documents.size());
  for (size_t i = 0; i < documents.size(); ++i)
    pairs.emplace_back(std::move(queries[i]), std::move(documents[i]));
  return ForPairs(std::move(pairs));
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
