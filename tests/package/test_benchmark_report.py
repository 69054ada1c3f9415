"""The speed report of results that are made here: what the pages say, and that one which says otherwise is found."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare
from benchmarks.report import units
from benchmarks.report.__main__ import main
from benchmarks.report.growth import curves
from benchmarks.report.reading import read
from benchmarks.report.readme import replace_block

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("report")  # the charts are drawn once
README = "# Project\n\nbefore\n\n<!-- speed -->\nold\n<!-- /speed -->\n\nafter\n"
FLOOR = {"seconds": 0.5e-3, "bytes": 1_200_000, "exps": 672_000, "bound": "exponentials", "why": "what was counted"}
ROWS = [
    "| B=16 | **yolox_ops** | 910 (864 to 1000) us |  | 1 operator, 0 waits |  |",
    "|  | Megvii YOLOX, loop | 124 (118 to 136) ms | 136x | 4,321 operators, 210 waits | 57.0 MB |",
    "|  | ensemble boxes | 1.00 (0.950 to 1.10) ms | 0.50x |",
    "| `simota` | B=16 | 1.20 MB | 672 thousand | exponentials | 500 us | 910 us | 1.8x |",
    "| `simota` | B | 1, 10, 40, 80 | 11.0 us to 90.0 us | 2.00 (1.68 to 2.37), 40 to 80 | 0.72 | 0.37x, TF at 80 |",
    "| `simota` | G | 1, 2, 4, 8, 16 | 1.00 us to 256 us | **3.57** (3.12 to 4.08), 8 to 16 | 2.00 |  |",
    "| `simota` | N | 100, 200, 400 | 100 us to 130 us | never twice the time of the smallest size | 0.19 |  |",
    "2 of 3 curves grow by at most 2.1 per doubling; more do `simota` along G.",
    "| `simota`, G = 9 | 90.0 KB | 9.00 MB |",
    "|  | Megvii YOLOX | 134 ms | 18.0 % |",
    "| mmcv | no wheel |",
    "1 of 2 sweeps grow by at most 2.1 instructions per doubling; more do `simota` along G.",
    "| `simota` | B | 1, 2, 4, 8 | 1000 to 8000 | 2.00, 4 to 8 |",
    "| `simota` | G | 1, 2, 4, 8 | 1000 to 50.0 thousand | 3.56, 4 to 8 |",
    "Verified: equal but for 0 of 868 positives.",
    "- ceilings: bytes copied, memory: 20.0 GB/s; exponentials: 3.00 billion/s",
    "| B=16 | **yolox_ops, CUDA C++** | 61.0 (57.9 to 67.1) us |  | 5 launches, 0 waits | 3100 GB/s |",
    "|  | **yolox_ops, Triton** | 95.0 (90.2 to 105) us | 1.6x |  |  |",
    "|  | torch | 1.80 (1.71 to 1.98) ms | 30x |  |  |",
    "|  | Megvii YOLOX, loop | 210 (199 to 231) ms | 3440x |  |  |",
    "| `ota_b2` | CUDA C++ | 5 | 154 us | 900 ns | 2.20 ms | 1.00 us | 30.0 us | 20.0 us | 413 | 40.1 | 25.0 | box |",
    "|  | Triton | 5 | 200 us | 900 ns | 2.20 ms | 1.00 us | 30.0 us | 20.0 us | 413 | 40.1 | 25.0 | box |",
    "`ota_b2` has 2 iterations. If 48 more take what the last takes, "
    "a call takes 3.00 ms (CUDA C++) and 5.00 ms (Triton) on an H200.",
]


COUNTS = {
    "B": {"1": 1000, "2": 2000, "4": 4000, "8": 8000},
    "G": {"1": 1000, "2": 3000, "4": 11_384, "8": 50_000},
}
FIGURES = {
    **{"launches": 5, "h200_us": 154.0, "h200_bound_us": 0.9, "rtx_4090_us": 2200.0, "rtx_4090_bound_us": 1.0},
    **{
        "longest_block_us": 30.0,
        "mean_block_us": 20.0,
        "instructions": 413.0,
        "fp64_instructions": 40.1,
        "bytes": 25.0,
    },
    "h200_50_iterations_us": 3000.0,
}
BUDGET = {
    "workloads": {
        "ota_b2": {
            **{"per": "box", "iterations": 2, "cuda": FIGURES},
            "triton": FIGURES | {"h200_us": 200.0, "h200_50_iterations_us": 5000.0},
        }
    }
}


def stats(median: float) -> dict[str, float]:
    return {"median": median, "q1": 0.95 * median, "q3": 1.1 * median, "rounds": 5}


def entry(table: str, op: str, case: str, median: float, **extra: Any) -> dict[str, Any]:
    fullname = f"benchmarks/bench_{op}.py::test[{case}]"
    return {
        "fullname": fullname,
        "extra_info": {"table": table, "op": op, "case": case, **extra},
        "stats": stats(median),
    }


def growth(axis: str, times: dict[int, float], **extra: Any) -> list[dict[str, Any]]:
    return [entry("growth", "simota", f"{axis}={x}", t, axis=axis, value=x, **extra) for x, t in times.items()]


def peers(**medians: float) -> dict[str, Any]:
    return {name.replace("_", " "): stats(median) for name, median in medians.items()}


def on_cpu() -> list[dict[str, Any]]:
    megvii = stats(0.124) | {"operators": 4321, "waits": 210, "peak_bytes": 57_000_000}
    beside = {"Megvii YOLOX, loop": megvii} | peers(torch=0.021, TAL_another_algorithm=0.0001)
    ours = {"operators": 1, "waits": 0, "floor": FLOOR, "verified": "equal but for 0 of 868 positives"}
    shares = {"yolox_ops": {"loss_ms": 4.75, "share": 0.008}, "Megvii YOLOX": {"loss_ms": 134, "share": 0.18}}
    return [
        entry("peers", "soft_nms", "5000 boxes", 2e-3, peers=peers(ensemble_boxes=1e-3)),
        entry("peers", "simota", "B=16", 0.91e-3, peers=beside, **ours),
        *growth("B", {b: 1e-5 + 1e-6 * b for b in (1, 10, 40, 80)}, peers=peers(TF=3.3e-5, TAL_another_algorithm=1e-7)),
        *growth("G", {g: 1e-6 * g**2 for g in (1, 2, 4, 8, 16)}),
        *growth("N", {100: 1e-4, 200: 1.1e-4, 400: 1.3e-4}),
        entry("memory", "simota", "G=1", 1.0, axis="G", value=1, peak_bytes={"yolox_ops": 5e4, "loop": 2e5}),
        entry("memory", "simota", "G=9", 1.0, axis="G", value=9, peak_bytes={"yolox_ops": 9e4, "loop": 9e6}),
        entry("step", "yolox_loss", "YOLOX-S", 4.75e-3, shares=shares),
        {"fullname": "other", "extra_info": {}, "stats": stats(1.0)},
    ]


def on_gpu() -> list[dict[str, Any]]:
    beside = {"waits": 0, "launches": 5, "gb_per_s": 3100, "peers": peers(torch=1.8e-3)}
    return [
        entry("gpu", "simota", "B=16", 9.5e-3, server="triton", us_per_call=95.0, peers=peers(torch=1.9e-3)),
        entry("gpu", "simota", "B=16", 6.1e-3, server="cuda", us_per_call=61.0, **beside),
        entry("gpu", "simota", "B=16", 0.21, who="Megvii YOLOX, loop"),
    ]


def write(path: Path, entries: list[dict[str, Any]], gpu: str | None = None) -> Path:
    about = {"cpu": "EPYC, 2 cores", "threads": 2, "gpu": gpu, "versions": {"torch": "2.13.0"}}
    about |= {"not_installed": {"mmcv": "no wheel"}, "ceilings": {"bytes copied, memory": 2e10, "exponentials": 3e9}}
    content = {"machine_info": {"yolox_ops": about}, "commit_info": {"id": "0123456789", "dirty": False}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | {"datetime": "2026-01-02T03:04:05", "benchmarks": entries}))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A checkout with two results, of which the pages and charts have been made."""
    root = tmp_path_factory.mktemp("checkout")
    write(root / "benchmarks/results/cpu.json", on_cpu())
    write(root / "benchmarks/results/gpu.json", on_gpu(), "H200")
    (root / "benchmarks/results/other.json").write_text("[]")
    (root / "benchmarks/results/instructions_growth.json").write_text(json.dumps({"growth": {"simota": COUNTS}}))
    (root / "benchmarks/results/ptx_budget.json").write_text(json.dumps(BUDGET))
    (root / "README.md").write_text(README)
    assert main([], root) == 0
    return root


