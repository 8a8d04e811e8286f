#include "scheduler/encoder.h"

#include <algorithm>
#include <random>

namespace rerankd {
namespace {

int64_t Characters(const std::string& utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

Status PairEncoder::Encode(Slice* slice) const {
  Job* job = slice->job.get();
  slice->encoded = std::make_unique<EncodedPairs>();
  slice->encoded->Reserve(slice->end - slice->begin, slice->estimate + slice->estimate / 4);
  for (int i = slice->begin; i < slice->end; ++i) {
    const Status status = Append(job, i, slice->encoded.get());
    if (!status.ok()) return status.WithContext("document " + std::to_string(i));
  }
  for (int i = slice->begin; i < slice->end; ++i) {
    const int row = i - slice->begin;
    const auto at = static_cast<size_t>(i);
    job->pairs[at] = (*slice->encoded)[row];
    job->tokens[at] = slice->encoded->length(row);
    job->truncated[at] = slice->encoded->truncated(row) ? 1 : 0;
  }
  return {};
}

Status TokenizingEncoder::Append(Job* job, int document, EncodedPairs* out) const {
  const Document& text = job->request.documents[static_cast<size_t>(document)];
  const PairOptions& options = job->request.pair_options;
  EncodedQuery& query = job->queries[text.query];
  std::call_once(query.once, [&] {
    tokenizer_->EncodeText(job->request.queries[text.query], options.escape_special, &query.ids);
  });
  return tokenizer_->AppendPair(query.ids, text.text, options, out);
}

Status SyntheticEncoder::Append(Job* job, int document, EncodedPairs* out) const {
  const ScoreRequest& request = job->request;
  const Document& first = request.documents.front();
  const int64_t characters = Characters(request.queries[first.query]) + Characters(first.text);
  const auto length =
      static_cast<int>(std::clamp<int64_t>(characters / 4, 1, request.pair_options.max_length));
  std::minstd_rand random(static_cast<uint32_t>(document) + 1);
  for (int i = 0; i < length; ++i) out->PushToken(static_cast<int32_t>(random() % 1000), 0);
  out->ClosePair(length);
  return {};
}

}  // namespace rerankd
