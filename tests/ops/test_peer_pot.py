"""sinkhorn against POT."""

import ot
import pytest
import torch
from impls import implementations
from torch.testing import assert_close
from transport import problem

from benchmarks.peers.transport import pot_sinkhorn

each_implementation = pytest.mark.parametrize("run", implementations("sinkhorn"))


@pytest.mark.plain
@each_implementation
def test_agrees_with_pot(run):
    cost, supply, demand = problem(B=3, M=8, N=60, scale=2)
    demand *= supply.sum(1, keepdim=True) / demand.sum(1, keepdim=True)
    plan = run(cost, supply, demand, iterations=100)
    expected = [pot_sinkhorn(*image, iterations=100) for image in zip(cost, supply, demand, strict=True)]
    assert_close(plan, torch.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.plain
@each_implementation
def test_tends_to_the_exact_transport(run):
    """The less entropy, the closer to the least cost there is, from above."""
    cost, supply, demand = problem(B=1, M=6, N=40, scale=2)
    demand *= supply.sum(1, keepdim=True) / demand.sum(1, keepdim=True)
    least = ot.emd2(*(t[0].double().numpy() for t in (supply, demand, cost)))
    gaps = [
        (run(cost.double(), supply.double(), demand.double(), epsilon=e, iterations=n) * cost).sum().item() - least
        for e, n in [(1.0, 20), (0.1, 100), (0.01, 1000)]
    ]
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2] > 0
