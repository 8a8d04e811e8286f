// Any bytes as a safetensors file: it is refused, or every tensor can be read to its last byte.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "weights/safetensors.h"
#include "weights/tensor_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rerankd;
  auto tensors = SafeTensors::Parse(std::as_bytes(std::span(data, size)), "fuzz");
  if (!tensors.ok()) return 0;
  const TensorSource source(std::move(*tensors), WeightStorage::kInt8);
  for (const auto& [name, view] : source.tensors().tensors()) {
    const auto values = source.ReadFloats(name, view.shape);
    if (!values.ok()) continue;
    size_t expected = 1;
    for (const int64_t dimension : view.shape) expected *= static_cast<size_t>(dimension);
    if (values->size() != expected) std::abort();
  }
  return 0;
}
