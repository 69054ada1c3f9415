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

// Sum over classes of -log(1 - p), by half a warp, with the sums and the bits of the CPU's sum_negatives.
template <class T, class Dtypes>
__device__ __forceinline__ double sum_negatives(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor, T obj_exp) {
  const int lane = threadIdx.x % kSums;
  const uint32_t half = 0xffffu << (threadIdx.x & 16);
  const T without_obj = batch.without_obj();
  double total = 0;
  for (int64_t chunk = 0; chunk < batch.C; chunk += kSums * kFactors) {
    const int64_t end = min(chunk + kSums * kFactors, batch.C);
    T over = T(1), under = T(1), poison = T(0);
    int32_t exponent = 0;
    int64_t c = chunk;
    for (; c + kClasses * kSums <= end; c += kClasses * kSums) {
      T logits[kClasses];
#pragma unroll
      for (int i = 0; i < kClasses; ++i) logits[i] = batch.cls_logits.at(b, anchor, c + i * kSums + lane);
#pragma unroll
      for (int i = 0; i < kClasses; ++i) {
        multiply_class(logits[i], obj_exp, without_obj, over, under, exponent, poison);
      }
    }
    for (; c < end; c += kSums) {
      const T logit = c + lane < end ? batch.cls_logits.at(b, anchor, c + lane) : T(kNoClass);
      multiply_class(logit, obj_exp, without_obj, over, under, exponent, poison);
    }
    const T sum = log_scaled(over / under, exponent) + poison;
    for (int i = 0; i < kSums; ++i) total += static_cast<double>(__shfl_sync(half, sum, i, kSums));
  }
  return total;
}

// What an anchor brings to its costs, by half a warp.
template <class T, class Dtypes>
__device__ __forceinline__ Score<T> score_anchor(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor) {
  const Objectness<T> obj = batch.read_objectness(b, anchor);
  return {sum_negatives(batch, b, anchor, obj.exp), obj};
}

template <class T, class Dtypes>
__global__ void __launch_bounds__(kDescribers, 2) describe(Batch<T, Dtypes> batch, CandidateLists<T> lists) {
  const int i = threadIdx.x / kSums;
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    each_chunk(lists, b, blockIdx.x, gridDim.x, [&](Chunk<T>& chunk, int32_t n) {
      if (i >= n) return;
      const Score<T> score = score_anchor(batch, b, chunk.anchors[i]);
      if (threadIdx.x % kSums == 0) chunk.values[i] = {score};
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