def test_the_report_has_the_rows_of_its_results(root):
    lines = (root / "benchmarks/REPORT.md").read_text().splitlines()
    assert [row for row in ROWS if row not in lines] == []


def test_a_last_step_that_is_steep_is_seen(tmp_path):
    """Though the size before it takes less than twice the time of the smallest."""
    times = {1: 1e-5, 4: 1.5e-5, 16: 1.5e-3}
    (curve,) = curves(read(write(tmp_path / "steep.json", growth("N", times))))
    assert curve.steepest.factor == pytest.approx(10) and not curve.is_linear


def test_the_servers_of_a_gpu_are_ours_and_no_one_else(tmp_path):
    """As benchmarks/bench_gpu.py writes them."""
    entries = [entry("gpu", "simota", "B=16", 1e-3, us_per_call=50.0, server="cuda")]
    entries += [
        entry("gpu", "simota", "B=16", 1e-3, us_per_call=1e3, who=who) for who in ("copy", "Megvii YOLOX, loop")
    ]
    (case,) = read(write(tmp_path / "gpu.json", entries, "H200")).cases()
    assert [m.who for m in case.peers] == ["copy", "Megvii YOLOX, loop"]
    assert case.ours.median == pytest.approx(5e-5)
    entries[0]["extra_info"]["server"] = "other"
    with pytest.raises(KeyError, match="other"):
        read(write(tmp_path / "other.json", entries, "H200"))


