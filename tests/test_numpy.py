"""yolox_ops.numpy gives what yolox_ops gives on tensors, bit for bit, and leaves the caller's arrays as they are."""

import inspect
import math
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
import torch
from boxes import ODD_BOXES, random_boxes
from impls import SLOW
from selection import check_run, sample

import yolox_ops
import yolox_ops.numpy as on_arrays
from python_ref.pairwise_iou import pairwise_iou as reference
from yolox_ops import _numpy

NAN, INF = math.nan, math.inf
BROKEN = torch.tensor(
    [[NAN, 0, 10, 10], [0, 0, 10, NAN], [-INF, -INF, INF, INF], [0, 0, INF, 10], [1e30, 1e30, 2e30, 2e30]]
)
ODD = torch.cat([ODD_BOXES, BROKEN, torch.tensor([[-1e18, -1e18, 1e18, 1e18]]), random_boxes(20)])
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
METHODS = ["hard", "linear", "gaussian", "mean_gaussian"]
each_method = pytest.mark.parametrize("method", METHODS)


def array(value):
    """A tensor as an array, whose dtype is ml_dtypes' for bfloat16; all else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.float().numpy().astype(ml_dtypes.bfloat16) if value.dtype == torch.bfloat16 else value.numpy()


def bits(values):
    """As bytes; a NaN may be any."""
    return np.where(values == values, values, NAN).tobytes()


def check_same(op, *args, **kwargs):
    """The function of both modules gives the same bits, and leaves its arguments as they are; returns its answer."""
    arrays = [array(value) for value in args]
    before = [x.tobytes() for x in arrays if isinstance(x, np.ndarray)]
    mine, theirs = getattr(on_arrays, op)(*arrays, **kwargs), getattr(yolox_ops, op)(*args, **kwargs)
    pairs = [(mine, theirs)] if op == "pairwise_iou" else list(zip(mine, theirs, strict=True))
    for result, tensor in pairs:
        assert result.dtype == tensor.numpy().dtype and result.shape == tensor.shape and result.flags.writeable
        assert bits(result) == bits(tensor.numpy())
        assert not any(np.shares_memory(result, x) for x in arrays if isinstance(x, np.ndarray))
    assert before == [x.tobytes() for x in arrays if isinstance(x, np.ndarray)]
    return mine


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_pairwise_iou(fmt, kind):
    boxes = random_boxes(3, 40, fmt=fmt)
    for other in (random_boxes(3, 30, fmt=fmt, seed=1), random_boxes(30, fmt=fmt), random_boxes(7, 1, 30, fmt=fmt)):
        check_same("pairwise_iou", boxes, other, fmt=fmt, kind=kind)
    check_same("pairwise_iou", ODD, ODD, fmt=fmt, kind=kind)
    found = on_arrays.pairwise_iou(boxes[0].numpy(), boxes[1].numpy(), fmt=fmt, kind=kind)
    expected = reference(boxes[0].tolist(), boxes[1].tolist(), fmt, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    boxes, scores = ODD.to(dtype), torch.rand(len(ODD)).to(dtype)
    for other in (boxes, boxes.float(), boxes.double()):
        check_same("pairwise_iou", boxes, other)
        check_same("soft_nms", other, scores)
        check_same("soft_nms", boxes, scores.to(other.dtype))


@pytest.mark.parametrize("shapes", [((0, 4), (5, 4)), ((5, 4), (0, 4)), ((0, 3, 4), (3, 4)), ((2, 0, 4), (2, 0, 4))])
def test_empty_sets(shapes):
    check_same("pairwise_iou", *map(torch.zeros, shapes))


@each_method
@pytest.mark.parametrize("n", [0, 1, 17, 600])
def test_soft_nms(method, n):
    boxes, scores, labels = sample(n, extent=200)
    for groups in (labels, None):
        check_same("soft_nms", boxes, scores, groups, method=method)
        check_same("soft_nms", boxes, (scores * 4).round() / 4, groups, method=method)  # of tied scores

    def run(*args, **rule):
        return tuple(torch.from_numpy(x) for x in on_arrays.soft_nms(*map(array, args), **rule))

    check_run(run, boxes[:150], scores[:150], labels[:150], method=method)


@each_method
def test_options(method):
    boxes, scores, labels = sample(90)
    boxes, scores = torch.cat([boxes, ODD]), torch.cat([scores, torch.rand(len(ODD))])
    scores[::7], scores[3], scores[5] = NAN, -INF, INF
    labels = torch.arange(len(boxes)) % 3
    check_same("soft_nms", boxes, scores - 0.2, labels, method=method, score_threshold=-3.0)
    for fmt in ("xywh", "cxcywh"):
        check_same("soft_nms", boxes, scores, method=method, fmt=fmt, sigma=0.2, iou_threshold=0.6)
    for most in (0, 1, 7, 2**40):
        check_same("soft_nms", boxes, scores, labels, method=method, max_detections=most)
    plain = on_arrays.soft_nms(boxes.numpy(), scores.numpy(), max_detections=7, sigma=0.25)
    numpys = on_arrays.soft_nms(boxes.numpy(), scores.numpy(), max_detections=np.int32(7), sigma=np.float32(0.25))
    assert all((a == b).all() for a, b in zip(plain, numpys, strict=True))


@each_method
@pytest.mark.parametrize("shape", [(4, 700), (3, 0), (0, 5), (0, 0)])
def test_batches(method, shape):
    boxes, scores, labels = sample(*shape, extent=400)
    for groups, most in ((labels, None), (None, 90)):
        found = check_same("batched_soft_nms", boxes, scores, groups, method=method, max_detections=most)
        assert isinstance(found, on_arrays.SoftNMS)
    assert on_arrays.SoftNMS._fields == yolox_ops.SoftNMS._fields


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", ">i4"])
def test_labels(dtype):
    boxes, scores, labels = sample(200, kinds=100)
    info = np.iinfo(dtype)
    values = np.linspace(info.min, info.max, 101)[:-1].astype(dtype)[labels.numpy()]
    found = on_arrays.soft_nms(boxes.numpy(), scores.numpy(), values)
    expected = yolox_ops.soft_nms(boxes, scores, labels)
    assert all(mine.tobytes() == theirs.numpy().tobytes() for mine, theirs in zip(found, expected, strict=True))


def test_many_boxes():
    size = 5000 if SLOW else 200_000
    boxes, scores, labels = sample(size, kinds=80, extent=4000)
    check_same("soft_nms", boxes, scores, labels)
    check_same("soft_nms", boxes, scores, method="hard", max_detections=50)
    check_same("pairwise_iou", boxes[:3000], boxes[1000:2000], kind="giou")


def misaligned(x):
    raw = np.empty(x.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(x.tobytes(), np.uint8)
    return raw.view(x.dtype).reshape(x.shape)


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: np.stack([x, x], -1)[..., 0],
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1][::-1],
        lambda x: x.astype(x.dtype.newbyteorder()),
        misaligned,
        lambda x: x.view(np.matrix) if x.ndim == 2 else x,
    ],
    ids=["strided", "columns first", "reversed", "other byte order", "misaligned", "matrix"],
)
def test_how_an_array_lies_does_not_matter(lay):
    boxes, scores, labels = map(array, sample(50))
    laid = lay(boxes), lay(scores), lay(labels)
    for mine, plain in zip(on_arrays.soft_nms(*laid), on_arrays.soft_nms(boxes, scores, labels), strict=True):
        assert type(mine) is np.ndarray and mine.tobytes() == plain.tobytes()
    iou = on_arrays.pairwise_iou(laid[0], laid[0][:7])
    assert type(iou) is np.ndarray and iou.tobytes() == on_arrays.pairwise_iou(boxes, boxes[:7]).tobytes()


def peak_bytes(function, *args, **kwargs):
    """The most that NumPy held at once in a call, its outputs included."""
    tracemalloc.start()
    try:
        function(*args, **kwargs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_read_where_they_lie(dtype):
    """What NumPy allocates is the outputs; one copy more for an array that cannot be read so."""
    boxes, scores, labels = (x.numpy() for x in sample(100_000, kinds=9))
    boxes, scores = boxes.astype(dtype), scores.astype(dtype)
    for x in (boxes, scores, labels):
        x.flags.writeable = False
    small = 50_000
    assert peak_bytes(on_arrays.soft_nms, boxes, scores, labels, max_detections=1) < small
    assert peak_bytes(on_arrays.pairwise_iou, boxes, boxes[:1]) < boxes.nbytes // 4 + small
    assert peak_bytes(on_arrays.pairwise_iou, boxes.reshape(4, -1, 4), boxes[:4, None]) < boxes.nbytes // 4 + small
    strided, half = np.repeat(boxes, 2, 0)[::2], np.repeat(boxes.astype(np.float16), 2, 0)[::2]
    swapped = boxes.astype(boxes.dtype.newbyteorder())
    for other in (strided, strided.reshape(4, -1, 4), half, swapped, misaligned(boxes)):
        one = other.size * (4 if other.dtype == np.float16 else dtype().itemsize)
        pair = np.zeros((*other.shape[:-2], 1, 4), np.float16)
        assert one < peak_bytes(on_arrays.pairwise_iou, other, pair) < 1.25 * one + small


@pytest.fixture
def threads(monkeypatch):
    return lambda count: monkeypatch.setenv("YOLOX_OPS_NUM_THREADS", str(count))


def every_function():
    boxes, scores, labels = map(array, sample(5, 4000, kinds=40, extent=600))
    return [
        *on_arrays.batched_soft_nms(boxes, scores),
        *on_arrays.batched_soft_nms(boxes, scores, labels, method="mean_gaussian"),
        on_arrays.pairwise_iou(boxes[0], boxes[:, :500], kind="ciou"),
        on_arrays.pairwise_iou(boxes[0, :3], boxes[0, :3]),
    ]


def test_threads_and_callers_do_not_change_the_answer(threads):
    answers = []
    for count in (1, 2, 3, 5):
        threads(count)
        torch.manual_seed(0)
        answers.append([x.tobytes() for x in every_function()])
    assert all(answer == answers[0] for answer in answers)
    torch.manual_seed(0)
    boxes, scores, labels = map(array, sample(5, 4000, kinds=40, extent=600))
    alone = [x.tobytes() for x in on_arrays.batched_soft_nms(boxes, scores, labels)]
    with ThreadPoolExecutor(8) as pool:
        crowd = pool.map(lambda _: on_arrays.batched_soft_nms(boxes, scores, labels), range(16))
        assert all([x.tobytes() for x in found] == alone for found in crowd)


def test_how_many_threads(monkeypatch):
    def allowed(own, openmp):
        for name, value in (("YOLOX_OPS_NUM_THREADS", own), ("OMP_NUM_THREADS", openmp)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        return _numpy.allowed_threads()

    assert allowed("3", "5") == 3 and allowed(None, "5") == 5 and allowed("", "4,2") == 4
    cpus = os.sched_getaffinity(0)
    for none in (None, "", "many", "0", "-2"):
        assert allowed(None, none) == len(cpus)
    try:
        os.sched_setaffinity(0, {min(cpus)})
        assert allowed(None, None) == 1
    finally:
        os.sched_setaffinity(0, cpus)
    boxes = random_boxes(2).numpy()
    for wrong in ("many", "0", "-1"):
        with pytest.raises(ValueError, match=f"YOLOX_OPS_NUM_THREADS must be a positive integer, got '{wrong}'"):
            allowed(wrong, None)
        with pytest.raises(ValueError, match="YOLOX_OPS_NUM_THREADS"):
            on_arrays.pairwise_iou(boxes, boxes)


LONG = 2000 if SLOW else 12_000


def long_call():
    """About a fifth of a second: every box lowers every other."""
    on_arrays.soft_nms(
        np.tile(np.float32([0, 0, 9, 9]), (LONG, 1)), np.ones(LONG, np.float32), score_threshold=0, sigma=99
    )


def test_other_python_threads_run_meanwhile():
    """The main thread takes the time while another one calls: never in the midst of it, if that kept the GIL."""
    span = []

    def call():
        span.append(time.perf_counter())
        long_call()
        span.append(time.perf_counter())

    caller = threading.Thread(target=call)
    caller.start()
    seen = []
    while caller.is_alive():
        seen.append(time.perf_counter())
        time.sleep(0.001)
    begin, end = span
    assert end - begin > 10 * sys.getswitchinterval()
    assert any(begin + 0.2 * (end - begin) < moment < end - 0.2 * (end - begin) for moment in seen)


def test_work_is_shared_by_threads_that_end_with_the_call(threads):
    def count():
        return len(os.listdir("/proc/self/task"))

    threads(4)
    boxes = random_boxes(3000).numpy()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # starts its thread
        before, most = count(), 0
        for _ in range(50):
            call = pool.submit(on_arrays.pairwise_iou, boxes, boxes, kind="ciou")
            while not call.done():
                most = max(most, count())
            while count() > before:  # the kernel lists a thread a little longer than it lives
                time.sleep(0.001)
            if most > before:
                break
    assert before < most <= before + 3


def in_a_new_process(code, *options, **environment):
    run = [sys.executable, "-W", "error", *options, "-c", code]
    result = subprocess.run(run, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result


def test_a_process_can_fork_between_calls():
    code = """
