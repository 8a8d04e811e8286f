#include "experiment/testing/report_grammar.h"

#include <fmt/format.h>

#include <cmath>
#include <regex>

#include "base/text.h"

namespace rerankd::experiment {
namespace {

// Number formats: whole, and with 1, 2, 3 decimals.
constexpr const char* kInt = R"((\d+))";
constexpr const char* kN1 = R"((\d+\.\d))";
constexpr const char* kN2 = R"((\d+\.\d\d))";

class Parser {
 public:
  explicit Parser(const std::string& markdown) {
    for (std::string_view line : Split(markdown, '\n')) lines_.emplace_back(line);
    if (!lines_.empty() && lines_.back().empty()) lines_.pop_back();  // after the last end of line
  }

  Result<ParsedReport> Parse() {
    for (const auto step : {&Parser::Header, &Parser::SummaryTable, &Parser::Details, &Parser::Overall,
                            &Parser::DashboardSummary, &Parser::TimeSeries, &Parser::OwnSections})
      RERANKD_RETURN_IF_ERROR((this->*step)());
    if (at_ < lines_.size()) return Expected("the end");
    return std::move(report_);
  }

 private:
  Status Expected(const std::string& what) const {
    return InvalidArgument(fmt::format("line {}: expected {}, found '{}'", at_ + 1, what,
                                       at_ < lines_.size() ? lines_[at_] : "the end"));
  }
  bool Peek(const std::string& pattern) {
    return at_ < lines_.size() && std::regex_match(lines_[at_], match_, std::regex(pattern));
  }
  // Takes the line if it matches; its groups are in match_.
  Status Take(const std::string& pattern) {
    if (!Peek(pattern)) return Expected("/" + pattern + "/");
    ++at_;
    return {};
  }
  Status TakeAll(const std::vector<std::string>& patterns) {
    for (const std::string& pattern : patterns) RERANKD_RETURN_IF_ERROR(Take(pattern));
    return {};
  }
  // A blank line that may be missing at the end of the report only.
  Status Blank() { return at_ == lines_.size() ? Status() : Take(""); }
  std::string Group(size_t i) const { return match_[i].str(); }
  double Value(size_t i) const { return std::stod(match_[i].str()); }

  Status Header() {
    RERANKD_RETURN_IF_ERROR(Take("# (.+)"));
    report_.title = Group(1);
    RERANKD_RETURN_IF_ERROR(Take(""));
    if (Peek("_.+_")) RERANKD_RETURN_IF_ERROR(TakeAll({"_.+_", ""}));
    RERANKD_RETURN_IF_ERROR(Take(R"(\*\*Timestamp:\*\* (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d))"));
    report_.timestamp = Group(1);
    RERANKD_RETURN_IF_ERROR(TakeAll({"", R"(\*\*Model:\*\* `([^`]+)`)"}));
    report_.model = Group(1);
    RERANKD_RETURN_IF_ERROR(TakeAll({"", R"(\*\*Backend:\*\* `([^`]+)` \| \*\*Device:\*\* `([^`]+)`)"}));
    report_.backend = Group(1);
    report_.device = Group(2);
    RERANKD_RETURN_IF_ERROR(Take(""));
    if (Peek(R"(\*\*Dynamic Batching.*)"))
      return TakeAll({R"(\*\*Dynamic Batching:\*\* enabled \(max_batch=\d+, timeout=[0-9.]+ms\))", ""});
    return {};
  }

  Status SummaryTable() {
    RERANKD_RETURN_IF_ERROR(TakeAll(
        {"## Results Summary", "",
         R"(\| Batch \| Conc \| Pairs \| Time\(s\) \| Lat Avg \| Lat P95 \| Lat P99 \| TP Avg \| TP P95 \|)",
         R"(\|-------\|------\|-------\|---------\|---------\|---------\|---------\|--------\|--------\|)"}));
    const std::string good = fmt::format(
        R"(\| {0} \| {0} \| {0} \| {1} \| {2}ms \| {2}ms \| {2}ms \| {2} \| {2} \|)", kInt, kN2, kN1);
    const std::string failed = R"(\| (?:\d+|-) \| (?:\d+|-) \| ERROR \| - \| - \| - \| - \| - \| - \|)";
    while (Peek(good) || Peek(failed)) {
      rows_.push_back(lines_[at_]);
      ++at_;
    }
    return rows_.empty() ? Expected("a row of a cell") : Take("");
  }