def test_readme_has_the_section_between_its_markers(root):
    text = (root / "README.md").read_text()
    before, block, after = re.split("<!-- /?speed -->", text)
    assert (before, after) == ("# Project\n\nbefore\n\n", "\n\nafter\n")
    assert "| `simota`, B=16 | 910 us | Megvii YOLOX, loop: 124 ms, **136x** | torch: 21.0 ms, **23x** |" in block
    assert "EPYC, 2 cores, 2 threads; torch 2.13.0; commit `0123456`; 2026-01-02." in block
    assert "H200, beside EPYC" in block and "old" not in block
    for page, folder in ((text, root), ((root / "benchmarks/REPORT.md").read_text(), root / "benchmarks")):
        links = re.findall(r'(?:src|srcset)="(.*?)"', page)
        assert links and all((folder / link).is_file() for link in links)


@pytest.mark.parametrize(
    "text", ["no section", "<!-- /speed --><!-- speed -->", "<!-- speed -->\n" + README, README + "<!-- /speed -->"]
)
def test_readme_must_have_the_markers_once(text):
    with pytest.raises(ValueError, match=r"README\.md must have <!-- speed --> and then <!-- /speed -->, each once"):
        replace_block(text, "new")


@pytest.mark.parametrize("page", ["README.md", "benchmarks/REPORT.md"])
def test_a_changed_number_is_found(root, page, capsys):
    assert main(["--check"], root) == 0
    text = (root / page).read_text()
    (root / page).write_text(text.replace("136x", "137x"))
    assert main(["--check"], root) == 1
    (root / page).write_text(text)
    assert re.findall(r"13[67]x", capsys.readouterr().out) == ["137x", "136x"]


