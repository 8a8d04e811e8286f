// Status and Result<T>: how every fallible function across folders reports failure.
// A message names the offending value, the bound and the way out. serving/error_map.h maps codes to HTTP and
// gRPC.
#pragma once

#include <cassert>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace rerankd {

enum class Code {
  kOk,
  kInvalidArgument,     // the caller's value can never work
  kNotFound,            // a file, model, tensor or name does not exist
  kFailedPrecondition,  // valid, but not on this machine, build or model
  kResourceExhausted,   // full: try again later
  kDeadlineExceeded,    // the caller's deadline passed before the work was done
  kCancelled,           // the caller left
  kUnavailable,         // starting, draining, or a peer cannot be reached
  kInternal,            // our bug, or a backend failure
};

// "INVALID_ARGUMENT" and so on: the gRPC spelling.
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  std::string ToString() const;  // "INVALID_ARGUMENT: message"

  // The same failure with `context` in front: "context: message".
  Status WithContext(std::string_view context) const;

  // kResourceExhausted and kUnavailable: milliseconds after which a retry makes sense; 0 = not known.
  Status WithRetryAfter(double ms) &&;
  double retry_after_ms() const { return retry_after_ms_; }

 private:
  Code code_ = Code::kOk;
  double retry_after_ms_ = 0;
  std::string message_;
};

inline Status InvalidArgument(std::string m) { return {Code::kInvalidArgument, std::move(m)}; }
inline Status NotFound(std::string m) { return {Code::kNotFound, std::move(m)}; }
inline Status FailedPrecondition(std::string m) { return {Code::kFailedPrecondition, std::move(m)}; }
inline Status ResourceExhausted(std::string m) { return {Code::kResourceExhausted, std::move(m)}; }
inline Status DeadlineExceeded(std::string m) { return {Code::kDeadlineExceeded, std::move(m)}; }
inline Status Cancelled(std::string m) { return {Code::kCancelled, std::move(m)}; }
inline Status Unavailable(std::string m) { return {Code::kUnavailable, std::move(m)}; }
inline Status Internal(std::string m) { return {Code::kInternal, std::move(m)}; }

// A value or the Status that explains its absence. Reading the value of a failed Result is our bug
// (asserted).
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}        // NOLINT: implicit by design
  Result(Status status) : state_(std::move(status)) {  // NOLINT: implicit by design
    assert(!std::get<Status>(state_).ok());
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }

  T& value() & { return std::get<T>(state_); }
  const T& value() const& { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<Status, T> state_;
};

}  // namespace rerankd

#define RERANKD_CONCAT_INNER(a, b) a##b
#define RERANKD_CONCAT(a, b) RERANKD_CONCAT_INNER(a, b)

// Returns the Status of `expr` from the enclosing function if it failed.
#define RERANKD_RETURN_IF_ERROR(expr)                                                           \
  do {                                                                                          \
    if (::rerankd::Status rerankd_status = (expr); !rerankd_status.ok()) return rerankd_status; \
  } while (false)

// RERANKD_ASSIGN_OR_RETURN(auto x, F()): x = the value of F(), or returns its Status.
#define RERANKD_ASSIGN_OR_RETURN(lhs, expr) \
  RERANKD_ASSIGN_OR_RETURN_IMPL(RERANKD_CONCAT(rerankd_result_, __LINE__), lhs, expr)
#define RERANKD_ASSIGN_OR_RETURN_IMPL(result, lhs, expr) \
  auto result = (expr);                                  \
  if (!result.ok()) return result.status();              \
  lhs = std::move(result).value()
