"""`yolox-ops demo`: trains a detector of handwritten digits on the ops, and shows what it learned and how."""

import statistics
from pathlib import Path

import torch

from yolox_ops import simota
from yolox_ops._files import held
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.data.sample import collate
from yolox_ops.trainer.demo.assign import show_assignment
from yolox_ops.trainer.demo.detections import draw_detections
from yolox_ops.trainer.evaluate import evaluate
from yolox_ops.trainer.train.log import read
from yolox_ops.trainer.train.plots import draw_curves
from yolox_ops.trainer.train.ranks import joined
from yolox_ops.trainer.train.recipe import digits_recipe
from yolox_ops.trainer.train.trainer import Trainer
from yolox_ops.trainer.train.watch import Watched
from yolox_ops.yolox.checkpoint import open_model

SIZE = 160
METHODS = ("hard", "linear", "gaussian")


def run(out: Path, *, seed: int, device: str, epochs: int, count: int, val_count: int) -> None:
    """Trains YOLOX-Nano for `epochs` of `count` images; evaluates it on `val_count` with scans it never saw."""
    train = Digits("train", images=count, height=SIZE, width=SIZE, seed=seed)
    val = Digits("val", images=val_count, height=SIZE, width=SIZE, seed=seed)
    recipe = digits_recipe(epochs=epochs, seed=seed, height=SIZE, width=SIZE)
    assigner = Watched(simota)
    with held(out), joined(device) as ranks:
        trainer = Trainer(recipe, train, val, out, ranks=ranks, workers=0, assigner=assigner)
        trainer.run()
    model, _ = open_model(out / "best.pt")
    model = model.to(device)

    by_objects = sorted(map(train.__getitem__, range(min(16, count))), key=lambda sample: len(sample.labels))
    batch = collate([*by_objects[:-4:-1], by_objects[0]])  # three crowded images, and an empty one if there is one
    with torch.no_grad():
        predictions = trainer.learner.model.eval().raw(batch.images.to(device, torch.float32))
    show_assignment(batch, predictions, out / "assign.png")
    print()

    precision = evaluate(model, val, height=SIZE, width=SIZE, methods=METHODS)
    print(f"{len(val)} images with scans that training never saw:")
    for method, ap in precision.items():
        print(f"  {method:8} NMS  AP {ap.ap:.3f}  AP50 {ap.ap50:.3f}  AP75 {ap.ap75:.3f}")
    step = statistics.median(row["seconds_per_step"] for row in read(out / "steps.csv"))
    assignment = statistics.median(assigner.seconds)
    share = f"{assignment * 1e3:.2f} ms of it ({assignment / step:.2%}) in simota"
    print(f"a step of {recipe.batch} images takes {step * 1e3:.0f} ms, {share}")
    with torch.no_grad():
        draw_detections(model, val, out / "detections.png")
    draw_curves(out)
    print(f"wrote assign.png, detections.png and curves.png to {out}")
