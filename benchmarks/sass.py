"""What ptxas makes of a kernel's innermost loop: instructions of the machine itself, which PTX only stands for."""

import re
import subprocess
import tempfile
from pathlib import Path

from tests.ptx.registers import find_ptxas

LABEL = re.compile(r"(\.L_x_\d+):")
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(.*?);")
BRANCH = re.compile(r"\bBRA\b.*?(\.L_x_\d+)")
STORE = "STG.E.128"
PAIRS_OF_STORE = 4


def instructions_per_pair(ptx: str, kernel: str) -> float:
    """Of the shortest loop that stores four float32 pairs at a time, in the one kernel whose name has `kernel`."""
    loops = [loop for loop in loops_of(disassemble(ptx, kernel)) if any(STORE in line for line in loop)]
    if not loops:
        raise ValueError(f"no loop of {kernel} stores 16 bytes at a time")
    return min(len(loop) / (PAIRS_OF_STORE * sum(STORE in line for line in loop)) for loop in loops)


def disassemble(ptx: str, kernel: str) -> str:
    import triton

    names = re.findall(rf"\.entry\s+(\w*{kernel}\w*)\(", ptx)
    if len(names) != 1:
        raise ValueError(f"{len(names)} kernels have {kernel} in their names, not one")
    target = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)
    assert target is not None, "PTX without a target"
    nvdisasm = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        command = [find_ptxas(ptx), f"-arch={target[1]}", "--entry", names[0], "-o", str(cubin), "-"]
        subprocess.run(command, input=ptx, check=True, capture_output=True, text=True)
        return subprocess.run([nvdisasm, "-c", cubin], check=True, capture_output=True, text=True).stdout


def loops_of(sass: str) -> list[list[str]]:
    """The instructions from where a branch leads back to, up to the branch; outer loops hold inner ones."""
    instructions: list[str] = []
    labels: dict[str, int] = {}
    loops = []
    for line in sass.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(instructions)
        elif instruction := INSTRUCTION.search(line):
            instructions.append(instruction[1].strip())
            branch = BRANCH.search(instructions[-1])
            if branch is not None and branch[1] in labels:
                loops.append(instructions[labels[branch[1]] :])
    return loops
