"""sinkhorn against the reference, against POT, and case by case."""

import math

import pytest
import torch
from impls import DTYPES, check_compiles, check_registration, implementations, strided
from torch.testing import assert_close
from transport import problem

from benchmarks.peers.transport import megvii_sinkhorn
from python_ref.sinkhorn import sinkhorn as reference
from yolox_ops import sinkhorn

each_implementation = pytest.mark.parametrize("run", implementations("sinkhorn"))


def reference_plan(cost, supply, demand, **rule):
    images = zip(cost.double().tolist(), supply.double().tolist(), demand.double().tolist(), strict=True)
    return torch.tensor([reference(*image, **rule) for image in images], dtype=torch.float64).reshape(cost.shape)


def check(plan, *tensors, **rule):
    """float64 plans within 1e-9, float32 plans within 1e-5 of the largest mass."""
    expected = reference_plan(*tensors, **rule)
    allowed = (1e-9 if plan.dtype == torch.float64 else 1e-5) * max(1.0, expected.max().item())
    assert_close(plan.double(), expected, rtol=0, atol=allowed)


@each_implementation
def test_golden(run):
    cost = torch.tensor([[[0.1, 0.5, 2, 3], [2, 0.4, 0.3, 3], [1, 1, 1, 0.2]]])
    plan = run(cost, torch.tensor([[1.0, 1, 2]]), torch.ones(1, 4), epsilon=0.1, iterations=50)
    # From a run of Megvii's SinkhornDistance.
    golden = [[0.9049, 0.0951, 1.9e-8, 0], [7e-9, 0.3589, 0.6411, 0], [0.0951, 0.5460, 0.3589, 1.0]]
    assert_close(plan, torch.tensor([golden]), rtol=0, atol=6e-5)


@each_implementation
@pytest.mark.parametrize("scale", [1, 30, 1e6])
@pytest.mark.parametrize("iterations", [1, 2, 50])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 10])
def test_equals_reference(run, scale, iterations, epsilon):
    tensors = problem(scale=scale)
    check(run(*tensors, iterations=iterations, epsilon=epsilon), *tensors, iterations=iterations, epsilon=epsilon)


@each_implementation
@pytest.mark.parametrize(("M", "N"), [(1, 1), (1, 40), (40, 1), (3, 257), (17, 300), (2, 1025), (130, 68)])
def test_shapes(run, M, N):
    tensors = problem(3, M, N, scale=3, seed=M)
    check(run(*tensors, iterations=5), *tensors, iterations=5)


@each_implementation
def test_penalties_round_no_other_cost(run):
    """Rows all or partly at 1e6, as in OTA; what differs among them is not lost. On multiples of 1/16 as float32 has
    them there."""
    cost, supply, demand = problem(M=6, N=50)
    cost = (cost * 64).round() / 16
    cost[:, 1] += 1e6
    cost[0, 2, ::2] += 1e6
    cost[1, :, 7] += 1e6
    plan = run(cost, supply, demand)
    check(plan, cost, supply, demand)
    assert plan.isfinite().all() and (plan[0, 2, ::2] == 0).all() and plan[:, 1].amax() > 0.01


@each_implementation
@pytest.mark.parametrize(("huge", "epsilon"), [(2.0**23, 1.0), (2.0**30, 64.0)])
def test_potentials_far_apart(run, huge, epsilon):
    """In all pairs of a row and in all of a column, at once: no float32 holds the sum of their potentials. Costs are
    multiples of what one has there."""
    cost, supply, demand = problem(M=6, N=700, scale=16)
    cost = (cost + 1).floor() * (huge / 2**21)
    cost[0, 1] += huge
    cost[0, :, 7] += huge
    cost[0, :, 9] -= huge
    cost[1, 2:4] -= huge
    cost[1, :, ::3] += huge
    plan = run(cost, supply, demand, epsilon=epsilon)
    check(plan, cost, supply, demand, epsilon=epsilon)
    assert plan[0, 1].sum() > 0.1 and plan[0, :, 7].sum() > 1e-3


@each_implementation
@pytest.mark.parametrize("sign", [1, -1])
def test_rows_at_the_largest_costs_of_float32(run, sign):
    """Their first potentials are as far from 0, and a float32 of that size knows none of their entries."""
    cost, supply, demand = problem(B=1, M=3, N=2100, scale=0)
    cost[0, 1] = sign * 2.0**39
    plan = run(cost, supply, demand, epsilon=1.0)
    assert_close(plan.sum(2), supply, rtol=0.02, atol=0)


@each_implementation
def test_demands_that_move_potentials_far(run):
    """Masses at the ends of their range: the most that a potential moves in an iteration."""
    cost, supply, demand = problem(B=3, M=60, N=70, scale=0.5)
    supply[0], demand[0, ::2] = 1e12, 0
    supply[1, 1:], demand[1] = 0, 1e12
    supply[2, ::2], demand[2, ::3], demand[2, 1::3] = 1e12, 0, 1e12
    for iterations in (1, 2, 9):
        plan = run(cost, supply, demand, iterations=iterations)
        expected = reference_plan(cost, supply, demand, iterations=iterations)
        assert_close(plan.double(), expected, rtol=1e-4, atol=1e-30)


