// pairwise_iou on arrays: what the op on tensors and the function on NumPy's arrays both run.
#pragma once

#include "boxes/box_arrays.h"
#include "core/memory.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// Pairs that are worth one of torch's threads.
constexpr int64_t kPairGrain = 16384;

// One row of the matrix: box a against every box of b.
template <class T>
YOLOX_OPS_INLINE void compute_similarities(const Box<T> a, const BoxView<T> b, int64_t n, Kind kind,
                                           T* __restrict out) {  // [n]
  dispatch_kind(kind, [&]<Kind k>() __attribute__((always_inline)) {
    for (int64_t j = 0; j < n; ++j) out[j] = similarity<k>(a, b[j]);
  });
}

YOLOX_OPS_SIMD_LOOP(void, compute_similarities, (const Box<T>& a, const BoxView<T>& b, int64_t n, Kind kind, T* out),
                    (a, b, n, kind, out));

// The matrix of every image; none is empty. No thread asks for memory: where none is left, a new one might not even
// have room for what it throws, which ends the process.
template <class Threads, class T>
void pairwise_matrix(const Threads& threads,
                     const T* boxes1,  // [B, M, 4]
                     const T* boxes2,  // [B, N, 4]
                     int64_t B, int64_t M, int64_t N, Format format, Kind kind,
                     T* out) {  // [B, M, N]
  prefer_huge_pages(out, B * M * N * sizeof(T));
  BoxArrays<T> columns(B * N);
  threads.parallel_for(0, B * N, kPairGrain * Threads::kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) columns.set(j, load_box(boxes2 + j * 4, format, kind));
  });
  threads.parallel_for(0, B * M, kPairGrain * Threads::kGrain / N + 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / M;
      const Box<T> box = load_box(boxes1 + row * 4, format, kind);
      simd_compute_similarities(box, columns.view(b * N), N, kind, out + row * N);
    }
  });
}

}  // namespace
}  // namespace yolox_ops
