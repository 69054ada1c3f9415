// A scene as the CUDA kernels of simota_cost, simota and ota read it; and the launch that the first two begin with: the
// candidates.
#pragma once

#include "assign/tensors.h"
#include "core/device.cuh"
#include "core/reader.h"

namespace yolox_ops {
namespace {

// Anchors, and threads, to a tile. A tile's candidates lie in the workspace from its first anchor's place on.
constexpr int kTile = 256;
// Tiles whose counts a block holds at once.
constexpr int kTilesAtOnce = 512;

// An anchor that is a candidate, and what it brings to the cost of all its pairs.
template <class T>
struct Candidate {
  Box<T> box;
  T x, y, reach;
  Score<T> score;
  int64_t anchor;
};

template <class T>
struct Truth {
  Target<T> target;
  Box<T> box;
  int64_t label;
  bool real;  // no NaN, and a label that exists; what is not real is absent
};

template <class T>
struct Batch {
  Rule rule;
  int64_t B, N, C, G, tiles;
  bool has_obj, has_counts;
  Reader<T> pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes;
  Reader<int64_t> gt_labels, num_gts;
  // The workspace: [B, N], [B, tiles], and for simota [B, N] and [B].
  Candidate<T>* candidates;
  int32_t* counts;
  int32_t* owners;
  int64_t* num_fg;

  // The argument of that name in score_odds.
  __device__ T without_obj() const { return has_obj ? T(0) : T(1); }

  __device__ __forceinline__ int64_t gts(int64_t b) const {
    return has_counts ? min(max(num_gts.at(b), int64_t{0}), G) : G;
  }

  __device__ __forceinline__ Truth<T> truth(int64_t b, int64_t g) const {
    const T p[4] = {gt_boxes.at(b, g, 0), gt_boxes.at(b, g, 1), gt_boxes.at(b, g, 2), gt_boxes.at(b, g, 3)};
    Truth<T> gt{{p[0], p[1], p[2], p[3]}, load_box(p, Format::kCxcywh, Kind::kIou), gt_labels.at(b, g), true};
    for (int m = 0; m < 4; ++m) gt.real &= p[m] == p[m];
    gt.real &= gt.label >= 0 && gt.label < C;
    return gt;
  }

  __device__ __forceinline__ Objectness<T> objectness_of(int64_t b, int64_t anchor) const {
    return has_obj ? objectness(obj_logits.at(b, anchor)) : Objectness<T>{};
  }

  __device__ bool is_inside(const Candidate<T>& c, const Truth<T>& gt) const {
    return classify_anchor(c.x, c.y, c.reach, gt.target, rule.candidates).inside;
  }

  // The cost of a pair without the penalty.
  __device__ __forceinline__ double cost(int64_t b, const Candidate<T>& c, const Truth<T>& gt, T overlap) const {
    return pair_cost(overlap, cls_logits.at(b, c.anchor, gt.label), c.score, without_obj(), rule);
  }

