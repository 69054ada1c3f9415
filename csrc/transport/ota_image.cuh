// The transport of one image, by a block: all iterations of it, and who wins each anchor.
#pragma once

#include <functional>

#include "transport/ota_pairs.cuh"

namespace yolox_ops {
namespace {

// Threads that solve one image.
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;

// The workspace of solve. Potentials are over epsilon. Row G is the background.
struct Workspace {
  double *x, *y;            // [B, G + 1], [B, N], potentials
  double* supply;           // [B, G + 1], logarithms
  double* row_top;          // [B, G + 1], of the largest element of a row, without x
  int32_t* wide;            // [B, G], rows with a row of costs
  int32_t *begin, *length;  // [B, N], of the listed pairs of an anchor, in order
  int32_t* order;           // [B, G, kListed], pairs by anchor, then by ground truth
  int32_t* rank;            // [B, G, kListed], of a pair among those of its anchor, as they came
  int32_t* columns;         // [B, N], anchors that have pairs, ascending
};

// Inclusive sums over the threads of a block; every thread must call it.
__device__ __forceinline__ uint64_t block_scan(uint64_t value, uint64_t& total) {
  __shared__ uint64_t of_warp[kWarps];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto scan = [lane](uint64_t sum) {
    for (int step = 1; step < 32; step *= 2) {
      const uint64_t other = __shfl_up_sync(kAllLanes, sum, step);
      if (lane >= step) sum += other;
    }
    return sum;
  };
  value = scan(value);
  __syncthreads();  // until the call before is read
  if (lane == 31) of_warp[warp] = value;
  __syncthreads();
  const uint64_t warps = scan(lane < kWarps ? of_warp[lane] : 0);
  total = __shfl_sync(kAllLanes, warps, kWarps - 1);
  const uint64_t before = __shfl_sync(kAllLanes, warps, max(warp - 1, 0));
  return value + (warp > 0 ? before : 0);
}

// One image, by a block.
template <class T>
struct Image {
  const Pairs<T>& p;
  int64_t b;
  double per_epsilon;
  int32_t gts, n_wide, n_columns;
  const Row* rows;
  const int32_t* anchors;
  const T* costs;
  double *x, *y, *supply, *row_top;
  int32_t *wide, *begin, *length, *order, *rank, *columns;

  __device__ Image(const Pairs<T>& pairs, const Workspace& w, int64_t image)
      : p(pairs), b(image), per_epsilon(1 / p.rule.sinkhorn.epsilon), gts(static_cast<int32_t>(p.batch.gts(b))) {
    const int64_t G = p.batch.G, N = p.batch.N;
    rows = p.rows + b * G;
    anchors = p.anchors + b * G * kListed;
    costs = p.costs + b * G * kListed;
    x = w.x + b * (G + 1);
    y = w.y + b * N;
    supply = w.supply + b * (G + 1);
    row_top = w.row_top + b * (G + 1);
    wide = w.wide + b * G;
    begin = w.begin + b * N;
    length = w.length + b * N;
    order = w.order + b * G * kListed;
    rank = w.rank + b * G * kListed;
    columns = w.columns + b * N;
  }

  __device__ int32_t background() const { return static_cast<int32_t>(p.batch.G); }
  __device__ int64_t free() const { return p.batch.N - n_columns; }
  // Of a column, the logarithm; 1 and what is added to every demand.
  __device__ double demand() const { return ::log(1.0 + kTinyMass); }
  __device__ double scaled(T cost) const { return scaled_cost(cost, per_epsilon); }

  // Calls visit(pair) for this thread's share of the listed pairs.
  template <class Visit>
  __device__ __forceinline__ void each_listed(const Visit& visit) const {
    for (int64_t i = threadIdx.x; i < int64_t{gts} * kListed; i += kThreads) {
      if (i % kListed < rows[i / kListed].pairs) visit(static_cast<int32_t>(i));
    }
  }

  // Calls visit(row, cost) for all pairs of an anchor.
  template <class Visit>
  __device__ __forceinline__ void each_of_column(int32_t anchor, const Visit& visit) const {
    for (int32_t i = begin[anchor]; i < begin[anchor] + length[anchor]; ++i) {
      visit(order[i] / kListed, costs[order[i]]);
    }
    for (int32_t r = 0; r < n_wide; ++r) {
      const T cost = p.wide_cost(b, wide[r], rows[wide[r]], anchor);
      if (is_finite(cost)) visit(wide[r], cost);
    }
  }

  // Supplies, and the potentials to begin with; the wide rows, in order.
  __device__ void prepare_rows() {
    int64_t supplied = 0;
    n_wide = 0;
    for (int32_t first = 0; first < gts; first += kThreads) {
      const int32_t g = first + threadIdx.x;
      const Row row = g < gts ? rows[g] : Row{Reach::kNone, 0, 0, 0, false};
      if (g < gts) {
        supply[g] = ::log(row.k + kTinyMass);
        x[g] = row.far ? -kOutsidePenalty * per_epsilon : 0.0;
      }
      supplied += row.k;
      uint64_t total;
      const uint64_t at = block_scan(row.reach == Reach::kWide, total);
      if (row.reach == Reach::kWide) wide[n_wide + at - 1] = g;
      n_wide += static_cast<int32_t>(total);
    }
    supplied = block_reduce<kThreads>(supplied, std::plus<>());
    if (threadIdx.x == 0) {
      supply[background()] = ::log(max(p.batch.N - supplied, int64_t{0}) + kTinyMass);
      x[background()] = 0.0;
    }
  }

