"""What compiled GPU kernels would take by the model of tests/ptx, as `make ptx-budget OPTIONS=--record` wrote it."""

import json
from pathlib import Path
from typing import Any

from benchmarks.report import units
from benchmarks.report.results import OURS, SERVERS
from benchmarks.report.tables import table

Budget = dict[str, Any]
TITLE = "## GPU kernels, modelled"
LIMITS = """
No GPU has run these kernels yet. `make ptx-budget` executes what nvcc and Triton make of them, PTX for sm_90, on a CPU
([tests/ptx](../tests/ptx)). It counts, and models the time from a table of costs
([costs.py](../tests/ptx/costs.py)), which are NVIDIA's where it publishes them and else assumed. Nothing has calibrated
the model: trust it with which of two designs is faster, less with the microseconds
([results/ptx_budget.json](results/ptx_budget.json)).

- It knows the latency of instructions and of memory, pipes and issue slots, what a block has read before, how many
  blocks fit side by side, and the bandwidth of memory.
- It does not know conflicts between banks of shared memory, the bandwidth and size of L2, memory further than L2,
  atomics that meet, or what ptxas makes of PTX; a division takes its usual path. Blocks on one multiprocessor do not
  slow each other down, but no launch is faster than its bound. A launch takes 1 to 2 us besides.
- The RTX 4090 has the same PTX and registers. It differs in clock, multiprocessors, warps, L2's latency, bandwidth, and
  in two lanes of float64 where an H200 has 64.
- The bound is what the pipes need, or moving once what a launch touches, whichever takes longer. The longest block and
  the mean are of the launch that has the longest, on the H200. A warp's instruction counts for each of its 32 lanes."""


def read_budget(path: Path) -> Budget:
    return json.loads(path.read_text())


def servers_of(workload: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Who is measured, and the figures."""
    return [(who.removeprefix(f"{OURS}, "), workload[name]) for name, who in SERVERS.items() if name in workload]


def budget_table(budget: Budget) -> str:
    rows = []
    for name, workload in budget["workloads"].items():
        for i, (who, figures) in enumerate(servers_of(workload)):
            rows.append([f"`{name}`" if i == 0 else "", who, *row(workload, figures)])
    header = ["workload", "kernels", "launches", "H200", "bound", "RTX 4090", "bound", "longest block", "mean block"]
    return table([*header, "instructions", "float64", "bytes", "per"], rows)


def row(workload: dict[str, Any], figures: dict[str, float]) -> list[str]:
    keys = ("h200_us", "h200_bound_us", "rtx_4090_us", "rtx_4090_bound_us", "longest_block_us", "mean_block_us")
    counts = (figures[key] for key in ("instructions", "fp64_instructions", "bytes"))
    return [
        str(figures["launches"]),
        *(microseconds(figures[key]) for key in keys),
        *(units.rounded(number) for number in counts),
        workload["per"],
    ]


def microseconds(number: float) -> str:
    return units.seconds(number * 1e-6)


def whole_calls(budget: Budget) -> str:
    """A line for each workload of which the first iterations were executed."""
    lines = []
    for name, workload in budget["workloads"].items():
        if "iterations" in workload:
            times = [f"{microseconds(of['h200_50_iterations_us'])} ({who})" for who, of in servers_of(workload)]
            lines.append(
                f"`{name}` has {workload['iterations']} iterations. If {50 - workload['iterations']} more take what "
                f"the last takes, a call takes {' and '.join(times)} on an H200."
            )
    return "\n".join(lines)


def budget_section(budget: Budget) -> list[str]:
    return [TITLE, LIMITS.strip(), budget_table(budget), whole_calls(budget)]
