"""Parameters and data in words that are the same in every process, so that one run is not taken for another."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback

from skinclf.estimator._recipe import recipe
from skinclf.estimator._seeds import FitSeeds

_WITHOUT_EFFECT = {
    "cache_dir", "checkpoint_dir", "device", "leakage", "memory_limit", "n_jobs", "random_state", "tta", "verbose",
    "warm_start",
}  # fmt: skip
"""Parameters that do not change what is trained; the seeds stand for `random_state`."""

_KNOWN_BY_NAME = {"builtins", "numpy", "skinclf", "sklearn", "skorch", "torch", "torchvision"}
"""Packages whose functions and classes are not looked into."""

_DEPTH = 8
"""Of objects in objects; what lies deeper, or turns in a circle, is known by its type."""


def run_key(
    classifier: Any,
    data: Iterable[NDArray[Any] | None],
    *,
    seeds: FitSeeds | None,
    module: torch.nn.Module | None,
) -> str:
    """Name a run by all that decides its outcome, so that no other run can be taken for it.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Whose parameters and ``classes_`` count.
    data : iterable of ndarray or None
        What it is fitted on.
    seeds : FitSeeds or None
        None where ``random_state`` does not fix them.
    module : torch.nn.Module or None
        Whose weights a warm start begins with.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    params = {**classifier.get_params(deep=False), **recipe(classifier)}
    params = {name: value for name, value in params.items() if name not in _WITHOUT_EFFECT}
    description = [describe(params), describe(classifier.classes_), seeds and dataclasses.asdict(seeds)]
    digest = hashlib.blake2b(json.dumps(description).encode(), digest_size=8)
    weights = {} if module is None else module.state_dict()
    for array in (*data, *(value.detach().cpu().numpy() for value in weights.values())):
        digest.update(b"nothing" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def describe(value: Any, depth: int = 0) -> Any:
    """Put a value into words that are the same in every process.

    Functions and classes of the user are described by their code and by what they close over, arrays, tensors and
    networks by their contents, other objects by their type and attributes; never by an address.

    Parameters
    ----------
    value : object
        Anything that may be a parameter.
    depth : int, default=0
        How deep in another object it lies.

    Returns
    -------
    list, str, int, float, bool or None
        For ``json.dumps``.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.estimator._run_key import describe
    >>> describe({"lr": 0.1, "milestones": (3, 5)})
    [['lr', 0.1], ['milestones', [3, 5]]]
    >>> describe(np.arange(3)) == describe(np.arange(3)), describe(np.arange(3)) == describe(np.arange(4))
    (True, False)
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return describe(value.item())
    if isinstance(value, np.ndarray | torch.Tensor):
        return _contents(value, depth)
    if depth > _DEPTH:
        return _name(type(value))
    if isinstance(value, dict):
        return [[describe(k, depth + 1), describe(v, depth + 1)] for k, v in value.items()]
    if isinstance(value, list | tuple):
        return [describe(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((describe(item, depth + 1) for item in value), key=repr)
    if isinstance(value, functools.partial):
        return ["partial", *(describe(part, depth + 1) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.CodeType):
        constants = [describe(constant, depth + 1) for constant in value.co_consts]
        return [hashlib.sha256(value.co_code).hexdigest(), list(value.co_names), constants]
    if isinstance(value, types.MethodType):
        return [describe(value.__func__, depth + 1), describe(value.__self__, depth + 1)]
    if isinstance(value, type | types.FunctionType):
        return _code(value, depth)
    return _object(value, depth)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _contents(value: Any, depth: int) -> list[Any]:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    if array.dtype == object:
        return [describe(item, depth + 1) for item in array.tolist()]
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return [str(array.dtype), list(array.shape), content]


def _code(value: Any, depth: int) -> Any:
    """Describe a function by what it does, a class by its methods and its parents."""
    if value.__module__.split(".")[0] in _KNOWN_BY_NAME:
        return _name(value)
    if isinstance(value, type):
        methods = [v for v in vars(value).values() if isinstance(v, types.FunctionType)]
        return [_name(value), *(describe(part, depth + 1) for part in (*methods, *value.__bases__))]
    cells = [_cell(cell) for cell in value.__closure__ or ()]
    parts = (value.__code__, value.__defaults__, value.__kwdefaults__, cells)
    return [_name(value), *(describe(part, depth + 1) for part in parts)]


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _object(value: Any, depth: int) -> Any:
    kind = describe(type(value), depth + 1)
    if isinstance(value, BaseEstimator | Callback):
        attributes = {k: v for k, v in vars(value).items() if not k.startswith("_") and not k.endswith("_")}
    elif isinstance(value, torch.nn.Module):
        attributes = {"repr": repr(value), **value.state_dict()}
    else:
        attributes = vars(value) if hasattr(value, "__dict__") else {}
    return [kind, describe(attributes, depth + 1)]
