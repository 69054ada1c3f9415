// Selection in rounds. A box is selected as soon as it leads every box that it may overlap: their scores only fall, so
// none can overtake it, and what one process over all boxes selects later cannot touch it. Boxes far apart are selected
// at the same time, and one sort by score at the end puts the selected in order.
#include "../soft_nms.h"
#include "aten.cuh"
#include "select.cuh"

namespace yolox_ops {
namespace {

// Boxes of a label that a warp holds, one a lane; more of them get a block.
constexpr int kWarp = 32;
constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;
constexpr int kWarpsPerBlock = 8;  // where warps work alone
constexpr int kFlatThreads = 256;
// Places of a row that a block looks at for labels of its own.
constexpr int kPlaces = 64;
// From here on boxes are put in spatial order first, so that a warp's boxes lie together.
constexpr int64_t kSpatial = 1024;

// The score of a box that is not selected, below every score that is.
constexpr int kUnselected = -1;

template <class T>
struct Boxes {
  int64_t B, N;
  const T* boxes;         // [B, N, 4]
  const T* scores;        // [B, N]
  const int64_t* labels;  // [B, N] by place, or null: all alike
  const int64_t* order;   // [B, N], the box at a place, or null: the place itself
  Format format;
  NmsRule<T> rule;
  T* current;   // [B, N] by place: what is left of a score, NaN when the box is gone
  T* selected;  // [B, N] by box

  __device__ __forceinline__ int64_t box_at(int64_t b, int64_t place) const {
    return order ? order[b * N + place] : place;
  }
  __device__ __forceinline__ Box<T> load(int64_t b, int64_t box) const {
    return load_box(boxes + (b * N + box) * 4, format, Kind::kIou);
  }
  __device__ __forceinline__ int64_t label(int64_t b, int64_t place) const {
    return labels ? labels[b * N + place] : 0;
  }
  // Labels lie together, so a label fills a warp if a warp's width further on it is still there.
  __device__ __forceinline__ bool begins(int64_t b, int64_t place) const {
    return place < N && (place == 0 || label(b, place) != label(b, place - 1));
  }
  __device__ __forceinline__ bool is_large(int64_t b, int64_t place) const {
    return place + kWarp < N && label(b, place + kWarp) == label(b, place);
  }
};

// Who comes first: the larger score, and of equal ones the lower index. Index -1 is nobody.
template <class T>
struct Lead {
  T score;
  int32_t index;
  int64_t place;

  __device__ __forceinline__ bool before(const Lead& other) const {
    if (index < 0 || other.index < 0) return index >= 0;
    return score != other.score ? score > other.score : index < other.index;
  }
};
template <class T>
__device__ __forceinline__ Lead<T> first_of(const Lead<T>& a, const Lead<T>& b) {
  return b.before(a) ? b : a;
}

// The score after the box `chosen` was selected; NaN when it falls below the threshold.
template <class T>
__device__ __forceinline__ T decayed(const NmsRule<T>& rule, const Box<T>& chosen, const Box<T>& box, T score,
                                     T scale) {
  const T overlap = iou(chosen, box);
  if (!(overlap > rule.limit())) return score;
  const T factor = rule.method == Method::kHard     ? weight<Method::kHard>(overlap, scale)
                   : rule.method == Method::kLinear ? weight<Method::kLinear>(overlap, scale)
                                                    : weight<Method::kGaussian>(overlap, scale);
  const T lower = score * factor;
  return lower >= rule.score_threshold ? lower : T(NAN);
}

template <class T>
struct Sum {
  double scores, count;

