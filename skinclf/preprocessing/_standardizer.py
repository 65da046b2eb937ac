"""`ImageStandardizer`: channels of mean 0 and standard deviation 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from skinclf._leakage import carry_lesions
from skinclf._validation import ImageShape
from skinclf.preprocessing._output import ImageOutputMixin
from skinclf.preprocessing._pixels import is_flat, read_pixels, unit_scale

_IMAGES_AT_ONCE = 256
_VALUES_AT_ONCE = 2**20
"""8 MB in double precision."""


class ImageStandardizer(OneToOneFeatureMixin, ImageOutputMixin, BaseEstimator):
    """Subtract the mean of each channel and divide by its standard deviation, as learnt from the training images.

    `LesionCNNClassifier` does this by itself, batch by batch; as a step of its own it serves other models.

    Parameters
    ----------
    image_shape : tuple of int (height, width, channels), default=None
        How the rows of a 2-D ``X`` are to be read. None takes rows of ``3 * s * s`` or ``s * s`` values
        (``s >= 8``) as square images and others as strips of one channel.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (channels,)
        Mean of each channel, on the scale 0–1 for uint8 images.
    scale_ : ndarray of float64, shape (channels,)
        Standard deviation of each channel, on the same scale; 1 where a channel is constant.
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the training images; other heights and widths may be transformed.
    n_features_in_ : int
        ``height * width * channels``.

    Examples
    --------
    >>> from skinclf.datasets import make_lesions
    >>> from skinclf.preprocessing import ImageStandardizer
    >>> images = make_lesions(n_lesions=14, image_size=16, random_state=0).images
    >>> standardized = ImageStandardizer().fit_transform(images)
    >>> standardized.dtype, bool(abs(standardized.mean()) < 1e-4), bool(abs(standardized.std() - 1) < 1e-4)
    (dtype('float32'), True, True)
    """

    _parameter_constraints: dict[str, list[Any]] = {"image_shape": [tuple, list, None]}  # noqa: RUF012

    def __init__(self, *, image_shape: ImageShape | None = None) -> None:
        self.image_shape = image_shape

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean and standard deviation of each channel.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float.
        y : ignored
            Present by convention.

        Returns
        -------
        ImageStandardizer
            The fitted transformer.
        """
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )
        images = read_pixels(self, X, image_shape=self.image_shape, reset=True)
        self.mean_, self.scale_ = channel_statistics(images)
        return self

    def transform(self, X: Any) -> Any:
        """Standardise images.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float on the scale of the training images.

        Returns
        -------
        ndarray of float32, of the shape of ``X``
            ``(X - mean_) / scale_``, after uint8 values were divided by 255.
        """
        check_is_fitted(self)
        images = read_pixels(self, X, image_shape=self.image_shape, reset=False)
        result = np.empty(images.shape, dtype=np.float32)
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            rows = slice(start, start + _IMAGES_AT_ONCE)
            result[rows] = (images[rows] * unit_scale(images.dtype) - self.mean_) / self.scale_
        carry_lesions(X, result)
        return self._as_output(result.reshape(len(images), -1) if is_flat(X) else result, X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags


def channel_statistics(
    images: Any, rows: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel, without a float copy of all images.

    Parameters
    ----------
    images : array-like, shape (n_images, height, width, channels)
        uint8 in 0–255, or float; anything that can be indexed by an array of rows.
    rows : ndarray of int, optional
        Which images count; all by default.

    Returns
    -------
    mean, scale : ndarray of float64, shape (channels,)
        On the scale 0–1 for uint8 images; `scale` is 1 where a channel is constant.
    """
    rows = np.arange(len(images)) if rows is None else rows
    return _of_bytes(images, rows) if images.dtype == np.uint8 else _of_floats(images, rows)


def _parts(images: Any, rows: NDArray[np.intp]) -> Iterator[NDArray[Any]]:
    n_rows = max(1, _VALUES_AT_ONCE // math.prod(images.shape[1:]))
    for start in range(0, len(rows), n_rows):
        yield images[rows[start : start + n_rows]]


def _of_bytes(images: Any, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One pass over the images; all sums are whole numbers, so that no order and no chunk changes a bit.

    Whole numbers also need no matrix product, whose threads would wait actively for a while after it, on the
    processors that the network is about to use.
    """
    channels = images.shape[3]
    sums, squares = [0] * channels, [0] * channels
    for part in _parts(images, rows):
        lines = part.reshape(-1, part.shape[2] * channels)
        whole = np.uint32 if len(lines) <= 2**16 else np.uint64  # 2**16 squares of a byte fit into 32 bits
        of_lines = lines.sum(axis=0, dtype=whole).reshape(-1, channels)
        of_squares = np.multiply(lines, lines, dtype=np.uint16).sum(axis=0, dtype=whole).reshape(-1, channels)
        sums = [a + int(b) for a, b in zip(sums, of_lines.sum(axis=0, dtype=np.uint64), strict=True)]
        squares = [a + int(b) for a, b in zip(squares, of_squares.sum(axis=0, dtype=np.uint64), strict=True)]
    n = len(rows) * images.shape[1] * images.shape[2]
    mean = np.array([total / (255 * n) for total in sums])
    variance = [(n * square - total**2) / (255 * n) ** 2 for total, square in zip(sums, squares, strict=True)]
    scale = np.sqrt(variance)
    return mean, np.where(scale == 0, 1.0, scale)


def _of_floats(images: Any, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_values = len(rows) * images.shape[1] * images.shape[2]

    def total(power: int, mean: Any) -> NDArray[np.float64]:
        result = np.zeros(images.shape[3])
        for part in _parts(images, rows):
            result += (np.subtract(part, mean, dtype=np.float64) ** power).sum((0, 1, 2))
        return result

    # Counted from the first pixel on, the sums of a constant channel are 0, not thousands of rounding errors.
    first = images[rows[:1], 0, 0][0].astype(np.float64)
    mean = first + total(1, first) / n_values
    scale = np.sqrt(total(2, mean) / n_values)
    # A constant channel leaves a deviation of rounding errors only; dividing by it would blow them up.
    constant = scale <= 10 * np.finfo(np.float64).eps * np.maximum(np.abs(mean), 1e-300)
    scale[constant] = 1.0
    return mean, scale
