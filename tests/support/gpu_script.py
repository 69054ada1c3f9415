"""tools/gpu.sh among stand-ins for nvidia-smi, Python, compute-sanitizer and timeout, which note their arguments."""

import os
import re
import shlex
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAND_INS = {
    "nvidia-smi": "[[ $1 == *compute_cap* ]] && echo 9.0 || echo NVIDIA Stand-In",
    # FAILING: a part of the call that fails. BENCH: a file of benchmarks in place of those that need a GPU.
    "python": """
if [[ $* == *bench_gpu.py* && -n ${BENCH:-} ]]; then
  exec "$REAL_PYTHON" "${@:1:5}" -p benchmarks.conftest "$BENCH" "${@:7}"
fi
printf '%q ' "$@" >> "$CALLS"; echo >> "$CALLS"
[[ $* != *benchmarks.machine ]] || echo nvidia_stand_in
[[ -z ${FAILING:-} || $* != *$FAILING* ]]""",
    "compute-sanitizer": """
echo "memory is ${YOLOX_OPS_UNFILLED-filled}, ${REFUSAL:-all is well}"
[[ -z ${REFUSAL:-} ]] && exec "${@:7}" """,
    # -s INT -k GRACE SECONDS COMMAND...
    "timeout": """
echo "$4 $5" >> "$LIMITS"
exec /usr/bin/timeout "$@" """,
}


@dataclass
class Run:
    """What came of the script: `verdicts` by part, `files` of the tar, `calls` of Python, `seconds` of all limits."""

    status: int
    verdicts: dict[str, str]
    files: dict[str, str]
    calls: list[list[str]]
    seconds: int


def run_gpu_script(folder: Path, parts: str = "", **variables: str) -> Run:
    calls, limits, out, bin = (folder / name for name in ("calls", "limits", "out", "bin"))
    bin.mkdir(exist_ok=True)
    for name, text in STAND_INS.items():
        (bin / name).write_text(f"#!/usr/bin/env bash\n{text.strip()}\n")
        (bin / name).chmod(0o755)
    for path in (calls, limits):
        path.write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "YOLOX"))}
    environment |= {"PATH": f"{bin}:{environment['PATH']}", "PYTHON": "python", "REAL_PYTHON": sys.executable}
    found = subprocess.run(
        [ROOT / "tools/gpu.sh", out, parts],
        env=environment | {"CALLS": str(calls), "LIMITS": str(limits)} | variables,
        capture_output=True,
        text=True,
    )
    assert not found.stderr, found.stderr
    assert [path.name for path in out.iterdir()] == ["gpu.tar.gz"]
    with tarfile.open(out / "gpu.tar.gz") as tar:
        files = {m.name.removeprefix("./"): tar.extractfile(m).read().decode() for m in tar if m.isfile()}
    return Run(
        found.returncode,
        dict(re.findall(r"^== ([\w-]+): (.+), \d+ s$", files["summary.txt"], re.MULTILINE)),
        files,
        [shlex.split(line) for line in calls.read_text().splitlines()],
        sum(int(number) for number in limits.read_text().split()),
    )
