import pytest
import torch
from boxes import ODD_BOXES, random_boxes
from impls import DTYPES, SLOW, check_compiles, check_registration, implementations, strided

from python_ref.pairwise_iou import pairwise_iou as reference
from python_ref.pairwise_iou import similarity
from yolox_ops import aligned_iou, pairwise_iou

FORMATS = ["xyxy", "xywh", "cxcywh"]
KINDS = ["iou", "giou", "diou", "ciou"]
each_implementation = pytest.mark.parametrize("run", implementations("pairwise_iou"))


def expected(boxes1, boxes2, fmt, kind):
    values = reference(boxes1.double().tolist(), boxes2.double().tolist(), fmt, kind)
    return torch.tensor(values, dtype=torch.float64).reshape(len(boxes1), len(boxes2))


@each_implementation
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (1, 1), (17, 33), (70, 129)])
def test_equals_reference(run, fmt, kind, sizes):
    boxes1, boxes2 = (random_boxes(n, fmt=fmt, seed=n) for n in sizes)
    result = run(boxes1, boxes2, fmt=fmt, kind=kind)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected(boxes1, boxes2, fmt, kind), rtol=1e-6, atol=1e-6)


@each_implementation
@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_boxes(run, kind):
    result = run(ODD_BOXES, ODD_BOXES, kind=kind)
    torch.testing.assert_close(result.double(), expected(ODD_BOXES, ODD_BOXES, "xyxy", kind), rtol=1e-6, atol=1e-6)
    if kind == "iou":
        assert result[0, 2] == 1 and result[0, 1] == 0 and result[3, 3] == 0


@each_implementation
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("member", range(4))
def test_nan_stays_with_its_box(run, fmt, member):
    boxes = random_boxes(20, fmt=fmt)
    broken = boxes.clone()
    broken[3, member] = float("nan")
    for result in (run(broken, boxes, fmt=fmt), run(boxes, broken, fmt=fmt).T):
        assert result[3].isnan().all()
        torch.testing.assert_close(result[torch.arange(20) != 3], run(boxes, boxes, fmt=fmt)[torch.arange(20) != 3])


@each_implementation
def test_golden_vectors(run):
    # From a run of Megvii's bboxes_iou; an empty box with itself gives NaN there.
    box = torch.tensor([[10.0, 10, 10, 10]])
    others = torch.tensor([[12.0, 10, 10, 10], [20, 10, 10, 10], [10, 10, -4, 6]])
    torch.testing.assert_close(run(box, others, fmt="cxcywh"), torch.tensor([[0.666667, 0, 0]]), rtol=0, atol=1e-6)
    empty = torch.tensor([[10.0, 10, 0, 0]])
    assert run(empty, empty, fmt="cxcywh").item() == 0


@each_implementation
@pytest.mark.parametrize("fmt", FORMATS)
def test_infinite_boxes(run, fmt):
    inf = torch.inf
    boxes = [[-inf, -inf, inf, inf], [0, 0, inf, 10], [0, 0, 10, 10], [inf, 0, 1, 1], [0, 5, inf, 0], [10, 0, inf, 5]]
    boxes = torch.cat([torch.tensor(boxes), random_boxes(20)])
    torch.testing.assert_close(
        run(boxes, boxes, fmt=fmt).double(), expected(boxes, boxes, fmt, "iou"), rtol=1e-6, atol=1e-6, equal_nan=True
    )


@each_implementation
@pytest.mark.parametrize("fmt", ["xywh", "cxcywh"])
def test_tiny_boxes_far_from_zero_stay_within_one(run, fmt):
    step = 2.0**-11  # next to 4096 float32 knows multiples of this: corners are rounded, areas are not
    boxes = torch.tensor([[4096 + step, 4096 + step, 2 * step, step], [3000, 3000, 2.6e-4, 2.6e-4]])
    crowd = torch.cat([boxes[:1, :2].expand(500, 2), torch.rand(500, 2) * 1e-3], -1)
    for some in (boxes, crowd):
        result = run(some, some, fmt=fmt)
        assert result.min() >= 0 and result.max() == 1


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    boxes1, boxes2 = random_boxes(9).to(dtype), random_boxes(21, seed=1).to(dtype)
    result = run(boxes1, boxes2)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(result.double(), expected(boxes1, boxes2, "xyxy", "iou"), rtol=tolerance, atol=tolerance)


