"""A model's detections in image files: drawn, and as JSON."""

import glob
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from tqdm import tqdm

from yolox_ops._check import check_eval
from yolox_ops._files import written_whole
from yolox_ops.trainer.data.image import read_image
from yolox_ops.trainer.drawing import draw
from yolox_ops.trainer.frames import Frame, Record, as_input, to_records
from yolox_ops.yolox.detections import detect
from yolox_ops.yolox.model import YOLOX

LONGEST_STEM = 230  # bytes; file systems have 255 for a name, and _detections_1234.png is to follow


class Predicted(NamedTuple):
    """What became of some files.

    Attributes:
        images: how many were drawn.
        detections: how many there are in them.
        refused: of each file that is no image: its name, and why.
    """

    images: int
    detections: int
    refused: list[str]


def find_files(inputs: Sequence[str]) -> list[Path]:
    """The files that are meant, each once: an image, the files of a folder (not of folders in it), or those of a glob,
    where ** stands for any folders.

    Raises:
        FileNotFoundError: an input means no file.
    """
    files: dict[Path, Path] = {}
    for text in inputs:
        path = Path(text)
        candidates = (
            path.iterdir() if path.is_dir() else [path] if path.exists() else map(Path, glob.glob(text, recursive=True))
        )
        found = sorted(candidate for candidate in candidates if candidate.is_file())
        if not found:
            raise FileNotFoundError(f"an input must be an image, a folder or a glob with files, got {text!r}")
        for file in found:
            files.setdefault(file.resolve(), file)
    return list(files.values())


@torch.no_grad()
def predict(
    model: YOLOX,
    files: Sequence[Path],
    out: Path,
    *,
    class_names: Sequence[str],
    height: int,
    width: int,
    score_threshold: float = 0.3,
    progress: bool = False,
    **options: Any,
) -> Predicted:
    """Writes <stem>_detections.png for each file that is an image, and detections.json, into one folder.

    A second file of one stem becomes <stem>_detections_2.png, and so on, and a stem too long for that is cut; no input
    is overwritten, what is left of an earlier run is. Drawings of small images are enlarged, by a whole number, for
    their labels to be read. Images are turned as their EXIF data says.

    detections.json is {"images": [{"id", "file_name", "drawing", "height", "width"}], "categories": [{"id", "name"}],
    "detections": [{"image_id", "category_id", "bbox", "score"}]}. file_name is the file as it was given, drawing a name
    in the folder, height and width pixels of the image once turned; a category's id is its position in class_names;
    "detections" are COCO results, with bbox [x, y, width, height] in those pixels.

    Args:
        model: in eval mode.
        files: images of any size that OpenCV reads; others are reported and passed over, and cost nothing else.
        out: the folder, made if it is not there.
        class_names: one for each class of the model.
        height, width: of the canvas on which each image is letterboxed, multiples of 32.
        score_threshold: detections below it are left out.
        progress: show a bar where stderr is a terminal.
        options: of `detect`, others than score_threshold.

    Raises:
        ValueError: no file is an image, the model is in training mode or of another number of classes, or what
            model.raw and detect raise. OSError: a file cannot be written.
    """
    check_eval("model", model)
    weight = next(model.parameters())
    taken = {path for file in files for path in (file.resolve(), file.parent.resolve() / file.name)}
    images: list[dict[str, Any]] = []
    detections: list[Record] = []
    refused = []
    for file in tqdm(files, "predict", unit="image", disable=None if progress else True):
        try:
            image = read_image(file, turn=True)
        except (OSError, ValueError) as error:
            refused.append(f"{file}: {error}")
            continue
        frame = Frame.of(image, height, width, len(images) + 1)
        predictions = model.raw(as_input([frame], weight.device, weight.dtype))
        if predictions.cls_logits.shape[-1] != len(class_names):
            counts = predictions.cls_logits.shape[-1], len(class_names)
            raise ValueError(f"class_names must name the model's {counts[0]} classes, got {counts[1]}")
        found = detect(predictions, score_threshold=score_threshold, **options)
        records = to_records(found, [frame], range(len(class_names)))
        whole, png = cv2.imencode(".png", draw(image, records, class_names))
        if not whole:
            fact = f"got {list(image.shape[:2])}"
            refused.append(f"{file}: its drawing must have sides of a PNG, 1000000 at most, {fact}")
            continue
        drawing = _free_path(out, f"{_cut(file.stem)}_detections", taken)
        with written_whole(drawing) as temporary:
            temporary.write_bytes(png.tobytes())
        size = {"height": image.shape[0], "width": image.shape[1]}
        images.append({"id": frame.image_id, "file_name": str(file), "drawing": drawing.name, **size})
        detections += records
    if not images:
        facts = "; ".join(refused[:3])
        raise ValueError(f"one file at least must be an image, got {len(files)} of other kinds, such as {facts}")
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names)]
    if (out / "detections.json").resolve() in taken:
        raise ValueError(f"{out / 'detections.json'} must not be an input, for it is written")
    with written_whole(out / "detections.json") as temporary:
        content = {"images": images, "categories": categories, "detections": detections}
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False))
    return Predicted(len(images), len(detections), refused)


def _cut(stem: str) -> str:
    data = os.fsencode(stem)
    return stem if len(data) <= LONGEST_STEM else data[:LONGEST_STEM].decode(errors="ignore")


def _free_path(folder: Path, stem: str, taken: set[Path]) -> Path:
    """The first of stem.png, stem_2.png, ... in the folder that is not taken, which it now is."""
    names = (f"{stem}.png" if number == 1 else f"{stem}_{number}.png" for number in itertools.count(1))
    path = next(path for name in names if (path := folder.resolve() / name) not in taken)
    taken.add(path)
    return folder / path.name
