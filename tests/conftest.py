import os
from pathlib import Path

import pytest
import torch
from impls import SERVERS, SIMULATED, ServedBy

import yolox_ops

# A run that means to test one build must not find another.
assert os.environ.get("YOLOX_OPS_UNDER_TEST", "") in str(Path(yolox_ops.__file__).parent), yolox_ops.__file__

collect_ignore = [] if SIMULATED else ["ptx"]  # they need the simulator, which `make simulator` builds
# Sanitizers see nothing new in these files: their native code, if any, is what the ops' own tests run.
if "YOLOX_OPS_UNDER_TEST" in os.environ:
    collect_ignore += ["explanation", "integrations", "trainer", "yolox"]
    names = "ops/test_cuda_build ops/test_peer ops/test_presets ops/test_triton package/test_import package/test_layout"
    collect_ignore_glob = [f"{name}*" for name in names.split()]

# The suite must give the same verdict on a laptop and on a server.
torch.set_num_threads(min(2, os.cpu_count() or 1))


def pytest_collection_modifyitems(config, items):
    """Tests of devices are deselected where there is none. Those that take gigabytes go to one worker, one after the
    other (--dist loadgroup)."""
    without_device = [item for item in items if "NOTSET" in item.nodeid]  # pytest's name for no parameters
    config.hook.pytest_deselected(items=without_device)
    items[:] = [item for item in items if item not in without_device]
    for item in items:
        if item.get_closest_marker("heavy"):
            item.add_marker(pytest.mark.xdist_group("heavy"))


@pytest.fixture(autouse=True)
def seeded_and_poisoned():
    """Every test starts from one seed, and memory that a kernel forgets to write holds NaN or INT64_MAX, unless the
    simulator or compute-sanitizer (tools/gpu.sh) knows a read of it."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = not SIMULATED and "YOLOX_OPS_UNFILLED" not in os.environ
    if SIMULATED:
        from tests.ptx.tensors import simulator

        simulator().set_seed(int(os.environ.get("YOLOX_OPS_PTX_SEED", "1")))
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def threads_of_networks(request):
    """Two pytest workers of two threads each wait for one another in every layer, a hundred times longer than they
    compute; the ops have tests of threads of their own. `make cpus` asks for more; by itself torch would take no more
    than there are cores."""
    threads = torch.get_num_threads()
    if request.path.parent.name in ("yolox", "trainer", "integrations"):
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def server(request):
    marker = request.node.get_closest_marker("served_by")
    if marker is None:
        yield
        return
    with ServedBy(SERVERS[marker.args[0]]):
        yield
