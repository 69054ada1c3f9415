"""README's section on speed, from the newest result of a CPU and, where there is one, of a GPU."""

from collections.abc import Sequence

from benchmarks.report import units
from benchmarks.report.document import commit, machine, picture
from benchmarks.report.results import Case, Measured, Result, Row
from benchmarks.report.tables import table

BEGIN, END = "<!-- speed -->", "<!-- /speed -->"
CHART_OP = "simota"
CASES = {  # the first so many cases of these ops
    "simota": 3,
    "ota": 1,
    "pairwise_iou": 1,
    "aligned_iou": 1,
    "sinkhorn": 1,
    "soft_nms": 2,
}


def chart_case(result: Result) -> Case:
    """The case of README's chart, which is the first of simota that has peers."""
    for case in result.cases():
        if case.op == CHART_OP and case.peers:
            return case
    raise ValueError(f"README's chart must have a case of {CHART_OP} with peers, got none in {result.name}.json")


def _cell(case: Case, peer: Measured) -> str:
    return f"{peer.who}: {units.seconds(peer.median)}, **{units.ratio(peer.median / case.ours.median)}**"


def _case_row(case: Case) -> list[str]:
    """The first peer is the code that people have; another one stands beside it if it is the fastest."""
    first = case.peers[0]
    fastest = min((peer for peer in case.peers if peer.is_alternative), key=lambda peer: peer.median, default=first)
    label = f"`{case.op}`, {case.case}"
    second = _cell(case, fastest) if fastest is not first else "the same" if len(case.peers) > 1 else ""
    return [label, units.seconds(case.ours.median), _cell(case, first), second]


def _step_row(row: Row) -> list[str]:
    """Ours and, if it was measured, one peer."""
    (_, ours), *peers = row.extra["shares"].items()

    def cell(part: dict[str, float]) -> str:
        return f"{units.seconds(part['loss_ms'] / 1e3)}, {100 * part['share']:.1f} % of the step"

    beside = [f"{who}: {cell(part)}, **{units.ratio(part['loss_ms'] / ours['loss_ms'])}**" for who, part in peers[:1]]
    return [f"assignment and loss, {row.case}", cell(ours), *(beside or [""]), ""]


def _main_rows(result: Result) -> list[list[str]]:
    cases = [case for case in result.cases() if case.peers]
    main = [case for op, most in CASES.items() for case in [c for c in cases if c.op == op][:most]]
    return [_case_row(case) for case in main] + [_step_row(row) for row in result.of("step")]


def speed_block(results: Sequence[Result]) -> str:
    """What stands between the markers: chart, table, and where that was measured."""
    newest = [next((r for r in results if bool(r.gpu) == on_gpu), None) for on_gpu in (False, True)]
    if newest[0] is None:
        raise ValueError("README's section must have a result of a CPU, got those of a GPU alone")
    parts = [picture("benchmarks/results/charts", f"{newest[0].name}-readme", chart_alt(chart_case(newest[0])))]
    for result in filter(None, newest):
        where = f"{machine(result)}; torch {result.versions['torch']}; commit {commit(result)}; {result.datetime[:10]}"
        header = ["case, float32", "yolox_ops", "the code in use", "the fastest of the others"]
        parts += [table(header, _main_rows(result)), f"{where}."]
    parts.append(
        "Medians of `make bench`, which verifies every answer before timing it, with the peers in the same run;\n"
        "[benchmarks/REPORT.md](benchmarks/REPORT.md) has every op and peer, growth, memory and floors."
    )
    return "\n\n".join(parts)


def chart_alt(case: Case) -> str:
    times = ", ".join(f"{m.who} {units.seconds(m.median)}" for m in sorted(case.measured, key=lambda m: m.median))
    return f"{case.op}, {case.case}: {times}"


def replace_block(text: str, block: str) -> str:
    """`text` with `block` between its markers. ValueError: it must have either marker once, in order."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        found = [line for line in text.splitlines() if line.strip() in (BEGIN, END)]
        raise ValueError(f"README.md must have {BEGIN} and then {END}, each once, got {found}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"
