"""Why an assignment came out as it did: `explain`, and what it returns."""

from yolox_ops.explanation.explain import Explanation
from yolox_ops.explanation.table import ExplainedGT, ExplainedImage

__all__ = ["ExplainedGT", "ExplainedImage", "Explanation"]