  __device__ __forceinline__ T mean() const { return static_cast<T>(scores / count); }
};
template <class T>
__device__ __forceinline__ Sum<T> operator+(const Sum<T>& a, const Sum<T>& b) {
  return {a.scores + b.scores, a.count + b.count};
}

// A warp selects among the n boxes from `begin` on, one by one.
template <class T>
__device__ void select_by_warp(const Boxes<T>& in, int64_t b, int64_t begin, int n) {
  const int lane = threadIdx.x % kWarp;
  const int64_t index = lane < n ? in.box_at(b, begin + lane) : 0;
  const Box<T> box = in.load(b, index);
  T score = lane < n ? in.scores[b * in.N + index] : T(NAN), result = T(kUnselected);
  if (!(score >= in.rule.score_threshold)) score = T(NAN);
  for (;;) {
    const bool here = score == score;
    Lead<T> lead{score, here ? static_cast<int32_t>(index) : -1, lane};
    lead = warp_reduce(lead, first_of<T>);
    if (lead.index < 0) break;
    const int leader = static_cast<int>(lead.place);
    const Box<T> chosen = of_lane(box, leader);
    if (lane == leader) {
      result = score + T(0);
      score = T(NAN);
    }
    T scale = in.rule.scale(T(0));
    if (in.rule.method == Method::kMeanGaussian) {
      const bool left = score == score;
      const Sum<T> own{left ? static_cast<double>(score) : 0.0, left ? 1.0 : 0.0};
      scale = in.rule.scale(warp_reduce(own, [](const Sum<T>& a, const Sum<T>& b) { return a + b; }).mean());
    }
    if (score == score) score = decayed(in.rule, chosen, box, score, scale);
  }
  if (lane < n) in.selected[b * in.N + index] = result;
}

// Each warp serves the labels that begin among its 32 places and have no more boxes than that.
template <class T>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarp) select_small(Boxes<T> in) {
  const int lane = threadIdx.x % kWarp;
  const int64_t chunks = (in.N + kWarp - 1) / kWarp;
  for (int64_t chunk = blockIdx.x * int64_t{kWarpsPerBlock} + threadIdx.x / kWarp; chunk < in.B * chunks;
       chunk += gridDim.x * int64_t{kWarpsPerBlock}) {
    const int64_t b = chunk / chunks, first = chunk % chunks * kWarp;
    const bool mine = in.begins(b, first + lane) && !in.is_large(b, first + lane);
    for (uint32_t open = __ballot_sync(kAllLanes, mine); open; open &= open - 1) {
      const int64_t begin = first + __ffs(open) - 1;
      const bool same = begin + lane < in.N && in.label(b, begin + lane) == in.label(b, begin);
      select_by_warp(in, b, begin, __popc(__ballot_sync(kAllLanes, same)));
    }
  }
}

// What the warps of a block tell each other.
template <class T>
struct Board {
  Lead<T> lead[kWarps];
  Box<T> box[kWarps];   // the lead's
  Box<T> hull[kWarps];  // of all boxes of the warp that can overlap any
  Sum<T> sum[kWarps];
  bool chosen[kWarps];
};

template <class T>
__device__ __forceinline__ bool meets(const Box<T>& hull, const Box<T>& box) {
  return hull.x1 < box.x2 && box.x1 < hull.x2 && hull.y1 < box.y2 && box.y1 < hull.y2;
}

// A block selects among the n boxes from `begin` on; a warp owns a range of them. With `in_order` it selects one box a
// round, as one process over all would, and calls picked(lead) in one thread; only boxes of one label touch.
template <class T, class Picked>
__device__ void select_by_block(const Boxes<T>& in, Board<T>& board, int64_t b, int64_t begin, int64_t n, bool in_order,
                                int64_t most, const Picked& picked) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t share = (n + kWarps - 1) / kWarps;
  const int64_t from = begin + min(n, warp * share), to = begin + min(n, (warp + 1) * share);
  T* current = in.current + b * in.N;
  const bool by_mean = in.rule.method == Method::kMeanGaussian;

  Lead<T> lead{T(0), -1, 0};
  Box<T> hull{T(INFINITY), T(INFINITY), T(-INFINITY), T(-INFINITY), T(0), T(0)};
  for (int64_t place = from + lane; place < to; place += kWarp) {
    const int64_t index = in.box_at(b, place);
    const T score = in.scores[b * in.N + index];
    const bool here = score >= in.rule.score_threshold;
    current[place] = here ? score : T(NAN);
    in.selected[b * in.N + index] = T(kUnselected);
    if (here) lead = first_of(lead, Lead<T>{score, static_cast<int32_t>(index), place});
    const Box<T> box = in.load(b, index);
    if (can_overlap(box)) {
      hull = {smaller(hull.x1, box.x1),
              smaller(hull.y1, box.y1),
              larger(hull.x2, box.x2),
              larger(hull.y2, box.y2),
              T(0),
              T(0)};
    }
  }
  lead = warp_reduce(lead, first_of<T>);
  hull = warp_reduce(hull, [](const Box<T>& a, const Box<T>& b) {
    return Box<T>{smaller(a.x1, b.x1), smaller(a.y1, b.y1), larger(a.x2, b.x2), larger(a.y2, b.y2), T(0), T(0)};
  });

