"""How many registers a thread has: what ptxas makes of PTX, asked once and kept in build/ptx/registers/."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.ptx.build import OUTPUT

ENTRY = r"Compiling entry function '(\w+)' for '\w+'\n(?:.*\n)*?.*Used (\d+) registers"


def find_ptxas() -> str:
    """The toolkit's, which knows nvcc's PTX; else Triton's."""
    found = shutil.which("ptxas")
    if found is None:
        import triton

        found = str(Path(triton.__file__).parent / "backends/nvidia/bin/ptxas")
    return found


def registers_of(ptx: str) -> dict[str, int]:
    """By the kernel's name in the text."""
    kept = OUTPUT / "registers" / f"{hashlib.sha256(ptx.encode()).hexdigest()}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    target = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)
    assert target is not None, "PTX without a target"
    command = [find_ptxas(), "-v", f"-arch={target[1]}", "-o", "/dev/null", "-"]
    report = subprocess.run(command, input=ptx, capture_output=True, text=True, check=True).stderr
    found = {name: int(count) for name, count in re.findall(ENTRY, report)}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found))
    return found
