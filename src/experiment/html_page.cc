#include <fmt/format.h>

#include "experiment/report_html.h"
#include "experiment/svg_chart.h"

namespace rerankd::experiment {
namespace {

// Colours: Okabe and Ito's, which differ for colour-blind eyes too; lighter ones on a dark ground.
constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#d8dee4;--ground:#fff;--c0:#0072b2;--c1:#d55e00;
--c2:#009e73;--c3:#a0527d;--c4:#b58900;--c5:#3a87c8;--c6:#6b6b6b;--c7:#7a4b00;--bad:#b34700}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--line:#30363d;--ground:#0d1117;--c0:#56b4e9;
--c1:#f0883e;--c2:#3fcf9e;--c3:#e6a1c4;--c4:#f0e442;--c5:#8cc8ff;--c6:#b0b0b0;--c7:#d9a441;--bad:#f0883e}}
@media print{:root{color-scheme:light}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:1180px;margin:0 auto;
padding:1rem}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.2rem;margin:1.6rem 0 .4rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .3rem}.soft{color:var(--soft)}
table{border-collapse:collapse;display:block;overflow-x:auto;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.text td{text-align:left;white-space:normal}.text td:first-child{white-space:nowrap}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr));gap:1rem}
figure{margin:0;break-inside:avoid}figcaption{font-weight:600;font-size:.9rem}svg{width:100%;height:auto}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}.grid{stroke:var(--line)}
.line,.bar-end{fill:none;stroke-width:1.8;stroke:currentColor}circle,g rect{fill:currentColor}.bar-end{stroke-width:1}
.s0{color:var(--c0)}.s1{color:var(--c1)}.s2{color:var(--c2)}.s3{color:var(--c3)}.s4{color:var(--c4)}
.s5{color:var(--c5)}.s6{color:var(--c6)}.s7{color:var(--c7)}
.d1 .line{stroke-dasharray:7 3}.d2 .line{stroke-dasharray:2 3}.d3 .line{stroke-dasharray:9 3 2 3}
.d4 .line{stroke-dasharray:14 4}.d5 .line{stroke-dasharray:5 2 1 2 1 2}
pre{overflow-x:auto;font-size:.8rem;border:1px solid var(--line);padding:.6rem}.bad{color:var(--bad)}
a{color:var(--c0)}
@media print{body{max-width:none}pre{white-space:pre-wrap}h2{break-after:avoid}details>*{display:block}}
@media print{details::details-content{content-visibility:visible;height:auto}}
)";

}  // namespace

std::string HtmlPage(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{}</style></head>\n"
      "<body>\n{}</body></html>\n",
      EscapeHtml(title), kStyle, body);
}

}  // namespace rerankd::experiment