  for (int64_t round = 0; round < most; ++round) {
    if (lane == 0) {
      board.lead[warp] = lead;
      if (lead.index >= 0) board.box[warp] = in.load(b, lead.index);
      board.hull[warp] = hull;
    }
    __syncthreads();
    const Lead<T> other = board.lead[lane];
    if (__ballot_sync(kAllLanes, other.index >= 0) == 0) break;
    const bool rival = other.before(lead) && (in_order || meets(board.hull[lane], board.box[warp]));
    const bool chosen = __ballot_sync(kAllLanes, rival) == 0 && lead.index >= 0;
    if (lane == 0) {
      board.chosen[warp] = chosen;
      if (chosen) {
        current[lead.place] = T(NAN);
        in.selected[b * in.N + lead.index] = lead.score + T(0);
        picked(round, lead);
      }
    }
    __syncthreads();

    if (by_mean) {  // in order, so one box is chosen
      const int chooser = __ffs(__ballot_sync(kAllLanes, board.chosen[lane])) - 1;
      const int64_t label = in.label(b, board.lead[chooser].place);
      Sum<T> own{0, 0};
      for (int64_t place = from + lane; place < to; place += kWarp) {
        const T score = current[place];
        if (score == score && in.label(b, place) == label) own = own + Sum<T>{static_cast<double>(score), 1};
      }
      own = warp_reduce(own, [](const Sum<T>& a, const Sum<T>& b) { return a + b; });
      if (lane == 0) board.sum[warp] = own;
      __syncthreads();
    }

    const bool near = board.chosen[lane] && (lane == warp || meets(hull, board.box[lane]));
    const uint32_t hits = __ballot_sync(kAllLanes, near);
    if (hits != 0) {
      T scale = in.rule.scale(T(0));
      if (by_mean) {
        scale =
            in.rule.scale(warp_reduce(board.sum[lane], [](const Sum<T>& a, const Sum<T>& b) { return a + b; }).mean());
      }
      lead = {T(0), -1, 0};
      for (int64_t place = from + lane; place < to; place += kWarp) {
        T score = current[place];
        if (score != score) continue;
        const int64_t index = in.box_at(b, place);
        const Box<T> box = in.load(b, index);
        for (uint32_t open = hits; open; open &= open - 1) {
          const int hit = __ffs(open) - 1;
          if (in.label(b, place) == in.label(b, board.lead[hit].place)) {
            score = decayed(in.rule, board.box[hit], box, score, scale);
          }
        }
        current[place] = score;
        if (score == score) lead = first_of(lead, Lead<T>{score, static_cast<int32_t>(index), place});
      }
      lead = warp_reduce(lead, first_of<T>);
    }
    __syncthreads();
  }
  __syncthreads();
}

// Each block serves the labels that begin among its places and have more boxes than a warp holds.
template <class T>
__global__ void __launch_bounds__(kThreads) select_large(Boxes<T> in) {
  __shared__ Board<T> board;
  __shared__ Shortlist<int64_t, kPlaces> begins;
  const bool in_order = in.rule.method == Method::kMeanGaussian;
  for (int64_t b = blockIdx.y; b < in.B; b += gridDim.y) {
    for (int64_t first = blockIdx.x * int64_t{kPlaces}; first < in.N; first += gridDim.x * int64_t{kPlaces}) {
      __syncthreads();
      if (threadIdx.x == 0) begins.count = 0;
      __syncthreads();
      const int64_t place = first + threadIdx.x;
      if (threadIdx.x < kPlaces && in.begins(b, place) && in.is_large(b, place)) begins.push(place);
      __syncthreads();
      for (int i = 0; i < begins.count; ++i) {
        const int64_t begin = begins.items[i];
        int64_t end = begin + 1;  // the first place of a larger label
        for (int64_t high = in.N; end < high;) {
          const int64_t middle = (end + high) / 2;
          in.label(b, middle) == in.label(b, begin) ? end = middle + 1 : high = middle;
        }
        select_by_block(in, board, b, begin, end - begin, in_order, end - begin, [](int64_t, const Lead<T>&) {});
      }
    }
  }
}

// Negative scores rise when they decay, so their order is known only by following it: a block for an image.
template <class T>
__global__ void __launch_bounds__(kThreads)
    select_in_order(Boxes<T> in, int64_t K, int64_t* indices, T* scores, int64_t* counts) {
  __shared__ Board<T> board;
  for (int64_t b = blockIdx.x; b < in.B; b += gridDim.x) {
    for (int64_t k = threadIdx.x; k < K; k += kThreads) {
      indices[b * K + k] = -1;
      scores[b * K + k] = T(0);
    }
    if (threadIdx.x == 0) counts[b] = 0;
    select_by_block(in, board, b, 0, in.N, true, K, [&](int64_t round, const Lead<T>& lead) {
      indices[b * K + round] = lead.index;
      scores[b * K + round] = lead.score + T(0);
      counts[b] = round + 1;
    });
  }
}

