#include "boxes/pairwise_iou.h"

#include "boxes/box_sets.h"
#include "boxes/dual.h"
#include "core/parallel.h"

namespace yolox_ops {
namespace {

Tensor pairwise_iou(const Tensor& boxes1,  // [B, M, 4]
                    const Tensor& boxes2,  // [B, N, 4]
                    std::string fmt, std::string kind) {
  const BoxSets in = pairwise_sets(boxes1, boxes2, fmt, kind);
  Tensor out = torch::stable::new_empty(boxes1, {boxes1.size(0), boxes1.size(1), boxes2.size(1)}, in.dtype);
  if (out.numel() == 0) return out;
  dispatch_dtype(in.dtype, [&]<class T>() {
    pairwise_matrix(TorchThreads(), in.boxes1.const_data_ptr<T>(), in.boxes2.const_data_ptr<T>(), out.size(0),
                    out.size(1), out.size(2), in.format, in.kind, out.mutable_data_ptr<T>());
  });
  return out;
}

// Gradient of sum(grad * similarity) by `boxes`.
template <bool first, class T>
void backward(const Tensor& boxes,   // [B, M, 4]
              const Tensor& others,  // [B, N, 4]
              const T* grad,         // [B, M, N], by its strides
              const Strides& strides, Format format, Kind kind,
              Tensor& out) {  // [B, M, 4]
  using D = Dual<T, 4>;
  const int64_t B = boxes.size(0), M = boxes.size(1), N = others.size(1);
  const T* p = boxes.const_data_ptr<T>();
  const T* q = others.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  dispatch_kind(kind, [&]<Kind k>() {
    parallel_for(0, B * M, kPairGrain / (N + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t b = row / M, i = row % M;
        const Box<D> box = variable_box<T, 4>(p + row * 4, 0, format, kind);
        T sum[4] = {};
        for (int64_t j = 0; j < N; ++j) {
          const T g = grad[b * strides.image_stride + i * strides.box_stride + j * strides.other_stride];
          if (g == T(0)) continue;
          const Box<T> other = load_box(q + (b * N + j) * 4, format, kind);
          const D value = similarity_by<k, first>(box, fixed_box<D>(other));
          for (int m = 0; m < 4; ++m) sum[m] += g * value.partial[m];
        }
        for (int m = 0; m < 4; ++m) result[row * 4 + m] = sum[m];
      }
    });
  });
}

std::tuple<Tensor, Tensor> pairwise_iou_backward(const Tensor& grad,    // [B, M, N]
                                                 const Tensor& boxes1,  // [B, M, 4]
                                                 const Tensor& boxes2,  // [B, N, 4]
                                                 std::string fmt, std::string kind) {
  const BoxSets in = pairwise_sets(boxes1, boxes2, fmt, kind);
  check_gradient(grad, in, "[B, M, N]", {boxes1.size(0), boxes1.size(1), boxes2.size(1)});
  Tensor grad1 = empty_like(in.boxes1), grad2 = empty_like(in.boxes2);
  const Strides strides1{grad.stride(0), grad.stride(1), grad.stride(2)};
  const Strides strides2{grad.stride(0), grad.stride(2), grad.stride(1)};
  dispatch_dtype(in.dtype, [&]<class T>() {
    backward<true>(in.boxes1, in.boxes2, grad.const_data_ptr<T>(), strides1, in.format, in.kind, grad1);
    backward<false>(in.boxes2, in.boxes1, grad.const_data_ptr<T>(), strides2, in.format, in.kind, grad2);
  });
  return {torch::stable::to(grad1, boxes1.scalar_type()), torch::stable::to(grad2, boxes2.scalar_type())};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def("pairwise_iou(Tensor boxes1, Tensor boxes2, str fmt, str kind) -> Tensor");
  m.def("pairwise_iou_backward(Tensor grad, Tensor boxes1, Tensor boxes2, str fmt, str kind) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) {
  m.impl("pairwise_iou", TORCH_BOX(&yolox_ops::pairwise_iou));
  m.impl("pairwise_iou_backward", TORCH_BOX(&yolox_ops::pairwise_iou_backward));
}
