"""Labels to class numbers, and the weight of each image in the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from skinclf.augmentation._sampling import epoch_counts


def encode_labels(y: Any, n_images: int, classes: Any = None) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the classes, sorted, and the class number of each image.

    Parameters
    ----------
    y : array-like, shape (n_images,)
        Labels of any type that scikit-learn accepts.
    n_images : int
        How many there must be.
    classes : array-like, default=None
        All labels that there are; None takes those of `y`, of which there must be two at least.

    Returns
    -------
    classes : ndarray, shape (n_classes,)
        The distinct labels, in the type of `y`.
    labels : ndarray of int, shape (n_images,)
        Positions in `classes`.

    Raises
    ------
    ValueError
        If there are no labels, too many or too few, missing ones, real numbers, one class only, or one that
        `classes` lacks.

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
    known = np.unique(y if classes is None else column_or_1d(classes))
    if len(known) < 2:
        name = "y holds" if classes is None else "classes names"
        raise ValueError(
            f"{name} one class only ({known.tolist()[0]!r}); a classifier needs at least two classes."
        )
    unknown = np.setdiff1d(y, known)
    if unknown.size:
        raise ValueError(f"y holds the labels {unknown.tolist()[:5]}, and the classes are {known.tolist()}.")
    return known, np.searchsorted(known, y).astype(np.intp)


def check_sample_weight(sample_weight: Any, n_images: int) -> NDArray[np.float64] | None:
    """Return the weights of the images as an array, None if there are none.

    Raises
    ------
    ValueError
        If they have another length, or one is negative or not finite.
    """
    if sample_weight is None:
        return None
    # scikit-learn's function looks at nothing of X but its length.
    weight: NDArray[np.float64] = _check_sample_weight(
        sample_weight, np.empty((n_images, 1)), dtype=np.float64, ensure_non_negative=True
    )
    return weight


def image_weights(
    labels: NDArray[np.intp],
    training: NDArray[np.intp],
    *,
    classes: NDArray[Any],
    class_weight: str | dict[Any, float] | None,
    sample_weight: NDArray[np.float64] | None,
    sampler: str | None = None,
) -> NDArray[np.float64]:
    """Return the weight of each image: its class's times its own, with mean 1 over an epoch.

    Validation images come once each, whatever the sampler does to the training images; their weights stand for the
    repetitions too, so that both losses weigh the classes alike.

    Parameters
    ----------
    labels : ndarray of int, shape (n_images,)
        Positions in `classes`.
    training : ndarray of int
        The rows that are trained on; "balanced" and "sqrt" count the classes of these.
    classes : ndarray, shape (n_classes,)
        The labels that a dict names.
    class_weight : "balanced", "sqrt", dict or None
        "balanced" is as in scikit-learn, "sqrt" the root of that; a label that a dict leaves out has weight 1.
    sample_weight : ndarray of float64, shape (n_images,), or None
        As `check_sample_weight` returns it.
    sampler : "balanced", "sqrt" or None, default=None
        How often the classes come in an epoch.

    Returns
    -------
    ndarray of float64, shape (n_images,)
        Non-negative.

    Raises
    ------
    ValueError
        If a dict names an unknown label, or nothing that is left to train on has a weight.
    """
    sizes = np.bincount(labels[training], minlength=len(classes))
    in_an_epoch = epoch_counts(sizes, sampler)
    if isinstance(class_weight, dict):
        by_class = _weights_of_dict(class_weight, classes)
    elif class_weight is not None:  # a class that is absent, in a part of the data, needs no weight
        by_class = len(training) / (np.count_nonzero(sizes) * np.maximum(in_an_epoch, 1))
        by_class = np.sqrt(by_class) if class_weight == "sqrt" else by_class
    else:
        by_class = np.ones(len(classes))
    weight = by_class[labels] if sample_weight is None else by_class[labels] * sample_weight
    repetitions = (in_an_epoch / np.maximum(sizes, 1))[labels]
    mean = (weight * repetitions)[training].mean()
    if mean <= 0:
        raise ValueError("The weights of all images that are left to train on are zero; some must be positive.")
    scaled: NDArray[np.float64] = weight * repetitions / mean
    scaled[training] = weight[training] / mean
    return scaled


def _weights_of_dict(class_weight: dict[Any, float], classes: NDArray[Any]) -> NDArray[np.float64]:
    unknown = [label for label in class_weight if label not in classes]
    if unknown:
        raise ValueError(f"class_weight names {unknown}, but the classes of y are {classes.tolist()}.")
    negative = [label for label, value in class_weight.items() if not value >= 0]
    if negative:
        raise ValueError(f"The weights of class_weight must be 0 or more; those of {negative} are not.")
    return np.array([class_weight.get(label, 1.0) for label in classes.tolist()], dtype=np.float64)
