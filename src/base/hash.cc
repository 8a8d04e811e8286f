#include "base/hash.h"

#include <bit>
#include <cstring>
#include <random>

namespace rerankd {
namespace {

struct SipState {
  uint64_t v0, v1, v2, v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void Rounds(int count) {
    for (int i = 0; i < count; ++i) Round();
  }
  void Absorb(uint64_t word) {
    v3 ^= word;
    Rounds(2);
    v0 ^= word;
  }
  uint64_t Fold() const { return v0 ^ v1 ^ v2 ^ v3; }
};

uint64_t RandomWord(std::random_device* device) {
  return (static_cast<uint64_t>((*device)()) << 32) | (*device)();
}

}  // namespace

KeyedHash KeyedHash::Random() {
  std::random_device device;
  const uint64_t key0 = RandomWord(&device);
  return {key0, RandomWord(&device)};
}

Hash128 KeyedHash::operator()(std::string_view bytes) const {
  static_assert(std::endian::native == std::endian::little);
  SipState state = {key0_ ^ 0x736F6D6570736575, key1_ ^ 0x646F72616E646F6D ^ 0xEE, key0_ ^ 0x6C7967656E657261,
                    key1_ ^ 0x7465646279746573};
  const uint64_t last = static_cast<uint64_t>(bytes.size()) << 56;
  uint64_t word = 0;
  for (; bytes.size() >= sizeof(word); bytes.remove_prefix(sizeof(word))) {
    std::memcpy(&word, bytes.data(), sizeof(word));
    state.Absorb(word);
  }
  word = 0;
  if (!bytes.empty()) std::memcpy(&word, bytes.data(), bytes.size());
  state.Absorb(last | word);
  state.v2 ^= 0xEE;
  state.Rounds(4);
  Hash128 hash;
  hash.low = state.Fold();
  state.v1 ^= 0xDD;
  state.Rounds(4);
  hash.high = state.Fold();
  return hash;
}

}  // namespace rerankd
