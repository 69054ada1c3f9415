"""The records of a JSON in COCO's format (https://cocodataset.org/#format-data), and what can be wrong with one."""

import json
import math
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeGuard

from yolox_ops._arguments import short_repr
from yolox_ops._files import read_regular

SECTIONS = ("images", "annotations", "categories")
MOST_PIXELS = 2**30  # of an image that OpenCV reads
FAR = 2**31  # pixels; a bbox with such a number means no place in an image

Fault = tuple[str, str]  # a kind of Report, and what is wrong in words


class Repeating(dict):
    """An object of the JSON that has a key twice, of which one value is lost."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        self.fault = f"must have each key once, got {short_repr(key)} again"


def read_sections(path: str) -> dict[str, list]:
    """The whole file, of which only the sections' own types are checked. Raises ValueError for those, OSError."""
    try:
        data = read_regular(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        content = json.loads(data, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # of the syntax, the encoding or a number; lists in lists without end
        raise ValueError(f"{path} must be JSON, got {error if data.strip() else 'an empty file'}") from error
    if not isinstance(content, dict) or not content.keys() >= set(SECTIONS):
        got = list(content) if isinstance(content, dict) else content
        raise ValueError(f"{path} must be an object with images, annotations and categories, got {short_repr(got)}")
    if isinstance(content, Repeating):
        raise ValueError(f"{path} {content.fault}")
    for section in SECTIONS:
        if not isinstance(content[section], list):
            raise ValueError(f"{path}: {section} must be a list, got {short_repr(content[section])}")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeating(pairs)


def category_ids(path: str, records: list) -> dict[str, int]:
    """The id of each category's name, by id. Raises ValueError: there is none, or one is not distinct."""
    ids: dict[str, int] = {}
    taken: set[int] = set()
    for number, record in enumerate(records):
        where = f"{path}: {name_record('categories', number, record)}"
        name, category_id = (record.get("name"), record.get("id")) if isinstance(record, dict) else (None, None)
        if not isinstance(name, str) or not is_integer(category_id):
            raise ValueError(f"{where} must be an object with an integer id and a name, got {short_repr(record)}")
        if isinstance(record, Repeating):
            raise ValueError(f"{where} {record.fault}")
        if not is_id(category_id):
            raise ValueError(f"{where} must have an id of 64 bits, got {short_repr(category_id)}")
        if name in ids or category_id in taken:
            raise ValueError(f"{where} must have an id and a name of its own, got {short_repr(record)}")
        ids[name] = category_id
        taken.add(category_id)
    if not ids:
        raise ValueError(f"{path}: categories must be one or more, got none")
    return dict(sorted(ids.items(), key=lambda item: item[1]))


def distinct(class_names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
        raise TypeError(f"class_names must be a sequence of names, got {short_repr(class_names)}")
    if len(set(class_names)) < len(class_names):
        raise ValueError(f"class_names must be distinct, got {short_repr(class_names)}")
    return tuple(class_names)


def name_record(section: str, number: int, record: object) -> str:
    """The record in words: "images[3] (id 7, 'a.jpg')"."""
    facts = []
    if isinstance(record, dict):
        facts += [f"id {short_repr(record['id'])}"] if "id" in record else []
        facts += [short_repr(record["file_name"])] if "file_name" in record else []
    return f"{section}[{number}]" + (f" ({', '.join(facts)})" if facts else "")


def image_fault(record: Any, known: Collection[int], folder: str) -> Fault | None:
    """What is wrong with the record of an image that follows those of the `known` ids; a file need only be there."""
    if not isinstance(record, dict):
        return "image_fields", f"must be an object, got {short_repr(record)}"
    if isinstance(record, Repeating):
        return "image_fields", record.fault
    image_id, name = record.get("id"), record.get("file_name")
    size: list[Any] = [record.get("width"), record.get("height")]
    if not is_id(image_id):
        return "image_fields", f"id must be an integer of 64 bits, got {short_repr(image_id)}"
    if not isinstance(name, str) or not name:
        return "image_fields", f"file_name must be a name, got {short_repr(name)}"
    if not all(is_integer(side) and side > 0 for side in size) or math.prod(size) > MOST_PIXELS:
        return "image_fields", f"width and height must be positive, 2^30 pixels in all at most, got {short_repr(size)}"
    if image_id in known:
        return "image_id_taken", f"id must not be that of an image before it, got {image_id}"
    if os.path.isabs(name) or ".." in name.split("/"):
        return "image_outside", f"file_name must lie in {folder}, got {short_repr(name)}"
    if not os.path.isfile(os.path.join(folder, name)):
        return "image_missing", f"file_name must be a file in {folder}, got none there"
    return None


def annotation_fault(
    record: Any, images: Collection[int], skipped: Collection[int], labels: Mapping[int, int | None]
) -> Fault | None:
    """What is wrong with the record of an annotation, but for where its bbox lies.

    Args:
        images, skipped: ids of images that can be used, and of those that cannot.
        labels: of each category's id; None: it is not among the classes.
    """
    if not isinstance(record, dict):
        return "annotation_fields", f"must be an object, got {short_repr(record)}"
    if isinstance(record, Repeating):
        return "annotation_fields", record.fault
    image_id, category_id, bbox = record.get("image_id"), record.get("category_id"), record.get("bbox")
    if not is_integer(image_id) or (image_id not in images and image_id not in skipped):
        return "unknown_image", f"image_id must be that of a listed image, got {short_repr(image_id)}"
    if image_id not in images:
        return "skipped_image", f"image_id must be that of a usable image, got {image_id}"
    if not is_integer(category_id) or category_id not in labels:
        return "unknown_category", f"category_id must be that of a listed category, got {short_repr(category_id)}"
    if labels[category_id] is None:
        return "other_class", f"category_id must be that of a name in class_names, got {category_id}"
    if record.get("iscrowd", 0) not in (0, 1):
        return "annotation_fields", f"iscrowd must be 0 or 1, got {short_repr(record['iscrowd'])}"
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(v) and abs(v) < FAR for v in bbox):
        return "bbox", f"bbox must be [x, y, width, height], each finite and below 2^31, got {short_repr(bbox)}"
    if bbox[2] <= 0 or bbox[3] <= 0:
        return "no_size", f"bbox must have a positive width and height, got {bbox}"
    return None


def is_area(value: object) -> bool:
    return _is_number(value) and 0 < value < FAR**2


def is_id(value: object) -> TypeGuard[int]:
    return is_integer(value) and -(2**63) <= value < 2**63  # pycocotools sorts them by NumPy


def is_integer(value: object) -> TypeGuard[int]:
    return type(value) is int  # True is none


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float)
