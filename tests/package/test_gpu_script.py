"""tools/gpu.sh without a GPU: its parts among stand-ins, its limits, and that its tests need no package of a peer."""

import functools
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from gpu_script import ROOT, run_gpu_script

from benchmarks import bench_gpu
from benchmarks.report.reading import is_result

pytestmark = pytest.mark.plain
COMMAND, ALL_TIME, START = 600, 900, 90  # seconds that a borrowed machine gives a command and all, and takes to start
# Of what the requirements name, what such a machine has; matplotlib draws an explanation.
THERE = {"torch", "setuptools", "ninja", "pybind11", "numpy", "triton", "matplotlib"}
THERE |= {"pytest", "pytest-benchmark", "pytest-xdist"}
# Run by a Python in which packages are missing, and which believes in a GPU: ids of the tests of each command.
COLLECT = """\
import sys
missing, commands = eval(sys.stdin.read())
class Missing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"no module named {name!r} here", name=name)
sys.meta_path.insert(0, Missing)
import pytest, torch
torch.cuda.is_available, torch.Tensor.cuda = lambda: True, lambda tensor: tensor
for command in commands:
    print("status", pytest.main([*command, "--collect-only", "-n0", "-p", "no:hypothesispytest"]))
"""


@pytest.fixture
def run(tmp_path):
    return functools.partial(run_gpu_script, tmp_path)


def test_all_parts_run_and_come_back_in_one_file(run):
    found = run("build test sanitize bench")
    assert found.status == 0
    assert found.verdicts == dict.fromkeys(found.verdicts, "passed")
    names = {f"{name}.log" for name in found.verdicts}
    assert names == {"build.log", "test-cuda.log", "test-triton.log", "bench.log"} | {
        f"sanitize-{tool}.log" for tool in ("memcheck", "racecheck", "initcheck")
    }
    assert set(found.files) == names | {"summary.txt"}
    assert found.files["summary.txt"].startswith("NVIDIA Stand-In\n== build: passed")
    assert "memory is filled, all is well" in found.files["sanitize-racecheck.log"]
    assert "memory is 1, all is well" in found.files["sanitize-initcheck.log"]


def test_limits_add_up_to_what_a_borrowed_machine_gives(run):
    """Those of the calls that the script's first lines name."""
    default, bench, sanitize = run(), run("bench"), run("build sanitize")
    assert list(default.verdicts) == ["build", "test-cuda", "test-triton"] and list(bench.verdicts) == ["bench"]
    assert len(sanitize.verdicts) == 4
    assert max(call.seconds for call in (default, bench, sanitize)) < COMMAND - 30  # what comes before the parts
    assert START + default.seconds + bench.seconds <= ALL_TIME
    assert START + sanitize.seconds <= ALL_TIME


@pytest.mark.parametrize(
    ("failing", "part"), [("not triton", "test-cuda"), ("pip", "build"), ("-k triton", "test-triton")]
)
def test_a_part_that_fails_leaves_the_others_alone(run, failing, part):
    found = run(FAILING=failing)
    assert found.status == 1
    assert {name for name, verdict in found.verdicts.items() if verdict == "FAILED (1)"} == {part}
    assert len(found.verdicts) == 3
    assert found.files["summary.txt"].endswith(f"\nFAILED: {part}\n")


def test_benchmarks_that_take_too_long_leave_what_they_have(run, tmp_path):
    """The second one is at its first round when the time is up, which is what SIGALRM tells `timeout`."""
    benchmarks = tmp_path / "bench_stand_in.py"
    benchmarks.write_text(
        "import os, signal, time\n"
        "def endless():\n"
        "    os.kill(os.getppid(), signal.SIGALRM)\n"
        "    time.sleep(600)\n"
        "def test_quick(benchmark): benchmark.pedantic(time.sleep, (0.01,), rounds=3)\n"
        "def test_endless(benchmark): benchmark.pedantic(endless, rounds=3)\n"
    )
    found = run("bench", BENCH=str(benchmarks), YOLOX_OPS_COMMIT="0123abc")
    assert found.status == 1
    assert found.verdicts == {"bench": "FAILED (stopped after 290 s)"}
    result = json.loads(found.files["results/nvidia_stand_in.json"])
    assert is_result(result) and result["commit_info"]["id"] == "0123abc"
    assert [entry["name"] for entry in result["benchmarks"]] == ["test_quick"]