  Status Details() {
    RERANKD_RETURN_IF_ERROR(TakeAll({"## Detailed Metrics", ""}));
    for (size_t i = 0; i < rows_.size(); ++i) RERANKD_RETURN_IF_ERROR(Cell(i));
    return {};
  }

  Status Cell(size_t index) {
    const std::string head = fmt::format("### Config {}: ", index + 1);
    ParsedCell cell;
    if (Peek(head + R"(\*\*ERROR\*\*)")) {
      if (rows_[index].find("ERROR") == std::string::npos) return Expected("details of a good cell");
      cell.error = true;
      report_.cells.push_back(cell);
      return TakeAll({".*", "", "Error: .+", ""});
    }
    RERANKD_RETURN_IF_ERROR(Take(head + R"(batch=(\d+), concurrency=(\d+))"));
    const std::string batch = Group(1);
    const std::string identity = fmt::format("| {} | {} | ", batch, Group(2));
    RERANKD_RETURN_IF_ERROR(TakeAll({"", fmt::format(R"(\*\*Total:\*\* {} pairs in {}s)", kInt, kN2)}));
    cell.pairs = std::stol(Group(1));
    cell.seconds = Value(2);
    if (!rows_[index].starts_with(fmt::format("{}{} | {:.2f} |", identity, cell.pairs, cell.seconds)))
      return Expected("the totals of row " + rows_[index]);
    double unused = 0, rate = 0;
    RERANKD_RETURN_IF_ERROR(TakeAll({"", R"(#### Latency \(ms\))"}));
    RERANKD_RETURN_IF_ERROR(MetricTable(&unused));
    RERANKD_RETURN_IF_ERROR(Take(R"(#### Throughput \(pairs/s\))"));
    RERANKD_RETURN_IF_ERROR(MetricTable(&rate));
    // Time has two decimals: half a hundredth either way.
    const double pairs = static_cast<double>(cell.pairs);
    if (cell.seconds > 0.02 &&
        (rate < pairs / (cell.seconds + 0.006) || rate > pairs / (cell.seconds - 0.006)))
      return Expected("an average throughput of Pairs / Time");
    RERANKD_RETURN_IF_ERROR(Ranges(&cell));
    if (cell.requests * std::stol(batch) != cell.pairs) return Expected("as many requests as the pairs make");
    report_.cells.push_back(cell);
    return {};
  }

  Status MetricTable(double* average) {
    RERANKD_RETURN_IF_ERROR(TakeAll({R"(\| Metric \| Value \|)", R"(\|--------\|-------\|)",
                                     fmt::format(R"(\| Average \| {} \|)", kN2)}));
    *average = Value(1);
    for (const char* name : {"Min", "Max", "Std Dev", "P50", "P90", "P95", "P99"})
      RERANKD_RETURN_IF_ERROR(Take(fmt::format(R"(\| {} \| {} \|)", name, kN2)));
    return Take("");
  }

  Status Ranges(ParsedCell* cell) {
    RERANKD_RETURN_IF_ERROR(
        TakeAll({"#### Latency vs Throughput Analysis", "",
                 R"(\| Latency Range \| Avg Throughput \| Min Throughput \| Max Throughput \| Count \|)",
                 R"(\|---------------\|----------------\|----------------\|----------------\|-------\|)"}));
    const std::string numbers = fmt::format(R"( \| {0} \| {0} \| {0} \| {1} \|)", kN2, kInt);
    for (const char* range : {R"(\| < \d+\.\dms \(P50\))", R"(\| \d+\.\d-\d+\.\dms \(P50-P75\))",
                              R"(\| \d+\.\d-\d+\.\dms \(P75-P90\))", R"(\| >= \d+\.\dms \(P90\+\))"}) {
      if (!Peek(range + numbers)) continue;
      ++at_;
      cell->requests += std::stol(Group(4));
    }
    return TakeAll(
        {"",
         R"(\*\*Correlation:\*\* -?\d\.\d{3} \(negative correlation expected: lower latency = higher throughput\))",
         ""});
  }

