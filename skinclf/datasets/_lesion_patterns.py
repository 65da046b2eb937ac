"""Patterns that a lesion is painted with: functions of a place on the skin.

Each draws its parameters from a generator, and then evaluates a formula at the places that the pixels of the
photos show. How much is drawn does not depend on how many pixels there are, so that one seed gives the same
pattern in every photo, from every angle and at every size. Lengths are in half widths of a photo.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.floating[Any]]
"""One float32 value for each pixel, shape (n_photos, height, width)."""

Points: TypeAlias = NDArray[np.float64]
"""Places on the skin, shape (n_points, 2)."""

_N_KNOTS = 64
"""Side of the lattice of noise, which then repeats: at 16 knots a unit, beyond the diagonal of a photo."""


def smoothstep(low: float, high: float, value: Field) -> Field:
    """Rise from 0 at `low` to 1 at `high`, without a kink.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.datasets._lesion_patterns import smoothstep
    >>> smoothstep(1, 3, np.array([0, 1, 1.5, 2, 3, 4], dtype=np.float32))
    array([0.     , 0.     , 0.15625, 0.5    , 1.     , 1.     ], dtype=float32)
    """
    t: Field = np.clip((value - low) / (high - low), 0, 1)
    t *= t * (3 - 2 * t)
    return t


def noise(x: Field, y: Field, rng: np.random.Generator, frequency: float) -> Field:
    """Smooth random field in -1 to 1: random values at `frequency` knots a unit of length, joined smoothly."""
    knots = rng.uniform(-1, 1, _N_KNOTS**2).astype(np.float32)
    u, v = (frequency * axis + rng.uniform(0, _N_KNOTS) for axis in (x, y))
    left, low = np.floor(u), np.floor(v)
    u -= left
    v -= low
    u *= u * (3 - 2 * u)
    v *= v * (3 - 2 * v)
    column, row = left.astype(np.intp) % _N_KNOTS, low.astype(np.intp) % _N_KNOTS
    next_column, next_row = (column + 1) % _N_KNOTS, (row + 1) % _N_KNOTS * _N_KNOTS
    row *= _N_KNOTS
    below: Field = knots[row + column]
    below += u * (knots[row + next_column] - below)
    above = knots[next_row + column]
    above += u * (knots[next_row + next_column] - above)
    below += v * (above - below)
    return below


def cloud(x: Field, y: Field, rng: np.random.Generator, frequency: float) -> Field:
    """Noise with finer noise on it, in -1 to 1."""
    return (2 * noise(x, y, rng, frequency) + noise(x, y, rng, 2.3 * frequency)) / 3


def depth_inside(
    x: Field,
    y: Field,
    rng: np.random.Generator,
    radius: float,
    *,
    irregularity: float,
    roughness: float,
    stretch: float = 1.15,
) -> Field:
    """How far inside a random outline round (0, 0) a place is; negative outside.

    Parameters
    ----------
    x, y : float32 arrays of shape (n_photos, height, width)
        The places.
    rng : numpy.random.Generator
        What the outline is drawn from.
    radius : float
        Mean radius of the outline.
    irregularity : float
        Size of its bays and bulges, in radii.
    roughness : float
        Size of the finer jags on it, in radii.
    stretch : float, default=1.15
        By how much it is drawn out in one direction at most.

    Returns
    -------
    float32 array of shape (n_photos, height, width)
        The depth, in units of length.
    """
    orders = np.arange(2, 8)[:, None]
    sizes = irregularity * rng.standard_normal((6, 1)) * np.sqrt(2 / orders)
    angles = np.linspace(-np.pi, np.pi, 181)
    outline = 1 + (sizes * np.cos(orders * angles + rng.uniform(0, 2 * np.pi, (6, 1)))).sum(axis=0)
    outline *= 1 + rng.uniform(0, stretch - 1) * np.cos(2 * (angles - rng.uniform(0, np.pi)))
    edge: Field = np.interp(np.arctan2(y, x), angles, radius * np.maximum(outline, 0.3)).astype(np.float32)
    edge -= np.hypot(x, y)
    edge += roughness * radius * cloud(x, y, rng, 5.0)
    return edge


def scatter(rng: np.random.Generator, count: int, radius: float, jitter: float) -> Points:
    """Points spread evenly over a disc round (0, 0): a sunflower's spiral, moved by `jitter` mean spacings."""
    index = np.arange(count) + 0.5
    angle = index * math.pi * (3 - math.sqrt(5)) + rng.uniform(0, 2 * math.pi)
    distance = radius * np.sqrt(index / count)
    points = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    moved: Points = points + rng.normal(0, jitter * radius * math.sqrt(math.pi / count), points.shape)
    return moved


def spots(x: Field, y: Field, centres: Points, radii: NDArray[np.float64], softness: float) -> Field:
    """Coverage, in 0–1, by round spots that fade over the outer share `softness` of their radii."""
    cover = np.zeros_like(x)
    for (centre_x, centre_y), radius in zip(centres.tolist(), radii.tolist(), strict=True):
        squared = np.square(x - centre_x) + np.square(y - centre_y)
        faded = smoothstep((1 - softness) ** 2 * radius**2, radius**2, squared)
        np.maximum(cover, 1 - faded, out=cover)
    return cover


def network(x: Field, y: Field, rng: np.random.Generator, spacing: float, disorder: float) -> Field:
    """Lines of a honeycomb, in 0–1, with holes `spacing` apart, bent by up to `disorder` spacings."""
    x = x + disorder * spacing * noise(x, y, rng, 3.0)
    y = y + disorder * spacing * noise(x, y, rng, 3.0)
    turn, wave_number = rng.uniform(0, math.pi), 4 * math.pi / (math.sqrt(3) * spacing)
    waves = np.zeros_like(x)
    for angle in (turn, turn + math.pi / 3, turn + 2 * math.pi / 3):
        waves += np.cos(wave_number * math.cos(angle) * x + wave_number * math.sin(angle) * y)
    return 1 - smoothstep(-1.2, 0.8, waves)


def vessels(x: Field, y: Field, rng: np.random.Generator, radius: float, n_trees: int) -> Field:
    """Coverage, in 0–1, by trees of vessels that grow from a circle inwards, fork, and grow thinner."""
    cover = np.zeros_like(x)
    for start in rng.uniform(0, 2 * math.pi, n_trees).tolist():
        root = (radius * math.cos(start), radius * math.sin(start))
        tips = [(root, start + math.pi + rng.normal(0, 0.3), 0.028)]
        for _ in range(13):
            base, heading, width = tips.pop(0)
            heading += rng.normal(0, 0.4)
            length = radius * rng.uniform(0.25, 0.45)
            tip = (base[0] + length * math.cos(heading), base[1] + length * math.sin(heading))
            np.maximum(cover, _line(x, y, base, tip, width), out=cover)
            fork, thinner = rng.uniform(0.35, 0.8), max(0.85 * width, 0.019)
            tips += [(tip, heading - fork, thinner), (tip, heading + fork, thinner)]
    return cover


def _line(x: Field, y: Field, start: tuple[float, float], end: tuple[float, float], width: float) -> Field:
    """Coverage, in 0–1, by a straight line that fades to nothing at `width` from its middle."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    x, y = x - start[0], y - start[1]
    share = np.clip((x * along_x + y * along_y) / (along_x**2 + along_y**2), 0, 1)
    return 1 - smoothstep(0, width**2, np.square(x - share * along_x) + np.square(y - share * along_y))
