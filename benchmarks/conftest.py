"""The fixture `race`, and what a result says of its machine."""

import os

import numpy as np
import pytest
import torch

import yolox_ops
from benchmarks import machine
from benchmarks.peers import missing as peers_missing
from benchmarks.race import race as race_of

torch.set_num_threads(machine.threads())
CEILINGS = pytest.StashKey[dict[str, float]]()


def pytest_configure(config):
    # torch's own compiler says so of torch's own code.
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


@pytest.fixture(scope="session")
def ceilings(request):
    """Of this machine, in this run."""
    return request.config.stash.setdefault(CEILINGS, machine.ceilings())


@pytest.fixture
def race(benchmark, ceilings):
    """benchmarks.race.race for this test; `work` (benchmarks/floors.py) becomes the floor."""

    def run(ours, peers=None, *, work=None, table="peers", **info):
        floor = {"floor": work.floor(ceilings)} if work else {}
        race_of(benchmark, ours, peers or {}, table=table, **info, **floor)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A benchmark that is interrupted counts as failed: over one without a round pytest-benchmark stumbles, and then
    writes none of those before it."""
    try:
        return (yield)
    except KeyboardInterrupt:
        if "benchmark" in item.funcargs:
            item.funcargs["benchmark"].has_error = True
        raise


def pytest_benchmark_update_commit_info(config, commit_info):
    """In a copy without .git the commit is told by whoever made the copy."""
    commit_info["id"] = os.environ.get("YOLOX_OPS_COMMIT", commit_info["id"])


def pytest_benchmark_update_machine_info(config, machine_info):
    del machine_info["node"], machine_info["release"]
    machine_info["yolox_ops"] = {
        "cpu": machine.processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "versions": {
            "yolox_ops": yolox_ops.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            **peers_missing.versions(),
        },
        "not_installed": peers_missing.not_installed(),
        "ceilings": config.stash.get(CEILINGS, {}),
    }


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Medians and quartiles are kept, and not every round."""
    for entry in output_json["benchmarks"]:
        entry["stats"].pop("data", None)