@each_implementation
def test_pairs_without_a_finite_cost_have_no_mass(run):
    cost, supply, demand = problem(M=6, N=40)
    cost[0, 1, ::3] = math.inf
    cost[0, 2, ::4] = math.nan
    cost[0, 3, 1::4] = -math.inf
    cost[1, 3] = math.inf
    cost[1, :, 5] = math.nan
    plan = run(cost, supply, demand)
    check(plan, cost, supply, demand)
    assert (plan[~cost.isfinite()] == 0).all()
    nothing = run(torch.full_like(cost, math.inf), supply, demand)
    assert (nothing == 0).all()


@each_implementation
@pytest.mark.parametrize(
    ("huge", "dtype", "epsilon"),
    [
        *((huge, torch.float32, 1.0) for huge in (1.2e12, 1e19, -1e19, 3e38)),
        (1.2e11, torch.float32, 0.1),
        (1e19, torch.float64, 10.0),
        (1e305, torch.float64, 1e-6),  # too large to divide
    ],
)
def test_huge_costs_are_as_infinite_ones(run, huge, dtype, epsilon):
    """In a column of every image; then in a row, in some pairs, in all. Supplies far above the demands let potentials
    grow with every iteration, for which potentials as large as such costs have no digits."""
    cost, supply, demand = problem(B=4, N=9)
    there = torch.zeros(cost.shape, dtype=torch.bool)
    there[:, :, 6] = there[1, 3] = there[2, 1, ::2] = there[3] = True
    huge_cost, infinite_cost = (cost.to(dtype).masked_fill(there, number) for number in (huge, math.inf))
    masses = (supply * 1e5, demand)
    plan = run(huge_cost, *masses, epsilon=epsilon)
    check(plan, huge_cost, *masses, epsilon=epsilon)
    assert torch.equal(plan, run(infinite_cost, *masses, epsilon=epsilon))
    assert (plan[there] == 0).all()
    assert_close(plan.sum(2).float(), masses[0] * (~there).any(2), rtol=1e-5, atol=0)


@each_implementation
@pytest.mark.parametrize("epsilon", [2.0**-19, 1.0, 16.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_cost_that_has_mass(run, epsilon, sign):
    """It is 2^40 epsilon. A row at it has all of its supply, for what its pairs share cancels."""
    most = torch.tensor(2.0**40 * epsilon, dtype=torch.float64)
    cost = torch.tensor([[[0, 0, 0], [0, 1, 3]]]).double() * epsilon
    supply, demand = torch.tensor([[5.0, 2.0]]), torch.tensor([[2.0, 4.0, 1.0]])
    cost[0, 0] = sign * most
    plan = run(cost, supply, demand, epsilon=epsilon)
    assert_close(plan.sum(2).float(), supply, rtol=1e-3, atol=0)
    cost[0, 0] = sign * most.nextafter(2 * most)
    assert run(cost, supply, demand, epsilon=epsilon).sum(2).tolist() == [[0, pytest.approx(2)]]


@each_implementation
def test_nothing_to_supply(run):
    cost, supply, demand = problem()
    supply[0, 2], supply[1], demand[0, 4] = 0, 0, 0
    plan = run(cost, supply, demand)
    check(plan, cost, supply, demand)
    assert_close(plan.sum(2), supply + 1e-8, rtol=1e-5, atol=1e-12)


@each_implementation
def test_totals_need_not_be_equal(run):
    cost, supply, demand = problem(scale=0.3)
    plan = run(cost, supply, demand, iterations=200)
    assert_close(plan.sum(2), supply, rtol=1e-5, atol=1e-6)
    surplus = supply.sum(1, keepdim=True) / demand.sum(1, keepdim=True)
    assert (surplus - 1).abs().min() > 0.1
    assert_close(plan.sum(1), demand * surplus, rtol=1e-4, atol=1e-5)


@each_implementation
def test_masses_far_apart(run):
    cost, supply, demand = problem()
    supply = supply * torch.tensor([1e-6, 1, 1e3, 1e6, 1e11])
    plan = run(cost, supply.double(), demand * 1e3)
    expected = reference_plan(cost, supply, demand * 1e3)
    assert_close(plan.double(), expected, rtol=1e-4, atol=1e-30)


@each_implementation
def test_rows_that_compete_without_end(run):
    """Two rows that only reach five columns and supply twice as much as these demand: potentials grow by every
    iteration. A third row has the rest."""
    cost = torch.full((1, 3, 20), math.inf)
    cost[0, :2, :5] = torch.rand(2, 5)
    cost[0, 2] = torch.rand(20) * 3
    tensors = (cost, torch.tensor([[6.0, 4.0, 10.0]]), torch.ones(1, 20))
    for iterations in (50, 400):
        check(run(*tensors, iterations=iterations), *tensors, iterations=iterations)


@each_implementation
@pytest.mark.parametrize("tolerance", [1e-2, 1e3])
def test_tolerance_stops_image_by_image(run, tolerance):
    cost, supply, demand = problem(B=3, scale=0.5, seed=3)
    cost[1] *= 20  # takes longer
    cost[2, 4] = math.inf  # a row that holds nothing is as it should be
    demand *= supply.sum(1, keepdim=True) / demand.sum(1, keepdim=True)
    demand[2] *= 1 - supply[2, 4] / supply[2].sum()
    plan = run(cost, supply, demand, iterations=100, tolerance=tolerance)
    check(plan, cost, supply, demand, iterations=100, tolerance=tolerance)
    # One iteration more or less would not have passed.
    plans = [reference_plan(cost, supply, demand, iterations=t) for t in range(1, 60)]
    ends = [min(range(59), key=lambda t: (plans[t][b] - plan[b]).abs().max()) for b in range(3)]
    steps = [(plans[end + side][b] - plan[b]).abs().max() for b, end in enumerate(ends) for side in (-1, 1)]
    assert min(steps) > 2e-5
    assert ends == [1, 1, 1] if tolerance == 1e3 else ends[1] > ends[0] > 1 and ends[2] > 1


@each_implementation
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0)])
def test_empty(run, shape):
    B, M, N = shape
    assert run(torch.zeros(shape), torch.zeros(B, M), torch.zeros(B, N)).shape == shape


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    tensors = [t.to(dtype) for t in problem()]
    plan = run(*tensors)
    assert plan.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    check(plan, *tensors)