  // The same with the penalty where there is one.
  __device__ __forceinline__ double full_cost(int64_t b, const Candidate<T>& c, const Truth<T>& gt) const {
    return cost(b, c, gt, iou(gt.box, c.box)) + (is_inside(c, gt) ? 0.0 : rule.outside_penalty);
  }
};

// Sum over classes of -log(1 - p), by half a warp, with the sums and the bits of the CPU's sum_negatives.
template <class T>
__device__ __forceinline__ double sum_negatives(const Batch<T>& s, int64_t b, int64_t anchor, T obj_exp) {
  const int lane = threadIdx.x % kSums;
  const uint32_t half = 0xffffu << (threadIdx.x & 16);
  double total = 0;
  for (int64_t chunk = 0; chunk < s.C; chunk += kSums * kFactors) {
    const int64_t end = min(chunk + kSums * kFactors, s.C);
    T over = T(1), under = T(1), poison = T(0);
    int32_t exponent = 0;
    for (int64_t c = chunk; c < end; c += kSums) {
      const T logit = c + lane < end ? s.cls_logits.at(b, anchor, c + lane) : T(kNoClass);
      multiply_class(logit, obj_exp, s.without_obj(), over, under, exponent, poison);
    }
    const T sum = log_scaled(over / under, exponent) + poison;
    for (int i = 0; i < kSums; ++i) total += static_cast<double>(__shfl_sync(half, sum, i, kSums));
  }
  return total;
}

template <class T>
__device__ __forceinline__ void describe(const Batch<T>& s, int64_t b, int64_t anchor, int64_t at) {
  Candidate<T> c;
  T p[4];
  for (int m = 0; m < 4; ++m) p[m] = s.pred_boxes.at(b, anchor, m);
  c.box = load_box(p, Format::kCxcywh, Kind::kIou);
  c.x = s.anchor_points.at(anchor, 0);
  c.y = s.anchor_points.at(anchor, 1);
  c.reach = reach_of(s.strides.at(anchor), s.rule);
  c.score.obj = s.objectness_of(b, anchor);
  c.score.negatives = sum_negatives(s, b, anchor, c.score.obj.exp);
  c.anchor = anchor;
  if (threadIdx.x % kSums == 0) s.candidates[b * s.N + at] = c;
}

// A block finds the candidates of a tile, in ascending order, and describes them, half a warp to each.
template <class T>
__global__ void __launch_bounds__(kTile, 2) find_candidates(Batch<T> s) {
  __shared__ Target<T> targets[kTile];
  __shared__ int32_t warp_counts[kTile / 32], members[kTile];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int64_t b = blockIdx.y; b < s.B; b += gridDim.y) {
    const int64_t gts = s.gts(b);
    for (int64_t tile = blockIdx.x; tile < s.tiles; tile += gridDim.x) {
      const int64_t first = tile * kTile, anchor = min(first + threadIdx.x, s.N - 1);
      const T x = s.anchor_points.at(anchor, 0), y = s.anchor_points.at(anchor, 1);
      const T reach = reach_of(s.strides.at(anchor), s.rule);
      bool candidate = false;
      for (int64_t from = 0; from < gts; from += kTile) {
        __syncthreads();
        if (from + threadIdx.x < gts) {
          const Truth<T> gt = s.truth(b, from + threadIdx.x);
          targets[threadIdx.x] = gt.target;
          if (!gt.real) targets[threadIdx.x].cx = T(NAN);  // near nothing
        }
        __syncthreads();
        const int count = static_cast<int>(min(int64_t{kTile}, gts - from));
        for (int g = 0; g < count; ++g)
          candidate |= classify_anchor(x, y, reach, targets[g], s.rule.candidates).candidate;
      }
      candidate &= first + threadIdx.x < s.N;

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
      for (int i = threadIdx.x / kSums; i < total; i += kTile / kSums) describe(s, b, members[i], first + i);

      if (threadIdx.x == 0) s.counts[b * s.tiles + tile] = total;
      if (s.owners != nullptr && threadIdx.x < total) s.owners[b * s.N + first + threadIdx.x] = kNobody;
      if (s.num_fg != nullptr && tile == 0 && threadIdx.x == 0) s.num_fg[b] = 0;
    }
  }
}

// Calls visit(place) for this thread's share of the candidates of image b and returns how many there are in all. `ends`
// is shared memory; every thread of the block must call it.
template <class T, class Visit>
__device__ __forceinline__ int64_t each_candidate(const Batch<T>& s, int64_t b, int32_t (&ends)[kTilesAtOnce],
                                                  const Visit& visit) {
  int64_t seen = 0;
  for (int64_t first = 0; first < s.tiles; first += kTilesAtOnce) {
    const int tiles = static_cast<int>(min(int64_t{kTilesAtOnce}, s.tiles - first));
    __syncthreads();
    if (threadIdx.x < 32) {  // running sums of the tiles' counts
      int32_t before = 0;
      for (int from = 0; from < tiles; from += 32) {
        const int tile = from + threadIdx.x;
        int32_t sum = tile < tiles ? s.counts[b * s.tiles + first + tile] : 0;
        for (int step = 1; step < 32; step *= 2) {
          const int32_t other = __shfl_up_sync(kAllLanes, sum, step);
          if (threadIdx.x >= step) sum += other;
        }
        if (tile < tiles) ends[tile] = before + sum;
        before += __shfl_sync(kAllLanes, sum, 31);
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < ends[tiles - 1]; i += blockDim.x) {
      int tile = 0;
      for (int high = tiles - 1; tile < high;) {
        const int middle = (tile + high) / 2;
        ends[middle] > i ? high = middle : tile = middle + 1;
      }
      visit((first + tile) * kTile + i - (tile ? ends[tile - 1] : 0));
    }
    seen += ends[tiles - 1];
  }
  return seen;
}

// A batch without its workspace.
template <class T>
Batch<T> read_batch(const Scene& scene, const Rule& rule) {
  const int64_t B = scene.pred_boxes.size(0), N = scene.pred_boxes.size(1);
  return {rule,
          B,
          N,
          scene.cls_logits.size(2),
          scene.gt_boxes.size(1),
          (N + kTile - 1) / kTile,
          scene.obj_logits.has_value(),
          scene.num_gts.has_value(),
          Reader<T>(scene.pred_boxes),
          Reader<T>(scene.cls_logits),
          scene.obj_logits ? Reader<T>(*scene.obj_logits) : Reader<T>(),
          Reader<T>(scene.anchor_points),
          Reader<T>(scene.strides),
          Reader<T>(scene.gt_boxes),
          Reader<int64_t>(scene.gt_labels),
          scene.num_gts ? Reader<int64_t>(*scene.num_gts) : Reader<int64_t>(),
          nullptr,
          nullptr,
          nullptr,
          nullptr};
}

// A batch with its workspace, after the launch of find_candidates.
template <class T>
class PreparedBatch {
 public:
  PreparedBatch(const Device& device, const Scene& scene, const Rule& rule, int32_t* owners, int64_t* num_fg)
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
