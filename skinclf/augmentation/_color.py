"""All changes of colour of an image, composed into one colour matrix and one offset."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

# Luma and chroma axes of NTSC (YIQ, FCC 1953): the hue is the angle in the I-Q plane.
_LUMA = (0.299, 0.587, 0.114)
_CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


class ColorRanges(NamedTuple):
    """From which ranges `draw_color` draws."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


class ColorDraw(NamedTuple):
    """A colour matrix for each image, and the contrast around the image's own mean luma.

    Attributes
    ----------
    matrix : Tensor of float32, shape (n_images, 3, 3)
        Brightness, saturation and hue, applied to RGB columns.
    contrast : Tensor of float32, shape (n_images,)
        Factor of the distance from the mean luma.
    brightness : Tensor of float32, shape (n_images,)
        The factor within `matrix`; images of one channel need it alone.
    """

    matrix: Tensor
    contrast: Tensor
    brightness: Tensor


def draw_color(n_images: int, ranges: ColorRanges, *, generator: torch.Generator) -> ColorDraw:
    """Draw one change of colour for each image.

    Parameters
    ----------
    n_images : int
        How many.
    ranges : ColorRanges
        Brightness, contrast and saturation ``v`` give factors in ``[1 / (1 + v), 1 + v]``, uniform on a
        logarithmic scale; hue ``h`` gives angles within ``h`` of a full turn in both directions.
    generator : torch.Generator
        A CPU generator. Every image takes four draws, whatever the ranges.

    Returns
    -------
    ColorDraw
        The parameters, for `apply_color`.
    """
    uniform = 2 * torch.rand((n_images, 4), generator=generator, dtype=torch.float64) - 1
    limits = torch.tensor([ranges.brightness, ranges.contrast, ranges.saturation], dtype=torch.float64)
    brightness, contrast, saturation = torch.exp(uniform[:, :3] * torch.log1p(limits)).unbind(dim=1)
    angle = uniform[:, 3] * (2 * math.pi * ranges.hue)

    # The matrix to YIQ, a turn and a stretch of I and Q, and the matrix back are a sum of three.
    luma, along, across = _hue_basis()
    cosine, sine = torch.cos(angle) * saturation, torch.sin(angle) * saturation
    matrix = luma + cosine[:, None, None] * along + sine[:, None, None] * across
    unchanged = (saturation == 1) & (angle == 0)
    matrix[unchanged] = torch.eye(3, dtype=torch.float64)
    matrix = matrix * brightness[:, None, None]
    return ColorDraw(matrix.float(), contrast.float(), brightness.float())


@lru_cache(maxsize=1)
def _hue_basis() -> tuple[Tensor, Tensor, Tensor]:
    """Return the 3 × 3 matrices that keep the luma, keep the chroma, and turn the chroma by 90 degrees."""
    to_yiq = torch.tensor((_LUMA, *_CHROMA), dtype=torch.float64)
    (y, i, q), (to_y, to_i, to_q) = torch.linalg.inv(to_yiq).T[:, :, None], to_yiq[:, None]
    return y * to_y, i * to_i + q * to_q, q * to_i - i * to_q


def apply_color(images: Tensor, draw: ColorDraw) -> Tensor:
    """Change the colours of each image.

    Parameters
    ----------
    images : Tensor of float, shape (n_images, channels, height, width)
        Values in 0–1; 1 or 3 channels.
    draw : ColorDraw
        As from `draw_color`. Images of one channel change in brightness and contrast only.

    Returns
    -------
    Tensor, of the shape of `images`
        Values in 0–1, clipped.
    """
    return ColorChange(draw, images)(images, slice(None))


class ColorChange:
    """The changes of colour of a batch, prepared to be applied to a few of its images at a time.

    Parameters
    ----------
    draw : ColorDraw
        As from `draw_color`.
    like : Tensor of float, shape (any, channels, height, width)
        Whose channels, precision and device the images have.
    """

    def __init__(self, draw: ColorDraw, like: Tensor) -> None:
        channels, contrast = like.shape[1], draw.contrast
        matrix = draw.matrix if channels == 3 else draw.brightness[:, None, None]
        luma = torch.tensor(_LUMA if channels == 3 else [1.0])
        changed = (matrix != torch.eye(channels)).flatten(1).any(dim=1) | (contrast != 1)
        self.changed = changed.to(like.device)[:, None, None, None]
        self.all, self.none = bool(changed.all()), not bool(changed.any())
        self.matrix = (matrix * contrast[:, None, None]).to(like)
        self.offset_of_mean = ((1 - contrast)[:, None] * (luma @ matrix)).to(like)

    def __call__(self, images: Tensor, rows: slice) -> Tensor:
        """Change the colours of the images, which are these rows of the batch."""
        if self.none:
            return images
        offset = (images.mean(dim=(2, 3)) * self.offset_of_mean[rows]).sum(dim=1)[:, None, None]
        flat = torch.baddbmm(offset, self.matrix[rows], images.flatten(2))
        result = flat.clamp_(0, 1).view(images.shape)
        return result if self.all else torch.where(self.changed[rows], result, images)
