"""An image on a canvas of another size, its aspect ratio kept."""

import cv2
import numpy as np

FILL = 114  # the grey that Megvii's models know as "no image"


def letterbox(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """The image as large as the canvas holds, at its top left; the rest is FILL.

    Args:
        image: [h, w, 3] uint8.
        height, width: pixels of the canvas.

    Returns:
        canvas [height, width, 3] uint8, and the ratio by which coordinates in the image become those in the canvas.
    """
    h, w = image.shape[:2]
    ratio = min(height / h, width / w)
    rows, columns = max(int(h * ratio), 1), max(int(w * ratio), 1)
    canvas = np.full((height, width, 3), FILL, np.uint8)
    canvas[:rows, :columns] = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return canvas, ratio
