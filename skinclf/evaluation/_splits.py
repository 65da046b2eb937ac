"""The folds of a cross-validation, by lesion where lesions are known."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv

from skinclf._random import RandomStateLike, spawn_seeds
from skinclf.evaluation._groups import Groups
from skinclf.evaluation._leakage import Split

DEFAULT_FOLDS = 5


def make_splits(
    cv: Any, X: Any, y: NDArray[Any], groups: Groups | None, *, random_state: RandomStateLike
) -> tuple[list[Split], str]:
    """Draw the folds.

    Parameters
    ----------
    cv : int, splitter, iterable of (train, test) or None
        An integer means that many stratified folds, by group where groups are known; None means 5.
    X : DataFrame, array or list of n_rows rows
        The images; a splitter may look at them.
    y : ndarray of shape (n_rows,)
        The labels.
    groups : Groups or None
        The lesions.
    random_state : int, RandomState, Generator or None
        Shuffles the rows, or groups, if `cv` is an integer or None; not used otherwise.

    Returns
    -------
    splits : list of (ndarray of intp, ndarray of intp)
        Training and test rows of each fold. No row is in two test parts.
    description : str
        The splitter in words.

    Raises
    ------
    ValueError
        If `cv` is none of the above, there are too few groups or too small a class for it, or it gives
        splits that cannot be used; the message says which.
    """
    cv = DEFAULT_FOLDS if cv is None else cv
    if isinstance(cv, numbers.Integral):
        splitter = _default_splitter(cv, y, groups, random_state)
    elif not isinstance(cv, str) and (hasattr(cv, "split") or isinstance(cv, Iterable)):
        splitter = check_cv(cv)
    else:
        raise ValueError(
            "cv must be an integer of at least 2, a scikit-learn splitter or an iterable of (train, test) row "
            f"numbers; got {cv!r}."
        )
    with warnings.catch_warnings():
        # Groups go to every splitter. Where one ignores them, the leak check that follows says more.
        warnings.filterwarnings("ignore", message="The groups parameter is ignored", category=UserWarning)
        raw_splits = list(splitter.split(X, y, None if groups is None else groups.values))
    splits = [
        (check_rows(train, y.size, fold, "training"), check_rows(test, y.size, fold, "test"))
        for fold, (train, test) in enumerate(raw_splits)
    ]
    _check_tested_once(splits, y.size)
    description = str(splitter) if hasattr(cv, "split") or isinstance(cv, numbers.Integral) else "given splits"
    return splits, description


def _default_splitter(
    cv: numbers.Integral, y: NDArray[Any], groups: Groups | None, random_state: RandomStateLike
) -> StratifiedGroupKFold | StratifiedKFold:
    n_folds = int(cv)
    if n_folds < 2:
        raise ValueError(f"cv must be at least 2, so that there is a part to test on; got {cv!r}.")
    _check_enough(y, groups, n_folds)
    # scikit-learn would read the global random state for None, and knows no Generator.
    is_plain = isinstance(random_state, int | np.integer | np.random.RandomState)
    seed = random_state if is_plain else spawn_seeds(random_state, 1)[0] % 2**31
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    return splitter(n_folds, shuffle=True, random_state=seed)


def _check_enough(y: NDArray[Any], groups: Groups | None, n_folds: int) -> None:
    """Refuse a number of folds for which some fold would have to do without a class, or without rows."""
    codes = np.arange(y.size) if groups is None else groups.codes
    unit = "images" if groups is None else "lesions (groups)"
    n_units = y.size if groups is None else groups.n_groups
    if n_units < n_folds:
        raise ValueError(f"cv={n_folds} needs at least {n_folds} {unit}; there are {n_units}. Use fewer folds.")
    labels, y_codes = np.unique(y, return_inverse=True)
    class_of_unit = np.unique(np.stack([y_codes, codes]), axis=1)[0]
    units_per_class = np.bincount(class_of_unit, minlength=labels.size)
    images_per_class = np.bincount(y_codes, minlength=labels.size)
    small = [
        f"class {labels[i]!s} has {units_per_class[i]} ({images_per_class[i]} images)"
        for i in np.flatnonzero(units_per_class < n_folds)
    ]
    if not small:
        return
    fewest = int(units_per_class.min())
    remedy = (
        f"Use cv={fewest}" if fewest >= 2 else "A class of one can be trained on or tested, not both: leave it out"
    )
    raise ValueError(
        f"cv={n_folds} needs at least {n_folds} {unit} of every class, so that each fold can be tested on it; "
        f"{', '.join(small)}. {remedy}, merge it with another class, or pass a splitter as cv."
    )


def check_rows(rows: Any, n_rows: int, fold: int, part: str, *, name: str = "cv") -> NDArray[np.intp]:
    """Return row numbers as an index array; refuse what is none."""
    index = np.asarray(rows)
    if index.dtype == bool and index.shape == (n_rows,):
        index = np.flatnonzero(index)
    if index.ndim != 1 or index.dtype.kind not in "iu" or index.size == 0:
        raise ValueError(
            f"{name} must give a one-dimensional, non-empty array of row numbers as the {part} part of fold "
            f"{fold}; got an array of {index.dtype} with shape {index.shape}."
        )
    if index.min() < 0 or index.max() >= n_rows:
        raise ValueError(
            f"{name} names row {index.max() if index.max() >= n_rows else index.min()} in the {part} part of fold "
            f"{fold}; X has the rows 0 to {n_rows - 1}."
        )
    return index.astype(np.intp)


def _check_tested_once(splits: list[Split], n_rows: int) -> None:
    if not splits:
        raise ValueError("cv gave no splits; it must give at least one (train, test) pair.")
    times = np.bincount(np.concatenate([test for _, test in splits]), minlength=n_rows)
    if times.max() > 1:
        row = int(np.argmax(times))
        raise ValueError(
            f"cv tests row {row} {times[row]} times ({int((times > 1).sum())} rows more than once); out-of-fold "
            "predictions need splits that test every row at most once. For repeated splits call this function "
            "once for each repetition, or use sklearn.model_selection.cross_validate."
        )
