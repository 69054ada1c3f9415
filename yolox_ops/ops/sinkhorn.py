"""sinkhorn: entropic optimal transport of a batch."""

import torch
from torch import Tensor

from yolox_ops._arguments import check_at_least, check_between, check_count, check_shape
from yolox_ops._check import check_float, check_same_device, wide_dtype
from yolox_ops._library import check_schema
from yolox_ops._transforms import traceable

check_schema(
    "sinkhorn(Tensor cost, Tensor supply, Tensor demand, float epsilon, int iterations, float tolerance) -> Tensor"
)


def check_iteration(epsilon: float, iterations: int, tolerance: float) -> None:
    check_between("epsilon", epsilon, 1e-6, 1e6)
    check_count("iterations", iterations, 1)
    check_at_least("tolerance", tolerance, 0)


def check(
    cost: Tensor,  # [B, M, N]
    supply: Tensor,  # [B, M]
    demand: Tensor,  # [B, N]
    epsilon: float,
    iterations: int,
    tolerance: float,
) -> None:
    """The arguments of the bare op."""
    check_float("cost", cost)
    check_shape("cost", cost, "[B, M, N]", (None, None, None))
    B, M, N = cost.shape
    check_float("supply", supply)
    check_shape("supply", supply, "[B, M]", (B, M))
    check_float("demand", demand)
    check_shape("demand", demand, "[B, N]", (B, N))
    check_same_device("cost", cost, supply=supply, demand=demand)
    check_iteration(epsilon, iterations, tolerance)


def _is_image(*tensors: Tensor) -> bool:
    """Whether cost, supply and demand are those of one image, without B."""
    return all(isinstance(t, Tensor) and t.dim() == dims for t, dims in zip(tensors, (2, 1, 1), strict=True))


@torch.library.register_fake("yolox_ops::sinkhorn")
def _(
    cost: Tensor,  # [B, M, N]
    supply: Tensor,  # [B, M]
    demand: Tensor,  # [B, N]
    epsilon: float,
    iterations: int,
    tolerance: float,
) -> Tensor:
    check(cost, supply, demand, epsilon, iterations, tolerance)
    return cost.new_empty(cost.shape, dtype=wide_dtype(cost))


@traceable
def sinkhorn(
    cost: Tensor,
    supply: Tensor,
    demand: Tensor,
    *,
    epsilon: float = 0.1,
    iterations: int = 50,
    tolerance: float = 0.0,
) -> Tensor:
    """Sinkhorn's iteration for entropic optimal transport (Cuturi 2013), as Megvii's OTA has it.

    plan = exp((u + v - cost) / epsilon) with u = v = 1 at first; an iteration sets v, for every column to carry its
    demand, then u, for every row to carry its supply. Every supply and every demand counts 1e-8 more than it is, as in
    Megvii's code. Rows come last: they sum to supply + 1e-8, a row of supply 0 to 1e-8. Totals need not be equal; then
    columns tend to their demand times sum(supply) / sum(demand), as far as finite costs let them.

    Args:
        cost: [B, M, N], float32, float64, float16 or bfloat16; arithmetic is float32, float64 if cost is. A pair for
            which |cost / epsilon| is more than 2^40, or NaN, has no mass, so +inf makes padding. Costs of 1e6 beside
            those of 1 are no trouble. All three may be without B, [M, N], [M] and [N], and so is the plan then.
        supply: [B, M], from 0 to 1e12, any of these dtypes.
        demand: [B, N], likewise.
        epsilon: strength of the entropy, in the unit of cost, 1e-6 to 1e6.
        iterations: at least 1.
        tolerance: the iterations of an image end with one, after the first, in which v left no row further from its
            supply than tolerance times that. 0: never.

    Returns:
        plan [B, M, N] float32, or float64 for float64 costs. A row or column of which no pair can have mass is 0.
        Devices round differently: float32 plans are equal within 1e-5 of a row's supply, within 1e-3 where a pair that
        has mass costs more than 1e10 epsilon. No gradient.

    Raises:
        ValueError: a shape, device or parameter does not fit; on the CPU also a supply or demand outside [0, 1e12],
        named by image and row. TypeError: a dtype does not fit. On a GPU, where looking would make the host wait, such
        a number counts as 0.
    """
    of_image = _is_image(cost, supply, demand)
    if of_image:
        M, N = cost.shape
        check_shape("supply", supply, "[M]", (M,))
        check_shape("demand", demand, "[N]", (N,))
        cost, supply, demand = cost[None], supply[None], demand[None]
    check(cost, supply, demand, epsilon, iterations, tolerance)
    tensors = (cost.detach(), supply.detach(), demand.detach())
    plan = torch.ops.yolox_ops.sinkhorn(*tensors, epsilon, iterations, tolerance)
    return plan[0] if of_image else plan
