"""What a call of yolox_ops.numpy does to the process: its memory, its threads, its children."""

import os
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from arrays import array, in_a_new_process, misaligned
from boxes import random_boxes
from impls import SLOW
from selection import sample

import yolox_ops.numpy as on_arrays
from yolox_ops import _numpy


def peak_bytes(function, *args, **kwargs):
    """The most that NumPy held at once in a call, its outputs included."""
    tracemalloc.start()
    try:
        function(*args, **kwargs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_read_without_a_copy(dtype):
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
    def allowed(ours, openmp):
        for name, value in (("YOLOX_OPS_NUM_THREADS", ours), ("OMP_NUM_THREADS", openmp)):
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
def test_without_threads_the_caller_does_the_work():
    """Without room for a thread's stack the caller does all the work."""
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
"""
    in_a_new_process(code, YOLOX_OPS_NUM_THREADS="4", OPENBLAS_NUM_THREADS="1")
