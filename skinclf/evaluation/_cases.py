"""True classes, predicted classes and scores of the images, checked and numbered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation._confusion import FloatArray, encode_labels, label_pair


@dataclass(frozen=True, eq=False)
class Cases:
    """What is known of each image.

    Attributes
    ----------
    truth : ndarray of intp, shape (n_images,)
        Position of the true class in `classes`.
    prediction : ndarray of intp, shape (n_images,)
        Position of the predicted class; ``n_classes`` where the scores decide for none.
    scores : ndarray of float64, shape (n_images, n_classes), or None
        Scores of the classes.
    classes : ndarray of shape (n_classes,)
        The labels.
    by_score : bool
        Whether the predictions come from the scores, so that an image can be undecided.
    """

    truth: NDArray[np.intp]
    prediction: NDArray[np.intp]
    scores: FloatArray | None
    classes: NDArray[Any]
    by_score: bool

    @property
    def n_columns(self) -> int:
        """Columns of the confusion matrix: the classes, and one for undecided images where there can be any."""
        return int(self.classes.size) + int(self.by_score)

    @property
    def cells(self) -> NDArray[np.intp]:
        """The cell of the flattened confusion matrix that each image is in, shape (n_images,)."""
        cells: NDArray[np.intp] = self.truth * self.n_columns + self.prediction
        return cells

    def confusion(self) -> NDArray[np.int64]:
        """Count the images in each cell: int64, shape (n_classes, n_columns)."""
        counts = np.bincount(self.cells, minlength=self.classes.size * self.n_columns)
        return counts.reshape(self.classes.size, self.n_columns).astype(np.int64)


def read_cases(y_true: Any, y_pred: Any, y_proba: Any, labels: Any) -> Cases:
    """Check labels and scores; with no `y_pred`, take the class of the largest score.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        True labels.
    y_pred : array-like of shape (n_images,) or None
        Predicted labels.
    y_proba : array-like of shape (n_images, n_classes) or None
        Scores; needed if `y_pred` is None.
    labels : array-like of shape (n_classes,) or None
        The classes. None: all that occur, sorted.

    Returns
    -------
    Cases
        Everything by number.

    Raises
    ------
    ValueError
        If there is neither `y_pred` nor `y_proba`, or one of the arguments is not usable.
    """
    if y_pred is None and y_proba is None:
        raise ValueError("y_pred or y_proba is needed; got neither. Pass what predict or predict_proba returned.")
    truth, prediction, classes = label_pair(y_true, y_true if y_pred is None else y_pred, labels)
    scores = None if y_proba is None else check_proba(y_proba, truth.size, classes)
    if y_pred is None and scores is not None:
        return Cases(encode_labels(truth, classes), decide(scores), scores, classes, by_score=True)
    return Cases(
        encode_labels(truth, classes), encode_labels(prediction, classes), scores, classes, by_score=False
    )


def check_proba(y_proba: Any, n_images: int, classes: NDArray[Any], name: str = "y_proba") -> FloatArray:
    """Return scores as float64 of shape (n_images, n_classes); refuse another shape, NaN and infinity."""
    scores = np.asarray(y_proba, dtype=np.float64)
    if scores.shape != (n_images, classes.size):
        raise ValueError(
            f"{name} must have a row for each of the {n_images} images and a column for each of the "
            f"{classes.size} classes {classes.tolist()}; got shape {scores.shape}. If the model knows other "
            "classes than those that occur here, pass labels=classes_."
        )
    unusable = ~np.isfinite(scores).all(axis=1)
    if unusable.any():
        rows = np.flatnonzero(unusable)
        raise ValueError(
            f"{name} must be finite; {rows.size} row(s) hold NaN or infinity, the first of them "
            f"{rows[:5].tolist()}."
        )
    return scores


def decide(scores: FloatArray) -> NDArray[np.intp]:
    """Return the position of the largest score of each image; ``n_classes`` where two or more share it.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation._cases import decide
    >>> decide(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]))
    array([1, 3])
    """
    largest = scores == scores.max(axis=1, keepdims=True)
    decided: NDArray[np.intp] = np.where(largest.sum(axis=1) == 1, largest.argmax(axis=1), scores.shape[1])
    return decided
