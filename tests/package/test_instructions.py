"""The logic of benchmarks/instructions.py, without valgrind; `make instructions` is the check itself."""

import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import instructions
from benchmarks.workloads import workloads

WORKLOADS = workloads()
# As callgrind writes it: an object's line stands once for all functions below it, a call's cost on the line after it.
OUTPUT = """\
# callgrind format
version: 1
part: 1
desc: Timerange: Basic block 0 - 9
desc: Trigger: Client Request: simota
positions: line
events: Ir
summary: 2011207
ob=/usr/lib/libpython3.11.so.1.0
fl=???
fn=_PyEval_EvalFrameDefault
0 1000000
cob=/there/yolox_ops/_C.so
cfi=???
cfn=simota
calls=1 0
0 1200
ob=/there/yolox_ops/_C.so
fl=???
fn=simota
0 100
cob=/lib/x86_64-linux-gnu/libc.so.6
cfi=???
cfn=memset
calls=1 0
0 1000
cfn=helper
calls=2 0
0 20
cob=/there/torch/lib/libtorch_cpu.so
cfn=aoti_torch_empty
calls=1 0
0 10000
0 7
fn=helper
0 20
ob=/lib/x86_64-linux-gnu/libc.so.6
fl=???
fn=memset
0 1000
totals: 2011207
part: 2
desc: Trigger: Client Request: soft_nms
ob=/there/yolox_ops/_C.so
fn=soft_nms
0 5
cob=/lib/x86_64-linux-gnu/libm-2.31.so
cfn=exp
calls=3 0
0 60
part: 3
desc: Trigger: Program termination
ob=/there/yolox_ops/_C.so
fn=soft_nms
0 5000
"""


def counts(**numbers: int) -> instructions.Counts:
    ops = {name: instructions.Op(workload="some boxes", instructions=number) for name, number in numbers.items()}
    return {"compiler": "g++ 12", "simd": "AVX2", "torch": "2.13", "valgrind": "3.19", "ops": ops}


def test_counted_is_the_library_and_what_it_calls_in_libm_and_libc():
    assert instructions.kernel_instructions(OUTPUT.splitlines(keepends=True)) == {
        "simota": 100 + 1000 + 7 + 20,
        "soft_nms": 5 + 60,
    }


@pytest.mark.parametrize("number", [980, 1000, 1020])
def test_a_count_near_its_record_passes(number):
    assert instructions.problems(counts(simota=number), counts(simota=1000)) == []


@pytest.mark.parametrize(("number", "change"), [(979, "-2.1%"), (1021, "+2.1%")])
def test_a_count_off_its_record_is_reported(number, change):
    told = instructions.problems(counts(simota=number, ota=10), counts(simota=1000, ota=10))
    assert told == [f"simota: {number:,} instructions, recorded 1,000 ({change}, allowed 2%)"]


def test_another_compiler_gets_a_wider_margin():
    recorded = {**counts(simota=1000), "compiler": "g++ 14"}
    assert instructions.problems(counts(simota=1240), recorded) == []
    assert len(instructions.problems(counts(simota=1260), recorded)) == 1


def test_other_instruction_sets_are_not_compared():
    told = instructions.problems(counts(simota=1000), {**counts(simota=1000), "simd": "baseline"})
    assert told == ["instructions must be counted at the recorded baseline, these ran at AVX2"]


def test_workloads_unlike_the_record_are_reported():
    recorded = counts(ota=1, simota=1000)
    recorded["ops"]["simota"]["workload"] = "fewer boxes"
    assert instructions.problems(counts(simota=1000, soft_nms=1), recorded) == [
        "ota: recorded, but it has no workload",
        "simota: the workload is 'some boxes', recorded was 'fewer boxes'",
        "soft_nms: not recorded",
    ]


def test_a_run_fails_until_its_counts_are_recorded(monkeypatch, tmp_path, capsys):
    def main(*options: str) -> int:
        monkeypatch.setattr("sys.argv", ["instructions", *options])
        return instructions.main()

    monkeypatch.setattr(instructions, "RECORD", tmp_path / "instructions.json")
    monkeypatch.setattr(instructions, "count", lambda: counts(simota=1000))
    assert main() == 1 and instructions.RENEW in capsys.readouterr().out
    assert main("--record") == 0 and main() == 0
    monkeypatch.setattr(instructions, "count", lambda: {**counts(simota=1100), "compiler": "g++ 14"})
    capsys.readouterr()
    assert main() == 0 and "compiler: g++ 14, recorded g++ 12" in capsys.readouterr().out
    monkeypatch.setattr(instructions, "count", lambda: counts(simota=1100))
    assert main() == 1 and "+10.0%" in capsys.readouterr().out


def test_without_valgrind_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt install valgrind"):
        instructions.count()


def test_every_op_has_a_workload_and_every_workload_a_record():
    registered = {name.partition("::")[2] for name in torch._C._dispatch_get_all_op_names() if "yolox_ops::" in name}
    assert registered <= set(WORKLOADS)
    recorded = json.loads(instructions.RECORD.read_text())["ops"]
    words = {name: prepare.__doc__ for name, prepare in WORKLOADS.items()}
    assert {name: op["workload"] for name, op in recorded.items()} == words


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_calls_its_op(name):
    called = []

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.append(func.name())
            return func(*args, **(kwargs or {}))

    call = WORKLOADS[name]()
    with Calls():
        call()
    assert [op for op in called if "yolox_ops" in op] == [f"yolox_ops::{name.removeprefix('batched_')}"]
