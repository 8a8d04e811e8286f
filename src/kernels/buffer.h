// Memory of the engine: 64-byte aligned floats in anonymous mappings, on huge pages where Linux grants them
// (a 2 MB page is one TLB entry instead of 512).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rerankd {

// One anonymous mapping of zeros; physical memory follows the first touch. Movable. Throws std::bad_alloc.
class Mapping {
 public:
  Mapping() = default;
  explicit Mapping(size_t bytes);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Hands out aligned pieces that live as long as the arena. For what is built once: weights, workspaces. Not
// thread-safe.
class Arena {
 public:
  // Zeros; the start is 64-byte aligned.
  std::span<float> Floats(size_t count);
  int64_t bytes() const { return bytes_; }  // handed out

 private:
  std::vector<Mapping> chunks_;
  size_t used_ = 0;  // of the last chunk
  int64_t bytes_ = 0;
};

}  // namespace rerankd
