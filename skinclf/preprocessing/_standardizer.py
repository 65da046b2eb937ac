"""`ImageStandardizer`: channels of mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skinclf._validation import ImageShape
from skinclf.preprocessing._pixels import is_flat, read_pixels, unit_scale

_IMAGES_AT_ONCE = 256


class ImageStandardizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
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
        images = read_pixels(self, X, image_shape=self.image_shape, reset=True)
        self.mean_, self.scale_ = channel_statistics(images)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
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
        return result.reshape(len(images), -1) if is_flat(X) else result

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags


def channel_statistics(
    images: NDArray[Any], rows: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel, without a float copy of all images.

    Parameters
    ----------
    images : ndarray, shape (n_images, height, width, channels)
        uint8 in 0–255, or float.
    rows : ndarray of int, optional
        Which images count; all by default.

    Returns
    -------
    mean, scale : ndarray of float64, shape (channels,)
        On the scale 0–1 for uint8 images; `scale` is 1 where a channel is constant.
    """
    rows = np.arange(len(images)) if rows is None else rows
    n_values = len(rows) * images.shape[1] * images.shape[2]
    unit = unit_scale(images.dtype)

    def total(power: int, mean: Any) -> NDArray[np.float64]:
        result = np.zeros(images.shape[3])
        for start in range(0, len(rows), _IMAGES_AT_ONCE):
            part = images[rows[start : start + _IMAGES_AT_ONCE]] * unit
            result += (np.subtract(part, mean, dtype=np.float64) ** power).sum((0, 1, 2))
        return result

    # Counted from the first pixel on, the sums of a constant channel are 0, not thousands of rounding errors.
    first = (images[rows[:1], 0, 0] * unit)[0].astype(np.float64)
    mean = first + total(1, first) / n_values
    scale = np.sqrt(total(2, mean) / n_values)
    # A constant channel leaves a deviation of rounding errors only; dividing by it would blow them up.
    constant = scale <= 10 * np.finfo(np.float64).eps * np.maximum(np.abs(mean), 1e-300)
    scale[constant] = 1.0
    return mean, scale
