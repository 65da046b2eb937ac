"""Callbacks that users give, checked and copied for one fit.

A callback serves every fold and every candidate of a search, so that each fit works with copies, and what it has
learnt stays behind: no weights, no best score, no count goes from one fit to the next. Connections to the outside
(a run, a client, a writer) cannot be copied, and must not be: what is logged has to reach the user.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import skorch.callbacks
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    PrintLog,
    TrainEndCheckpoint,
)
from skorch.callbacks.scoring import ScoringBase
from torch.optim.lr_scheduler import ReduceLROnPlateau

from skinclf.estimator._callbacks import HIGHER_IS_BETTER, NO_VALIDATION_SET, KeptWeights

RESERVED_NAMES = frozenset(
    {
        "best_weights", "checkpoint_dir", "draws", "early_stopping", "learning_rate", "loss_guard", "lr_schedule",
        "progress", "validation_scores",
        "epoch_timer", "print_log", "train_loss", "valid_acc", "valid_loss",
    }
)  # fmt: skip
"""Names of the callbacks that the classifier, and skorch itself, add to those of the user."""

_EXPECTED = (
    "a callback of skorch, a tuple (name, callback), or the name of a class in skorch.callbacks, such as "
    "'GradientNormClipping'"
)
_REFUSED = {
    LoadInitState: (
        "it would begin this fit with the weights of another one. To go on with a run that was cut off, set "
        "checkpoint_dir of the classifier; to train a fitted classifier further, set warm_start=True"
    ),
    InputShapeSetter: "the network knows the shape of its images: a callable `architecture` is given it",
}


def fresh_callbacks(
    callbacks: Any, *, validated: bool = True, lr_schedule: str | None = None
) -> list[tuple[str, Callback]]:
    """Check the callbacks of a user, and copy them for one fit.

    Parameters
    ----------
    callbacks : list, tuple or None
        Callbacks of skorch, tuples of a name and a callback, or names of classes in ``skorch.callbacks`` that need
        no argument.
    validated : bool, default=True
        Whether the fit has a validation set.
    lr_schedule : str, default=None
        The schedule that the classifier itself follows.

    Returns
    -------
    list of tuple (name, callback)
        Copies with unique names. Right behind a ``Checkpoint(load_best=True)`` stands the callback that keeps its
        weights.

    Raises
    ------
    TypeError
        If an element is neither a callback, nor a tuple, nor a name.
    ValueError
        If a name is unknown, taken or given twice, if a class needs arguments, or if a callback cannot work in
        this fit; the message says why, and what to do.

    Examples
    --------
    >>> from skorch.callbacks import EarlyStopping, EpochScoring
    >>> scoring = EpochScoring("f1_macro", lower_is_better=False)
    >>> given = [scoring, ("stop", EarlyStopping("f1_macro", lower_is_better=False)), "GradientNormClipping"]
    >>> copies = fresh_callbacks(given)
    >>> [name for name, _ in copies]
    ['EpochScoring', 'stop', 'GradientNormClipping']
    >>> copies[0][1] is scoring
    False
    """
    named = _with_unique_names(_read(callbacks))
    _check_schedules(named, lr_schedule)
    _check_scorings(named)
    if not validated:
        _check_without_validation(named)
    _check_directions(named)
    copies = _copies([callback for _, callback in named])
    fresh = []
    for (name, _), callback in zip(named, copies, strict=True):
        fresh.append((name, callback))
        fresh.extend(_prepare(name, callback))
    _refuse_twice(name for name, _ in fresh)
    return fresh


def copy_callbacks(callbacks: Any) -> Any:
    """Return callbacks for a clone of the classifier: copied as for a fit, but not checked.

    scikit-learn would clone each of them through its constructor, and copy a run or a writer with it, which fails,
    or logs into the void.

    Parameters
    ----------
    callbacks : object
        The parameter of the classifier, right or wrong.

    Returns
    -------
    object
        A list or tuple of copies; whatever else came, as it is.
    """
    if type(callbacks) not in (list, tuple):
        return callbacks
    found = [item for entry in callbacks for item in (entry if isinstance(entry, tuple) else [entry])]
    found = [item for item in found if isinstance(item, Callback)]
    copies = dict(zip(map(id, found), _copies(found), strict=True))

    def replaced(entry: Any) -> Any:
        return tuple(map(replaced, entry)) if type(entry) is tuple else copies.get(id(entry), entry)

    return type(callbacks)(map(replaced, callbacks))


def _read(callbacks: Any) -> Iterator[tuple[str | None, Callback]]:
    """Yield the name that the user gave, or None, and the callback."""
    if callbacks is None:
        return
    if not isinstance(callbacks, list | tuple):
        raise TypeError(f"callbacks must be a list or None; got {callbacks!r}. Each element is {_EXPECTED}.")
    for position, item in enumerate(callbacks):
        where = f"callbacks[{position}]"
        name, callback = _read_pair(item, where) if isinstance(item, tuple) else (None, item)
        if isinstance(callback, str) and name is None:
            callback = _from_name(callback, where)
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise TypeError(
                f"{where} is the class {callback.__name__}; pass an instance, {callback.__name__}(...)."
            )
        if not isinstance(callback, Callback):
            raise TypeError(f"{where} must be {_EXPECTED}; got {callback!r} of type {type(callback).__name__}.")
        for kind, reason in _REFUSED.items():
            if isinstance(callback, kind):
                raise ValueError(f"{where}: {kind.__name__} cannot be used here, since {reason}.")
        yield name, callback


def _read_pair(item: tuple[Any, ...], where: str) -> tuple[str, Any]:
    if len(item) != 2 or not isinstance(item[0], str) or not item[0]:
        raise TypeError(f"{where} must be {_EXPECTED}; got the tuple {item!r}.")
    name, callback = item
    if name in RESERVED_NAMES:
        raise ValueError(
            f"{where} has the name {name!r}, which a callback of the classifier has already; choose another one, "
            f"such as 'my_{name}'."
        )
    return name, callback


def _from_name(name: str, where: str) -> Callback:
    known = [other for other in skorch.callbacks.__all__ if other != "Callback"]
    if name not in known:
        lower = {other.lower(): other for other in known}
        close = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3)]
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known are {sorted(known)}."
        raise ValueError(f"{where} is {name!r}, which is no class of skorch.callbacks. {hint}")
    kind = getattr(skorch.callbacks, name)
    needed = _needed_arguments(kind)
    if needed and kind not in _REFUSED:
        arguments = ", ".join(f"{argument}=..." for argument in needed)
        raise ValueError(
            f"{where} is {name!r}, which needs {' and '.join(needed)}; pass an instance, {name}({arguments})."
        )
    return kind.__new__(kind) if kind in _REFUSED else kind()


def _needed_arguments(kind: type[Callback]) -> list[str]:
    """Return the arguments without a default, looked up in a parent where a class hands all of them on."""
    for parent in kind.__mro__:
        fixed = [p for p in _parameters(parent) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if fixed:
            return [p.name for p in fixed if p.default is p.empty]
    return []


def _parameters(kind: type) -> list[inspect.Parameter]:
    """Return the parameters of the constructor that a class itself defines, without self."""
    constructor = vars(kind).get("__init__")
    return [*inspect.signature(constructor).parameters.values()][1:] if inspect.isfunction(constructor) else []


def _with_unique_names(callbacks: Iterator[tuple[str | None, Callback]]) -> list[tuple[str, Callback]]:
    """Name the unnamed by their class, as skorch does: with a number if there are several."""
    found = list(callbacks)
    counts = Counter(type(callback).__name__ for name, callback in found if name is None)
    numbers: Counter[str] = Counter()
    named = []
    for given, callback in found:
        name = given
        if name is None:
            name = type(callback).__name__
            if counts[name] > 1:
                numbers[name] += 1
                name = f"{name}_{numbers[name]}"
        named.append((name, callback))
    _refuse_twice(name for name, _ in named)
    return named


def _refuse_twice(names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"callbacks has the name {twice[0]!r} twice; give every callback a name of its own.")


def _check_schedules(named: list[tuple[str, Callback]], lr_schedule: str | None) -> None:
    theirs = [name for name, callback in named if isinstance(callback, LRScheduler)]
    if theirs and lr_schedule is not None:
        raise ValueError(
            f"lr_schedule={lr_schedule!r} and callback {theirs[0]!r} would both set the learning rate, and each "
            "would undo what the other did. Set lr_schedule=None to use the callback, or leave the callback out."
        )


def _check_directions(named: list[tuple[str, Callback]]) -> None:
    """Skorch's early stopping takes lower scores for better ones, unless it is told otherwise."""
    for name, callback in named:
        higher = HIGHER_IS_BETTER.get(str(getattr(callback, "monitor", None)))
        if isinstance(callback, EarlyStopping) and higher is not None and callback.lower_is_better == higher:
            raise ValueError(
                f"Callback {name!r} would stop at, and keep, the worst {callback.monitor}: of this score "
                f"{'higher' if higher else 'lower'} values are better. Set lower_is_better={not higher}."
            )


