#include "serving/api_keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/text.h"

namespace rerankd::serving {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMinWeight = 0.001, kMaxWeight = 1000;
constexpr size_t kKeyBytes = 32;  // of randomness
const std::vector<std::string> kFields = {"name", "sha256", "admin", "weight"};

std::string Hex(const uint8_t* bytes, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<Sha256Digest> ParseDigest(const std::string& text) {
  Sha256Digest digest{};
  const Status wrong =
      InvalidArgument("`sha256` must be the 64 hexadecimal digits of the key's SHA-256 digest");
  if (text.size() != 2 * digest.size()) return wrong;
  for (size_t i = 0; i < digest.size(); ++i) {
    const int high = HexDigit(text[2 * i]), low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return wrong;
    digest[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return digest;
}

// Names label metrics and log lines.
Status CheckName(const std::string& name) {
  const auto plain = [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; };
  if (!name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), plain)) return {};
  return InvalidArgument(
      "`name` must be 1 to 64 printable ASCII characters without spaces, quotes, backslashes");
}

Status CheckWeight(double weight) {
  if (weight >= kMinWeight && weight <= kMaxWeight) return {};
  return InvalidArgument(fmt::format("`weight` must be a number from {} to {}", kMinWeight, kMaxWeight));
}

Result<std::string> StringField(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string())
    return InvalidArgument(fmt::format("`{}` must be there, a string", key));
  return found->get<std::string>();
}

Status ReadOptionalFields(const Json& object, Caller* caller) {
  if (const auto admin = object.find("admin"); admin != object.end()) {
    if (!admin->is_boolean()) return InvalidArgument("`admin` must be true or false");
    caller->admin = admin->get<bool>();
  }
  if (const auto weight = object.find("weight"); weight != object.end()) {
    if (!weight->is_number()) return CheckWeight(-1);
    caller->weight = weight->get<double>();
  }
  return CheckWeight(caller->weight);
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

// The token of "Bearer TOKEN"; the scheme in any case, as RFC 9110 wants. "" if there is none.
std::string_view BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i)
    if ((authorization[i] | 0x20) != (kScheme[i] | 0x20)) return {};
  return Trim(authorization.substr(kScheme.size()));
}

}  // namespace

Sha256Digest Sha256(std::string_view text) {
  Sha256Digest digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return digest;
}

Result<ApiKeys> ApiKeys::Load(const std::string& path) {
  RERANKD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return Parse(text, path);
}

Result<ApiKeys> ApiKeys::Parse(std::string_view text, const std::string& path) {
  ApiKeys keys;
  int number = 0;
  for (const std::string_view raw : Split(text, '\n')) {
    ++number;
    const std::string_view line = Trim(raw);
    if (line.empty()) continue;
    Result<Key> key = ParseLine(line);
    const Status added = key.ok() ? keys.Add(std::move(*key)) : key.status();
    if (!added.ok()) return added.WithContext(fmt::format("{}:{}", path, number));
  }
  if (keys.keys_.empty())
    return InvalidArgument(
        path + ": no API key in it; make one with `rerankd key`, or leave out server.api_key_file");
  return keys;
}

Result<ApiKeys::Key> ApiKeys::ParseLine(std::string_view line) {
  const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object())
    return InvalidArgument(R"(not a JSON object such as {"name": "ci", "sha256": "..."})");
  for (const auto& [field, value] : object.items())
    if (std::find(kFields.begin(), kFields.end(), field) == kFields.end())
      return InvalidArgument("unknown field `" + field + "`" + Hint(field, kFields));
  Key key;
  RERANKD_ASSIGN_OR_RETURN(key.caller.name, StringField(object, "name"));
  RERANKD_RETURN_IF_ERROR(CheckName(key.caller.name));
  RERANKD_ASSIGN_OR_RETURN(const std::string digest, StringField(object, "sha256"));
  RERANKD_ASSIGN_OR_RETURN(key.digest, ParseDigest(digest));
  RERANKD_RETURN_IF_ERROR(ReadOptionalFields(object, &key.caller));
  return key;
}

// One name may have several keys (the old and the new one while they are exchanged), if they mean the same.
Status ApiKeys::Add(Key key) {
  for (const Key& other : keys_) {
    if (other.digest == key.digest)
      return InvalidArgument("the key of '" + key.caller.name + "' is also that of '" + other.caller.name +
                             "'");
    const bool same = other.caller.weight == key.caller.weight && other.caller.admin == key.caller.admin;
    if (other.caller.name == key.caller.name && !same)
      return InvalidArgument("two keys named '" + key.caller.name + "' differ in `weight` or `admin`");
  }
  keys_.push_back(std::move(key));
  return {};
}

std::optional<Caller> ApiKeys::Find(std::string_view authorization) const {
  const std::string_view token = BearerToken(authorization);
  if (token.empty()) return std::nullopt;
  const Sha256Digest digest = Sha256(token);
  const Caller* found = nullptr;
  for (const Key& key : keys_)  // no early end
    if (CRYPTO_memcmp(key.digest.data(), digest.data(), digest.size()) == 0) found = &key.caller;
  return found != nullptr ? std::optional<Caller>(*found) : std::nullopt;
}

Result<NewApiKey> MakeApiKey(const Caller& caller) {
  RERANKD_RETURN_IF_ERROR(CheckName(caller.name));
  RERANKD_RETURN_IF_ERROR(CheckWeight(caller.weight));
  uint8_t random[kKeyBytes];
  if (RAND_bytes(random, sizeof(random)) != 1) return Internal("the system gives no random bytes");
  NewApiKey made;
  made.key = "rk-" + Hex(random, sizeof(random));
  const Sha256Digest digest = Sha256(made.key);
  const Json line = {{"name", caller.name},
                     {"sha256", Hex(digest.data(), digest.size())},
                     {"admin", caller.admin},
                     {"weight", caller.weight}};
  made.line = line.dump();
  return made;
}

}  // namespace rerankd::serving
