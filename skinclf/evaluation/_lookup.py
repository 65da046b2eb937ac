"""The lookup table: what a model scores that remembers its training images, and has learnt nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skinclf._validation import read_input
from skinclf.evaluation._confusion import FloatArray
from skinclf.preprocessing._pixels import read_pixels

_ROWS_AT_ONCE = 1000
_FITTED = ("_form", "_position", "_shares")


class LookupClassifier(ClassifierMixin, BaseEstimator):
    """Answer with the label of an exact copy in training; where there is none, with the most frequent class.

    A null model. What it scores above "always the most frequent class" is the work of copies that are on both
    sides of a split, and of nothing else. Train and test it on the very rows that a model is trained and tested
    on, oversampled ones included, and show its score beside the model's.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    class_prior_ : ndarray of float64, shape (n_classes,)
        Their shares among the different images of training, 0–1: copies count once, so that oversampling does not
        change what is most frequent.
    n_different_ : int
        Different images in training, copies counting once.
    n_features_in_, image_shape_ : int, tuple of int
        Values of an image, and (height, width, channels). Not with paths.

    See Also
    --------
    null_models : Puts its score beside those of other null models.
    sklearn.dummy.DummyClassifier : Null models that do not look at the images at all.

    Notes
    -----
    Copies are found by their pixels, or by their paths if ``X`` holds paths. The same image in two files is not
    found by the paths; `audit_leakage` finds these, and images that are nearly alike. An image as uint8 is no copy
    of itself as floats. Where copies in training have several labels, the most frequent of these is the answer,
    and of equally frequent ones the first.

    Examples
    --------
    600 images of nevi and 60 of melanoma are oversampled to 600 of each, and then split. Numbers stand for the
    images, of which there is nothing to learn:

    >>> import numpy as np
    >>> from sklearn.model_selection import train_test_split
    >>> from skinclf.evaluation import LookupClassifier
    >>> image = np.concatenate([np.arange(600), 600 + np.arange(600) % 60])[:, None]
    >>> y = np.repeat(["nv", "mel"], 600)
    >>> X_train, X_test, y_train, y_test = train_test_split(image, y, test_size=0.2, random_state=0, stratify=y)
    >>> lookup = LookupClassifier().fit(X_train, y_train)
    >>> float(lookup.seen_in_training(X_test).mean()), lookup.score(X_test, y_test)
    (0.5, 1.0)
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Remember the images and their labels.

        Parameters
        ----------
        X : DataFrame, array or list of n_images images
            Paths, arrays of images or rows of numbers, in any form that `LesionCNNClassifier` takes.
        y : array-like of shape (n_images,)
            Their labels.

        Returns
        -------
        LookupClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            If ``X`` has no such form, or labels are missing, real numbers or not as many.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        for name in [name for name in vars(self) if name in _FITTED or name.endswith("_")]:
            delattr(self, name)  # a fit that fails leaves nothing of the one before
        keys = list(self._keys(X, reset=True))
        self.classes_, codes = np.unique(_check_labels(y, len(keys)), return_inverse=True)
        self._position = {key: position for position, key in enumerate(dict.fromkeys(keys))}
        rows = np.array([self._position[key] for key in keys])
        counts = np.zeros((len(self._position), self.classes_.size))
        np.add.at(counts, (rows, codes), 1)
        self._shares: FloatArray = counts / counts.sum(axis=1, keepdims=True)
        self.class_prior_: FloatArray = self._shares.mean(axis=0)
        self.n_different_ = len(self._position)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Look the images up.

        Parameters
        ----------
        X : DataFrame, array or list of n_images images
            In the form of those that it was fitted on.

        Returns
        -------
        ndarray of shape (n_images,)
            The labels.
        """
        proba = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[proba.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the shares of the labels among the copies in training, or ``class_prior_`` if there is none.

        Parameters
        ----------
        X : DataFrame, array or list of n_images images
            In the form of those that it was fitted on.

        Returns
        -------
        ndarray of float64, shape (n_images, n_classes)
            0–1, in the order of ``classes_``.
        """
        places = self._look_up(X)
        return np.where((places >= 0)[:, None], self._shares[np.maximum(places, 0)], self.class_prior_)

    def seen_in_training(self, X: Any) -> NDArray[np.bool_]:
        """Say of which images an exact copy was in training.

        Parameters
        ----------
        X : DataFrame, array or list of n_images images
            In the form of those that it was fitted on.

        Returns
        -------
        ndarray of bool, shape (n_images,)
            Its mean is their share.
        """
        return self._look_up(X) >= 0

    def _look_up(self, X: Any) -> NDArray[np.intp]:
        """Return the place of each image among the different ones of training, -1 for a new one."""
        check_is_fitted(self)
        return np.array([self._position.get(key, -1) for key in self._keys(X, reset=False)], dtype=np.intp)

    def _keys(self, X: Any, *, reset: bool) -> Iterator[bytes]:
        """Return for each image what only its copies share."""
        paths = read_input(X).paths
        form = "pixels" if paths is None else "paths"
        if reset:
            self._form = form
        elif form != self._form:
            raise ValueError(
                f"X must hold {self._form}, as that which {type(self).__name__} was fitted on does; got {form}. "
                "Copies are looked up in one form only."
            )
        if paths is None:
            return _keys_of_pixels(read_pixels(self, X, reset=reset, same_size=True))
        return _keys_of_paths(paths)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags


def _keys_of_paths(paths: NDArray[Any]) -> Iterator[bytes]:
    for row, path in enumerate(paths):
        if not isinstance(path, str | bytes):
            raise TypeError(
                f"X must hold paths or the bytes of files here; row {row} is of type {type(path).__name__}. "
                "Decode the images first (ImageLoader), and pass the pixels."
            )
        yield path if isinstance(path, bytes) else os.fsencode(path)


def _keys_of_pixels(images: NDArray[Any]) -> Iterator[bytes]:
    """Yield a digest of each image; float32 and float64 of the same values count as copies, and -0.0 as 0.0."""
    is_photo = images.dtype == np.uint8 and images.shape[1] > 1
    for start in range(0, len(images), _ROWS_AT_ONCE):
        chunk = images[start : start + _ROWS_AT_ONCE]
        for image in chunk if is_photo else chunk.astype(np.float64) + 0.0:
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _check_labels(y: Any, n_images: int) -> NDArray[Any]:
    labels = column_or_1d(y, warn=True)
    if len(labels) != n_images:
        raise ValueError(
            "X and y must have as many rows; Found input variables with inconsistent numbers of samples: "
            f"{[n_images, len(labels)]}"
        )
    missing = np.flatnonzero(pd.isna(labels))
    if missing.size:
        raise ValueError(f"y must hold a label for every image; it is missing in rows {missing[:5].tolist()}.")
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    checked: NDArray[Any] = labels
    return checked
