import numpy as np

def pairwise_iou(boxes1: np.ndarray, boxes2: np.ndarray, fmt: str, kind: str) -> np.ndarray: ...
def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray | None,
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    max_detections: int,
    fmt: str,
    inclusive: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
def allowed_threads() -> int: ...
