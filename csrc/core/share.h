// Shares work among threads of any kind. A Threads has count(); parallel_for(begin, end, grain, work), which calls
// work(begin, end) for parts of the range; and kGrain, how many of torch's grains are worth one of its threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace yolox_ops {

// Takes what threads throw, one of it, to the one that waits for them.
class Failure {
 public:
  template <class Work>
  void guard(const Work& work) {
    try {
      work();
    } catch (...) {
      const std::lock_guard one_at_a_time(lock_);
      thrown_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  std::mutex lock_;
  std::exception_ptr thrown_;
};

// Calls work(worker, i) for every i in [0, n); a worker takes the next free i.
template <class Threads, class Work>
void share(const Threads& threads, int64_t workers, int64_t n, const Work& work) {
  std::atomic<int64_t> next{0};
  threads.parallel_for(0, std::min(workers, n), 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      for (int64_t i = next++; i < n; i = next++) work(worker, i);
    }
  });
}

}  // namespace yolox_ops
