"""What the trained detector finds in images that it never saw, as one picture."""

from pathlib import Path

import cv2
import numpy as np

from yolox_ops._files import written_whole
from yolox_ops.trainer.data.sample import Dataset
from yolox_ops.trainer.drawing import draw
from yolox_ops.trainer.frames import Frame, as_input, to_records
from yolox_ops.yolox.detections import detect
from yolox_ops.yolox.model import YOLOX

ROWS, COLUMNS = 2, 4


def draw_detections(model: YOLOX, dataset: Dataset, path: Path) -> None:
    """Writes the first images of a data set side by side, each as large as the model's input, with detections of 0.3
    or more."""
    height, width = dataset[0].image.shape[:2]
    frames = [Frame.of(dataset[i].image, height, width, i) for i in range(min(ROWS * COLUMNS, len(dataset)))]
    weight = next(model.parameters())
    found = detect(model.raw(as_input(frames, weight.device, weight.dtype)), score_threshold=0.3)
    records = to_records(found, frames, range(len(dataset.class_names)))
    cells = []
    for frame in frames:
        mine = [record for record in records if record["image_id"] == frame.image_id]
        picture = draw(frame.canvas, mine, dataset.class_names)
        cells.append(cv2.copyMakeBorder(picture, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
    with written_whole(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())
