// Any bytes where a client speaks before its JSON is read: paths, packed bodies, API keys and their file,
// ids. Refused or accepted, within the promised bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/text.h"
#include "serving/api_keys.h"
#include "serving/http/compression.h"
#include "serving/http/router.h"
#include "serving/request_id.h"

namespace rerankd::serving {
namespace {

constexpr uint64_t kLimit = 100'000;

void Require(bool holds) {
  if (!holds) std::abort();
}

void Run(std::string_view text) {
  static const Router router = [] {
    Router made(nullptr);
    made.Add({"GET", "/v2/models/{m}/versions/{v}/ready", nullptr, nullptr});
    made.Add({"GET", "/v2/models/{m}", nullptr, nullptr});
    return made;
  }();
  const Router::Match match = router.Find("GET", "/v2/models/" + std::string(text));
  for (const std::string& part : match.parts) Require(!part.empty());

  const Result<std::string> unpacked = Unpack(text, kLimit);
  Require(!unpacked.ok() || unpacked->size() <= kLimit);

  const Result<ApiKeys> keys = ApiKeys::Parse(text, "keys");
  if (keys.ok()) Require(keys->size() > 0 && !keys->Find("Bearer " + std::string(text)));

  Require(RequestId(text).size() <= 128);
  const std::string trace = TraceParent(text);
  Require(trace.empty() || trace == text);
}

}  // namespace
}  // namespace rerankd::serving

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  rerankd::serving::Run({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
