#include "scheduler/fair_queue.h"

#include <algorithm>
#include <cassert>

namespace rerankd {
namespace {

bool ShorterFirst(const QueuedPair& a, const QueuedPair& b) { return a.tokens < b.tokens; }

template <typename T>
void MoveFrontToBack(std::deque<T>* ring) {
  ring->push_back(ring->front());
  ring->pop_front();
}

}  // namespace

void FairQueue::Open(FlowId id, const std::string& tenant_name, double weight, bool held) {
  std::unique_ptr<Flow>& flow = flows_[id];
  if (flow == nullptr) {
    Tenant& tenant = tenants_[tenant_name];
    tenant.weight = weight;
    flow = std::make_unique<Flow>();
    flow->tenant = &tenant;
    flow->credit = quantum_;
    flow->held = held;
  }
  ++flow->members;
}

void FairQueue::Push(FlowId id, std::span<const QueuedPair> pairs) {
  Flow* flow = flows_.at(id).get();
  flow->pairs.insert(flow->pairs.end(), pairs.begin(), pairs.end());
  if (by_length_) std::stable_sort(flow->pairs.begin(), flow->pairs.end(), ShorterFirst);
  int64_t tokens = 0;
  for (const QueuedPair& pair : pairs) tokens += pair.tokens;
  flow->tokens += tokens;
  if (flow->held) return;
  tokens_ += tokens;
  List(flow);
}

void FairQueue::Release(FlowId id) {
  const auto found = flows_.find(id);
  if (found == flows_.end() || !found->second->held) return;
  Flow* flow = found->second.get();
  flow->held = false;
  tokens_ += flow->tokens;
  List(flow);
}

void FairQueue::Close(const Job& job) {
  const auto found = flows_.find(job.flow);
  Flow* flow = found->second.get();
  int64_t tokens = 0;
  std::erase_if(flow->pairs, [&](const QueuedPair& pair) {
    if (pair.job != &job) return false;
    tokens += pair.tokens;
    return true;
  });
  flow->tokens -= tokens;
  if (!flow->held) tokens_ -= tokens;
  if (flow->pairs.empty()) Unlist(flow);
  if (--flow->members == 0) flows_.erase(found);
  turn_ = nullptr;
}

const QueuedPair* FairQueue::Peek(int longest) {
  while (!active_.empty()) {
    Tenant& tenant = *active_.front();
    const bool fresh = !tenant.fresh.empty() && (tenant.old.empty() || tenant.overtaken < quantum_);
    Flow* flow = fresh ? tenant.fresh.front() : tenant.old.front();
    const size_t chosen = Choose(*flow, longest);
    const int64_t cost = flow->pairs[chosen].tokens;
    if (tenant.deficit < cost) {  // its turn is over; the next one is paid for now
      tenant.deficit +=
          std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(quantum_) * tenant.weight));
      MoveFrontToBack(&active_);
    } else if (!fresh && flow->deficit < cost) {
      flow->deficit += quantum_;
      MoveFrontToBack(&tenant.old);
    } else {
      turn_ = flow;
      chosen_ = chosen;
      return &flow->pairs[chosen];
    }
  }
  turn_ = nullptr;
  return nullptr;
}

QueuedPair FairQueue::Pop() {
  assert(turn_ != nullptr);
  Flow* flow = turn_;
  Tenant& tenant = *flow->tenant;
  const QueuedPair pair = flow->pairs[chosen_];
  flow->pairs.erase(flow->pairs.begin() + static_cast<ptrdiff_t>(chosen_));
  flow->tokens -= pair.tokens;
  tokens_ -= pair.tokens;
  tenant.deficit -= pair.tokens;
  const bool fresh = flow->credit > 0;
  if (fresh) {
    flow->credit -= pair.tokens;
    if (!tenant.old.empty()) tenant.overtaken += pair.tokens;
  } else {
    flow->deficit -= pair.tokens;
    tenant.overtaken = std::max<int64_t>(0, tenant.overtaken - pair.tokens);
  }
  if (flow->pairs.empty()) {
    Unlist(flow);
  } else if (fresh && flow->credit <= 0) {
    tenant.fresh.pop_front();  // Peek serves the front only
    flow->listed = false;
    List(flow);
  }
  turn_ = nullptr;
  return pair;
}

int64_t FairQueue::FreshTokens(int64_t enough) const {
  int64_t tokens = 0;
  for (const Tenant* tenant : active_)
    for (auto flow = tenant->fresh.begin(); flow != tenant->fresh.end() && tokens < enough; ++flow)
      tokens += (*flow)->tokens;
  return tokens;
}

void FairQueue::List(Flow* flow) {
  if (flow->listed || flow->pairs.empty()) return;
  Tenant& tenant = *flow->tenant;
  flow->listed = true;
  if (flow->credit > 0) {
    tenant.fresh.push_back(flow);
  } else {
    flow->deficit = quantum_;
    tenant.old.push_back(flow);
  }
  if (tenant.active) return;
  tenant.active = true;
  tenant.deficit = static_cast<int64_t>(static_cast<double>(quantum_) * tenant.weight);
  active_.push_back(&tenant);
}

void FairQueue::Unlist(Flow* flow) {
  if (!flow->listed) return;
  Tenant& tenant = *flow->tenant;
  flow->listed = false;
  std::erase(tenant.fresh, flow);
  std::erase(tenant.old, flow);
  if (tenant.old.empty()) tenant.overtaken = 0;
  if (!tenant.fresh.empty() || !tenant.old.empty()) return;
  tenant.active = false;
  std::erase(active_, &tenant);
}

size_t FairQueue::Choose(const Flow& flow, int longest) const {
  if (!by_length_) return 0;
  if (longest == 0) return flow.pairs.size() - 1;
  const auto longer =
      std::upper_bound(flow.pairs.begin(), flow.pairs.end(), QueuedPair{nullptr, 0, longest}, ShorterFirst);
  return longer == flow.pairs.begin() ? 0 : static_cast<size_t>(longer - flow.pairs.begin()) - 1;
}

}  // namespace rerankd
