// Exact conversion of 16-bit floats to fp32.
#pragma once

#include <bit>
#include <cstdint>

namespace rerankd {

inline float FloatFromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline float FloatFromF16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000U} << 16;
  const uint32_t magnitude = bits & 0x7FFFU;
  if (magnitude >= 0x7C00U)  // infinity or NaN: the exponent becomes all ones
    return std::bit_cast<float>(sign | 0x7F800000U | (magnitude << 13));
  // The bits land 112 exponents too low; the product with 2^112 is exact and turns subnormals into normals.
  const float scaled = std::bit_cast<float>(magnitude << 13) * std::bit_cast<float>((127U + 112U) << 23);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | sign);
}

}  // namespace rerankd
