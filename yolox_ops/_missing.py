"""What to do where a compiled library is missing."""

from pathlib import Path

HOW = "build it with `pip install .` (or `pip install --no-build-isolation -e .`) in the yolox_ops checkout"
if (Path(__file__).parents[1] / "setup.py").is_file():
    HOW = "Python found the sources here, not an install: run it from another folder, or `pip install -e .` here"
