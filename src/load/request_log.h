// A load, request by request, as CSV or JSONL (by the file's extension): written while it runs, and read to
// send the same requests at the same times again.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "load/arrivals.h"
#include "load/generator.h"

namespace rerankd::load {

// kInvalidArgument: neither .csv nor .jsonl.
Status CheckLogName(const std::string& path);

class RequestLog {
 public:
  // kInvalidArgument: neither .csv nor .jsonl, or the file cannot be written.
  static Result<std::unique_ptr<RequestLog>> Create(const std::string& path);

  void Write(const Sample& sample);
  Status Close();  // reports what any write failed with, a full disk for instance

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  RequestLog(std::string path, bool csv, std::FILE* file) : path_(std::move(path)), csv_(csv), file_(file) {}

  const std::string path_;
  const bool csv_;
  std::unique_ptr<std::FILE, CloseFile> file_;
};

// The requests of a log in the order in which they were due. kInvalidArgument names file:line.
// `dataset_pairs`: what the requests may start at.
Result<std::vector<Arrival>> ReadArrivals(const std::string& path, int64_t dataset_pairs);

}  // namespace rerankd::load
