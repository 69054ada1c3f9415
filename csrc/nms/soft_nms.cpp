#include "nms/soft_nms.h"

#include "core/parallel.h"
#include "nms/tensors.h"

namespace yolox_ops {
namespace {

std::tuple<Tensor, Tensor, Tensor> soft_nms(const Tensor& boxes,           // [B, N, 4]
                                            const Tensor& scores,          // [B, N]
                                            std::optional<Tensor> labels,  // [B, N]
                                            std::string method, double sigma, double iou_threshold,
                                            double score_threshold, int64_t max_detections, std::string fmt,
                                            bool inclusive) {
  NmsCall call(boxes, scores, labels, {fmt, method, sigma, iou_threshold, score_threshold, max_detections, inclusive});
  if (call.B == 0) return {call.indices, call.decayed, call.counts};
  dispatch_dtype(call.dtype, [&]<class T>() {
    run_soft_nms(TorchThreads(),
                 NmsArrays<T>{call.B, call.N, call.K, call.boxes.const_data_ptr<T>(), call.scores.const_data_ptr<T>(),
                              call.labels ? call.labels->const_data_ptr<int64_t>() : nullptr,
                              call.indices.mutable_data_ptr<int64_t>(), call.decayed.mutable_data_ptr<T>(),
                              call.counts.mutable_data_ptr<int64_t>()},
                 call.options);
  });
  return {call.indices, call.decayed, call.counts};
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_FRAGMENT(yolox_ops, m) {
  m.def(
      "soft_nms(Tensor boxes, Tensor scores, Tensor? labels, str method, float sigma, float iou_threshold, "
      "float score_threshold, int max_detections, str fmt, bool inclusive=False) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CPU, m) { m.impl("soft_nms", TORCH_BOX(&yolox_ops::soft_nms)); }
