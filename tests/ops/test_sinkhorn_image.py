"""sinkhorn of one image without its dimension, and what it adds to every mass."""

import pytest
import torch
from impls import DTYPES, check_compiles, implementations
from torch.testing import assert_close
from transport import problem

from yolox_ops import sinkhorn

each_implementation = pytest.mark.parametrize("run", implementations("sinkhorn"))


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_image_without_its_dimension(run, dtype):
    cost, supply, demand = (t.to(dtype) for t in problem(1))
    wanted = run(cost, supply, demand, epsilon=0.5, tolerance=0.01)[0]
    found = run(cost[0], supply[0], demand[0], epsilon=0.5, tolerance=0.01)
    assert found.shape == (5, 33)
    assert_close(found, wanted, rtol=0, atol=0)


@pytest.mark.plain
def test_one_image_in_graphs_and_programs():
    image = tuple(t[0] for t in problem(1))
    check_compiles(sinkhorn, *image)
    assert sinkhorn(*(t.to("meta") for t in image)).shape == (5, 33)

    class Plan(torch.nn.Module):
        def forward(self, *tensors):
            return sinkhorn(*tensors)

    program = torch.export.export(Plan(), image)
    assert_close(program.module()(*image), sinkhorn(*image), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((5, 7), (2, 5), (7,)), r"cost must be \[B, M, N\], got \[5, 7\]"),
        (((5, 7), (4,), (7,)), r"supply must be \[M\] with M = 5, got \[4\]"),
        (((5, 7), (5,), (8,)), r"demand must be \[N\] with N = 7, got \[8\]"),
        (((7,), (5,), (7,)), r"cost must be \[B, M, N\], got \[7\]"),
        (((1, 5, 7), (5,), (7,)), r"supply must be \[B, M\], got \[5\]"),
    ],
)
def test_one_image_of_other_shapes(shapes, words):
    with pytest.raises(ValueError, match=words):
        sinkhorn(*(torch.ones(shape) for shape in shapes))


@each_implementation
def test_supplies_and_demands_count_a_little_more(run):
    """As in Megvii's code, also where there is none."""
    supply = torch.tensor([[0.0, 1e-8, 1.0, 2.5]], dtype=torch.float64)
    plan = run(torch.rand(1, 4, 6, dtype=torch.float64), supply, torch.ones(1, 6))
    assert_close(plan.sum(2), supply + 1e-8, rtol=1e-12, atol=0)
