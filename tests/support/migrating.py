"""What the tests of docs/migrating.md share: detections, and other codes' hard NMS."""

import numpy as np
import torch


def detections(n: int = 120, kinds: int = 3, seed: int = 0):
    """Boxes [n, 4] of whole numbers, whose IoUs often equal a threshold, scores [n] without ties, labels [n]."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 12, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 9, (n, 2))], 1)
    scores = (rng.permutation(n) + 1) / (n + 1)
    return torch.tensor(boxes).float(), torch.tensor(scores).float(), torch.tensor(rng.integers(0, kinds, n))


def overlap(a, b, offset=0.0, dtype=np.float32):
    """IoU in the dtype; `offset` is added to widths and heights."""
    a, b, offset = np.asarray(a, dtype), np.asarray(b, dtype), dtype(offset)
    width, height = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + offset, dtype(0))
    both = width * height
    areas = [(x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b)]
    return both / (areas[0] + areas[1] - both)


def greedy(boxes, scores, removes, labels=None):
    """Hard NMS, the textbook's: removes(a, b) says whether a selected box a removes b."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        rivals = [j for j in kept if labels is None or labels[j] == labels[i]]
        if not any(removes(boxes[j], boxes[i]) for j in rivals):
            kept.append(i)
    return kept


def as_xywh(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
