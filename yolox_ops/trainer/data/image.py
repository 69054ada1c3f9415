"""An image file as pixels, or an error that says why not."""

import os
import re

import cv2
import numpy as np

from yolox_ops._files import read_regular

MOST_BYTES = 2**31 - 1  # of a file that OpenCV decodes
_MARKER = re.compile(rb"\xff+([^\xff])(..)?", re.DOTALL)  # of a JPEG, with what is a header's length


def read_image(path: str | os.PathLike, *, turn: bool = False) -> np.ndarray:
    """[H, W, 3] uint8, BGR, as the file stores the pixels, or turned as its EXIF orientation says.

    Of several pictures in a file it is the first. Grey becomes three equal channels, alpha is dropped, and of 16 bits
    the upper 8 are kept. No image takes more than the 2^30 pixels (3 GiB) that OpenCV allows.

    Raises:
        OSError: the file cannot be read. ValueError: it is no whole image that OpenCV reads.
    """
    data = read_regular(path, MOST_BYTES)
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
    offset = 2
    while (marker := _MARKER.match(jpeg, offset)) and marker[1] != b"\xda":
        offset = marker.end(1) + int.from_bytes(marker[2] or b"\0\2", "big")
    return jpeg.find(b"\xff\xd9", offset) >= 0
