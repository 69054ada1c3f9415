"""Methods that stand on a head's object already: what an older pickle or a hook has left there, and what is refused."""

import types

import pytest
from megvii_heads import CLASSES, head_of

from benchmarks.peers import megvii as peers
from yolox_ops.integrations import megvii


def test_what_an_earlier_version_stored():
    """The methods on the object: of a pickle its own get_losses and our get_assignments, of a copy both ours."""
    for methods in (
        {"get_losses": peers.import_head().get_losses, "get_assignments": megvii.get_assignments},
        {"get_losses": megvii.get_losses, "get_assignments": megvii.get_assignments},
    ):
        for mend in (megvii.patch, megvii.unpatch):
            head = head_of(False)
            head.get_losses = types.MethodType(methods["get_losses"], head)
            head.get_assignments = methods["get_assignments"]
            mend(head)
            assert not vars(head).keys() & methods.keys()
            assert (head.get_losses.__func__ is megvii.get_losses) == (mend is megvii.patch)


def test_a_method_that_was_put_back():
    """Who replaces it for a while, and restores what was there, leaves it on the object."""
    head = head_of(False)
    head.get_losses = head.get_losses
    megvii.patch(head)
    head.get_losses = head.get_losses
    megvii.unpatch(head)
    assert type(head) is peers.import_head() and head.get_losses.__func__ is type(head).get_losses


class Wordy:
    """Its text has many lines."""

    def __repr__(self):
        return "lines\r\n of\u2028text\n" * 99

    def __call__(self, *args):
        raise RuntimeError(self)


@pytest.mark.parametrize("make", [lambda head: Wordy(), lambda head: head_of(True).get_losses, lambda head: head.repr])
def test_what_is_refused_is_said_in_one_line(make):
    head = head_of(False)
    head.repr = types.MethodType(lambda self: None, Wordy())
    head.get_losses = make(head)
    with pytest.raises(ValueError, match=r"get_losses must be the method of YoloxHead, got .* in its place$") as caught:
        megvii.patch(head)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400


def test_a_head_that_fails_is_said_in_one_line():
    head = type("Failing", (peers.import_head(),), {"get_losses": lambda *args, **named: Wordy()()})(CLASSES)
    with pytest.raises(ValueError, match=r"Failing\.get_losses must run on a made-up batch") as caught:
        megvii.patch(head)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400
