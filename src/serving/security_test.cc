// API keys, TLS files, request ids and the access log.
#include "serving/security.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "base/temporary_folder.h"
#include "serving/access_log.h"
#include "serving/request_id.h"
#include "serving/testing/certificate.h"

namespace rerankd::serving {
namespace {

using rerankd::testing::TemporaryFolder;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Caller Named(const std::string& name, double weight = 1, bool admin = false) { return {name, weight, admin}; }

NewApiKey Key(const Caller& caller) { return *MakeApiKey(caller); }

// --- Keys.

TEST(Sha256, IsTheStandardOne) {  // FIPS 180-2, appendix B.1
  const Sha256Digest digest = Sha256("abc");
  EXPECT_EQ(digest[0], 0xba);
  EXPECT_EQ(digest[1], 0x78);
  EXPECT_EQ(digest[31], 0xad);
}

TEST(ApiKeys, FindTheCallerOfABearerToken) {
  const NewApiKey a = Key(Named("a")), b = Key(Named("b", 2.5, true));
  const auto keys = ApiKeys::Parse(a.line + "\n\n" + b.line + "\n", "keys");
  ASSERT_TRUE(keys.ok()) << keys.status().ToString();
  EXPECT_EQ(keys->Find("Bearer " + a.key)->name, "a");
  const auto caller = keys->Find("bearer  " + b.key + " ");
  ASSERT_TRUE(caller.has_value());
  EXPECT_EQ(caller->name, "b");
  EXPECT_EQ(caller->weight, 2.5);
  EXPECT_TRUE(caller->admin);
}

TEST(ApiKeys, AnythingElseIsNobody) {
  const NewApiKey a = Key(Named("a"));
  const auto keys = ApiKeys::Parse(a.line, "keys");
  for (const std::string& wrong :
       {std::string(), std::string("Bearer"), std::string("Bearer "), a.key, "Basic " + a.key,
        "Bearer " + a.key + "x", "Bearer " + a.key.substr(1), "Bearer " + std::string(1000, 'x')})
    EXPECT_FALSE(keys->Find(wrong).has_value()) << wrong;
}

TEST(ApiKeys, ErrorsNameFileLineAndField) {
  const std::string good = Key(Named("a")).line, hex(64, 'a');
  const auto message = [](const std::string& text) {
    return ApiKeys::Parse(text, "keys.jsonl").status().message();
  };
  EXPECT_THAT(message(good + "\nrubbish"), StartsWith("keys.jsonl:2: not a JSON object"));
  EXPECT_THAT(message(R"({"name":"a"})"), HasSubstr("`sha256` must be there"));
  EXPECT_THAT(message(R"({"name":"a","sha256":"12"})"), HasSubstr("64 hexadecimal digits"));
  EXPECT_THAT(message(R"({"name":"a","sha256":")" + std::string(64, 'g') + "\"}"),
              HasSubstr("64 hexadecimal"));
  EXPECT_THAT(message(R"({"name":"a b","sha256":")" + hex + "\"}"), HasSubstr("`name` must be"));
  EXPECT_THAT(message(R"({"name":"a","sha265":")" + hex + "\"}"), HasSubstr("did you mean 'sha256'"));
  EXPECT_THAT(message(R"({"name":"a","sha256":")" + hex + R"(","admin":1})"), HasSubstr("`admin`"));
  for (const char* weight : {"0", "-1", "1e9", "\"1\"", "null"})
    EXPECT_THAT(message(R"({"name":"a","sha256":")" + hex + R"(","weight":)" + weight + "}"),
                HasSubstr("`weight`"));
  EXPECT_THAT(message(good + "\n" + good), HasSubstr("is also that of 'a'"));
  EXPECT_THAT(message(Key(Named("a")).line + "\n" + Key(Named("a", 2)).line),
              HasSubstr("differ in `weight`"));
  EXPECT_THAT(message(" \n"), HasSubstr("no API key in it"));
}

TEST(ApiKeys, ANewKeyIsNeverTheSame) { EXPECT_NE(Key(Named("a")).key, Key(Named("a")).key); }

// --- Security.

class SecurityTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) { return folder_.Write(name, text); }
  TemporaryFolder folder_;
  ServerSettings settings_;
};

TEST_F(SecurityTest, WithoutFilesEverybodyIsTheNamelessCaller) {
  const auto security = std::move(*Security::Load(settings_));
  EXPECT_FALSE(security->needs_key());
  EXPECT_EQ(security->tls(), nullptr);
  ASSERT_TRUE(security->Authenticate("").has_value());
  EXPECT_EQ(security->Authenticate("")->name, "");
  EXPECT_FALSE(security->Authenticate("")->admin);
}

