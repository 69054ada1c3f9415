"""Why an assignment came out as it did: `explain`, and what it returns."""

from yolox_ops.explanation.table import ExplainedGT, ExplainedImage, Explanation

__all__ = ["ExplainedGT", "ExplainedImage", "Explanation"]
