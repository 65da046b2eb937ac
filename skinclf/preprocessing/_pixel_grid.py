"""Images laid out in one flat row of pixels, in which a step in any direction is one offset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PixelGrid:
    """The flat layout of a batch of one-channel images, with margins between rows and between images.

    A pixel's neighbour in any direction is always at the same distance in memory, so that a filter is a few passes
    over one long contiguous row. A step that leaves an image lands in a margin, and not in the next row of pixels,
    as long as it is no longer than the margin.

    Parameters
    ----------
    image_shape : tuple of int (n_images, height, width)
        The batch.
    margin : int
        Pixels to the right of each row and rows below each image; what is to the left and above is the margin of
        the row and the image before.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.preprocessing._pixel_grid import PixelGrid, shifted
    >>> grid = PixelGrid((1, 2, 3), margin=1)
    >>> row = grid.lay_out(np.array([[[1, 2, 3], [4, 5, 6]]]))
    >>> right_neighbour = np.zeros_like(row)
    >>> there, here = shifted(row, grid.offset(0, 1), right_neighbour)
    >>> here[...] = there
    >>> grid.view(right_neighbour)[0].tolist()
    [[2, 3, 0], [5, 6, 0]]
    """

    def __init__(self, image_shape: tuple[int, int, int], margin: int) -> None:
        self.image_shape = image_shape
        n_images, height, width = image_shape
        self._padded_shape = (n_images, height + margin, width + margin)
        self._start = margin * (width + margin) + margin
        self.size = self._start + math.prod(self._padded_shape)

    def offset(self, down: int, right: int) -> int:
        """Return how far the pixel so many rows below and columns to the right is in the flat row."""
        return down * self._padded_shape[2] + right

    def lay_out(self, images: NDArray[Any], *, margin: int = 0) -> NDArray[Any]:
        """Copy images, shape (n_images, height, width), into a new flat row, whose margins have one value."""
        row = np.full(self.size, margin, dtype=images.dtype)
        self.view(row)[...] = images
        return row

    def view(self, row: NDArray[Any]) -> NDArray[Any]:
        """Return the images in a flat row, shape (n_images, height, width), without a copy."""
        _, height, width = self.image_shape
        return row[self._start :].reshape(self._padded_shape)[:, :height, :width]


def shifted(row: NDArray[Any], offset: int, result: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return views of two rows, of one length: ``row[i + offset]`` and ``result[i]`` where both exist."""
    n = len(row)
    return row[max(0, offset) : n + min(0, offset)], result[max(0, -offset) : n - max(0, offset)]


def line_closing(row: NDArray[np.uint8], offset: int, length: int) -> NDArray[np.uint8]:
    """Fill what is darker than its surroundings and narrower than a line: a dilation, then an erosion, along it.

    Parameters
    ----------
    row : ndarray of uint8, shape (size,)
        Images with margins of 0, no narrower than the line is long.
    offset : int
        From a pixel of the line to the next.
    length : int
        Pixels of the line.

    Returns
    -------
    ndarray of uint8, shape (size,)
        In the images at least `row`; meaningless in the margins. What is dark up to the edge of the image is
        not filled across that edge, as the margins are dark too.
    """
    return _extreme(_extreme(row, offset, length, np.maximum), -offset, length, np.minimum)


def _extreme(row: NDArray[np.uint8], offset: int, length: int, pick: np.ufunc) -> NDArray[np.uint8]:
    """Return the maximum or minimum over the `length` pixels from each on; by doubling, in log2(length) passes."""
    covered = 1
    while covered < length:
        step = min(covered, length - covered)
        longer = row.copy()
        there, here = shifted(row, step * offset, longer)
        pick(here, there, out=here)
        row, covered = longer, covered + step
    return row


def line_sum(row: NDArray[np.uint8], offsets: list[int]) -> NDArray[np.uint8]:
    """Sum over the pixels at these offsets from each pixel; the caller sees to it that no sum is above 255."""
    result = np.zeros_like(row)
    for offset in offsets:
        there, here = shifted(row, offset, result)
        here += there
    return result
