#include "serving/grpc/grpc_status.h"

#include <google/rpc/retry.pb.h>

#include <cmath>

#include "serving/error_map.h"

namespace rerankd::serving {
namespace {

bool CanRetry(const Status& status) {
  return status.code() == Code::kResourceExhausted || status.code() == Code::kUnavailable;
}

int64_t RetryMs(const Status& status) {
  return status.retry_after_ms() > 0 ? std::llround(std::ceil(status.retry_after_ms())) : 1000;
}

std::string RetryDetails(const Status& status) {
  const int64_t ms = RetryMs(status);
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(ms / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(ms % 1000) * 1'000'000);
  google::rpc::Status rich;
  rich.set_code(GrpcStatus(status.code()));
  rich.set_message(ClientMessage(status));
  rich.add_details()->PackFrom(retry);
  return rich.SerializeAsString();
}

}  // namespace

grpc::Status ToGrpcStatus(const Status& status) {
  const auto code = static_cast<grpc::StatusCode>(GrpcStatus(status.code()));
  if (!CanRetry(status)) return {code, ClientMessage(status)};
  return {code, ClientMessage(status), RetryDetails(status)};
}

Headers RetryMetadata(const Status& status) {
  if (!CanRetry(status)) return {};
  return {{"retry-after", std::to_string(RetryAfterSeconds(status))},
          {"grpc-retry-pushback-ms", std::to_string(RetryMs(status))}};
}

}  // namespace rerankd::serving
