"""soft_nms, 5000 boxes of 1 to 60 pixels on a canvas of 600, beside ensemble_boxes, which is NumPy over labels."""

import ensemble_boxes
import pytest
import torch

from python_ref.soft_nms import soft_nms as reference
from yolox_ops import batched_soft_nms, pairwise_iou, soft_nms

torch.set_num_threads(2)
SIZE, CANVAS = 5000, 600
GENERATOR = torch.Generator().manual_seed(0)


def random_boxes(*shape: int) -> torch.Tensor:
    corner = torch.rand(*shape, 2, generator=GENERATOR) * CANVAS
    return torch.cat([corner, corner + 1 + torch.rand(*shape, 2, generator=GENERATOR) * 59], -1)


BOXES, SCORES = random_boxes(SIZE), torch.rand(SIZE, generator=GENERATOR)
LABELS = {
    "agnostic": torch.zeros(SIZE, dtype=torch.int64),
    "80 labels": torch.randint(80, (SIZE,), generator=GENERATOR),
}
each_labelling = pytest.mark.parametrize("labels", LABELS)


def verify_by_reference(method: str, labels: torch.Tensor) -> None:
    """The first 600 boxes, drawn closer together, against the reference."""
    boxes, scores, labels = BOXES[:600] / 3, SCORES[:600], labels[:600]
    indices, decayed = soft_nms(boxes, scores, labels, method=method)
    expected = reference(boxes.tolist(), scores.tolist(), labels.tolist(), method=method)
    assert sorted(indices.tolist()) == sorted(i for i, _ in expected)
    torch.testing.assert_close(decayed, torch.tensor([score for _, score in expected]), rtol=1e-5, atol=1e-5)


def verify_whole(method: str, labels: torch.Tensor) -> None:
    """All boxes, by what a right answer must be: the scores fall, each is its box's own times the weights of those
    selected before it, and the boxes left out end below the threshold."""
    indices, decayed = soft_nms(BOXES, SCORES, labels, method=method)
    assert (decayed.diff() <= 0).all()
    iou = pairwise_iou(BOXES.double(), BOXES[indices].double()) * (labels[:, None] == labels[indices])
    weights = {"gaussian": (-iou * iou / 0.5).exp(), "linear": 1 - iou * (iou > 0.3), "hard": (iou <= 0.3).double()}
    before = torch.full((SIZE,), len(indices))
    before[indices] = torch.arange(len(indices))
    score = SCORES * weights[method].where(torch.arange(len(indices)) < before[:, None], 1.0).prod(1)
    torch.testing.assert_close(decayed.double(), score[indices], rtol=1e-5, atol=1e-7)
    assert (score[before == len(indices)] < 1e-3 * (1 + 1e-5)).all()


@pytest.mark.benchmark(group="soft_nms 5000")
@pytest.mark.parametrize("method", ["hard", "linear", "gaussian", "mean_gaussian"])
@each_labelling
def test_yolox_ops(benchmark, method, labels):
    verify_by_reference(method, LABELS[labels])
    if method != "mean_gaussian":  # whose weights depend on the scores that remain
        verify_whole(method, LABELS[labels])
    benchmark(soft_nms, BOXES, SCORES, LABELS[labels], method=method)


@pytest.mark.benchmark(group="soft_nms 5000")
@each_labelling
def test_ensemble_boxes(benchmark, labels):
    boxes, scores = (BOXES / (CANVAS + 60)).double().numpy(), SCORES.double().numpy()
    arguments = [boxes], [scores], [LABELS[labels].numpy()]
    indices, _ = soft_nms(BOXES.double(), SCORES.double(), LABELS[labels])
    kept, _, _ = ensemble_boxes.soft_nms(*arguments)
    assert sorted(kept.tolist()) == sorted(boxes[indices].tolist())
    benchmark(ensemble_boxes.soft_nms, *arguments)


@pytest.mark.benchmark(group="soft_nms 16x1000")
def test_batch(benchmark):
    boxes, scores = random_boxes(16, 1000), torch.rand(16, 1000, generator=GENERATOR)
    labels = torch.randint(80, (16, 1000), generator=GENERATOR)
    result = batched_soft_nms(boxes, scores, labels)
    for b in range(16):
        indices, _ = soft_nms(boxes[b], scores[b], labels[b])
        assert torch.equal(result.indices[b, : result.counts[b]], indices)
    benchmark(batched_soft_nms, boxes, scores, labels)
