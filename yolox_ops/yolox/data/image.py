"""An image file as pixels, or an error that says why not."""

import os

import cv2
import numpy as np


def read_image(path: str | os.PathLike, *, turn: bool = False) -> np.ndarray:
    """[H, W, 3] uint8, BGR, as the file stores the pixels, or turned as its EXIF orientation says.

    Raises:
        OSError: the file cannot be read. ValueError: it is no whole image that OpenCV reads.
    """
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"\xff\xd8") and not _has_end(data):
        raise ValueError("the JPEG must have an end, got a file that was cut off")
    flags = cv2.IMREAD_COLOR if turn else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # of no bytes, or too many pixels
        raise ValueError(f"the file must be an image, got {error.err}") from error
    if image is None:
        raise ValueError("the file must be a whole image that OpenCV reads, got none")
    return image


def _has_end(jpeg: bytes) -> bool:
    """Whether the first scan is followed by an end-of-image marker (ITU-T T.81, B.1.1.2). OpenCV fills what a JPEG
    lacks with grey and tells only the terminal. Headers are stepped over, for one may hold a whole thumbnail."""
    at = 2
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] not in (b"\xda", b""):
        at += 1 if jpeg[at + 1] == 0xFF else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg.find(b"\xff\xd9", at) >= 0