@each_implementation
def test_strides_batches_and_repetition_change_nothing(run):
    tensors = problem(B=3)
    plan = run(*tensors)
    assert torch.equal(run(*map(strided, tensors)), plan)
    assert torch.equal(run(*(t.mT.contiguous().mT for t in tensors)), plan)
    assert torch.equal(torch.cat([run(*(t[b : b + 1] for t in tensors)) for b in range(3)]), plan)
    assert torch.equal(run(*tensors), plan)


@each_implementation
def test_no_gradient(run):
    tensors = [t.requires_grad_() for t in problem()]
    assert not run(*tensors).requires_grad


@pytest.mark.heavy
@each_implementation
def test_largest_problem(run, request):
    """501 x 33600, the background of which takes what is left; fewer rows where a kernel is simulated."""
    M, N = 21 if request.node.get_closest_marker("served_by") else 501, 33600
    cost = torch.rand(1, M, N) * 5
    cost[:, :-1] += 1e6 * (torch.rand(1, M - 1, N) > 0.002)
    supply = torch.randint(1, 15, (1, M)).float()
    supply[:, -1] = N - supply[:, :-1].sum()
    demand = torch.ones(1, N)
    expected = megvii_sinkhorn(cost.double(), supply.double(), demand.double(), iterations=4)
    assert_close(run(cost, supply, demand, iterations=4).double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"cost": torch.zeros(2, 5)}, ValueError, r"cost must be \[B, M, N\], got \[2, 5\]"),
        ({"supply": torch.zeros(2, 4)}, ValueError, r"supply must be \[B, M\] with M = 5, got \[2, 4\]"),
        ({"demand": torch.zeros(1, 33)}, ValueError, r"demand must be \[B, N\] with B = 2, got \[1, 33\]"),
        ({"cost": torch.zeros(2, 5, 33, dtype=torch.int64)}, TypeError, "cost must be float32, .* got torch.int64"),
        ({"supply": [1, 2]}, TypeError, r"supply must be a torch.Tensor, got list"),
        ({"demand": torch.zeros(2, 33, device="meta")}, ValueError, "demand must be on the device of cost"),
        ({"epsilon": 0}, ValueError, r"epsilon must be in \[1e-06, 1e\+06\], got 0"),
        ({"epsilon": math.nan}, ValueError, "epsilon must be in .*, got nan"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1, got 0"),
        ({"iterations": 2.0}, TypeError, "iterations must be an integer, got 2.0"),
        ({"tolerance": -1.0}, ValueError, "tolerance must be at least 0, got -1.0"),
    ],
)
def test_errors(change, error, text):
    arguments = dict(zip(("cost", "supply", "demand"), problem(), strict=True)) | change
    with pytest.raises(error, match=text):
        sinkhorn(**arguments)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, 2e12])
def test_masses_out_of_range_are_refused(bad):
    cost, supply, demand = problem()
    supply[1, 3] = bad
    with pytest.raises(ValueError, match=r"supply must be in \[0, 1e12\], got .* at image 1, row 3"):
        sinkhorn(cost, supply, demand)
    supply[1, 3], demand[0, 32] = 1, bad
    with pytest.raises(ValueError, match=r"demand must be in \[0, 1e12\], got .* at image 0, row 32"):
        sinkhorn(cost, supply, demand)


@pytest.mark.plain
def test_registration():
    for tensors in (problem(), [t.double() for t in problem()], [t.half() for t in problem()]):
        check_registration("sinkhorn", *tensors, 0.1, 5, 0.0)


@pytest.mark.plain
def test_compiles():
    check_compiles(lambda *t: sinkhorn(*t, iterations=5), *problem())
