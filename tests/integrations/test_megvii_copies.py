"""A patched head under whatever copies, stores or sends a module, and under classes that others put on top."""

import contextlib
import copy
import io
import pickle
import types
import typing

import joblib
import pytest
import torch
import torch.multiprocessing as mp
from megvii_heads import CLASSES, arguments, check_equal, each_head, head_of, losses
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DataParallel

from benchmarks.peers import megvii as peers
from yolox_ops.integrations import megvii


def saved(head, **options):
    file = io.BytesIO()
    torch.save(head, file, **options)
    file.seek(0)
    return torch.load(file, weights_only=False)


def dumped(head, folder):
    joblib.dump(head, folder / "head")
    return joblib.load(folder / "head")


def cloudpickled(head):
    """As joblib does it for its workers."""
    return pickle.loads(pickle.dumps(joblib.wrap_non_picklable_objects(head, keep_wrapper=False)))


def packaged(head):
    """As an archive of torch.package, whose code is that of the packages installed."""
    file = io.BytesIO()
    with torch.package.PackageExporter(file) as exporter:
        exporter.extern(["yolox_ops.**", "yolox.**", "yolox_release.**"])
        exporter.save_pickle("model", "head.pkl", head)
    file.seek(0)
    return torch.package.PackageImporter(file).load_pickle("model", "head.pkl")


COPIES = {
    "copy": lambda head, _: copy.copy(head),
    "deepcopy": lambda head, _: copy.deepcopy(head),
    **{f"pickle{p}": lambda head, _, p=p: pickle.loads(pickle.dumps(head, p)) for p in range(6)},
    "python": lambda head, _: pickle._loads(pickle._dumps(head)),
    "cloudpickle": lambda head, _: cloudpickled(head),
    "joblib": dumped,
    "save": lambda head, _: saved(head),
    "save_old": lambda head, _: saved(head, _use_new_zipfile_serialization=False),
    "package": lambda head, _: packaged(head),
    "replica": lambda head, _: head._replicate_for_data_parallel(),
}


@each_head
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # the old format of torch.save reads sources
def test_a_copy_is_patched_as_its_original(way, release, tmp_path):
    own = head_of(release)
    head = megvii.patch(copy.deepcopy(own))
    plain, patched = (COPIES[way](h, tmp_path) for h in (own, head))
    assert type(plain) is type(own) and type(patched) is type(head)
    assert patched.get_losses.__func__ is head.get_losses.__func__ is megvii.get_losses
    assert patched.get_losses.__self__ is patched
    assert patched.get_assignments is head.get_assignments
    assert vars(patched).keys() >= vars(own).keys()
    assert megvii.patch(patched) is patched
    megvii.unpatch(patched)
    assert type(patched) is type(own) and patched.get_losses.__func__ is type(own).get_losses
    assert head.get_losses.__func__ is megvii.get_losses


def test_a_whole_model():
    model = megvii.patch(peers.megvii_model("yolox_nano", CLASSES))
    for other in (copy.deepcopy(model), saved(model), pickle.loads(pickle.dumps(DataParallel(model)))):
        head = megvii.find_head(other)
        args = arguments([3, 1])
        check_equal(losses(head, args), losses(model.head, args), rtol=0)
        assert head.get_losses.__func__ is megvii.get_losses and head.get_losses.__self__ is head
        assert other.state_dict().keys() == copy.deepcopy(other).state_dict().keys()


def in_another_process(rank, head, path):
    assert head.get_losses.__func__ is megvii.get_losses and head.get_losses.__self__ is head
    torch.save(head, path)


def test_a_spawned_process(tmp_path):
    """There and back."""
    head = megvii.patch(head_of(False))
    mp.spawn(in_another_process, (head, tmp_path / "head.pt"))
    assert type(torch.load(tmp_path / "head.pt", weights_only=False)) is type(head)


def test_names_and_words_stay():
    head = head_of(False)
    own, text = type(head), repr(head)
    kind = type(megvii.patch(head))
    assert issubclass(kind, own) and kind is type(megvii.patch(head_of(False))) is not own
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(kind, name) == getattr(own, name)
    assert repr(head) == text
    assert not vars(head).keys() & {"get_losses", "get_assignments"}


class Reduced(peers.import_head()):
    """A head with its own way of being stored, a register of its subclasses, and slots."""

    kinds: typing.ClassVar = {}
    __slots__ = ("note",)

    def __init_subclass__(cls, *, key=None, **named):
        super().__init_subclass__(**named)
        Reduced.kinds[key or cls.__name__] = cls

    def __reduce__(self):
        return type(self), (self.num_classes,), {"use_l1": self.use_l1, "extra": 7}

    def __deepcopy__(self, memo):
        return type(self)(self.num_classes)


def test_a_head_that_says_how_it_is_stored():
    head = megvii.patch(Reduced(CLASSES))
    head.use_l1 = True
    for protocol in range(6):
        other = pickle.loads(pickle.dumps(head, protocol))
        assert type(other) is type(head) and other.extra == 7 and other.use_l1
    with megvii.explained(head):
        assert type(copy.deepcopy(head)) is type(pickle.loads(pickle.dumps(head))) is type(megvii.patch(Reduced(3)))
    assert Reduced.kinds == {}
    assert type(megvii.unpatch(head)) is Reduced

    class Sub(type(megvii.patch(head)), key="sub"):
        pass

    assert Reduced.kinds == {"sub": Sub}


