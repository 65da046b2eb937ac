"""``X`` of the classifier as images of one shape and one scale."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf._validation import read_input
from skinclf.estimator._recipe import setting
from skinclf.preprocessing import ImageLoader
from skinclf.preprocessing._file_images import FileImages
from skinclf.preprocessing._pixels import read_pixels

_UNIT = (0.0, 1.0)


def read_images(classifier: Any, X: Any, *, reset: bool) -> tuple[Any, NDArray[Any] | None]:
    """Return the images of ``X``, and the lesions that it names.

    Parameters
    ----------
    classifier : LesionCNNClassifier or LesionFeatures
        Whose ``image_shape_``, ``n_features_in_`` and ``value_range_`` are set (``reset=True``) or compared.
    X : the image contract
        Paths or pixels.
    reset : bool
        True in ``fit``, False afterwards.

    Returns
    -------
    images : array-like of uint8 or float, shape (n_images, height, width, channels)
        Views of ``X`` or of the cache where possible.
    lesion_id : ndarray of object, shape (n_images,), or None
        The column of that name.

    Raises
    ------
    ValueError, TypeError
        If ``X`` breaks the image contract, or differs in shape or scale from the training images.
    """
    given = read_input(X)
    images: Any
    if given.paths is None:
        images = read_pixels(classifier, X, image_shape=classifier.image_shape, reset=reset, same_size=True)
    else:
        name = type(classifier).__name__
        size = setting(classifier, "image_size") if reset else _square_side(classifier.image_shape_, name)
        images = _of_files(classifier, given.paths, size)
        if reset:
            classifier.__dict__.pop("feature_names_in_", None)
            classifier.image_shape_ = images.shape[1:]
            classifier.n_features_in_ = int(np.prod(images.shape[1:]))
    if reset:
        classifier.value_range_ = _value_range(images)
    else:
        _check_scale(images, classifier)
    return images, given.lesion_id


def _of_files(classifier: Any, paths: NDArray[Any], size: int) -> Any:
    n_bytes = len(paths) * size * size * 3
    if classifier.cache_dir is None and n_bytes > _limit(classifier.memory_limit):
        return FileImages(paths, size, classifier.crop, classifier.n_jobs)
    loader = ImageLoader(size, crop=classifier.crop, n_jobs=classifier.n_jobs, cache_dir=classifier.cache_dir)
    return loader.load_rows(paths)[0]


def _limit(memory_limit: int | str | None) -> float:
    """Return the bytes that decoded images may take."""
    if memory_limit is None:
        return math.inf
    if memory_limit != "auto":
        return float(memory_limit)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):  # not on Windows
        return math.inf


def _square_side(image_shape: tuple[int, int, int], name: str) -> int:
    height, width, channels = image_shape
    if height != width or channels != 3:
        raise ValueError(
            f"{name} was fitted on images of shape {image_shape} (height, width, channels), and "
            "files are read as square RGB images. Pass arrays of that shape."
        )
    return height


def _value_range(images: Any) -> tuple[float, float]:
    """Return (0, 1) for uint8 and for floats within it, else the lowest and the highest value."""
    if images.dtype == np.uint8:
        return _UNIT
    low, high = float(images.min()), float(images.max())
    return _UNIT if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))


def _check_scale(images: Any, classifier: Any) -> None:
    """Refuse images on another scale than the training images, which would be classified without a word."""
    fitted, image_shape, name = classifier.value_range_, classifier.image_shape_, type(classifier).__name__
    if fitted != _UNIT and images.dtype == np.uint8:
        raise ValueError(
            f"{name} was fitted on float images with values from {fitted[0]:.3g} to {fitted[1]:.3g}; X is "
            "uint8. Pass X through the same steps as the training images."
        )
    if images.dtype == np.uint8 or image_shape[0] == 1:  # strips are tables, on whatever scale
        return
    low, high = float(images.min()), float(images.max())
    if fitted == _UNIT and (low < 0 or high > 1):
        raise ValueError(
            f"{name} was fitted on uint8 images or floats in 0-1; X has float values from "
            f"{low:.3g} to {high:.3g}. Pass X through the same steps as the training images."
        )
    if fitted[0] >= 0 and fitted[1] > 2 and low >= 0 and high <= 1:
        raise ValueError(
            f"{name} was fitted on float images with values from {fitted[0]:.3g} to {fitted[1]:.3g}; "
            f"X has values from {low:.3g} to {high:.3g}. Pass X through the same steps as the training images."
        )
