"""Peers that the benchmarks' environment lacks, and why, for the report."""

import importlib.metadata

# Found out beside torch 2.13.0 (CPU) and Python 3.11, on 2 cores of an AMD EPYC.
REASONS = {
    "mmcv": "PyPI has its source only. With its compiled ops that is 77 files of C++, of which 19 were done after 12 "
    "minutes of one job on a busy machine; three timed alone took 6.5 s of a core each, so 8 minutes for all. "
    "mmcv-lite, which has no compiled ops, serves mmdet",
    "pt_soft_nms": "it is in no registry, only in a git repository",
}
INSTALLED = (
    "pixeltable-yolox",
    "mmdet",
    "mmcv-lite",
    "super-gradients",
    "ultralytics",
    "torchvision",
    "powerboxes",
    "pycocotools",
    "ensemble-boxes",
    "pot",
    "opencv-python-headless",
)


def versions() -> dict[str, str]:
    """Peers that are installed, by the names of PyPI."""
    return {name: found for name in INSTALLED if (found := _version(name)) is not None}


def not_installed() -> dict[str, str]:
    """Peers that are not, with the reason."""
    absent = {name: "requirements/bench.txt is not installed here" for name in INSTALLED if _version(name) is None}
    return absent | {name: reason for name, reason in REASONS.items() if _version(name) is None}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