TEST_F(SecurityTest, ReloadExchangesKeysAndAFaultyFileChangesNothing) {
  const NewApiKey old_key = Key(Named("old")), new_key = Key(Named("new"));
  settings_.api_key_file = Write("keys", old_key.line);
  const auto security = std::move(*Security::Load(settings_));
  EXPECT_TRUE(security->needs_key());
  EXPECT_FALSE(security->Authenticate("").has_value());
  Write("keys", "rubbish");
  EXPECT_THAT(security->Reload().message(), HasSubstr("keys:1"));
  EXPECT_TRUE(security->Authenticate("Bearer " + old_key.key).has_value());
  Write("keys", new_key.line);
  EXPECT_TRUE(security->Reload().ok());
  EXPECT_FALSE(security->Authenticate("Bearer " + old_key.key).has_value());
  EXPECT_EQ(security->Authenticate("Bearer " + new_key.key)->name, "new");
}

TEST_F(SecurityTest, TlsFilesMustFitTogether) {
  const TlsPem a = MakeTestCertificate(), b = MakeTestCertificate();
  settings_.tls_cert = Write("cert", a.certificate);
  EXPECT_THAT(Security::Load(settings_).status().message(), HasSubstr("server.tls.key"));
  settings_.tls_key = Write("key", b.key);
  EXPECT_THAT(Security::Load(settings_).status().message(), HasSubstr("does not belong to the certificate"));
  Write("key", "rubbish");
  EXPECT_THAT(Security::Load(settings_).status().message(), HasSubstr("key: no unencrypted PEM private key"));
  Write("key", a.key);
  const auto security = Security::Load(settings_);
  ASSERT_TRUE(security.ok()) << security.status().ToString();
  EXPECT_EQ((*security)->tls()->key, a.key);
  EXPECT_TRUE(MakeTlsContext(*(*security)->tls()).ok());
  Write("cert", "rubbish");
  EXPECT_THAT((*security)->Reload().message(), HasSubstr("no PEM certificate"));
  EXPECT_EQ((*security)->tls()->key, a.key);
}

// --- Ids.

TEST(RequestId, KeepsWhatIsFitForALogLine) {
  EXPECT_EQ(RequestId("abc-123"), "abc-123");
  EXPECT_EQ(RequestId("").size(), 36u);
  EXPECT_EQ(RequestId("a\nb").size(), 36u);
  EXPECT_EQ(RequestId(std::string(129, 'x')).size(), 36u);
}

TEST(TraceParent, KeepsWhatW3CDefines) {
  const std::string good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  EXPECT_EQ(TraceParent(good), good);
  EXPECT_EQ(TraceParent(good + "-x"), "");
  EXPECT_EQ(TraceParent("ff" + good.substr(2)), "");
  EXPECT_EQ(TraceParent("00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), "");
  EXPECT_EQ(TraceParent("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), "");
}

// --- Access log.

AccessRecord Sample() {
  AccessRecord record;
  record.protocol = "http";
  record.method = "POST";
  record.route = "/rerank\"\n";
  record.status = 200;
  record.request_id = "id-1";
  record.caller = "ci";
  record.total_ms = 1.23456;
  record.scored = {2, {}, {0.5, 1, 2, 0, 0}};
  return record;
}

TEST(AccessLog, WritesOneJsonLineARequest) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/access.jsonl";
  {
    const auto log = std::move(*AccessLog::Open(path));
    log->Write(Sample());
    log->Write(Sample());
  }
  const std::string text = *ReadFile(path);
  EXPECT_THAT(text, EndsWith("}\n"));
  const auto line = nlohmann::json::parse(text.substr(0, text.find('\n')));
  EXPECT_EQ(line["route"], "/rerank\"\n");
  EXPECT_EQ(line["total_ms"], 1.235);
  EXPECT_EQ(line["documents"], 2);
  EXPECT_EQ(line["queue_ms"], 0.5);
  EXPECT_EQ(line["caller"], "ci");
  EXPECT_EQ(line["time"].get<std::string>().size(), std::string("2026-01-01T00:00:00.000Z").size());
  EXPECT_FALSE(line.contains("traceparent"));
}

TEST(AccessLog, ReopensAfterRotation) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/access.jsonl";
  const auto log = std::move(*AccessLog::Open(path));
  ASSERT_EQ(::rename(path.c_str(), (path + ".1").c_str()), 0);
  EXPECT_TRUE(log->Reopen().ok());
  EXPECT_EQ(*ReadFile(path), "");
}

TEST(AccessLog, AFullDiskCostsLinesOnly) {
  auto log = std::move(*AccessLog::Open("/dev/full"));
  log->Write(Sample());
  while (log->lost() == 0) std::this_thread::yield();
  EXPECT_EQ(log->lost(), 1);
}

TEST(AccessLog, OffWritesNothingAndABadPathIsAnError) {
  EXPECT_FALSE((*AccessLog::Open("off"))->on());
  EXPECT_THAT(AccessLog::Open("/nowhere/log").status().message(), HasSubstr("/nowhere/log"));
}

}  // namespace
}  // namespace rerankd::serving
