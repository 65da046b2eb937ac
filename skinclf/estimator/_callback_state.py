"""The state of skorch callbacks as plain data, so that a run which was stopped goes on where it was.

A checkpoint must hold no code, so nothing is pickled: what is neither plain data nor can give a ``state_dict`` (a
log, a connection, a function) is left out, and stays as the callback of the resumed run has set it up.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

_SEQUENCES: dict[str, type] = {"tuple": tuple, "set": set, "frozenset": frozenset}
# MultiStepLR keeps its milestones in a Counter, and a module's state is an OrderedDict.
_MAPPINGS: dict[str, type] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_EMPTIED_EVERY_EPOCH = {"y_preds_", "y_trues_"}  # predictions of a whole epoch, which EpochScoring collects
_NAMES = {kind: name for name, kind in {**_SEQUENCES, **_MAPPINGS}.items()}


class _NotPlainError(TypeError):
    """Raised for a value that is not plain data."""


def callback_state(callbacks: Iterable[tuple[str, Callback]]) -> dict[str, Any]:
    """Return what callbacks have learnt from the epochs so far.

    Recorded are attributes that are plain data (None, bool, int, float, str, NumPy scalars and arrays, tensors,
    and lists, tuples, sets and dicts of these) and the ``state_dict`` of attributes that have one, such as a
    scheduler. Of skorch's callbacks these are the attributes that end or start with an underscore, of any other
    callback all that are no parameters of its constructor.

    Parameters
    ----------
    callbacks : iterable of tuple (name, callback)
        Such as ``net.callbacks_``.

    Returns
    -------
    dict
        By the name of the callback; a tree of dicts with string keys, lists, None, bool, int, finite float, str
        and tensors in the memory of the CPU, which share nothing with the callbacks.

    Examples
    --------
    >>> from skorch.callbacks import EarlyStopping
    >>> stopping = EarlyStopping()
    >>> stopping.misses_ = 3
    >>> callback_state([("stop", stopping)])
    {'stop': {'class': 'EarlyStopping', 'attributes': {'dynamic_threshold_': None, 'misses_': 3}}}
    """
    state: dict[str, Any] = {}
    for name, callback in callbacks:
        attributes = {}
        for attribute in sorted(vars(callback)):
            if _is_fit_state(callback, attribute):
                value = getattr(callback, attribute)
                try:
                    attributes[attribute] = _encode_attribute(value)
                except _NotPlainError:
                    continue
        if attributes:
            state[name] = {"class": type(callback).__qualname__, "attributes": attributes}
    return state


def restore_callback_state(callbacks: Iterable[tuple[str, Callback]], state: dict[str, Any]) -> None:
    """Give callbacks the state that `callback_state` recorded.

    To be called after ``on_train_begin``, in which callbacks set themselves to zero and make their schedulers, and
    before the history is filled: a scheduler that finds epochs in it takes a step when it is made.

    Parameters
    ----------
    callbacks : iterable of tuple (name, callback)
        Such as ``net.callbacks_``; those without a recorded state stay as they are.
    state : dict
        As `callback_state` returned it.

    Raises
    ------
    ValueError
        If a callback that has a state is missing, is of another class, or lacks the object that a state is for.
    """
    by_name = dict(callbacks)
    missing = [name for name in state if name not in by_name]
    if missing:
        raise ValueError(
            f"The checkpoint holds the state of callbacks {missing}, and the classifier has {[*by_name]}. "
            "Give the callbacks that the run was started with, under the same names, or start anew."
        )
    for name, recorded in state.items():
        callback = by_name[name]
        if type(callback).__qualname__ != recorded["class"]:
            raise ValueError(
                f"The checkpoint holds the state of a {recorded['class']} for callback {name!r}, which is now a "
                f"{type(callback).__qualname__}. Give the callbacks that the run was started with, or start anew."
            )
        for attribute, value in recorded["attributes"].items():
            if isinstance(value, dict) and value["kind"] == "state_dict":
                _load_state(callback, name, attribute, _decode(value["data"]))
            else:
                setattr(callback, attribute, _decode(value))


def _is_fit_state(callback: Callback, attribute: str) -> bool:
    if attribute.startswith("_") or attribute.endswith("_"):
        return attribute not in _EMPTIED_EVERY_EPOCH
    if type(callback).__module__.split(".")[0] == "skorch":  # its constructors take **kwargs, so ask no signature
        return False
    return attribute not in inspect.signature(type(callback).__init__).parameters


def _encode_attribute(value: Any) -> Any:
    if _has_state(value):
        state = value.state_dict()
        known = state if type(state) in _MAPPINGS.values() else dict(state)
        return {"kind": "state_dict", "data": _encode(known, lenient=True)}
    return _encode(value)


def _has_state(value: Any) -> bool:
    methods = (getattr(value, "state_dict", None), getattr(value, "load_state_dict", None))
    return not isinstance(value, type) and all(callable(method) for method in methods)


def _load_state(callback: Callback, name: str, attribute: str, state: dict[str, Any]) -> None:
    target: Any = getattr(callback, attribute, None)
    if not _has_state(target):
        raise ValueError(
            f"The checkpoint holds a state for {attribute!r} of callback {name!r}, which has no such object when "
            f"training begins (got {target!r}). Create it in initialize or on_train_begin."
        )
    target.load_state_dict(state)


def _encode(value: Any, *, lenient: bool = False) -> Any:
    """Return a value as JSON and tensors; ``lenient`` leaves out what is not plain from dicts."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is float:
        return {"kind": "float", "data": str(value)}  # JSON has no infinity
    if isinstance(value, torch.Tensor):
        return {"kind": "tensor", "device": str(value.device), "data": _to_cpu(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _encode_numpy(value)
    if kind is list:
        return [_encode(item, lenient=lenient) for item in value]
    if kind in _SEQUENCES.values():
        items = value if kind is tuple else sorted(value, key=repr)  # the same set gives the same file
        return {"kind": _NAMES[kind], "data": [_encode(item, lenient=lenient) for item in items]}
    if kind in _MAPPINGS.values():
        return _encode_mapping(value, lenient)
    raise _NotPlainError(f"{kind} is not plain data")


def _encode_mapping(value: Any, lenient: bool) -> dict[str, Any]:
    pairs = []
    for key, item in value.items():
        try:
            pairs.append([_encode(key), _encode(item, lenient=lenient)])
        except _NotPlainError:
            if not lenient:
                raise
    encoded: dict[str, Any] = {"kind": _NAMES[type(value)], "data": pairs}
    # Versions of the layers; without them batch normalisation takes a state for one of an old release.
    metadata = getattr(value, "_metadata", None)
    if metadata is not None:
        encoded["metadata"] = _encode(metadata, lenient=True)
    return encoded


def _encode_numpy(value: Any) -> Any:
    if isinstance(value, np.str_):
        return str(value)
    if value.dtype.kind not in "biuf":
        raise _NotPlainError(f"dtype {value.dtype} is not plain data")
    try:
        data = torch.from_numpy(np.array(value, order="C"))
    except TypeError as error:  # extended precision
        raise _NotPlainError(f"tensors have no dtype {value.dtype}") from error
    return {"kind": "scalar" if isinstance(value, np.generic) else "ndarray", "data": data}


def _to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise _NotPlainError(f"a tensor of layout {tensor.layout} and dtype {tensor.dtype} is not plain data")
    return tensor.detach().to("cpu", copy=True).contiguous()


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, data = value["kind"], value["data"]
    if kind == "float":
        return float(data)
    if kind == "tensor":
        device = torch.device(value["device"])
        gone = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
        return data.to("cpu" if gone else device, copy=True)
    if kind in ("scalar", "ndarray"):
        array = data.numpy().copy()
        return array[()] if kind == "scalar" else array
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](_decode(item) for item in data)
    mapping = _MAPPINGS[kind]({_decode(key): _decode(item) for key, item in data})
    if "metadata" in value:
        mapping._metadata = _decode(value["metadata"])
    return mapping
