#include "hub/cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "base/temporary_folder.h"

namespace rerankd::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CacheTest : public ::testing::Test {
 protected:
  void WriteBlob(const RepositoryCache& cache, const std::string& etag, const std::string& content) {
    fs::create_directories(cache.Blob(etag).parent_path());
    std::ofstream(cache.Blob(etag)) << content;
  }

  const rerankd::testing::TemporaryFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(CacheTest, LayoutIsThatOfHuggingfaceHub) {
  const RepositoryCache cache(root_, "org/name");
  EXPECT_EQ(cache.Blob("e"), root_ / "models--org--name/blobs/e");
  EXPECT_EQ(cache.Snapshot("c"), root_ / "models--org--name/snapshots/c");
  EXPECT_EQ(cache.Lock("e"), root_ / ".locks/models--org--name/e.lock");
}

TEST_F(CacheTest, LinksAreRelativeAndReplaceOldOnes) {
  const RepositoryCache cache(root_, "org/name");
  WriteBlob(cache, "one", "first");
  WriteBlob(cache, "two", "second");
  const fs::path link = cache.Snapshot("commit") / "config.json";
  ASSERT_TRUE(cache.Link("commit", "config.json", "one").ok());
  EXPECT_EQ(fs::read_symlink(link), "../../blobs/one");
  EXPECT_EQ(*ReadFile(link.string()), "first");
  ASSERT_TRUE(cache.Link("commit", "config.json", "two").ok());
  EXPECT_EQ(*ReadFile(link.string()), "second");
}

TEST_F(CacheTest, RefsNameCommitsAndCommitsNeedNone) {
  const RepositoryCache cache(root_, "org/name");
  ASSERT_TRUE(cache.WriteRef("refs/pr/1", "abc").ok());
  EXPECT_EQ(*ReadFile((root_ / "models--org--name/refs/refs/pr/1").string()), "abc");
  ASSERT_TRUE(cache.WriteRef("abc", "abc").ok());
  EXPECT_FALSE(fs::exists(root_ / "models--org--name/refs/abc"));
}

TEST_F(CacheTest, ChecksumsOfGitAndOfLargeFiles) {
  const fs::path file = root_ / "file";
  std::ofstream(file) << "hello\n";
  // `git hash-object` and `sha256sum` of "hello\n".
  EXPECT_TRUE(VerifyChecksum(file, "ce013625030ba8dba906f756967f9e9ca394464a").ok());
  EXPECT_TRUE(VerifyChecksum(file, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").ok());
  EXPECT_TRUE(VerifyChecksum(file, "not-a-checksum").ok());
  const Status wrong = VerifyChecksum(file, std::string(64, '0'));
  EXPECT_EQ(wrong.code(), Code::kInternal);
  EXPECT_THAT(wrong.message(), HasSubstr("5891b5b522d5df"));
}

TEST_F(CacheTest, ShardsOfAnIndex) {
  const fs::path index = root_ / "index.json";
  std::ofstream(index) << R"({"weight_map": {"x": "b", "y": "a", "z": "b"}})";
  EXPECT_THAT(*ShardsOf(index), ::testing::ElementsAre("a", "b"));
  std::ofstream(index) << "[]";
  EXPECT_THAT(ShardsOf(index).status().message(), HasSubstr("weight_map"));
}

TEST_F(CacheTest, LockIsExclusive) {
  std::atomic<bool> second_has_it{false};
  std::thread second;
  {
    auto lock = FileLock::Acquire(root_ / "locks/x.lock");
    ASSERT_TRUE(lock.ok());
    second = std::thread([&] {
      auto waiting = FileLock::Acquire(root_ / "locks/x.lock");
      second_has_it = waiting.ok();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(second_has_it);
  }
  second.join();
  EXPECT_TRUE(second_has_it);
}

}  // namespace
}  // namespace rerankd::hub