@each_implementation
def test_half_areas_do_not_overflow(run):
    boxes = torch.tensor([[0.0, 0.0, 512.0, 512.0]], dtype=torch.float16)
    assert run(boxes, boxes).item() == 1


@each_implementation
def test_batches_broadcast(run):
    boxes1, boxes2 = random_boxes(3, 1, 5), random_boxes(4, 7, seed=1)
    result = run(boxes1, boxes2)
    assert result.shape == (3, 4, 5, 7)
    for i in range(3):
        for j in range(4):
            torch.testing.assert_close(result[i, j], run(boxes1[i, 0], boxes2[j]), rtol=0, atol=0)


@each_implementation
def test_strides_do_not_matter(run):
    boxes1, boxes2 = random_boxes(6), random_boxes(1, seed=1)
    plain = run(boxes1, boxes2.repeat(9, 1))
    torch.testing.assert_close(run(strided(boxes1), boxes2.expand(9, 4)), plain, rtol=0, atol=0)
    torch.testing.assert_close(run(boxes1.T.contiguous().T, boxes2.expand(9, 4)), plain, rtol=0, atol=0)


@pytest.mark.heavy
@each_implementation
def test_more_than_2_to_31_pairs(run):
    boxes1, boxes2 = random_boxes(65_600), random_boxes(32_800, seed=1)
    boxes1[-1] = boxes2[-1]
    result = run(boxes1, boxes2)
    assert result.numel() > 2**31
    assert result[-1, -1] == 1
    torch.testing.assert_close(result[-3:], run(boxes1[-3:], boxes2), rtol=0, atol=0)


@pytest.mark.plain
@each_implementation
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("kind", KINDS[:3])
def test_gradients(run, fmt, kind):
    boxes1 = random_boxes(4, fmt=fmt).double() + torch.rand(4, 4).double() * 0.1
    boxes2 = random_boxes(5, fmt=fmt, seed=1).double()
    inputs = boxes1.requires_grad_(), boxes2.requires_grad_()
    torch.autograd.gradcheck(lambda a, b: run(a, b, fmt=fmt, kind=kind), inputs, fast_mode=SLOW)


@each_implementation
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_at_a_tie_follow_one_choice(run, kind):
    boxes = torch.cat([ODD_BOXES[[0, 0, 1, 7, 8]], torch.tensor([[3.0, 2, 10, 10], [0, 2, 12, 10]])])
    first, second = (b.clone().requires_grad_() for b in (boxes.repeat_interleave(7, 0), boxes.repeat(7, 1)))
    aligned = torch.autograd.grad(aligned_iou(first, second, kind=kind).sum(), (first, second))
    pairwise = torch.autograd.grad(run(first[:, None], second[:, None], kind=kind).sum(), (first, second))
    torch.testing.assert_close(pairwise, aligned, rtol=1e-5, atol=1e-7)
    # Moving both alike changes nothing.
    together = (pairwise[0] + pairwise[1])[:, :2] + (pairwise[0] + pairwise[1])[:, 2:]
    torch.testing.assert_close(together, torch.zeros(49, 2), rtol=0, atol=1e-6)


@each_implementation
def test_ciou_gradient_holds_alpha_constant(run):
    boxes1, boxes2 = random_boxes(1).double() + 0.03, random_boxes(1, seed=4).double()
    boxes1.requires_grad_()
    run(boxes1, boxes2, kind="ciou").sum().backward()
    box1, box2 = boxes1[0].tolist(), boxes2[0].tolist()
    diou = similarity(box1, box2, kind="diou")
    v = diou - similarity(box1, box2, kind="ciou", alpha=1.0)
    alpha = v / (1 - similarity(box1, box2) + v)
    step = 1e-6
    for i in range(4):
        up, down = ([x + sign * step * (j == i) for j, x in enumerate(box1)] for sign in (1, -1))
        slope = (similarity(up, box2, kind="ciou", alpha=alpha) - similarity(down, box2, kind="ciou", alpha=alpha)) / 2
        assert boxes1.grad[0, i].item() == pytest.approx(slope / step, abs=1e-6)


