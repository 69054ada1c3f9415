import math

import pytest
import torch
from impls import DTYPES, SLOW, check_compiles, check_registration, implementations, strided
from match_cases import check_match, random_case
from torch.testing import assert_close

from yolox_ops import dynamic_k_match

each_implementation = pytest.mark.parametrize("run", implementations("dynamic_k_match"))


@each_implementation
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 7), (3, 8, 40), (2, 7 if SLOW else 30, 200), (1, 50, 5)])
@pytest.mark.parametrize("levels", [None, 4])
@pytest.mark.parametrize(
    ("topk", "k_rounding"), [(1, "down"), (4, "nearest"), (10, "down"), (10, "nearest"), (2**62, "down")]
)
def test_equals_reference(run, shape, levels, topk, k_rounding):
    cost, iou = random_case(shape, seed=topk, levels=levels)
    rule = {"topk": topk, "k_rounding": k_rounding}
    check_match(run(cost, iou, **rule), cost, iou, **rule)


@each_implementation
@pytest.mark.parametrize(
    ("total", "down", "nearest"),
    [(0.25, 1, 0), (0.5, 1, 0), (0.75, 1, 1), (1.5, 1, 2), (2.5, 2, 2), (2.75, 2, 3), (3.5, 3, 4), (9.0, 5, 5)],
)
def test_k_is_cut_off_or_rounded(run, total, down, nearest):
    """Half to even; never more than there are anchors."""
    iou = torch.full((1, 1, 5), total / 5, dtype=torch.float64)
    iou[0, 0, 0] += total - iou.sum()
    cost = torch.arange(5.0)[None, None]
    assert run(cost, iou).num_fg.item() == down
    assert run(cost, iou, k_rounding="nearest").num_fg.item() == nearest


@each_implementation
def test_golden_vector(run):
    # From a run of Megvii's simota_matching: anchors 1 and 2 are conflicts.
    cost = torch.tensor([[[1, 2, 3, 9, 9], [2.5, 1.5, 0.5, 4, 9], [7, 8, 0.25, 0.75, 2]]])
    iou = torch.tensor([[[0.9, 0.8, 0.4, 0, 0], [0.5, 0.6, 0.7, 0.3, 0], [0, 0.1, 0.9, 0.8, 0.6]]])
    result = run(cost, iou)
    assert result.matched_gt.tolist() == [[0, 1, 2, 2, -1]]
    assert_close(result.matched_iou, torch.tensor([[0.9, 0.6, 0.9, 0.8, 0.0]]))
    assert result.num_fg.tolist() == [4] and result.fg_mask.tolist() == [[True, True, True, True, False]]


@each_implementation
def test_golden_conflict_won_by_a_third_gt(run):
    # Likewise: gts 0 and 1 take anchor 0, gt 2 has it cheaper and gets it.
    cost = torch.tensor([[[1.0, 9, 9], [2, 9, 9], [0.5, 0.1, 0.2]]])
    iou = torch.tensor([[[0.5, 0.1, 0], [0.5, 0.1, 0], [0.4, 0.5, 0.2]]])
    result = run(cost, iou)
    assert result.matched_gt.tolist() == [[2, 2, -1]]
    assert_close(result.matched_iou, torch.tensor([[0.4, 0.5, 0.0]]))


@each_implementation
def test_ties(run):
    cost, iou = torch.zeros(1, 2, 6), torch.full((1, 2, 6), 0.5)
    result = run(cost, iou)  # k = 3 for both: anchors 0, 1, 2, all of which gt 0 keeps
    assert result.matched_gt.tolist() == [[0, 0, 0, -1, -1, -1]]


@each_implementation
@pytest.mark.parametrize(("total", "k"), [(0.0, 1), (0.99, 1), (1.0, 1), (1.875, 1), (2.0, 2), (2.875, 2), (3.0, 3)])
def test_k_truncates_and_is_at_least_one(run, total, k):
    iou = torch.zeros(1, 1, 8)
    iou[0, 0, 2:6] = total / 4
    assert run(torch.arange(8.0).reshape(1, 1, 8), iou).num_fg.item() == k


@each_implementation
def test_infinite_cost_never_matches(run):
    cost = torch.tensor([[[math.inf, 3.0, math.inf], [math.inf] * 3]])
    result = run(cost, torch.ones(1, 2, 3))
    assert result.matched_gt.tolist() == [[-1, 0, -1]]


@each_implementation
def test_nan_is_the_worst_that_can_match(run):
    cost = torch.tensor([[[math.nan, 5.0, math.inf, math.nan]]])
    iou = torch.tensor([[[1.0, 1.0, 0.0, math.nan]]])
    assert run(cost, iou).matched_gt.tolist() == [[0, 0, -1, -1]]
    result = run(torch.full((1, 2, 3), math.nan), torch.full((1, 2, 3), math.nan))
    assert result.matched_gt.tolist() == [[0, -1, -1]] and result.matched_iou.tolist() == [[0, 0, 0]]
    # Taken by both: the number wins over NaN.
    cost = torch.tensor([[[math.nan, math.inf], [2.0, math.inf]]])
    assert run(cost, torch.zeros(1, 2, 2)).matched_gt.tolist() == [[1, -1]]


