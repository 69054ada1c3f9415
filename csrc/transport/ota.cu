#include "transport/ota_iterate.cuh"
#include "transport/ota_prepare.cuh"

namespace yolox_ops {
namespace {

// A block solves an image and writes what its anchors match.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) solve(OtaPairs<T> pairs, Workspace w,
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
    if (image.n_columns > 0) iterate(image);
    int64_t found = 0;
    for (int32_t c = threadIdx.x; c < image.n_columns; c += kThreads) {
      const int32_t anchor = image.columns[c], g = image.find_winner(anchor);
      if (g == image.background()) continue;
      matched_gt[b * N + anchor] = g;
      matched_iou[b * N + anchor] = static_cast<float>(pairs.overlap(b, pairs.batch.read_gt(b, g), anchor));
      ++found;
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
int64_t reserve_all(Arena arena, OtaPairs<T>& p, Workspace& w) {
  const int64_t B = p.batch.B, G = p.batch.G, N = p.batch.N;
  arena.reserve(w.x, B * (G + 1));
  arena.reserve(w.y, B * N);
  arena.reserve(w.supply, B * (G + 1));
  arena.reserve(w.row_top, B * (G + 1));
  arena.reserve(p.rows, B * G);
  arena.reserve(p.costs, B * G * kListed);
  arena.reserve(p.wide, B * p.slots * N);
  for (int32_t** pairs : {&p.anchors, &w.order, &w.rank}) arena.reserve(*pairs, B * G * kListed);
  for (int32_t** anchors : {&w.begin, &w.length, &w.columns}) arena.reserve(*anchors, B * N);
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
    Workspace work;
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
