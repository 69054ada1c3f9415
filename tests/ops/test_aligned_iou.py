import pytest
import torch
from boxes import ODD_BOXES, random_boxes
from impls import DTYPES, SLOW, check_compiles, check_registration, implementations, strided
from torch.testing import assert_close

from python_ref.aligned_iou import aligned_iou as reference
from yolox_ops import aligned_iou, pairwise_iou

FORMATS = ["xyxy", "xywh", "cxcywh"]
KINDS = ["iou", "giou", "diou", "ciou"]
each_implementation = pytest.mark.parametrize("run", implementations("aligned_iou"))


def expected(boxes1, boxes2, fmt="xyxy", kind="iou"):
    return torch.tensor(reference(boxes1.double().tolist(), boxes2.double().tolist(), fmt, kind), dtype=torch.float64)


@each_implementation
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 5, 5000])
def test_equals_reference(run, fmt, kind, count):
    boxes1, boxes2 = random_boxes(count, fmt=fmt), random_boxes(count, fmt=fmt, seed=1)
    result = run(boxes1, boxes2, fmt=fmt, kind=kind)
    assert result.dtype == torch.float32
    assert_close(result.double(), expected(boxes1, boxes2, fmt, kind), rtol=1e-6, atol=1e-6)


@each_implementation
@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_and_nan_boxes(run, kind):
    boxes = torch.cat([ODD_BOXES, torch.tensor([[0.0, float("nan"), 1.0, 1.0]])])
    first, second = (boxes[i] for i in torch.meshgrid(*[torch.arange(len(boxes))] * 2, indexing="ij"))
    result = run(first, second, kind=kind)
    assert_close(result.diagonal(), run(boxes, boxes, kind=kind), rtol=0, atol=0, equal_nan=True)
    wanted = expected(first.reshape(-1, 4), second.reshape(-1, 4), kind=kind)
    assert_close(result.double().flatten(), wanted, rtol=1e-6, atol=1e-6, equal_nan=True)


@each_implementation
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(run, dtype):
    boxes1, boxes2 = random_boxes(9).to(dtype), random_boxes(9, seed=1).to(dtype)
    result = run(boxes1, boxes2)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(result.double(), expected(boxes1, boxes2), rtol=1e-6, atol=1e-6)


@each_implementation
def test_shapes_broadcast_and_strides_do_not_matter(run):
    boxes1, boxes2 = random_boxes(3, 1, 5), random_boxes(4, 1, seed=1)
    result = run(strided(boxes1), boxes2)
    assert result.shape == (3, 4, 5)
    assert_close(result[1, 2], run(boxes1[1, 0], boxes2[2].expand(5, 4)), rtol=0, atol=0)
    assert run(boxes1[0, 0, 0], boxes2[0, 0]).shape == ()


@each_implementation
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_diagonal_of_pairwise_iou(run, kind):
    boxes1, boxes2 = random_boxes(40), random_boxes(40, seed=1)
    diagonal = pairwise_iou(boxes1, boxes2, kind=kind).diagonal()
    assert_close(run(boxes1, boxes2, kind=kind), diagonal, rtol=1e-6, atol=1e-6)


@pytest.mark.plain
@each_implementation
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("kind", KINDS[:3])
def test_gradients(run, fmt, kind):
    boxes1 = (random_boxes(8, fmt=fmt).double() + torch.rand(8, 4).double() * 0.1).requires_grad_()
    boxes2 = random_boxes(8, fmt=fmt, seed=1).double().requires_grad_()
    torch.autograd.gradcheck(lambda a, b: run(a, b, fmt=fmt, kind=kind), (boxes1, boxes2), fast_mode=SLOW)


@each_implementation
def test_ciou_gradient_is_that_of_pairwise_iou(run):
    gradients = []
    for function in (run, lambda a, b, kind: pairwise_iou(a, b, kind=kind).diagonal()):
        boxes1, boxes2 = random_boxes(30).requires_grad_(), random_boxes(30, seed=1).requires_grad_()
        function(boxes1, boxes2, kind="ciou").sum().backward()
        gradients.append((boxes1.grad, boxes2.grad))
    assert_close(gradients[0], gradients[1])
    assert gradients[0][0].abs().sum() > 0


@each_implementation
def test_masked_pairs_pass_back_zero(run):
    boxes1, boxes2 = random_boxes(4), random_boxes(4, seed=1)
    boxes1[1] = float("nan")
    pair = boxes1.requires_grad_(), boxes2.requires_grad_()
    torch.where(torch.arange(4) == 1, 0.0, run(*pair)).sum().backward()
    for boxes in pair:
        assert (boxes.grad[1] == 0).all() and boxes.grad.isfinite().all()


@pytest.mark.plain
def test_registration_and_compile():
    for requires_grad in (False, True):
        boxes = random_boxes(5).requires_grad_(requires_grad)
        check_registration("aligned_iou", boxes, random_boxes(4, 5).transpose(0, 1)[:, 0], "cxcywh", "ciou")
    check_registration("aligned_iou_backward", torch.rand(5), random_boxes(5), random_boxes(5), "xyxy", "giou")
    check_compiles(aligned_iou, random_boxes(3, 5), random_boxes(5, seed=1), kind="ciou")


BOXES = random_boxes(3)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((torch.rand(3, 5), BOXES), {}, ValueError, r"boxes1 must be \[\.\.\., 4\], got \[3, 5\]"),
        ((BOXES, torch.tensor(1.0)), {}, ValueError, r"boxes2 must be \[\.\.\., 4\], got \[\]"),
        ((BOXES, BOXES.int()), {}, TypeError, "boxes2 must be float32, .* got torch.int32"),
        ((BOXES, BOXES[:2]), {}, ValueError, r"shapes that broadcast, got \[3, 4\] and \[2, 4\]"),
        ((BOXES, BOXES), {"kind": "dice"}, ValueError, "kind must be one of .* got 'dice'"),
    ],
)
def test_errors(args, kwargs, error, words):
    with pytest.raises(error, match=words):
        aligned_iou(*args, **kwargs)


def test_the_fake_of_the_gradient_refuses_what_the_kernel_does():
    boxes = torch.zeros(3, 4, device="meta")
    backward = torch.ops.yolox_ops.aligned_iou_backward
    with pytest.raises(TypeError, match=r"boxes2 must be a torch\.Tensor, got NoneType"):
        backward(boxes, boxes, None, "xyxy", "iou")
    with pytest.raises(ValueError, match="grad must be "):
        backward(boxes.new_zeros(7), boxes, boxes, "xyxy", "iou")
