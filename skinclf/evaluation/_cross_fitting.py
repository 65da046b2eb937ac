"""Which rows may be used for which: what is fitted on out-of-fold rows is judged on those of another fold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf._leakage import LeakageError
from skinclf._random import RandomStateLike
from skinclf.evaluation._groups import Groups, encode_groups
from skinclf.evaluation._probabilities import Predictions
from skinclf.evaluation._splits import DEFAULT_FOLDS, make_splits


def check_folds(fold: Any, data: Predictions, groups: Any, random_state: RandomStateLike) -> NDArray[np.int64]:
    """Return the fold of every image, numbered from 0.

    Parameters
    ----------
    fold : array-like of int, shape (n_images,), or None
        As in `CrossValidationResult.fold`. None: five folds are drawn, by lesion where lesions are known.
    data : Predictions
        The images.
    groups : array-like of shape (n_images,) or None
        Their lesions.
    random_state : int, RandomState, Generator or None
        Draws the folds if there are none.

    Returns
    -------
    ndarray of int64, shape (n_images,)

    Raises
    ------
    ValueError
        If there are not as many folds as images, or all images are in one.
    LeakageError
        If a lesion is in two folds.
    """
    if fold is None:
        lesions = None if groups is None else Groups(*encode_groups(groups, data.n_images), "groups")
        labels = data.classes[data.truth]
        splits, _ = make_splits(DEFAULT_FOLDS, data.proba, labels, lesions, random_state=random_state)
        codes = np.empty(data.n_images, dtype=np.int64)
        for number, (_, test) in enumerate(splits):
            codes[test] = number
        return codes
    values = np.asarray(fold)
    if values.shape != (data.n_images,):
        raise ValueError(
            f"fold must have one value for each of the {data.n_images} images, such as result.fold; got shape "
            f"{values.shape}."
        )
    if values.dtype.kind not in "iu" or values.min() < 0:
        raise ValueError(
            f"fold must hold whole numbers from 0; got {np.unique(values)[:5].tolist()} and so on. A fold of -1 "
            "means that no model was tested on the row: leave it out; result.tested says which remain."
        )
    codes = np.unique(values, return_inverse=True)[1].astype(np.int64)
    if codes.max() == 0:
        raise ValueError("fold must name at least two folds: one to fit on, and another to be judged on; got one.")
    pairs = np.unique(np.column_stack([data.lesion, codes]), axis=0)
    torn = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    if torn.size:
        rows = np.flatnonzero(data.lesion == torn[0])
        raise LeakageError(
            f"{torn.size} lesion(s) are in more than one fold, the first of them in the rows {rows[:5].tolist()}: "
            "what is fitted on one fold would be judged on other photos of the same lesions. Cross-validate by "
            "lesion."
        )
    return codes
