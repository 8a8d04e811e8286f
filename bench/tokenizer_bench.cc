// The measured and the compared side of tools/bench_tokenizer.py and tools/fuzz_tokenizer.py.
//   tokenizer_bench load DIRECTORY                 milliseconds to load the tokenizer, by clock and by
//   processor tokenizer_bench speed DIRECTORY PAIRS.tsv      "query TAB document" lines; one round per line
//   of standard
//                                                  input, which is "reuse" or "each"; prints seconds of a
//                                                  round
//   tokenizer_bench encode DIRECTORY CASES.jsonl   {"text", "pair"?, "max_length", "left", "escape"} a line;
//                                                  prints [[id, type, begin, end], ...] a line
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "tokenizer/tokenizer.h"

namespace rerankd {
namespace {

using nlohmann::json;

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

// Processor time of this process: unlike the clock it does not count what other programs take.
double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Pair {
  std::string query, document;
};

std::vector<Pair> ReadPairs(const char* path) {
  std::vector<Pair> pairs;
  auto reader = LineReader::Open(path);
  if (!reader.ok()) return pairs;
  for (std::string line; reader->Next(&line);) {
    const size_t tab = line.find('\t');
    if (tab != std::string::npos) pairs.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  return pairs;
}

// Encodes all pairs in requests of equal consecutive queries, with fresh buffers a request as the server has.
int64_t EncodeAll(const Tokenizer& tokenizer, const std::vector<Pair>& pairs, bool reuse) {
  int64_t tokens = 0;
  std::vector<int32_t> query;
  for (size_t i = 0; i < pairs.size();) {
    EncodedPairs encoded;
    for (const size_t first = i; i < pairs.size() && pairs[i].query == pairs[first].query; ++i) {
      if (!reuse || i == first) {
        query.clear();
        tokenizer.EncodeText(pairs[i].query, false, &query);
      }
      if (!tokenizer.AppendPair(query, pairs[i].document, {}, &encoded).ok()) return -1;
    }
    tokens += encoded.tokens();
  }
  return tokens;
}

int Speed(const Tokenizer& tokenizer, const char* path) {
  const std::vector<Pair> pairs = ReadPairs(path);
  if (pairs.empty()) {
    std::cerr << "no pairs in " << path << "\n";
    return 1;
  }
  for (std::string mode; std::getline(std::cin, mode);) {
    const auto start = std::chrono::steady_clock::now();
    const double cpu = CpuSeconds();
    const int64_t tokens = EncodeAll(tokenizer, pairs, mode == "reuse");
    std::cout << fmt::format("{{\"seconds\":{:.6f},\"cpu_seconds\":{:.6f},\"tokens\":{}}}", Seconds(start),
                             CpuSeconds() - cpu, tokens)
              << std::endl;  // the caller waits for the line
  }
  return 0;
}

// The ids of the hot path, which must equal those for display.
std::vector<int32_t> HotIds(const Tokenizer& tokenizer, const json& line, const PairOptions& options) {
  std::vector<int32_t> text;
  tokenizer.EncodeText(line["text"].get_ref<const std::string&>(), options.escape_special, &text);
  EncodedPairs out;
  const Status status = tokenizer.AppendPair(text, line["pair"].get_ref<const std::string&>(), options, &out);
  if (!status.ok()) return {};
  return {out[0].ids.begin(), out[0].ids.end()};
}

int EncodeCase(const Tokenizer& tokenizer, const json& line) {
  PairOptions options;
  options.max_length = line["max_length"].get<int>();
  options.truncate_left = line["left"].get<bool>();
  options.escape_special = line["escape"].get<bool>();
  const bool has_pair = line.contains("pair");
  const auto tokens = tokenizer.Explain(
      line["text"].get_ref<const std::string&>(),
      has_pair ? std::string_view(line["pair"].get_ref<const std::string&>()) : std::string_view(), options);
  if (!tokens.ok()) {
    std::cout << json(tokens.status().ToString()) << "\n";
    return 0;
  }
  json out = json::array();
  std::vector<int32_t> ids;
  for (const DisplayToken& token : *tokens) {
    out.push_back({token.id, token.type_id, token.begin, token.end});
    ids.push_back(token.id);
  }
  std::cout << out << "\n";
  if (!has_pair || HotIds(tokenizer, line, options) == ids) return 0;
  std::cerr << "AppendPair and Explain differ: " << line << "\n";
  return 1;
}

int EncodeCases(const Tokenizer& tokenizer, const char* path) {
  auto reader = LineReader::Open(path);
  if (!reader.ok()) {
    std::cerr << reader.status().ToString() << "\n";
    return 1;
  }
  int failures = 0;
  for (std::string line; reader->Next(&line);) failures += EncodeCase(tokenizer, json::parse(line));
  return failures == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  const std::string_view mode = argc > 2 ? argv[1] : "";
  if (mode != "load" && !((mode == "speed" || mode == "encode") && argc == 4)) {
    std::cerr << "usage: tokenizer_bench load DIRECTORY | speed DIRECTORY PAIRS | encode DIRECTORY CASES\n";
    return 2;
  }
  const auto start = std::chrono::steady_clock::now();
  const double cpu = CpuSeconds();
  const auto tokenizer = LoadTokenizer(argv[2]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().ToString() << "\n";
    return 1;
  }
  if (mode == "load") {
    std::cout << fmt::format("{:.3f} {:.3f}\n", Seconds(start) * 1000, (CpuSeconds() - cpu) * 1000);
    return 0;
  }
  return mode == "speed" ? Speed(**tokenizer, argv[3]) : EncodeCases(**tokenizer, argv[3]);
}

}  // namespace
}  // namespace rerankd

int main(int argc, char** argv) { return rerankd::Main(argc, argv); }
