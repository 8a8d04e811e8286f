#include "scheduler/job.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace rerankd {
namespace {

// Equal documents of one query stand together. Not by hash: a client could make all its documents collide.
bool StandsBefore(const Document& a, const Document& b) {
  if (a.query != b.query) return a.query < b.query;
  if (a.text.size() != b.text.size()) return a.text.size() < b.text.size();
  return a.text < b.text;
}

// For each document the first one that equals it.
std::vector<int32_t> FirstEqual(const std::vector<Document>& documents) {
  const auto at = [&](int32_t i) -> const Document& { return documents[static_cast<size_t>(i)]; };
  std::vector<int32_t> order(documents.size()), first(documents.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (StandsBefore(at(a), at(b))) return true;
    return !StandsBefore(at(b), at(a)) && a < b;
  });
  int32_t leader = 0;
  for (const int32_t i : order) {
    if (i == order.front() || StandsBefore(at(leader), at(i))) leader = i;
    first[static_cast<size_t>(i)] = leader;
  }
  return first;
}

}  // namespace

Job::Job(ScoreRequest r, Completion d, bool merge_equal) : request(std::move(r)), done(std::move(d)) {
  const size_t count = request.documents.size();
  if (merge_equal && count > 1) {
    unit_of = FirstEqual(request.documents);
    for (size_t i = 0; i < count; ++i) {
      const auto first = static_cast<size_t>(unit_of[i]);
      if (first == i) units.push_back(static_cast<int32_t>(i));
      unit_of[i] = first == i ? static_cast<int32_t>(units.size()) - 1 : unit_of[first];
    }
    if (units.size() == count) unit_of.clear();
  } else {
    units.resize(count);
    std::iota(units.begin(), units.end(), 0);
  }
}

}  // namespace rerankd