def test_charts_are_the_same_again_and_are_text(root):
    folder = root / "benchmarks/results/charts"
    names = {f"cpu-{chart}" for chart in ("peers", "growth", "memory", "step", "readme")} | {"gpu-peers"}
    drawn = {path: path.read_bytes() for path in folder.iterdir()}
    assert {path.stem for path in drawn} == {f"{name}-{theme}" for name in names for theme in ("light", "dark")}
    (folder / "gone-peers-dark.svg").write_text("of a result that is no more")
    assert main([], root) == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == drawn
    chart = (folder / "cpu-readme-dark.svg").read_text()
    assert re.findall(r">([^<]* ms[^<]*)</text>", chart) == [
        "0.100 ms  (0.11x)",
        "0.910 ms",
        "21.0 ms  (23x)",
        "124 ms  (136x)",
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (growth("B", {1: 1.0}) * 2, r"growth of simota along B must have each size once, got \(1.0, 1.0\) in a.json"),
        ([entry("peers", "ota", "B=1", 1.0, who="POT")], "ota, B=1 must have a time of yolox_ops, got POT in a.json"),
    ],
)
def test_a_result_must_be_whole(tmp_path, entries, message):
    result = read(write(tmp_path / "a.json", entries))
    with pytest.raises(ValueError, match=message):
        (result.cases(), curves(result))


def test_a_result_is_of_make_bench(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"a.json must be a result of make bench, with benchmarks and machine_info"):
        read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (units.seconds(999.6e-6), "1.00 ms"),
        (units.seconds(2.013), "2.01 s"),
        (units.seconds(3e-8), "30.0 ns"),
        (units.size(0), "0 B"),
        (units.size(57e6), "57.0 MB"),
        (units.count(4321), "4321"),
        (units.ratio(1224.2), "1220x"),
        (units.ratio(9.96), "10x"),
        (units.ratio(0.853), "0.85x"),
    ],
)
def test_units(words, expected):
    assert words == expected


def test_two_results_side_by_side(tmp_path, capsys):
    a = {"slow": 1.0, "near": 1.0, "fast": 1.0, "old": 1.0}
    b = {"slow": 1.3, "near": 1.12, "fast": 0.5, "new": 2.0}
    paths = [
        str(
            write(
                tmp_path / f"{i}.json",
                [entry("peers", "x", name, t, peers=peers(peer=9.0)) for name, t in cases.items()],
            )
        )
        for i, cases in enumerate((a, b))
    ]
    assert compare.main(paths) == 0
    found = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()[1:]]
    case = "bench_x.py::test[{}]".format
    assert found[:4] == [
        [case("slow"), "1.00 s", "1.30 s", "1.30", "slower"],
        [case("near"), "1.00 s", "1.12 s", "1.12"],
        [case("fast"), "1.00 s", "500 ms", "0.50", "faster"],
        [case("fast") + " / peer", "9.00 s", "9.00 s", "1.00"],
    ]
    assert found[6:] == [
        [case("old"), "only in A, 1.00 s"],
        [case("old") + " / peer", "only in A, 9.00 s"],
        [case("new"), "only in B, 2.00 s"],
        [case("new") + " / peer", "only in B, 9.00 s"],
    ]


def test_the_readme_quotes_what_was_recorded():
    """Of numbers that no run of `make bench` gives: trainings, and the parity with Megvii's code."""
    readme, results = (ROOT / "README.md").read_text(), ROOT / "benchmarks/results"
    recorded, parity = (
        json.loads((results / f"{name}.json").read_text()) for name in ("digits_training", "parity_yolox")
    )
    demo, train = recorded["demo"], recorded["train"]
    listed = [", ".join(f"{ap:.3f}" for ap in demo[metric]) for metric in ("AP50", "AP")]
    times = f"{min(demo['seconds'].values())} to {max(demo['seconds'].values())} s"
    step = "{} to {} ms for 8 images".format(*demo["ms_per_step"])
    assert " | ".join([f"`{demo['command']}`, S = 0 to 4", *listed, times]) in readme
    assert step in readme and f"{demo['simota_percent_of_step']} %" in readme
    minutes = "{} min {} s".format(*divmod(train["seconds"], 60))
    assert f"`{train['command']}` | {train['AP50']:.3f} | {train['AP']:.3f} | {minutes}" in readme
    assert f"AP is {train['AP_gaussian_soft_nms']:.3f}" in " ".join(readme.split())
    quoted = f"On {parity['images']:,} random images of mixed size {parity['different']} of {parity['positives']:,}"
    assert quoted in " ".join(readme.split())