  Status Overall() {
    bool any_good = false;
    for (const ParsedCell& cell : report_.cells) any_good |= !cell.error;
    if (!any_good) return {};
    const std::string config = R"(batch=\d+, conc=\d+)";
    return TakeAll({"## Overall Summary", "", R"(\| Metric \| Value \| Config \|)",
                    R"(\|--------\|-------\|--------\|)",
                    fmt::format(R"(\| Best Throughput \| {} p/s \| {} \|)", kN2, config),
                    fmt::format(R"(\| Best Latency \| {}ms \| {} \|)", kN2, config),
                    fmt::format(R"(\| Avg Throughput \| {} p/s \| all configs \|)", kN2),
                    fmt::format(R"(\| Avg Latency \| {}ms \| all configs \|)", kN2), ""});
  }

  Status DashboardSummary() {
    RERANKD_RETURN_IF_ERROR(
        TakeAll({"## Dashboard Metrics Summary", "", R"(\| Metric \| Avg \| Min \| Max \| P50 \| P95 \|)",
                 R"(\|--------\|-----\|-----\|-----\|-----\|-----\|)"}));
    for (const char* name :
         {R"(GPU Memory \(MB\))", R"(GPU Utilization \(%\))", R"(CPU Usage \(%\))", R"(Tokenization \(ms\))",
          R"(Inference \(ms\))", R"(Queue Wait \(ms\))", R"(Padding Waste \(%\))"})
      RERANKD_RETURN_IF_ERROR(
          Take(fmt::format(R"(\| {0} \| {1} \| {1} \| {1} \| {1} \| {1} \|)", name, kN1)));
    return Blank();
  }

  Status TimeSeries() {
    if (!Peek("## Dashboard Time-Series Data")) return {};
    RERANKD_RETURN_IF_ERROR(TakeAll(
        {".*", "",
         R"(\| Index \| GPU Mem \(MB\) \| GPU Util \(%\) \| CPU \(%\) \| Latency \(ms\) \| Throughput \| Tokenize \(ms\) \| Inference \(ms\) \| Queue \(ms\) \| Padding \(%\) \|)",
         R"(\|-----\|-----\|-----\|-----\|-----\|-----\|-----\|-----\|-----\|-----\|)"}));
    const std::string n = R"((?:\d+\.\d|-))", whole = R"((?:\d+|-))";
    while (Peek(fmt::format(R"(\| {0} \| {1} \| {1} \| {1} \| {1} \| {2} \| {1} \| {1} \| {1} \| {1} \|)",
                            report_.series_rows, n, whole))) {
      ++at_;
      ++report_.series_rows;
    }
    if (report_.series_rows == 0) return Expected("row 0 of the series");
    return Blank();
  }

  // Anything under second-level headings that the reference report does not have.
  Status OwnSections() {
    while (at_ < lines_.size()) {
      if (report_.own_sections.empty() && !Peek("## .+")) return Expected("a section or the end");
      if (Peek("## (.+)")) report_.own_sections.push_back(Group(1));
      if (Peek("#{1} .*|### Config.*")) return Expected("no heading of the reference report");
      ++at_;
    }
    return {};
  }

  std::vector<std::string> lines_;
  std::vector<std::string> rows_;  // of the summary table
  size_t at_ = 0;
  std::smatch match_;
  ParsedReport report_;
};

}  // namespace

Result<ParsedReport> ParseReport(const std::string& markdown) { return Parser(markdown).Parse(); }

}  // namespace rerankd::experiment
