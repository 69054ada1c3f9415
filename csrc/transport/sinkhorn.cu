// Sinkhorn's iteration, all images side by side.
//
// An entry is 2^(x + y - cost log2(e) / epsilon), of potentials x of its row and y of its column. What a column's
// entries come to makes its factor, and entries times factors what a row holds: so an iteration reads costs once and
// takes one power of 2 an element. It is one launch, sweep_few, a block to a tile of an image's columns:
// 1. What the tiles held of each row makes the potentials of rows. Each block of an image adds that up for itself.
// 2. A warp takes every eighth row and a thread four columns, of float64 two: entries, which it keeps, and their sums.
// 3. A thread to a column: its factor, and the potential that it has in the next iteration.
// 4. What the threads of a warp hold of each row, added over the warp, which has the row to itself.
// More than kGroup rows go through a block group by group, twice, and are added up by a launch of their own.
//
// Masses bound how far a potential moves in an iteration, so that entries which count stay in a float32's range. Where
// they come from is found by two launches before: y is a column's least cost and then as ever; x, which costs may take
// to 1e12 at once, is found by a block to a row, from its largest entry on.
//
// 16 x 51 x 8400 costs are 27 MB, which an H200 moves in 5.7 us, the floor of an iteration; modelled, it takes 8.4 us,
// and is bound by the issue of 30 instructions an element, of which 18 are the entry.
#include "transport/sinkhorn_sweep.cuh"

namespace yolox_ops {
namespace {

// The first potentials of columns.
template <class T, bool wide>
__global__ void __launch_bounds__(kThreads, 2) begin_columns(Transport<T, wide> p) {
  __shared__ SweepShared<T> shared;
  if (threadIdx.x < kGroup) shared.x[threadIdx.x] = {};
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    for (int block = blockIdx.x; block * kColumns<T> < p.N; block += gridDim.x) {
      const Sweep<T, wide> sweep{p, shared, b, block * kColumns<T>};
      sweep.begin_columns();
      Potential<T> y[kWide<T>];
      p.read_columns(b, sweep.column, y);
      Several<T> held{};
      for (int first = 0; first < p.M; first += kGroup) {
        Several<T> entries[kHeld];
        sweep.read_costs(first, entries);
        sweep.make_entries(first, y, entries, held);
      }
      sweep.set_columns(held);
    }
  }
}

// An iteration of images whose rows are one group: a block to a tile. Each finds the potentials of rows for itself.
template <class T, bool wide>
__global__ void __launch_bounds__(kThreads, wide ? at_once(16 / sizeof(T)) : 1)
    sweep_few(Transport<T, wide> p, int64_t t) {
  __shared__ SweepShared<T> shared;
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    if (t > 1) {
      if (!advance_image(p, b, t, blockIdx.x == 0, shared.x)) continue;
    } else {
      if (threadIdx.x < p.M) shared.x[threadIdx.x] = p.x_of(t, b)[threadIdx.x];
      __syncthreads();
    }
    for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
      T of_rows[kHeld] = {};
      const int width = p.steps * kColumns<T>, end = min((tile + 1) * width, p.N);
      for (int first_column = tile * width; first_column < end; first_column += kColumns<T>) {
        const Sweep<T, wide> sweep{p, shared, b, first_column};
        Several<T> entries[kHeld], held{};
        sweep.read_costs(0, entries);
        Potential<T> y[kWide<T>];
        p.read_columns(b, sweep.column, y);
        sweep.make_entries(0, y, entries, held);
        sweep.set_columns(held);
        sweep.add_rows(0, entries, of_rows);
      }
      Sweep<T, wide>{p, shared, b, 0}.store_rows(0, t, tile, false, of_rows);
    }
  }
}

// An iteration of images of more rows, whose entries are computed twice.
template <class T, bool wide>
__global__ void __launch_bounds__(kThreads, wide ? 2 : 1) sweep_many(Transport<T, wide> p, int64_t t) {
  __shared__ SweepShared<T> shared;
  const auto read_rows = [&](int64_t b, int first) {
    __syncthreads();  // until those before are read
    if (threadIdx.x < kGroup && first + threadIdx.x < p.M) {
      shared.x[threadIdx.x] = p.x_of(t, b)[first + threadIdx.x];
    }
    __syncthreads();
  };
  for (int64_t b = blockIdx.y; b < p.B; b += gridDim.y) {
    if (p.tolerance > 0 && p.ended_by(t, b) > 0) continue;
    for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
      for (int step = 0; step < p.steps && (tile * p.steps + step) * kColumns<T> < p.N; ++step) {
        const Sweep<T, wide> sweep{p, shared, b, (tile * p.steps + step) * kColumns<T>};
        Potential<T> y[kWide<T>];
        p.read_columns(b, sweep.column, y);
        Several<T> entries[kHeld], held{}, again{};
        for (int first = 0; first < p.M; first += kGroup) {
          sweep.read_costs(first, entries);
          read_rows(b, first);
          sweep.make_entries(first, y, entries, held);
        }
        sweep.set_columns(held);
        for (int first = 0; first < p.M; first += kGroup) {
          sweep.read_costs(first, entries);
          read_rows(b, first);
          sweep.make_entries(first, y, entries, again);
          T of_rows[kHeld] = {};
          sweep.add_rows(first, entries, of_rows);
          sweep.store_rows(first, t, tile, step > 0, of_rows);
        }
      }
    }
  }
}

