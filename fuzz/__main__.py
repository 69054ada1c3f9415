"""python -m fuzz --minutes N [--op NAME] [--seed S]: see fuzz/__init__.py."""

import argparse
import os
import sys
from contextlib import nullcontext
from random import Random

import torch

import yolox_ops
from fuzz.calls import Outcome, calls, check
from fuzz.contracts import OPS
from fuzz.workers import Finding, Plan, Report, fuzz

# A run that means to test one build must not find another.
assert os.environ.get("YOLOX_OPS_UNDER_TEST", "") in yolox_ops.__file__, yolox_ops.__file__

DEVICES = ("nvcc-ptx", "triton-ptx")
SHOWN = 20  # findings that are printed whole


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzzes every entry point of yolox_ops.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--op", action="append", metavar="NAME", help=f"one of {', '.join(OPS)}, or the end of such")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--call", type=int, metavar="NUMBER", help="make this one call of --op, in this process")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--share", type=float, default=0.1, help="of answers that are compared with other ways to them")
    parser.add_argument("--huge", action="store_true", help="also tensors too large for memory, which is limited")
    parser.add_argument("--server", choices=DEVICES, help="a GPU's kernels, on the simulator (make simulator)")
    return parser.parse_args()


def chosen(wanted: list[str] | None) -> list[str]:
    names = [name for name in OPS if wanted is None or any(f".{name}".endswith(f".{w}") for w in wanted)]
    if not names:
        sys.exit(f"fuzz: --op must be one of {', '.join(OPS)}, got {wanted}")
    return names


def table(report: Report) -> str:
    lines = [f"{'op':40s}{'calls':>10s}{'answered':>10s}{'refused':>10s}{'same bits':>10s}{'reference':>10s}"]
    sums = [sum(column) for column in zip(*report.counts.values(), strict=True)]
    for name, counts in [*report.counts.items(), ("all", sums)]:
        answered = sum(counts) - counts[Outcome.REFUSED]
        cells = (sum(counts), answered, counts[Outcome.REFUSED], counts[Outcome.CROSSED], counts[Outcome.COMPARED])
        lines.append(f"{name:40s}" + "".join(f"{cell:>10,d}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    options = parse()
    names = chosen(options.op)
    serving = nullcontext()
    on_device = options.server is not None
    if on_device:
        from tests.support.impls import SERVERS, ServedBy

        names = [name for name in names if not OPS[name].on_arrays]
        SERVERS[options.server]("simota")  # loads the library before there are workers
        serving = ServedBy(SERVERS[options.server])
    repeat = " ".join([f"--server {options.server}"] * on_device + ["--huge"] * options.huge)
    with serving:
        if options.call is not None:
            for name in names:
                number, call = next(calls(name, options.seed, options.call, options.huge))
                print(call, flush=True)
                print(check(call, Random(number), on_device, options.share).name.lower())
            return 0
        shown = 0

        def tell(finding: Finding) -> None:
            nonlocal shown
            shown += 1
            print(
                f"\nFOUND: python -m fuzz --op {finding.name} --seed {options.seed} --call {finding.number} "
                f"--share {options.share} {repeat}",
                flush=True,
            )
            if shown <= SHOWN:
                print(finding.what, flush=True)

        plan = Plan(names, options.seed, options.minutes * 60, on_device, options.huge, options.share)
        print(f"{yolox_ops.__file__}, torch {torch.__version__}, {options.workers} workers", flush=True)
        report = fuzz(plan, options.workers, tell)
    print(table(report))
    print(f"{report.calls:,d} calls in {report.seconds:.0f} s, {len(report.findings)} findings")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