def _check_scorings(named: list[tuple[str, Callback]]) -> None:
    for name, callback in named:
        if isinstance(callback, EpochScoring) and not callback.use_caching and not callable(callback.scoring):
            raise ValueError(
                f"Callback {name!r} has use_caching=False and scoring={callback.scoring!r}, which would get no "
                "labels. Leave use_caching=True, or pass a function of (net, dataset, y) that takes them from the "
                "dataset."
            )


def _check_without_validation(named: list[tuple[str, Callback]]) -> None:
    own = {getattr(callback, "name", None) for _, callback in named}
    for name, callback in named:
        monitor = getattr(callback, "monitor", None)
        idle = isinstance(callback, LRScheduler) and callback.policy is not ReduceLROnPlateau
        if isinstance(monitor, str) and not idle:
            score = monitor.removesuffix("_best")
            if score in HIGHER_IS_BETTER and score not in own:
                instead = monitor.replace(score, "train_loss")
                raise ValueError(
                    f"Callback {name!r} monitors {monitor!r}, but {NO_VALIDATION_SET}. Set early_stopping=True, "
                    f"or monitor={instead!r} of the callback."
                )
        if isinstance(callback, ScoringBase) and not callback.on_train:
            warnings.warn(
                f"Callback {name!r} will record nothing: it scores the validation set, and {NO_VALIDATION_SET}. "
                "Set on_train=True of the callback to score the training images.",
                UserWarning,
                stacklevel=2,
            )


