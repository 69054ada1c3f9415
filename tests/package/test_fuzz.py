"""The short form of `python -m fuzz`: the same calls and the same judgement, and that no death goes unseen."""

import itertools
import os
import signal
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from impls import SLOW

import fuzz.workers
from fuzz.call import Call
from fuzz.calls import Outcome, calls, check
from fuzz.contracts import OPS
from fuzz.draw import draw
from fuzz.exported import can_be_exported, check_exported, check_node
from fuzz.workers import Plan

CALLS = 48 if SLOW else 160  # of each entry point


@pytest.mark.parametrize("name", OPS)
def test_calls_are_answered_or_refused_as_documented(name):
    outcomes = {check(call, Random(number), share=0.3) for number, call in itertools.islice(calls(name, 8, 0), CALLS)}
    assert {Outcome.ANSWERED, Outcome.REFUSED, Outcome.CROSSED} <= outcomes


@settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)  # fmt: skip
@given(st.randoms(use_true_random=False), st.sampled_from(list(OPS)))
def test_hypothesis_draws_and_shrinks_the_same_calls(rnd, name):
    check(draw(OPS[name], rnd), rnd)


def call_of(name: str, number: int, seed: int = 0) -> Call:
    return next(calls(name, seed, number))[1]


def test_a_call_depends_on_its_number_alone():
    name = "yolox_ops.simota"
    for number, call in itertools.islice(calls(name, 0, 0), 40):
        assert str(call_of(name, number)) == str(call)


def judge(monkeypatch, call, change):
    """Judges a call whose answer is changed first."""
    run = fuzz.calls.run
    monkeypatch.setattr(fuzz.calls, "run", lambda call: change(run, call))
    check(call, Random(0))


def written(run, call):
    call.arguments["scores"].fill_(0.25)
    return run(call)


def refused(run, call):
    raise ValueError("something is wrong")


def with_indices(change):
    return lambda run, call: run(call)._replace(indices=change(run(call).indices))


def with_scores(change):
    return lambda run, call: run(call)._replace(scores=change(run(call).scores, call))


NMS = "yolox_ops.batched_soft_nms"


def nms_call(**options) -> Call:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [40, 40, 50, 50]]])
    usual = {name: option.usual[0] for name, option in OPS[NMS].options.items()}
    given = {"boxes": boxes, "scores": torch.tensor([[0.9, 0.8, 0.7]]), "labels": None}
    return Call(OPS[NMS], given, {**usual, "method": "linear", **options})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_indices(lambda indices: indices[:, :-1]), "the answer has the form"),
        (with_indices(lambda indices: indices.int()), "the answer has the form"),
        (with_indices(lambda indices: indices * 0), "a box selected twice"),
        (with_indices(lambda indices: indices + 1), "a box that there is not"),
        (with_scores(lambda scores, call: scores.flip(1)), "scores that are not in order"),
        (with_scores(lambda scores, call: scores * 1e-4), "a score below score_threshold"),
        (with_scores(lambda scores, call: call.arguments["scores"]), "a score that rose|not in order|in the memory of"),
        (written, "scores was written to"),
        (refused, "refused, and should not be: ValueError: something is wrong"),
    ],
)
def test_a_wrong_answer_is_seen(change, words, monkeypatch):
    with pytest.raises(AssertionError, match=words):
        judge(monkeypatch, nms_call(), change)


@pytest.mark.plain
def test_an_exported_program_is_judged():
    call = nms_call(sigma=np.float32(0.5), score_threshold=None)
    answer = fuzz.calls.run(call)
    assert can_be_exported(call)
    check_exported(call, answer, fuzz.calls.run)
    with pytest.raises(AssertionError, match="answers something else"):
        check_exported(call, answer._replace(scores=answer.scores / 2), fuzz.calls.run)
    with pytest.raises(AssertionError, match="answers with SoftNMS"):
        check_exported(call, tuple(answer), fuzz.calls.run)
    check_node(answer)


def test_a_wrong_call_must_be_refused(monkeypatch):
    assert check(nms_call(sigma=-1.0), Random(0)) == Outcome.REFUSED
    answer = fuzz.calls.run(nms_call())
    with pytest.raises(AssertionError, match="answered, and must be refused"):
        judge(monkeypatch, nms_call(sigma=-1.0), lambda run, call: answer)


def dies_once(call, *options):
    """A call that kills its process, and one that never returns."""
    if call.op.name == NMS and str(call) == str(call_of(NMS, 3, seed=1)):  # no other call before number 32 is equal
        os.kill(os.getpid(), signal.SIGKILL)
    if call.op.name == NMS and str(call) == str(call_of(NMS, 5, seed=1)):
        while True:
            pass
    return check(call, *options)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12 and newer, where torch has threads
def test_workers_that_die_or_hang_are_reported_and_replaced(monkeypatch):
    monkeypatch.setattr(fuzz.workers, "HANG", 5.0 if SLOW else 1.0)
    told = []
    plan = Plan([NMS], 1, 600.0, most=32, check=dies_once)
    report = fuzz.workers.fuzz(plan, 1, told.append)
    assert [(f.number, f.what) for f in told] == [(3, "died by SIGKILL"), (5, "hung")]
    assert report.findings == told
    assert report.calls == 30
