#include "scheduler/encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <type_traits>

#include "scheduler/overflow.h"

namespace rerankd {
namespace {

int64_t Characters(const std::string& utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

// Hash of a few numbers and hashes.
template <typename... Parts>
Hash128 Combine(const KeyedHash& hash, const Parts&... parts) {
  static_assert((std::has_unique_object_representations_v<Parts> && ...));
  char bytes[(sizeof(Parts) + ...)];
  char* at = bytes;
  ((std::memcpy(at, &parts, sizeof(parts)), at += sizeof(parts)), ...);
  return hash(std::string_view(bytes, sizeof(bytes)));
}

Hash128 ScopeOf(const KeyedHash& hash, const Job& job, uint32_t query) {
  const PairOptions& pairs = job.request.pair_options;
  const OverflowOptions& overflow = job.request.overflow;
  return Combine(hash, hash(job.request.queries[query]), job.group, pairs.max_length, pairs.truncation,
                 pairs.truncate_left, pairs.escape_special, *overflow.policy, overflow.max_tokens_per_query,
                 overflow.max_tokens_per_doc, overflow.window, overflow.stride, overflow.max_windows_per_doc);
}

// The part of `ids` that a limit of `most` tokens keeps; 0 = no limit.
std::span<const int32_t> Cut(std::span<const int32_t> ids, int most, bool left) {
  const auto count = static_cast<size_t>(most);
  if (most == 0 || ids.size() <= count) return ids;
  return left ? ids.last(count) : ids.first(count);
}

Status CheckLimit(std::string_view text, int tokens, int most, const char* key) {
  if (most == 0 || tokens <= most) return {};
  return InvalidArgument(
      fmt::format("the {} has {} tokens, more than the {} of {}: shorten it or allow truncation", text,
                  tokens, most, key));
}

}  // namespace

Status PairEncoder::Encode(Slice* slice) const {
  Job* job = slice->job.get();
  slice->encoded = std::make_unique<EncodedRows>();
  EncodedRows* rows = slice->encoded.get();
  rows->pairs.Reserve(slice->end - slice->begin, slice->estimate + slice->estimate / 4);
  for (int unit = slice->begin; unit < slice->end; ++unit) {
    const Status status = Append(job, unit, &rows->pairs);
    if (!status.ok())
      return status.WithContext(fmt::format("document {}", job->units[static_cast<size_t>(unit)]));
    for (int row = static_cast<int>(rows->units.size()); row < rows->pairs.size(); ++row) {
      rows->units.push_back(unit);
      job->tokens[static_cast<size_t>(unit)] += rows->pairs.length(row);
    }
  }
  if (!job->logits.empty()) rows->logits.resize(rows->units.size() * static_cast<size_t>(job->num_labels));
  return {};
}

// Fills in everything about the query of a request that its documents share.
void TokenizingEncoder::EncodeQuery(const Job& job, uint32_t index, EncodedQuery* query) const {
  const PairOptions& options = job.request.pair_options;
  const OverflowOptions& overflow = job.request.overflow;
  tokenizer_->EncodeText(job.request.queries[index], options.escape_special, &query->ids);
  query->full_tokens = static_cast<int>(query->ids.size());
  if (overflow.policy != Overflow::kError) {
    const auto kept = Cut(query->ids, overflow.max_tokens_per_query, options.truncate_left);
    query->ids = {kept.begin(), kept.end()};
  }
  if (caches_ != nullptr && caches_->scores.enabled()) query->scope = ScopeOf(caches_->hash, job, index);
}

bool TokenizingEncoder::TakeCached(Job* job, int unit, const EncodedQuery& query) const {
  const auto at = static_cast<size_t>(unit);
  if (job->keys.empty()) return false;
  job->keys[at] = Combine(caches_->hash, query.scope, caches_->hash(job->document(unit).text));
  const std::optional<CachedScore> found = caches_->scores.Find(job->keys[at]);
  if (!found) return false;
  job->cached[at] = 1;
  job->tokens[at] = found->tokens;
  job->truncated[at] = found->truncated;
  std::copy(found->logits.begin(), found->logits.end(),
            job->logits.begin() + static_cast<ptrdiff_t>(at * found->logits.size()));
  return true;
}

void TokenizingEncoder::EncodeDocument(const std::string& text, bool escape_special,
                                       std::vector<int32_t>* ids) const {
  ids->clear();
  if (caches_ == nullptr || !caches_->documents.enabled())
    return tokenizer_->EncodeText(text, escape_special, ids);
  const Hash128 key = Combine(caches_->hash, caches_->hash(text), tokenizer_id_, escape_special);
  if (auto found = caches_->documents.Find(key)) {
    *ids = std::move(*found);
    return;
  }
  tokenizer_->EncodeText(text, escape_special, ids);
  caches_->documents.Put(key, *ids, static_cast<int64_t>(ids->size() * sizeof(int32_t)));
}

Status TokenizingEncoder::Append(Job* job, int unit, EncodedPairs* out) const {
  const Document& document = job->document(unit);
  const PairOptions& options = job->request.pair_options;
  const OverflowOptions& overflow = job->request.overflow;
  EncodedQuery& query = job->queries[document.query];
  std::call_once(query.once, [&] { EncodeQuery(*job, document.query, &query); });
  if (TakeCached(job, unit, query)) return {};

  thread_local std::vector<int32_t> ids;
  EncodeDocument(document.text, options.escape_special, &ids);
  if (overflow.policy == Overflow::kError) {
    RERANKD_RETURN_IF_ERROR(
        CheckLimit("query", query.full_tokens, overflow.max_tokens_per_query, "max_tokens_per_query"));
    RERANKD_RETURN_IF_ERROR(CheckLimit("document", static_cast<int>(ids.size()), overflow.max_tokens_per_doc,
                                       "max_tokens_per_doc"));
  }
  const auto kept = Cut(ids, overflow.max_tokens_per_doc, options.truncate_left);
  bool cut = kept.size() < ids.size() || query.ids.size() < static_cast<size_t>(query.full_tokens);
  if (overflow.policy == Overflow::kMaxWindow) {
    RERANKD_ASSIGN_OR_RETURN(const bool left_out, AppendWindows(*job, query.ids, kept, out));
    cut |= left_out;
  } else {
    RERANKD_RETURN_IF_ERROR(tokenizer_->AppendEncoded(query.ids, kept, options, out));
    cut |= out->truncated(out->size() - 1);
  }
  job->truncated[static_cast<size_t>(unit)] = cut ? 1 : 0;
  return {};
}

// True if a part of the document is in no window.
Result<bool> TokenizingEncoder::AppendWindows(const Job& job, std::span<const int32_t> query,
                                              std::span<const int32_t> document, EncodedPairs* out) const {
  const PairOptions& options = job.request.pair_options;
  const int room = options.max_length - tokenizer_->pair_overhead() - static_cast<int>(query.size());
  if (room < 1)
    return InvalidArgument(fmt::format(
        "the query has {} tokens, max_length {} leaves room for {} and one of a document: shorten the query",
        query.size(), options.max_length, options.max_length - tokenizer_->pair_overhead() - 1));
  const WindowPlan plan = WindowPlan::For(job.request.overflow, static_cast<size_t>(room));
  const size_t count = plan.Count(document.size());
  for (size_t i = 0; i < count; ++i) {
    const TokenWindow window = plan.At(i, document.size());
    RERANKD_RETURN_IF_ERROR(
        tokenizer_->AppendEncoded(query, document.subspan(window.begin, window.size), options, out));
  }
  return plan.Cuts(document.size());
}

Status SyntheticEncoder::Append(Job* job, int unit, EncodedPairs* out) const {
  const ScoreRequest& request = job->request;
  const Document& first = request.documents.front();
  const int64_t characters = Characters(request.queries[first.query]) + Characters(first.text);
  const auto length =
      static_cast<int>(std::clamp<int64_t>(characters / 4, 1, request.pair_options.max_length));
  std::minstd_rand random(static_cast<uint32_t>(unit) + 1);
  for (int i = 0; i < length; ++i) out->PushToken(static_cast<int32_t>(random() % 1000), 0);
  out->ClosePair(length);
  return {};
}

}  // namespace rerankd
