"""One batched call of simota, held against the plain torch loop, as a table and a picture."""

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from yolox_ops import Assignment, Scene, explain, simota
from yolox_ops.trainer.data.sample import Batch
from yolox_ops.trainer.demo.loop import simota_loop
from yolox_ops.yolox.head import Predictions


def show_assignment(batch: Batch, predictions: Predictions, path: Path) -> None:
    """Assigns the objects of a batch of images to the predictions, on their device; prints who got what and how
    the op compares with the plain torch loop, and draws it."""
    p, targets = predictions, batch.targets.to(predictions.strides.device)
    scene = Scene(p.pred_boxes, p.cls_logits, p.obj_logits, p.anchor_points, p.strides, *targets)

    assignment = simota(*scene)
    explanation = explain(assignment, *scene)
    by_loop = functools.partial(simota_loop, *scene)  # type: ignore[arg-type]  # the head has objectness
    print(f"{explanation}\n\n{compare(assignment, by_loop())}\n")
    fused, loop = interleaved_medians(lambda: simota(*scene), by_loop)
    print(f"yolox_ops.simota  {fused * 1e3:8.3f} ms for {len(batch.images)} x {len(p.strides)} anchors")
    print(f"plain torch loop  {loop * 1e3:8.3f} ms, {loop / fused:.1f} times as long on these small images")

    explanation.draw(batch.images, path, class_names=[f"digit {d}" for d in range(10)])


def compare(assignment: Assignment, expected: Assignment) -> str:
    """Says how the op and the loop agree. Where costs nearly tie, float32 rounding may part them; past 1 positive in
    1000 it is an error, which ends the program."""
    positive = assignment.fg_mask | expected.fg_mask  # [B, N]
    same = assignment.matched_gt == expected.matched_gt
    same &= (assignment.matched_iou - expected.matched_iou).abs() < 1e-5
    total, different = int(positive.sum()), int((~same).sum())
    if 1000 * different > total:
        raise SystemExit(f"simota and the plain torch loop disagree: {different} of {total} positives differ")
    return f"simota and the plain torch loop agree: {different} of {total} positives differ"


def interleaved_medians(*calls: Callable[[], object], warmups: int = 3, rounds: int = 20) -> list[float]:
    """Median seconds of each call. Taken in turn, they share whatever else the machine is doing."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(warmups + rounds):
        for call, taken in zip(calls, times, strict=True):
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[warmups:]) for taken in times]


def synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
