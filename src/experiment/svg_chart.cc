#include "experiment/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rerankd::experiment {
namespace {

constexpr double kWidth = 560, kHeight = 260;
constexpr double kLeft = 64, kRight = 12, kTop = 30, kBottom = 44;
constexpr double kLegendRow = 16, kLegendChar = 6.5, kSample = 24, kSquare = 10;  // pixels
constexpr size_t kColours = 8;
constexpr size_t kMostDots = 24;  // of the longest line; more would hide its pattern
constexpr int kTicks = 5;

struct Range {
  double low = HUGE_VAL, high = -HUGE_VAL;
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

// The classes that colour the series `i` and give its line a pattern.
std::string ClassOf(size_t i) {
  const size_t pattern = i / kColours;
  return pattern == 0 ? fmt::format("s{}", i) : fmt::format("s{} d{}", i % kColours, pattern);
}

bool Finite(const ChartPoint& p) { return std::isfinite(p.x) && std::isfinite(p.y); }

std::string Short(double value) { return fmt::format("{:.5g}", value); }

// Where data lies on the picture.
class Scale {
 public:
  Scale(const Chart& chart, std::vector<double> y_ticks, const Range& x)
      : y_ticks_(std::move(y_ticks)), x_(x), categories_(chart.categories.size()) {
    if (categories_ > 0) x_ = {-0.5, static_cast<double>(categories_) - 0.5};
    if (x_.low == x_.high) x_ = {x_.low - 0.5, x_.high + 0.5};
  }
  double X(double x) const { return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight); }
  double Y(double y) const {
    const double low = y_ticks_.front(), high = y_ticks_.back();
    return kHeight - kBottom - (y - low) / (high - low) * (kHeight - kTop - kBottom);
  }
  double slot() const {
    return (kWidth - kLeft - kRight) / static_cast<double>(std::max<size_t>(categories_, 1));
  }
  const std::vector<double>& y_ticks() const { return y_ticks_; }
  const Range& x() const { return x_; }

 private:
  const std::vector<double> y_ticks_;
  Range x_;
  const size_t categories_;
};

Scale MakeScale(const Chart& chart) {
  Range x, y;
  y.Add(0);
  std::vector<double> stacked(chart.categories.size());
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& p : series.points) {
      if (!Finite(p)) continue;
      x.Add(p.x);
      y.Add(std::max(p.y, p.high));
      const auto slot = static_cast<size_t>(p.x);
      if (chart.kind == Chart::Kind::kStackedBars && slot < stacked.size()) y.Add(stacked[slot] += p.y);
    }
  }
  return Scale(chart, NiceTicks(0, y.high, kTicks), x);
}

std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                     EscapeHtml(text));
}

std::string Axes(const Chart& chart, const Scale& scale) {
  std::string svg;
  const double bottom = kHeight - kBottom;
  for (const double y : scale.y_ticks()) {
    svg += fmt::format("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                       kLeft, kWidth - kRight, scale.Y(y), scale.Y(y));
    svg += Text(kLeft - 6, scale.Y(y) + 4, "end", Short(y));
  }
  std::vector<std::pair<double, std::string>> ticks = chart.x_ticks;
  for (size_t i = 0; i < chart.categories.size(); ++i)
    ticks.emplace_back(static_cast<double>(i), chart.categories[i]);
  if (ticks.empty())
    for (const double x : NiceTicks(scale.x().low, scale.x().high, kTicks))
      if (x >= scale.x().low && x <= scale.x().high) ticks.emplace_back(x, Short(x));
  for (const auto& [x, label] : ticks) svg += Text(scale.X(x), bottom + 16, "middle", label);
  svg += Text((kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", chart.x_title);
  return svg + Text(kLeft - 58, kTop - 10, "start", chart.y_title);
}

std::string Hover(const ChartSeries& series, const ChartPoint& p) {
  const std::string name = series.name.empty() ? "" : series.name + ": ";
  return fmt::format("<title>{}</title>",
                     EscapeHtml(fmt::format("{}{} at {}", name, Short(p.y), Short(p.x))));
}

std::string ErrorBar(const Scale& scale, const ChartPoint& p) {
  if (!(p.low < p.high)) return "";
  const double x = scale.X(p.x);  // an interval may reach below 0, the axis does not
  return fmt::format(
      "<path class=\"bar-end\" d=\"M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h8M{3:.1f} {2:.1f}h8\"/>", x,
      scale.Y(std::max(p.low, 0.0)), scale.Y(p.high), x - 4);
}

std::string Dots(const Scale& scale, const ChartSeries& series, double radius) {
  std::string svg;
  for (const ChartPoint& p : series.points)
    if (Finite(p))
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\">{}</circle>{}", scale.X(p.x),
                         scale.Y(p.y), radius, Hover(series, p), ErrorBar(scale, p));
  return svg;
}

std::string Line(const Scale& scale, const ChartSeries& series, bool dots) {
  std::string path;
  for (const ChartPoint& p : series.points)
    if (Finite(p))
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", scale.X(p.x), scale.Y(p.y));
  const std::string title = series.name.empty() ? "" : "<title>" + EscapeHtml(series.name) + "</title>";
  return fmt::format("<path class=\"line\" d=\"{}\">{}</path>{}", path, title,
                     dots ? Dots(scale, series, 2.5) : "");
}

std::string Bars(const Scale& scale, const ChartSeries& series, std::vector<double>* base) {
  std::string svg;
  const double width = scale.slot() * 0.8;
  for (const ChartPoint& p : series.points) {
    const auto slot = static_cast<size_t>(p.x);
    if (!Finite(p) || slot >= base->size()) continue;
    const double bottom = (*base)[slot];
    const double top = (*base)[slot] += p.y;
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">{}</rect>",
                       scale.X(p.x) - width / 2, scale.Y(top), width, scale.Y(bottom) - scale.Y(top),
                       Hover(series, p));
  }
  return svg;
}

std::string Body(const Chart& chart, const Scale& scale) {
  std::string svg;
  std::vector<double> base(chart.categories.size());
  const bool dots = std::all_of(chart.series.begin(), chart.series.end(),
                                [](const ChartSeries& each) { return each.points.size() <= kMostDots; });
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const ChartSeries& series = chart.series[i];
    svg += fmt::format("<g class=\"{}\">", ClassOf(i));
    if (chart.kind == Chart::Kind::kLines) svg += Line(scale, series, dots);
    if (chart.kind == Chart::Kind::kPoints) svg += Dots(scale, series, 1.6);
    if (chart.kind == Chart::Kind::kStackedBars) svg += Bars(scale, series, &base);
    svg += "</g>";
  }
  return svg;
}

