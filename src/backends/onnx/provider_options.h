// Options of ONNX Runtime's providers for NVIDIA GPUs, as the texts that its C API takes.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace rerankd::ort {

using ProviderOptions = std::vector<std::pair<std::string, std::string>>;

// "cuda" or "cuda:N" -> "N".
std::string CudaIndex(const std::string& device);

// Pairs of a rectangle on TensorRT: as many of the longest as fill a GPU.
int TensorRtRows(int max_positions);

// One engine for every shape that comes: a profile up to TensorRtRows() of the longest pairs, best for pairs
// of a usual length. Without it an engine, which takes minutes to build, is built anew for each shape outside
// those seen. `cache`: a folder for engines and kernel timings; empty = none is kept.
ProviderOptions TensorRtSettings(const std::string& device, const std::string& precision, int max_positions,
                                 const std::string& cache);

// rerankd/tensorrt in XDG_CACHE_HOME or ~/.cache; empty where there is neither.
std::string TensorRtCache();

}  // namespace rerankd::ort
