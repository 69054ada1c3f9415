"""Tensors of tests as arrays, and processes that have not loaded torch."""

import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import torch


def array(value):
    """A tensor as an array, whose dtype is ml_dtypes' for bfloat16; all else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.float().numpy().astype(ml_dtypes.bfloat16) if value.dtype == torch.bfloat16 else value.numpy()


def misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(x.tobytes(), np.uint8)
    return raw.view(x.dtype).reshape(x.shape)


def in_a_new_process(code, *options, **environment):
    run = [sys.executable, "-W", "error", *options, "-c", code]
    result = subprocess.run(run, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result
