// pairwise_iou in one launch, in which a thread walks down four columns of the matrix, and its gradient in one for each
// set of boxes, in which a block has a box and sums over the others. The gradient is bound by the issue of
// instructions, 16 modelled us for 1,000 x 1,000 boxes on an H200; that of the second set reads down columns of what
// came in.
#include "boxes/box_sets.h"
#include "boxes/dual.h"
#include "boxes/plain_iou.cuh"
#include "core/device.cuh"

namespace yolox_ops {
namespace {

constexpr int kThreads = 256;
// Rows of the matrix that a block keeps in shared memory at once, and columns of a thread, stored together.
constexpr int kRows = 16, kColumns = 4;

template <class T>
struct alignas(16) Columns {
  T value[kColumns];
};

// A thread has some columns and walks down the rows. With `whole` N is a multiple of kColumns, and a row of a thread
// one store.
template <bool whole, class T, class Of>
__device__ __forceinline__ void write_columns(const Box<T>* rows,  // [count]
                                              int count,
                                              const Box<T>* column,  // [kColumns]
                                              int columns, int64_t N,
                                              T* p,  // where the first value goes
                                              const Of& of) {
  for (int i = 0; i < count; ++i) {
    Columns<T> row;
    for (int c = 0; c < kColumns; ++c) row.value[c] = of(rows[i], column[c]);
    if constexpr (whole) {
      *reinterpret_cast<Columns<T>*>(p) = row;
    } else {
      for (int c = 0; c < kColumns && c < columns; ++c) p[c] = row.value[c];
    }
    p += N;
  }
}

// The matrix in one launch, bound by its stores: 4 bytes a pair, 20,000 x 20,000 in 0.33 ms at the bandwidth of an
// H200. Where all boxes are plain, the instructions of a pair take as long.
template <class T, Kind kind, bool whole>
__global__ void __launch_bounds__(kThreads, 2) forward_kernel(const T* boxes1,  // [B, M, 4]
                                                              const T* boxes2,  // [B, N, 4]
                                                              T* out,           // [B, M, N]
                                                              int64_t B, int64_t M, int64_t N, Format format) {
  constexpr bool may_be_plain = kind == Kind::kIou && std::is_same_v<T, float>;
  __shared__ Box<T> rows[kRows];
  __shared__ bool rows_are_plain;
  static_assert(kRows <= 32, "a warp loads the rows");
  for (int64_t b = blockIdx.z; b < B; b += gridDim.z) {
    for (int64_t top = blockIdx.y * int64_t{kRows}; top < M; top += gridDim.y * int64_t{kRows}) {
      const int count = static_cast<int>(min(int64_t{kRows}, M - top));
      __syncthreads();
      if (threadIdx.x < 32) {
        bool plain = true;
        if (threadIdx.x < count) {
          const Box<T> box = load_box(boxes1 + (b * M + top + threadIdx.x) * 4, format, kind);
          rows[threadIdx.x] = box;
          plain = is_plain(box);
        }
        plain = __ballot_sync(kAllLanes, plain) == kAllLanes;
        if (threadIdx.x == 0) rows_are_plain = plain;
      }
      __syncthreads();
      for (int64_t j = (blockIdx.x * int64_t{kThreads} + threadIdx.x) * kColumns; j < N;
           j += gridDim.x * int64_t{kThreads} * kColumns) {
        Box<T> column[kColumns];
        bool plain = may_be_plain && rows_are_plain;
        for (int c = 0; c < kColumns; ++c) {
          column[c] = load_box(boxes2 + (b * N + min(j + c, N - 1)) * 4, format, kind);
          plain = plain && is_plain(column[c]);
        }
        const int columns = static_cast<int>(min(int64_t{kColumns}, N - j));
        T* p = out + (b * M + top) * N + j;
        const auto any = [](const Box<T>& a, const Box<T>& other) { return similarity<kind>(a, other); };
        if constexpr (may_be_plain) {
          const auto of_plain = [](const Box<T>& a, const Box<T>& other) { return plain_iou(a, other); };
          if (plain) {
            write_columns<whole>(rows, count, column, columns, N, p, of_plain);
            continue;
          }
        }
        write_columns<whole>(rows, count, column, columns, N, p, any);
      }
    }
  }
}

// Sums four values over the block, in an order that never changes; the result is thread 0's.
template <class T>
__device__ void block_sum(T (&sum)[4]) {
  __shared__ T partial[4][kThreads / 32];
  for (int m = 0; m < 4; ++m) {
    for (int step = 16; step > 0; step /= 2) sum[m] += __shfl_xor_sync(kAllLanes, sum[m], step);
    if (threadIdx.x % 32 == 0) partial[m][threadIdx.x / 32] = sum[m];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int m = 0; m < 4; ++m) {
      sum[m] = partial[m][0];
      for (int w = 1; w < kThreads / 32; ++w) sum[m] += partial[m][w];
    }
  }
  __syncthreads();
}

// A block has one box and sums over the others. `first` says whether the box is of the first set.
template <class T, Kind kind, bool first>
__global__ void backward_kernel(const T* boxes,   // [B, M, 4]
                                const T* others,  // [B, N, 4]
                                const T* grad,    // [B, M, N], by its strides
                                Strides strides,
                                T* out,  // [B, M, 4]
                                int64_t B, int64_t M, int64_t N, Format format) {
  for (int64_t row = blockIdx.x; row < B * M; row += gridDim.x) {
    const int64_t b = row / M, i = row % M;
    const auto box = variable_box<T, 4>(boxes + row * 4, 0, format, kind);
    T sum[4] = {};
    for (int64_t j = threadIdx.x; j < N; j += kThreads) {
      const T g = grad[b * strides.image_stride + i * strides.box_stride + j * strides.other_stride];
      if (g == T(0)) continue;
      const Box<T> fixed = load_box(others + (b * N + j) * 4, format, kind);
      const auto value = similarity_by<kind, first>(box, fixed_box<Dual<T, 4>>(fixed));
      for (int m = 0; m < 4; ++m) sum[m] += g * value.partial[m];
    }
    block_sum(sum);
    if (threadIdx.x == 0) {
      for (int m = 0; m < 4; ++m) out[row * 4 + m] = sum[m];
    }
  }
}

template <class T>
void forward(const Device& device, const BoxSets& in,
             Tensor& out) {  // [B, M, N]
  const int64_t B = out.size(0), M = out.size(1), N = out.size(2);
  const dim3 grid(blocks(N, kThreads * kColumns), blocks(M, kRows), blocks(B, 1));
  dispatch_kind(in.kind, [&]<Kind kind>() {
    const auto kernel = N % kColumns == 0 ? forward_kernel<T, kind, true> : forward_kernel<T, kind, false>;
    device.launch(kernel, grid, kThreads, in.boxes1.const_data_ptr<T>(), in.boxes2.const_data_ptr<T>(),
                  out.mutable_data_ptr<T>(), B, M, N, in.format);
  });
}

Tensor pairwise_iou(const Tensor& boxes1,  // [B, M, 4]
                    const Tensor& boxes2,  // [B, N, 4]
                    std::string fmt, std::string kind) {
  const Device device(boxes1);
  const BoxSets in = pairwise_sets(boxes1, boxes2, fmt, kind);
  Tensor out = torch::stable::new_empty(boxes1, {boxes1.size(0), boxes1.size(1), boxes2.size(1)}, in.dtype);
  if (out.numel() == 0) return out;
  dispatch_dtype(in.dtype, [&]<class T>() { forward<T>(device, in, out); });
  return out;
}

template <bool first, class T>
void backward(const Device& device,
              const Tensor& boxes,   // [B, M, 4]
              const Tensor& others,  // [B, N, 4]
              const T* grad,         // [B, M, N], by its strides
              const Strides& strides, Format format, Kind kind,
              Tensor& out) {  // [B, M, 4]
  const int64_t B = boxes.size(0), M = boxes.size(1), N = others.size(1);
  if (B * M == 0) return;
  dispatch_kind(kind, [&]<Kind k>() {
    device.launch(backward_kernel<T, k, first>, blocks(B * M, 1), kThreads, boxes.const_data_ptr<T>(),
                  others.const_data_ptr<T>(), grad, strides, out.mutable_data_ptr<T>(), B, M, N, format);
  });
}

std::tuple<Tensor, Tensor> pairwise_iou_backward(const Tensor& grad,    // [B, M, N]
                                                 const Tensor& boxes1,  // [B, M, 4]
                                                 const Tensor& boxes2,  // [B, N, 4]
                                                 std::string fmt, std::string kind) {
  const Device device(boxes1);
  const BoxSets in = pairwise_sets(boxes1, boxes2, fmt, kind);
  check_gradient(grad, in, "[B, M, N]", {boxes1.size(0), boxes1.size(1), boxes2.size(1)});
  Tensor grad1 = empty_like(in.boxes1), grad2 = empty_like(in.boxes2);
  const Strides strides1{grad.stride(0), grad.stride(1), grad.stride(2)};
  const Strides strides2{grad.stride(0), grad.stride(2), grad.stride(1)};
  dispatch_dtype(in.dtype, [&]<class T>() {
    backward<true>(device, in.boxes1, in.boxes2, grad.const_data_ptr<T>(), strides1, in.format, in.kind, grad1);
    backward<false>(device, in.boxes2, in.boxes1, grad.const_data_ptr<T>(), strides2, in.format, in.kind, grad2);
  });
  return {torch::stable::to(grad1, boxes1.scalar_type()), torch::stable::to(grad2, boxes2.scalar_type())};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) {
  m.impl("pairwise_iou", TORCH_BOX(&yolox_ops::pairwise_iou));
  m.impl("pairwise_iou_backward", TORCH_BOX(&yolox_ops::pairwise_iou_backward));
}
