// API keys: who a bearer token belongs to. The file holds one JSON object a line,
//   {"name": "search-team", "sha256": "<64 hexadecimal digits>", "admin": false, "weight": 1}
// with the digest of the key, never the key. `admin` and `weight` (share of the machine) may be left out.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serving/caller.h"

namespace rerankd::serving {

using Sha256Digest = std::array<uint8_t, 32>;
Sha256Digest Sha256(std::string_view text);

// Immutable once loaded, so every call is thread-safe.
class ApiKeys {
 public:
  // Errors name file and line. A file without a key is one: it would open the server to everybody.
  static Result<ApiKeys> Load(const std::string& path);
  static Result<ApiKeys> Parse(std::string_view text, const std::string& path);

  // The caller whose key stands in `authorization` ("Bearer KEY"). Takes the same time for every key.
  std::optional<Caller> Find(std::string_view authorization) const;
  size_t size() const { return keys_.size(); }

 private:
  struct Key {
    Sha256Digest digest;
    Caller caller;
  };
  static Result<Key> ParseLine(std::string_view line);
  Status Add(Key key);

  std::vector<Key> keys_;
};

// A fresh random key and the line that admits it.
struct NewApiKey {
  std::string key;
  std::string line;  // without the end of line
};
Result<NewApiKey> MakeApiKey(const Caller& caller);

}  // namespace rerankd::serving
