"""The image contract: what may be passed as ``X``, and what is said when something else is.

``X`` holds either files (a DataFrame with a column ``image``, a list, a Series, an array of paths, members of zip
archives, bytes, open files, PIL images) or pixels (an array ``(n_images, height, width, channels)`` or rows of
flattened images). Nothing is decoded here.
"""

from __future__ import annotations

import math
import os
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

MIN_SQUARE_SIDE = 8
"""Rows of ``s * s`` or ``3 * s * s`` values are square images from this side on; shorter rows are strips."""

ImageShape = tuple[int, int, int]
"""``(height, width, channels)``."""


@dataclass(frozen=True)
class ImageInput:
    """``X``, sorted out: exactly one of `paths`, `images` and `rows` is given.

    Attributes
    ----------
    paths : ndarray of object, shape (n_images,), or None
        Files that are not decoded yet: paths as str, also of members of zip archives (``archive.zip::name``), and
        bytes, open files and PIL images as they came.
    images : ndarray, shape (n_images, height, width, channels), or None
        Not checked yet; see `check_images`.
    rows : array-like, shape (n_images, n_features), or None
        Flattened images, not checked yet.
    lesion_id : ndarray of object, shape (n_images,), or None
        The lesion of every image, where ``X`` is a DataFrame that says so.
    """

    paths: NDArray[Any] | None = None
    images: NDArray[Any] | None = None
    rows: Any = None
    lesion_id: NDArray[Any] | None = None


def read_input(X: Any) -> ImageInput:
    """Tell apart the forms that ``X`` may have.

    Parameters
    ----------
    X : DataFrame, Series, list or array
        See the module's first lines.

    Returns
    -------
    ImageInput
        The same values under the name of their form.

    Raises
    ------
    ValueError, TypeError
        If ``X`` has no such form; the message names the row or the shape, and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf._validation import read_input
    >>> read_input(["a.jpg", "b.jpg"]).paths
    array(['a.jpg', 'b.jpg'], dtype=object)
    >>> read_input(np.zeros((2, 8, 8, 3), np.uint8)).images.shape
    (2, 8, 8, 3)
    """
    if isinstance(X, pd.DataFrame):
        return _read_frame(X)
    if isinstance(X, str | os.PathLike):
        raise TypeError(f"X must hold one path for each image; got the single path {str(X)!r}. Pass [path].")
    if isinstance(X, pd.Series):
        return ImageInput(paths=check_paths(X.to_numpy()))
    if is_open_image(X):
        raise TypeError(f"X must hold one file for each image; got a single {type(X).__name__}. Pass [file].")
    if hasattr(X, "toarray"):
        return ImageInput(rows=X)
    array = X if isinstance(X, np.ndarray) else _as_array(X)
    if array.dtype == object and array.ndim == 1 and any(isinstance(value, np.ndarray) for value in array):
        array = _as_array(list(array))  # images that lie in an array of objects
    if array.shape == (0,):
        raise ValueError("X holds no images: Found array with 0 sample(s) while a minimum of 1 is required.")
    if array.dtype.kind in "USTO" and _holds_paths(array):
        return ImageInput(paths=check_paths(array))
    if array.ndim <= 2:
        return ImageInput(rows=X if array.ndim == 2 else array)
    if array.ndim == 4:
        return ImageInput(images=array)
    raise ValueError(_wrong_dimensions(array.shape))


def is_bytes(value: Any) -> bool:
    """Whether a value holds bytes."""
    return isinstance(value, bytes | bytearray | memoryview)


def is_open_image(value: Any) -> bool:
    """Whether a value is one image that has no path: the bytes of a file, an open file or a PIL image.

    Examples
    --------
    >>> import io
    >>> from skinclf._validation import is_open_image
    >>> is_open_image(io.BytesIO()), is_open_image("a.jpg")
    (True, False)
    """
    if is_bytes(value) or isinstance(value, Image.Image):
        return True
    return callable(getattr(value, "read", None)) and not hasattr(value, "shape")  # some arrays can be read too


def _as_array(X: Any) -> NDArray[Any]:
    """Turn a list into an array; images of mixed sizes get a message of their own."""
    # NumPy would cut zeros off the end of bytes, and make pixels of a PIL image.
    if isinstance(X, list | tuple) and any(map(is_open_image, {type(value): value for value in X}.values())):
        return np.fromiter(X, dtype=object, count=len(X))
    try:
        return np.asarray(X)
    except ValueError as error:
        shapes = [np.shape(row) for row in X]
        different = next((i for i, shape in enumerate(shapes) if shape != shapes[0]), None)
        if different is None:
            raise
        raise ValueError(
            f"All images of X must have one shape; row 0 has {shapes[0]} and row {different} has "
            f"{shapes[different]}. Resize them first: ImageLoader does it while it reads the files."
        ) from error


