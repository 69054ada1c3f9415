"""Counts the instructions of one small fixed call per op, the workload, so that a slow-down shows without a clock. A
run prints the counts beside those of benchmarks/results/instructions.json, and fails where they are apart.

    python -m benchmarks.instructions             # a quarter of a minute
    python -m benchmarks.instructions --record    # renews that file; commit it with what changed the counts
    python -m benchmarks.instructions --growth    # renews the counts of the report's sweeps; eight minutes

Needs valgrind, its headers and a C++ compiler. Valgrind shows the program a CPU with AVX2 and without AVX-512 wherever
there is AVX2: one level of the kernels is counted, and the counts do not depend on the machine. They know nothing of
caches, nor of a second thread.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from yolox_ops.explanation.table import table

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "benchmarks/results/instructions.json"
GROWTH = ROOT / "benchmarks/results/instructions_growth.json"
RENEW = "python -m benchmarks.instructions --record"
# The share by which a count may leave its record, downwards as well: a record that is too high hides what comes after.
MARGIN, MARGIN_OF_ANOTHER_COMPILER = 0.02, 0.25
SWITCH = """
#include <valgrind/callgrind.h>
extern "C" void start() { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
extern "C" void stop(const char* name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""
# Names written out and positions left out make the output easy to read.
CALLGRIND = "--tool=callgrind --instr-atstart=no --compress-strings=no --dump-line=no --combine-dumps=yes"
# Hashes drawn anew move the heap, and with it the last digits.
FIXED = {"PYTHONHASHSEED": "0"}


class Op(TypedDict):
    workload: str  # in words
    instructions: int


class Tools(TypedDict):
    compiler: str
    simd: str
    torch: str
    valgrind: str


class Counts(Tools):
    ops: dict[str, Op]


class Growth(Tools):
    growth: dict[str, dict[str, dict[str, int]]]  # op, axis, size: instructions


def kernel_instructions(lines: Iterable[str]) -> dict[str, int]:
    """From callgrind's output: dump -> instructions in _C.so, and in what that calls in libm and libc.

    Python, the dispatcher and the allocator stay out: they add 250,000 to every count, more than half to the smallest,
    and change with versions and the heap. memset, atan2f and their like stay in: a kernel may call them too often."""
    counts: dict[str, int] = {}
    dump, in_kernel, in_helper, call = "", False, False, False
    for line in lines:
        key, _, value = line.rstrip("\n").partition("=")
        if line.startswith("desc: Trigger: "):
            request, _, dump = key.removeprefix("desc: Trigger: ").partition(": ")
            if request == "Client Request":
                counts[dump] = 0
        elif key == "ob":
            in_kernel = value.endswith("/_C.so")
        elif key == "cob":
            in_helper = value.rpartition("/")[2].startswith(("libm.so", "libm-", "libc.so", "libc-"))
        elif key == "calls":
            call = True  # the next line has the cost of the call, with all that is called by it
        elif line[:1].isdigit():
            if dump and in_kernel and (in_helper or not call):
                counts[dump] += int(line.split()[1])
            if call:
                call = in_helper = False
    return counts


def output_of(command: list[str], **options: Any) -> str:
    run = subprocess.run(command, capture_output=True, text=True, **options)
    if run.returncode:
        sys.exit(f"{shlex.join(command)} failed:\n{run.stdout}{run.stderr}")
    return run.stdout


def counted(what: str) -> tuple[dict[str, int], dict[str, Any]]:
    """The instructions of "ops" or of "growth", by name, and what the process that ran them says of itself."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind must be there to count instructions, it is not (Debian: apt install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        source, switch, out = (Path(folder) / name for name in ("switch.cpp", "switch.so", "callgrind.out"))
        source.write_text(SWITCH)
        compiler = shlex.split(os.environ.get("CXX", "c++"))
        output_of([*compiler, "-shared", "-fPIC", "-o", str(switch), str(source)])
        callgrind = ["valgrind", *CALLGRIND.split(), f"--callgrind-out-file={out}"]
        workloads = [sys.executable, "-m", "benchmarks.workloads", what, str(switch)]
        said = json.loads(output_of([*callgrind, *workloads], cwd=ROOT, env={**os.environ, **FIXED}))
        with out.open() as lines:
            counts = kernel_instructions(lines)
    empty = [name for name in said["calls"] if not counts.get(name)]
    if empty:
        sys.exit(f"each call must run instructions of _C.so, callgrind saw none of {', '.join(empty)}")
    build = said["build"]
    tools = {"compiler": build["cpu"], "simd": build["simd"], "torch": build["torch"]}
    return counts, {**tools, "valgrind": output_of(["valgrind", "--version"]).strip(), "calls": said["calls"]}


def count() -> Counts:
    """Runs the workloads under callgrind."""
    counts, said = counted("ops")
    words = said.pop("calls")
    return {**said, "ops": {name: {"workload": words[name], "instructions": counts[name]} for name in words}}


def count_growth() -> Growth:
    """Runs the sweeps under callgrind."""
    counts, said = counted("growth")
    grown: dict[str, dict[str, dict[str, int]]] = {}
    for name in said.pop("calls"):
        op, axis, value = name.split()
        grown.setdefault(op, {}).setdefault(axis, {})[value] = counts[name]
    return {**said, "growth": grown}


def change(now: int, before: int) -> str:
    return f"{now / before - 1:+.1%}"


def problems(found: Counts, recorded: Counts) -> list[str]:
    """What of the counts is not as recorded, in a line each."""
    if found["simd"] != recorded["simd"]:
        return [f"instructions must be counted at the recorded {recorded['simd']}, these ran at {found['simd']}"]
    margin = MARGIN if found["compiler"] == recorded["compiler"] else MARGIN_OF_ANOTHER_COMPILER
    lines = [f"{name}: recorded, but it has no workload" for name in recorded["ops"] if name not in found["ops"]]
    for name, op in found["ops"].items():
        before = recorded["ops"].get(name)
        if before is None:
            lines.append(f"{name}: not recorded")
        elif op["workload"] != before["workload"]:
            lines.append(f"{name}: the workload is {op['workload']!r}, recorded was {before['workload']!r}")
        elif abs(op["instructions"] - before["instructions"]) > margin * before["instructions"]:
            lines.append(
                f"{name}: {op['instructions']:,} instructions, recorded {before['instructions']:,} "
                f"({change(op['instructions'], before['instructions'])}, allowed {margin:.0%})"
            )
    return lines


def comparison(found: Counts, recorded: Counts) -> str:
    rows = [("op", "instructions", "recorded", "change", "workload")]
    for name, op in found["ops"].items():
        now, before = op["instructions"], recorded["ops"].get(name, {"instructions": 0})["instructions"]
        rows.append((name, f"{now:,}", f"{before:,}", change(now, before) if before else "new", op["workload"]))
    return table(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the counts down as those to come are held against")
    parser.add_argument("--growth", action="store_true", help="count the sweeps of all ops, and record that")
    options = parser.parse_args()
    if options.growth:
        GROWTH.write_text(json.dumps(count_growth(), indent=1) + "\n")
        return 0
    found = count()
    recorded: Counts = json.loads(RECORD.read_text()) if RECORD.is_file() else {**found, "ops": {}}
    print(comparison(found, recorded))
    if options.record:
        RECORD.write_text(json.dumps(found, indent=2) + "\n")
        return 0
    for fact in ("compiler", "torch", "valgrind"):
        if found[fact] != recorded[fact]:
            print(f"{fact}: {found[fact]}, recorded {recorded[fact]}")
    wrong = problems(found, recorded)
    if wrong:
        print("", *wrong, f"If that is meant, renew the record: {RENEW}", sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
