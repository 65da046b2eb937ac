"""Which rows an epoch, or a training set, is made of when rare classes are to come more often."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLERS = ("balanced", "sqrt")
"""What `epoch_rows` knows beside None."""


def epoch_counts(class_sizes: NDArray[np.intp], sampler: str | None) -> NDArray[np.intp]:
    """Return how many rows of each class an epoch has.

    Parameters
    ----------
    class_sizes : ndarray of int, shape (n_classes,)
        Rows of each class in the training set; a class may have none.
    sampler : "balanced", "sqrt" or None
        ``"balanced"``: each class equally often. ``"sqrt"``: in proportion to the square root of its size,
        half-way between "balanced" and the training set on a logarithmic scale. None: as in the training set.

    Returns
    -------
    ndarray of int, shape (n_classes,)
        With the sum of `class_sizes`. The rows that are left over by rounding down go to the largest fractions,
        the smaller class first.

    Raises
    ------
    ValueError
        If the sampler has another name.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.augmentation._sampling import epoch_counts
    >>> epoch_counts(np.array([90, 10]), "balanced"), epoch_counts(np.array([90, 10]), "sqrt")
    (array([50, 50]), array([75, 25]))
    """
    if sampler is None:
        return class_sizes.copy()
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be 'balanced', 'sqrt' or None; got {sampler!r}.")
    share = (class_sizes > 0).astype(np.float64) if sampler == "balanced" else np.sqrt(class_sizes)
    n_rows = int(class_sizes.sum())
    exact = n_rows * share / max(share.sum(), 1)
    counts: NDArray[np.intp] = np.floor(exact).astype(np.intp)
    by_fraction = np.lexsort((class_sizes, counts - exact))
    counts[by_fraction[: n_rows - counts.sum()]] += 1
    return counts


def epoch_rows(labels: NDArray[np.intp], sampler: str | None, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw the rows of one epoch, in random order.

    Within a class, every image comes before any comes once more, so that the counts of two images of a class never
    differ by more than 1; which images of a class come at all, or once more, is drawn anew by every call.

    Parameters
    ----------
    labels : ndarray of int, shape (n_rows,)
        Class numbers of the training rows.
    sampler : "balanced", "sqrt" or None
        As for `epoch_counts`; None gives every row once.
    rng : numpy.random.Generator
        What is drawn from.

    Returns
    -------
    ndarray of int, shape (n_rows,)
        Positions in `labels`.

    Raises
    ------
    ValueError
        If the sampler has another name.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.augmentation._sampling import epoch_rows
    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    >>> rows = epoch_rows(labels, "balanced", np.random.default_rng(0))
    >>> np.bincount(labels[rows]), np.bincount(rows)[6:]
    (array([4, 4]), array([2, 2]))
    """
    if sampler is None:
        return rng.permutation(len(labels))
    counts = epoch_counts(np.bincount(labels), sampler)
    order = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = np.empty(len(labels), dtype=np.intp)
    for label, count in enumerate(counts.tolist()):
        rows[order == label] = draw_in_cycles(np.flatnonzero(labels == label), count, rng)
    return rows


def draw_in_cycles(rows: NDArray[np.intp], n_draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw from rows so that each comes once, in a random order, before any comes once more.

    Parameters
    ----------
    rows : ndarray of int, shape (n_rows,)
        What is drawn from.
    n_draws : int
        How many; 0 where there are no rows.
    rng : numpy.random.Generator
        Draws a new order for every cycle.

    Returns
    -------
    ndarray of int, shape (n_draws,)
        Some of `rows`.
    """
    n_cycles = -(-n_draws // max(len(rows), 1))
    cycles = [rng.permutation(rows) for _ in range(n_cycles)]
    return np.concatenate([rows[:0], *cycles])[:n_draws]


def rows_to_add(classes: list[Any], class_sizes: NDArray[np.intp], strategy: Any) -> NDArray[np.intp]:
    """Return how many rows of each class an over-sampler adds.

    Parameters
    ----------
    classes : list, of n_classes labels
        As a dict names them.
    class_sizes : ndarray of int, shape (n_classes,)
        Rows of each class.
    strategy : str, float or dict
        As ``sampling_strategy`` of `AugmentedOverSampler`.

    Returns
    -------
    ndarray of int, shape (n_classes,)
        Non-negative.

    Raises
    ------
    ValueError
        If a dict names an unknown label, no whole number, or fewer rows than there are.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.augmentation._sampling import rows_to_add
    >>> sizes = np.array([3, 10, 7])
    >>> rows_to_add(["df", "nv", "vasc"], sizes, "auto"), rows_to_add(["df", "nv", "vasc"], sizes, 0.5)
    (array([7, 0, 3]), array([2, 0, 0]))
    """
    most = int(class_sizes.max())
    if isinstance(strategy, dict):
        return _wanted_sizes(classes, class_sizes, strategy) - class_sizes
    if not isinstance(strategy, str):
        return np.maximum(int(strategy * most) - class_sizes, 0)
    added = most - class_sizes
    smallest = np.argmin(class_sizes)
    if strategy == "minority":
        added[np.arange(len(classes)) != smallest] = 0
    elif strategy == "not minority":
        added[smallest] = 0
    return added


def _wanted_sizes(classes: list[Any], class_sizes: NDArray[np.intp], wanted: dict[Any, Any]) -> NDArray[np.intp]:
    unknown = [label for label in wanted if label not in classes]
    if unknown:
        raise ValueError(f"sampling_strategy names {unknown}, but the classes of y are {classes}.")
    sizes = class_sizes.copy()
    for label, size in wanted.items():
        position = classes.index(label)
        if not isinstance(size, int | np.integer) or size < class_sizes[position]:
            raise ValueError(
                f"sampling_strategy asks for {size!r} rows of {label!r}, of which there are "
                f"{class_sizes[position]}. An over-sampler only adds rows: give the whole number of rows that "
                "there are to be in the end."
            )
        sizes[position] = size
    return sizes
