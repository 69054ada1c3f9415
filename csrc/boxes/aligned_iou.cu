// aligned_iou and its gradient, a launch and a thread a pair each. Bound by the issue of a pair's instructions: 0.9 and
// 2.9 modelled us for the CIoU of 100,000 pairs on an H200.
#include "boxes/box_sets.h"
#include "boxes/dual.h"
#include "core/device.cuh"

namespace yolox_ops {
namespace {

constexpr int kThreads = 256;

template <class T, Kind kind>
__global__ void forward_kernel(const T* boxes1,  // [N, 4]
                               const T* boxes2,  // [N, 4]
                               T* out,           // [N]
                               int64_t N, Format format) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < N; i += gridDim.x * int64_t{kThreads}) {
    out[i] = similarity<kind>(load_box(boxes1 + i * 4, format, kind), load_box(boxes2 + i * 4, format, kind));
  }
}

// Writes the gradients of sum(grad * similarity).
template <class T, Kind kind>
__global__ void backward_kernel(const T* grad,    // [N]
                                const T* boxes1,  // [N, 4]
                                const T* boxes2,  // [N, 4]
                                T* grad1,         // [N, 4]
                                T* grad2,         // [N, 4]
                                int64_t N, Format format) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < N; i += gridDim.x * int64_t{kThreads}) {
    const auto value = similarity<kind>(variable_box<T, 8>(boxes1 + i * 4, 0, format, kind),
                                        variable_box<T, 8>(boxes2 + i * 4, 4, format, kind));
    const T g = grad[i];
    for (int m = 0; m < 4; ++m) {
      // A zero gradient stays zero, whatever the boxes hold.
      grad1[i * 4 + m] = g == T(0) ? T(0) : g * value.partial[m];
      grad2[i * 4 + m] = g == T(0) ? T(0) : g * value.partial[4 + m];
    }
  }
}

Tensor aligned_iou(const Tensor& boxes1,  // [N, 4]
                   const Tensor& boxes2,  // [N, 4]
                   std::string fmt, std::string kind) {
  const Device device(boxes1);
  const BoxSets in = aligned_sets(boxes1, boxes2, fmt, kind);
  const int64_t N = boxes1.size(0);
  Tensor out = torch::stable::new_empty(boxes1, {N}, in.dtype);
  if (N == 0) return out;
  dispatch_dtype(in.dtype, [&]<class T>() {
    dispatch_kind(in.kind, [&]<Kind k>() {
      device.launch(forward_kernel<T, k>, blocks(N, kThreads), kThreads, in.boxes1.const_data_ptr<T>(),
                    in.boxes2.const_data_ptr<T>(), out.mutable_data_ptr<T>(), N, in.format);
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> aligned_iou_backward(const Tensor& grad,    // [N]
                                                const Tensor& boxes1,  // [N, 4]
                                                const Tensor& boxes2,  // [N, 4]
                                                std::string fmt, std::string kind) {
  const Device device(boxes1);
  const BoxSets in = aligned_sets(boxes1, boxes2, fmt, kind);
  const int64_t N = boxes1.size(0);
  check_gradient(grad, in, "[N]", {N});
  const Tensor g = dense(grad, in.dtype);
  Tensor grad1 = empty_like(in.boxes1), grad2 = empty_like(in.boxes2);
  if (N > 0) {
    dispatch_dtype(in.dtype, [&]<class T>() {
      dispatch_kind(in.kind, [&]<Kind k>() {
        device.launch(backward_kernel<T, k>, blocks(N, kThreads), kThreads, g.const_data_ptr<T>(),
                      in.boxes1.const_data_ptr<T>(), in.boxes2.const_data_ptr<T>(), grad1.mutable_data_ptr<T>(),
                      grad2.mutable_data_ptr<T>(), N, in.format);
      });
    });
  }
  return {torch::stable::to(grad1, boxes1.scalar_type()), torch::stable::to(grad2, boxes2.scalar_type())};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) {
  m.impl("aligned_iou", TORCH_BOX(&yolox_ops::aligned_iou));
  m.impl("aligned_iou_backward", TORCH_BOX(&yolox_ops::aligned_iou_backward));
}
