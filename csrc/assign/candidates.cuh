// The launch that simota_cost and simota begin with, which finds the candidates of a batch; and how a block goes over
// those of an image.
#pragma once

#include "assign/batch.cuh"
#include "core/scan.cuh"
#include "core/search.cuh"

namespace yolox_ops {
namespace {

// Tiles whose counts a block holds at once.
constexpr int kTilesAtOnce = 512;

// Whether an anchor is a candidate because of any of these ground truths. A block calls it for one anchor a thread and
// shares the targets, a tile of them at a time.
template <class T>
__device__ __forceinline__ bool is_candidate(const Batch<T>& batch, int64_t b, int64_t gts, int64_t anchor,
                                             Target<T> (&targets)[kTile]) {
  const T x = batch.anchor_points.at(anchor, 0), y = batch.anchor_points.at(anchor, 1);
  const T reach = reach_of(batch.strides.at(anchor), batch.rule);
  bool candidate = false;
  for (int64_t first = 0; first < gts; first += kTile) {
    __syncthreads();  // until the targets before are read
    if (first + threadIdx.x < gts) {
      const Truth<T> gt = batch.read_gt(b, first + threadIdx.x);
      targets[threadIdx.x] = gt.target;
      if (!gt.real) targets[threadIdx.x].cx = T(NAN);  // near nothing
    }
    __syncthreads();
    const int count = static_cast<int>(min(int64_t{kTile}, gts - first));
    for (int g = 0; g < count; ++g) {
      candidate |= classify_anchor(x, y, reach, targets[g], batch.rule.candidates).candidate;
    }
  }
  return candidate;
}

// Lists the anchors of the threads that have a candidate, in order; returns how many there are.
__device__ __forceinline__ int list_members(bool candidate, int64_t anchor, int32_t (&members)[kTile]) {
  __shared__ int32_t warp_counts[kTile / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t found = __ballot_sync(kAllLanes, candidate);
  if (lane == 0) warp_counts[warp] = __popc(found);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < kTile / 32; ++w) {
    if (w == warp) before = total;
    total += warp_counts[w];
  }
  if (candidate) members[before + __popc(found & ((1u << lane) - 1))] = static_cast<int32_t>(anchor);
  __syncthreads();
  return total;
}

// Sum over classes of -log(1 - p), by half a warp, with the sums and the bits of the CPU's sum_negatives.
template <class T>
__device__ __forceinline__ double sum_negatives(const Batch<T>& batch, int64_t b, int64_t anchor, T obj_exp) {
  const int lane = threadIdx.x % kSums;
  const uint32_t half = 0xffffu << (threadIdx.x & 16);
  double total = 0;
  for (int64_t chunk = 0; chunk < batch.C; chunk += kSums * kFactors) {
    const int64_t end = min(chunk + kSums * kFactors, batch.C);
    T over = T(1), under = T(1), poison = T(0);
    int32_t exponent = 0;
    for (int64_t c = chunk; c < end; c += kSums) {
      const T logit = c + lane < end ? batch.cls_logits.at(b, anchor, c + lane) : T(kNoClass);
      multiply_class(logit, obj_exp, batch.without_obj(), over, under, exponent, poison);
    }
    const T sum = log_scaled(over / under, exponent) + poison;
    for (int i = 0; i < kSums; ++i) total += static_cast<double>(__shfl_sync(half, sum, i, kSums));
  }
  return total;
}

// The candidate that an anchor is, by half a warp.
template <class T>
__device__ __forceinline__ Candidate<T> describe_candidate(const Batch<T>& batch, int64_t b, int64_t anchor) {
  Candidate<T> c;
  c.box = batch.read_box(b, anchor);
  c.x = batch.anchor_points.at(anchor, 0);
  c.y = batch.anchor_points.at(anchor, 1);
  c.reach = reach_of(batch.strides.at(anchor), batch.rule);
  c.score.obj = batch.read_objectness(b, anchor);
  c.score.negatives = sum_negatives(batch, b, anchor, c.score.obj.exp);
  c.anchor = anchor;
  return c;
}

// A block finds the candidates of a tile, in ascending order, and describes them, half a warp to each.
template <class T>
__global__ void __launch_bounds__(kTile, 2) find_candidates(Batch<T> batch) {
  __shared__ Target<T> targets[kTile];
  __shared__ int32_t members[kTile];
  for (int64_t b = blockIdx.y; b < batch.B; b += gridDim.y) {
    const int64_t gts = batch.count_gts(b);
    for (int64_t tile = blockIdx.x; tile < batch.tiles; tile += gridDim.x) {
      const int64_t first = tile * kTile, anchor = min(first + threadIdx.x, batch.N - 1);
      const bool candidate = is_candidate(batch, b, gts, anchor, targets) && first + threadIdx.x < batch.N;
      const int total = list_members(candidate, anchor, members);
      for (int i = threadIdx.x / kSums; i < total; i += kTile / kSums) {
        const Candidate<T> c = describe_candidate(batch, b, members[i]);
        if (threadIdx.x % kSums == 0) batch.candidates[b * batch.N + first + i] = c;
      }

      if (threadIdx.x == 0) batch.counts[b * batch.tiles + tile] = total;
      if (batch.owners != nullptr && threadIdx.x < total) batch.owners[b * batch.N + first + threadIdx.x] = kNobody;
      if (batch.num_fg != nullptr && tile == 0 && threadIdx.x == 0) batch.num_fg[b] = 0;
    }
  }
}

// Running sums of the counts of some tiles, by the first warp.
__device__ __forceinline__ void sum_counts(const int32_t* counts,  // [tiles]
                                           int tiles,
                                           int32_t* ends) {  // [tiles]
  int32_t before = 0;
  for (int first = 0; first < tiles; first += 32) {
    const int tile = first + threadIdx.x;
    const int32_t sum = warp_scan(tile < tiles ? counts[tile] : 0);
    if (tile < tiles) ends[tile] = before + sum;
    before += __shfl_sync(kAllLanes, sum, 31);
  }
}

// Calls visit(slot) for this thread's share of the candidates of image b and returns how many there are in all. `ends`
// is shared memory; every thread of the block must call it.
template <class T, class Visit>
__device__ __forceinline__ int64_t each_candidate(const Batch<T>& batch, int64_t b, int32_t (&ends)[kTilesAtOnce],
                                                  const Visit& visit) {
  int64_t seen = 0;
  for (int64_t first = 0; first < batch.tiles; first += kTilesAtOnce) {
    const int tiles = static_cast<int>(min(int64_t{kTilesAtOnce}, batch.tiles - first));
    __syncthreads();  // until the ends before are read
    if (threadIdx.x < 32) sum_counts(batch.counts + b * batch.tiles + first, tiles, ends);
    __syncthreads();
    for (int i = threadIdx.x; i < ends[tiles - 1]; i += blockDim.x) {
      const int tile = first_where(0, tiles - 1, [&](int other) { return ends[other] > i; });
      visit((first + tile) * kTile + i - (tile ? ends[tile - 1] : 0));
    }
    seen += ends[tiles - 1];
  }
  return seen;
}

// A batch with its workspace, after the launch of find_candidates.
template <class T>
class PreparedBatch {
 public:
  PreparedBatch(const Device& device, const Scene& scene, const Rule& rule,
                int32_t* owners,  // [B, N], or null
                int64_t* num_fg)  // [B], or null
      : batch(read_batch<T>(scene, rule)) {
    const auto empty = [&](int64_t bytes) {
      return torch::stable::new_empty(scene.pred_boxes, {bytes}, ScalarType::Byte);
    };
    candidates_ = empty(batch.B * batch.N * static_cast<int64_t>(sizeof(Candidate<T>)));
    counts_ = empty(batch.B * batch.tiles * static_cast<int64_t>(sizeof(int32_t)));
    batch.candidates = static_cast<Candidate<T>*>(candidates_->mutable_data_ptr());
    batch.counts = static_cast<int32_t*>(counts_->mutable_data_ptr());
    batch.owners = owners;
    batch.num_fg = num_fg;
    device.launch(find_candidates<T>, dim3(blocks(batch.tiles, 1), blocks(batch.B, 1)), kTile, batch);
  }

  Batch<T> batch;

 private:
  std::optional<Tensor> candidates_, counts_;
};

}  // namespace
}  // namespace yolox_ops
