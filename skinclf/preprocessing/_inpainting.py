"""Fill masked pixels from what is around them. A pure function of images and masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.preprocessing._pixel_grid import PixelGrid

_MASKED, _OUTSIDE = 1, 2


def fill_across(images: NDArray[Any], masks: NDArray[np.bool_]) -> NDArray[Any]:
    """Replace masked pixels by interpolation between the nearest unmasked ones on both sides.

    From each masked pixel, rays run along its row, column and diagonals until they meet an unmasked pixel. The
    values at both ends of each of the four lines are interpolated linearly, and the lines are weighted by the
    inverse square of their lengths, so that the line across a hair counts, and not the one along it.

    Parameters
    ----------
    images : ndarray, shape (n_images, height, width, channels)
        uint8 or float.
    masks : ndarray of bool, shape (n_images, height, width)
        Which pixels are to be replaced.

    Returns
    -------
    ndarray of the shape and dtype of `images`
        A copy. Unmasked pixels are the same bit for bit, and so are masked ones from which no ray meets an
        unmasked pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.preprocessing._inpainting import fill_across
    >>> image = np.array([10, 99, 99, 40], np.uint8).reshape(1, 1, 4, 1)
    >>> fill_across(image, image[..., 0] == 99).ravel().tolist()
    [10, 20, 30, 40]
    """
    result = np.array(images, order="C")
    if not masks.any():
        return result
    grid = PixelGrid(masks.shape, margin=1)
    state = grid.lay_out(masks.astype(np.uint8), margin=_OUTSIDE)
    places = grid.lay_out(np.arange(masks.size).reshape(masks.shape))
    start = np.flatnonzero(state == _MASKED)
    pixels = result.reshape(masks.size, -1)
    total, weights = np.zeros((len(start), pixels.shape[1])), np.zeros((len(start), 1))
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        step = grid.offset(down, right)
        steps, places_of_ends = zip(*(_meet_unmasked(state, start, way) for way in (step, -step)), strict=True)
        values, lengths = _interpolate(steps, [pixels[places[place]] for place in places_of_ends])
        weight = 1 / (lengths * math.hypot(down, right)) ** 2
        total += np.where(weight > 0, values, 0) * weight
        weights += weight
    filled = weights[:, 0] > 0
    values = total[filled] / weights[filled]
    pixels[places[start[filled]]] = np.rint(values) if pixels.dtype == np.uint8 else values
    return result


def _meet_unmasked(
    state: NDArray[np.uint8], start: NDArray[np.intp], step: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Walk from each start to the first unmasked pixel; return the number of steps (or infinity) and its place."""
    steps, end = np.full(len(start), np.inf), start.copy()
    walking, place, n_steps = np.arange(len(start)), start, 0
    while len(walking):
        n_steps += 1
        place = place + step
        met = state[place]
        arrived = met == 0
        steps[walking[arrived]] = n_steps
        end[walking[arrived]] = place[arrived]
        on = met == _MASKED
        walking, place = walking[on], place[on]
    return steps, end


def _interpolate(
    steps: tuple[NDArray[np.float64], ...], values: list[NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolate between the two ends of each line; return the values and the lengths of the lines, in columns.

    A line with one end has its value, and counts as if the other were as far; one with none is infinitely long.
    """
    near, far = (np.where(np.isfinite(own), own, other)[:, None] for own, other in (steps, steps[::-1]))
    one = np.where(np.isfinite(steps[0])[:, None], values[0], values[1])
    other = np.where(np.isfinite(steps[1])[:, None], values[1], values[0])
    lengths = near + far
    share = np.divide(near, lengths, out=np.zeros_like(near), where=np.isfinite(lengths))
    return one * (1 - share) + other * share, lengths
