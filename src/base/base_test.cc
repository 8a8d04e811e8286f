#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <span>
#include <thread>

#include "base/bounded_queue.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/histogram.h"
#include "base/status.h"
#include "base/text.h"

namespace rerankd {
namespace {

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "rerankd_base_" + std::to_string(::getpid()) + "_" + name;
}

Result<int> Half(int n) {
  if (n % 2 != 0) return InvalidArgument("odd");
  return n / 2;
}

Result<int> Quarter(int n) {
  RERANKD_ASSIGN_OR_RETURN(const int half, Half(n));
  return Half(half);
}

TEST(Status, TravelsThroughTheMacros) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Quarter(6).status().WithContext("n=6").ToString(), "INVALID_ARGUMENT: n=6: odd");
}

TEST(Status, RetryAdviceSurvivesContext) {
  const Status full = ResourceExhausted("full").WithRetryAfter(1500);
  EXPECT_EQ(full.WithContext("queue").retry_after_ms(), 1500);
  EXPECT_EQ(Internal("x").retry_after_ms(), 0);
}

TEST(BoundedQueue, RefusesWhenFullAndDrainsAfterClose) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_FALSE(queue.TryPush(3));
  queue.Close();
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueue, HandsEveryItemToExactlyOneConsumer) {
  BoundedQueue<int> queue(10'000);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> consumers;
  for (int i = 0; i < 4; ++i)
    consumers.emplace_back([&] {
      while (auto item = queue.Pop()) sum += *item;
    });
  for (int i = 1; i <= 1000; ++i) ASSERT_TRUE(queue.TryPush(int(i)));
  queue.Close();
  for (auto& thread : consumers) thread.join();
  EXPECT_EQ(sum, 500'500);
}

TEST(VirtualClock, MovesOnlyWhenTold) {
  VirtualClock clock;
  const TimePoint start = clock.Now();
  EXPECT_EQ(clock.Now(), start);
  clock.Advance(std::chrono::milliseconds(5));
  EXPECT_DOUBLE_EQ(ToMs(clock.Now() - start), 5);
}

TEST(Cpu, ReportsThisMachine) {
  const CpuInfo& cpu = GetCpuInfo();
  EXPECT_GE(cpu.physical_cores, 1);
  EXPECT_LE(cpu.physical_cores, cpu.logical_cpus);
  EXPECT_EQ(WorkerThreads(3), 3);
  EXPECT_GE(WorkerThreads(0), 1);
  EXPECT_GT(ResidentBytes(), 1 << 20);
  EXPECT_GE(PeakResidentBytes(), ResidentBytes());
}

TEST(File, MissingFileNamesPath) {
  const auto text = ReadFile("/nonexistent/file");
  EXPECT_EQ(text.status().code(), Code::kNotFound);
  EXPECT_NE(text.status().message().find("/nonexistent/file"), std::string::npos);
  EXPECT_FALSE(MappedFile::Open("/nonexistent/file").ok());
  EXPECT_FALSE(LineReader::Open("/nonexistent/file").ok());
  EXPECT_EQ(ReadFile("/tmp").status().code(), Code::kInvalidArgument);
}

TEST(File, AtomicWriteRoundTripsThroughMapping) {
  const std::string path = TempPath("atomic");
  ASSERT_TRUE(WriteFileAtomically(path, "hello").ok());
  auto mapped = MappedFile::Open(path);
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()),
            "hello");
  EXPECT_FALSE(WriteFileAtomically("/nonexistent/dir/file", "x").ok());
  ::unlink(path.c_str());
}

TEST(File, ReleasedPartsOfAMappingTakeNoMemoryAndReadTheSame) {
  const std::string path = TempPath("released");
  constexpr size_t kSize = 64 << 20, kFirst = 1000;  // the part begins within a page
  ASSERT_TRUE(WriteFileAtomically(path, std::string(kSize, 'r')).ok());
  const auto mapped = MappedFile::Open(path);
  ASSERT_TRUE(mapped.ok());
  const std::span<const std::byte> bytes = mapped->bytes();
  const auto all_are_r = [&] {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{'r'}; });
  };
  EXPECT_TRUE(all_are_r());
  const int64_t before = ResidentBytes();
  mapped->Release(bytes.subspan(kFirst));
  EXPECT_LT(ResidentBytes(), before - static_cast<int64_t>(kSize / 2));
  EXPECT_TRUE(all_are_r());
  const std::string elsewhere = "not of this file";
  mapped->Release(std::as_bytes(std::span(elsewhere)));
  EXPECT_EQ(elsewhere, "not of this file");
  ::unlink(path.c_str());
}

