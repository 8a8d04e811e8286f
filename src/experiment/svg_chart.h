// Charts as inline SVG: lines, points and stacked bars with axes and a legend. Pure functions of their data,
// so that a page is the same bytes whenever it is written; no script, no network. Colours come from the
// classes s0 … s7 of the page's style sheet, which is how one page suits light, dark and print; from the
// ninth series on a line is dashed too (classes d1 … d5), so that kMostSeries can be told apart.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace rerankd::experiment {

inline constexpr size_t kMostSeries = 48;  // of one chart: eight colours, six patterns

struct ChartPoint {
  double x = 0, y = 0;
  double low = 0, high = 0;  // an error bar where low < high
};

struct ChartSeries {
  std::string name;  // in the legend where a chart has several
  std::vector<ChartPoint> points;
};

struct Chart {
  enum class Kind { kLines, kPoints, kStackedBars };
  std::string title, x_title, y_title;
  Kind kind = Kind::kLines;
  std::vector<ChartSeries> series;
  // Labels of x = 0, 1, 2 …; without any, x is a number.
  std::vector<std::string> categories;
  // Ticks of x at other than round numbers: position and text.
  std::vector<std::pair<double, std::string>> x_ticks;
};

// "" when there is no point to draw. Numbers that are not finite are left out. More series than kMostSeries
// are drawn as several figures, "title (1 of 2)".
std::string DrawChart(const Chart& chart);

// Round numbers from about `low` to about `high`, `about` of them.
std::vector<double> NiceTicks(double low, double high, int about);

// For HTML text and attribute values.
std::string EscapeHtml(const std::string& text);

}  // namespace rerankd::experiment
