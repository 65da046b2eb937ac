"""The validation split inside ``fit``: by lesion, stratified by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def lesion_holdout(
    y: NDArray[np.intp], groups: NDArray[Any], fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split rows into training and validation so that no lesion is on both sides.

    Lesions of each class are drawn at random until `fraction` of the class's images is reached. A class with one
    lesion stays in training as a whole, and no class ever leaves training; a lesion whose images have several
    labels counts for its most frequent one.

    Parameters
    ----------
    y : ndarray of int, shape (n_images,)
        Class numbers.
    groups : ndarray, shape (n_images,)
        The lesion of each image.
    fraction : float
        Share of the images to hold out, in (0, 1).
    seed : int
        Seed of the draw.

    Returns
    -------
    train, validation : ndarray of int
        Sorted row numbers; `validation` is empty if every class has one lesion only.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.estimator._holdout import lesion_holdout
    >>> y, lesions = np.repeat([0, 1], 6), np.repeat(np.arange(6), 2)
    >>> train, validation = lesion_holdout(y, lesions, fraction=1 / 3, seed=0)
    >>> np.bincount(y[validation]).tolist(), set(lesions[train]) & set(lesions[validation])
    ([2, 2], set())
    """
    lesion, _ = pd.factorize(groups)
    n_lesions, n_classes = int(lesion.max()) + 1, int(y.max()) + 1
    counts = np.zeros((n_lesions, n_classes), dtype=np.intp)
    np.add.at(counts, (lesion, y), 1)
    label, size = counts.argmax(axis=1), counts.sum(axis=1)
    held_out = np.zeros(n_lesions, dtype=bool)
    order = np.random.default_rng(seed).permutation(n_lesions)
    for k in range(n_classes):
        candidates = order[label[order] == k][:-1]  # one lesion of each class always stays
        before = np.cumsum(size[candidates]) - size[candidates]
        wanted = fraction * size[label == k].sum()
        held_out[candidates[before + size[candidates] / 2 <= max(wanted, size[candidates][:1].sum() / 2)]] = True
    validation = held_out[lesion]
    return np.flatnonzero(~validation), np.flatnonzero(validation)