import os, numpy as np, yolox_ops.numpy as on_arrays
boxes = np.random.default_rng(0).random((2000, 4), np.float32)
call = lambda: on_arrays.pairwise_iou(boxes, boxes).tobytes()
answer = call()
child = os.fork()
if not child:
    os._exit(0 if call() == answer else 1)
assert os.waitpid(child, 0)[1] == 0 and call() == answer
"""
    in_a_new_process(code, YOLOX_OPS_NUM_THREADS="4", OPENBLAS_NUM_THREADS="1")  # of BLAS Python would warn


@pytest.mark.heavy
def test_memory_and_threads_may_run_out():
    """Without room for a thread's stack the caller does all the work; without room in a thread it is a MemoryError."""
    code = """
import re, resource, numpy as np, yolox_ops.numpy as on_arrays
def call(extra):
    size = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
    resource.setrlimit(resource.RLIMIT_AS, (size + extra, resource.RLIM_INFINITY))
    try:
        return on_arrays.pairwise_iou(a, b)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
a = b = np.random.default_rng(0).random((1000, 4), np.float32)
assert (call(6 << 20) == on_arrays.pairwise_iou(a, b)).all()
a, b = a[:4], np.resize(b, (2_000_000, 4))
try:
    call(60 << 20)
except MemoryError:
    print("MemoryError")
assert on_arrays.pairwise_iou(a, b).shape == (4, 2_000_000)
"""
    run = in_a_new_process(code, YOLOX_OPS_NUM_THREADS="4", OPENBLAS_NUM_THREADS="1")
    assert run.stdout == "MemoryError\n"


