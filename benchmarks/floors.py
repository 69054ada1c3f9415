"""The least that any implementation of an op must do, counted from its inputs: bytes that must be moved once, and
exponentials (logarithms and arctangents count as such) and divisions that its definition asks for. Divided by the
ceilings of the machine that is a time that nothing can beat, but for inputs that lie in a nearer cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.machine import BUFFERS
from benchmarks.scenes import Scene


@dataclass
class Work:
    moved: int  # bytes
    why: str  # what was counted
    resident: int = 0  # bytes of what is moved again and again; 0: everything once
    exponentials: int = 0
    divisions: int = 0

    def floor(self, ceilings: dict[str, float]) -> dict[str, object]:
        """The `floor` of a result; `bound` is what takes longest of the three, side by side."""
        place = next((place for place, size in BUFFERS.items() if (self.resident or self.moved) <= size), "memory")
        rates = [rate for name, rate in ceilings.items() if name.startswith("bytes") and name.endswith(place)]
        seconds = {
            "bytes": self.moved / max(rates),
            "exponentials": self.exponentials / ceilings["exponentials"],
            "divisions": self.divisions / ceilings["divisions"],
        }
        bound = max(seconds, key=lambda name: seconds[name])
        return {
            "seconds": seconds[bound],
            "bytes": self.moved,
            "exps": self.exponentials,
            "bound": bound,
            "why": self.why,
        }


def pairs_inside(args: Scene, radius: float = 1.5) -> Tensor:
    """[B, G, N] bool, anchors near the centre of a ground truth."""
    points, strides, gt_boxes, num_gts = args[3], args[4], args[5], args[7]
    real = torch.arange(gt_boxes.shape[1]) < num_gts[:, None]
    near = (points - gt_boxes[:, :, None, :2]).abs().amax(-1) < radius * strides
    return near & real[..., None]


def simota_inputs(args: Scene) -> tuple[int, int]:
    """Bytes of what simota must read (anchors, candidates' logits and boxes, ground truths), and candidates."""
    candidates = int(pairs_inside(args).any(1).sum())
    return args[3].shape[0] * 12 + candidates * (args[1].shape[2] + 5) * 4 + args[7].sum().item() * 24, candidates


def simota(args: Scene) -> Work:
    read, candidates = simota_inputs(args)
    B, N, C = args[1].shape
    pairs = int(pairs_inside(args).sum())
    return Work(
        read + B * (N * 12 + 8),
        "candidates' logits and boxes read, outputs written; a sigmoid for each class of a candidate, two logarithms "
        "and an IoU for each pair in a region",
        exponentials=candidates * C + 2 * pairs,
        divisions=pairs,
    )


def simota_cost(args: Scene) -> Work:
    read, candidates = simota_inputs(args)
    (B, N, C), G = args[1].shape, args[5].shape[1]
    pairs = int((pairs_inside(args).any(1).sum(1) * args[7]).sum())
    return Work(
        read + B * G * N * 12,
        "candidates' logits and boxes read, both matrices written; a sigmoid for each class of a candidate, two "
        "logarithms and an IoU for each pair of a ground truth and a candidate",
        exponentials=candidates * C + 2 * pairs,
        divisions=pairs,
    )


def dynamic_k_match(cost: Tensor, iou: Tensor) -> Work:
    B, _, N = cost.shape
    return Work(cost.nbytes + iou.nbytes + B * (N * 12 + 8), "both matrices read, outputs written")


def pairwise_iou(M: int, N: int) -> Work:
    return Work(16 * (M + N) + 4 * M * N, "boxes read, IoUs written; a division a pair", divisions=M * N)


def aligned_iou(pairs: int, backward: bool) -> Work:
    """CIoU; backward is forward as well, and its two gradients."""
    moved = pairs * (36 + 36 + 32 if backward else 36)
    text = "boxes read, values and gradients written" if backward else "boxes read, values written"
    return Work(moved, f"{text}; two arctangents and four divisions a pair", 2 * pairs, 4 * pairs)


def sinkhorn(cost: Tensor, iterations: int) -> Work:
    return Work(
        (2 + iterations) * cost.nbytes,
        "costs read, plan written, and the matrix read once an iteration, image by image; an exponential an element",
        resident=cost[0].nbytes,
        exponentials=cost.numel(),
    )


def ota(args: Scene, iterations: int = 50) -> Work:
    """Anchors in no ground truth's region meet only the background, so they are one column."""
    inside = pairs_inside(args, 2.5)
    points, gt_boxes = args[3], args[5]
    low, high = gt_boxes[..., :2] - gt_boxes[..., 2:] / 2, gt_boxes[..., :2] + gt_boxes[..., 2:] / 2
    inside &= ((points > low[:, :, None]) & (points < high[:, :, None])).all(-1)
    pairs, candidates = int(inside.sum()), int(inside.any(1).sum())
    B, N = args[0].shape[:2]
    return Work(
        N * 12 + candidates * 20 + pairs * 4 + B * (N * 12 + 8) + iterations * pairs * 4,
        "candidates' boxes and labels' logits read, outputs written, and the pairs of regions read once an iteration; "
        "four exponentials (focal loss, IoU's logarithm, plan) and an IoU for each pair",
        resident=pairs * 4,
        exponentials=4 * pairs,
        divisions=pairs,
    )


def soft_nms(boxes: Tensor, labels: Tensor | None) -> Work:
    """Gaussian. Boxes [B, N, 4]; each pair of boxes that overlap meets once."""
    meetings = 0
    for image, kinds in zip(boxes, torch.zeros(boxes.shape[:2]) if labels is None else labels, strict=True):
        for rows in torch.arange(len(image)).split(500):  # of 500 x N pairs at once
            low, high = image[rows, None, :2], image[rows, None, 2:]
            touch = (torch.minimum(high, image[:, 2:]) > torch.maximum(low, image[:, :2])).all(-1)
            meetings += int((touch & (kinds[rows, None] == kinds) & (rows[:, None] < torch.arange(len(image)))).sum())
    count = boxes.shape[0] * boxes.shape[1]
    return Work(
        count * (28 + 12),
        "boxes, scores and labels read, indices and scores written; an exponential and an IoU for each two boxes that "
        "overlap, of which a few are gone before they meet",
        exponentials=meetings,
        divisions=meetings,
    )
