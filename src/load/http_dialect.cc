#include "load/http_dialect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

namespace rerankd::load {
namespace {

using Json = nlohmann::json;
using Scores = std::vector<float>;

std::string Quoted(const std::string& text) { return Json(text).dump(); }

// As one part of a path (RFC 3986): names of models have slashes.
std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    escaped += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return escaped;
}

// Writers of JSON that know no NaN put null in its place.
float ScoreOf(const Json& value) { return value.is_null() ? NAN : value.get<float>(); }

// A list of {"index", `key`} in any order. Throws Json::exception where the list is something else.
Scores Ranked(const Json& list, const char* key, size_t count) {
  if (!list.is_array()) throw Json::other_error::create(501, "results are not a list", &list);
  if (list.size() != count) return Scores(list.size());
  Scores scores(count);
  std::vector<bool> seen(count);
  for (const Json& item : list) {
    const auto index = item.at("index").get<size_t>();
    if (index >= count || seen[index])
      throw Json::other_error::create(502, fmt::format("index {} twice or above the last document", index),
                                      &item);
    seen[index] = true;
    scores[index] = ScoreOf(item.at(key));
  }
  return scores;
}

Scores TeiScores(const Json& reply, size_t count) { return Ranked(reply, "score", count); }

Scores ResultScores(const Json& reply, size_t count) {
  return Ranked(reply.at("results"), "relevance_score", count);
}

Scores TensorScores(const Json& reply, size_t) {
  Scores scores;
  for (const Json& value : reply.at("outputs").at(0).at("data")) scores.push_back(ScoreOf(value));
  return scores;
}

// Takes what it expects off the front of a text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  bool Take(std::string_view expected) {
    if (!text_.starts_with(expected)) return false;
    text_.remove_prefix(expected.size());
    return true;
  }
  template <typename Number>
  bool TakeNumber(Number* number) {
    if (text_.empty() || (text_[0] != '-' && (text_[0] < '0' || text_[0] > '9'))) return false;
    const auto [stop, error] = std::from_chars(text_.data(), text_.data() + text_.size(), *number);
    text_.remove_prefix(static_cast<size_t>(stop - text_.data()));
    return error == std::errc();
  }
  bool at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

// The scores of `[{"index":0,"score":0.5},…]` written exactly so, in a tenth of the time that a parser takes;
// nothing when anything is different or wrong.
std::optional<Scores> CompactRanks(std::string_view body, size_t count) {
  Scanner scanner(body);
  Scores scores(count, NAN);
  for (size_t i = 0; i < count; ++i) {
    size_t index = 0;
    double score = 0;
    const bool read = scanner.Take(i == 0 ? R"([{"index":)" : R"(,{"index":)") &&
                      scanner.TakeNumber(&index) && scanner.Take(R"(,"score":)") &&
                      scanner.TakeNumber(&score) && scanner.Take("}");
    if (!read || index >= count || !std::isnan(scores[index])) return std::nullopt;
    scores[index] = static_cast<float>(score);
    if (!std::isfinite(scores[index])) return std::nullopt;
  }
  return scanner.Take("]") && scanner.at_end() ? std::optional(std::move(scores)) : std::nullopt;
}

Outcome Fail(Reply* reply, Outcome outcome, std::string detail) {
  reply->scores.clear();
  reply->detail = std::move(detail);
  return outcome;
}

}  // namespace

// The body is head + query + middle + documents + tail. "{model}" in path and head, "{count}" in middle.
struct HttpDialect::Format {
  const char* protocol;
  const char* path;
  const char* head;
  const char* middle;
  const char* tail;
  Scores (*scores)(const Json& reply, size_t count);
};

namespace {

constexpr HttpDialect::Format kFormats[] = {
    {"tei", "/rerank", R"({"query":)", R"(,"texts":[)", R"(],"truncate":true})", TeiScores},
    {"jina", "/v1/rerank", R"({"model":{model},"query":)", R"(,"documents":[)",
     R"(],"return_documents":false})", ResultScores},
    {"cohere", "/v2/rerank", R"({"model":{model},"query":)", R"(,"documents":[)", "]}", ResultScores},
    {"infinity", "/rerank", R"({"model":{model},"query":)", R"(,"documents":[)",
     R"(],"return_documents":false})", ResultScores},
    {"kserve", "/v2/models/{model}/infer",
     R"({"inputs":[{"name":"query","shape":[1],"datatype":"BYTES","data":[)",
     R"(]},{"name":"texts","shape":[{count}],"datatype":"BYTES","data":[)", "]}]}", TensorScores},
};

std::string Replaced(std::string text, std::string_view name, const std::string& value) {
  const size_t at = text.find(name);
  return at == std::string::npos ? text : text.replace(at, name.size(), value);
}

}  // namespace

Result<std::unique_ptr<HttpDialect>> HttpDialect::Create(std::string_view protocol, const std::string& model,
                                                         const Workload& workload) {
  for (const Format& format : kFormats)
    if (protocol == format.protocol)
      return std::unique_ptr<HttpDialect>(new HttpDialect(format, model, workload));
  return InvalidArgument(fmt::format("protocol '{}' is not one over HTTP", protocol));
}

HttpDialect::HttpDialect(const Format& format, const std::string& model, const Workload& workload)
    : format_(format),
      workload_(workload),
      path_(Replaced(format.path, "{model}", Escaped(model))),
      head_(Replaced(format.head, "{model}", Quoted(model))),
      middle_(format.middle) {
  for (const auto& [query, document] : workload.dataset().pairs) {
    queries_.push_back(Quoted(query));
    documents_.push_back(Quoted(document));
  }
}

void HttpDialect::WriteBody(const Work& work, std::string* body) const {
  *body = head_;
  *body += queries_[workload_.PairIndex(work, 0)];
  const size_t before = body->size();
  *body += middle_;
  if (const size_t at = middle_.find("{count}"); at != std::string::npos)
    body->replace(before + at, 7, std::to_string(work.pairs));
  for (int k = 0; k < work.pairs; ++k) {
    if (k > 0) *body += ',';
    *body += documents_[workload_.PairIndex(work, k)];
  }
  *body += format_.tail;
}

void HttpDialect::ReadScores(const std::string& body, const Work& work, Reply* reply) const {
  const auto count = static_cast<size_t>(work.pairs);
  if (format_.scores == TeiScores) {
    if (auto scores = CompactRanks(body, count)) {
      reply->scores = *std::move(scores);
      return;
    }
  }
  try {
    reply->scores = format_.scores(Json::parse(body), count);
  } catch (const Json::exception& error) {
    // A bare NaN is not JSON, but some servers write it.
    const bool not_finite =
        body.find("NaN") != std::string::npos || body.find("Infinity") != std::string::npos;
    reply->outcome = Fail(reply, not_finite ? Outcome::kNotFinite : Outcome::kGarbage, error.what());
    return;
  }
  const auto bad = std::find_if_not(reply->scores.begin(), reply->scores.end(),
                                    [](float score) { return std::isfinite(score); });
  if (reply->scores.size() != count)
    reply->outcome = Fail(reply, Outcome::kWrongCount,
                          fmt::format("{} scores for {} documents", reply->scores.size(), count));
  else if (bad != reply->scores.end())
    reply->outcome = Fail(reply, Outcome::kNotFinite, fmt::format("a score is {}", *bad));
}

}  // namespace rerankd::load
