"""Binary tasks made of several classes: which of them are positive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

TASKS: dict[str, tuple[str, ...]] = {"melanoma": ("mel",), "malignant": ("mel", "bcc", "akiec")}
"""Melanoma against the rest, and malignant (and precursors) against benign, in the labels of HAM10000."""


def read_tasks(tasks: Any, classes: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    """Return for each binary task which classes are positive.

    Parameters
    ----------
    tasks : mapping of str to a label or a sequence of labels, or None
        The positive classes by the name of the task. None: those of `TASKS` that the classes allow.
    classes : ndarray of shape (n_classes,)
        All classes.

    Returns
    -------
    dict of str to ndarray of bool, shape (n_classes,)
        In the order of `tasks`; with None there may be none.

    Raises
    ------
    TypeError, ValueError
        If `tasks` is no mapping, or names a class that is none of `classes`, or all of them.
    """
    known = classes.tolist()
    if tasks is None:
        possible = {name: positive for name, positive in TASKS.items() if set(positive) < set(known)}
        return {name: np.isin(classes, positive) for name, positive in possible.items()}
    if not isinstance(tasks, Mapping):
        raise TypeError(
            "tasks must be a dictionary from the name of a task to its positive classes, such as "
            f"{{'melanoma': ['mel']}}; got {type(tasks).__name__}."
        )
    masks = {}
    for name, positive in tasks.items():
        wanted = [positive] if np.ndim(positive) == 0 else list(positive)
        unknown = [label for label in wanted if label not in known]
        if unknown or not wanted or len(set(wanted)) == len(known):
            raise ValueError(
                f"tasks[{name!r}] must name some, and not all, of the classes {known}; got {positive!r}."
            )
        masks[str(name)] = np.array([label in wanted for label in known])
    return masks
