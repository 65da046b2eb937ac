"""All changes of colour of an image, composed into one colour matrix and one offset."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Luma and chroma axes of NTSC (YIQ, FCC 1953): the hue is the angle in the I-Q plane.
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


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

    to_yiq = torch.tensor(_RGB_TO_YIQ, dtype=torch.float64)
    cosine, sine = torch.cos(angle) * saturation, torch.sin(angle) * saturation
    in_yiq = torch.zeros((n_images, 3, 3), dtype=torch.float64)
    in_yiq[:, 0, 0] = 1
    in_yiq[:, 1, 1], in_yiq[:, 1, 2], in_yiq[:, 2, 1], in_yiq[:, 2, 2] = cosine, -sine, sine, cosine
    matrix = torch.linalg.inv(to_yiq) @ in_yiq @ to_yiq
    unchanged = (saturation == 1) & (angle == 0)
    matrix[unchanged] = torch.eye(3, dtype=torch.float64)
    matrix = matrix * brightness[:, None, None]
    return ColorDraw(matrix.float(), contrast.float(), brightness.float())


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
    n_images, channels = images.shape[:2]
    contrast = draw.contrast.to(images)
    if channels == 3:
        matrix = draw.matrix.to(images)
        luma = torch.tensor(_RGB_TO_YIQ[0]).to(images)
    else:
        matrix = draw.brightness.to(images)[:, None, None]
        luma = torch.ones(1).to(images)
    eye = torch.eye(channels).to(images)
    changed = (matrix != eye).flatten(1).any(dim=1) | (contrast != 1)
    if not bool(changed.any()):
        return images
    means = images.mean(dim=(2, 3))
    mean_luma = (matrix @ means[:, :, None]).squeeze(2) @ luma[:, None]
    matrix = matrix * contrast[:, None, None]
    offset = ((1 - contrast)[:, None] * mean_luma).expand(n_images, channels)
    result = torch.baddbmm(offset[:, :, None], matrix, images.flatten(2)).view(images.shape).clamp(0, 1)
    return result if bool(changed.all()) else torch.where(changed[:, None, None, None], result, images)