def _read_frame(X: pd.DataFrame) -> ImageInput:
    if "image" in X.columns:
        lesion_id = X["lesion_id"].to_numpy(dtype=object) if "lesion_id" in X.columns else None
        return ImageInput(paths=check_paths(X["image"].to_numpy()), lesion_id=lesion_id)
    not_numeric = [str(name) for name, column in X.items() if not _may_hold_numbers(column)]
    if not_numeric:
        raise ValueError(
            "X is a DataFrame without a column 'image' that holds the paths of the images, and its columns "
            f"{not_numeric[:5]} are not numbers, so that it cannot hold flattened images either. "
            f"Its columns are {[str(name) for name in X.columns[:10]]}. Rename the one with the paths to 'image'."
        )
    return ImageInput(rows=X)


def _may_hold_numbers(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_object_dtype(column.dtype):
        return not any(isinstance(value, str) for value in column)
    return pd.api.types.is_numeric_dtype(column.dtype)


def _holds_paths(array: NDArray[Any]) -> bool:
    """Whether a 1-D array, or one column, of strings or objects is meant as files."""
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        flat = array.reshape(-1)
        return flat.dtype.kind in "US" or any(map(_is_file, flat))
    return False


def _is_file(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) or is_open_image(value)


def check_paths(values: NDArray[Any]) -> NDArray[Any]:
    """Return files as an object array, shape (n_images,), paths among them as str; refuse anything else.

    Raises
    ------
    ValueError
        If there is no file, or a row that is missing, blank or no file, or if the array has cut off what bytes
        end with; the message names the rows.
    """
    if values.dtype.kind == "S":
        raise ValueError(
            f"X is an array of dtype {values.dtype}, and NumPy drops zeros from the end of bytes there. Pass a "
            "list of bytes, or an array of dtype object; paths are str, as os.fsdecode makes them."
        )
    flat = np.asarray(values, dtype=object).reshape(-1)
    if flat.shape[0] == 0:
        raise ValueError("X holds no images: Found array with 0 sample(s) while a minimum of 1 is required.")
    paths = np.empty(flat.shape[0], dtype=object)
    wrong = []
    for row, value in enumerate(flat):
        if isinstance(value, str | os.PathLike) and str(value).strip():
            paths[row] = os.fsdecode(value)
        elif is_open_image(value):
            paths[row] = value
        else:
            wrong.append((row, value))
    if wrong:
        shown = ", ".join(f"row {row}: {reprlib.repr(value)}" for row, value in wrong[:5])
        raise ValueError(
            f"X must hold a path in every row; {len(wrong)} of {flat.shape[0]} rows do not ({shown}). "
            "Leave these rows out, or fill in the path."
        )
    return paths


def _wrong_dimensions(shape: tuple[int, ...]) -> str:
    message = f"X must have shape (n_images, height, width, channels); got shape {shape}."
    if len(shape) == 3 and shape[-1] in (1, 3):
        return f"{message} A single image is passed as X[np.newaxis]."
    if len(shape) == 3:
        return f"{message} Images of one channel are passed as X[..., np.newaxis]."
    return message


def check_images(X: NDArray[Any], *, standardized: bool = True) -> NDArray[Any]:
    """Check an array of images and return it as uint8 or floating point.

    Parameters
    ----------
    X : ndarray, shape (n_images, height, width, channels)
        uint8 in 0–255 (any integers in this range are cast), or float in 0–1; 1 or 3 channels.
    standardized : bool, default=True
        Whether float images that were standardised before (with values below 0) are welcome too.

    Returns
    -------
    ndarray, shape (n_images, height, width, channels)
        uint8, float32 or float64; not copied unless it must be cast.

    Raises
    ------
    ValueError, TypeError
        For another number of dimensions or channels, channels first, no image at all, object and complex
        numbers, NaN and infinity, and floats that look like 0–255.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf._validation import check_images
    >>> check_images(np.full((1, 8, 8, 3), 200.0))
    Traceback (most recent call last):
        ...
    ValueError: Float images must have values in 0-1; row 0 of X has 200.0. Pass X.astype("uint8") for values in 0-255, or X / 255.
    """  # noqa: E501
    if X.ndim != 4:
        raise ValueError(_wrong_dimensions(X.shape))
    if X.shape[3] not in (1, 3):
        hint = "Pass images with 1 (grey) or 3 (RGB) channels."
        if X.shape[1] in (1, 3):
            hint = "The channels come first here: pass np.moveaxis(X, 1, -1)."
        elif X.shape[3] == 4:
            hint = "Drop the alpha channel: pass X[..., :3]."
        raise ValueError(
            f"X must have shape (n_images, height, width, channels) with 1 or 3 channels; got shape {X.shape}. "
            + hint
        )
    if 0 in X.shape:
        raise ValueError(
            f"X holds no images: its shape is {X.shape}. Found array with 0 sample(s) while a minimum of 1 is "
            "required."
        )
    if X.dtype == np.uint8:
        return X
    if X.dtype.kind in "iu":
        return _integers_as_uint8(X)
    if X.dtype.kind != "f":
        raise TypeError(f"X must be uint8 in 0-255 or float in 0-1; got dtype {X.dtype}.")
    _check_floats(X, standardized=standardized)
    # Half and quadruple precision and foreign byte order are more than torch can take.
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float32 if X.itemsize < 8 else np.float64)