// A block puts the boxes of an image in spatial order: codes [B, N] to sort by.
template <class T>
__global__ void __launch_bounds__(kFlatThreads) spatial_codes(Boxes<T> in, int64_t* codes) {
  for (int64_t b = blockIdx.x; b < in.B; b += gridDim.x) {
    Box<T> span = empty_span<T>();
    for (int64_t i = threadIdx.x; i < in.N; i += kFlatThreads) span = grown(span, in.load(b, i));
    span = block_reduce<kFlatThreads>(span, [](const Box<T>& a, const Box<T>& b) {
      return Box<T>{smaller(a.x1, b.x1), smaller(a.y1, b.y1), larger(a.x2, b.x2), larger(a.y2, b.y2), T(0), T(0)};
    });
    const SpatialOrder<T> order(span, in.N, (in.N + kWarps - 1) / kWarps);
    for (int64_t i = threadIdx.x; i < in.N; i += kFlatThreads) codes[b * in.N + i] = order(in.load(b, i));
  }
}

// The outputs from the sorted scores of the selected.
template <class T>
__global__ void write_selection(const T* sorted, const int64_t* order, int64_t B, int64_t N, int64_t K,
                                int64_t* indices, T* scores, int64_t* counts) {
  for (int64_t i = blockIdx.x * int64_t{kFlatThreads} + threadIdx.x; i < B * K;
       i += gridDim.x * int64_t{kFlatThreads}) {
    const int64_t b = i / K, k = i % K, at = b * N + k;
    const bool here = sorted[at] >= T(0);
    indices[i] = here ? order[at] : -1;
    scores[i] = here ? sorted[at] : T(0);
    if (here && (k + 1 == K || !(sorted[at + 1] >= T(0)))) counts[b] = k + 1;
    if (!here && k == 0) counts[b] = 0;
  }
}

template <class T>
void run(const Device& device, NmsCall& call) {
  const int64_t B = call.B, N = call.N, K = call.K;
  int64_t* indices = call.indices.template mutable_data_ptr<int64_t>();
  T* scores = call.decayed.template mutable_data_ptr<T>();
  int64_t* counts = call.counts.template mutable_data_ptr<int64_t>();
  const auto empty = [&](ScalarType dtype) { return torch::stable::new_empty(call.boxes, {B, N}, dtype); };
  Tensor current = empty(call.dtype), selected = empty(call.dtype);
  Boxes<T> in{B,
              N,
              call.boxes.const_data_ptr<T>(),
              call.scores.const_data_ptr<T>(),
              call.labels ? call.labels->const_data_ptr<int64_t>() : nullptr,
              nullptr,
              call.format,
              call.rule<T>(),
              current.mutable_data_ptr<T>(),
              selected.mutable_data_ptr<T>()};
  if (call.score_threshold < 0) {
    device.launch(select_in_order<T>, blocks(B, 1), kThreads, in, K, indices, scores, counts);
    return;
  }
  std::optional<Tensor> order, labels;
  if (N > kSpatial) {
    Tensor codes = empty(ScalarType::Long);
    device.launch(spatial_codes<T>, blocks(B, 1), kFlatThreads, in, codes.mutable_data_ptr<int64_t>());
    order = sort_rows(codes, false).second;
  }
  if (call.labels) {
    auto [sorted, by_label] = sort_rows(order ? gather_rows(*call.labels, *order) : *call.labels, false);
    labels = sorted;
    order = order ? gather_rows(*order, by_label) : by_label;
    in.labels = labels->const_data_ptr<int64_t>();
  }
  in.order = order ? order->const_data_ptr<int64_t>() : nullptr;
  const int64_t chunks = (N + kWarp - 1) / kWarp;
  device.launch(select_small<T>, blocks(B * chunks, kWarpsPerBlock), kWarpsPerBlock * kWarp, in);
  if (N > kWarp) {
    device.launch(select_large<T>, dim3(call.labels ? blocks(N, kPlaces) : 1, blocks(B, 1)), kThreads, in);
  }
  const auto [sorted, by_score] = sort_rows(selected, true);
  device.launch(write_selection<T>, blocks(B * K, kFlatThreads), kFlatThreads, sorted.template const_data_ptr<T>(),
                by_score.template const_data_ptr<int64_t>(), B, N, K, indices, scores, counts);
}

std::tuple<Tensor, Tensor, Tensor> soft_nms(const Tensor& boxes, const Tensor& scores, std::optional<Tensor> labels,
                                            std::string method, double sigma, double iou_threshold,
                                            double score_threshold, int64_t max_detections, std::string fmt) {
  const Device device(boxes);
  NmsCall call(boxes, scores, labels, fmt, method, sigma, iou_threshold, score_threshold, max_detections);
  if (call.B * call.K == 0) {
    torch::stable::zero_(call.counts);
  } else {
    dispatch_dtype(call.dtype, [&]<class T>() { run<T>(device, call); });
  }
  return {call.indices, call.decayed, call.counts};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("soft_nms", TORCH_BOX(&yolox_ops::soft_nms)); }
