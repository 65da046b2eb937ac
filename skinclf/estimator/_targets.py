"""Labels to class numbers, and the weight of each image in the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d


def encode_labels(y: Any, n_images: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the classes, sorted, and the class number of each image.

    Parameters
    ----------
    y : array-like, shape (n_images,)
        Labels of any type that scikit-learn accepts.
    n_images : int
        How many there must be.

    Returns
    -------
    classes : ndarray, shape (n_classes,)
        The distinct labels, in the type of `y`.
    labels : ndarray of int, shape (n_images,)
        Positions in `classes`.

    Raises
    ------
    ValueError
        If there are no labels, too many or too few, missing ones, real numbers, or one class only.

    Examples
    --------
    >>> from skinclf.estimator._targets import encode_labels
    >>> encode_labels(["nv", "mel", "nv"], 3)
    (array(['mel', 'nv'], dtype='<U3'), array([1, 0, 1]))
    """
    if y is None:
        raise ValueError("LesionCNNClassifier requires y to be passed, but the target y is None.")
    y = column_or_1d(y, warn=True)
    if len(y) != n_images:
        raise ValueError(
            "X and y must have as many rows; Found input variables with inconsistent numbers of samples: "
            f"{[n_images, len(y)]}"
        )
    missing = np.flatnonzero(pd.isna(y))
    if missing.size:
        raise ValueError(f"y must hold a label for every image; it is missing in rows {missing[:5].tolist()}.")
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}); a classifier needs at least two classes."
        )
    return classes, labels.astype(np.intp)


def image_weights(
    labels: NDArray[np.intp],
    training: NDArray[np.intp],
    *,
    classes: NDArray[Any],
    class_weight: str | dict[Any, float] | None,
    sample_weight: Any,
) -> NDArray[np.float64]:
    """Return the weight of each image: its class's times its own, with mean 1 over the training images.

    Parameters
    ----------
    labels : ndarray of int, shape (n_images,)
        Positions in `classes`.
    training : ndarray of int
        The rows that are trained on; "balanced" counts the classes of these.
    classes : ndarray, shape (n_classes,)
        The labels that a dict names.
    class_weight : "balanced", dict or None
        As in scikit-learn; a label that a dict leaves out has weight 1.
    sample_weight : array-like of shape (n_images,) or None
        Non-negative.

    Returns
    -------
    ndarray of float64, shape (n_images,)
        Non-negative.

    Raises
    ------
    ValueError
        If a dict names an unknown label, `sample_weight` has another length or a negative value, or nothing that
        is left to train on has a weight.
    """
    if isinstance(class_weight, dict):
        unknown = [label for label in class_weight if label not in classes]
        if unknown:
            raise ValueError(f"class_weight names {unknown}, but the classes of y are {classes.tolist()}.")
        negative = [label for label, value in class_weight.items() if not value >= 0]
        if negative:
            raise ValueError(f"The weights of class_weight must be 0 or more; those of {negative} are not.")
        by_class = np.array([class_weight.get(label, 1.0) for label in classes.tolist()], dtype=np.float64)
    else:
        by_class = compute_class_weight(class_weight, classes=np.arange(len(classes)), y=labels[training])
    weight = by_class[labels]
    if sample_weight is not None:
        own = _check_sample_weight(sample_weight, labels, dtype=np.float64, ensure_non_negative=True)
        weight = weight * own
    mean = weight[training].mean()
    if mean <= 0:
        raise ValueError("The weights of all images that are left to train on are zero; some must be positive.")
    scaled: NDArray[np.float64] = weight / mean
    return scaled
