"""An op's answer has the same bits however often it is asked, by however many threads, at every level of instructions,
in whichever company, and compiled."""

import itertools

import pytest
import torch
from cases import bits, make_cases
from impls import ServedBy
from levels import LEVELS, kernels_of, numpy_of

import yolox_ops.numpy as on_arrays

pytestmark = pytest.mark.plain  # sanitizers meet these kernels in the tests of the ops, and a build with one level
DTYPES = {"float32": torch.float32, "float64": torch.float64}
CASES = {name: make_cases(dtype) for name, dtype in DTYPES.items()}
each_case = pytest.mark.parametrize("name", CASES["float32"])
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@each_dtype
@each_case
def test_runs_threads_and_levels(name, dtype, monkeypatch, use_threads):
    case = CASES[dtype][name]
    answer = case.answer()
    for level, threads, _ in itertools.product(LEVELS, (1, 2, 3, 8), range(2)):
        use_threads(threads)
        monkeypatch.setattr(on_arrays, "_numpy", numpy_of(level))
        with ServedBy(kernels_of(level)):
            assert case.answer() == answer, f"{level}, {threads} threads"


@pytest.fixture
def use_threads(monkeypatch):
    before = torch.get_num_threads()

    def use(count):
        torch.set_num_threads(count)
        monkeypatch.setenv("YOLOX_OPS_NUM_THREADS", str(count))

    yield use
    torch.set_num_threads(before)


@each_case
def test_compiled_calls_give_the_same_bits(name):
    if not name.startswith("numpy"):
        case = CASES["float32"][name]
        torch.compiler.reset()
        compiled = torch.compile(case.function, fullgraph=True, backend="aot_eager")
        assert case.answer(compiled) == case.answer()


# What the arguments of a case hold one of for every image; the anchors' points and strides they hold once.
SHARED = {"simota": (3, 4), "simota_cost": (3, 4), "ota": (3, 4)}
# In each a second axis of ground truths, or of boxes, may be padded, by what counts for nothing.
PADDED = {
    "simota": {5: float("nan"), 6: -7},
    "simota_cost": {5: float("nan"), 6: -7},
    "ota": {5: float("nan"), 6: -7},
    "dynamic_k_match": {0: float("nan"), 1: 9.0},
    "soft_nms": {0: float("nan"), 1: 0.0, 2: 3},
}
BATCHED = [name for name in CASES["float32"] if not name.startswith("numpy")]
HOSTILE = float("nan"), float("inf"), -3e38


def images(case, name, order):
    """The arguments of a batch of these images of the case, in this order."""
    return [x if i in SHARED.get(name, ()) else x[list(order)] for i, x in enumerate(case.args)]


def by_image(found, count):
    """The bits of every image's part of an answer."""
    return [tuple(bits(x[b]) for x in found) for b in range(count)]


def outputs(case, args):
    found = case.function(*args)
    return found if isinstance(found, tuple) else (found,)


@each_dtype
@pytest.mark.parametrize("name", BATCHED)
def test_neighbours(name, dtype, use_threads):
    """Images alone, in another order, twice, and beside one whose numbers are all NaN or out of any range."""
    case = CASES[dtype][name]
    alone = [by_image(outputs(case, images(case, name, [b])), 1)[0] for b in range(3)]
    for order, threads in itertools.product(([0, 1, 2], [2, 0, 1], [1, 2, 2, 0, 0, 0, 1, 2, 1]), (1, 2)):
        use_threads(threads)
        together = by_image(outputs(case, images(case, name, order)), len(order))
        assert together == [alone[b] for b in order]
    for value in HOSTILE:
        args = [x.clone() for x in images(case, name, [0, 1, 2])]
        shared = SHARED.get(name, ())
        for i, x in enumerate(args):
            # The ground truths of an image and its masses may not be just anything.
            if i not in shared and x.is_floating_point() and not (i == 5 or (name == "sinkhorn" and i)):
                x[1] = value
        if name in SHARED:
            args[-1][1] = 4
        found = by_image(outputs(case, args), 3)
        assert found[0] == alone[0] and found[2] == alone[2]


@each_dtype
@pytest.mark.parametrize("name", [name for name in BATCHED if name.partition(" ")[0] in PADDED])
def test_padding(name, dtype):
    case = CASES[dtype][name]
    padding = PADDED[name.partition(" ")[0]]
    args = list(case.args)
    for i, value in padding.items():
        if i < len(args):
            more = args[i].new_full((args[i].shape[0], 37, *args[i].shape[2:]), value)
            args[i] = torch.cat([args[i], more], 1)
    plain, padded = outputs(case, case.args), outputs(case, args)
    for x, y in zip(plain, padded, strict=True):
        assert bits(y[:, : x.shape[1]] if x.dim() > 1 else y) == bits(x)
