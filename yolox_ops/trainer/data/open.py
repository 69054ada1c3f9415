"""Data sets by the words of the command line."""

from collections.abc import Sequence

from yolox_ops.trainer.data.coco import CocoDataset
from yolox_ops.trainer.data.digits import Digits
from yolox_ops.trainer.data.sample import Dataset


def open_dataset(
    data: str,
    images: str | None = None,
    *,
    split: str,
    on_bad: str = "skip",
    class_names: Sequence[str] | None = None,
    height: int = 160,
    width: int = 160,
    count: int = 400,
) -> Dataset:
    """The data set that `data` names.

    Args:
        data: "digits", or the path of a JSON file in COCO's format.
        images: the folder of its images; None: that of the file.
        split: "train" or "val", of the digits.
        on_bad, class_names: of CocoDataset.
        height, width, count: of the digits: pixels, and how many images.

    Raises:
        What Digits or CocoDataset raises.
    """
    if data != "digits":
        return CocoDataset(data, images, on_bad=on_bad, class_names=class_names)
    return Digits(split, images=count, height=height, width=width)
