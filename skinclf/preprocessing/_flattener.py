"""`ImageFlattener`: images to rows, for classical models."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from skinclf.preprocessing._pixels import read_pixels, unit_scale


class ImageFlattener(TransformerMixin, BaseEstimator):
    """Turn each image into a row of ``height * width * channels`` values, so that any classical model can follow.

    Rows that are flat already pass through unchanged in shape.

    Attributes
    ----------
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the training images.
    n_features_in_ : int
        ``height * width * channels``.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.preprocessing import ImageFlattener
    >>> images = np.full((2, 8, 8, 3), 255, dtype=np.uint8)
    >>> rows = ImageFlattener().fit_transform(images)
    >>> rows.shape, rows.dtype, float(rows.max())
    ((2, 192), dtype('float32'), 1.0)
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember the shape of the images.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float.
        y : ignored
            Present by convention.

        Returns
        -------
        ImageFlattener
            The fitted transformer.
        """
        read_pixels(self, X, reset=True)
        return self

    def transform(self, X: Any) -> NDArray[np.floating[Any]]:
        """Flatten images.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float, of the size of the training images.

        Returns
        -------
        ndarray of float, shape (n_images, n_features)
            uint8 values divided by 255, as float32; floats as they came.
        """
        check_is_fitted(self)
        images = read_pixels(self, X, reset=False, same_size=True)
        rows = images.reshape(len(images), -1)
        return rows * np.float32(unit_scale(rows.dtype)) if rows.dtype == np.uint8 else rows

    def inverse_transform(self, X: Any) -> NDArray[np.floating[Any]]:
        """Return rows to images.

        Parameters
        ----------
        X : array of shape (n_images, n_features)
            Rows, as from `transform`.

        Returns
        -------
        ndarray of float, shape (n_images, height, width, channels)
            The same values.
        """
        check_is_fitted(self)
        rows = check_array(X)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, but images of shape {self.image_shape_} have "
                f"{self.n_features_in_}."
            )
        images: NDArray[np.floating[Any]] = rows.reshape(len(rows), *self.image_shape_)
        return images

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return names such as ``row3_column7_red``.

        Parameters
        ----------
        input_features : ignored
            Present by convention.

        Returns
        -------
        ndarray of object, shape (n_features,)
            One name for each value of a row.
        """
        check_is_fitted(self)
        height, width, channels = self.image_shape_
        colours = ("red", "green", "blue") if channels == 3 else ("grey",)
        names = [f"row{i}_column{j}_{colour}" for i in range(height) for j in range(width) for colour in colours]
        return np.array(names, dtype=object)
