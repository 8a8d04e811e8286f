// Who is next: deficit round robin by tokens, in two levels. Tenants take turns by weight; within a tenant
// its flows do. A flow is one request (or one window of requests). Thread-free.
//
// A new flow starts with one quantum of credit and is served before flows that have used theirs up, so that a
// small request overtakes large ones; while older flows wait, new ones get at most every other token, so that
// a stream of small requests starves nobody. A quantum is what all workers take in one round.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "scheduler/job.h"

namespace rerankd {

class FairQueue {
 public:
  using FlowId = uint64_t;

  // `by_length`: within a flow hand out long pairs first, for backends that pad; else in the order of Push.
  FairQueue(int64_t quantum, bool by_length) : quantum_(quantum), by_length_(by_length) {}
  FairQueue(FairQueue&&) = default;

  // Starts a flow, or adds a member to it. The flow ends when Close was called once for every Open. A `held`
  // flow is not served until Release. weight > 0.
  void Open(FlowId flow, const std::string& tenant, double weight, bool held);
  void Push(FlowId flow, std::span<const QueuedPair> pairs);
  void Release(FlowId flow);
  // Drops what `job` has left in its flow and gives up its membership.
  void Close(const Job& job);

  // The pair whose turn it is; null if nothing can be served. With by_length, the longest pair of the flow in
  // turn that is not longer than `longest` if it has one (0 = no limit). Valid until the next call.
  const QueuedPair* Peek(int longest);
  // Does the pair that Peek returned belong to a flow that still has credit?
  bool turn_is_fresh() const { return turn_ != nullptr && turn_->credit > 0; }
  // Takes what the last Peek returned.
  QueuedPair Pop();

  bool empty() const { return tokens_ == 0; }
  int64_t tokens() const { return tokens_; }  // that can be served, held flows excluded
  // Tokens of flows that still have credit, counted up to `enough`.
  int64_t FreshTokens(int64_t enough) const;

 private:
  struct Flow;
  struct Tenant {
    double weight = 1;
    int64_t deficit = 0;
    int64_t overtaken = 0;  // tokens that new flows were served ahead of waiting older ones
    bool active = false;
    std::deque<Flow*> fresh, old;
  };
  struct Flow {
    Tenant* tenant = nullptr;
    std::deque<QueuedPair> pairs;  // by_length: ascending
    int64_t credit = 0;            // left of its first quantum; fresh while positive
    int64_t deficit = 0;
    int64_t tokens = 0;
    int members = 0;
    bool held = false;
    bool listed = false;  // in a list of its tenant
  };

  void List(Flow* flow);
  void Unlist(Flow* flow);
  size_t Choose(const Flow& flow, int longest) const;

  const int64_t quantum_;
  const bool by_length_;
  std::map<std::string, Tenant> tenants_;  // node-based: flows point into it
  std::deque<Tenant*> active_;             // those with something to serve, in turn
  std::unordered_map<FlowId, std::unique_ptr<Flow>> flows_;
  int64_t tokens_ = 0;
  Flow* turn_ = nullptr;  // what Peek found
  size_t chosen_ = 0;
};

}  // namespace rerankd
