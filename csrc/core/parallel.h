// Shares work among torch's threads.
#pragma once

#include <pthread.h>
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "core/share.h"

namespace yolox_ops {

// Whether this process is a forked child. It has none of its parent's threads, but OpenMP waits for them for ever.
inline bool forked = false;
inline const int watches_forks = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// torch's parallel_for, but that a forked child does all the work by itself, and that what `work` throws arrives as it
// is: a std::bad_alloc becomes a MemoryError. Torch would say no more than that its function failed.
template <class Work>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Work& work) {
  if (forked && begin < end) return work(begin, end);
  Failure failure;
  torch::stable::parallel_for(begin, end, grain,
                              [&](int64_t from, int64_t to) { failure.guard([&] { work(from, to); }); });
  failure.rethrow();
}

struct TorchThreads {
  static constexpr int64_t kGrain = 1;

  static int64_t count() { return torch::stable::get_num_threads(); }

  template <class Work>
  static void parallel_for(int64_t begin, int64_t end, int64_t grain, const Work& work) {
    yolox_ops::parallel_for(begin, end, grain, work);
  }
};

// Calls work(scratch, i) for every i in [0, n). With at least as many items as threads each thread has a Scratch and
// takes items; with fewer the items come one by one, so that loops inside `work` can use the threads.
template <class Scratch, class Work>
void parallel_items(int64_t n, const Work& work) {
  const int64_t threads = torch::stable::get_num_threads();
  std::vector<Scratch> scratch(n < threads ? 1 : threads);
  if (n < threads) {
    for (int64_t i = 0; i < n; ++i) work(scratch[0], i);
  } else {
    share(TorchThreads(), threads, n, [&](int64_t worker, int64_t i) { work(scratch[worker], i); });
  }
}

}  // namespace yolox_ops
