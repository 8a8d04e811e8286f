// How far numbers differ that were measured again and should be equal. Pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace rerankd::load {

inline constexpr size_t kFewestRepeats = 3;  // with fewer there is no interval and no outlier

// The 97.5 % quantile of Student's t with `degrees` of freedom (at least 1).
double Student975(size_t degrees);

struct MeanInterval {
  double mean = 0, low = 0, high = 0;
};
// The mean of rates or times with a 95 % interval, Student's t, that ends at 0 as they do; nothing for fewer
// than kFewestRepeats values.
std::optional<MeanInterval> IntervalOfMean(std::span<const double> values);

double Median(std::vector<double> values);  // of the middle two where their number is even; 0 if empty

// Which values are far from the others: more than three scaled median deviations, and 5 %, from the median.
std::vector<size_t> OutliersOf(std::span<const double> values);

// mean of the second half / mean of the first - 1, where the halves differ by more than 5 % and by four
// standard errors (Welch); nothing where they do not, or for fewer than six values.
std::optional<double> DriftOf(std::span<const double> values);

}  // namespace rerankd::load
