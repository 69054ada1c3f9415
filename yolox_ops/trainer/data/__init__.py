"""Images and objects, from files or drawn, as batches to train on. Importing it takes OpenCV and NumPy."""

from yolox_ops.trainer.data.coco import CocoDataset
from yolox_ops.trainer.data.report import Report
from yolox_ops.trainer.data.sample import Batch, Dataset, Sample, collate

__all__ = ["Batch", "CocoDataset", "Dataset", "Report", "Sample", "collate"]
