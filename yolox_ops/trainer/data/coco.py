"""A folder of images and a JSON in COCO's format that says what is in them."""

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any

import numpy as np

from yolox_ops._arguments import check_choice, short_repr
from yolox_ops._files import BadFile
from yolox_ops.trainer.data.coco_records import (
    annotation_fault,
    category_ids,
    distinct,
    image_fault,
    is_area,
    is_id,
    name_record,
    read_sections,
)
from yolox_ops.trainer.data.image import read_image
from yolox_ops.trainer.data.letterbox import blank
from yolox_ops.trainer.data.report import Report
from yolox_ops.trainer.data.sample import Sample

LARGEST_GREY = 2048  # pixels; a record alone must not make an image of gigabytes


class CocoDataset:
    """The images of a COCO JSON, in its order.

    Nothing is left out in silence: `report` counts it by kind, names records and says what was done. What only reading
    an image shows comes as a warning too, since a DataLoader's worker has a report of its own. Boxes are clipped to
    their image (Megvii moves one that starts left of it or above it); crowds are in no sample.

    Attributes:
        path, folder: the JSON, and where its images are.
        report: what was found, at construction and by this process since.
    """

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        *,
        on_bad: str = "skip",
        class_names: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            annotations: the JSON.
            images: the folder that every file_name is relative to and must not leave; None: that of the JSON. Links in
                it are followed; those that leave it are noted.
            on_bad: "skip": leave bad records out, and put grey in place of an image that cannot be read. "refuse":
                raise for any of these, here or when the image is read.
            class_names: a label is a position in these, which categories match by name: for data that must fit other
                data or a checkpoint. None: the names of the categories, sorted by their ids, as Megvii has them.

        Raises:
            ValueError: the file is not JSON in COCO's format, ids or names of categories or class_names repeat, none of
                them match, no image can be used, or on_bad is "refuse" and a record is bad. TypeError: class_names are
                not names. OSError: the file or the folder cannot be read.
        """
        check_choice("on_bad", on_bad, ("skip", "refuse"))
        self.path, self.on_bad = os.fspath(annotations), on_bad
        self.folder = (os.path.dirname(self.path) or ".") if images is None else os.fspath(images)
        self.report = Report(self.path)
        self._met: set[str] = set()
        sections = read_sections(self.path)
        if not os.path.isdir(self.folder):
            raise NotADirectoryError(f"images must be a folder, got {self.folder}")
        listed = category_ids(self.path, sections["categories"])
        self.class_names = tuple(listed) if class_names is None else distinct(class_names)
        if not set(self.class_names) & listed.keys():
            raise ValueError(f"{self.path} must have a category of class_names, got {short_repr(list(listed))}")
        taken = set(listed.values())
        unused = (number for number in count(1) if number not in taken)  # for a class that this file does not know
        self.category_ids = [listed[name] if name in listed else next(unused) for name in self.class_names]

        skipped = self._read_images(sections["images"])
        label_of = {name: label for label, name in enumerate(self.class_names)}
        labels = {category_id: label_of.get(name) for name, category_id in listed.items()}
        self._read_annotations(sections["annotations"], skipped, labels)
        self.report.images, self.report.objects = len(self), int((~self._crowd).sum())
        if on_bad == "refuse":
            self.report.refuse()
        if not self.image_ids:
            raise ValueError(f"{self.path} must list an image that can be used, got none: {self.report}")

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Sample:
        """The image without its EXIF orientation, for COCO's boxes refer to the stored pixels.

        With "skip" an image that cannot be read is grey, of the recorded size (or of its shape with sides up to
        LARGEST_GREY) and without objects; one of another size than recorded keeps the boxes that reach into it. With
        "refuse" both raise BadFile, a ValueError.
        """
        index = range(len(self))[index]
        width, height = self._sizes[index].tolist()
        rows = np.arange(*self._starts[index : index + 2])
        rows = rows[~self._crowd[rows]]
        try:
            image = read_image(os.path.join(self.folder, self._file_names[index]))
        except (OSError, ValueError) as error:
            self._meet("unreadable", index, str(error), f"it is grey now, without its {len(rows)} objects")
            part = min(1, LARGEST_GREY / max(height, width))
            grey = blank(max(int(height * part), 1), max(int(width * part), 1))
            return Sample(grey, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        boxes, kept = _clip(_corners(self._bboxes[rows]), np.array(image.shape[1::-1]))
        if image.shape[:2] != (height, width):
            fact = f"must be of {width} x {height} pixels, got {image.shape[1]} x {image.shape[0]}"
            self._meet("other_size", index, fact, f"boxes are clipped to that, and {(~kept).sum()} lie outside")
        return Sample(image, boxes[kept], self._labels[rows][kept])

    def coco(self) -> dict[str, Any]:
        """What was kept, as pycocotools takes it: crowds too, each bbox as in the file and not clipped, so that AP is
        that of the file, and the area in the file or else that of the bbox. Annotations have the ids 1, 2, ...:
        pycocotools takes a match with id 0 for none, and files repeat ids or lack them."""
        owners = np.repeat(np.arange(len(self)), np.diff(self._starts)).tolist()
        columns = self._labels.tolist(), self._bboxes.tolist(), self._areas.tolist(), self._crowd.tolist()
        return {
            "images": [
                {"id": image_id, "file_name": name, "width": width, "height": height}
                for image_id, name, (width, height) in zip(
                    self.image_ids, self._file_names, self._sizes.tolist(), strict=True
                )
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": self.image_ids[owner],
                    "category_id": self.category_ids[label],
                    "bbox": bbox,
                    "area": area,
                    "iscrowd": int(crowd),
                }
                for number, (owner, label, bbox, area, crowd) in enumerate(zip(owners, *columns, strict=True), 1)
            ],
            "categories": [
                {"id": category_id, "name": name}
                for category_id, name in zip(self.category_ids, self.class_names, strict=True)
            ],
        }

    def _read_images(self, records: list) -> set[int]:
        """Sets what is kept of the images, and returns the ids of those that are skipped."""
        index_of: dict[int, int] = {}
        numbers: list[int] = []
        skipped: set[int] = set()
        for number, record in enumerate(records):
            fault = image_fault(record, index_of, self.folder)
            if fault is None:
                index_of[record["id"]] = len(numbers)
                numbers.append(number)
            else:
                self._add(fault[0], "images", number, record, fault[1])
                if isinstance(record, dict) and is_id(record.get("id")):
                    skipped.add(record["id"])
        kept = [records[number] for number in numbers]
        self._numbers, self.image_ids = np.array(numbers, np.int64), list(index_of)
        self._file_names = [record["file_name"] for record in kept]
        root = os.path.join(os.path.realpath(self.folder), "")
        real = cache(os.path.realpath)  # of few folders
        for number, record in zip(numbers, kept, strict=True):
            folder, name = os.path.split(os.path.join(self.folder, record["file_name"]))
            path = os.path.join(real(folder), name)
            path = os.path.realpath(path) if os.path.islink(path) else path
            if not path.startswith(root):
                self._add("linked", "images", number, record, f"file_name leads by a link to {short_repr(path)}")
        sizes = [(record["width"], record["height"]) for record in kept]
        self._sizes = np.array(sizes, np.int64).reshape(-1, 2)
        return skipped

    def _read_annotations(self, records: list, skipped: Collection[int], labels: Mapping[int, int | None]) -> None:
        """Sets what is kept of the annotations: those of image i are rows starts[i] to starts[i + 1]."""
        index_of = {image_id: index for index, image_id in enumerate(self.image_ids)}
        numbers = []
        for number, record in enumerate(records):
            fault = annotation_fault(record, index_of, skipped, labels)
            if fault is None:
                numbers.append(number)
            else:
                self._add(fault[0], "annotations", number, record, fault[1])
        kept = [records[number] for number in numbers]
        bboxes = np.array([record["bbox"] for record in kept], np.float64).reshape(-1, 4)
        crowd = np.array([record.get("iscrowd", 0) for record in kept], bool)
        owners = np.array([index_of[record["image_id"]] for record in kept], np.int64)
        corners, sizes = _corners(bboxes), self._sizes[owners]
        boxes, inside = _clip(corners, sizes)
        cut = (corners.astype(np.float32) != boxes).any(1) & ~crowd
        for row in np.flatnonzero(cut | ~inside).tolist():
            away = (corners[row, :2] >= sizes[row]).any() or (corners[row, 2:] <= 0).any()
            kind = "clipped" if inside[row] else "outside" if away else "no_size"
            rule = f"{'have a size' if kind == 'no_size' else 'lie'} in its image of {sizes[row, 0]} x {sizes[row, 1]}"
            self._add(kind, "annotations", numbers[row], kept[row], f"bbox must {rule}, got {kept[row]['bbox']}")
        areas = bboxes[:, 2:].prod(1)
        for row in np.flatnonzero(inside).tolist():
            if crowd[row]:
                self._add("crowd", "annotations", numbers[row], kept[row], "iscrowd is 1")
            if is_area(kept[row].get("area")):
                areas[row] = kept[row]["area"]
            elif "area" in kept[row]:
                fact = f"area must be positive and finite, got {short_repr(kept[row]['area'])}"
                self._add("area", "annotations", numbers[row], kept[row], fact)
        order = np.flatnonzero(inside)
        order = order[np.argsort(owners[order], kind="stable")]
        self._starts = np.searchsorted(owners[order], np.arange(len(self) + 1))
        label = [labels[record["category_id"]] for record in kept]
        self._labels, self._crowd = np.array(label, np.int64)[order], crowd[order]
        self._bboxes, self._areas = bboxes[order], areas[order]

    def _add(self, kind: str, section: str, number: int, record: object, fact: str) -> None:
        self.report.add(kind, f"{name_record(section, number, record)}: {fact}")

    def _meet(self, kind: str, index: int, fact: str, outcome: str) -> None:
        """Something bad in an image that was read: counted once in a process, warned of whenever Python's filters let
        it pass."""
        record = {"id": self.image_ids[index], "file_name": self._file_names[index]}
        example = f"{name_record('images', int(self._numbers[index]), record)}: {fact}"
        if self.on_bad == "refuse":
            raise BadFile(f"{self.path}: {example}")
        if example not in self._met:
            self._met.add(example)
            self.report.add(kind, example)
        warnings.warn(f"{self.path}: {example}; {outcome}", stacklevel=3)


def _corners(bboxes: np.ndarray) -> np.ndarray:
    """[G, 4] xywh -> [G, 4] xyxy."""
    return np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], 1)


def _clip(corners: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [G, 4] in float32, cut to images of `sizes` [2] or [G, 2] (width, height); [G], whether a size is left."""
    boxes = corners.clip(0, np.concatenate([sizes, sizes], -1)).astype(np.float32)
    return boxes, np.all(boxes[:, 2:] > boxes[:, :2], 1)
