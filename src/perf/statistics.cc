#include "perf/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

namespace rerankd::perf {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Interval BootstrapMedian(const std::vector<double>& values) {
  constexpr size_t kResamples = 10'000;
  if (values.empty()) return {};
  std::mt19937 engine(1);
  std::vector<double> medians(kResamples), sample(values.size());
  for (double& median : medians) {
    for (double& value : sample) value = values[engine() % values.size()];
    median = Median(sample);
  }
  std::sort(medians.begin(), medians.end());
  return {Median(values), medians[kResamples / 40], medians[kResamples - kResamples / 40]};
}

std::string AlignColumns(const std::vector<std::vector<std::string>>& rows, size_t left) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      line +=
          i < left ? fmt::format("{:<{}}  ", row[i], widths[i]) : fmt::format("{:>{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += "  " + line + "\n";
  }
  return text;
}

}  // namespace rerankd::perf
