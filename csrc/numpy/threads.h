// Threads for calls without torch. They live as long as a call, so that a process can fork between two calls.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "core/errors.h"
#include "core/share.h"

namespace yolox_ops {

// The number that an environment variable's text begins with; 0 where there is none.
inline int64_t leading_number(const char* text) {
  int64_t number = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), number);
  return std::max<int64_t>(number, 0);
}

// How many threads a call may use: YOLOX_OPS_NUM_THREADS, or else OMP_NUM_THREADS, whose "4,2" means 4 here, or else
// the CPUs that the process may run on.
inline int64_t allowed_threads() {
  if (const char* text = std::getenv("YOLOX_OPS_NUM_THREADS"); text != nullptr && *text != '\0') {
    const int64_t number = leading_number(text);
    check(number > 0, "YOLOX_OPS_NUM_THREADS must be a positive integer, got '", text, "'");
    return number;
  }
  if (const int64_t number = leading_number(std::getenv("OMP_NUM_THREADS"))) return number;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) return CPU_COUNT(&cpus);
  return std::max<int64_t>(std::thread::hardware_concurrency(), 1);  // more CPUs than the set has room for
}

class CallThreads {
 public:
  // Starting a thread takes tens of microseconds; waking one of torch's takes a few.
  static constexpr int64_t kGrain = 16;

  explicit CallThreads(int64_t count) : count_(count) {}

  int64_t count() const { return count_; }

  // As torch's: calls work(begin, end) for equal parts of the range, no more than there are threads, none smaller than
  // grain unless it is the last.
  template <class Work>
  void parallel_for(int64_t begin, int64_t end, int64_t grain, const Work& work) const {
    const int64_t size = std::max(grain, (end - begin + count_ - 1) / count_);
    const int64_t parts = (end - begin + size - 1) / size;
    std::atomic<int64_t> next{0};
    Failure failure;
    const auto run = [&] {
      for (int64_t part = next++; part < parts; part = next++) {
        failure.guard([&] { work(begin + part * size, std::min(end, begin + (part + 1) * size)); });
      }
    };
    {
      std::vector<std::jthread> helpers;
      try {
        while (static_cast<int64_t>(helpers.size()) + 1 < parts) helpers.emplace_back(run);
      } catch (const std::system_error&) {
        // No more threads to be had: those there are, at least this one, take all parts.
      }
      run();
    }
    failure.rethrow();
  }

 private:
  int64_t count_;
};

}  // namespace yolox_ops
