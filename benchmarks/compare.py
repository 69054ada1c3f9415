"""Two results of the benchmarks beside each other, case by case: what make bench-compare runs.

    python -m benchmarks.compare A.json B.json

A ratio below 1 means that B is faster. A mark stands where it changed by more than 10 % and the quartiles of A and B do
not overlap. Cases of only one of the two are listed below.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import units

NOTABLE = 1.1
PEER = " / "


def read(path: Path) -> dict[str, dict[str, float]]:
    """The statistics of every case by name, the peers' as "case / peer"."""
    times: dict[str, dict[str, Any]] = {}
    for entry in json.loads(path.read_text())["benchmarks"]:
        name = entry["fullname"].split("/")[-1]
        times[name] = entry["stats"]
        times |= {f"{name}{PEER}{peer}": stats for peer, stats in entry["extra_info"].get("peers", {}).items()}
    return times


def mark(a: dict[str, float], b: dict[str, float]) -> str:
    if max(a["median"], b["median"]) <= NOTABLE * min(a["median"], b["median"]):
        return ""
    return "slower" if b["q1"] > a["q3"] else "faster" if b["q3"] < a["q1"] else ""


def compare(a: dict[str, dict[str, float]], b: dict[str, dict[str, float]]) -> list[str]:
    """Lines of text: ours in both, what slowed down most first; the peers likewise, which tell how far the machine
    changed; the cases of one result alone."""
    changes = [(PEER in name, b[name]["median"] / a[name]["median"], name) for name in a.keys() & b.keys()]
    width = max((len(name) for name in a | b), default=0)
    lines = [f"{'':{width}}  {'A':>8}  {'B':>8}  {'B / A':>6}"]
    for _, ratio, name in sorted(changes, key=lambda change: (change[0], -change[1], change[2])):
        medians = f"{units.seconds(a[name]['median']):>8}  {units.seconds(b[name]['median']):>8}"
        lines.append(f"{name:{width}}  {medians}  {ratio:6.2f}  {mark(a[name], b[name])}".rstrip())
    for title, here, there in (("A", a, b), ("B", b, a)):
        for name in sorted(here.keys() - there):
            lines.append(f"{name:{width}}  only in {title}, {units.seconds(here[name]['median'])}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("a", type=Path, metavar="A.json")
    parser.add_argument("b", type=Path, metavar="B.json")
    args = parser.parse_args(argv)
    print("\n".join(compare(read(args.a), read(args.b))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
