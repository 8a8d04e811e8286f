#include "scheduler/batch_policy.h"

#include <algorithm>

namespace rerankd {

void MicroBatch::Add(const QueuedPair& pair) {
  pairs.push_back(pair);
  tokens += pair.tokens;
  longest = std::max(longest, pair.tokens);
  // From the back: consecutive pairs mostly belong to the same job.
  auto share =
      std::find_if(shares.rbegin(), shares.rend(), [&](const Share& s) { return s.job.get() == pair.job; });
  if (share == shares.rend()) {
    shares.push_back({pair.job->shared_from_this(), 0, 0});
    share = shares.rbegin();
  }
  ++share->rows;
  share->tokens += pair.tokens;
}

void MicroBatch::Clear() {
  pairs.clear();
  shares.clear();
  tokens = 0;
  longest = 0;
}

int64_t BatchBudget(const BudgetView& view) {
  const int64_t most = std::max<int64_t>(view.batch_tokens, 1);
  if (!view.padded) {
    const int64_t share = (view.backlog + view.workers - 1) / std::max(view.workers, 1);
    return std::clamp(share, std::max<int64_t>(most / 4, 1), most);
  }
  if (view.units_per_second <= 0) return most;
  const auto quantum = static_cast<int64_t>(view.units_per_second * view.max_quantum_ms / 1000);
  return std::clamp(quantum, std::max<int64_t>(most / 8, 1), most);
}

Job* TakeBatch(const BatchLimits& limits, TimePoint now, FairQueue* queue, MicroBatch* batch) {
  bool fresh = false;
  while (const QueuedPair* pair = queue->Peek(limits.padded ? batch->longest : 0)) {
    const bool known = !batch->shares.empty() && batch->shares.back().job.get() == pair->job;
    if (!known && pair->job->Lapsed(now)) return pair->job;
    const int rows = static_cast<int>(batch->pairs.size()) + 1;
    const int64_t cost = BatchCost(limits.padded, rows, batch->tokens + pair->tokens,
                                   std::max<int>(batch->longest, pair->tokens));
    if (rows > 1 && (cost > limits.budget || (limits.max_rows > 0 && rows > limits.max_rows))) return nullptr;
    if (fresh && !queue->turn_is_fresh()) return nullptr;
    if (rows == 1) fresh = queue->turn_is_fresh() && !limits.padded;
    batch->Add(queue->Pop());
  }
  return nullptr;
}

}  // namespace rerankd