def message(function, *args, **kwargs):
    with pytest.raises((ValueError, TypeError)) as caught:
        function(*args, **kwargs)
    text = str(caught.value).replace("numpy.ndarray", "torch.Tensor").replace("ndarray", "Tensor")
    return caught.type, text.replace("integer array", "integer tensor").replace("torch.", "")


BOXES, SCORES = random_boxes(5), torch.rand(5)


@pytest.mark.parametrize(
    ("op", "args", "kwargs"),
    [
        ("pairwise_iou", (torch.rand(3, 5), BOXES), {}),
        ("pairwise_iou", (BOXES, torch.rand(4)), {}),
        ("pairwise_iou", (BOXES, BOXES.int()), {}),
        ("pairwise_iou", (BOXES.tolist(), BOXES), {}),
        ("pairwise_iou", (BOXES, BOXES), {"fmt": "yxyx"}),
        ("pairwise_iou", (BOXES, BOXES), {"kind": "dice"}),
        ("pairwise_iou", (BOXES.expand(2, 5, 4), BOXES.expand(3, 5, 4)), {}),
        ("soft_nms", (BOXES[:, :3], SCORES), {}),
        ("soft_nms", (BOXES[None], SCORES), {}),
        ("soft_nms", (BOXES.int(), SCORES), {}),
        ("soft_nms", (BOXES, SCORES[:4]), {}),
        ("soft_nms", (BOXES, SCORES > 0), {}),
        ("soft_nms", (BOXES, 0.5), {}),
        ("soft_nms", (BOXES, SCORES, torch.zeros(4, dtype=int)), {}),
        ("soft_nms", (BOXES, SCORES, SCORES), {}),
        ("soft_nms", (BOXES, SCORES, SCORES > 0), {}),
        ("soft_nms", (BOXES, SCORES, [0] * 5), {}),
        ("soft_nms", (BOXES, SCORES), {"method": "soft"}),
        ("soft_nms", (BOXES, SCORES), {"fmt": "yxyx"}),
        ("soft_nms", (BOXES, SCORES), {"sigma": 0.0}),
        ("soft_nms", (BOXES, SCORES), {"sigma": "1"}),
        ("soft_nms", (BOXES, SCORES), {"iou_threshold": -0.1}),
        ("soft_nms", (BOXES, SCORES), {"score_threshold": NAN}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": -1}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": "3"}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": True}),
        ("soft_nms", (BOXES, SCORES), {"max_detections": 2**63}),
        ("batched_soft_nms", (BOXES, SCORES), {}),
    ],
)
def test_errors_are_the_same(op, args, kwargs):
    mine = message(getattr(on_arrays, op), *map(array, args), **kwargs)
    theirs = message(getattr(yolox_ops, op), *args, **kwargs)
    assert mine == theirs


