"""Which rows show the same image: exact copies, told by their pixels or by their paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._leakage import image_fingerprints
from skinclf._validation import infer_image_shape, read_input
from skinclf.evaluation._groups import Groups
from skinclf.preprocessing import ImageLoader

THUMBNAIL = 64
"""Side in pixels to which files are scaled for a comparison."""

_IMAGES_AT_ONCE = 512


def read_thumbnails(X: Any, n_jobs: int | None) -> Iterator[NDArray[Any]]:
    """Yield the images of ``X`` in parts, whole and not cropped.

    Parameters
    ----------
    X : the image contract
        Paths or pixels.
    n_jobs : int or None
        Threads that decode files.

    Yields
    ------
    ndarray, shape (n_part, height, width, channels)
        Files as 64 × 64 RGB, stretched, so that a quarter turn of a file is a quarter turn of them; arrays as they
        are.

    Raises
    ------
    ValueError
        If ``X`` holds rows that are no images.
    skinclf.preprocessing.ImageReadError
        If a file cannot be read; the message lists all of the part that cannot.
    """
    given = read_input(X)
    if given.paths is not None:
        loader = ImageLoader(THUMBNAIL, crop=None, n_jobs=n_jobs)
        for start in range(0, len(given.paths), _IMAGES_AT_ONCE):
            yield loader.transform(given.paths[start : start + _IMAGES_AT_ONCE])
        return
    images = given.images if given.images is not None else _square_images(np.asarray(given.rows))
    if images is None:
        raise ValueError(
            "Rows that are no square images cannot be compared by their look; pass images of the shape (n_images, "
            "height, width, channels), or near_duplicates=False."
        )
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        yield images[start : start + _IMAGES_AT_ONCE]


def _square_images(rows: NDArray[Any]) -> NDArray[Any] | None:
    """Return rows of ``3 * s * s`` or ``s * s`` values as images, and None for others: those may be any table."""
    if rows.ndim != 2 or rows.dtype.kind not in "uif" or 0 in rows.shape:
        return None
    shape = infer_image_shape(rows.shape[1])
    return None if shape[0] == 1 else rows.reshape(len(rows), *shape)


def number_copies(X: Any) -> Groups | None:
    """Give the images of ``X`` numbers, exact copies the same one, without opening a file.

    Parameters
    ----------
    X : DataFrame, array or list of n_rows rows
        Whatever a scikit-learn classifier takes.

    Returns
    -------
    Groups or None
        Paths are known by their text, pixels by their values; a blank image is a copy of nothing. None where ``X``
        holds neither paths nor images: rows of a table may well be equal.
    """
    try:
        given = read_input(X)
    except (TypeError, ValueError):
        return None  # what else a classifier of the user's may take is none of our business
    if given.paths is not None:
        names = [path if isinstance(path, str | bytes) else id(path) for path in given.paths]
        return _as_groups(pd.array(names, dtype=object).to_numpy())
    images = given.images if given.images is not None else _square_images(_as_numbers(given.rows))
    if images is None or images.dtype.kind not in "uif" or 0 in images.shape:
        return None
    prints = image_fingerprints(images).astype(object)
    flat = images.reshape(len(images), -1)
    blank = np.flatnonzero((flat == flat[:, :1]).all(axis=1))
    prints[blank] = [("blank", row) for row in blank.tolist()]
    return _as_groups(prints)


def _as_numbers(rows: Any) -> NDArray[Any]:
    return np.empty(0) if hasattr(rows, "toarray") else np.asarray(rows)


def _as_groups(values: NDArray[Any]) -> Groups:
    codes, unique = pd.factorize(values)
    return Groups(values, codes.astype(np.int64), len(unique), "images")
