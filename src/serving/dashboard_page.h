// The dashboard's page: one HTML file with its script and styles inside, built from web/ and embedded in the
// binary (cmake/embed_page.cmake).
#pragma once

#include <string_view>

namespace rerankd::serving {

struct DashboardPage {
  std::string_view html;
  std::string_view gzip;    // the same, packed
  std::string_view policy;  // its Content-Security-Policy: names the hash of the script and of the styles
};

extern const DashboardPage kDashboardPage;

}  // namespace rerankd::serving
