"""What the figures of trust start from: labels, probabilities and lesions, checked once and numbered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation._cases import check_proba
from skinclf.evaluation._confusion import FloatArray, as_labels, encode_labels
from skinclf.evaluation._groups import encode_groups
from skinclf.evaluation._resampling import Lesions, sort_into_patterns

SUM_TOLERANCE = 1e-3
"""How far the sum of the probabilities of an image may be from 1; half precision is within it."""

SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities below are raised to it before a logarithm is taken, as in ``sklearn.metrics.log_loss``."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and probabilities of images, and the lesions that they show.

    Attributes
    ----------
    truth : ndarray of intp, shape (n_images,)
        The true class, as a position in `classes`.
    proba : ndarray of float64, shape (n_images, n_classes)
        0–1; a row sums to 1.
    classes : ndarray of shape (n_classes,)
        The classes, in the order of the columns of `proba`.
    lesion : ndarray of int64, shape (n_images,)
        The lesion of every image, numbered from 0; the image itself if no groups were given.
    n_lesions : int
        How many of them there are.
    by_group : bool
        Whether groups were given.
    """

    truth: NDArray[np.intp]
    proba: FloatArray
    classes: NDArray[Any]
    lesion: NDArray[np.int64]
    n_lesions: int
    by_group: bool

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.truth.size)

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The class of the largest probability; of equal ones the first, as ``predict`` has it."""
        largest: NDArray[np.intp] = self.proba.argmax(axis=1)
        return largest

    @property
    def confidence(self) -> FloatArray:
        """The largest probability of each image, 0–1."""
        largest: FloatArray = self.proba.max(axis=1)
        return largest

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true one."""
        right: NDArray[np.bool_] = self.predicted == self.truth
        return right

    def sum_by_lesion(self, values: Any) -> FloatArray:
        """Sum values of images, shape ``(n_images,)`` or ``(n_images, n_columns)``, over those of each lesion."""
        columns = np.asarray(values, dtype=np.float64).reshape(self.n_images, -1)
        sums = [np.bincount(self.lesion, weights=column, minlength=self.n_lesions) for column in columns.T]
        return np.column_stack(sums)

    def sort_into_patterns(self) -> Lesions:
        """Find lesions that are interchangeable, to draw from."""
        return sort_into_patterns(
            np.column_stack([self.truth, self.proba]), self.lesion if self.by_group else None
        )


def check_predictions(y_true: Any, y_proba: Any, labels: Any = None, groups: Any = None) -> Predictions:
    """Check true labels, probabilities and lesions, and number classes and lesions.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_proba : array-like of float, shape (n_images, n_classes)
        Probabilities.
    labels : array-like of shape (n_classes,) or None
        The classes in the order of the columns. None: all that occur in `y_true`, sorted.
    groups : array-like of shape (n_images,) or None
        The lesion of every image. None: each image is one by itself.

    Returns
    -------
    Predictions
        The same, numbered.

    Raises
    ------
    ValueError
        If a label, a group or a probability is missing, shapes do not match, a label is none of `labels`, or a
        row of `y_proba` is no distribution.
    """
    truth = as_labels(y_true, "y_true")
    classes = np.unique(truth) if labels is None else as_labels(labels, "labels")
    if np.unique(classes).size != classes.size:
        raise ValueError(f"labels names a class twice: {classes.tolist()}.")
    unknown = ~np.isin(truth, classes)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise ValueError(
            f"y_true holds {truth[row].item()!r} in row {row} ({int(unknown.sum())} such rows), which is none of "
            f"the labels {classes.tolist()}. Leave these rows out: a model gives no probability to a class that "
            "it was not trained on."
        )
    proba = check_distributions(y_proba, classes, truth.size)
    if groups is None:
        lesion, n_lesions = np.arange(truth.size, dtype=np.int64), truth.size
    else:
        _, lesion, n_lesions = encode_groups(groups, truth.size)
    return Predictions(encode_labels(truth, classes), proba, classes, lesion, n_lesions, groups is not None)


def check_distributions(y_proba: Any, classes: NDArray[Any], n_images: int | None = None) -> FloatArray:
    """Return probabilities as float64; refuse what is no distribution over `classes`, naming the row."""
    proba = np.asarray(y_proba, dtype=np.float64)
    if np.isnan(proba).any():
        rows = np.flatnonzero(np.isnan(proba).reshape(len(proba), -1).any(axis=1))
        raise ValueError(
            f"y_proba holds NaN in {rows.size} row(s), the first of them {rows[:5].tolist()}. Rows that no fold "
            "of a cross-validation tests have no prediction: leave them out; result.tested says which remain."
        )
    proba = check_proba(proba, len(proba) if n_images is None else n_images, classes)
    wrong = (proba < 0).any(axis=1) | (np.abs(proba.sum(axis=1) - 1) > SUM_TOLERANCE)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        raise ValueError(
            "y_proba must hold probabilities, 0–1, that sum to 1 in every row; this is not so in "
            f"{rows.size} row(s), the first of them {rows[:5].tolist()}: "
            f"{np.round(proba[rows[0]], 4).tolist()}. Pass what predict_proba returns, not scores or logits."
        )
    return proba
