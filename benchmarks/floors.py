"""The least that any implementation of an op must do, counted from its inputs: bytes that must be moved once, and
exponentials (logarithms and arctangents count as such) and divisions that its definition asks for. Divided by the
ceilings of the machine that is a time that nothing can beat, but for inputs that lie in a nearer cache. Each op's own
count is the function `floor` of its benchmarks/bench_<op>.py."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.machine import BUFFERS
from yolox_ops import Scene


@dataclass
class Work:
    moved: int  # bytes
    why: str  # what was counted
    resident: int = 0  # bytes of what is moved again and again; 0: everything once
    exponentials: int = 0
    divisions: int = 0

    def floor(self, ceilings: dict[str, float]) -> dict[str, object]:
        """The `floor` of a result; `bound` is what takes longest of the three, side by side."""
        level = next((name for name, size in BUFFERS.items() if (self.resident or self.moved) <= size), "memory")
        rates = [rate for name, rate in ceilings.items() if name.startswith("bytes") and name.endswith(level)]
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
