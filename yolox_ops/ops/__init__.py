"""The ops. Importing this or any page in it loads the compiled kernels and registers every op with torch."""

import importlib
from pathlib import Path

from yolox_ops import _library

for _page in sorted(Path(__file__).parent.glob("[!_]*.py")):
    importlib.import_module(f"yolox_ops.ops.{_page.stem}")
_library.register_cuda()
