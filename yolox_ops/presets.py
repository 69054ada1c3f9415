"""Rules of label assignment by the names of the codes that have them: simota(..., **PRESETS["mmdet"])."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


def _read_only(rules: dict[str, dict[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """What one part of a program did to a rule would hold in all others."""
    return MappingProxyType({name: MappingProxyType(rule) for name, rule in rules.items()})


# The rule of the 2021 releases of Megvii's YOLOX, from which mmdetection and PaddleDetection took theirs.
_RELEASE = {"candidates": "box_or_center", "center_radius": 2.5, "outside_penalty": 1e5}

PRESETS: Mapping[str, Mapping[str, Any]] = _read_only(
    {
        # Megvii-BaseDetection/YOLOX since January 2023, yolox/models/yolo_head.py, get_assignments; simota's default.
        "yolox": {"candidates": "center", "center_radius": 1.5, "outside_penalty": 1e6},
        # The package yolox 0.3.0 of PyPI, the same file, get_assignments and get_in_boxes_info.
        "yolox-0.3": _RELEASE,
        # mmdet 3.3.0, mmdet/models/task_modules/assigners/sim_ota_assigner.py, SimOTAAssigner.
        "mmdet": {**_RELEASE, "iou_eps": 1e-7},
        # PaddleDetection 2.6.0, ppdet/modeling/assigners/simota_assigner.py, SimOTAAssigner with use_vfl=False.
        "paddle": {**_RELEASE, "outside_penalty": 1e8, "iou_eps": 1e-7},
        # gmongaras/YOLOX_From_Scratch and its articles: 5^2 pixels as radius, lambda = 3, q = 20, k rounded. Theirs are
        # also 1 - GIoU and focal loss as costs, which the kernels do not have.
        "from-scratch": {
            "candidates": "all",
            "center_radius": 25.0,
            "outside_penalty": 1e5,
            "topk": 20,
            "k_rounding": "nearest",
        },
    }
)
