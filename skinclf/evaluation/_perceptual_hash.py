"""A hash of how an image looks, and all pairs of images that look the same, however they are turned or flipped.

The hash of an image is the signs of its 16 × 16 lowest frequencies: 256 bits that survive re-encoding, scaling
and a change of brightness. Where an image is mirrored, the frequencies that are odd in that direction change
their signs, and nothing else happens; where it is turned over its diagonal, rows and columns are exchanged. So
the bits are kept in four words by parity, and the distance of two images under all four mirrorings follows from
four counts of bits; a second hash, of the transposed image, gives the other four of the eight symmetries of the
square.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

N_BITS = 256
N_FREQUENCIES = 16
"""Along each side; the mean brightness is left out, so that 255 bits count."""

MAX_DISTANCE = 36
"""Bits, of 256, in which near-duplicates differ at most; what was measured with it is in the user guide."""

_IMAGES_AT_ONCE = 512
_PAIRS_AT_ONCE = 2**17
"""Of one step of the search, whose some ten bytes for each stay in the cache of the processor."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601, as Pillow's greyscale."""


class NearPairs(NamedTuple):
    """Pairs of rows that look the same.

    Attributes
    ----------
    first, second : ndarray of intp, shape (n_pairs,)
        Row numbers, the first below the second.
    distance : ndarray of intp, shape (n_pairs,)
        Bits of 256 in which they differ, where the second is turned and flipped as fits best.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    distance: NDArray[np.intp]


def perceptual_hashes(images: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the signs of the lowest frequencies of each image.

    Parameters
    ----------
    images : ndarray, shape (n_images, height, width, channels)
        uint8 or float on any scale, 1 or 3 channels; sides of at least 8 pixels.

    Returns
    -------
    ndarray of uint64, shape (n_images, 4)
        64 bits each of the frequencies that are even in both directions, odd along the width, odd along the
        height, and odd in both.

    References
    ----------
    C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010 (hashes by the cosine
    transform, of 64 bits).

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation._perceptual_hash import hash_distance, perceptual_hashes
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    >>> turned = perceptual_hashes(np.rot90(images, axes=(1, 2)))
    >>> hash_distance(perceptual_hashes(images), turned).tolist()
    [0, 0]
    """
    rows, columns = (_cosines(side).T for side in images.shape[1:3])
    hashes = np.empty((len(images), 4), dtype=np.uint64)
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        part = images[start : start + _IMAGES_AT_ONCE].astype(np.float32)
        grey = part @ _LUMA if part.shape[3] == 3 else part[..., 0]
        frequencies = (rows.T @ grey) @ columns
        frequencies[:, 0, 0] = 0
        hashes[start : start + len(part)] = _pack(frequencies > 0)
    return hashes


def _cosines(side: int) -> NDArray[np.float32]:
    """Return the first rows of the cosine transform (DCT-II) of `side` values."""
    angles = np.pi * np.outer(np.arange(N_FREQUENCIES), 2 * np.arange(side) + 1) / (2 * side)
    return np.cos(angles).astype(np.float32)


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return bits ``(n, 16, 16)`` as four words by parity: even-even, even-odd, odd-even, odd-odd."""
    words = [np.packbits(bits[:, i::2, j::2].reshape(len(bits), 64), axis=1) for i in (0, 1) for j in (0, 1)]
    return np.concatenate(words, axis=1).view(np.uint64)


def _transposed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of the transposed images."""
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1).reshape(-1, 4, 8, 8)
    turned = bits[:, [0, 2, 1, 3]].swapaxes(2, 3).reshape(-1, 4 * 64)
    return np.packbits(turned, axis=1).view(np.uint64)


def hash_distance(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return in how many of 256 bits hashes differ, where the second image is turned and flipped as fits best.

    Parameters
    ----------
    first, second : ndarray of uint64, shape (n_pairs, 4)
        From `perceptual_hashes`.

    Returns
    -------
    ndarray of intp, shape (n_pairs,)
        0 for the same look; some 110 for images that have nothing to do with each other.
    """
    straight, turned = (_mirrored_distance(first, other) for other in (second, _transposed(second)))
    return np.minimum(straight, turned).astype(np.intp)


def _mirrored_distance(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the smallest distance under the four mirrorings; words are on the last axis, others broadcast."""
    # At most 63 + 3 * 64 = 255, since the bit of the mean is always 0.
    both, wide, high, odd = (np.bitwise_count(first[..., k] ^ second[..., k]) for k in range(4))
    left_over: NDArray[np.uint8] = wide + high + odd
    not_wide, not_high, not_odd = (np.subtract(64, count, dtype=np.uint8) for count in (wide, high, odd))
    for other in (not_wide + high + not_odd, wide + not_high + not_odd, not_wide + not_high + odd):
        np.minimum(left_over, other, out=left_over)
    distance: NDArray[np.uint8] = both + left_over
    return distance


def find_near_pairs(hashes: NDArray[np.uint64], max_distance: int = MAX_DISTANCE) -> NearPairs:
    """Return all pairs of images that look the same.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (n_images, 4)
        From `perceptual_hashes`.
    max_distance : int, default=36
        Bits in which they may differ.

    Returns
    -------
    NearPairs
        In order of the rows.

    Notes
    -----
    Every pair is looked at, in blocks: the time grows with the square of the number of images (half a second of
    one core for 10,000, a minute for 100,000), the memory with the number of images and of the pairs that are
    found.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation._perceptual_hash import find_near_pairs, perceptual_hashes
    >>> images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    >>> images[2] = images[0, :, ::-1]
    >>> find_near_pairs(perceptual_hashes(images))
    NearPairs(first=array([0]), second=array([2]), distance=array([0]))
    """
    n_images = len(hashes)
    turned = _transposed(hashes)
    found: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]] = []
    start = 0
    while start < n_images:
        stop = min(n_images, start + max(1, _PAIRS_AT_ONCE // (n_images - start)))
        mine, others = hashes[start:stop, None], slice(start, n_images)
        distance = _mirrored_distance(mine, hashes[None, others])
        np.minimum(distance, _mirrored_distance(mine, turned[None, others]), out=distance)
        first, second = np.nonzero(distance <= max_distance)
        is_pair = second > first
        first, second = first[is_pair], second[is_pair]
        found.append((first + start, second + start, distance[first, second]))
        start = stop
    if not found:
        return NearPairs(*(np.empty(0, dtype=np.intp) for _ in range(3)))
    return NearPairs(*(np.concatenate(part).astype(np.intp) for part in zip(*found, strict=True)))
