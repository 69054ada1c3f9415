"""Compares simota by a preset with the code that the preset is named after, on random images of mixed size.

    python -m benchmarks.parity yolox --images 10000 --record benchmarks/results/parity_yolox.json
                                                            # Megvii's repository today, as pixeltable-yolox carries it
    python -m benchmarks.parity yolox-0.3                   # the package yolox 0.3.0
    python -m benchmarks.parity paddle --python PYTHON      # a Python that has paddlepaddle and paddledet
    python -m benchmarks.parity from-scratch                # python_ref, for want of a package

benchmarks/parity/mmdet.py is the same for mmdetection. Anchors that differ must be near-ties of the float64 reference
(python_ref/exactness.py); anything else is an error. As these codes add the penalty in float32, their penalised costs
are near where that rounding parts them.
"""

import argparse
import json
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import processor
from benchmarks.peers.megvii import Megvii
from benchmarks.scenes import corners, scene
from python_ref.exactness import check_matching
from python_ref.simota import simota as reference
from python_ref.simota_cost import simota_cost
from yolox_ops import PRESETS, Scene, simota

Peer = Callable[[Sequence[Scene]], list[Tensor]]  # matched_gt [N] of each scene, which has one image


def random_sizes(seed: int, most: int = 640) -> tuple[int, int, int]:
    """Objects of an image, up to 100; classes; its side in pixels, up to `most`."""
    draw = random.Random(seed)
    size = draw.choice([s for s in (64, 128, 256, 416, 640) if s <= most])
    gts = draw.randint(1, max(2, min(100, size * size // 1500)))
    return gts, draw.choice([1, 3, 20, 80]), size


def random_scene(seed: int, most: int = 640) -> Scene:
    """Of one image."""
    gts, classes, size = random_sizes(seed, most)
    return scene([gts], classes, size, seed)


def lists(args: Scene) -> tuple:
    """The scene as the reference takes it."""
    pred, cls, obj, points, strides, boxes, labels, _ = (t.double().tolist() for t in args)
    return pred[0], cls[0], obj[0], points, strides, boxes[0], [int(x) for x in labels[0]]


def megvii(scenes: Sequence[Scene]) -> list[Tensor]:
    return [Megvii(*args).assignment().matched_gt[0] for args in scenes]


def megvii_release(scenes: Sequence[Scene]) -> list[Tensor]:
    return [Megvii(*args, release=True).assignment().matched_gt[0] for args in scenes]


def by_reference(scenes: Sequence[Scene]) -> list[Tensor]:
    rule = PRESETS["from-scratch"]
    return [torch.tensor(reference(*lists(args), **rule)[0]) for args in scenes]


def paddle(python: str) -> Peer:
    """PaddleDetection's assigner, in a process of that Python."""

    def run(scenes: Sequence[Scene]) -> list[Tensor]:
        given: dict[str, np.ndarray] = {"count": np.array(len(scenes))}
        for i, (pred, cls, obj, points, strides, boxes, labels, _) in enumerate(scenes):
            given[f"scores{i}"] = (cls[0].sigmoid() * obj[0].sigmoid()[:, None]).sqrt().numpy()
            given[f"priors{i}"] = torch.cat([points, strides[:, None], strides[:, None]], -1).numpy()
            given[f"boxes{i}"], given[f"gt_boxes{i}"] = corners(pred[0]).numpy(), corners(boxes[0]).numpy()
            given[f"gt_labels{i}"] = labels[0, :, None].numpy()
        with tempfile.TemporaryDirectory() as folder:
            np.savez(f"{folder}/scenes.npz", **given)
            script = Path(__file__).parents[1] / "peers/paddle_assigner.py"
            files = f"{folder}/scenes.npz", f"{folder}/answers.npz"
            subprocess.run([python, "-W", "ignore", script, *files], check=True)
            answers = np.load(files[1])
            return [torch.from_numpy(answers[f"matched{i}"]) for i in range(len(scenes))]

    return run


def matches(matched_gt: Tensor) -> dict[int, int]:
    """The positive anchors and whom they match."""
    return {j: gt for j, gt in enumerate(matched_gt.tolist()) if gt >= 0}


def compare(preset: str, answers: Sequence[Tensor], scenes: Sequence[Scene]) -> tuple[int, int]:
    """Positives of the scenes, and anchors on which simota and the answers differ."""
    rule, positives, different = PRESETS[preset], 0, 0
    penalty = torch.tensor(rule["outside_penalty"])
    spacing = float(penalty.nextafter(torch.tensor(torch.inf)) - penalty)
    k = {name: rule[name] for name in ("topk", "k_rounding") if name in rule}
    for args, theirs in zip(scenes, answers, strict=True):
        ours = simota(*args, **rule)
        differs = ours.matched_gt[0] != theirs
        if differs.any():
            cost, iou = simota_cost(*lists(args), **{name: rule[name] for name in rule if name not in k})
            check_matching(ours.matched_gt[0].tolist(), cost, iou, penalty=float(penalty), **k)
            check_matching(theirs.tolist(), cost, iou, penalty=float(penalty), spacing=spacing, **k)
        positives, different = positives + int(ours.num_fg), different + int(differs.sum())
    return positives, different


PEERS: dict[str, Peer] = {"yolox": megvii, "yolox-0.3": megvii_release, "from-scratch": by_reference}
# The reference takes its time with large images, and vectors should be short.
MOST = {"from-scratch": 128}
# How rare a difference must be. At PaddleDetection's penalty float32 numbers are 8 apart.
ONE_IN = {"paddle": 200}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=[*PEERS, "paddle"])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--python", help="for paddle")
    parser.add_argument("--record", type=Path, help="file for the counts, as JSON")
    parser.add_argument("--write", type=Path, help="file for what the peer matched, as JSON: {seed: {anchor: gt}}")
    options = parser.parse_args()
    if options.preset == "paddle" and not options.python:
        parser.error("paddle needs --python, one that has paddlepaddle and paddledet")
    peer = paddle(options.python) if options.preset == "paddle" else PEERS[options.preset]
    matched: dict[int, dict[int, int]] = {}
    positives = different = 0
    for first in range(0, options.images, 100):
        seeds = range(options.first_seed + first, options.first_seed + min(first + 100, options.images))
        scenes = [random_scene(seed, MOST.get(options.preset, 640)) for seed in seeds]
        answers = peer(scenes)
        matched |= {seed: matches(answer) for seed, answer in zip(seeds, answers, strict=True)}
        found = compare(options.preset, answers, scenes)
        positives, different = positives + found[0], different + found[1]
        print(f"{first + len(seeds)} images, {positives} positives, {different} differ, each a near-tie", flush=True)
    if options.record:
        counts = {"preset": options.preset, "images": options.images, "positives": positives, "different": different}
        options.record.write_text(json.dumps({**counts, "machine": processor()}, indent=2) + "\n")
    if options.write:
        options.write.write_text(json.dumps(matched) + "\n")
    return int(different * ONE_IN.get(options.preset, 10_000) > positives)
