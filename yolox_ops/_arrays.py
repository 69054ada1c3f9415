"""What yolox_ops.numpy takes for an array. Nothing here imports torch."""

from typing import Any

import numpy as np


def as_array(name: str, values: Any) -> np.ndarray:
    """What NumPy makes an array of."""
    # NumPy takes the numbers behind a mask, also of masked arrays in a list.
    parts = values if isinstance(values, (list, tuple)) else [values]
    masked = sum(np.ma.count_masked(part) for part in parts if isinstance(part, np.ma.MaskedArray))
    if masked:
        raise ValueError(f"{name} must have nothing masked, got {masked} masked values")
    kind = type(values).__name__
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, got a {kind} whose parts differ in shape") from error
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} must be an array of numbers, got a {kind} that NumPy cannot read") from error


def as_floats(name: str, values: Any) -> np.ndarray:
    """An array of numbers, float32 or float64 whichever holds them all; where it lies if it may."""
    array = as_array(name, values)
    if not np.can_cast(array.dtype, np.float64):
        raise TypeError(f"{name} must be floats or integers that fit into float64, got {array.dtype}")
    return array


def dense(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array in a dtype, row by row and aligned, itself if it already is."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def wide_dtype(*arrays: np.ndarray) -> Any:
    """The dtype that arithmetic runs in: float64 if an input has numbers that float32 may not hold, else float32."""
    # One by one, as float16 and bfloat16 have no dtype in common.
    widest = [np.result_type(np.float32, array.dtype) for array in arrays]
    return np.float64 if np.float64 in widest else np.float32


def with_rows(boxes: np.ndarray, dims: int) -> np.ndarray:
    """[0, 4] where no boxes are given as [0], or [B, 0, 4] where they are as [B, 0]."""
    return boxes.reshape(*boxes.shape, 4) if boxes.ndim == dims and boxes.shape[-1] == 0 else boxes


def as_integers(labels: Any) -> np.ndarray:
    """Labels as the kernels take them; equal numbers are equal integers."""
    array = as_array("labels", labels)
    if array.dtype.kind in "iu":
        return array
    if not np.can_cast(array.dtype, np.float64):
        raise TypeError(f"labels must be integers, floats or bools, got {array.dtype}")
    return (array.astype(np.float64) + 0.0).view(np.int64)  # -0 becomes 0