TEST(LineReader, ReadsPlainAndGzipWithLongLinesAndCrLf) {
  const std::string long_line(10'000, 'x');
  const std::string content = "first\r\n\n" + long_line + "\nlast";
  const std::string plain = TempPath("plain"), zipped = TempPath("zipped.gz");
  std::ofstream(plain, std::ios::binary) << content;
  gzFile gz = gzopen(zipped.c_str(), "wb");
  gzwrite(gz, content.data(), static_cast<unsigned>(content.size()));
  gzclose(gz);
  for (const std::string& path : {plain, zipped}) {
    auto reader = LineReader::Open(path);
    ASSERT_TRUE(reader.ok());
    std::vector<std::string> lines;
    for (std::string line; reader->Next(&line);) lines.push_back(line);
    EXPECT_EQ(lines, (std::vector<std::string>{"first", "", long_line, "last"})) << path;
    EXPECT_TRUE(reader->status().ok());
    EXPECT_EQ(reader->line_number(), 4);
    ::unlink(path.c_str());
  }
}

TEST(LineReader, CutGzipIsAnError) {
  const std::string path = TempPath("cut.gz");
  gzFile gz = gzopen(path.c_str(), "wb");
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) gzprintf(gz, "%u\n", static_cast<unsigned>(random()));
  gzclose(gz);
  ASSERT_EQ(::truncate(path.c_str(), 5000), 0);
  auto reader = LineReader::Open(path);
  ASSERT_TRUE(reader.ok());
  for (std::string line; reader->Next(&line);) {
  }
  EXPECT_FALSE(reader->status().ok());
  EXPECT_NE(reader->status().message().find(path), std::string::npos);
  ::unlink(path.c_str());
}

TEST(Text, FindsTheFirstInvalidByte) {
  EXPECT_EQ(FirstInvalidUtf8("plain \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("ab\xFF"), 2u);
  EXPECT_EQ(FirstInvalidUtf8("\xC0\x80"), 0u);          // overlong
  EXPECT_EQ(FirstInvalidUtf8("x\xED\xA0\x80"), 1u);     // surrogate
  EXPECT_EQ(FirstInvalidUtf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8("a\xE2\x82"), 1u);         // cut
}

TEST(Text, HintsAtTheNearestName) {
  const std::vector<std::string> names = {"max_batch_size", "timeout_ms", "length_aware"};
  EXPECT_EQ(NearestName("max_batchsize", names), "max_batch_size");
  EXPECT_EQ(NearestName("completely_else", names), "");
  EXPECT_EQ(Hint("timeout", names), " (did you mean 'timeout_ms'?)");
  EXPECT_EQ(NearestName(std::string(1 << 24, 'x'), names), "");  // at once, whatever a client sends
}

TEST(File, SaysWhenAPipeIsFull) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_TRUE(WaitWritable(ends[1], 0));
  const std::string page(4096, 'x');
  int pages = 0;
  while (WaitWritable(ends[1], 0)) {
    ASSERT_LT(++pages, 10'000);
    ASSERT_EQ(::write(ends[1], page.data(), page.size()), 4096);  // never blocks
  }
  EXPECT_GT(pages, 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(File, TheLimitOfOpenFilesCanBeRaised) {
  const int64_t before = OpenFileLimit();
  EXPECT_GE(RaiseOpenFileLimit(), before);
  EXPECT_EQ(RaiseOpenFileLimit(), OpenFileLimit());
}

TEST(Histogram, PercentilesStayWithinATenthOfAPercent) {
  Histogram histogram;
  std::vector<int64_t> values;
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(16, 2);
  for (int i = 0; i < 100'000; ++i) values.push_back(static_cast<int64_t>(latency(random)));
  for (int64_t v : values) histogram.Record(v);
  std::sort(values.begin(), values.end());
  for (double p : {0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const auto rank = static_cast<size_t>(std::max(1.0, std::ceil(p * 100'000 / 100)));
    const auto exact = static_cast<double>(values[rank - 1]);
    EXPECT_NEAR(static_cast<double>(histogram.Percentile(p)), exact, exact * 0.001 + 1) << p;
  }
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(histogram.min(), values.front());
}

TEST(Histogram, MergeEqualsRecordingAll) {
  Histogram a, b, all;
  for (int64_t v = 1; v < 5000; ++v) {
    (v % 3 == 0 ? a : b).Record(v * v);
    all.Record(v * v);
  }
  a.Merge(b);
  EXPECT_EQ(a.count(), all.count());
  EXPECT_DOUBLE_EQ(a.mean(), all.mean());
  for (double p = 0; p <= 100; p += 2.5) EXPECT_EQ(a.Percentile(p), all.Percentile(p));
}

// The vectors of the reference implementation: key 00 01 .. 0f, input 00 01 .. of n bytes.
TEST(KeyedHash, IsSipHash128) {
  const KeyedHash hash(0x0706050403020100, 0x0F0E0D0C0B0A0908);
  EXPECT_EQ(hash(""), (Hash128{0xE6A825BA047F81A3, 0x930255C71472F66D}));
  EXPECT_EQ(hash(std::string(1, '\0')), (Hash128{0x44AF996BD8C187DA, 0x45FC229B11597634}));
  EXPECT_FALSE(KeyedHash::Random()("a") == KeyedHash::Random()("a"));
}

}  // namespace
}  // namespace rerankd
