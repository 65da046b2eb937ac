"""What transformers that clean images one by one have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, clone
from sklearn.utils._param_validation import validate_parameter_constraints

from skinclf._leakage import carry_lesions
from skinclf._validation import ImageShape, check_images
from skinclf.preprocessing._output import ImageOutputMixin
from skinclf.preprocessing._pixels import is_flat, read_pixels

_VALUES_AT_ONCE = 2**20
"""Batches of a million values were fastest at 64, 128 and 224 pixels; one takes some 20 MB."""


class ImageCleaner(OneToOneFeatureMixin, ImageOutputMixin, BaseEstimator):
    """Base class: change each image by itself, in batches; nothing is learnt, and ``fit`` may be left out."""

    _parameter_constraints: dict[str, list[Any]]
    image_shape: ImageShape | None

    @abstractmethod
    def _clean(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return a changed batch of the same shape and dtype."""

    @abstractmethod
    def _applies_to(self, image_shape: ImageShape) -> bool:
        """Whether images of this shape are changed at all."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and the images; nothing is learnt.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float in 0–1.
        y : ignored
            Present by convention.

        Returns
        -------
        ImageCleaner
            The transformer itself.
        """
        self._read(X, reset=True)
        return self

    def transform(self, X: Any) -> Any:
        """Clean the images.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float in 0–1; heights and widths may differ from those in ``fit``.

        Returns
        -------
        ndarray, of the shape and dtype of ``X``
            A new array; ``X`` is not changed. Other integers in 0–255 come back as uint8.
        """
        images = self._read(X, reset=False)
        if not self._applies_to(images.shape[1:]):
            result = np.array(images, order="C")
        else:
            result = np.empty(images.shape, dtype=images.dtype)
            for rows in self._batches(images):
                result[rows] = self._clean(images[rows])
        carry_lesions(X, result)
        return self._as_output(result.reshape(len(images), -1) if is_flat(X) else result, X)

    def _read(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """Check the parameters and ``X``; without a ``fit`` before, ``X`` has nothing to agree with."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )
        judge = self if reset or hasattr(self, "image_shape_") else clone(self)
        images = read_pixels(judge, X, image_shape=self.image_shape, reset=reset or judge is not self)
        if not self._applies_to(images.shape[1:]):
            return images  # rows of features that are no images may have any values
        return check_images(images, standardized=False)

    @staticmethod
    def _batches(images: NDArray[Any]) -> Iterator[slice]:
        n_images = max(1, _VALUES_AT_ONCE // images[0].size)
        return (slice(start, start + n_images) for start in range(0, len(images), n_images))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
