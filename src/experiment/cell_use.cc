#include "experiment/cell_use.h"

#include <fmt/format.h>

#include "experiment/cell_stats.h"

namespace rerankd::experiment {
namespace {

double Ratio(double numerator, double denominator) {
  return numerator < 0 || denominator <= 0 ? -1 : numerator / denominator;
}

}  // namespace

TokenUse TokensOf(const CellRecord& cell, double peak) {
  const auto real = static_cast<double>(cell.real_tokens);
  const auto computed = static_cast<double>(cell.computed_tokens);
  const auto pairs = static_cast<double>(StatsOf(cell).pairs);
  return {Ratio(real, pairs), Ratio(real, cell.seconds), Ratio(computed, cell.seconds),
          real < 0 ? -1 : Ratio((computed - real) * 100, computed),
          Ratio(cell.multiply_adds * 100, cell.seconds * peak)};
}

CpuUse CpuOf(const CellRecord& cell) {
  const auto pairs = static_cast<double>(StatsOf(cell).pairs);
  const auto resident = static_cast<double>(cell.server_resident_bytes);
  return {cell.client_cpu_s, cell.server_cpu_s, Ratio(cell.server_cpu_s, cell.seconds),
          Ratio(pairs, cell.server_cpu_s), Ratio(resident, 1e6)};
}

std::string Known(double value, int decimals) {
  return value < 0 ? "-" : fmt::format("{:.{}f}", value, decimals);
}

}  // namespace rerankd::experiment
