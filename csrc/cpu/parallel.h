// Sharing work among torch's threads.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace yolox_ops {

// Calls work(worker, i) for every i in [0, n); a worker takes the next free i.
template <class Work>
void share(int64_t workers, int64_t n, const Work& work) {
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, std::min(workers, n), 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      for (int64_t i = next++; i < n; i = next++) work(worker, i);
    }
  });
}

// Calls work(scratch, i) for every i in [0, n). With at least as many items as threads each thread has a Scratch and
// takes items; with fewer the items come one by one, so that loops inside `work` can use the threads.
template <class Scratch, class Work>
void parallel_items(int64_t n, const Work& work) {
  const int64_t threads = torch::stable::get_num_threads();
  std::vector<Scratch> scratch(n < threads ? 1 : threads);
  if (n < threads) {
    for (int64_t i = 0; i < n; ++i) work(scratch[0], i);
  } else {
    share(threads, n, [&](int64_t worker, int64_t i) { work(scratch[worker], i); });
  }
}

}  // namespace yolox_ops
