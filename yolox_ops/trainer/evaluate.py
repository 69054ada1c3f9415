"""A model's detections on a data set as COCO results, and COCO's average precision of them."""

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from yolox_ops._check import check_eval
from yolox_ops.trainer.clock import now
from yolox_ops.trainer.data.loader import loader
from yolox_ops.trainer.data.sample import Dataset
from yolox_ops.trainer.frames import Frame, Record, as_input, to_records
from yolox_ops.yolox.detections import detect
from yolox_ops.yolox.model import YOLOX


class AveragePrecision(NamedTuple):
    """COCO's twelve numbers, from 0 to 1; NaN where the ground truth has no object of that size, or none at all.

    Attributes:
        ap: average precision, mean over IoU 0.50:0.05:0.95, classes and recall, of 100 detections an image.
        ap50, ap75: at IoU 0.50 and 0.75.
        ap_small, ap_medium, ap_large: of objects below 32^2 pixels, up to 96^2, and above.
        ar1, ar10, ar100: average recall of 1, 10 and 100 detections an image.
        ar_small, ar_medium, ar_large: ar100 by size.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float


def evaluate(
    model: YOLOX, dataset: Dataset, *, indices: Sequence[int] | None = None, **options: Any
) -> dict[str, AveragePrecision]:
    """Average precision on a data set, by NMS method.

    Args:
        model: in eval mode, with the classes of the data set.
        indices: of the samples; None: all.
        options: of predict_records, height and width among them.

    Raises:
        What predict_records raises.
    """
    indices = range(len(dataset)) if indices is None else indices
    records = predict_records(model, dataset, indices, **options)
    coco, image_ids = dataset.coco(), [dataset.image_ids[i] for i in indices]
    return {method: average_precision(coco, found, image_ids) for method, found in records.items()}


@torch.no_grad()
def predict_records(
    model: YOLOX,
    dataset: Dataset,
    indices: Sequence[int],
    *,
    height: int,
    width: int,
    batch: int = 8,
    device: torch.device | str | None = None,
    methods: Sequence[str] = ("hard",),
    amp: bool = False,
    workers: int = 0,
    progress: bool = False,
    seconds: dict[str, float] | None = None,
    **options: Any,
) -> dict[str, list[Record]]:
    """COCO results of each NMS method, all of the same forward passes.

    Args:
        model: in eval mode, with the classes of the data set.
        indices: of the samples. Processes that share a data set take some each, and join their lists.
        height, width: of the canvas on which each image is letterboxed, multiples of 32.
        batch: images at once.
        device: where the model is; None: found out.
        methods: of NMS, as in `detect`.
        amp: run the model under autocast, in the device's usual dtype.
        workers: processes that read images; 0: this one reads.
        progress: show a bar where stderr is a terminal.
        seconds: each method's seconds of NMS are added to it.
        options: of `detect`: score_threshold, iou_threshold, sigma, class_agnostic, and max_detections, of
            which COCO counts 100.

    Raises:
        ValueError: the model is in training mode, the data set has not as many classes as the model, or what
            model.raw and detect raise.
    """
    check_eval("model", model)
    weight = next(model.parameters())
    device = torch.device(device) if device is not None else weight.device
    batches = loader(_Frames(dataset, indices, height, width), workers, batch_size=batch, collate_fn=list)
    records: dict[str, list[Record]] = {method: [] for method in methods}
    for frames in tqdm(batches, "detect", unit="batch", disable=None if progress else True):
        images = as_input(frames, device, weight.dtype)
        with torch.autocast(device.type, enabled=amp):
            predictions = model.raw(images)
        classes = len(dataset.category_ids), predictions.cls_logits.shape[-1]
        if classes[0] != classes[1]:
            raise ValueError(f"dataset must have the classes of the model, got {classes[0]} and {classes[1]}")
        for method, found in records.items():
            if seconds is not None and method not in seconds:
                detect(predictions, method=method, **options)  # what a first call loads and compiles is not its speed
                seconds[method] = 0.0
            start = now(device)
            detections = detect(predictions, method=method, **options)
            if seconds is not None:
                seconds[method] += now(device) - start
            found += to_records(detections, frames, dataset.category_ids)
    return records


def average_precision(
    coco: dict[str, Any], records: Sequence[Record], image_ids: Sequence[int] | None = None
) -> AveragePrecision:
    """COCO's numbers of some results, by pycocotools. Without any result they are 0.

    Args:
        coco: the ground truth in COCO's format. It is not changed.
        records: of predict_records.
        image_ids: evaluate these images only; None: all in coco.

    Raises:
        ValueError: a record is of an image that is not evaluated.
    """
    image_ids = [image["id"] for image in coco["images"]] if image_ids is None else image_ids
    strange = {record["image_id"] for record in records}.difference(image_ids)
    if strange:
        raise ValueError(f"records must be of the images that are evaluated, got image_id {sorted(strange)[0]}")
    # Not by COCO.loadRes, which fails on an empty list. An id of 0 would be no match to pycocotools.
    results = [
        {**record, "id": number, "area": record["bbox"][2] * record["bbox"][3]}
        for number, record in enumerate(records, 1)
    ]
    annotations = [dict(annotation) for annotation in coco["annotations"]]  # COCOeval writes into them
    with contextlib.redirect_stdout(io.StringIO()):  # its progress
        evaluation = COCOeval(_index(coco, annotations), _index(coco, results), "bbox")
        evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return AveragePrecision(*(math.nan if value < 0 else float(value) for value in evaluation.stats))


def _index(coco: dict[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    index = COCO()
    index.dataset = {**coco, "annotations": annotations}
    index.createIndex()
    return index


class _Frames(torch.utils.data.Dataset):
    """The letterboxed images of some samples, for a loader."""

    def __init__(self, dataset: Dataset, indices: Sequence[int], height: int, width: int) -> None:
        self.dataset, self.indices, self.size = dataset, indices, (height, width)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Frame:
        index = self.indices[position]
        return Frame.of(self.dataset[index].image, *self.size, self.dataset.image_ids[index])