def _integers_as_uint8(X: NDArray[Any]) -> NDArray[Any]:
    low, high = int(X.min()), int(X.max())
    if low < 0 or high > 255:
        raise ValueError(
            f"Integer images must have values in 0-255; X has dtype {X.dtype} and values from {low} to {high}."
        )
    return X.astype(np.uint8)


def _check_floats(X: NDArray[Any], *, standardized: bool) -> None:
    low, high = float(X.min()), float(X.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        row = int(np.flatnonzero(~np.isfinite(X).all(axis=(1, 2, 3)))[0])
        kind = "NaN" if np.isnan(X[row]).any() else "infinity"
        raise ValueError(f"Row {row} of X contains {kind}. Images must be finite.")
    if low < 0 and not standardized:
        row = int(np.argmin(X.min(axis=(1, 2, 3))))
        raise ValueError(
            f"Float images must have values in 0-1; row {row} of X has {low:.6g}. Pass them as they were before "
            "they were standardized."
        )
    if low >= 0 and high > 1:
        row = int(np.argmax(X.max(axis=(1, 2, 3)) > 1))
        raise ValueError(
            f"Float images must have values in 0-1; row {row} of X has {float(X[row].max())!r}. "
            'Pass X.astype("uint8") for values in 0-255, or X / 255.'
        )


def infer_image_shape(n_features: int, image_shape: ImageShape | None = None) -> ImageShape:
    """Say which image a row of `n_features` values is.

    Parameters
    ----------
    n_features : int
        The length of a row.
    image_shape : tuple of int (height, width, channels), optional
        What the user said.

    Returns
    -------
    tuple of int
        `image_shape` if given; a square image for ``3 * s * s`` or ``s * s`` values with ``s >= 8``; otherwise
        the strip ``(1, n_features, 1)``.

    Raises
    ------
    ValueError
        If `image_shape` does not hold `n_features` values.

    Examples
    --------
    >>> from skinclf._validation import infer_image_shape
    >>> infer_image_shape(3 * 28 * 28), infer_image_shape(8 * 8), infer_image_shape(10)
    ((28, 28, 3), (8, 8, 1), (1, 10, 1))
    """
    if image_shape is not None:
        given = tuple(image_shape) if isinstance(image_shape, tuple | list) else ()
        shape = tuple(int(side) for side in given if isinstance(side, int | np.integer))
        if len(given) != 3 or len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3):
            raise ValueError(
                f"image_shape must be (height, width, channels) with 1 or 3 channels; got {image_shape!r}."
            )
        if math.prod(shape) != n_features:
            raise ValueError(
                f"image_shape={image_shape!r} holds {math.prod(shape)} values, but the rows of X have "
                f"{n_features}."
            )
        return shape
    for channels in (3, 1):
        side = math.isqrt(n_features // channels)
        if side >= MIN_SQUARE_SIDE and side * side * channels == n_features:
            return (side, side, channels)
    return (1, n_features, 1)


def check_groups(groups: Any, n_images: int) -> NDArray[Any]:
    """Return the group (lesion) of every image as an object array; refuse missing ones.

    Parameters
    ----------
    groups : array-like of shape (n_images,)
        Any hashable values.
    n_images : int
        How many there must be.

    Returns
    -------
    ndarray of object, shape (n_images,)
        The same values.

    Raises
    ------
    ValueError
        If the number differs, or a group is missing; the message names the rows.

    Examples
    --------
    >>> from skinclf._validation import check_groups
    >>> check_groups(["HAM_0000118", None], 2)
    Traceback (most recent call last):
        ...
    ValueError: groups must name a lesion for every image; 1 of 2 are missing (rows [1]). Give each such image a lesion of its own, or leave it out.
    """  # noqa: E501
    is_table = getattr(groups, "ndim", 1) != 1
    values = np.asarray(groups, dtype=object) if is_table else pd.Series(groups).to_numpy(dtype=object)
    if values.shape != (n_images,):
        raise ValueError(
            f"groups must have one value for each of the {n_images} images of X; got shape {values.shape}."
        )
    missing = np.flatnonzero(pd.isna(values) | (values == ""))
    if missing.size:
        raise ValueError(
            f"groups must name a lesion for every image; {missing.size} of {n_images} are missing "
            f"(rows {missing[:5].tolist()}). Give each such image a lesion of its own, or leave it out."
        )
    return values
