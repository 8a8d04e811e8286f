// Two optional caches of bounded memory: token ids by text, scores by (model, options, query, document). Both
// forget what was not used for longest. Thread-safe.
//
// Keys are 128-bit hashes with a random key of the process, not the texts: memory does not grow with the
// length of texts. Two texts share a key with probability 2^-128 and nobody can search for such a pair
// without the key: over 10^9 entries the chance of any collision is below 10^-20, less than that of a memory
// fault.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "core/stats.h"

namespace rerankd {

// Least recently used first out. Thread-free.
template <typename Value>
class LruMap {
 public:
  // What an entry costs besides its value's own heap memory: two nodes, a bucket, the allocator's headers.
  static constexpr int64_t kEntryBytes = 128 + sizeof(Value);

  explicit LruMap(int64_t capacity_bytes) { stats_.capacity_bytes = capacity_bytes; }

  // Null if absent; counts a hit or a miss. Valid until the next Put.
  const Value* Find(const Hash128& key) {
    const auto found = index_.find(key);
    ++(found == index_.end() ? stats_.misses : stats_.hits);
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->value;
  }

  // An entry that is there stays as it is: equal keys have equal values. What alone exceeds the capacity is
  // not kept.
  void Put(const Hash128& key, Value value, int64_t heap_bytes) {
    const int64_t bytes = kEntryBytes + heap_bytes;
    if (bytes > stats_.capacity_bytes || index_.contains(key)) return;
    while (stats_.bytes + bytes > stats_.capacity_bytes) Evict();
    entries_.push_front({key, bytes, std::move(value)});
    index_.emplace(key, entries_.begin());
    stats_.bytes += bytes;
    ++stats_.entries;
  }

  const CacheStats& stats() const { return stats_; }

 private:
  struct Entry {
    Hash128 key;
    int64_t bytes;
    Value value;
  };
  void Evict() {
    const Entry& oldest = entries_.back();
    stats_.bytes -= oldest.bytes;
    --stats_.entries;
    ++stats_.evicted;
    index_.erase(oldest.key);
    entries_.pop_back();
  }

  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Hash128, typename std::list<Entry>::iterator, Hash128Bits> index_;
  CacheStats stats_;
};

// A cache that several threads use. Capacity 0 = off.
template <typename Value>
class SharedCache {
 public:
  explicit SharedCache(int64_t capacity_bytes) : enabled_(capacity_bytes > 0), map_(capacity_bytes) {}
  bool enabled() const { return enabled_; }

  std::optional<Value> Find(const Hash128& key) {
    std::lock_guard lock(mutex_);
    const Value* value = map_.Find(key);
    return value != nullptr ? std::optional(*value) : std::nullopt;
  }
  void Put(const Hash128& key, Value value, int64_t heap_bytes) {
    std::lock_guard lock(mutex_);
    map_.Put(key, std::move(value), heap_bytes);
  }
  CacheStats stats() const {
    std::lock_guard lock(mutex_);
    return map_.stats();
  }

 private:
  const bool enabled_;
  mutable std::mutex mutex_;
  LruMap<Value> map_;
};

struct CachedScore {
  std::vector<float> logits;  // of each label
  int32_t tokens = 0;
  uint8_t truncated = 0;
};

struct Caches {
  Caches(int64_t document_bytes, int64_t score_bytes) : documents(document_bytes), scores(score_bytes) {}

  const KeyedHash hash = KeyedHash::Random();
  SharedCache<std::vector<int32_t>> documents;
  SharedCache<CachedScore> scores;
};

}  // namespace rerankd
