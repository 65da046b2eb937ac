"""What a leak is called, and how an image or a lesion is recognised that was seen before.

A fingerprint is a number of 64 bits: equal for exact copies, different for anything else, and far too short to
hold the image or the name that it was made of.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

UNKNOWN_LESION = np.uint64(0)
"""Stands for the lesion of an image where nobody has said which it is."""

_BYTES_AT_ONCE = 2**18
"""Images in one step of the arithmetic: about what the second-level cache of a processor core holds."""

_MOST_NOTED = 2**17
"""Images whose lesions a process notes: HAM10000 a dozen times, in some 20 MB."""

_noted: dict[int, int] = {}
"""Fingerprints of lesions by those of images; see `note_lesions`."""

_asked_together: ContextVar[list[Any] | None] = ContextVar("_asked_together", default=None)
"""What the guards of an ensemble's members have seen so far; None where nobody collects it."""


class LeakageWarning(UserWarning):
    """Some of what is tested on was trained on, so that the score flatters the model."""


class LeakageError(ValueError):
    """An evaluation was refused, because some of what would be tested on would be trained on."""


def image_fingerprints(images: Any) -> NDArray[np.uint64]:
    """Return a 64-bit fingerprint of each image's values; exact copies have the same.

    Parameters
    ----------
    images : ndarray or ImageRows, shape (n_images, ...)
        Any numbers. Floats count as the float32 that a network computes with.

    Returns
    -------
    ndarray of uint64, shape (n_images,)
        The same in every process and version.

    Notes
    -----
    A multilinear hash modulo 2**64 of the 8-byte words of an image, with fixed random odd coefficients [1]_:
    images that differ in one word never have the same, images that differ in the lowest bit of any word, as
    photos do, with a probability of 2**-64. Only two that are equal in seven of every eight bytes may be taken
    for copies by a chance of up to 1 in 256, and they nearly are. For 64 x 64 RGB pixels it takes a core less
    than a microsecond, where BLAKE2b takes ten.

    References
    ----------
    .. [1] D. Lemire and O. Kaser, "Strongly universal string hashing is fast", The Computer Journal 57, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf._leakage import image_fingerprints
    >>> images = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8, 1)
    >>> prints = image_fingerprints(images[[0, 1, 2, 0]])
    >>> bool(prints[0] == prints[3]), len(set(prints.tolist()))
    (True, 3)
    """
    if images.dtype.kind == "f":
        n_bytes = math.prod(images.shape[1:]) * 4
    else:
        n_bytes = math.prod(images.shape[1:]) * images.dtype.itemsize
    coefficients = _coefficients(-(-n_bytes // 8))
    n_at_once = max(1, _BYTES_AT_ONCE // max(1, n_bytes))
    prints = np.empty(len(images), dtype=np.uint64)
    for start in range(0, len(images), n_at_once):
        words = _words(images[start : start + n_at_once])
        np.einsum(
            "ij,j->i", words, coefficients, out=prints[start : start + len(words)]
        )  # faster than matmul here
    return prints


def _words(images: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the values of each image as a row of 8-byte words; zeros fill up the last one."""
    if images.dtype.kind == "f":
        images = images.astype(np.float32, copy=False)
    values = np.ascontiguousarray(images).reshape(len(images), -1).view(np.uint8)
    missing = -values.shape[1] % 8
    return (np.pad(values, ((0, 0), (0, missing))) if missing else values).view(np.uint64)


@lru_cache(maxsize=8)
def _coefficients(n_words: int) -> NDArray[np.uint64]:
    """Return random odd numbers; NumPy promises that this stream never changes."""
    return np.random.PCG64(20181128).random_raw(n_words) | np.uint64(1)


def lesion_fingerprints(lesions: Any) -> NDArray[np.uint64]:
    """Return a 64-bit fingerprint of each lesion's name; `UNKNOWN_LESION` where it is missing.

    Parameters
    ----------
    lesions : array-like of shape (n_images,)
        Names or numbers; the number 5 and the text "5" are the same.

    Returns
    -------
    ndarray of uint64, shape (n_images,)
        BLAKE2b digests.

    Examples
    --------
    >>> from skinclf._leakage import lesion_fingerprints
    >>> prints = lesion_fingerprints(["HAM_0000118", "HAM_0002730", "HAM_0000118", None])
    >>> bool(prints[0] == prints[2]), bool(prints[0] == prints[1]), int(prints[3])
    (True, False, 0)
    """
    names = [lesion if isinstance(lesion, str) else _name(lesion) for lesion in lesions]
    print_of = {name: lesion_fingerprint(name) for name in dict.fromkeys(names)}
    return np.fromiter((print_of[name] for name in names), dtype=np.uint64, count=len(names))


def lesion_fingerprint(lesion: Any) -> np.uint64:
    """Return what `lesion_fingerprints` returns of one lesion."""
    name = lesion if isinstance(lesion, str) else _name(lesion)
    if not name:
        return UNKNOWN_LESION
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


def _name(lesion: Any) -> str:
    return "" if pd.isna(lesion) else str(lesion)


def note_lesions(images: NDArray[Any], X: Any, rows: NDArray[np.intp]) -> None:
    """Remember while this process lives which lesion each image shows, if the table that it is from says so.

    A loader returns pixels, and scikit-learn hands on nothing beside them. What is noted here lets the guard of a
    classifier recognise a lesion all the same. It is only ever used for warnings: what is trained never depends on
    what a process has read before.

    Parameters
    ----------
    images : ndarray, shape (n_read, height, width, channels)
        Pixels that were read.
    X : object
        What they were read from. Nothing is noted unless it is a DataFrame with a column ``lesion_id``.
    rows : ndarray of int, shape (n_read,)
        The rows of ``X`` that they are.
    """
    if isinstance(X, pd.DataFrame) and "lesion_id" in X.columns:
        _note(images, lesion_fingerprints(X["lesion_id"].to_numpy(dtype=object)[rows]))


def _note(images: NDArray[Any], lesions: NDArray[np.uint64]) -> None:
    noted = dict(zip(image_fingerprints(images).tolist(), lesions.tolist(), strict=True))
    if len(_noted) + len(noted) > _MOST_NOTED:
        _noted.clear()
    if len(noted) <= _MOST_NOTED:
        _noted.update((image, lesion) for image, lesion in noted.items() if lesion)


def carry_lesions(before: Any, after: Any) -> None:
    """Note the lesions of images that a step has changed, as far as those of the images before it are noted.

    Not for augmented images: a classifier that was trained on them has seen no image of its own training set.

    Parameters
    ----------
    before, after : ndarray, shape (n_images, ...)
        Images, or rows of flattened ones.
    """
    if _noted and isinstance(before, np.ndarray) and before.dtype.kind in "uif":
        lesions = noted_lesions(image_fingerprints(before))
        if lesions.any():
            _note(after, lesions)


def anything_noted() -> bool:
    """Whether this process has noted the lesion of any image."""
    return bool(_noted)


def noted_lesions(prints: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the lesions that were noted for images.

    Parameters
    ----------
    prints : ndarray of uint64, shape (n_images,)
        Fingerprints of the images.

    Returns
    -------
    ndarray of uint64, shape (n_images,)
        Fingerprints of the lesions, `UNKNOWN_LESION` where none was noted.
    """
    if not _noted:
        return np.zeros(len(prints), dtype=np.uint64)
    return np.array([_noted.get(image, 0) for image in prints.tolist()], dtype=np.uint64)


@contextmanager
def asked_together() -> Iterator[list[Any]]:
    """Collect what guards see in the block, so that the members of an ensemble are judged as one model.

    Yields
    ------
    list
        What was handed to `hand_over`; guards that find somebody to hand it to say nothing themselves.
    """
    seen: list[Any] = []
    token = _asked_together.set(seen)
    try:
        yield seen
    finally:
        _asked_together.reset(token)


def hand_over(seen: list[Any]) -> bool:
    """Give what guards have seen to who collects it; say whether there is somebody."""
    collected = _asked_together.get()
    if collected is None:
        return False
    collected.extend(seen)
    return True
