"""The logic of benchmarks/ptx_budget.py, without a run; `make ptx-budget` is the check itself."""

import copy
import json

import pytest
import torch

from benchmarks import ptx_budget
from benchmarks.ptx_workloads import BACKENDS, WORKLOADS, Workload, figures_of
from benchmarks.sass import loops_of
from tests.ptx.costs import LaunchCost

NAME = "simota_b16"
VERSIONS = {"cuda": {"nvcc": "13.0"}, "triton": {"triton": "3.6"}}


def budget(us: float = 50.0, launches: int = 3, backends: tuple[str, ...] = BACKENDS) -> ptx_budget.Budget:
    """One workload, of which Triton's figures are always the same."""
    figures = {"cuda": {"launches": launches, "h200_us": us}, "triton": {"launches": 3, "h200_us": 90.0}}
    workload = {**WORKLOADS[NAME].facts, **{backend: figures[backend] for backend in backends}}
    return copy.deepcopy(
        {"backends": {backend: VERSIONS[backend] for backend in backends}, "workloads": {NAME: workload}}
    )


@pytest.mark.parametrize("us", [1.0, 50.0, 51.0])
def test_a_figure_within_its_budget_passes(us):
    assert ptx_budget.problems(budget(us), budget(50.0)) == []


def test_a_figure_above_its_budget_is_named():
    assert ptx_budget.problems(budget(51.1), budget(50.0)) == [
        "simota_b16, cuda: h200_us is 51.1, recorded 50.0 (allowed 2% more)"
    ]
    assert ptx_budget.problems(budget(launches=4), budget()) == [
        "simota_b16, cuda: launches is 4, recorded 3 (allowed 2% more)"
    ]


def test_a_figure_that_fell_is_told():
    assert ptx_budget.savings(budget(49.5), budget(50.0)) == []
    assert ptx_budget.savings(budget(40.0), budget(50.0)) == ["simota_b16, cuda: h200_us fell to 40.0 from 50.0"]


def test_a_figure_that_is_not_recorded_counts_as_nothing():
    recorded = budget()
    del recorded["workloads"][NAME]["triton"]["launches"]
    assert ptx_budget.problems(budget(), recorded) == [
        "simota_b16, triton: launches is 3, recorded 0.0 (allowed 2% more)"
    ]


def test_other_compilers_are_not_compared():
    recorded = budget(10.0)
    recorded["backends"]["cuda"] = {"nvcc": "12.8"}
    assert ptx_budget.problems(budget(), recorded) == [
        "cuda: {'nvcc': '13.0'} compiled the kernels, recorded were {'nvcc': '12.8'}: figures cannot be compared"
    ]


def test_without_nvcc_triton_is_checked_alone():
    recorded = budget()
    assert ptx_budget.problems(budget(backends=("triton",)), recorded) == []
    recorded["workloads"][NAME]["triton"]["h200_us"] = 10.0
    (told,) = ptx_budget.problems(budget(backends=("triton",)), recorded)
    assert told.startswith("simota_b16, triton: h200_us is 90.0")


def test_workloads_unlike_the_record_are_named():
    recorded = budget()
    recorded["workloads"]["simota_b3"] = recorded["workloads"][NAME]
    assert ptx_budget.problems(budget(), recorded) == ["simota_b3: recorded, but there is no such workload"]
    recorded["workloads"] = {}
    assert len(ptx_budget.problems(budget(), recorded)) == 2
    recorded = budget()
    recorded["workloads"][NAME]["count"] = 1
    assert ptx_budget.problems(budget(), recorded) == [
        "simota_b16, cuda: not recorded as it is",
        "simota_b16, triton: not recorded as it is",
    ]


def test_a_run_fails_until_its_figures_are_recorded(monkeypatch, tmp_path, capsys):
    def main(*options: str) -> int:
        monkeypatch.setattr("sys.argv", ["ptx_budget", *options])
        return ptx_budget.main()

    monkeypatch.setattr(ptx_budget, "RECORD", tmp_path / "ptx_budget.json")
    monkeypatch.setattr(ptx_budget, "has_nvcc", lambda: True)
    monkeypatch.setattr(ptx_budget, "count", lambda backends: budget(backends=tuple(backends)))
    assert main() == 1 and ptx_budget.RENEW in capsys.readouterr().out
    assert main("--record") == 0 and main() == 0
    monkeypatch.setattr(ptx_budget, "count", lambda backends: budget(60.0))
    capsys.readouterr()
    assert main() == 1 and "simota_b16, cuda: h200_us is 60.0, recorded 50.0" in capsys.readouterr().out
    monkeypatch.setattr(ptx_budget, "count", lambda backends: budget(40.0))
    assert main() == 0 and "simota_b16, cuda: h200_us fell to 40.0 from 50.0" in capsys.readouterr().out
    monkeypatch.setattr(ptx_budget, "has_nvcc", lambda: False)
    monkeypatch.setattr(ptx_budget, "count", lambda backends: budget(backends=tuple(backends)))
    assert main() == 0 and "no nvcc here" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="nvcc is needed"):
        main("--record")


def test_figures_of_launches():
    """In a workload of 2 iterations, of which a call would have 5: the last is one launch, and two follow."""
    workload = Workload("sinkhorn", lambda: (), "element", 64, iterations=(2, 5))
    cost = {"megahertz": 1.0, "instructions": 10, "fp64_instructions": 4, "bytes": 32}
    launches = [
        [LaunchCost(makespan=us, longest_block=us, mean_block=us / 2, **cost), LaunchCost(throughput_bound=9, **cost)]
        for us in (1.0, 2.0, 3.0, 4.0, 5.0)
    ]
    figures = figures_of(workload, launches)
    assert (figures["launches"], figures["h200_us"], figures["rtx_4090_bound_us"]) == (5, 15, 45)
    assert (figures["longest_block_us"], figures["mean_block_us"]) == (5, 2.5)
    assert (figures["instructions"], figures["fp64_instructions"], figures["bytes"]) == (25, 10, 2.5)
    assert figures["h200_5_iterations_us"] == 15 + 3 * 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_op_has_a_workload(backend):
    registered = {name.partition("::")[2] for name in torch._C._dispatch_get_all_op_names() if "yolox_ops::" in name}
    assert {workload.op for workload in WORKLOADS.values() if backend in workload.backends} == registered


def test_every_workload_has_a_record():
    recorded = json.loads(ptx_budget.RECORD.read_text())
    assert list(recorded["backends"]) == list(BACKENDS)
    assert list(recorded["workloads"]) == list(WORKLOADS)
    for name, workload in WORKLOADS.items():
        assert recorded["workloads"][name].keys() == {*workload.facts, *workload.backends}


def test_loops_are_found_in_what_the_disassembler_writes():
    sass = """
.L_x_1:
        /*0010*/                   LDS R1, [R2] ;
.L_x_0:
        /*0020*/                   FADD R1, R1, R3 ;
        /*0030*/              @!P0 BRA `(.L_x_2) ;
        /*0040*/               @P1 BRA `(.L_x_0) ;
        /*0050*/                   BRA `(.L_x_1) ;
.L_x_2:
"""
    inner, outer = loops_of(sass)
    assert [line.split()[0] for line in inner] == ["FADD", "@!P0", "@P1"] and len(outer) == 5


def test_a_pair_of_boxes_takes_few_instructions():
    figures = json.loads(ptx_budget.RECORD.read_text())["workloads"]["pairwise_iou_2000x2000"]["cuda"]
    assert figures["sass_instructions"] <= 24
