"""Where the hair is: a morphological closing, and the lines in what it fills. Pure functions of uint8 images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skinclf.preprocessing._pixel_grid import PixelGrid, line_closing, line_sum, shifted

_N_ANGLES = 12
_ANGLES = [number * math.pi / _N_ANGLES for number in range(_N_ANGLES)]
"""Directions in which lines are looked for, 15 degrees apart."""

_N_POINTS = 11
"""Pixels that are read of a line, however long, and pixels of the shortest line: a shorter one may be a dot."""


class HairSize(NamedTuple):
    """What counts as a hair, in pixels and grey levels.

    Attributes
    ----------
    faint, dark : int
        Depth of a hair in grey levels, 1–255: of one that goes on and on, and of one that is as short as allowed.
    kernel : int
        Length of the line of the closing; anything narrower is filled.
    length : int
        Length of the lines that are looked for, odd.
    beside : int
        Where a line must not be as dark as in its middle.
    onward : int
        How far on the middle of the line is that continues another.
    growth : int
        How far a mask grows into the soft edge of a hair.
    """

    faint: int
    dark: int
    kernel: int
    length: int
    beside: int
    onward: int
    growth: int


def hair_size(side: int, contrast: float, max_width: float, min_length: float) -> HairSize:
    """Return what counts as a hair in images of one size.

    Parameters
    ----------
    side : int
        Length of the shorter side in pixels.
    contrast : float
        In 0–1.
    max_width, min_length : float
        As shares of `side`.

    Returns
    -------
    HairSize
        The same in pixels and grey levels. The kernel is two pixels longer than the widest hair, for its blurred
        edges; lines that continue each other overlap by 30 %.

    Examples
    --------
    >>> from skinclf.preprocessing._hair_mask import hair_size
    >>> hair_size(200, contrast=0.08, max_width=0.025, min_length=0.12)
    HairSize(faint=20, dark=41, kernel=7, length=25, beside=4, onward=18, growth=1)
    """
    kernel = math.ceil(max_width * side) + 2
    length = max(_N_POINTS, round(min_length * side) | 1)
    return HairSize(
        faint=max(1, round(255 * contrast)),
        dark=max(1, round(255 * min(1, 2 * contrast))),
        kernel=kernel,
        length=length,
        beside=kernel // 2 + 1,
        onward=round(0.7 * length),
        growth=max(1, round(side / 150)),
    )


def find_hair(images: NDArray[np.uint8], size: HairSize) -> NDArray[np.bool_]:
    """Return a mask of the hair in each image.

    Parameters
    ----------
    images : ndarray of uint8, shape (n_images, height, width)
        One channel, in which hair is dark.
    size : HairSize
        What counts as a hair.

    Returns
    -------
    ndarray of bool, shape (n_images, height, width)
        Whether a pixel shows hair, its soft edge included.
    """
    n_images, height, width = images.shape
    margin = max(size.kernel, size.length // 2 + size.beside, size.onward + 1)
    grid = PixelGrid((n_images, height, width), margin)
    depth = _depth_of_dark_lines(grid, grid.lay_out(images), size.kernel)
    hair = _pixels_on_lines(grid, depth, size) & (depth >= size.faint // 2)
    edge = depth >= size.faint // 4
    for _ in range(size.growth):
        hair |= _widen(grid, hair) & edge
    return grid.view(hair)


def _depth_of_dark_lines(grid: PixelGrid, row: NDArray[np.uint8], kernel: int) -> NDArray[np.uint8]:
    """Return by how much closings along four directions raise each pixel; 0 in the margins."""
    diagonal = max(2, round(kernel / math.sqrt(2)))
    closed = row
    for down, right, length in ((0, 1, kernel), (1, 0, kernel), (1, 1, diagonal), (1, -1, diagonal)):
        closed = np.maximum(closed, line_closing(row, grid.offset(down, right), length))
    return grid.lay_out(grid.view(closed) - grid.view(row))


def _pixels_on_lines(grid: PixelGrid, depth: NDArray[np.uint8], size: HairSize) -> NDArray[np.bool_]:
    """Return the pixels of all lines that are hair: of dark ones, and of faint ones that another continues."""
    dark = _middles_of_lines(grid, depth, size, size.dark)
    faint = _middles_of_lines(grid, depth, size, size.faint)
    half = size.length // 2
    on_line = np.zeros(grid.size, dtype=np.bool_)
    for number, angle in enumerate(_ANGLES):
        # Hair bends: the next line may be turned by one step, and lie a pixel aside.
        others = _widen(grid, faint[number - 1] | faint[number] | faint[(number + 1) % _N_ANGLES])
        continued = np.zeros(grid.size, dtype=np.bool_)
        for offset in _offsets(grid, angle, (-size.onward, size.onward)):
            there, here = shifted(others, offset, continued)
            here |= there
        middles = np.flatnonzero(dark[number] | (faint[number] & continued))
        for offset in _offsets(grid, angle, range(-half, half + 1)):
            on_line[middles + offset] = True
    return on_line


def _middles_of_lines(
    grid: PixelGrid, depth: NDArray[np.uint8], size: HairSize, contrast: int
) -> list[NDArray[np.bool_]]:
    """Return for each direction where the middles are of lines that are dark for two thirds of their length.

    What is less deep than `contrast` counts in proportion. Half of what is as dark on the darker side of a line is
    subtracted: hair stands out from what is around it, and the grain of a texture does not.
    """
    full = 255 // _N_POINTS  # so that a sum fits into uint8
    darkness = (np.minimum(np.arange(256), contrast) * full // contrast).astype(np.uint8)[depth]
    enough = math.ceil(2 / 3 * full * _N_POINTS)
    points = np.linspace(-(size.length // 2), size.length // 2, _N_POINTS)
    middles = []
    for angle in _ANGLES:
        sums = line_sum(darkness, _offsets(grid, angle, points))
        flank = np.zeros_like(sums)
        for offset in _offsets(grid, angle + math.pi / 2, (-size.beside, size.beside)):
            there, here = shifted(sums, offset, flank)
            np.maximum(here, there, out=here)
        # uint8 has no negative numbers: what a sum has beyond `enough - 1`, or else 0, must exceed half the flank.
        np.maximum(sums, enough - 1, out=sums)
        np.subtract(sums, enough - 1, out=sums)
        middles.append(sums > flank // 2)
    return middles


def _offsets(grid: PixelGrid, angle: float, distances: Iterable[float]) -> list[int]:
    """Return the offsets of the pixels at these distances in one direction.

    Rounded a trace towards 0, so that opposite directions stay mirror images where a distance times a sine is a
    half in theory, and a little more or less in floating point.
    """
    down, right = (1 - 1e-9) * math.sin(angle), (1 - 1e-9) * math.cos(angle)
    return [grid.offset(round(distance * down), round(distance * right)) for distance in distances]


def _widen(grid: PixelGrid, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add the eight neighbours of each pixel of a mask."""
    for down, right in ((0, 1), (1, 0)):
        wide = mask.copy()
        for offset in (grid.offset(down, right), grid.offset(-down, -right)):
            there, here = shifted(mask, offset, wide)
            here |= there
        mask = wide
    return mask
