// The golden files of this folder and of tests/data (README.md), for every test that compares with them.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "core/encoding.h"
#include "core/tokenizer.h"

namespace rerankd {

struct GoldenPair {
  std::string query, document;
  int tokens = 0;
  std::vector<float> logits;
};

// One golden file: where its model and its texts are.
struct GoldenSet {
  std::string name;
  std::filesystem::path model;  // folder
  std::filesystem::path file;   // .tsv
  bool own_texts = true;
};

void PrintTo(const GoldenSet& set, std::ostream* out);

// The random models beside their goldens, and the models that <name>_own.tsv and <name>_dl19.tsv speak of;
// sorted by name.
std::vector<GoldenSet> AllGoldens();

// Why the set cannot be used here; empty: it can.
std::string WhyAbsent(const GoldenSet& set);

std::vector<GoldenPair> ReadGoldens(const GoldenSet& set);

EncodedPairs Encode(const Tokenizer& tokenizer, int max_length, const std::vector<GoldenPair>& pairs);

}  // namespace rerankd
