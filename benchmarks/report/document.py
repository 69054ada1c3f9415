"""REPORT.md from results."""

from collections.abc import Sequence

from benchmarks.report import tables, units
from benchmarks.report.budget import Budget, budget_section
from benchmarks.report.growth import LINEAR, curves
from benchmarks.report.results import Result, ops_of
from benchmarks.report.work import Work, work_table, work_verdict

HEAD = f"""# Speed report

Written by `python -m benchmarks.report` from the JSONs in [results/](results/); every number here is in one of them.

```
make bench                        # runs the benchmarks; leaves a JSON in benchmarks/results/
make report                       # writes this page, its charts and README's section from those
make bench-compare A=... B=...    # two results beside each other, case by case
```

How to read it:

- Every answer is verified before it is timed; what that meant stands below each table. On a CPU ours and the peers take
  turns, in one process, on the same inputs; on a GPU each is timed by itself, as replays of a CUDA graph or, where it
  says so, called from Python.
- A turn of a call shorter than 10 ms begins with 10 ms of calls that are not timed, ours or a peer's: caches are warm.
- Times are medians, with the quartiles in brackets. A ratio is the peer's median over ours: at 2x ours takes half the
  time.
- Temporary memory is the peak of a call beside its outputs. Operators are PyTorch's; waits are those among them that
  make a GPU's host wait.
- A floor is what a call must at least read and write, and the exponentials and divisions that its definition asks for,
  at the ceilings that the same run measured on the same machine; whichever takes longest is the floor
  ([floors.py](floors.py)).
- Growth: with t0 the time at the smallest size x0, which holds the constant part, a step from size x to y grows by 2^p
  per doubling, p being the slope of log(t - t0) over log(x - x0); 2 is linear. The table has the largest of the steps
  that start at 2 t0 or more, for below that t - t0 is noise, or, where there is none, the last step as it is, with the
  bounds that the quartiles give; more than {LINEAR} is in bold where the lower bound is too. The slope at the end is
  that of log t over log x along the upper three sizes. Instructions, which know of no cache, are counted at the end.
"""


def picture(folder: str, name: str, alt: str) -> str:
    """A chart in the reader's theme. `folder`: its charts, as seen from the page."""
    dark, light = (f"{folder}/{name}-{theme}.svg" for theme in ("dark", "light"))
    return (
        f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'  <img alt="{alt}" src="{light}">\n</picture>'
    )


def commit(result: Result) -> str:
    return f"`{result.commit['id'][:7]}`" + (" with changes not committed" if result.commit.get("dirty") else "")


def machine(result: Result) -> str:
    cpu = f"{result.cpu}, {result.threads} thread{'s' if result.threads != 1 else ''}"
    return f"{result.gpu}, beside {cpu}" if result.gpu else cpu


def _facts(result: Result) -> str:
    ceilings = [
        f"{name}: {(units.size if name.startswith('bytes') else units.count)(rate)}/s"
        for name, rate in result.ceilings.items()
    ]
    facts = {
        "machine": machine(result),
        "versions": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        "commit": commit(result),
        "date": result.datetime[:10],
        "ceilings": "; ".join(ceilings),
        "numbers": f"[results/{result.name}.json](results/{result.name}.json)",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact)


def _peers(result: Result) -> list[str]:
    cases = result.cases()
    if not cases:
        return []
    alt = "Time of a call, yolox_ops beside its peers, one case for each op"
    parts = ["### Beside the peers", picture("results/charts", f"{result.name}-peers", alt)]
    for op in ops_of(cases):
        of_op = [case for case in cases if case.op == op]
        parts += [f"#### `{op}`", tables.peers_table(of_op)]
        verified = {case.case: case.verified.rstrip(".") for case in of_op if case.verified}
        if len(set(verified.values())) == 1:
            parts.append(f"Verified: {next(iter(verified.values()))}.")
        elif verified:
            parts.append("Verified:\n\n" + "\n".join(f"- {case}: {words}." for case, words in verified.items()))
    return parts


def _growth(result: Result) -> list[str]:
    found = curves(result)
    if not found:
        return []
    alt = "Time of a call against size, one panel for each op and axis, with the floor and a line of slope 1"
    chart = picture("results/charts", f"{result.name}-growth", alt)
    return ["### Growth", chart, tables.growth_verdict(found), tables.growth_table(found)]


def _section(result: Result, title: str, chart: str, alt: str, text: str) -> list[str]:
    return [f"### {title}", picture("results/charts", f"{result.name}-{chart}", alt), text]


def _part(result: Result) -> list[str]:
    parts = [f"## {result.gpu or result.cpu}", _facts(result), *_peers(result), *_growth(result)]
    if floors := tables.floor_rows(result):
        parts += ["### Time over floor", tables.floor_table(floors)]
    if memory := result.of("memory"):
        alt = "Temporary memory of a call against the number of objects"
        parts += _section(result, "Memory", "memory", alt, tables.memory_table(memory))
    if step := result.of("step"):
        alt = "Share of a training step that assignment and loss take"
        parts += _section(result, "Share of a training step", "step", alt, tables.step_table(step))
    if result.not_installed:
        parts += ["### Peers that are not here", tables.not_installed_table(result)]
    return parts


def _growth_in_instructions(works: list[Work]) -> list[str]:
    return [
        "## Growth in instructions",
        "The sweeps above once more, on one thread, in instructions of the kernels as valgrind counts them "
        "(`python -m benchmarks.instructions --growth`, [results/instructions_growth.json]"
        "(results/instructions_growth.json)): what an op does for its inputs, whatever caches and memory make of it. "
        "Where time grows by more than instructions, what a call touches has left a cache.",
        work_verdict(works),
        work_table(works),
    ]


def report(results: Sequence[Result], works: list[Work], budget: Budget | None) -> str:
    """The whole page."""
    parts = [HEAD.strip(), *(part for result in results for part in _part(result))]
    if works:
        parts += _growth_in_instructions(works)
    if budget is not None:
        parts += budget_section(budget)
    return "\n\n".join(parts) + "\n"
