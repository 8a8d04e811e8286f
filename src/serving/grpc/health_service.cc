#include "serving/grpc/health_service.h"

#include <optional>
#include <utility>

namespace rerankd::serving {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One watch. At most one write is in flight; a change meanwhile is kept, the latest wins. Deletes itself.
class HealthService::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthService& owner, std::string service) : owner_(owner), service_(std::move(service)) {}

  const std::string& service() const { return service_; }

  void Send(State state) {
    Step([&] { next_ = state; });
  }
  void End() {
    Step([&] { ending_ = true; });
  }

  void OnWriteDone(bool ok) override {
    Step([&] {
      writing_ = false;
      ending_ = ending_ || !ok;
    });
  }
  void OnCancel() override { End(); }
  void OnDone() override {
    owner_.Remove(this);
    delete this;
  }

 private:
  // Applies `change`, then does what is due. Finish comes last and without the lock: OnDone may follow at
  // once on another thread.
  template <typename F>
  void Step(F change) {
    {
      std::lock_guard lock(mutex_);
      change();
      if (writing_ || finished_) return;
      if (next_) {
        response_.set_status(*next_);
        next_.reset();
        writing_ = true;
        StartWrite(&response_);
        return;
      }
      if (!ending_) return;
      finished_ = true;
    }
    Finish(grpc::Status::OK);
  }

  HealthService& owner_;
  const std::string service_;
  std::mutex mutex_;
  HealthCheckResponse response_;  // of the write in flight
  std::optional<State> next_;
  bool writing_ = false, ending_ = false, finished_ = false;
};

HealthService::HealthService(std::set<std::string> services, std::set<std::string> absent)
    : services_(std::move(services)), absent_(std::move(absent)) {}

HealthService::State HealthService::StateOf(const std::string& service) const {
  if (absent_.count(service) > 0) return HealthCheckResponse::NOT_SERVING;
  if (!service.empty() && services_.count(service) == 0) return HealthCheckResponse::SERVICE_UNKNOWN;
  return serving_ ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void HealthService::SetServing(bool serving) {
  std::lock_guard lock(mutex_);
  if (std::exchange(serving_, serving) == serving) return;
  for (Watcher* watcher : watchers_) watcher->Send(StateOf(watcher->service()));
}

void HealthService::EndWatches() {
  std::lock_guard lock(mutex_);
  ended_ = true;
  for (Watcher* watcher : watchers_) watcher->End();
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  std::lock_guard lock(mutex_);
  const State state = StateOf(request->service());
  response->set_status(state);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (state == HealthCheckResponse::SERVICE_UNKNOWN) {
    reactor->Finish({grpc::StatusCode::NOT_FOUND, "no service '" + request->service() + "' here"});
  } else {
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(grpc::CallbackServerContext*,
                                                                    const HealthCheckRequest* request) {
  std::lock_guard lock(mutex_);
  auto* watcher = new Watcher(*this, request->service());
  watchers_.insert(watcher);
  watcher->Send(StateOf(request->service()));
  if (ended_) watcher->End();
  return watcher;
}

void HealthService::Remove(Watcher* watcher) {
  std::lock_guard lock(mutex_);
  watchers_.erase(watcher);
}

}  // namespace rerankd::serving
