// The parts of the HTTP routes that need no socket: bodies, paths, tensors, the description.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

#include "config/settings.h"
#include "serving/http/compression.h"
#include "serving/http/json.h"
#include "serving/http/kserve_tensors.h"
#include "serving/http/openapi.h"
#include "serving/http/routes.h"
#include "serving/testing/fake_engine.h"

namespace rerankd::serving {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// --- Compression.

TEST(Unpack, GivesBackWhatWasPacked) {
  const std::string text(200'000, 'x');
  EXPECT_EQ(*Unpack(Gzip(text), text.size()), text);
  EXPECT_EQ(*Unpack(Gzip(""), 10), "");
}

TEST(Unpack, StopsAtTheLimit) {
  const std::string packed = Gzip(std::string(50'000'000, ' '));
  ASSERT_LT(packed.size(), 300'000u);
  const Status status = Unpack(packed, 1000).status();
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("larger than 1000 bytes"));
  EXPECT_EQ(Unpack(Gzip(std::string(1001, ' ')), 1000).status().code(), Code::kResourceExhausted);
  EXPECT_TRUE(Unpack(Gzip(std::string(1000, ' ')), 1000).ok());
}

TEST(Unpack, RefusesDamagedStreams) {
  const std::string packed = Gzip("some text that is long enough");
  for (size_t size = 0; size < packed.size(); ++size)
    EXPECT_EQ(Unpack(packed.substr(0, size), 1000).status().code(), Code::kInvalidArgument) << size;
  EXPECT_THAT(Unpack(packed + "x", 1000).status().message(), HasSubstr("bytes follow"));
  EXPECT_FALSE(Unpack("rubbish", 1000).ok());
}

// --- JSON.

TEST(ParseObject, BoundsDepthAndNumberOfValues) {
  const auto nested = [](int depth) {
    return R"({"a":)" + std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']') + "}";
  };
  EXPECT_TRUE(ParseObject(nested(63)).ok());
  EXPECT_THAT(ParseObject(nested(64)).status().message(), HasSubstr("deeper than 64"));
  std::string wide = R"({"a":[0)";
  for (int i = 0; i < 2'000'000; ++i) wide += ",0";
  EXPECT_THAT(ParseObject(wide + "]}").status().message(), HasSubstr("more than 2000000 values"));
  EXPECT_TRUE(ParseObject(R"({"a":"[[[\"[[[","b":"\\"})").ok());  // brackets in strings do not count
}

// They are looked for one after another: without a bound a body of 2 MB cost minutes.
TEST(ParseObject, BoundsTheFieldsOfAnObject) {
  const auto object = [](int fields) {
    std::string text = "{";
    for (int i = 0; i < fields; ++i) text += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":[1,2]";
    return text + "}";
  };
  EXPECT_TRUE(ParseObject(object(256)).ok());
  EXPECT_THAT(ParseObject(object(257)).status().message(), HasSubstr("more than 256 fields"));
  EXPECT_THAT(ParseObject(R"({"a":[[],)" + object(257) + "]}").status().message(), HasSubstr("256 fields"));
  std::string list = R"({"documents":[{"text":"a","b":1})";
  for (int i = 0; i < 1000; ++i) list += R"(,{"text":"a","b":1})";
  EXPECT_TRUE(ParseObject(list + "]}").ok());  // many objects, few fields each
  EXPECT_FALSE(ParseObject("]]]]{{{{").ok());
}

TEST(ReadInteger, ChecksBeforeItConverts) {
  const auto fits = [](const char* text, int64_t min, int64_t max) {
    return ReadInteger(Json::parse(text), "n", min, max).ok();
  };
  EXPECT_TRUE(fits("5", 0, 5));
  EXPECT_TRUE(fits("-1", -1, 5));
  for (const char* wrong :
       {"6", "-2", "1e300", "2.0", "18446744073709551615", "-9223372036854775808", "\"1\"", "true"})
    EXPECT_FALSE(fits(wrong, -1, 5)) << wrong;
  EXPECT_EQ(*ReadInteger(Json::parse("3"), "n", 3, 3), 3);
  EXPECT_THAT(ReadInteger(Json::parse("6"), "n", 0, 5).status().message(),
              HasSubstr("`n` must be an integer from 0 to 5"));
}

// --- Paths.

TEST(Router, NamesOfModelsMayHaveSlashesAndPercents) {
  Router router(nullptr);
  router.Add({"POST", "/v2/models/{m}/infer", nullptr, nullptr});
  router.Add({"GET", "/v2/models/{m}", nullptr, nullptr});
  EXPECT_THAT(router.Find("POST", "/v2/models/org/name/infer").parts, ElementsAre("org/name"));
  EXPECT_THAT(router.Find("POST", "/v2/models/org%2Fname/infer").parts, ElementsAre("org/name"));
  EXPECT_THAT(router.Find("GET", "/v2/models/100%").parts, ElementsAre("100%"));
  EXPECT_EQ(router.Find("POST", "/v2/models//infer").route, nullptr);
  EXPECT_EQ(router.Find("POST", "/v2/models/a//infer").route, nullptr);
  EXPECT_EQ(router.Find("POST", "/v2/models/infer").route, nullptr);
  EXPECT_EQ(router.Find("PUT", "/v2/models/a/infer").allow, "POST, GET");
}

// Trying all ways to divide a path of thousands of parts took a quarter of a second.
TEST(Router, PathsOfManyPartsMatchNoParameter) {
  Router router(nullptr);
  router.Add({"GET", "/v2/models/{m}/versions/{v}/ready", nullptr, nullptr});
  const auto path = [](int versions) {
    std::string text = "/v2/models/m";
    for (int i = 0; i < versions; ++i) text += "/versions";
    return text + "/1/ready";
  };
  EXPECT_NE(router.Find("GET", path(50)).route, nullptr);
  EXPECT_EQ(router.Find("GET", path(1700)).route, nullptr);
}

// --- Tensors.

std::string Bytes(std::initializer_list<std::string> texts) {
  std::string bytes;
  for (const std::string& text : texts) {
    const auto size = static_cast<uint32_t>(text.size());
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(size >> shift & 0xff));
    bytes += text;
  }
  return bytes;
}

// A call of a model with one label.
Result<InferCall> ParseInfer(std::string_view body, std::optional<size_t> json_bytes = std::nullopt) {
  static const ModelInfo model;
  return ParseInferCall(model, body, json_bytes);
}

TEST(Tensors, ReadsBinaryInputs) {
  const std::string binary = Bytes({"a", "bcd", ""});
  const std::string json =
      R"({"inputs":[{"name":"texts","shape":[3],"datatype":"BYTES","parameters":{"binary_data_size":)" +
      std::to_string(binary.size()) + "}}]}";
  const auto call = ParseInfer(json + binary, json.size());
  ASSERT_TRUE(call.ok()) << call.status().ToString();
  EXPECT_THAT(call->call.texts, ElementsAre("a", "bcd", ""));
  EXPECT_THAT(ParseInfer(json + binary + "x", json.size()).status().message(), HasSubstr("no input claims"));
  EXPECT_THAT(ParseInfer(json, json.size()).status().message(), HasSubstr("more than the body has"));
  EXPECT_FALSE(ParseInfer(json, json.size() + 1).ok());
}

TEST(Tensors, RefusesWhatItsShapeDoesNotSay) {
  const auto message = [](const std::string& shape, const std::string& data) {
    return ParseInfer(R"({"inputs":[{"name":"texts","datatype":"BYTES","shape":)" + shape + R"(,"data":)" +
                      data + "}]}")
        .status()
        .message();
  };
  EXPECT_EQ(message("[2,1]", R"([["a"],["b"]])"), "");
  EXPECT_THAT(message("[3]", R"(["a","b"])"), HasSubstr("has 2 elements, its shape says [3]"));
  EXPECT_THAT(message("[1]", "[1]"), HasSubstr("must hold strings"));
  for (const char* shape : {"[0]", "[-1]", "[1e300]", "[4294967296,4294967296]", "7"})
    EXPECT_THAT(message(shape, R"(["a"])"), HasSubstr("shape")) << shape;
}

TEST(Tensors, ReadsParametersInAnyOrder) {
  const auto options = [](const std::string& parameters) {
    Result<InferCall> call = ParseInfer(R"({"parameters":{)" + parameters +
                                        R"(},"inputs":[{"name":"texts","datatype":"BYTES","shape":[1],)"
                                        R"("data":["a"]},{"name":"query","datatype":"BYTES","shape":[1],)"
                                        R"("data":["q"]}]})");
    EXPECT_TRUE(call.ok()) << call.status().ToString();
    return TakeScoreRequest(&call->call).value().overflow;
  };
  EXPECT_EQ(options(R"("truncate":false)").policy, Overflow::kError);
  EXPECT_EQ(options(R"("truncate":true,"priority":3)").policy, Overflow::kTruncate);
  EXPECT_EQ(options(R"("max_chunks_per_doc":3,"truncate":true)").policy, Overflow::kMaxWindow);
  EXPECT_EQ(options(R"("truncate":true,"max_chunks_per_doc":3)").policy, Overflow::kMaxWindow);
  EXPECT_EQ(options(R"("overflow":"truncate","max_chunks_per_doc":3)").policy, Overflow::kTruncate);
  EXPECT_EQ(options(R"("window":30,"stride":10)").window, 30);
}

TEST(Tensors, WritesFloatsLittleEndian) {
  const KserveOutput output = {{"scores", "FP32", {2}}, std::vector<float>{1.0f, -2.5f}};
  float back[2];
  ASSERT_EQ(output.raw().size(), sizeof(back));
  std::memcpy(back, output.raw().data(), sizeof(back));  // the machines of these tests are little endian
  EXPECT_THAT(back, ElementsAre(1.0f, -2.5f));
}

// --- The description.

TEST(OpenApi, DescribesEveryRoute) {
  FakeEngine engine;
  ScoreService service({}, engine, SteadyClock::Get());
  const Router router = MakeRoutes(service);
  std::set<std::pair<std::string, std::string>> described;
  for (const RouteDoc& doc : RouteDocs()) described.emplace(doc.method, doc.pattern);
  const std::set<std::string> hidden = {"/", "/dashboard", "/events", "/api-doc/openapi.json"};
  std::set<std::pair<std::string, std::string>> there;
  for (const Route& route : router.routes()) {
    there.emplace(route.method, route.pattern);
    if (route.method == "GET" && hidden.count(route.pattern) > 0) continue;
    EXPECT_EQ(described.count({route.method, route.pattern}), 1u) << route.method << " " << route.pattern;
  }
  for (const auto& route : described) EXPECT_EQ(there.count(route), 1u) << route.second;
}

TEST(OpenApi, RefersOnlyToSchemasThatExist) {
  const Json schemas = Json::parse(kOpenApiSchemas);
  for (const RouteDoc& doc : RouteDocs()) {
    EXPECT_TRUE(doc.request.empty() || schemas.contains(std::string(doc.request))) << doc.request;
    const bool text = doc.reply.empty() || doc.reply == "text" || doc.reply == "html";
    EXPECT_TRUE(text || schemas.contains(std::string(doc.reply))) << doc.reply;
  }
  const std::string text(kOpenApiSchemas), prefix = "#/components/schemas/";
  for (size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at + 1)) {
    const size_t begin = at + prefix.size();
    EXPECT_TRUE(schemas.contains(text.substr(begin, text.find('"', begin) - begin)))
        << text.substr(begin, 20);
  }
}

}  // namespace
}  // namespace rerankd::serving