@each_implementation
def test_signs_of_nan_and_zero_do_not_count(run):
    """More of each than k, and spread over the row: what is kept of a part of it must not push out the rest."""
    cost = torch.full((1, 1, 700), -math.nan)
    cost[0, 0, 90::100] = 5.0
    iou = torch.full_like(cost, 0.25)  # k = 2 of 10 times 0.25
    assert (run(cost, iou).matched_gt[0] == 0).nonzero().flatten().tolist() == [90, 190]
    cost[0, 0, 90::100] = -0.0
    cost[0, 0, 95::100] = 0.0
    assert (run(cost, iou).matched_gt[0] == 0).nonzero().flatten().tolist() == [90, 95]
    cost.fill_(0.0)[0, 0, 20:] = -0.0
    assert (run(cost, iou).matched_gt[0] == 0).nonzero().flatten().tolist() == [0, 1]


@each_implementation
def test_rows_in_any_order(run):
    """Sorted ones either way, and runs of equal keys longer than what is read at once."""
    row = torch.arange(1500.0) // 40
    cost = torch.stack([row, row.flip(0), row[torch.randperm(1500, generator=torch.Generator().manual_seed(0))]])[None]
    iou = (cost.flip(-1) / 38).float()
    check_match(run(cost, iou), cost, iou)
    check_match(run(cost.double() + 1e6, iou), cost.double() + 1e6, iou)


@each_implementation
def test_iou_without_bounds(run):
    cost, iou = random_case((1, 3, 9))
    for value in (math.inf, 1e30):
        result = run(cost, torch.full_like(iou, value))
        assert result.num_fg.item() == cost.isfinite().any(1).sum().item()
    for value in (-1.0, -math.inf):
        assert torch.equal(run(cost, torch.full_like(iou, value)).matched_gt, run(cost, iou * 0).matched_gt)


@each_implementation
def test_padding_is_not_read(run):
    cost, iou = random_case((4, 6, 30))
    num_gts = torch.tensor([0, 6, 2, 3])
    for b, count in enumerate(num_gts.tolist()):
        cost[b, count:] = -1e9
        iou[b, count:] = math.nan
    check_match(run(cost, iou, num_gts), cost, iou, num_gts)


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_strides(run, dtype):
    cost, iou = (t.to(dtype) for t in random_case((2, 5, 40), levels=8))
    plain = run(cost, iou)
    check_match(plain, cost, iou)
    assert_close(tuple(run(strided(cost), strided(iou))), tuple(plain), rtol=0, atol=0)
    swapped = cost.transpose(1, 2).contiguous().transpose(1, 2)
    assert_close(tuple(run(swapped, iou)), tuple(plain), rtol=0, atol=0)


@each_implementation
def test_float64_cost_is_not_rounded(run):
    cost = torch.tensor([[[1e6 + 2e-3, 1e6 + 1e-3, 1e6]]], dtype=torch.float64)
    assert run(cost, torch.zeros(1, 1, 3)).matched_gt.tolist() == [[-1, -1, 0]]


@each_implementation
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty(run, shape):
    result = run(torch.rand(shape), torch.rand(shape))
    assert result.matched_gt.shape == (shape[0], shape[2])
    assert (result.matched_gt == -1).all() and (result.num_fg == 0).all()


@pytest.mark.plain
def test_registration_and_compile():
    cost, iou = random_case((2, 4, 20))
    check_registration("dynamic_k_match", cost, iou, None, 10, "down")
    check_registration(
        "dynamic_k_match", cost.transpose(1, 2), iou.transpose(1, 2), torch.tensor([20, 3]), 3, "nearest"
    )
    check_compiles(dynamic_k_match, cost, iou, torch.tensor([4, 0]))
    assert not dynamic_k_match(cost.requires_grad_(), iou.requires_grad_()).matched_iou.requires_grad


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((torch.rand(3, 4), torch.rand(3, 4)), ValueError, r"cost must be \[B, G, N\], got \[3, 4\]"),
        (
            (torch.rand(1, 3, 4), torch.rand(1, 3, 5)),
            ValueError,
            r"iou must be \[B, G, N\] with N = 4, got \[1, 3, 5\]",
        ),
        ((torch.rand(1, 3, 4).long(), torch.rand(1, 3, 4)), TypeError, "cost must be float32, .* got torch.int64"),
        ((torch.rand(1, 3, 4), torch.rand(1, 3, 4, device="meta")), ValueError, "iou must be on the device of cost"),
        ((torch.rand(1, 3, 4), torch.rand(1, 3, 4), torch.ones(1)), TypeError, "num_gts must be an integer tensor"),
        ((torch.rand(1, 3, 4), torch.rand(1, 3, 4), torch.tensor([4])), ValueError, r"num_gts must be in \[0, 3\]"),
        ((torch.rand(1, 3, 4), torch.rand(1, 3, 4), torch.tensor([-1])), ValueError, r"got -1 at image 0"),
    ],
)
def test_errors(args, error, words):
    with pytest.raises(error, match=words):
        dynamic_k_match(*args)


def test_topk_must_be_a_positive_integer():
    with pytest.raises(TypeError, match=r"topk must be an integer, got 2\.5"):
        dynamic_k_match(torch.rand(1, 3, 4), torch.rand(1, 3, 4), topk=2.5)
    with pytest.raises(ValueError, match="topk must be at least 1, got 0"):
        dynamic_k_match(torch.rand(1, 3, 4), torch.rand(1, 3, 4), topk=0)


def test_k_rounding_must_be_known():
    with pytest.raises(ValueError, match="k_rounding must be one of 'down', 'nearest', got 'up'"):
        dynamic_k_match(torch.rand(1, 3, 4), torch.rand(1, 3, 4), k_rounding="up")
    with pytest.raises(ValueError, match="k_rounding must be 'down' or 'nearest', got 'up'"):
        torch.ops.yolox_ops.dynamic_k_match(torch.rand(1, 3, 4), torch.rand(1, 3, 4), None, 10, "up")