template <class T, bool wide>
void run(const Device& device, const Transport<T, wide>& problem, int64_t iterations,
         T* plan) {  // [B, M, N]
  const auto grid = [&](int64_t parts) { return dim3(blocks(parts, 1), blocks(problem.B, 1)); };
  const auto advance = [&](int64_t t) { device.launch(set_rows<T, wide>, blocks(problem.B, 1), kThreads, problem, t); };
  device.launch(begin_columns<T, wide>, grid(problem.tiles * problem.steps), kThreads, problem);
  device.launch(begin_rows<T, wide>, grid(problem.M), kThreads, problem);
  for (int64_t t = 1; t < iterations; ++t) {
    if (problem.M <= kGroup) {
      device.launch(sweep_few<T, wide>, grid(problem.tiles), kThreads, problem, t);
    } else {
      if (t > 1) advance(t);
      device.launch(sweep_many<T, wide>, grid(problem.tiles), kThreads, problem, t);
    }
  }
  if (iterations > 1) advance(iterations);
  device.launch(write_plan<T, wide>, grid(problem.M), kThreads, problem, iterations, plan);
}

constexpr int64_t kMost = int64_t{1} << 30;  // rows or columns
// Steps of a tile; the more there are, the fewer parts an image's rows are added from, by every block of it.
constexpr int64_t kFewestSteps = 2, kMostTiles = 64;

Tensor sinkhorn(const Tensor& cost,    // [B, M, N]
                const Tensor& supply,  // [B, M]
                const Tensor& demand,  // [B, N]
                double epsilon, int64_t iterations, double tolerance) {
  const Device device(cost);
  check_transport(cost, supply, demand);
  const SinkhornRule rule = parse_sinkhorn(epsilon, iterations, tolerance);
  const int64_t B = cost.size(0), M = cost.size(1), N = cost.size(2);
  const ScalarType dtype = compute_dtype(cost);
  Tensor plan = torch::stable::new_empty(cost, {B, M, N}, dtype);
  check(M <= kMost && N <= kMost, "M and N must be at most 2^30, got ", M, " and ", N);
  if (B * M * N == 0) return plan;
  dispatch_dtype(dtype, [&]<class T>() {
    const int64_t all = (N + kColumns<T> - 1) / kColumns<T>;
    const int64_t steps = std::max(kFewestSteps, (all + kMostTiles - 1) / kMostTiles);
    const int64_t tiles = (all + steps - 1) / steps;
    const auto numbers = [&](int64_t count) { return torch::stable::new_empty(cost, {2, count}, dtype); };
    Tensor x = numbers(2 * B * M), y = numbers(B * N), parts = numbers(B * M * tiles);
    Tensor demands = torch::stable::new_empty(cost, {B, N}, dtype);
    Tensor ended = torch::stable::new_empty(cost, {2, B}, ScalarType::Long);
    const auto solve = [&]<bool wide>() {
      const Transport<T, wide> problem{.B = B,
                                       .M = static_cast<int>(M),
                                       .N = static_cast<int>(N),
                                       .costs = Costs<T, wide>(cost),
                                       .supply = Reader<double>(supply),
                                       .demand = Reader<double>(demand),
                                       .scale = CostScale<T>(rule.epsilon),
                                       .tolerance = rule.tolerance,
                                       .steps = static_cast<int>(steps),
                                       .tiles = static_cast<int>(tiles),
                                       .x = reinterpret_cast<Potential<T>*>(x.mutable_data_ptr<T>()),
                                       .y = reinterpret_cast<Potential<T>*>(y.mutable_data_ptr<T>()),
                                       .demands = demands.mutable_data_ptr<T>(),
                                       .parts = parts.mutable_data_ptr<T>(),
                                       .ended = ended.mutable_data_ptr<int64_t>()};
      run(device, problem, rule.iterations, plan.mutable_data_ptr<T>());
    };
    if (is_wide<T>(cost)) {
      solve.template operator()<true>();
    } else {
      solve.template operator()<false>();
    }
  });
  return plan;
}

}  // namespace
}  // namespace yolox_ops

STABLE_TORCH_LIBRARY_IMPL(yolox_ops, CUDA, m) { m.impl("sinkhorn", TORCH_BOX(&yolox_ops::sinkhorn)); }
