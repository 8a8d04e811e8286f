// Keyed 128-bit hashes of client texts. The key is random, so that no client can make texts that collide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rerankd {

struct Hash128 {
  uint64_t low = 0, high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};

// For unordered containers: the bits are uniform already.
struct Hash128Bits {
  size_t operator()(const Hash128& hash) const { return static_cast<size_t>(hash.low); }
};

// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).
class KeyedHash {
 public:
  KeyedHash(uint64_t key0, uint64_t key1) : key0_(key0), key1_(key1) {}
  static KeyedHash Random();  // with a key from the operating system

  Hash128 operator()(std::string_view bytes) const;

 private:
  uint64_t key0_, key1_;
};

}  // namespace rerankd
