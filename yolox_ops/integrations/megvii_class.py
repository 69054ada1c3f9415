"""The class of a patched head: a subclass of its own class, put in that one's place. What copies, stores or sends an
object goes by its class and its attributes, and the attributes stay as they are."""

import functools
import types
from collections.abc import Callable
from typing import Any, ClassVar

from yolox_ops.explanation import Explanation
from yolox_ops.explanation.explain import explain
from yolox_ops.integrations.megvii_head import SIGNATURES, get_losses, rule_name, scene
from yolox_ops.ops.simota import simota
from yolox_ops.presets import PRESETS

Lists = tuple[list[Explanation], ...]


class _Layer:
    """The first base of each class that is made here; a head has one of them at most."""

    _own: ClassVar[type]  # the class that it stands for
    _patched: ClassVar[bool]
    _explanations: ClassVar[Lists]  # where those of its batches go

    def __init_subclass__(cls, **named: Any) -> None:
        """Not for the class itself: what the head's own class keeps of its subclasses it would keep by name."""
        if _Layer not in cls.__bases__:
            super().__init_subclass__(**named)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As the head's own class reduces the object, which must be found by name. What is made of it is patched as
        this one is, and unwatched."""
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, str):
            return reduced
        kind, layer = type(self), _layer(type(self))
        own = layer._own if kind is layer else _rebuilt(kind, layer, _class(layer._own, layer._patched, ()))
        make, *args = (own if x is kind else x for x in (reduced[0], *reduced[1]))
        return restore, (layer._patched, make, *args), *reduced[2:]


def restore(patched: bool, make: Callable[..., Any], *args: Any) -> Any:
    """A head, of what makes it without the patch. Pickles name this function."""
    head = make(*args)
    set_patched(head, patched)
    return head


def is_patched(head: Any) -> bool:
    return isinstance(head, _Layer) and _layer(type(head))._patched


def set_patched(head: Any, patched: bool) -> None:
    explanations = _layer(type(head))._explanations if isinstance(head, _Layer) else ()
    _put(head, patched, explanations)


def watch(head: Any, explanations: list[Explanation]) -> None:
    """From now on an Explanation of every batch goes onto the list."""
    before = _layer(type(head))._explanations if isinstance(head, _Layer) else ()
    _put(head, is_patched(head), (*before, explanations))


def unwatch(head: Any, explanations: list[Explanation]) -> None:
    if isinstance(head, _Layer):
        left = (other for other in _layer(type(head))._explanations if other is not explanations)
        _put(head, is_patched(head), tuple(left))


def _put(head: Any, patched: bool, explanations: Lists) -> None:
    """Gives the head its class, beneath those that somebody else has put on top, as fully_shard does."""
    kind = type(head)
    old = _layer(kind) if isinstance(head, _Layer) else kind
    head.__class__ = _rebuilt(kind, old, _class(getattr(old, "_own", old), patched, explanations))


def _layer(kind: type) -> type[_Layer]:
    """The class in whose place it is a subclass of `kind` or `kind` itself."""
    return next(c for c in kind.__mro__ if _Layer in c.__bases__)


def _class(own: type, patched: bool, explanations: Lists) -> type:
    if explanations:
        return _subclass(own, patched, explanations)
    return _patched_class(own) if patched else own


@functools.cache  # so that types of patched heads are equal where those of the heads are
def _patched_class(own: type) -> type:
    return _subclass(own, True, ())


def _subclass(own: Any, patched: bool, explanations: Lists) -> type:
    """It goes by the name of the head's own class, in logs too."""
    names = {name: getattr(own, name) for name in ("__module__", "__qualname__", "__doc__")}
    names |= {"_own": own, "_patched": patched, "_explanations": explanations}
    if patched:
        names |= {"get_losses": get_losses, "get_assignments": staticmethod(SIGNATURES[rule_name(own)])}
    if explanations:
        names["__getattribute__"] = _watching(own)
        names |= {name: _unwatched(getattr(own, name)) for name in ("__copy__", "__deepcopy__") if hasattr(own, name)}
    return type(own)(own.__name__, (_Layer, own), names)


def _watching(own: Any) -> Callable[[Any, str], Any]:
    def __getattribute__(self: Any, name: str) -> Any:
        value = own.__getattribute__(self, name)
        return functools.partial(_explain_and_get_losses, self, value) if name == "get_losses" else value

    return __getattribute__


def _unwatched(copied: Callable[..., Any]) -> Callable[..., Any]:
    def copy(self: Any, *memo: Any) -> Any:
        head = copied(self, *memo)
        _put(head, is_patched(head), ())
        return head

    return copy


def _explain_and_get_losses(
    head: Any, get_losses: Callable[..., Any], imgs: Any, x_shifts: Any, y_shifts: Any, expanded_strides: Any,
    labels: Any, outputs: Any, *rest: Any, **named: Any
) -> Any:  # fmt: skip
    inputs, rule = scene(x_shifts, y_shifts, expanded_strides, labels, outputs), PRESETS[rule_name(head)]
    explanation = explain(simota(*inputs, **rule), *inputs, **rule)
    for explanations in type(head)._explanations:
        explanations.append(explanation)
    return get_losses(imgs, x_shifts, y_shifts, expanded_strides, labels, outputs, *rest, **named)


def _rebuilt(kind: Any, old: type, new: type) -> type:
    """`kind`, with `new` for `old` in it and in its bases."""
    if kind is old:
        return new
    if old is new or not issubclass(kind, old):
        return kind
    cell, slots = types.CellType(), ("__dict__", "__weakref__")
    names = {name: _within(value, cell) for name, value in vars(kind).items() if name not in slots}
    names["__qualname__"] = kind.__qualname__
    bases = tuple(_rebuilt(base, old, new) for base in kind.__bases__)
    cell.cell_contents = type(kind)(kind.__name__, bases, names)
    return cell.cell_contents


def _within(value: Any, cell: Any) -> Any:
    """A function whose super() means the class in the cell."""
    if not isinstance(value, types.FunctionType) or "__class__" not in value.__code__.co_freevars:
        return value
    closure = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
    cells = tuple(cell if name == "__class__" else own for name, own in closure)
    made = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
    made.__kwdefaults__ = value.__kwdefaults__
    return functools.update_wrapper(made, value)
