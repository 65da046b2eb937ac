"""All geometric changes of an image, composed into one affine resampling."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# The eight symmetries of a square, as sums of these: the axes are swapped first, then mirrored.
_IDENTITY, _MIRROR_X, _MIRROR_Y, _SWAP = 0, 1, 2, 4
_NONE = -1


class GeometryRanges(NamedTuple):
    """From which ranges `draw_affine` draws."""

    flip: bool
    quarter_turns: bool
    rotation: float
    zoom: float
    shift: float


def draw_affine(n_images: int, ranges: GeometryRanges, *, square: bool, generator: torch.Generator) -> Tensor:
    """Draw one affine map for each image.

    The map leads from a pixel of the result to the place in the source where its value is found, in units of
    half the shorter side, with the origin in the middle and the second coordinate pointing down.

    Parameters
    ----------
    n_images : int
        How many maps.
    ranges : GeometryRanges
        Rotation in degrees; zoom ``z`` gives factors in ``[1 / (1 + z), 1 + z]``, uniform on a logarithmic
        scale; shift as a share of the shorter side, in both directions.
    square : bool
        Whether quarter turns keep the shape; otherwise only half turns are drawn.
    generator : torch.Generator
        A CPU generator. Every image takes the same number of draws, whatever the ranges.

    Returns
    -------
    Tensor of float32, shape (n_images, 2, 3)
        Rotation and scale in the first two columns, the shift in the third.
    """
    uniform = torch.rand((n_images, 6), generator=generator, dtype=torch.float64)
    turns = torch.floor(uniform[:, 0] * 4) if square else 2 * torch.floor(uniform[:, 0] * 2)
    angle = turns * (math.pi / 2) if ranges.quarter_turns else torch.zeros_like(turns)
    cosine, sine = torch.round(torch.cos(angle)), torch.round(torch.sin(angle))
    turn = _matrix(cosine, -sine, sine, cosine)

    tilt = (2 * uniform[:, 1] - 1) * math.radians(ranges.rotation)
    magnification = torch.exp((2 * uniform[:, 2] - 1) * math.log1p(ranges.zoom))
    cosine, sine = torch.cos(tilt) / magnification, torch.sin(tilt) / magnification
    matrix = _matrix(cosine, -sine, sine, cosine) @ turn
    if ranges.flip:
        # A flip and a turn together make all eight symmetries of the square.
        matrix[:, :, 0] *= torch.where(uniform[:, 3] < 0.5, -1.0, 1.0)[:, None]
    offset = (2 * uniform[:, 4:6] - 1) * (2 * ranges.shift)
    return torch.cat([matrix, offset[:, :, None]], dim=2).to(torch.float32)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([torch.stack([a, b], dim=1), torch.stack([c, d], dim=1)], dim=1)


def apply_affine(images: Tensor, affine: Tensor) -> Tensor:
    """Move each image along its affine map; what comes in from outside is the image's reflection.

    Flips and turns by multiples of 90 degrees without anything else move whole pixels and change no value; every
    other map is one bilinear resampling.

    Parameters
    ----------
    images : Tensor of float, shape (n_images, channels, height, width)
        Values in 0–1, on any device.
    affine : Tensor of float32, shape (n_images, 2, 3)
        As from `draw_affine`, on the CPU.

    Returns
    -------
    Tensor, of the shape of `images`
        Values in 0–1; an image whose map is the identity comes back bit for bit.
    """
    return AffineChange(affine, images)(images, slice(None))


class AffineChange:
    """The affine maps of a batch, prepared to be applied to a few of its images at a time.

    Parameters
    ----------
    affine : Tensor of float32, shape (n_images, 2, 3)
        As from `draw_affine`, on the CPU.
    like : Tensor of float, shape (any, channels, height, width)
        Whose size, precision and device the images have.
    """

    def __init__(self, affine: Tensor, like: Tensor) -> None:
        height, width = like.shape[2:]
        self.symmetry = _which_symmetry(affine, square=height == width)
        self.kinds = sorted(set(self.symmetry.tolist()))
        # torch's grid measures each axis in half its own length; ours measures both in half the shorter side.
        half = torch.tensor([width, height], dtype=torch.float64) / min(height, width)
        theta = torch.cat([affine[:, :, :2] * half, affine[:, :, 2:].double()], dim=2) / half[:, None]
        along_x, along_y, shift = (part[:, :, None, None] for part in theta.unbind(dim=2))
        # Two planes, x and y, each the sum of a row and a column: a tenth of the time of torch's affine_grid.
        self.columns = (along_x * _pixel_centres(width)).to(like)  # (n, 2, 1, width)
        self.rows = (along_y * _pixel_centres(height)[:, None] + shift).to(like)  # (n, 2, height, 1)
        self.furthest = float(theta.abs().sum(dim=2).amax()) if len(affine) else 0.0

    def __call__(self, images: Tensor, rows: slice) -> Tensor:
        """Move the images, which are these rows of the batch."""
        if self.kinds == [_NONE]:
            return self.interpolate(images, self.grid(rows))
        symmetry = self.symmetry[rows]
        result = images
        for kind in self.kinds:
            some = (symmetry == kind).nonzero()[:, 0].to(images.device)
            if kind == _IDENTITY or len(some) == 0:
                continue
            result = images.clone() if result is images else result
            if kind == _NONE:
                result[some] = self.interpolate(images[some], self.grid(rows)[some])
            else:
                result[some] = _move_pixels(images[some], kind)
        return result

    def grid(self, rows: slice) -> Tensor:
        """Return where each pixel's value is found, shape (some, height, width, 2), between -1 and 1."""
        grid = self.columns[rows] + self.rows[rows]
        # Each pass brings what lies outside nearer by 2, and leaves the bits of all else alone. grid_sample's own
        # reflection computes a remainder for every pixel, and takes as long again as the interpolation.
        for _ in range(math.ceil((self.furthest - 1) / 2)):
            grid = grid.clamp(-1, 1).mul_(2).sub_(grid)
        return grid.permute(0, 2, 3, 1)

    @staticmethod
    def interpolate(images: Tensor, grid: Tensor) -> Tensor:
        """Return the values at these places."""
        result = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return result.clamp_(0, 1)  # the weights of four neighbours may add up to 1 + 1e-7


def _which_symmetry(affine: Tensor, *, square: bool) -> Tensor:
    """Return for each map which symmetry of the image it is exactly, in the bits above; -1 if none."""
    known = torch.tensor([_symmetry(kind) for kind in range(_SWAP * (2 if square else 1))], dtype=affine.dtype)
    equal = (affine[:, None] == known).flatten(2).all(dim=2)
    return torch.where(equal.any(dim=1), equal.to(torch.uint8).argmax(dim=1), _NONE)


def _symmetry(kind: int) -> list[list[float]]:
    x, y = -1.0 if kind & _MIRROR_X else 1.0, -1.0 if kind & _MIRROR_Y else 1.0
    return [[0.0, y, 0.0], [x, 0.0, 0.0]] if kind & _SWAP else [[x, 0.0, 0.0], [0.0, y, 0.0]]


def _move_pixels(images: Tensor, kind: int) -> Tensor:
    moved = images.transpose(2, 3) if kind & _SWAP else images
    return moved.flip([axis for axis, bit in ((3, _MIRROR_X), (2, _MIRROR_Y)) if kind & bit])


def _pixel_centres(n_pixels: int) -> Tensor:
    return (2 * torch.arange(n_pixels, dtype=torch.float64) + 1) / n_pixels - 1