// What a series looks like, before its name: a piece of its line, or a square.
std::string Sample(const Chart& chart, size_t series, double x, double y) {
  if (chart.kind == Chart::Kind::kLines)
    return fmt::format("<g class=\"{}\"><path class=\"line\" d=\"M{:.1f} {:.1f}h{}\"/></g>", ClassOf(series),
                       x, y - 4, kSample);
  return fmt::format("<g class=\"{0}\"><rect x=\"{1:.1f}\" y=\"{2:.1f}\" width=\"{3}\" height=\"{3}\"/></g>",
                     ClassOf(series), x, y - 9, kSquare);
}

// Names below the picture, in rows; returns its height too.
std::pair<std::string, double> Legend(const Chart& chart) {
  if (chart.series.size() < 2) return {"", 0};
  std::string svg;
  const double sample = chart.kind == Chart::Kind::kLines ? kSample : kSquare;
  double x = kLeft, y = kHeight + 8;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const double width = sample + 18 + kLegendChar * static_cast<double>(chart.series[i].name.size());
    if (x > kLeft && x + width > kWidth) {
      x = kLeft;
      y += kLegendRow;
    }
    svg += Sample(chart, i, x, y);
    svg += Text(x + sample + 4, y, "start", chart.series[i].name);
    x += width;
  }
  return {svg, y - kHeight + 10};
}

std::string DrawFigure(const Chart& chart) {
  const bool any = std::any_of(chart.series.begin(), chart.series.end(), [](const ChartSeries& s) {
    return std::any_of(s.points.begin(), s.points.end(), Finite);
  });
  if (!any) return "";
  const Scale scale = MakeScale(chart);
  const auto [legend, legend_height] = Legend(chart);
  return fmt::format(
      "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 {1} {2:.0f}\" role=\"img\" "
      "aria-label=\"{0}\">{3}{4}{5}"
      "</svg></figure>\n",
      EscapeHtml(chart.title), kWidth, kHeight + legend_height, Axes(chart, scale), Body(chart, scale),
      legend);
}

}  // namespace

std::string EscapeHtml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else if (c == '"')
      escaped += "&quot;";
    else
      escaped += c;
  }
  return escaped;
}

std::vector<double> NiceTicks(double low, double high, int about) {
  if (!(high > low)) high = low + 1;
  const double raw = (high - low) / about;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double nice : {5.0, 2.0, 1.0})
    if (nice * power >= raw) step = nice * power;
  std::vector<double> ticks;
  const auto first = static_cast<int64_t>(std::floor(low / step));
  const auto last = static_cast<int64_t>(std::ceil(high / step));
  for (int64_t i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::string DrawChart(const Chart& chart) {
  if (chart.series.size() <= kMostSeries) return DrawFigure(chart);
  const size_t parts = (chart.series.size() + kMostSeries - 1) / kMostSeries;
  std::string html;
  for (size_t part = 0; part < parts; ++part) {
    Chart one = chart;
    one.title = fmt::format("{} ({} of {})", chart.title, part + 1, parts);
    const size_t first = part * kMostSeries, last = std::min(first + kMostSeries, chart.series.size());
    one.series.assign(chart.series.begin() + static_cast<std::ptrdiff_t>(first),
                      chart.series.begin() + static_cast<std::ptrdiff_t>(last));
    html += DrawFigure(one);
  }
  return html;
}

}  // namespace rerankd::experiment
