"""NMS and soft-NMS by other people's packages. Each entry takes boxes [N, 4] as whole-pixel corners, scores [N] and
labels [N] (or None for one label), NumPy arrays, and the method; it imports its package and gives what to time, which
gives `kept`."""

from collections.abc import Callable

import numpy as np

Run = Callable[[], np.ndarray]


def opencv(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None, method: str, floor: float = 1e-3) -> Run:
    """Indices of what is kept, a score above `floor`, at 0.3 and sigma 0.5. Raises ValueError for soft-NMS of several
    labels, which OpenCV has not."""
    import cv2

    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    scores = scores.astype(np.float32)
    if method == "hard":
        if labels is None:
            return lambda: cv2.dnn.NMSBoxes(sizes, scores, floor, 0.3).ravel()
        return lambda: cv2.dnn.NMSBoxesBatched(sizes, scores, labels, floor, 0.3).ravel()
    if labels is not None:
        raise ValueError("labels must be None, OpenCV has no soft-NMS by label")
    whole = sizes.astype(np.int32)
    code = getattr(cv2.dnn, f"SOFT_NMSMETHOD_SOFTNMS_{method.upper()}")
    return lambda: cv2.dnn.softNMSBoxes(whole, scores, floor, 0.3, 0, 0.5, code)[1].ravel()


def ensemble(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray | None, method: str) -> Run:
    """The boxes [K, 4] that are kept, in float64 and scaled into [0, 1] by 1 / 1024, label after label; it gives no
    indices. Linear at 0.3, gaussian with sigma 0.5."""
    import ensemble_boxes

    scaled, wide = boxes.astype(np.float64) / 1024, scores.astype(np.float64)
    labels = np.zeros(len(boxes)) if labels is None else labels
    code = {"linear": 1, "gaussian": 2, "hard": 3}[method]
    return lambda: ensemble_boxes.soft_nms([scaled], [wide], [labels], method=code, iou_thr=0.3, sigma=0.5)[0]
