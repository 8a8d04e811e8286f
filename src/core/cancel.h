// A one-way flag shared by whoever may give up (client, deadline, shutdown) and whoever works.
#pragma once

#include <atomic>
#include <memory>

namespace rerankd {

class CancelFlag {
 public:
  CancelFlag() : cancelled_(std::make_shared<std::atomic<bool>>(false)) {}
  void Cancel() const { cancelled_->store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_->load(std::memory_order_relaxed); }

 private:
  std::shared_ptr<std::atomic<bool>> cancelled_;
};

}  // namespace rerankd
