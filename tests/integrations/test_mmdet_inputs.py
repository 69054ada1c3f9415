"""The ground truths and scores that mmdet's own assigner takes, and some that nobody does."""

import itertools
import types

import pytest
import torch
from mmdet_results import assert_same, both, cast, rows

from benchmarks.parity.mmdet import OURS, image
from benchmarks.peers.mmdet import HorizontalBoxes, InstanceData

NOTHING = torch.tensor([])


@pytest.mark.parametrize(
    ("bboxes", "labels"),
    [
        (NOTHING, NOTHING),
        (NOTHING, torch.zeros(0, dtype=torch.int64)),
        (torch.zeros(0, 4), NOTHING),
        (torch.zeros(0, 5, dtype=torch.float64), NOTHING),
        (HorizontalBoxes(torch.zeros(0, 4)), NOTHING),
    ],
)
def test_an_image_without_objects(bboxes, labels):
    """Whatever has no row is one to mmdet."""
    pred, real = image(3, size=64)
    none = types.SimpleNamespace(bboxes=bboxes, labels=labels)
    assert_same(*both(pred, none), exactly=True)
    batch = (torch.stack([x] * 3) for x in (pred.bboxes, pred.scores))
    found = OURS.assign_batch(*batch, pred.priors, [none, real, none])
    for result, gts in zip(found, [none, real, none], strict=True):
        assert_same(result, OURS.assign(pred, gts), exactly=True)
    found = OURS.assign_batch(pred.bboxes[None], pred.scores[None], pred.priors, [none])
    assert_same(found[0], OURS.assign(pred, none), exactly=True)


def test_boxes_of_mmdets_own_kind():
    pred, gts = image(8, size=64)
    wrapped = types.SimpleNamespace(bboxes=HorizontalBoxes(gts.bboxes), labels=gts.labels)
    assert_same(OURS.assign(pred, wrapped), OURS.assign(pred, gts), exactly=True)


def test_images_of_unlike_dtypes():
    """A batch is computed in the widest, whatever comes first."""
    pred, gts = image(8, size=64)
    whole = InstanceData(bboxes=gts.bboxes.round(), labels=gts.labels)
    images = [
        rows(cast(whole, bboxes=torch.int64, labels=torch.uint8), slice(0)),
        cast(whole, bboxes=torch.uint8, labels=torch.float32),
        cast(whole, bboxes=torch.int32, labels=torch.uint16),
        gts,
        cast(whole, bboxes=torch.float16, labels=torch.int8),
        cast(gts, bboxes=torch.float64),
    ]
    bboxes, scores = (torch.stack([x] * 2) for x in (pred.bboxes, pred.scores))
    for order in itertools.permutations(range(len(images)), 2):
        chosen = [images[i] for i in order]
        for result, own in zip(OURS.assign_batch(bboxes, scores, pred.priors, chosen), chosen, strict=True):
            assert_same(result, OURS.assign(pred, cast(own, bboxes=torch.float32, labels=torch.int64)))


@pytest.mark.parametrize(
    ("bboxes", "labels", "error", "words"),
    [
        (torch.zeros(2, 5), torch.zeros(2), ValueError, r"bboxes of image 1 must be \[G, 4\], got \[2, 5\]"),
        (torch.zeros(2, 4), torch.zeros(3), ValueError, r"labels of image 1 must be \[g\] with g = 2, got \[3\]"),
        (torch.zeros(0, 4), torch.zeros(3), ValueError, r"labels of image 1 must be \[g\] with g = 0, got \[3\]"),
        (torch.zeros(2, 4).bool(), torch.zeros(2), TypeError, r"bboxes of image 1 must be floats or integers, got "),
        ([[0, 0, 1, 1]], torch.zeros(1), TypeError, r"bboxes of image 1 must be a torch\.Tensor, got list"),
        (torch.zeros(1, 4), [0], TypeError, r"labels of image 1 must be a torch\.Tensor, got list"),
    ],
)
def test_ground_truths_that_are_none(bboxes, labels, error, words):
    pred, gts = image(3, size=64)
    batch = (torch.stack([x] * 2) for x in (pred.bboxes, pred.scores))
    with pytest.raises(error, match=rf"^gt_instances\.{words}"):
        OURS.assign_batch(*batch, pred.priors, [gts, types.SimpleNamespace(bboxes=bboxes, labels=labels)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_the_defaults_of_the_process_change_nothing(dtype):
    pred, gts = image(3, size=64)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            found = OURS.assign(pred, gts)
    finally:
        torch.set_default_dtype(before)
    assert_same(found, OURS.assign(pred, gts), exactly=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_score_that_is_hardly_too_large(dtype):
    """Said in as many digits as it takes."""
    pred, gts = image(3, size=64)
    wide = cast(pred, scores=dtype)
    wide.scores[7, 3] = 1 + torch.finfo(dtype).eps
    with pytest.raises(ValueError, match=r"^scores must be in \[0, 1\], got values from \S+ to \S+$") as caught:
        OURS.assign(wide, gts)
    assert torch.tensor(float(str(caught.value).split()[-1]), dtype=dtype) == wide.scores[7, 3]
