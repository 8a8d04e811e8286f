#include "kernels/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <utility>

namespace rerankd {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kChunk = size_t{32} << 20;
constexpr size_t kAlignment = 64;

size_t RoundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }

}  // namespace

Mapping::Mapping(size_t bytes) : size_(RoundUp(std::max<size_t>(bytes, 1), kHugePage)) {
  // One huge page more than needed: the kernel backs only whole, aligned ones.
  const size_t reserved = size_ + kHugePage;
  void* start = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) throw std::bad_alloc();
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
  data_ = static_cast<std::byte*>(start) + head;
  if (head > 0) munmap(start, head);
  if (head < kHugePage) munmap(data_ + size_, kHugePage - head);
  madvise(data_, size_, MADV_HUGEPAGE);  // a wish: without it only the TLB suffers
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

std::byte* Arena::Reserve(size_t size) {
  const size_t bytes = RoundUp(size, kAlignment);
  if (chunks_.empty() || used_ + bytes > chunks_.back().size()) {
    chunks_.emplace_back(std::max(bytes, kChunk));
    used_ = 0;
  }
  std::byte* start = chunks_.back().data() + used_;
  used_ += bytes;
  bytes_ += static_cast<int64_t>(bytes);
  return start;
}

}  // namespace rerankd
