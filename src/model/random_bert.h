// Models with seeded random weights of any shape, for tests and benchmarks: no files needed.
#pragma once

#include <cstdint>
#include <string>

#include "weights/model_config.h"

namespace rerankd {

// hidden 384, 6 layers, 12 heads, 1536 wide, gelu: the shape of ms-marco-MiniLM-L-6-v2.
ModelConfig MiniLmConfig();

// The content of a model.safetensors (F32) with every tensor of `config`. Weights have the spread of trained
// ones, so that activations and attention stay in their usual range.
std::string RandomBertFile(const ModelConfig& config, uint32_t seed);

// A config.json that reads back as `config`.
std::string ConfigJson(const ModelConfig& config);

}  // namespace rerankd
