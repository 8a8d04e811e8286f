// What each request of a load asks: consecutive pairs of a data set, wrapping at its end.
#pragma once

#include <cstdint>
#include <string>

#include "load/dataset.h"

namespace rerankd::load {

struct Work {
  int64_t index = 0;  // of the request in its load, from 0
  int64_t first = 0;  // pair of the data set that it starts with
  int pairs = 1;
};

// Request `index` of a load whose requests all have `pairs` pairs.
inline Work WorkOf(int64_t index, int pairs, int64_t dataset_pairs) {
  return {index, index * pairs % dataset_pairs, pairs};
}

// The texts of a Work. Borrows the data set.
class Workload {
 public:
  // `one_query`: all documents of a request go with the query of its first pair, as in every rerank API; else
  // each pair keeps its own query.
  Workload(const Dataset& dataset, bool one_query) : dataset_(dataset), one_query_(one_query) {}

  const std::string& query(const Work& work, int k) const { return Pair(work, one_query_ ? 0 : k).first; }
  const std::string& document(const Work& work, int k) const { return Pair(work, k).second; }
  size_t PairIndex(const Work& work, int k) const {
    return static_cast<size_t>((work.first + k) % static_cast<int64_t>(dataset_.pairs.size()));
  }
  const Dataset& dataset() const { return dataset_; }

 private:
  const std::pair<std::string, std::string>& Pair(const Work& work, int k) const {
    return dataset_.pairs[PairIndex(work, k)];
  }

  const Dataset& dataset_;
  const bool one_query_;
};

}  // namespace rerankd::load
