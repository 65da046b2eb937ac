"""All geometric changes of an image, composed into one affine resampling."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


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
    """Resample each image along its affine map; what lies outside is filled by reflection.

    Parameters
    ----------
    images : Tensor of float, shape (n_images, channels, height, width)
        Values in 0–1.
    affine : Tensor of float32, shape (n_images, 2, 3)
        As from `draw_affine`.

    Returns
    -------
    Tensor, of the shape of `images`
        Bilinear interpolation, in 0–1; an image whose map is the identity comes back bit for bit.
    """
    affine = affine.to(images.device)
    identity = torch.eye(2, 3, device=affine.device)
    moved = (affine != identity).flatten(1).any(dim=1)
    if not bool(moved.any()):
        return images
    height, width = images.shape[2:]
    # torch's grid measures each axis in half its own length; ours measures both in half the shorter side.
    half = torch.tensor([width, height], device=affine.device) / min(height, width)
    matrix = affine[:, :, :2] * half[None, None, :] / half[None, :, None]
    shift = affine[:, :, 2:] / half[None, :, None]
    theta = torch.cat([matrix, shift], dim=2)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    resampled = functional.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode="reflection", align_corners=False
    ).clamp_(0, 1)  # the weights of four neighbours may add up to 1 + 1e-7
    return resampled if bool(moved.all()) else torch.where(moved[:, None, None, None], resampled, images)
