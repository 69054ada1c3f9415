// Sharing work among torch's threads.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>

namespace yolox_ops {

// Calls work(scratch, i) for i in [0, n). With as many items as threads each thread takes the next free item into a
// Scratch of its own; with fewer, the items come one by one, so that loops inside `work` can use the threads.
template <class Scratch, class Work>
void parallel_items(int64_t n, const Work& work) {
  const int64_t threads = torch::stable::get_num_threads();
  if (n < threads) {
    Scratch scratch;
    for (int64_t i = 0; i < n; ++i) work(scratch, i);
    return;
  }
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      Scratch scratch;
      for (int64_t i = next++; i < n; i = next++) work(scratch, i);
    }
  });
}

}  // namespace yolox_ops
