"""Arithmetic on confusion matrices, one or many at a time.

Every function takes ``matrices`` of shape ``(..., n_classes, n_classes)`` with counts, rows the truth and
columns the prediction, and treats the leading axes as a batch. One more column may hold the images that were
given no class: they count as images of their class, and as predictions of none. What is not defined, such as
the sensitivity of a class without images, is NaN; means are taken over the classes that have a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.multiclass import unique_labels

FloatArray = NDArray[np.float64]


def as_labels(y: Any, name: str) -> NDArray[Any]:
    """Return labels as a one-dimensional array; refuse a missing one, naming its row.

    Python strings in an object array become a NumPy string array, so that sorting and comparing are defined.
    """
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, a label for each image; got shape {labels.shape}.")
    if labels.size == 0:
        raise ValueError(f"{name} is empty; at least one label is needed.")
    blank = np.array([isinstance(value, str) and not value.strip() for value in labels.tolist()], dtype=bool)
    missing = np.asarray(pd.isna(labels), dtype=bool) | blank
    if missing.any():
        rows = np.flatnonzero(missing)
        raise ValueError(f"{name} has no label in {rows.size} row(s), the first of them {rows[:5].tolist()}.")
    if labels.dtype == object and all(isinstance(value, str) for value in labels):
        labels = labels.astype(str)
    return labels


def label_pair(y_true: Any, y_pred: Any, labels: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Check true and predicted labels, and find the classes: `labels`, else all that occur, sorted."""
    truth, prediction = as_labels(y_true, "y_true"), as_labels(y_pred, "y_pred")
    if truth.size != prediction.size:
        raise ValueError(f"y_true has {truth.size} labels and y_pred {prediction.size}; they must be as many.")
    if labels is None:
        return truth, prediction, np.asarray(unique_labels(truth, prediction))
    classes = as_labels(labels, "labels")
    if np.unique(classes).size != classes.size:
        raise ValueError(f"labels names a class twice: {classes.tolist()}.")
    for name, values in (("y_true", truth), ("y_pred", prediction)):
        unknown = ~np.isin(values, classes)
        if unknown.any():
            row = int(np.argmax(unknown))
            raise ValueError(
                f"{name} holds {values[row].item()!r} in row {row} ({int(unknown.sum())} such rows), which is "
                f"none of the labels {classes.tolist()}. Add it to labels, or leave these rows out."
            )
    return truth, prediction, classes


def encode_labels(values: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the position of every value in `classes`, which must hold it."""
    order = np.argsort(classes)
    positions: NDArray[np.intp] = order[np.searchsorted(classes, values, sorter=order)]
    return positions


def confusion_counts(truth: NDArray[Any], prediction: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Count how often each class was taken for each class.

    Parameters
    ----------
    truth, prediction : ndarray of shape (n_rows,)
        Labels, all of them among `classes`.
    classes : ndarray of shape (n_classes,)
        In the order of rows and columns.

    Returns
    -------
    ndarray of int64, shape (n_classes, n_classes)
        Rows are the truth, columns the prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation._confusion import confusion_counts
    >>> truth, prediction = np.array(["mel", "nv", "nv"]), np.array(["nv", "nv", "mel"])
    >>> confusion_counts(truth, prediction, np.array(["mel", "nv"]))
    array([[0, 1],
           [1, 1]])
    """
    k = classes.size
    cells = encode_labels(truth, classes) * k + encode_labels(prediction, classes)
    return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)


def divide(numerator: Any, denominator: Any) -> FloatArray:
    """Divide element by element; 0 / 0 is NaN, without a warning."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    quotient: FloatArray = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return quotient


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Mean over the last axis of what is not NaN; NaN where all is."""
    return divide(np.nansum(values, axis=-1), np.sum(~np.isnan(values), axis=-1))


def _true_positives(matrices: NDArray[Any]) -> NDArray[Any]:
    return matrices.diagonal(axis1=-2, axis2=-1)


def _predictions(matrices: NDArray[Any]) -> NDArray[Any]:
    counts: NDArray[Any] = matrices.sum(axis=-2)[..., : matrices.shape[-2]]
    return counts


def _true_negatives(matrices: NDArray[Any]) -> NDArray[Any]:
    total = matrices.sum(axis=(-2, -1))[..., None]
    counts: NDArray[Any] = total - matrices.sum(axis=-1) - _predictions(matrices) + _true_positives(matrices)
    return counts


def support(matrices: NDArray[Any]) -> NDArray[Any]:
    """Images of each class, shape ``(..., n_classes)``."""
    counts: NDArray[Any] = matrices.sum(axis=-1)
    return counts


def sensitivity(matrices: NDArray[Any]) -> FloatArray:
    """Share of each class that is found (recall), shape ``(..., n_classes)``."""
    return divide(_true_positives(matrices), matrices.sum(axis=-1))


def specificity(matrices: NDArray[Any]) -> FloatArray:
    """Share of the images of other classes that are not taken for each class, shape ``(..., n_classes)``."""
    others = matrices.sum(axis=(-2, -1))[..., None] - matrices.sum(axis=-1)
    return divide(_true_negatives(matrices), others)


def ppv(matrices: NDArray[Any]) -> FloatArray:
    """Share of what is taken for each class that is of it (precision), shape ``(..., n_classes)``."""
    return divide(_true_positives(matrices), _predictions(matrices))


def npv(matrices: NDArray[Any]) -> FloatArray:
    """Share of what is not taken for each class that is not of it, shape ``(..., n_classes)``."""
    rejected = matrices.sum(axis=(-2, -1))[..., None] - _predictions(matrices)
    return divide(_true_negatives(matrices), rejected)


def f1(matrices: NDArray[Any]) -> FloatArray:
    """Harmonic mean of sensitivity and PPV of each class, shape ``(..., n_classes)``."""
    return divide(2 * _true_positives(matrices), matrices.sum(axis=-1) + _predictions(matrices))


def accuracy(matrices: NDArray[Any]) -> FloatArray:
    """Share of all images whose class is right, shape ``(...)``."""
    return divide(_true_positives(matrices).sum(axis=-1), matrices.sum(axis=(-2, -1)))


def balanced_accuracy(matrices: NDArray[Any]) -> FloatArray:
    """Mean sensitivity of the classes that have images, shape ``(...)``."""
    return mean_of_defined(sensitivity(matrices))


PER_CLASS: dict[str, Callable[[NDArray[Any]], FloatArray]] = {
    "sensitivity": sensitivity,
    "specificity": specificity,
    "ppv": ppv,
    "npv": npv,
    "f1": f1,
}
"""The measures that have a value for every class, by name."""

OVERALL: dict[str, Callable[[NDArray[Any]], FloatArray]] = {
    "balanced_accuracy": balanced_accuracy,
    "accuracy": accuracy,
}
"""The measures that have one value, by name."""