  // Which anchors have pairs, all if a row is wide; and the listed pairs of each, in order.
  __device__ void prepare_columns() {
    for (int64_t a = threadIdx.x; a < p.batch.N; a += kThreads) length[a] = 0;
    __syncthreads();
    each_listed([&](int32_t i) { rank[i] = atomicAdd(length + anchors[i], 1); });
    __syncthreads();
    n_columns = 0;
    uint64_t before = 0;
    for (int64_t first = 0; first < p.batch.N; first += kThreads) {
      const int64_t a = first + threadIdx.x;
      const uint64_t pairs = a < p.batch.N ? length[a] : 0;
      const bool column = a < p.batch.N && (pairs > 0 || n_wide > 0);
      uint64_t total;
      const uint64_t sums = block_scan(pairs << 32 | column, total);
      if (a < p.batch.N) begin[a] = static_cast<int32_t>(before + (sums >> 32) - pairs);
      if (column) columns[n_columns + static_cast<int32_t>(sums) - 1] = static_cast<int32_t>(a);
      before += total >> 32;
      n_columns += static_cast<int32_t>(total);
    }
    __syncthreads();
    each_listed([&](int32_t i) { order[begin[anchors[i]] + rank[i]] = i; });
    __syncthreads();
    each_listed([&](int32_t i) {  // the order in which they came was the threads' luck
      const int32_t* own = order + begin[anchors[i]];
      rank[i] = 0;
      for (int32_t m = 0; m < length[anchors[i]]; ++m) rank[i] += own[m] < i;
    });
    __syncthreads();
    each_listed([&](int32_t i) { order[begin[anchors[i]] + rank[i]] = i; });
    __syncthreads();
  }

  __device__ __forceinline__ void set_columns() {
    for (int32_t c = threadIdx.x; c < n_columns; c += kThreads) {
      LogSum<T> reached{x[background()], T(1)};
      each_of_column(columns[c], [&](int32_t g, T cost) { reached.add(x[g] - scaled(cost)); });
      y[columns[c]] = potential(reached, demand());
    }
  }

  // By the first lane of a warp: whether the row held its supply before.
  __device__ __forceinline__ bool set_row(int32_t row, const LogSum<T>& reached) {
    if (threadIdx.x % 32 != 0) return true;
    const bool settled = holds_mass(reached, x[row], supply[row], p.rule.sinkhorn.tolerance);
    x[row] = potential(reached, supply[row]);
    row_top[row] = reached.top;
    return settled;
  }

  // Whether this thread saw no row that did not hold its supply before.
  __device__ __forceinline__ bool set_rows() {
    __shared__ LogSum<T> parts[kWarps][kWarps];  // of rows, by warps
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const double rest = demand() - x[background()];  // potential of a free column
    bool settled = true;
    for (int32_t g = warp; g < gts; g += kWarps) {
      if (rows[g].reach != Reach::kListed) continue;
      auto reached = LogSum<T>::of_none();
      for (int32_t i = g * kListed + lane; i < g * kListed + rows[g].pairs; i += 32) {
        reached.add(y[anchors[i]] - scaled(costs[i]));
      }
      settled &= set_row(g, warp_reduce(reached, AddLogSums()));
    }
    for (int32_t first = 0; first <= n_wide; first += kWarps) {  // wide rows, and the background after them
      const int32_t many = min(n_wide + 1 - first, kWarps);
      if (first > 0) __syncthreads();  // until the parts before are read
      for (int32_t r = 0; r < many; ++r) {
        auto reached = LogSum<T>::of_none();
        if (first + r == n_wide) {
          for (int32_t c = threadIdx.x; c < n_columns; c += kThreads) reached.add(y[columns[c]]);
          if (threadIdx.x == 0 && free() > 0) reached.add({rest, static_cast<T>(free())});
        } else {
          const int32_t g = wide[first + r];
          for (int32_t a = threadIdx.x; a < n_columns; a += kThreads) {
            const T cost = p.wide_cost(b, g, rows[g], a);
            if (is_finite(cost)) reached.add(y[a] - scaled(cost));
          }
        }
        reached = warp_reduce(reached, AddLogSums());
        if (lane == 0) parts[r][warp] = reached;
      }
      __syncthreads();
      if (warp < many) {
        const int32_t row = first + warp == n_wide ? background() : wide[first + warp];
        const LogSum<T> part = lane < kWarps ? parts[warp][lane] : LogSum<T>::of_none();
        settled &= set_row(row, warp_reduce(part, AddLogSums()));
      }
    }
    return settled;
  }

  __device__ void iterate() {
    const SinkhornRule& rule = p.rule.sinkhorn;
    for (int64_t t = 0; t < rule.iterations; ++t) {
      set_columns();
      __syncthreads();
      const bool moves = __syncthreads_or(!set_rows());
      if (rule.tolerance > 0 && t > 0 && !moves) break;
    }
  }

  // The row where an anchor has the largest share of a row's largest element, which is 1: as logarithms.
  __device__ int32_t winner(int32_t anchor) const {
    int32_t best = background();
    double most = -INFINITY;
    each_of_column(anchor, [&](int32_t g, T cost) {
      const double share = y[anchor] - scaled(cost) - row_top[g];
      if (share > most || (share == most && g < best)) most = share, best = g;
    });
    return y[anchor] - row_top[background()] > most ? background() : best;
  }
};

}  // namespace
}  // namespace yolox_ops
