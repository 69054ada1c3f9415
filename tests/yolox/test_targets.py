"""Targets.pad: images of unlike dtypes, images without objects, and what is refused."""

import itertools

import pytest
import torch

from yolox_ops.yolox import Targets

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SIGNED = (torch.int8, torch.int16, torch.int32, torch.int64)
UNSIGNED = (torch.uint8, torch.uint16, torch.uint32, torch.uint64)
ONE = torch.tensor([1])
CORNERS = torch.tensor([[1.7, 2.7, 40.3, 70.9]])
CENTRED = [21, 36.8, 38.6, 68.2]


@pytest.mark.parametrize("dtype", FLOATS + SIGNED + UNSIGNED)
@pytest.mark.parametrize("objects", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
def test_the_widest_dtype_whatever_comes_first(last, objects, dtype):
    images = [torch.tensor([[1, 2, 3, 6]])[:objects].to(dtype)]
    images.insert(last, CORNERS)
    gt_boxes, gt_labels, num_gts = Targets.pad(images, [ONE[: len(b)] for b in images])
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert gt_boxes.dtype == wanted and gt_labels.dtype == torch.int64
    torch.testing.assert_close(gt_boxes[last, 0], torch.tensor(CENTRED, dtype=wanted))
    assert gt_boxes[1 - last, 0].tolist() == ([2, 4, 2, 4] if objects else [0] * 4)
    assert num_gts[[last, 1 - last]].tolist() == [1, objects]


@pytest.mark.parametrize("dtypes", list(itertools.permutations([torch.uint8, torch.int32, torch.uint64])))
def test_labels_are_int64(dtypes):
    values = {torch.uint8: 200, torch.int32: 70000, torch.uint64: 2**40}
    labels = [torch.tensor([values[dtype]]).to(dtype) for dtype in dtypes]
    found = Targets.pad([torch.zeros(1, 4)] * 3, labels).gt_labels
    assert found.dtype == torch.int64 and found[:, 0].tolist() == [values[dtype] for dtype in dtypes]


def test_centre_and_size_are_computed_in_float32_or_wider():
    """float16 ends at 65504 and has integers to 2048 only; uint8 wraps."""
    for dtype in (torch.float16, torch.bfloat16):
        corners = torch.tensor([[40000.0, 50000, 60000, 61000], [2047, 1, 2048, 3]]).to(dtype)
        low, high = corners.double().split(2, -1)
        wanted = torch.cat([(low + high) / 2, high - low], -1).float()
        assert torch.equal(Targets.pad([corners], [torch.zeros(2).long()]).gt_boxes[0], wanted)
    bytes_ = Targets.pad([torch.tensor([[200, 200, 250, 251]], dtype=torch.uint8)], [ONE])
    assert bytes_.gt_boxes.tolist() == [[[225, 225.5, 50, 51]]]
    exact = torch.tensor([[1 / 3, 0.1, 100.7, 200.9]], dtype=torch.float64)
    found = Targets.pad([CORNERS, exact], [ONE, ONE]).gt_boxes[1, 0]
    assert found.tolist() == [*((exact[0, :2] + exact[0, 2:]) / 2), *(exact[0, 2:] - exact[0, :2])]


NOTHING = torch.tensor([])


@pytest.mark.parametrize("empty", [NOTHING, torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.int64), NOTHING.double()])
@pytest.mark.parametrize("label", [NOTHING, torch.zeros(0, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)])
def test_an_image_without_objects(empty, label):
    for images in ([empty], [empty, empty], [empty, CORNERS], [CORNERS, empty, CORNERS]):
        labels = [ONE if b is CORNERS else label for b in images]
        gt_boxes, gt_labels, num_gts = Targets.pad(images, labels)
        G = max(len(b) for b in images)
        assert gt_boxes.shape == (len(images), G, 4) and gt_labels.shape == (len(images), G)
        assert (gt_boxes.dtype, gt_labels.dtype, num_gts.dtype) == (torch.float32, torch.int64, torch.int64)
        assert num_gts.tolist() == [len(b) for b in images]
        assert all(
            n == 0 or torch.allclose(b[0], torch.tensor(CENTRED)) for n, b in zip(num_gts, gt_boxes, strict=True)
        )


def test_an_image_without_objects_may_lie_elsewhere():
    """torch.tensor([]) is on the default device, where the others need not be."""
    boxes, labels = torch.zeros(2, 4, device="meta"), torch.zeros(2, dtype=torch.int32, device="meta")
    targets = Targets.pad([NOTHING, boxes], [NOTHING, labels])
    assert {t.device.type for t in targets[:2]} == {"meta"} and targets.gt_boxes.shape == (2, 2, 4)
    words = r"^boxes of image 2 must be on the device of those of image 1, got cpu and meta$"
    with pytest.raises(ValueError, match=words):
        Targets.pad([NOTHING, boxes, CORNERS], [NOTHING, labels, ONE])


@pytest.mark.parametrize(
    ("boxes", "label", "error", "words"),
    [
        (torch.zeros(1, 5), ONE, ValueError, r"boxes of image 1 must be \[G, 4\], got \[1, 5\]"),
        (torch.zeros(0, 5), ONE[:0], ValueError, r"boxes of image 1 must be \[G, 4\], got \[0, 5\]"),
        (torch.zeros(4), ONE.expand(4), ValueError, r"boxes of image 1 must be \[G, 4\], got \[4\]"),
        (torch.tensor([[]]), ONE, ValueError, r"boxes of image 1 must be \[G, 4\], got \[1, 0\]"),
        (torch.tensor(1.0), ONE[:0], ValueError, r"boxes of image 1 must be \[G, 4\], got \[\]"),
        (torch.zeros(1, 4), ONE[None], ValueError, r"labels of image 1 must be \[G\], got \[1, 1\]"),
        (torch.zeros(1, 4).bool(), ONE, TypeError, r"boxes of image 1 must be floats or integers, got torch\.bool"),
        (torch.zeros(1, 4) * 1j, ONE, TypeError, r"boxes of image 1 must be floats or integers, got torch\.complex64"),
        (torch.zeros(1, 4), ONE.float(), TypeError, r"labels of image 1 must be integers, got torch\.float32"),
        (torch.zeros(1, 4), ONE.bool(), TypeError, r"labels of image 1 must be integers, got torch\.bool"),
        ([[0, 0, 1, 1]], ONE, TypeError, r"boxes of image 1 must be a torch\.Tensor, got list"),
        (torch.zeros(1, 4), [1], TypeError, r"labels of image 1 must be a torch\.Tensor, got list"),
    ],
)
def test_what_is_refused(boxes, label, error, words):
    with pytest.raises(error, match=f"^{words}$"):
        Targets.pad([CORNERS, boxes], [ONE, label])
