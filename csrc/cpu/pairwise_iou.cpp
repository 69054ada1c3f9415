#include "../box_sets.h"
#include "../dual.h"
#include "memory.h"
#include "simd.h"

namespace yolox_ops {
namespace {

// Pairs that are worth a thread of their own.
constexpr int64_t kGrain = 16384;

// One row of the matrix: box a against every box of b.
template <class T>
YOLOX_OPS_INLINE void similarity_row(const Box<T> a, const BoxView<T> b, int64_t n, Kind kind, T* __restrict out) {
  dispatch_kind(kind, [&]<Kind k>() __attribute__((always_inline)) {
    for (int64_t j = 0; j < n; ++j) out[j] = similarity<k>(a, b[j]);
  });
}

YOLOX_OPS_SIMD void row(const Box<float>& a, const BoxView<float>& b, int64_t n, Kind kind, float* out) {
  similarity_row(a, b, n, kind, out);
}
YOLOX_OPS_SIMD void row(const Box<double>& a, const BoxView<double>& b, int64_t n, Kind kind, double* out) {
  similarity_row(a, b, n, kind, out);
}

template <class T>
void forward(const BoxSets& in, Tensor& out) {
  const int64_t B = out.size(0), M = out.size(1), N = out.size(2);
  const T* p1 = in.boxes1.const_data_ptr<T>();
  const T* p2 = in.boxes2.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, B * M, kGrain / N + 1, [&](int64_t begin, int64_t end) {
    BoxArrays<T> columns(N);
    for (int64_t at = begin; at < end; ++at) {
      const int64_t b = at / M;
      if (at == begin || at % M == 0) {  // the first row of an image here
        for (int64_t j = 0; j < N; ++j) columns.set(j, load_box(p2 + (b * N + j) * 4, in.format, in.kind));
      }
      row(load_box(p1 + at * 4, in.format, in.kind), columns.view(), N, in.kind, result + at * N);
    }
  });
}

Tensor pairwise_iou(const Tensor& boxes1, const Tensor& boxes2, std::string fmt, std::string kind) {
  const BoxSets in = pairwise_sets(boxes1, boxes2, fmt, kind);
  Tensor out = torch::stable::new_empty(boxes1, {boxes1.size(0), boxes1.size(1), boxes2.size(1)}, in.dtype);
  if (out.numel() == 0) return out;
  prefer_huge_pages(out);
  dispatch_dtype(in.dtype, [&]<class T>() { forward<T>(in, out); });
  return out;
}

// Gradient of sum(grad * similarity) by `own`, [B, M, 4]; grad is read as [B, M, N] through its strides.
template <bool first, class T>
void backward(const Tensor& own, const Tensor& other, const T* grad, const int64_t (&stride)[3], Format format,
              Kind kind, Tensor& out) {
  using D = Dual<T, 4>;
  const int64_t B = own.size(0), M = own.size(1), N = other.size(1);
  const T* p = own.const_data_ptr<T>();
  const T* q = other.const_data_ptr<T>();
  T* result = out.mutable_data_ptr<T>();
  dispatch_kind(kind, [&]<Kind k>() {
    torch::stable::parallel_for(0, B * M, kGrain / (N + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t b = row / M, i = row % M;
        const Box<D> box = variable_box<T, 4>(p + row * 4, 0, format, kind);
        T sum[4] = {};
        for (int64_t j = 0; j < N; ++j) {
          const T g = grad[b * stride[0] + i * stride[1] + j * stride[2]];
          if (g == T(0)) continue;
          const Box<T> fixed = load_box(q + (b * N + j) * 4, format, kind);
          const D value = similarity_by<k, first>(box, fixed_box<D>(fixed));
          for (int m = 0; m < 4; ++m) sum[m] += g * value.partial[m];
        }
        for (int m = 0; m < 4; ++m) result[row * 4 + m] = sum[m];
      }
    });
  });
}

std::tuple<Tensor, Tensor> pairwise_iou_backward(const Tensor& grad, const Tensor& boxes1, const Tensor& boxes2,
                                                 std::string fmt, std::string kind) {
  const BoxSets in = pairwise_sets(boxes1, boxes2, fmt, kind);
  check_gradient(grad, in, "[B, M, N]", {boxes1.size(0), boxes1.size(1), boxes2.size(1)});
  Tensor grad1 = empty_like(in.boxes1), grad2 = empty_like(in.boxes2);
  const int64_t forth[3] = {grad.stride(0), grad.stride(1), grad.stride(2)};
  const int64_t back[3] = {grad.stride(0), grad.stride(2), grad.stride(1)};
  dispatch_dtype(in.dtype, [&]<class T>() {
    backward<true>(in.boxes1, in.boxes2, grad.const_data_ptr<T>(), forth, in.format, in.kind, grad1);
    backward<false>(in.boxes2, in.boxes1, grad.const_data_ptr<T>(), back, in.format, in.kind, grad2);
  });
  return {torch::stable::to(grad1, boxes1.scalar_type()), torch::stable::to(grad2, boxes2.scalar_type())};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) {
  m.impl("pairwise_iou", TORCH_BOX(&yolox_ops::pairwise_iou));
  m.impl("pairwise_iou_backward", TORCH_BOX(&yolox_ops::pairwise_iou_backward));
}
