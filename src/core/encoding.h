// Encoded text: what a tokenizer hands to the scheduler and, gathered into a Batch, to a backend. Ragged,
// never padded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rerankd {

// One encoded pair, a view. ids.size() == type_ids.size(); type 0 = query segment, 1 = document segment.
struct EncodedPair {
  std::span<const int32_t> ids;
  std::span<const uint8_t> type_ids;
};

// The encoded pairs of one request, stored flat. Append-only; views stay valid until the next Append or
// destruction.
class EncodedPairs {
 public:
  int size() const { return static_cast<int>(pairs_.size()); }
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  int length(int i) const { return static_cast<int>(end(i) - begin(i)); }
  // Tokens that the pair had before truncation; larger than length(i) exactly when the pair was truncated.
  int full_length(int i) const { return pairs_[static_cast<size_t>(i)].full_length; }
  bool truncated(int i) const { return full_length(i) > length(i); }
  EncodedPair operator[](int i) const {
    return {std::span(ids_).subspan(begin(i), static_cast<size_t>(length(i))),
            std::span(type_ids_).subspan(begin(i), static_cast<size_t>(length(i)))};
  }

  void Reserve(int pairs, int64_t tokens) {
    pairs_.reserve(static_cast<size_t>(pairs));
    ids_.reserve(static_cast<size_t>(tokens));
    type_ids_.reserve(static_cast<size_t>(tokens));
  }
  // Building a pair: push its tokens, then close it.
  void PushToken(int32_t id, uint8_t type_id) {
    ids_.push_back(id);
    type_ids_.push_back(type_id);
  }
  void PushTokens(std::span<const int32_t> ids, uint8_t type_id) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    type_ids_.insert(type_ids_.end(), ids.size(), type_id);
  }
  void ClosePair(int full_length) { pairs_.push_back({ids_.size(), full_length}); }
  void Clear() {
    ids_.clear();
    type_ids_.clear();
    pairs_.clear();
  }

 private:
  struct Closed {
    size_t end;
    int full_length;
  };
  size_t begin(int i) const { return i == 0 ? 0 : pairs_[static_cast<size_t>(i) - 1].end; }
  size_t end(int i) const { return pairs_[static_cast<size_t>(i)].end; }

  std::vector<int32_t> ids_;
  std::vector<uint8_t> type_ids_;
  std::vector<Closed> pairs_;
};

// Pairs of one or several requests that a backend scores together. Holds views: their owners outlive the
// call.
class Batch {
 public:
  void Add(EncodedPair pair) {
    tokens_ += static_cast<int64_t>(pair.ids.size());
    longest_ = std::max(longest_, static_cast<int>(pair.ids.size()));
    pairs_.push_back(pair);
  }
  void Clear() {
    pairs_.clear();
    tokens_ = 0;
    longest_ = 0;
  }
  int size() const { return static_cast<int>(pairs_.size()); }
  bool empty() const { return pairs_.empty(); }
  int64_t tokens() const { return tokens_; }  // sum of lengths
  int longest() const { return longest_; }
  int64_t padded_tokens() const { return int64_t{longest_} * size(); }
  const EncodedPair& operator[](int i) const { return pairs_[static_cast<size_t>(i)]; }
  std::span<const EncodedPair> pairs() const { return pairs_; }

 private:
  std::vector<EncodedPair> pairs_;
  int64_t tokens_ = 0;
  int longest_ = 0;
};

}  // namespace rerankd
