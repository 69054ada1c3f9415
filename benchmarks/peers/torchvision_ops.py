"""torchvision beside a CPU build of torch: its library of compiled ops does not load, but what is plain torch runs."""

import importlib.util
import sys
import types

import torch

# torchvision asks for these when it is imported, in order to describe their shapes to torch.compile.
OPS = ["nms", "qnms", "roi_align", "qroi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"]
OPS += [f"_{op}_backward" for op in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")]
_schemas = torch.library.Library("torchvision", "FRAGMENT")  # defined as long as this lives


def installed() -> bool:
    return "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is not None


def import_torchvision() -> types.ModuleType:
    """The package as PyPI has it. Its compiled ops are names without a kernel: calling one raises
    NotImplementedError. ModuleNotFoundError where it is not installed."""
    for op in OPS:
        if not hasattr(torch.ops.torchvision, op):
            _schemas.define(f"{op}(Tensor x) -> Tensor")
    import torchvision
    import torchvision.ops

    return torchvision
