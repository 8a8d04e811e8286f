// Which model was measured: a name may stand for other files tomorrow.
#pragma once

#include <string>

namespace rerankd::experiment {

// The SHA-256, in hexadecimal, over names, sizes and contents of the files of a model that its scores come
// from: configuration, tokenizer and weights. Empty where `model` is not on this machine. Reads every byte.
std::string HashModel(const std::string& model);

}  // namespace rerankd::experiment
