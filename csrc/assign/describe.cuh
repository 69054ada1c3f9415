// The launch that describes candidates: the sum over classes that an anchor brings to the cost of all its pairs. Half a
// warp has a candidate, a block a chunk, then another of its image; bound by the issue of 57 operations a class.
#pragma once

#include "assign/mark.cuh"

namespace yolox_ops {
namespace {

constexpr int kDescribers = kSums * kLanes;
// Blocks to an image.
constexpr int kDescriberBlocks = 32;
// Classes that a lane reads at once.
constexpr int kClasses = 5;

// This lane's sum of the kSums over some classes of -log(1 - p), as the CPU's sum_negatives has it.
template <class T, class Dtypes>
__device__ __forceinline__ T sum_of_lane(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor, int64_t first,
                                         T obj_exp, T without_obj) {
  const int64_t end = min(first + kSums * kFactors, batch.C);
  T over = T(1), under = T(1), poison = T(0);
  int32_t exponent = 0;
  int64_t c = first + threadIdx.x % kSums;
  for (; first + kClasses * kSums <= end; first += kClasses * kSums, c += kClasses * kSums) {
    T logits[kClasses];
#pragma unroll
    for (int i = 0; i < kClasses; ++i) logits[i] = batch.cls_logits.at(b, anchor, c + i * kSums);
#pragma unroll
    for (int i = 0; i < kClasses; ++i) {
      multiply_class(logits[i], obj_exp, without_obj, over, under, exponent, poison);
    }
  }
  for (; first < end; first += kSums, c += kSums) {
    const T logit = c < end ? batch.cls_logits.at(b, anchor, c) : T(kNoClass);
    multiply_class(logit, obj_exp, without_obj, over, under, exponent, poison);
  }
  return log_scaled(over / under, exponent) + poison;
}

// The same, spared the objectness where there is none, and the class's own score where there is one.
template <class T, class Dtypes>
__device__ __forceinline__ T sum_of_lane(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor, int64_t first) {
  if (!batch.has_obj) return sum_of_lane(batch, b, anchor, first, T(0), T(1));
  const T obj_exp = exp_scaled(-batch.obj_logits.at(b, anchor), kShift<T>);
  return sum_of_lane(batch, b, anchor, first, obj_exp, T(0));
}

// What an anchor brings to its costs, by half a warp.
template <class T, class Dtypes>
__device__ __forceinline__ Score<T> score_anchor(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor) {
  const uint32_t half = 0xffffu << (threadIdx.x & 16);
  double total = 0;
  for (int64_t first = 0; first < batch.C; first += kSums * kFactors) {
    const T sum = sum_of_lane(batch, b, anchor, first);
    for (int i = 0; i < kSums; ++i) total += static_cast<double>(__shfl_sync(half, sum, i, kSums));
  }
  return {total, batch.read_objectness(b, anchor)};
}

template <class T, class Dtypes>
__global__ void __launch_bounds__(kDescribers, 2) describe(Batch<T, Dtypes> batch, CandidateLists<T> lists) {
  __shared__ T sums[kLanes][kSums + 1];  // a column more, so that 32 rows lie in 32 banks
  const int of_half_warp = threadIdx.x / kSums, mine = threadIdx.x;
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    each_chunk(lists, b, blockIdx.x, gridDim.x, [&](Chunk<T>& chunk, int32_t n) {
      double total = 0;
      for (int64_t first = 0; first < batch.C; first += kSums * kFactors) {
        __syncthreads();  // until the sums before are read
        if (of_half_warp < n) {
          sums[of_half_warp][threadIdx.x % kSums] = sum_of_lane(batch, b, chunk.anchors[of_half_warp], first);
        }
        __syncthreads();
        for (int i = 0; mine < n && i < kSums; ++i) total += static_cast<double>(sums[mine][i]);
      }
      if (mine < n) chunk.values[mine] = {{total, batch.read_objectness(b, chunk.anchors[mine])}};
    });
  }
}

// Memory for the candidates of a batch, and the launches that find them.
template <class T>
class FoundCandidates {
 public:
  template <class Dtypes>
  FoundCandidates(const Device& device, const Tensor& like, const Batch<T, Dtypes>& batch, const Marks& marks) {
    const auto empty = [&](int64_t bytes) { return torch::stable::new_empty(like, {bytes}, ScalarType::Byte); };
    lists.tiles = (batch.N + kTile - 1) / kTile;
    chunks_ = empty(batch.B * lists.tiles * kChunks * static_cast<int64_t>(sizeof(Chunk<T>)));
    counts_ = empty(batch.B * lists.tiles * static_cast<int64_t>(sizeof(int32_t)));
    lists.chunks = static_cast<Chunk<T>*>(chunks_->mutable_data_ptr());
    lists.counts = static_cast<int32_t*>(counts_->mutable_data_ptr());
    device.launch(mark<T, Dtypes>, dim3(blocks(lists.tiles, 1), blocks(batch.B, 1)), kMarkers, batch, lists, marks);
    device.launch(describe<T, Dtypes>, dim3(blocks(kDescriberBlocks, 1), blocks(batch.B, 1)), kDescribers, batch,
                  lists);
  }

  CandidateLists<T> lists;

 private:
  std::optional<Tensor> chunks_, counts_;
};

}  // namespace
}  // namespace yolox_ops
