// Where the CPU kernels write what the anchors of an image are matched to.
#pragma once

#include <algorithm>

#include "assign/rule.h"
#include "assign/tensors.h"

namespace yolox_ops {

// The part of one image.
struct ImageMatches {
  int64_t* matched_gt;  // [N]
  float* matched_iou;   // [N]
  int64_t* num_fg;      // a single number

  // Leaves all N anchors without a ground truth.
  void clear(int64_t N) const {
    std::fill_n(matched_gt, N, int64_t{kNobody});
    std::fill_n(matched_iou, N, 0.0f);
    *num_fg = 0;
  }

  // Matches an anchor that is not matched yet. A NaN overlap counts 0.
  template <class T>
  void set(int64_t anchor, int64_t gt, T overlap) const {
    matched_gt[anchor] = gt;
    matched_iou[anchor] = static_cast<float>(zero_if_nan(overlap));
    ++*num_fg;
  }
};

// The parts of all images.
class MatchesByImage {
 public:
  explicit MatchesByImage(Matches& matches)
      : N_(matches.matched_gt.size(1)),
        first_{matches.matched_gt.mutable_data_ptr<int64_t>(), matches.matched_iou.mutable_data_ptr<float>(),
               matches.num_fg.mutable_data_ptr<int64_t>()} {}

  ImageMatches operator[](int64_t b) const {
    return {first_.matched_gt + b * N_, first_.matched_iou + b * N_, first_.num_fg + b};
  }

 private:
  int64_t N_;
  ImageMatches first_;
};

}  // namespace yolox_ops
