#include "boxes/box.h"
#include "boxes/box_sets.h"
#include "boxes/dual.h"
#include "core/parallel.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// Pairs that are worth a thread of their own.
constexpr int64_t kGrain = 2048;

// out [n]: the similarity of box i of p1 with box i of p2, both [n, 4].
template <class T>
YOLOX_OPS_INLINE void compute_similarities(const T* __restrict p1, const T* __restrict p2, int64_t n, Format format,
                                           Kind kind, T* __restrict out) {
  dispatch_kind(kind, [&]<Kind k>() __attribute__((always_inline)) {
    for (int64_t i = 0; i < n; ++i)
      out[i] = similarity<k>(load_box(p1 + i * 4, format, k), load_box(p2 + i * 4, format, k));
  });
}

YOLOX_OPS_SIMD_LOOP(void, compute_similarities, (const T* p1, const T* p2, int64_t n, Format format, Kind kind, T* out),
                    (p1, p2, n, format, kind, out));

template <class T>
void forward(const BoxSets& in, Tensor& out) {
  const T* p1 = in.boxes1.const_data_ptr<T>();
  const T* p2 = in.boxes2.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  parallel_for(0, out.numel(), kGrain, [&](int64_t begin, int64_t end) {
    simd_compute_similarities(p1 + begin * 4, p2 + begin * 4, end - begin, in.format, in.kind, result + begin);
  });
}

Tensor aligned_iou(const Tensor& boxes1, const Tensor& boxes2, std::string fmt, std::string kind) {
  const BoxSets in = aligned_sets(boxes1, boxes2, fmt, kind);
  Tensor out = torch::stable::new_empty(boxes1, {boxes1.size(0)}, in.dtype);
  dispatch_dtype(in.dtype, [&]<class T>() { forward<T>(in, out); });
  return out;
}

// out1, out2 [n, 4]: the gradients of sum(g * similarity).
template <class T>
YOLOX_OPS_INLINE void compute_gradients(const T* __restrict g, const T* __restrict p1, const T* __restrict p2,
                                        int64_t n, Format format, Kind kind, T* __restrict out1, T* __restrict out2) {
  dispatch_kind(kind, [&]<Kind k>() __attribute__((always_inline)) {
    for (int64_t i = 0; i < n; ++i) {
      const auto value =
          similarity<k>(variable_box<T, 8>(p1 + i * 4, 0, format, k), variable_box<T, 8>(p2 + i * 4, 4, format, k));
      for (int m = 0; m < 4; ++m) {
        // A zero gradient stays zero, whatever the boxes hold.
        out1[i * 4 + m] = g[i] == T(0) ? T(0) : g[i] * value.partial[m];
        out2[i * 4 + m] = g[i] == T(0) ? T(0) : g[i] * value.partial[4 + m];
      }
    }
  });
}

YOLOX_OPS_SIMD_LOOP(void, compute_gradients,
                    (const T* g, const T* p1, const T* p2, int64_t n, Format format, Kind kind, T* out1, T* out2),
                    (g, p1, p2, n, format, kind, out1, out2));

template <class T>
void backward(const Tensor& grad, const BoxSets& in, Tensor& grad1, Tensor& grad2) {
  const T* g = grad.const_data_ptr<T>();
  const T* p1 = in.boxes1.const_data_ptr<T>();
  const T* p2 = in.boxes2.const_data_ptr<T>();
  T* out1 = grad1.mutable_data_ptr<T>();
  T* out2 = grad2.mutable_data_ptr<T>();
  parallel_for(0, grad.numel(), kGrain, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * 4;
    simd_compute_gradients(g + begin, p1 + at, p2 + at, end - begin, in.format, in.kind, out1 + at, out2 + at);
  });
}

std::tuple<Tensor, Tensor> aligned_iou_backward(const Tensor& grad, const Tensor& boxes1, const Tensor& boxes2,
                                                std::string fmt, std::string kind) {
  const BoxSets in = aligned_sets(boxes1, boxes2, fmt, kind);
  check_gradient(grad, in, "[N]", {boxes1.size(0)});
  Tensor grad1 = empty_like(in.boxes1), grad2 = empty_like(in.boxes2);
  dispatch_dtype(in.dtype, [&]<class T>() { backward<T>(dense(grad, in.dtype), in, grad1, grad2); });
  return {torch::stable::to(grad1, boxes1.scalar_type()), torch::stable::to(grad2, boxes2.scalar_type())};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) {
  m.impl("aligned_iou", TORCH_BOX(&yolox_ops::aligned_iou));
  m.impl("aligned_iou_backward", TORCH_BOX(&yolox_ops::aligned_iou_backward));
}
