// Soft-NMS in up to seven launches, and PyTorch's sorts between them. Boxes are put in spatial order where they are
// many (a block an image) and by label. Labels of up to 32 boxes are a warp's work; of larger ones the groups of
// neighbours are found (groups_of_label.cuh), a block selects (by_block.cuh), and the scores are multiplied once more
// in the order of one process (replay.cuh). A sort by score puts the labels' boxes in one sequence. One large label is
// bound by one multiprocessor's issue slots; many small ones by the latency of a warp's rounds, 13 of 21 modelled us
// for 64 images of 1,000 boxes of 80 labels on an H200.
#include "core/search.cuh"
#include "core/shortlist.cuh"
#include "nms/by_block.cuh"
#include "nms/by_warp.cuh"
#include "nms/replay.cuh"
#include "nms/sort.cuh"
#include "nms/tensors.h"

namespace yolox_ops {
namespace {

constexpr int kWarpsPerBlock = 8;  // where warps work alone
constexpr int kFlatThreads = 256;
constexpr int64_t kBlocksAtOnce = 1024;  // about what a GPU holds
constexpr int kSpatialThreads = 512;
// Slots of an image that a block looks at for labels of its own.
constexpr int kSlots = 64;
// From here on boxes are put in spatial order first, so that a warp's boxes lie together.
constexpr int64_t kSpatial = 1024;

// Each warp serves the labels that begin among its 32 slots and have no more boxes than that.
template <class T>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarp, 4) select_small(Boxes<T> in) {
  const int lane = threadIdx.x % kWarp;
  const int64_t chunks = (in.N + kWarp - 1) / kWarp;
  for (int64_t chunk = blockIdx.x * int64_t{kWarpsPerBlock} + threadIdx.x / kWarp; chunk < in.B * chunks;
       chunk += gridDim.x * int64_t{kWarpsPerBlock}) {
    const int64_t b = chunk / chunks, first = chunk % chunks * kWarp;
    if (first == 0 && lane == 0) in.large[b] = 0;
    const bool is_mine = in.begins(b, first + lane) && !in.is_large(b, first + lane);
    for (uint32_t open = __ballot_sync(kAllLanes, is_mine); open; open &= open - 1) {
      const int64_t begin = first + __ffs(open) - 1;
      const bool same = begin + lane < in.N && in.label(b, begin + lane) == in.label(b, begin);
      const int n = __popc(__ballot_sync(kAllLanes, same));
      dispatch_weight(in.rule.method, [&]<Method method>() { select_by_warp<method>(in, b, begin, n); });
    }
  }
}

// Each block serves the labels that begin among its slots and have more boxes than a warp holds.
template <class T>
__global__ void __launch_bounds__(kThreads) select_large(Boxes<T> in) {
  __shared__ Board<T> board;
  __shared__ Shortlist<int64_t, kSlots> begins;
  const bool in_order = in.rule.method == Method::kMeanGaussian;
  for (int64_t b = blockIdx.y; b < in.B; b += gridDim.y) {
    if (!in.has_large(b)) continue;
    for (int64_t first = blockIdx.x * int64_t{kSlots}; first < in.N; first += gridDim.x * int64_t{kSlots}) {
      __syncthreads();
      begins.clear();
      __syncthreads();
      const int64_t slot = first + threadIdx.x;
      if (threadIdx.x < kSlots && in.begins(b, slot) && in.is_large(b, slot)) begins.push(slot);
      __syncthreads();
      for (int i = 0; i < begins.count; ++i) {
        const int64_t begin = begins.items[i];
        const int64_t end =
            first_where(begin + 1, in.N, [&](int64_t other) { return in.label(b, other) != in.label(b, begin); });
        select_by_block(in, board, b, begin, end - begin, in_order, true, static_cast<int32_t>(end - begin),
                        [&](int32_t, const Lead<T>& lead) { in.picked[b * in.N + lead.slot] = lead.score + T(0); });
      }
    }
  }
}

// Negative scores rise when they decay, so their order is known only by following it: a block for an image.
template <class T>
__global__ void __launch_bounds__(kThreads) select_in_order(Boxes<T> in, int64_t K,
                                                            int64_t* indices,   // [B, K]
                                                            T* scores,          // [B, K]
                                                            int64_t* counts) {  // [B]
  __shared__ Board<T> board;
  for (int64_t b = blockIdx.x; b < in.B; b += gridDim.x) {
    for (int64_t k = threadIdx.x; k < K; k += kThreads) {
      indices[b * K + k] = -1;
      scores[b * K + k] = T(0);
    }
    if (threadIdx.x == 0) counts[b] = 0;
    select_by_block(in, board, b, 0, in.N, true, in.labels == nullptr, static_cast<int32_t>(K),
                    [&](int32_t round, const Lead<T>& lead) {
                      indices[b * K + round] = in.box_in(b, lead.slot);
                      scores[b * K + round] = lead.score + T(0);
                      counts[b] = round + 1;
                    });
  }
}

// A block writes what to sort the boxes of an image by, to have them in spatial order.
template <class T>
__global__ void __launch_bounds__(kSpatialThreads, 2) write_spatial_codes(Boxes<T> in,
                                                                          int64_t* codes) {  // [B, N]
  for (int64_t b = blockIdx.x; b < in.B; b += gridDim.x) {
    Box<T> span = empty_hull<T>();
    for (int64_t i = threadIdx.x; i < in.N; i += kSpatialThreads) span = span_of(span, in.load(b, i));
    span = block_reduce<kSpatialThreads>(span, HullOf());
    const SpatialOrder<T> order(span, in.N, boxes_of_group(static_cast<int32_t>(in.N)));
    for (int64_t i = threadIdx.x; i < in.N; i += kSpatialThreads) codes[b * in.N + i] = order(in.load(b, i));
  }
}

// The outputs from the sorted scores of the selected.
template <class T>
__global__ void write_selection(const T* sorted,       // [B, N]
                                const int64_t* order,  // [B, N], the boxes by score
                                int64_t B, int64_t N, int64_t K,
                                int64_t* indices,   // [B, K]
                                T* scores,          // [B, K]
                                int64_t* counts) {  // [B]
  for (int64_t i = blockIdx.x * int64_t{kFlatThreads} + threadIdx.x; i < B * K;
       i += gridDim.x * int64_t{kFlatThreads}) {
    const int64_t b = i / K, k = i % K, rank = b * N + k;
    const bool here = sorted[rank] >= T(0);
    indices[i] = here ? order[rank] : -1;
    scores[i] = here ? sorted[rank] : T(0);
    if (here && (k + 1 == K || !(sorted[rank + 1] >= T(0)))) counts[b] = k + 1;
    if (!here && k == 0) counts[b] = 0;
  }
}

// What boxes lie in which slots, and their labels by slot.
struct Slots {
  std::optional<Tensor> order;   // [B, N]
  std::optional<Tensor> labels;  // [B, N]
};

// Boxes of a label lie together, and among them neighbours in the image where there are many.
template <class T>
Slots order_boxes(const Device& device, const NmsCall& call, const Boxes<T>& in) {
  Slots slots;
  if (call.N > kSpatial) {
    Tensor codes = torch::stable::new_empty(call.boxes, {call.B, call.N}, ScalarType::Long);
    device.launch(write_spatial_codes<T>, blocks(call.B, 1), kSpatialThreads, in, codes.mutable_data_ptr<int64_t>());
    slots.order = sort_rows(codes, false).second;
  }
  if (call.labels) {
    auto [sorted, by_label] = sort_rows(slots.order ? gather_rows(*call.labels, *slots.order) : *call.labels, false);
    slots.labels = sorted;
    slots.order = slots.order ? gather_rows(*slots.order, by_label) : by_label;
  }
  return slots;
}

template <class T>
void run(const Device& device, NmsCall& call) {
  const int64_t B = call.B, N = call.N, K = call.K;
  check(N < kMostBoxes, "boxes on CUDA must be fewer than 2^26 an image, got ", N);
  int64_t* indices = call.indices.template mutable_data_ptr<int64_t>();
  T* scores = call.decayed.template mutable_data_ptr<T>();
  int64_t* counts = call.counts.template mutable_data_ptr<int64_t>();
  Tensor selected = torch::stable::new_empty(call.boxes, {B, N}, call.dtype);
  Tensor large = torch::stable::new_empty(call.boxes, {B}, ScalarType::Int);
  Tensor picked = torch::stable::new_empty(call.boxes, {B, N}, call.dtype);
  Tensor kept_boxes = torch::stable::new_empty(call.boxes, {B, kept_numbers(N)}, call.dtype);
  Tensor reached = torch::stable::new_empty(call.boxes, {B, N, kReachWords}, ScalarType::Int);
  Tensor hulls = torch::stable::new_empty(call.boxes, {B, N, 4}, call.dtype);
  Boxes<T> in{.B = B,
              .N = N,
              .boxes = call.boxes.const_data_ptr<T>(),
              .scores = call.scores.const_data_ptr<T>(),
              .labels = call.labels ? call.labels->const_data_ptr<int64_t>() : nullptr,
              .order = nullptr,
              .format = call.options.format,
              .rule = call.options.rule<T>(),
              .selected = selected.mutable_data_ptr<T>(),
              .large = large.mutable_data_ptr<int32_t>(),
              .picked = picked.mutable_data_ptr<T>(),
              .kept_boxes = kept_boxes.mutable_data_ptr<T>(),
              .hulls = hulls.mutable_data_ptr<T>(),
              .reached = reinterpret_cast<uint32_t*>(reached.mutable_data_ptr<int32_t>())};
  const auto grid = [&](int64_t slots) {  // of warps that serve so many slots each, and more where images are many
    const unsigned wanted = blocks(N, slots * (kReachThreads / kWarp)), share = blocks(kBlocksAtOnce, B);
    return dim3(std::min(wanted, share), blocks(B, 1));
  };
  const auto prepare = [&](bool in_order) {
    device.launch(keep_groups<T>, grid(kWarp), kReachThreads, in, in_order);
    device.launch(find_reach<T>, grid(kSideBySide), kReachThreads, in, in_order);
  };
  if (call.options.score_threshold < 0) {
    prepare(true);
    device.launch(select_in_order<T>, blocks(B, 1), kThreads, in, K, indices, scores, counts);
    return;
  }
  const Slots slots = order_boxes(device, call, in);
  if (slots.labels) in.labels = slots.labels->const_data_ptr<int64_t>();
  if (slots.order) in.order = slots.order->const_data_ptr<int64_t>();
  const int64_t chunks = (N + kWarp - 1) / kWarp;
  if (call.labels || N <= kWarp) {
    device.launch(select_small<T>, blocks(B * chunks, kWarpsPerBlock), kWarpsPerBlock * kWarp, in);
  }
  if (N > kWarp) {
    prepare(false);
    device.launch(select_large<T>, dim3(call.labels ? blocks(N, kSlots) : 1, blocks(B, 1)), kThreads, in);
    device.launch(replay_large<T>, grid(kReplaySlots), kReachThreads, in);
  }
  // Scores of the selected only fall in order of selection, so one sort by score puts the labels' boxes in one
  // sequence.
  const auto [sorted, by_score] = sort_rows(selected, true);
  device.launch(write_selection<T>, blocks(B * K, kFlatThreads), kFlatThreads, sorted.template const_data_ptr<T>(),
                by_score.template const_data_ptr<int64_t>(), B, N, K, indices, scores, counts);
}

std::tuple<Tensor, Tensor, Tensor> soft_nms(const Tensor& boxes,           // [B, N, 4]
                                            const Tensor& scores,          // [B, N]
                                            std::optional<Tensor> labels,  // [B, N]
                                            std::string method, double sigma, double iou_threshold,
                                            double score_threshold, int64_t max_detections, std::string fmt,
                                            bool inclusive) {
  const Device device(boxes);
  NmsCall call(boxes, scores, labels, {fmt, method, sigma, iou_threshold, score_threshold, max_detections, inclusive});
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