def test_the_bindings_guard_their_memory():
    boxes, scores = BOXES[None].numpy(), SCORES[None].numpy()
    rule = "hard", 0.5, 0.3, 1e-3, -1, "xyxy"
    with pytest.raises(ValueError, match=r"boxes2 must be \[B, N, 4\], got \[3, 5, 4\]"):
        _numpy.pairwise_iou(boxes, np.repeat(boxes, 3, 0), "xyxy", "iou")
    for shape in ((1, 4), (5,), (1, 5, 1)):
        with pytest.raises(ValueError, match=r"scores must be \[B, N\], got \["):
            _numpy.soft_nms(boxes, np.zeros(shape, np.float32), None, *rule)
    with pytest.raises(ValueError, match=r"labels must be \[B, N\], got \[1, 4\]"):
        _numpy.soft_nms(boxes, scores, np.zeros((1, 4), np.int64), *rule)
    for wrong in (boxes.astype(np.float64), boxes[..., ::-1], boxes.astype(">f4")):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            _numpy.soft_nms(wrong, scores, None, *rule)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _numpy.soft_nms(boxes, scores, np.zeros((1, 5), np.int32), *rule)


@pytest.mark.parametrize("op", ["pairwise_iou", "soft_nms", "batched_soft_nms"])
def test_signature_and_docstring_are_those_of_the_op(op):
    mine, theirs = getattr(on_arrays, op), getattr(yolox_ops, op)
    strip = [p.replace(annotation=p.empty) for p in inspect.signature(mine).parameters.values()]
    assert strip == [p.replace(annotation=p.empty) for p in inspect.signature(theirs).parameters.values()]
    assert mine.__doc__.split("Returns:")[0] == theirs.__doc__.split("Returns:")[0]
    assert on_arrays.__all__ == ["SoftNMS", "batched_soft_nms", "pairwise_iou", "soft_nms"]
