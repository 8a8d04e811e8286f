// Raw data for tests of what is made from it.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "experiment/record.h"

namespace rerankd::experiment {

// `requests` one after another, each of `latency_ms` and a little more.
inline CellRecord Cell(int batch, int concurrency, int requests, double latency_ms) {
  CellRecord cell;
  cell.batch = batch;
  cell.concurrency = concurrency;
  double now = 0;
  for (int i = 0; i < requests; ++i) {
    RequestSample sample;
    sample.index = i;
    sample.start_ms = now;
    sample.latency_ms = latency_ms + i % 7;
    sample.pairs = batch;
    sample.queue_ms = 1;
    sample.tokenize_ms = 2;
    sample.inference_ms = latency_ms / 2;
    now += sample.latency_ms;
    cell.requests.push_back(sample);
  }
  cell.seconds = now / 1000;
  return cell;
}

inline ExperimentRecord SomeRecord(double latency_ms = 20) {
  ExperimentRecord record;
  record.stem = "stem";
  record.warnings = {"mind <this> & that"};
  RunRecord run;
  run.name = "a \"title\"";
  run.timestamp = "2026-01-02 03:04:05";
  run.model = "m";
  run.configuration = "name: <x>\n";
  run.metrics_json = *ReadFile(std::string(RERANKD_SOURCE_DIR) + "/src/experiment/testing/metrics.json");
  run.cells = {Cell(8, 1, 50, latency_ms), Cell(8, 2, 50, latency_ms), Cell(16, 1, 50, latency_ms)};
  run.cells.push_back({});
  run.cells.back().error = "broke & burnt";
  record.runs = {run};
  return record;
}

// Two rates of an open loop on one size of request.
inline ExperimentRecord OpenRecord() {
  ExperimentRecord record = SomeRecord();
  record.runs[0].cells = {Cell(8, 3, 30, 20), Cell(8, 9, 30, 40)};
  record.runs[0].cells[0].rate_name = "50%";
  record.runs[0].cells[0].rate = 10;
  record.runs[0].cells[1].rate_name = "80%";
  record.runs[0].cells[1].rate = 16;
  return record;
}

inline int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// `repeats` of 25 requests each; their rates are 1000 times the factors.
inline CellRecord Repeated(const std::vector<double>& factors) {
  CellRecord cell;
  cell.batch = 10;
  cell.concurrency = 1;
  for (size_t i = 0; i < factors.size(); ++i) {
    const double ms = 10 / factors[i];
    for (int k = 0; k < 25; ++k) {
      RequestSample r;
      r.index = k;
      r.repeat = static_cast<int>(i);
      r.start_ms = cell.seconds * 1000 + ms * k;
      r.latency_ms = ms;
      r.pairs = 10;
      cell.requests.push_back(r);
    }
    cell.repeats.push_back({25 * ms / 1000, {1, 0}, {1, 0}});
    cell.seconds += 25 * ms / 1000;
  }
  return cell;
}

}  // namespace rerankd::experiment
