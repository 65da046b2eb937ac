"""Pixels of a transformer's ``X``, 4-D or flat, as 4-D images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from skinclf._validation import ImageShape, check_images, infer_image_shape, read_input


def unit_scale(dtype: np.dtype[Any]) -> float:
    """Return what brings stored values to the scale 0–1: 1/255 for uint8, 1 for floats."""
    return 1 / 255 if dtype == np.uint8 else 1.0


def is_flat(X: Any) -> bool:
    """Whether ``X`` holds rows of flattened images, so that rows are what its caller expects back."""
    return read_input(X).images is None


def read_pixels(
    estimator: Any, X: Any, *, image_shape: ImageShape | None = None, reset: bool, same_size: bool = False
) -> NDArray[Any]:
    """Check ``X`` and return its images; set or compare ``n_features_in_`` and ``image_shape_``.

    Parameters
    ----------
    estimator : estimator
        Whose fitted attributes are set (``reset=True``) or compared.
    X : array-like, shape (n_images, height, width, channels) or (n_images, n_features)
        Images or flattened images.
    image_shape : tuple of int, optional
        How flat rows are to be read.
    reset : bool
        True in ``fit``, False afterwards.
    same_size : bool, default=False
        Whether height and width must be those of the training images; the channels always must.

    Returns
    -------
    ndarray, shape (n_images, height, width, channels)
        uint8 in 0–255 or float; a view of ``X`` where possible.

    Raises
    ------
    ValueError, TypeError
        If ``X`` breaks the image contract, or differs from the training images.
    """
    given = read_input(X)
    if given.paths is not None:
        raise ValueError(
            f"{type(estimator).__name__} works on pixels, and X holds paths. Put an ImageLoader before it."
        )
    if given.images is None:
        return _read_rows(estimator, given.rows, image_shape, reset)
    images = check_images(given.images)
    shape = tuple(int(side) for side in images.shape[1:])
    if reset:
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        estimator.image_shape_ = shape
        estimator.n_features_in_ = int(np.prod(shape))
        return images
    known = estimator.image_shape_
    if shape[2] != known[2] or (same_size and shape != known):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on images of shape {known}; X has images of shape {shape} "
            "(height, width, channels)."
        )
    return images


def _read_rows(estimator: Any, rows: Any, image_shape: ImageShape | None, reset: bool) -> NDArray[Any]:
    values = validate_data(estimator, rows, reset=reset, dtype="numeric")
    if reset:
        estimator.image_shape_ = infer_image_shape(values.shape[1], image_shape)
    images: NDArray[Any] = values.reshape(len(values), *estimator.image_shape_)
    if values.dtype.kind in "iub" and estimator.image_shape_[0] > 1:
        # As in 4-D: an int64 row, from a CSV file say, and its uint8 copy must not differ by a factor of 255.
        return check_images(images)
    if values.dtype != np.uint8:
        images = images.astype(np.float32 if values.dtype == np.float32 else np.float64, copy=False)
    return images
