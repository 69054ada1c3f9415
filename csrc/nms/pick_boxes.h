// Soft-NMS of one group of boxes, in a tree.
#pragma once

#include "boxes/box.h"
#include "boxes/box_tree.h"
#include "core/simd.h"
#include "nms/rule.h"

namespace yolox_ops {
namespace {

// A box as soft-NMS selects it.
template <class T>
struct Pick {
  Word<T> index;
  T score;
};

// The weight that an overlap with the selected box gives a score.
template <Method method, class T>
struct WeightOf {
  T scale;

  YOLOX_OPS_INLINE T operator()(T overlap) const { return weight<method>(overlap, scale); }
};

// Lowers the scores of the boxes that overlap the one that was taken last.
template <class T>
YOLOX_OPS_INLINE void decay_boxes(BoxTree<T>& tree, const NmsRule<T>& rule, const Box<T>& taken, T scale) {
  const T floor = rule.score_threshold, limit = rule.limit();
  if (rule.method == Method::kHard) {
    tree.decay(taken, limit, floor, WeightOf<Method::kHard, T>{scale});
  } else if (rule.method == Method::kLinear) {
    tree.decay(taken, limit, floor, WeightOf<Method::kLinear, T>{scale});
  } else {
    tree.decay(taken, limit, floor, WeightOf<Method::kGaussian, T>{scale});
  }
}

// Soft-NMS (Bodla et al. 2017, fig. 2) of the boxes in the tree; returns how many picks it wrote.
template <class T>
YOLOX_OPS_INLINE int64_t pick_boxes(BoxTree<T>& tree, const NmsRule<T>& rule, int64_t most,
                                    Pick<T>* picks) {  // [most]
  const bool by_mean = rule.method == Method::kMeanGaussian;
  tree.finish(by_mean);
  int64_t gaps = 0;  // boxes taken since the tree was last closed up
  for (int64_t count = 0; count < most; ++count) {
    if (gaps > tree.size() / 4) {
      tree.close_ranks();
      gaps = 0;
    }
    const Lead<T> lead = tree.lead();
    if (lead.rank == kGone<T>) return count;
    picks[count] = {lead.index, score_of<T>(lead.rank)};
    const Box<T> taken = tree.take(lead.index);
    decay_boxes(tree, rule, taken, rule.scale(by_mean ? tree.mean_score() : T(0)));
    ++gaps;
  }
  return most;
}
YOLOX_OPS_SIMD_LOOP(int64_t, pick_boxes, (BoxTree<T> & tree, const NmsRule<T>& rule, int64_t most, Pick<T>* picks),
                    (tree, rule, most, picks));

}  // namespace
}  // namespace yolox_ops
