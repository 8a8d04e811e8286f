// Memory of the engine: 64-byte aligned numbers in anonymous mappings, on huge pages where Linux grants them
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
  std::span<float> Floats(size_t count) { return Take<float>(count); }
  std::span<int> Ints(size_t count) { return Take<int>(count); }
  std::span<int8_t> Bytes(size_t count) { return Take<int8_t>(count); }
  int64_t bytes() const { return bytes_; }  // handed out

 private:
  template <typename T>
  std::span<T> Take(size_t count) {
    return {reinterpret_cast<T*>(Reserve(count * sizeof(T))), count};
  }
  std::byte* Reserve(size_t bytes);

  std::vector<Mapping> chunks_;
  size_t used_ = 0;  // of the last chunk
  int64_t bytes_ = 0;
};

}  // namespace rerankd