@each_implementation
def test_gradient_dtype_and_masked_nan(run):
    boxes1 = random_boxes(3).half().requires_grad_()
    boxes2 = random_boxes(4, seed=1)
    boxes2[2] = float("nan")
    run(boxes1, boxes2)[:, [0, 1, 3]].sum().backward()
    assert boxes1.grad.dtype == torch.float16
    assert boxes1.grad.isfinite().all()


def test_second_derivative_is_refused():
    boxes = random_boxes(3).requires_grad_()
    (first,) = torch.autograd.grad(pairwise_iou(boxes, random_boxes(3, seed=1)).sum(), boxes, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        first.sum().backward()


@pytest.mark.plain
@pytest.mark.parametrize("requires_grad", [False, True])
def test_registration(requires_grad):
    boxes1 = random_boxes(2, 5).requires_grad_(requires_grad)
    for other in (random_boxes(2, 7, seed=1), random_boxes(2, 0), random_boxes(7, 2).transpose(0, 1)):
        check_registration("pairwise_iou", boxes1, other, "xyxy", "iou")
    check_registration("pairwise_iou_backward", torch.rand(2, 5, 7), boxes1.detach(), random_boxes(2, 7), "xyxy", "iou")


@pytest.mark.plain
def test_compiles():
    check_compiles(pairwise_iou, random_boxes(3, 5), random_boxes(7, seed=1), kind="giou")


BOXES = random_boxes(3)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((torch.rand(3, 5), BOXES), {}, ValueError, r"boxes1 must be \[\.\.\., M, 4\], got \[3, 5\]"),
        ((BOXES, torch.rand(4)), {}, ValueError, r"boxes2 must be \[\.\.\., N, 4\], got \[4\]"),
        ((BOXES, BOXES.int()), {}, TypeError, "boxes2 must be float32, .* got torch.int32"),
        ((BOXES.tolist(), BOXES), {}, TypeError, "boxes1 must be a torch.Tensor, got list"),
        ((BOXES, BOXES), {"fmt": "yxyx"}, ValueError, "fmt must be one of 'xyxy', 'xywh', 'cxcywh', got 'yxyx'"),
        ((BOXES, BOXES), {"kind": "dice"}, ValueError, "kind must be one of .* got 'dice'"),
        ((BOXES.to("meta"), BOXES), {}, ValueError, "boxes2 must be on the device of boxes1, got cpu and meta"),
        ((BOXES.expand(2, 3, 4), BOXES.expand(5, 3, 4)), {}, ValueError, "batch dimensions that broadcast"),
    ],
)
def test_errors(args, kwargs, error, words):
    with pytest.raises(error, match=words):
        pairwise_iou(*args, **kwargs)


def test_the_bare_op_guards_its_memory():
    with pytest.raises(ValueError, match=r"boxes2 must be \[B, N, 4\], got \[3, 3, 4\]"):
        torch.ops.yolox_ops.pairwise_iou(BOXES[None], BOXES.expand(3, 3, 4), "xyxy", "iou")


def test_the_fake_of_the_gradient_refuses_what_the_kernel_does():
    boxes = torch.zeros(1, 3, 4, device="meta")
    backward = torch.ops.yolox_ops.pairwise_iou_backward
    with pytest.raises(TypeError, match=r"boxes2 must be a torch\.Tensor, got NoneType"):
        backward(boxes, boxes, None, "xyxy", "iou")
    with pytest.raises(ValueError, match="grad must be "):
        backward(boxes.new_zeros(7), boxes, boxes, "xyxy", "iou")
