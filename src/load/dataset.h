// The pairs that a load sends.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace rerankd::load {

struct DatasetInfo {
  std::string name;  // file name or "bundled"
  std::string sha256;
  int64_t pairs = 0;
  int64_t bytes = 0;  // of the texts
};

struct Dataset {
  DatasetInfo info;
  std::vector<std::pair<std::string, std::string>> pairs;  // query, document; valid UTF-8, none empty
};

// `spec` = "bundled", or a file: .jsonl with keys `query` and `document`, .tsv with query TAB document (both
// also .gz), .json with a list of [query, document]; or a folder as LoadCollection takes it. At most the
// first `limit` pairs. kNotFound: no such file (never replaced by another). kInvalidArgument: a malformed
// line, as file:line, or no pair at all.
Result<Dataset> LoadDataset(const std::string& spec, int64_t limit);

// A file or folder that is installed with the program: $environment, else <program>/../share/rerankd/<name>,
// else experiments/<name> in a folder above the program. kNotFound lists the places.
Result<std::string> FindInstalled(const char* environment, const std::string& name);

}  // namespace rerankd::load