def _copies(callbacks: list[Callback]) -> list[Callback]:
    """Copy callbacks together: one that refers to another one then refers to the copy of that."""
    copies = [_own_copy(callback) for callback in callbacks]
    memo: dict[int, Any] = {id(callback): new for callback, new in zip(callbacks, copies, strict=True)}
    for callback, new in zip(callbacks, copies, strict=True):
        if not _copies_itself(callback):
            memo = _fill(new, callback, memo)
    return copies


def _own_copy(callback: Callback) -> Callback:
    if _copies_itself(callback):
        return copy.deepcopy(callback)
    bare: Callback = object.__new__(type(callback))
    return bare


def _copies_itself(callback: Callback) -> bool:
    return hasattr(type(callback), "__deepcopy__")


def _fill(new: Callback, callback: Callback, memo: dict[int, Any]) -> dict[int, Any]:
    """Give a bare copy the attributes of its original, but nothing that a fit has set.

    skorch's own callbacks keep what they were given as it is, and all that a fit changes in attributes that end in
    an underscore. Others cannot be trusted so far: their attributes are copied one by one, and shared only where
    that is impossible (a lock, a socket), or where a parent class of skorch's keeps them.
    """
    skorchs = _given_to_skorch(type(callback))
    given = {name: value for name, value in _attributes(callback).items() if not name.endswith("_")}
    for name, value in given.items():
        if skorchs is None or name in skorchs:
            setattr(new, name, memo.get(id(value), value) if isinstance(value, Callback) else value)
            continue
        attempt = dict(memo)  # a copy that fails halfway leaves halves behind
        try:
            setattr(new, name, copy.deepcopy(value, attempt))
            memo = attempt
        except Exception:  # whatever __deepcopy__ and __reduce__ of a foreign class may raise
            setattr(new, name, value)
    return memo


def _given_to_skorch(kind: type[Callback]) -> set[str] | None:
    """Return the parameters that skorch's classes take; None for a class of skorch's, which has no others."""
    if kind.__module__.split(".")[0] == "skorch":
        return None
    parents = [parent for parent in kind.__mro__ if parent.__module__.split(".")[0] == "skorch"]
    return {parameter.name for parent in parents for parameter in _parameters(parent)}


def _attributes(callback: Callback) -> dict[str, Any]:
    found = dict(vars(callback))
    for parent in type(callback).__mro__:
        slots = vars(parent).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if hasattr(callback, slot):
                found[slot] = getattr(callback, slot)
    return found


def _prepare(name: str, callback: Callback) -> Iterator[tuple[str, Callback]]:
    """Adapt a copy to our fits, and yield the callback that has to stand behind it."""
    if isinstance(callback, PrintLog) and callback.sink is print:
        callback.sink = write_line  # the net is silent, and with print the table would be so too
    if isinstance(callback, Checkpoint | TrainEndCheckpoint):
        callback.sink = RaiseFailedSave(name, callback.sink)
    if isinstance(callback, Checkpoint) and callback.load_best and callback.monitor is not None:
        callback.load_best = False
        hide_event = callback.event_name is None
        if hide_event:
            callback.event_name = f"event_{name}"
        yield f"{name}_kept", KeptWeights(name, callback, hide_event=hide_event)


def write_line(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class RaiseFailedSave:
    """A sink for the messages of a `Checkpoint` that takes a failed save for what it is.

    skorch catches whatever goes wrong with a file (no space, no permission), and tells it to the sink, which drops
    it unless the user gave one.

    Parameters
    ----------
    name : str
        Of the callback.
    sink : callable
        Of the user.
    """

    def __init__(self, name: str, sink: Any) -> None:
        self.name = name
        self.sink = sink

    def __call__(self, text: str) -> None:
        if text.startswith("Unable to save"):
            raise RuntimeError(f"Callback {self.name!r} could not write its file. {text}")
        if self.sink is not print:  # which skorch uses with verbose=1 only
            self.sink(text)
