"""Many callers at once: threads, processes, and the workers of a data loader, forked or spawned."""

import os

import pytest
import torch
from arrays import in_a_new_process
from cases import make_cases
from load import MB, Report, load_all

NAMES = "simota", "ota", "soft_nms of one label", "pairwise_iou ciou", "numpy soft_nms of one label"
TESTS = os.path.dirname(os.path.dirname(__file__))


def test_threads_and_processes():
    threads = torch.get_num_threads()
    reports = load_all(0.1, threads=64, processes=1)
    torch.set_num_threads(threads)
    assert all(report.wrong == [] and report.answers == reports[0].answers for report in reports)
    assert reports[0].calls >= 128


def test_growing_memory_and_wrong_answers_are_reported():
    steady = Report({}, 1, [], [100 * MB, 150 * MB, 149 * MB, 151 * MB, 150 * MB, 150 * MB])
    assert steady.problems() == []
    rising = steady._replace(memory=[MB * x for x in (100, 120, 140, 160, 180, 200)], wrong=["ota", "ota"])
    assert rising.problems() == [
        "ota: another answer",
        "memory: 40 MB more in the last third of the time than in the second",
    ]


class Answers(torch.utils.data.Dataset):
    def __len__(self):
        return len(NAMES)

    def __getitem__(self, i):
        return make_cases(torch.float32)[NAMES[i]].answer()


@pytest.mark.plain
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers(context):
    """The parent has called every op with two threads before."""
    data = Answers()
    loader = torch.utils.data.DataLoader(
        data, batch_size=None, num_workers=2, multiprocessing_context=context, timeout=120
    )
    assert list(loader) == [data[i] for i in range(len(NAMES))]


@pytest.mark.plain
def test_forked_child_of_a_parent_with_threads():
    code = f"""
import os, sys
sys.path[:0] = [{os.path.dirname(TESTS)!r}, {os.path.join(TESTS, "support")!r}, {os.path.join(TESTS, "programs")!r}]
import torch
from cases import make_cases
torch.set_num_threads(2)
# Torch refuses to differentiate in a forked child.
cases = [case for case in make_cases(torch.float32).values() if not case.differentiable]
answers = [case.answer() for case in cases]
child = os.fork()
if not child:
    os._exit(0 if [case.answer() for case in cases] == answers else 1)
assert os.waitpid(child, 0)[1] == 0 and [case.answer() for case in cases] == answers
"""
    in_a_new_process(code, "-W", "ignore::DeprecationWarning")