def test_a_device_that_the_sanitizer_refuses_is_no_failure_and_no_pass(run):
    refused = run("sanitize", REFUSAL="========= Error: Device not supported")
    assert refused.status == 0
    assert set(refused.verdicts.values()) == {"unsupported"}
    tools = "sanitize-memcheck sanitize-racecheck sanitize-initcheck"
    assert refused.files["summary.txt"].endswith(f"UNSUPPORTED, so not run: {tools}\n")
    found = run("sanitize", REFUSAL="========= ERROR SUMMARY: 3 errors")
    assert found.status == 1 and set(found.verdicts.values()) == {"FAILED (1)"}


def test_without_xdist_the_tests_run_all_the_same(run):
    calls = [call for call in run("test").calls if "cuda" in call]
    assert len(calls) == 2 and all("--dist" in call for call in calls)
    alone = run("test", FAILING="import xdist")
    calls = [call for call in alone.calls if "cuda" in call]
    assert alone.status == 0 and len(calls) == 2 and not any("--dist" in call for call in calls)
    assert "without pytest-xdist the tests run one after the other" in alone.files["summary.txt"]


def imported_names(distributions: set[str]) -> set[str]:
    return {
        name
        for name, owners in metadata.packages_distributions().items()
        if distributions & set(map(str.lower, owners))
    }


def test_its_tests_collect_without_peers(run):
    """And CUDA's part and Triton's have every test of a GPU between them."""
    found = run("build test sanitize bench")
    commands = [call[2:] for call in found.calls if call[:2] == ["-m", "pytest"]]
    cuda = next(command for command in commands if "not triton" in command)
    everything = [*cuda[: cuda.index("-k")], *cuda[cuda.index("-k") + 2 :]]
    text = "".join((ROOT / f"requirements/{name}.txt").read_text() for name in ("dev", "peers", "bench"))
    missing = imported_names(set(re.findall(r"^([\w-]+)==", text, re.MULTILINE)) - THERE)
    assert {"ot", "pycocotools", "hypothesis", "mmdet", "yolox", "ensemble_boxes"} <= missing
    collected = subprocess.run(
        [sys.executable, "-c", COLLECT],
        input=repr((missing, [*commands, everything])),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
    )
    answers = re.split(r"^status (.*)\n", collected.stdout, flags=re.MULTILINE)[:-1]
    assert set(answers[1::2]) == {"0"}, collected.stdout + collected.stderr
    tests = [set(re.findall(r"^\w+/.+::.+", answer, re.MULTILINE)) for answer in answers[::2]]
    assert len(tests) == len(commands) + 1 and all(tests)
    of_cuda, of_triton, of_bench, *sanitized, of_all = tests[commands.index(cuda) :]
    assert of_cuda | of_triton == of_all and not of_cuda & of_triton
    assert {test.split("::")[0] for test in of_all} == {word for word in cuda if word.endswith(".py")}
    assert all(set(part) < of_cuda for part in sanitized) and of_bench


def test_memory_is_poisoned_unless_a_sanitizer_is_to_see_it():
    sanitized = "YOLOX_OPS_UNFILLED" in os.environ
    assert torch.utils.deterministic.fill_uninitialized_memory != sanitized
    if not sanitized:
        itself = f"{__file__}::test_memory_is_poisoned_unless_a_sanitizer_is_to_see_it"
        again = os.environ | {"YOLOX_OPS_UNFILLED": "1"}
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-n0", itself], check=True, cwd=ROOT, env=again)


def test_launches_of_cuda_and_of_triton_are_counted(monkeypatch):
    launches = ["cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"]
    events = [SimpleNamespace(name=name) for name in [*launches, "cudaStreamSynchronize", "cudaMemcpyAsync", "simota"]]

    class Profile:
        def __init__(self, activities):
            self.events = lambda: events

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(torch.profiler, "profile", Profile)
    assert bench_gpu.launches_and_waits(lambda: None) == {"launches": 4, "waits": 1}
