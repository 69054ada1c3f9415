"""Compares simota with Megvii's get_assignments on random images of mixed size: pixeltable-yolox's, which is that of
Megvii's repository today, or that of the package yolox 0.3.0.

    python -m benchmarks.parity_megvii --images 10000
    python -m benchmarks.parity_megvii --preset yolox-0.3 --images 1000

Anchors that differ must be near-ties of the float64 reference (python_ref/exactness.py); anything else is an error. As
Megvii's code adds the penalty in float32, its penalised costs are near where that rounding parts them.
"""

import argparse
import random
import sys

import torch

from benchmarks.peers import Megvii
from benchmarks.scenes import scene
from python_ref.exactness import check_matching
from python_ref.simota_cost import simota_cost as reference
from yolox_ops import PRESETS, simota


def compare(seed: int, preset: str = "yolox") -> tuple[int, int]:
    """Positives of one random image, and anchors on which the two differ."""
    rule = PRESETS[preset]
    draw = random.Random(seed)
    size = draw.choice([64, 128, 256, 416, 640])
    gts = draw.randint(1, max(2, min(100, size * size // 1500)))
    args = scene([gts], classes=draw.choice([1, 3, 20, 80]), size=size, seed=seed)
    ours, theirs = simota(*args, **rule), Megvii(*args, release=preset == "yolox-0.3").assignment()
    different = ours.matched_gt[0] != theirs.matched_gt[0]
    both = ~different & ours.fg_mask[0]
    torch.testing.assert_close(ours.matched_iou[0, both], theirs.matched_iou[0, both], rtol=1e-5, atol=1e-6)
    if different.any():
        pred, cls, obj, points, strides, boxes, labels, _ = (t.double().tolist() for t in args)
        cost, iou = reference(pred[0], cls[0], obj[0], points, strides, boxes[0], [int(x) for x in labels[0]], **rule)
        penalty = rule["outside_penalty"]
        check_matching(ours.matched_gt[0].tolist(), cost, iou, penalty=penalty)
        spacing = float(torch.tensor(penalty).nextafter(torch.tensor(torch.inf)) - penalty)
        check_matching(theirs.matched_gt[0].tolist(), cost, iou, penalty=penalty, spacing=spacing)
    return int(ours.num_fg), int(different.sum())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["yolox", "yolox-0.3"], default="yolox")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    positives = different = 0
    for i in range(options.images):
        found = compare(options.first_seed + i, options.preset)
        positives, different = positives + found[0], different + found[1]
        if (i + 1) % 500 == 0:
            print(f"{i + 1} images, {positives} positives, {different} differ, each a near-tie", flush=True)
    print(f"{options.images} images, {positives} positives, {different} differ, each a near-tie")
    return int(different * 10_000 > positives)


if __name__ == "__main__":
    sys.exit(main())
