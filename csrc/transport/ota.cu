// ota, in two launches.
// find_pairs: a block of 128 threads finds the pairs of a ground truth, lists them in shared memory, and sums the
// largest overlaps. It takes as long as its longest block: 34 us, 74 for a ground truth that has all anchors. solve: a
// block of 512 threads solves an image. A thread has every 512th column, a warp every 16th listed row, all threads each
// dense row; an iteration has two barriers. What bounds it is the latency of the longest image, since it has one
// multiprocessor of 132: 50 us and 2.8 an iteration, 93 and 6.9 with a dense row beside the background's; its
// instructions alone would take the multiprocessor two thirds of that. Figures are those of an H200's model, for 49
// ground truths and 8400 anchors.
#include "transport/ota_iterate.cuh"
#include "transport/ota_prepare.cuh"

namespace yolox_ops {
namespace {

// The row where a column has the largest share of a row's largest element, which is 1; potentials of rows are chosen
// so. Of two rows that both have it as their largest, which is so to the last bit, the first wins.
template <class T>
__device__ __forceinline__ int32_t find_winner(const OtaImage<T>& image, int32_t column) {
  int32_t best = image.background();
  double most = -INFINITY;
  const auto weigh = [&](int32_t g, double share) {
    if (share > most || (share == most && g < best)) {
      most = share;
      best = g;
    }
  };
  const double y = image.y[column];
  image.each_of_column(
      column, [&](int32_t i) { weigh(i / kListed, (y - image.scaled(image.costs[i])) + image.x[i / kListed]); });
  for (int32_t r = 1; r < image.n_dense; ++r) {
    const double scaled = image.scaled(image.read_dense_cost(r, column));
    if (scaled <= kMostScaled) weigh(image.wide[r - 1], (y - scaled) + image.x[image.background() + r]);
  }
  return y + image.x[image.background()] > most ? image.background() : best;
}

// Gives the free column the potential of one of the anchors that share it.
template <class T>
__device__ __forceinline__ void split_free_column(const OtaImage<T>& image) {
  const double free = image.count_free();
  if (threadIdx.x == 0 && free > 0) image.y[image.n_columns - 1] -= ::log(free);
  __syncthreads();
}

// A block solves an image and writes what its anchors match.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) solve(OtaPairs<T> pairs, Workspace<T> w,
                                                     int64_t* matched_gt,  // [B, N]
                                                     float* matched_iou,   // [B, N]
                                                     int64_t* num_fg) {    // [B]
  const int64_t N = pairs.batch.N;
  for (int64_t b = blockIdx.x; b < pairs.batch.B; b += gridDim.x) {
    for (int64_t j = threadIdx.x; j < N; j += kThreads) {
      matched_gt[b * N + j] = kNobody;
      matched_iou[b * N + j] = 0.0f;
    }
    OtaImage<T> image(pairs, w, b);
    prepare_rows(image);
    prepare_columns(image);
    int64_t found = 0;
    if (image.n_listed > 0 || image.n_dense > 1) {
      iterate(image);
      split_free_column(image);
      choose_rows(image);
      for (int32_t c = threadIdx.x; c < image.n_columns - (image.count_free() > 0); c += kThreads) {
        const int32_t g = find_winner(image, c);
        if (g == image.background()) continue;
        const int32_t anchor = image.columns[c];
        matched_gt[b * N + anchor] = g;
        matched_iou[b * N + anchor] = static_cast<float>(pairs.overlap(b, pairs.batch.read_gt(b, g), anchor));
        ++found;
      }
    }
    found = block_reduce<kThreads>(found, std::plus<>());
    if (threadIdx.x == 0) num_fg[b] = found;
  }
}

// Arrays one after another in one tensor: asked for twice, at first to know how much they take.
class Arena {
 public:
  explicit Arena(char* memory = nullptr) : memory_(memory) {}

