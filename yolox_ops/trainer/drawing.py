"""Detections as a picture."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from yolox_ops.explanation.palette import COLORS
from yolox_ops.trainer.frames import Record

FONT = cv2.FONT_HERSHEY_SIMPLEX  # OpenCV 5 has letters of many scripts in it, OpenCV 4 those of ASCII
SMALLEST = 480  # pixels of a drawing's longer side, for labels to be read
Corners = tuple[int, int, int, int]  # left, top, right, bottom


def draw(image: np.ndarray, records: Sequence[Record], class_names: Sequence[str]) -> np.ndarray:
    """A copy of the image, enlarged by a whole number if it is small, with boxes, class names and scores.

    Args:
        image: [H, W, 3] uint8, BGR.
        records: of `to_records`, with a class's position for its category.
        class_names: one for each class.
    """
    zoom = -(-SMALLEST // max(image.shape[:2]))
    canvas = image.repeat(zoom, 0).repeat(zoom, 1)
    side = max(canvas.shape[:2])
    line, scale = max(2, round(side / 400)), max(0.5, side / 1600)
    boxes = []
    ranked = sorted(records, key=lambda record: -record["score"])
    for record in ranked:
        x, y, w, h = (zoom * number for number in record["bbox"])
        boxes.append((round(x), round(y), round(x + w), round(y + h)))
    for record, (left, top, right, bottom) in reversed(list(zip(ranked, boxes, strict=True))):  # the best on top
        for shade, thickness in (((0, 0, 0), line + 2), (_color(record), line)):  # a dark hull, for bright grounds
            cv2.rectangle(canvas, (left, top), (right, bottom), shade, thickness)
    labels: list[Corners] = []
    for record, box in zip(ranked, boxes, strict=True):
        name = class_names[record["category_id"]].encode(errors="replace").decode()  # OpenCV dies of half a surrogate
        text = f"{name} {record['score']:.2f}"
        (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
        left, top, right, bottom = place_label(box, (width, height + below + line), canvas.shape[:2], labels)
        labels.append((left, top, right, bottom))
        blue, green, red = color = _color(record)
        ink = (255, 255, 255) if 0.3 * red + 0.6 * green + 0.1 * blue < 100 else (0, 0, 0)
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
        cv2.putText(canvas, text, (left, top + height + line // 2), FONT, scale, ink, 1, cv2.LINE_AA)
    return canvas


def _color(record: Record) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(COLORS[record["category_id"] % len(COLORS)][1:])
    return blue, green, red


def place_label(box: Corners, size: tuple[int, int], canvas: tuple[int, ...], labels: Iterable[Corners]) -> Corners:
    """Where a label of size (width, height) goes: above its box, or else inside or below, where no other label is."""
    (width, height), (left, top, _, bottom) = size, box
    left = max(0, min(left, canvas[1] - width))
    tops = [t for t in (top - height, top, bottom, bottom - height) if 0 <= t <= canvas[0] - height] or [0]
    spots = [(left, t, left + width, t + height) for t in tops]
    return next((spot for spot in spots if not any(_meet(spot, other) for other in labels)), spots[0])


def _meet(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
