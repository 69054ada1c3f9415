// How a ground truth of simota ranks the candidates and takes those that it prefers.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "assign/image.h"

namespace yolox_ops {
namespace {

// What one thread needs to match ground truths or settle conflicts.
template <class T>
struct Scratch {
  Pairs<T> pairs;
  std::vector<Preference> ranking;  // the preferred candidates of a ground truth first
  std::vector<T> top;               // [q], the largest overlaps of a ground truth
  std::vector<double> penalty;      // [candidates] of a ground truth, or [gts] of a candidate
};

// Puts the k preferred of the candidates inside ground truth g first in the ranking. It stays empty if there are fewer.
template <class T>
void rank_inside(const Image<T>& image, Scratch<T>& scratch, int64_t g, int64_t k) {
  const std::span<const int32_t> inside = image.inside_of(g);
  const int64_t n = static_cast<int64_t>(inside.size());
  scratch.ranking.clear();
  if (n < k) return;
  scratch.pairs.resize(n);
  for (int64_t i = 0; i < n; ++i) image.gather(scratch.pairs, i, g, inside[i]);
  image.cost_slots(scratch.pairs, n);
  for (int64_t i = 0; i < n; ++i) scratch.ranking.emplace_back(scratch.pairs.cost[i], inside[i]);
  std::partial_sort(scratch.ranking.begin(), scratch.ranking.begin() + k, scratch.ranking.end());
}

// Puts the k preferred of all candidates first, some of which pay the penalty.
template <class T>
void rank_all(const Image<T>& image, Scratch<T>& scratch, int64_t g, int64_t k) {
  scratch.penalty.assign(image.size(), image.batch->rule.outside_penalty);
  for (int32_t candidate : image.inside_of(g)) scratch.penalty[candidate] = 0.0;
  image.cost_row(scratch.pairs, g);
  scratch.ranking.clear();
  for (int64_t i = 0; i < image.size(); ++i) {
    scratch.ranking.emplace_back(scratch.pairs.cost[i] + scratch.penalty[i], i);
  }
  std::partial_sort(scratch.ranking.begin(), scratch.ranking.begin() + k, scratch.ranking.end());
}

// Whether a pair that pays the penalty could be preferred to this one, which does not.
inline bool penalised_may_precede(const Preference& pair, const Rule& rule) {
  return pair.rank > 0 || pair.cost >= least_penalised(rule);
}

// Takes the k preferred candidates of ground truth g. Hardly ever are they not all inside it.
template <class T>
void take_preferred(const Image<T>& image, Scratch<T>& scratch, int64_t g, int64_t k,
                    int32_t* picks) {  // [k]
  rank_inside(image, scratch, g, k);
  if (scratch.ranking.empty() || penalised_may_precede(scratch.ranking[k - 1], image.batch->rule)) {
    rank_all(image, scratch, g, k);
  }
  for (int64_t i = 0; i < k; ++i) picks[i] = static_cast<int32_t>(scratch.ranking[i].index);
}

}  // namespace
}  // namespace yolox_ops
