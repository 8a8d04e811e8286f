#include "tokenizer/piece_trie.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace rerankd {
namespace {

constexpr uint64_t kFree = ~uint64_t{0};
constexpr int kChildBits = 28;
constexpr uint16_t kMaxDepth = UINT16_MAX;

uint64_t EdgeKey(int32_t node, uint8_t byte) { return static_cast<uint64_t>(node) << 8 | byte; }

size_t EdgeSlot(uint64_t key, int bits) {
  return static_cast<size_t>((key * 0x9E3779B97F4A7C15u) >> (64 - bits));
}

}  // namespace

PieceTrie::PieceTrie(size_t expected_bytes) : nodes_(2), origins_(2, Origin{kNone, 0, 0}) {
  edge_bits_ = std::max(8, static_cast<int>(std::bit_width(expected_bytes)));
  edges_.assign(size_t{1} << edge_bits_, kFree);
  nodes_.reserve(expected_bytes / 2);
  origins_.reserve(expected_bytes / 2);
}

int32_t PieceTrie::Child(int32_t node, uint8_t byte) const {
  const uint64_t key = EdgeKey(node, byte);
  const size_t mask = edges_.size() - 1;
  for (size_t slot = EdgeSlot(key, edge_bits_);; slot = (slot + 1) & mask) {
    const uint64_t edge = edges_[slot];
    if (edge >> kChildBits == key) return static_cast<int32_t>(edge & (kMaxNodes - 1));
    if (edge == kFree) return kNone;
  }
}

int32_t PieceTrie::ChildOrNew(int32_t node, uint8_t byte) {
  if (const int32_t child = Child(node, byte); child != kNone) return child;
  if (nodes_.size() * 2 > edges_.size()) GrowEdges();
  const auto child = static_cast<int32_t>(nodes_.size());
  const uint64_t key = EdgeKey(node, byte);
  const size_t mask = edges_.size() - 1;
  size_t slot = EdgeSlot(key, edge_bits_);
  while (edges_[slot] != kFree) slot = (slot + 1) & mask;
  edges_[slot] = key << kChildBits | static_cast<uint64_t>(child);
  const auto depth = static_cast<uint16_t>(origins_[static_cast<size_t>(node)].depth + 1);
  nodes_.emplace_back();
  origins_.push_back({node, depth, byte});
  return child;
}

void PieceTrie::GrowEdges() {
  std::vector<uint64_t> old(edges_.size() * 2, kFree);
  old.swap(edges_);
  ++edge_bits_;
  const size_t mask = edges_.size() - 1;
  for (const uint64_t edge : old) {
    if (edge == kFree) continue;
    size_t slot = EdgeSlot(edge >> kChildBits, edge_bits_);
    while (edges_[slot] != kFree) slot = (slot + 1) & mask;
    edges_[slot] = edge;
  }
}

void PieceTrie::Insert(std::string_view piece, bool continuing, int32_t id) {
  int32_t node = continuing ? kContinuationRoot : kWordRoot;
  for (const char byte : piece) node = ChildOrNew(node, static_cast<uint8_t>(byte));
  nodes_[static_cast<size_t>(node)].id = id;
}

void PieceTrie::Link() {
  // A failure link points to a shallower node, so nodes are linked in order of depth (a counting sort).
  std::vector<size_t> begin(size_t{kMaxDepth} + 2);
  for (const Origin& origin : origins_) ++begin[size_t{origin.depth} + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  std::vector<int32_t> order(nodes_.size());
  for (size_t node = 0; node < nodes_.size(); ++node)
    order[begin[origins_[node].depth]++] = static_cast<int32_t>(node);
  for (const int32_t node : order)
    if (node != kWordRoot && node != kContinuationRoot) LinkNode(node);
  origins_ = {};
}

void PieceTrie::LinkNode(int32_t index) {
  Node& node = nodes_[static_cast<size_t>(index)];
  node.pops_begin = static_cast<uint32_t>(pops_.size());
  if (node.id != kNone) {
    pops_.push_back(node.id);
    node.fail = kContinuationRoot;
  } else {
    const Origin& origin = origins_[static_cast<size_t>(index)];
    int32_t at = origin.parent, child = kNone;
    // Emits what the parent emits, then follows links until the byte fits.
    do {
      const Node& from = nodes_[static_cast<size_t>(at)];
      for (uint32_t i = 0; i < from.pops_count; ++i) pops_.push_back(pops_[from.pops_begin + i]);
      at = from.fail;
      if (at != kNone) child = Child(at, origin.byte);
    } while (at != kNone && child == kNone);
    if (child == kNone) pops_.resize(node.pops_begin);
    node.fail = child;
  }
  node.pops_count = static_cast<uint32_t>(pops_.size()) - node.pops_begin;
}

bool PieceTrie::Fail(int32_t* node, std::vector<int32_t>* ids) const {
  const Node& from = nodes_[static_cast<size_t>(*node)];
  if (from.fail == kNone) return false;
  ids->insert(ids->end(), pops_.begin() + from.pops_begin, pops_.begin() + from.pops_begin + from.pops_count);
  *node = from.fail;
  return true;
}

bool PieceTrie::Split(std::string_view word, std::vector<int32_t>* ids) const {
  const size_t before = ids->size();
  int32_t node = kWordRoot;
  bool possible = true;
  for (size_t i = 0; i < word.size() && possible;) {
    const int32_t child = Child(node, static_cast<uint8_t>(word[i]));
    if (child == kNone) {
      possible = Fail(&node, ids);
    } else {
      node = child;
      ++i;
    }
  }
  while (possible && node != kContinuationRoot) possible = Fail(&node, ids);
  if (!possible) ids->resize(before);
  return possible;
}

}  // namespace rerankd
