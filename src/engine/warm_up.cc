#include "engine/warm_up.h"

#include <thread>

namespace rerankd {

std::vector<int> WarmUpLengths(int max_length) {
  constexpr int kShortest = 16;
  std::vector<int> lengths = {max_length};
  while (lengths.back() / 4 >= kShortest) lengths.push_back(lengths.back() / 4);
  return lengths;
}

Status WarmUp(const std::vector<std::unique_ptr<Backend>>& backends, int max_length) {
  const std::vector<int> lengths = WarmUpLengths(max_length);
  std::vector<Status> statuses(backends.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < backends.size(); ++i)
    threads.emplace_back([&, i] { statuses[i] = backends[i]->Warmup(lengths); });
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : statuses) RERANKD_RETURN_IF_ERROR(status.WithContext("warm-up"));
  return {};
}

}  // namespace rerankd
