"""Erasing a box of an image, so that a network cannot lean on one detail (Zhong et al., AAAI 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Ranges of area and aspect ratio from the paper, its table of settings; the upper area is ours (0.4 there),
# since a lesion often fills no more than a fifth of its image.
_AREA = (0.02, 0.2)
_ASPECT = (0.3, 1 / 0.3)


def draw_boxes(n_images: int, probability: float, *, generator: torch.Generator) -> Tensor:
    """Draw one box for each image.

    Parameters
    ----------
    n_images : int
        How many.
    probability : float
        Share of the images that get a box; the box of the others is empty.
    generator : torch.Generator
        A CPU generator. Every image takes five draws, whatever the probability.

    Returns
    -------
    Tensor of float32, shape (n_images, 4)
        Left, top, right and bottom as shares of width and height.
    """
    uniform = torch.rand((n_images, 5), generator=generator)
    area = _AREA[0] + uniform[:, 1] * (_AREA[1] - _AREA[0])
    aspect = torch.exp(math.log(_ASPECT[0]) + uniform[:, 2] * math.log(_ASPECT[1] / _ASPECT[0]))
    width, height = torch.sqrt(area * aspect).clamp(max=1), torch.sqrt(area / aspect).clamp(max=1)
    left, top = uniform[:, 3] * (1 - width), uniform[:, 4] * (1 - height)
    boxes = torch.stack([left, top, left + width, top + height], dim=1)
    return torch.where((uniform[:, 0] < probability)[:, None], boxes, torch.zeros_like(boxes))


def apply_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    """Fill each image's box with the image's own mean colour.

    Parameters
    ----------
    images : Tensor of float, shape (n_images, channels, height, width)
        Values on any scale, on any device.
    boxes : Tensor of float32, shape (n_images, 4)
        As from `draw_boxes`, on the CPU. A pixel is in the box if its centre is.

    Returns
    -------
    Tensor, of the shape of `images`
        Images without a box come back bit for bit.
    """
    return fill_boxes(images.clone(), boxes) if bool(_is_drawn(boxes).any()) else images


def fill_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    """Write into the images what `apply_boxes` changes, and return them."""
    height, width = images.shape[2:]
    size = torch.tensor([width, height, width, height])
    edges = torch.ceil(boxes * size - 0.5).long()
    for row in _is_drawn(boxes).nonzero()[:, 0].tolist():
        left, top, right, bottom = edges[row].tolist()
        image = images[row]
        mean = image.contiguous().mean(dim=(1, 2))  # the same bits whatever the layout in memory
        image[:, top:bottom, left:right] = mean[:, None, None]
    return images


def _is_drawn(boxes: Tensor) -> Tensor:
    return boxes[:, 2] > boxes[:, 0]
