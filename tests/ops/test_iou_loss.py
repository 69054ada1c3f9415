"""iou_loss against torchvision's losses, written out from their formulas, and what it does where there is no pair."""

import math

import pytest
import torch
from boxes import random_boxes
from impls import COMPILING, DTYPES, check_compiles, implementations, strided
from torch.testing import assert_close

from yolox_ops import aligned_iou, iou_loss

pytestmark = pytest.mark.plain
KINDS = ["iou", "giou", "diou", "ciou"]
EPS = 1e-7
each_kind = pytest.mark.parametrize("kind", KINDS)


def torchvision_loss(a, b, kind, reduction="none"):
    """Of boxes [N, 4] as corners: 1 - IoU, generalized_box_iou_loss, distance_box_iou_loss, complete_box_iou_loss."""
    a, b = (boxes if boxes.dtype == torch.float64 else boxes.float() for boxes in (a, b))
    side = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    shared = side.prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    iou = shared / (union + EPS)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    loss = 1 - iou
    if kind == "giou":
        loss = 1 - (iou - (hull.prod(1) - union) / (hull.prod(1) + EPS))
    elif kind != "iou":
        between = ((a[:, :2] + a[:, 2:]) / 2 - (b[:, :2] + b[:, 2:]) / 2).square().sum(1)
        loss = loss + between / (hull.square().sum(1) + EPS)
    if kind == "ciou":
        angles = [torch.atan((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (a, b)]
        v = 4 / math.pi**2 * (angles[1] - angles[0]).square()
        loss = loss + (v / (1 - iou + v + EPS)).detach() * v
    if reduction == "mean":
        return loss.mean() if len(loss) else 0.0 * loss.sum()
    return loss.sum() if reduction == "sum" else loss


def pairs(dtype=torch.float32, n=200):
    """Boxes apart and overlapping. No two sides are at one place, where a maximum has more than one derivative."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(3, n, 4, generator=generator)
    first, second = (random_boxes(n, seed=seed) + noise[seed] / 8 for seed in (0, 1))
    second = torch.where(torch.rand(n, 1, generator=generator) < 0.5, first + noise[2], second)
    boxes = [torch.cat([b[:, :2], torch.maximum(b[:, 2:], b[:, :2] + 1)], 1).to(dtype) for b in (first, second)]
    sides = torch.cat(boxes, 1).view(n, 4, 2).sort(1).values  # of x, of y
    apart = (sides[:, 1:] > sides[:, :-1]).flatten(1).all(1)
    assert apart.sum() > n / 2
    return [b[apart].requires_grad_() for b in boxes]


@each_kind
@pytest.mark.parametrize("reduction", ["mean"] if COMPILING else ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES[:1] if COMPILING else DTYPES)
@pytest.mark.parametrize("run", implementations("iou_loss"))
def test_torchvision_in_value_and_gradient(run, kind, reduction, dtype):
    ours, theirs = pairs(dtype), pairs(dtype)
    found, wanted = run(*ours, kind=kind, reduction=reduction), torchvision_loss(*theirs, kind, reduction)
    tolerance = {"rtol": 1e-5, "atol": 2e-6} if dtype != torch.float64 else {"rtol": 1e-6, "atol": 1e-7}
    assert_close(found, wanted, **tolerance)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    weights = (
        torch.linspace(-1, 1, len(found), dtype=found.dtype) if reduction == "none" else torch.tensor(2.0).to(found)
    )
    found.backward(weights)
    wanted.backward(weights)
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == dtype and mine.grad.any()
        assert_close(mine.grad, yours.grad, **(tolerance if dtype.itemsize > 2 else {"rtol": 1e-2, "atol": 1e-4}))


def test_the_default_is_giou_of_every_pair_of_corners():
    assert_close(iou_loss(*pairs()), 1 - aligned_iou(*pairs(), kind="giou"), rtol=0, atol=0)
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[3.0, 0.0, 4.0, 1.0]])
    assert_close(iou_loss(*boxes), torch.tensor([1.375]))  # hull 8, union 5


@each_kind
@pytest.mark.parametrize("shape", [(0, 4), (3, 0, 4)])
@pytest.mark.parametrize("run", implementations("iou_loss"))
def test_no_pairs(run, kind, shape):
    for reduction in ("mean", "sum"):
        boxes = [torch.zeros(shape, requires_grad=True) for _ in range(2)]
        loss = run(*boxes, kind=kind, reduction=reduction)
        assert loss == 0 and loss.shape == () and loss.requires_grad
        (loss + 0 * boxes[0].sum()).backward()
        assert all(b.grad is not None and b.grad.shape == shape for b in boxes)
    assert run(*boxes, kind=kind).shape == shape[:-1]


@each_kind
def test_shapes_broadcast(kind):
    first, second = (b.detach()[:12] for b in pairs())
    wanted = iou_loss(first.view(3, 4, 4), second[:4].expand(3, 4, 4), kind=kind)
    assert_close(iou_loss(first.view(3, 4, 4), second[:4], kind=kind), wanted, rtol=0, atol=0)
    assert_close(iou_loss(strided(first.view(3, 4, 4)), second[:4], kind=kind), wanted, rtol=0, atol=0)
    assert_close(iou_loss(first.view(3, 4, 4), second[:4], kind=kind, reduction="mean"), wanted.mean())
    assert_close(iou_loss(first[0], second[0], kind=kind), wanted[0, 0], rtol=0, atol=0)
    mixed = iou_loss(first.half(), second.double(), kind=kind)
    assert mixed.dtype == torch.float64


@each_kind
def test_formats(kind):
    corners = [b.detach().double() for b in pairs()]
    sizes = [torch.cat([b[:, :2], b[:, 2:] - b[:, :2]], 1) for b in corners]
    centres = [torch.cat([b[:, :2] + b[:, 2:] / 2, b[:, 2:]], 1) for b in sizes]
    wanted = iou_loss(*corners, kind=kind)
    assert_close(iou_loss(*sizes, kind=kind, fmt="xywh"), wanted, rtol=1e-9, atol=1e-9)
    assert_close(iou_loss(*centres, kind=kind, fmt="cxcywh"), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])  # ciou's alpha is no function of the boxes to autograd
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradcheck(kind, reduction):
    boxes = [b.detach()[:12].requires_grad_() for b in pairs(torch.float64)]
    assert torch.autograd.gradcheck(lambda a, b: iou_loss(a, b, kind=kind, reduction=reduction), boxes)


@each_kind
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_graphs_and_exports(kind, reduction):
    boxes = tuple(b.detach() for b in pairs())
    torch._dynamo.reset()  # it counts how often one function is compiled
    check_compiles(lambda a, b: iou_loss(a, b, kind=kind, reduction=reduction), *boxes)

    class Loss(torch.nn.Module):
        def forward(self, a, b):
            return iou_loss(a, b, kind=kind, reduction=reduction)

    pair = torch.export.Dim("pair")
    program = torch.export.export(Loss(), boxes, dynamic_shapes=({0: pair}, {0: pair}))
    for n in (7, len(boxes[0]), 0):
        some = tuple(b[:n] for b in boxes)
        assert_close(program.module()(*some), Loss()(*some), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reduction": "avg"}, ValueError, "reduction must be one of 'none', 'mean', 'sum', got 'avg'"),
        ({"reduction": None}, ValueError, "reduction must be one of 'none', 'mean', 'sum', got None"),
        ({"kind": "eiou"}, ValueError, "kind must be one of 'iou', 'giou', 'diou', 'ciou', got 'eiou'"),
        ({"fmt": "yxyx"}, ValueError, "fmt must be one of 'xyxy', 'xywh', 'cxcywh', got 'yxyx'"),
        ({"boxes2": torch.zeros(3, 5)}, ValueError, r"boxes2 must be \[..., 4\], got \[3, 5\]"),
        ({"boxes2": torch.zeros(3, 4)}, ValueError, r"boxes1 and boxes2 must have shapes that broadcast"),
        ({"boxes2": torch.zeros(2, 4).long()}, TypeError, "boxes2 must be float32.*got torch.int64"),
    ],
)
def test_errors(options, error, words):
    with pytest.raises(error, match=words):
        iou_loss(**{"boxes1": torch.zeros(2, 4), "boxes2": torch.zeros(2, 4), **options})