  template <class V>
  void reserve(V*& array, int64_t n) {
    if (memory_ != nullptr) array = reinterpret_cast<V*>(memory_ + size_);
    size_ += (n * static_cast<int64_t>(sizeof(V)) + 15) / 16 * 16;
  }
  int64_t size() const { return size_; }

 private:
  char* memory_;
  int64_t size_ = 0;
};

// Returns how many bytes the arrays take.
template <class T>
int64_t reserve_all(Arena arena, OtaPairs<T>& p, Workspace<T>& w) {
  const int64_t B = p.batch.B, G = p.batch.G, N = p.batch.N;
  arena.reserve(w.x, B * (2 * G + 1));
  arena.reserve(w.y, B * N);
  for (T** rows : {&w.row_factors, &w.supplies}) arena.reserve(*rows, B * (2 * G + 1));
  arena.reserve(w.column_factors, B * N);
  arena.reserve(p.rows, B * G);
  for (T** pairs : {&p.costs, &w.entries}) arena.reserve(*pairs, B * G * kListed);
  arena.reserve(p.wide, B * p.slots * N);
  arena.reserve(w.dense_entries, B * (p.slots + 1) * N);
  for (int32_t** pairs : {&p.anchors, &w.pair_rank, &w.pair_column, &w.order}) arena.reserve(*pairs, B * G * kListed);
  for (int32_t** anchors : {&w.column_of, &w.columns}) arena.reserve(*anchors, B * N);
  arena.reserve(w.begin, B * (N + 1));
  arena.reserve(w.wide, B * G);
  return arena.size();
}

std::tuple<Tensor, Tensor, Tensor> ota(const Tensor& pred_boxes,                 // [B, N, 4], cx, cy, w, h
                                       const Tensor& cls_logits,                 // [B, N, C]
                                       const std::optional<Tensor>& obj_logits,  // [B, N]
                                       const Tensor& anchor_points,              // [N, 2]
                                       const Tensor& strides,                    // [N]
                                       const Tensor& gt_boxes,                   // [B, G, 4], cx, cy, w, h
                                       const Tensor& gt_labels,                  // [B, G]
                                       const std::optional<Tensor>& num_gts,     // [B]
                                       double center_radius, int64_t topk, double iou_weight, double epsilon,
                                       int64_t iterations, double tolerance, double focal_alpha, double focal_gamma) {
  const Device device(pred_boxes);
  const Scene scene{pred_boxes, cls_logits, obj_logits, anchor_points, strides, gt_boxes, gt_labels, num_gts};
  scene.check();
  const OtaRule rule =
      parse_ota(center_radius, topk, iou_weight, epsilon, iterations, tolerance, focal_alpha, focal_gamma);
  const int64_t B = pred_boxes.size(0), G = gt_boxes.size(1);
  Matches matches(scene);
  if (matches.is_empty()) return matches.tensors();
  Tensor taken = torch::stable::new_empty(pred_boxes, {B}, ScalarType::Int);
  torch::stable::zero_(taken);
  dispatch_dtype(compute_dtype(pred_boxes), [&]<class T>() {
    OtaPairs<T> pairs{read_batch<T>(scene, rule.region), rule, std::min(G, kWideRows)};
    pairs.taken = taken.mutable_data_ptr<int32_t>();
    Workspace<T> work;
    Tensor memory = torch::stable::new_empty(pred_boxes, {reserve_all(Arena(), pairs, work)}, ScalarType::Byte);
    reserve_all(Arena(static_cast<char*>(memory.mutable_data_ptr())), pairs, work);
    if (G > 0) device.launch(find_pairs<T>, dim3(blocks(G, 1), blocks(B, 1)), kFinders, pairs);
    device.launch(solve<T>, blocks(B, 1), kThreads, pairs, work, matches.matched_gt.mutable_data_ptr<int64_t>(),
                  matches.matched_iou.mutable_data_ptr<float>(), matches.num_fg.mutable_data_ptr<int64_t>());
  });
  return matches.tensors();
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("ota", TORCH_BOX(&yolox_ops::ota)); }