def put_on_top(head):
    """A class of somebody's own on top, as fully_shard and parametrizations put it."""

    class Counting(type(head)):
        calls = 0

        def get_losses(self, *args, scale=1, **named):
            self.calls += 1
            return super().get_losses(*args, **named)

    head.__class__ = Counting
    return head


def test_a_class_on_top():
    """The patch is taken from beneath it, and put beneath it by explained."""
    head, args = put_on_top(megvii.patch(head_of(False))), arguments([3, 1])
    top = type(head)
    assert megvii.patch(head) is head and type(head) is top
    with megvii.patched(head):
        pass
    with megvii.explained(head) as found:
        losses(head, args)
        assert type(copy.deepcopy(head)).__name__ == "Counting"
    assert len(found) == 1 and head.calls == 1
    assert type(copy.deepcopy(head)).__mro__[1:] == type(head).__mro__[1:]
    megvii.unpatch(head)
    own = peers.import_head()
    assert type(head).__mro__[1:] == own.__mro__ and type(head).__qualname__ == top.__qualname__
    check_equal(losses(head, args), losses(head_of(False), args), rtol=0)
    assert head.calls == 2
    megvii.patch(head)  # what it has on top hides nothing and is Megvii's
    assert head.get_losses.__func__ is megvii.get_losses


def test_fully_shard(tmp_path):
    """It puts a class on top, and refuses a deepcopy, patched or not."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        args = arguments([3, 1])
        for patch_first in (True, False):
            model = nn.Sequential(head_of(False))
            if patch_first:
                megvii.patch(model)
            fully_shard(model[0], mesh=torch.distributed.init_device_mesh("cpu", (1,)))
            megvii.patch(model)
            head = model[0]
            assert isinstance(head, FSDPModule) and head.get_losses.__func__ is megvii.get_losses
            check_equal(losses(head, args), losses(megvii.patch(head_of(False)), args), rtol=0)
            megvii.unpatch(model)
            assert isinstance(head, FSDPModule) and type(head).__name__ == "FSDPYoloxHead"
            assert head.get_losses.__func__ is peers.import_head().get_losses
            head.unshard()
    finally:
        torch.distributed.destroy_process_group()


def test_parametrized():
    class Scaled(peers.import_head()):
        def __init__(self):
            super().__init__(CLASSES)
            self.scale = nn.Parameter(torch.ones(1))

    head = megvii.patch(Scaled())
    nn.utils.parametrize.register_parametrization(head, "scale", nn.Softplus())
    assert megvii.patch(head) is head and type(head).__name__ == "ParametrizedScaled"
    other = copy.deepcopy(head)
    for h in (other, head):
        assert h.get_losses.__func__ is megvii.get_losses and h.get_losses.__self__ is h
        assert megvii.unpatch(h).get_losses.__func__ is peers.import_head().get_losses
        assert torch.equal(h.scale, nn.functional.softplus(torch.ones(1)))
        nn.utils.parametrize.remove_parametrizations(h, "scale")
        assert type(h) is Scaled


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_copy_of_an_explained_head_is_ordinary(way, patched, tmp_path):
    head = head_of(False)
    if patched:
        megvii.patch(head)
    kind, args = type(head), arguments([3, 1])
    with megvii.explained(head) as found:
        other = COPIES[way](head, tmp_path)
        if way != "replica":  # that is the head itself on another device
            assert type(other) is kind
            losses(other, args)
            assert found == []
        losses(head, args)
    assert len(found) == 1 and type(head) is kind


def test_explained_in_explained():
    head, args = head_of(False), arguments([3, 1])
    own, first, second = type(head), megvii.explained(head), megvii.explained(head)
    outer = first.__enter__()
    losses(head, args)
    inner = second.__enter__()
    losses(head, args)
    first.__exit__(None, None, None)  # in the wrong order
    losses(head, args)
    second.__exit__(None, None, None)
    losses(head, args)
    assert (len(outer), len(inner)) == (2, 2) and type(head) is own
    with contextlib.suppress(KeyError), megvii.explained(head), megvii.explained(head):
        raise KeyError
    assert type(head) is own


def test_patched_and_unpatched_while_explained():
    head, args = head_of(False), arguments([3, 1])
    own = type(head)
    with megvii.explained(head) as found:
        megvii.patch(head)
        losses(head, args)
    assert len(found) == 1 and head.get_losses.__func__ is megvii.get_losses
    with megvii.explained(head) as found:
        megvii.unpatch(head)
        losses(head, args)
        with megvii.patched(head):
            losses(head, args)
    assert len(found) == 2 and type(head) is own
    head.get_losses = types.MethodType(lambda self, *args: own.get_losses(self, *args), head)  # somebody's hook
    with megvii.explained(head) as found:
        losses(head, args)
    assert len(found) == 1 and "get_losses" in vars(head)
