// A trie over first pieces and continuing pieces ("##x" without the hashes), with the failure links of
// LinMaxMatch (arXiv 2012.15524): greedy longest match without ever stepping back in the word.
// Insert all pieces, then Link once; then immutable and thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace rerankd {

class PieceTrie {
 public:
  static constexpr size_t kMaxNodes = size_t{1} << 28;

  // `expected_bytes` of all pieces together, a hint; it must stay below kMaxNodes.
  explicit PieceTrie(size_t expected_bytes = 0);

  // The last insertion of a piece wins. Pieces are not empty.
  void Insert(std::string_view piece, bool continuing, int32_t id);
  void Link();

  // Appends the pieces of `word`; false, and nothing appended, if it cannot be split.
  bool Split(std::string_view word, std::vector<int32_t>* ids) const;

 private:
  static constexpr int32_t kWordRoot = 0, kContinuationRoot = 1, kNone = -1;

  struct Node {
    int32_t id = kNone;       // of the piece that ends here
    int32_t fail = kNone;     // where matching goes on after emitting the pops
    uint32_t pops_begin = 0;  // into pops_
    uint32_t pops_count = 0;
  };
  // How a node was reached; needed only until Link.
  struct Origin {
    int32_t parent;
    uint16_t depth;
    uint8_t byte;
  };

  int32_t Child(int32_t node, uint8_t byte) const;  // kNone = no such edge
  int32_t ChildOrNew(int32_t node, uint8_t byte);
  void GrowEdges();
  void LinkNode(int32_t node);
  bool Fail(int32_t* node, std::vector<int32_t>* ids) const;

  std::vector<Node> nodes_;
  std::vector<Origin> origins_;
  std::vector<int32_t> pops_;
  std::vector<uint64_t> edges_;  // open addressing: parent << 36 | byte << 28 | child, all ones = free
  int edge_bits_ = 0;
};

}  // namespace rerankd
