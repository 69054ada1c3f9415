"""Sinkhorn's iteration in plain Python, one problem: Cuturi 2013, with the order and the constants of Megvii's OTA."""

import math
from collections.abc import Iterable, Sequence

from python_ref.dynamic_k_match import Matrix

TINY = 1e-8  # added to a supply or a demand before its logarithm
MOST = 2.0**40  # |cost / epsilon| of a pair that has mass


def log_sum_exp(terms: Iterable[float]) -> float:
    """-inf for no terms."""
    finite = [t for t in terms if t != -math.inf]
    largest = max(finite, default=-math.inf)
    return largest + math.log(sum(math.exp(t - largest) for t in finite)) if finite else -math.inf


def potential(mass: float, reached: float, epsilon: float) -> float:
    """u of a row, or v of a column, for its pairs to carry `mass`; without, they carry e^reached. 0 if none can."""
    return 0.0 if reached == -math.inf else epsilon * (math.log(mass + TINY) - reached)


def sinkhorn(
    cost: Matrix,  # [M, N]; a NaN pair has no mass
    supply: Sequence[float],  # [M]
    demand: Sequence[float],  # [N]
    epsilon: float = 0.1,
    iterations: int = 50,
    tolerance: float = 0.0,
) -> list[list[float]]:
    """plan [M, N]."""
    M, N = len(supply), len(demand)
    u, v = [1.0] * M, [1.0] * N
    log_kernel = [[-c / epsilon if abs(c / epsilon) <= MOST else -math.inf for c in row] for row in cost]
    for t in range(iterations):
        for j in range(N):
            v[j] = potential(demand[j], log_sum_exp(log_kernel[i][j] + u[i] / epsilon for i in range(M)), epsilon)
        done = t > 0 and tolerance > 0
        for i in range(M):
            reached = log_sum_exp(log_kernel[i][j] + v[j] / epsilon for j in range(N))
            ratio = math.exp(min(reached + u[i] / epsilon - math.log(supply[i] + TINY), 700.0))
            done &= reached == -math.inf or abs(ratio - 1) <= tolerance
            u[i] = potential(supply[i], reached, epsilon)
        if done:
            break
    return [[math.exp(log_kernel[i][j] + (u[i] + v[j]) / epsilon) for j in range(N)] for i in range(M)]
