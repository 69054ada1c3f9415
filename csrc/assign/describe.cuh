// The launch that describes candidates: the sum over classes that an anchor brings to the cost of all its pairs. Half a
// warp has a candidate, a block a chunk, then another of its image; bound by the issue of 57 operations a class.
#pragma once

#include <algorithm>

#include "assign/mark.cuh"

namespace yolox_ops {
namespace {

constexpr int kDescribers = kSums * kLanes;
// Blocks to all images, about as many as find room, and to a tile of one.
constexpr int64_t kDescriberBlocks = 768;
constexpr int64_t kBlocksToTile = 4;
// Classes that a lane reads at once.
constexpr int kClasses = 5;

// This lane's sum of the kSums over some classes of -log(1 - p), as the CPU's sum_negatives has it. odds_of(e) are
// those of a class from its exponential.
template <class T, class Dtypes, class Odds>
__device__ __forceinline__ T sum_of_lane(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor, int64_t first,
                                         const Odds& odds_of) {
  const int64_t end = min(first + kSums * kFactors, batch.C);
  T over = T(1), under = T(1), most = T(0);  // the most odds, or NaN
  int32_t exponent = 0;
  const auto multiply = [&](T logit) {
    const T odds = odds_of(exp_scaled(-logit, kShift<T>));
    multiply_class(odds, over, under, exponent);
    most = larger_or_nan(most, odds);
  };
  int64_t c = first + threadIdx.x % kSums;
  for (; first + kClasses * kSums <= end; first += kClasses * kSums, c += kClasses * kSums) {
    T logits[kClasses];
#pragma unroll
    for (int i = 0; i < kClasses; ++i) logits[i] = batch.cls_logits.at(b, anchor, c + i * kSums);
#pragma unroll
    for (int i = 0; i < kClasses; ++i) multiply(logits[i]);
  }
  for (; first < end; first += kSums, c += kSums) {
    multiply(c < end ? batch.cls_logits.at(b, anchor, c) : T(kNoClass));
  }
  return log_scaled(over / under, exponent) + most * T(0);
}

// The same, spared the objectness where there is none, and the class's own score where there is one.
template <class T, class Dtypes>
__device__ __forceinline__ T sum_of_lane(const Batch<T, Dtypes>& batch, int64_t b, int64_t anchor, int64_t first) {
  if (!batch.has_obj) {
    return sum_of_lane(batch, b, anchor, first, [](T cls_exp) { return score_odds(cls_exp, cls_exp); });
  }
  const T obj_exp = exp_scaled(-batch.obj_logits.at(b, anchor), kShift<T>);
  return sum_of_lane(batch, b, anchor, first, [=](T cls_exp) { return score_odds(cls_exp, obj_exp); });
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
__global__ void __launch_bounds__(kDescribers, 2)
    describe(Batch<T, Dtypes> batch, CandidateLists<T> lists, Besides<T> besides) {
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
    if (besides.costs == nullptr || threadIdx.x >= kPadders) continue;
    fill_rows<double>(batch, besides.costs, b, end_of_marked_padding(batch, b), batch.G, INFINITY);
    fill_rows(batch, besides.overlaps, b, batch.count_gts(b), batch.G, T(0));
  }
}

// Memory for the candidates of a batch, and the launches that find them.
template <class T>
class FoundCandidates {
 public:
  template <class Dtypes>
  FoundCandidates(const Device& device, const Tensor& like, const Batch<T, Dtypes>& batch, const Besides<T>& besides) {
    const auto empty = [&](int64_t bytes) { return torch::stable::new_empty(like, {bytes}, ScalarType::Byte); };
    lists.tiles = (batch.N + kTile - 1) / kTile;
    chunks_ = empty(batch.B * lists.tiles * kChunks * static_cast<int64_t>(sizeof(Chunk<T>)));
    counts_ = empty(batch.B * lists.tiles * static_cast<int64_t>(sizeof(int32_t)));
    lists.chunks = static_cast<Chunk<T>*>(chunks_->mutable_data_ptr());
    lists.counts = static_cast<int32_t*>(counts_->mutable_data_ptr());
    device.launch(mark<T, Dtypes>, dim3(blocks(lists.tiles, 1), blocks(batch.B, 1)), kMarkers, batch, lists, besides);
    const int64_t to_image = std::clamp(kDescriberBlocks / batch.B, int64_t{1}, lists.tiles * kBlocksToTile);
    device.launch(describe<T, Dtypes>, dim3(blocks(to_image, 1), blocks(batch.B, 1)), kDescribers, batch, lists,
                  besides);
  }

  CandidateLists<T> lists;

 private:
  std::optional<Tensor> chunks_, counts_;
};

}  // namespace
}  // namespace yolox_ops
