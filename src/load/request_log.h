// A load, request by request, as CSV or JSONL (by the file's extension): written while it runs, and read to
// send the same requests at the same times again.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "load/arrivals.h"
#include "load/dataset.h"
#include "load/generator.h"

namespace rerankd::load {

// kInvalidArgument: neither .csv nor .jsonl.
Status CheckLogName(const std::string& path);

class RequestLog {
 public:
  // `dataset_sha256` stands with each request. kInvalidArgument: neither .csv nor .jsonl, or the file cannot
  // be written.
  static Result<std::unique_ptr<RequestLog>> Create(const std::string& path, std::string dataset_sha256);

  void Write(const Sample& sample);
  Status Close();  // reports what any write failed with, a full disk for instance

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  RequestLog(std::string path, std::string dataset_sha256, std::FILE* file);

  const std::string path_, dataset_sha256_;
  const bool csv_;
  std::unique_ptr<std::FILE, CloseFile> file_;
};

// The requests of a log in the order in which they were due. kInvalidArgument names file:line; it is also the
// error where a request was logged with other data than `dataset`. A request need not say with which.
Result<std::vector<Arrival>> ReadArrivals(const std::string& path, const DatasetInfo& dataset);

}  // namespace rerankd::load
