#include "boxes/box.h"
#include "boxes/box_sets.h"
#include "boxes/dual.h"
#include "core/parallel.h"
#include "core/simd.h"

namespace yolox_ops {
namespace {

// Pairs that are worth a thread of their own.
constexpr int64_t kGrain = 2048;

// The similarity of box i of boxes1 with box i of boxes2.
template <class T>
YOLOX_OPS_INLINE void compute_similarities(const T* __restrict boxes1,  // [n, 4]
                                           const T* __restrict boxes2,  // [n, 4]
                                           int64_t n, Format format, Kind kind,
                                           T* __restrict out) {  // [n]
  dispatch_kind(kind, [&]<Kind k>() __attribute__((always_inline)) {
    for (int64_t i = 0; i < n; ++i) {
      out[i] = similarity<k>(load_box(boxes1 + i * 4, format, k), load_box(boxes2 + i * 4, format, k));
    }
  });
}

YOLOX_OPS_SIMD_LOOP(void, compute_similarities,
                    (const T* boxes1, const T* boxes2, int64_t n, Format format, Kind kind, T* out),
                    (boxes1, boxes2, n, format, kind, out));

template <class T>
void forward(const BoxSets& in,
             Tensor& out) {  // [N]
  const T* p1 = in.boxes1.const_data_ptr<T>();
  const T* p2 = in.boxes2.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  parallel_for(0, out.numel(), kGrain, [&](int64_t begin, int64_t end) {
    simd_compute_similarities(p1 + begin * 4, p2 + begin * 4, end - begin, in.format, in.kind, result + begin);
  });
}

Tensor aligned_iou(const Tensor& boxes1,  // [N, 4]
                   const Tensor& boxes2,  // [N, 4]
                   std::string fmt, std::string kind) {
  const BoxSets in = aligned_sets(boxes1, boxes2, fmt, kind);
  Tensor out = torch::stable::new_empty(boxes1, {boxes1.size(0)}, in.dtype);
  dispatch_dtype(in.dtype, [&]<class T>() { forward<T>(in, out); });
  return out;
}

// The gradients of sum(g * similarity) by both sets of boxes.
template <class T>
YOLOX_OPS_INLINE void compute_gradients(const T* __restrict g,       // [n]
                                        const T* __restrict boxes1,  // [n, 4]
                                        const T* __restrict boxes2,  // [n, 4]
                                        int64_t n, Format format, Kind kind,
                                        T* __restrict out1,    // [n, 4]
                                        T* __restrict out2) {  // [n, 4]
  dispatch_kind(kind, [&]<Kind k>() __attribute__((always_inline)) {
    for (int64_t i = 0; i < n; ++i) {
      const auto value = similarity<k>(variable_box<T, 8>(boxes1 + i * 4, 0, format, k),
                                       variable_box<T, 8>(boxes2 + i * 4, 4, format, k));
      for (int m = 0; m < 4; ++m) {
        // A zero gradient stays zero, whatever the boxes hold.
        out1[i * 4 + m] = g[i] == T(0) ? T(0) : g[i] * value.partial[m];
        out2[i * 4 + m] = g[i] == T(0) ? T(0) : g[i] * value.partial[4 + m];
      }
    }
  });
}

YOLOX_OPS_SIMD_LOOP(void, compute_gradients,
                    (const T* g, const T* boxes1, const T* boxes2, int64_t n, Format format, Kind kind, T* out1,
                     T* out2),
                    (g, boxes1, boxes2, n, format, kind, out1, out2));

template <class T>
void backward(const Tensor& grad,  // [N]
              const BoxSets& in,
              Tensor& grad1,    // [N, 4]
              Tensor& grad2) {  // [N, 4]
  const T* g = grad.const_data_ptr<T>();
  const T* p1 = in.boxes1.const_data_ptr<T>();
  const T* p2 = in.boxes2.const_data_ptr<T>();
  T* out1 = grad1.mutable_data_ptr<T>();
  T* out2 = grad2.mutable_data_ptr<T>();
  parallel_for(0, grad.numel(), kGrain, [&](int64_t begin, int64_t end) {
    const int64_t offset = begin * 4;
    simd_compute_gradients(g + begin, p1 + offset, p2 + offset, end - begin, in.format, in.kind, out1 + offset,
                           out2 + offset);
  });
}

std::tuple<Tensor, Tensor> aligned_iou_backward(const Tensor& grad,    // [N]
                                                const Tensor& boxes1,  // [N, 4]
                                                const Tensor& boxes2,  // [N, 4]
                                                std::string fmt, std::string kind) {
  const BoxSets in = aligned_sets(boxes1, boxes2, fmt, kind);
  check_gradient(grad, in, "[N]", {boxes1.size(0)});
  Tensor grad1 = empty_like(in.boxes1), grad2 = empty_like(in.boxes2);
  dispatch_dtype(in.dtype, [&]<class T>() { backward<T>(dense(grad, in.dtype), in, grad1, grad2); });
  return {torch::stable::to(grad1, boxes1.scalar_type()), torch::stable::to(grad2, boxes2.scalar_type())};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def("aligned_iou(Tensor boxes1, Tensor boxes2, str fmt, str kind) -> Tensor");
  m.def("aligned_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2, str fmt, str kind) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) {
  m.impl("aligned_iou", TORCH_BOX(&yolox_ops::aligned_iou));
  m.impl("aligned_iou_backward", TORCH_BOX(&yolox_ops::aligned_iou_backward));
}
