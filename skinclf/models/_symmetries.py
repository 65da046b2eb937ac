"""A network asked about an image in all positions: mirrored, and in quarter turns."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skinclf.augmentation._geometry import _SWAP, _move_pixels


def _positions(images: Tensor) -> list[Tensor]:
    """Return the images in 8 positions where height is width, else in the 4 that keep the shape."""
    height, width = images.shape[2:]
    return [_move_pixels(images, kind) for kind in range(2 * _SWAP if height == width else _SWAP)]


class SymmetryMean(nn.Module):
    """Run a network on an image in all positions, and return the mean.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images, returns rows.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skinclf.models._symmetries import SymmetryMean
    >>> SymmetryMean(nn.Flatten())(torch.tensor([[[[0.0, 4.0], [8.0, 8.0]]]]))
    tensor([[5., 5., 5., 5.]])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) -> rows (N, n); over 8 positions where H is W, else over 4."""
        positions = _positions(images)
        total: Tensor = sum((self.network(moved) for moved in positions), start=torch.zeros(()))
        return total / len(positions)


class SymmetryVote(nn.Module):
    """Classify an image in all positions in one batch, and return the logarithm of the mean probability.

    Which way up a dermatoscopic image is held means nothing, so that all positions have the same say. The softmax
    of what is returned is the mean probability: it takes the place of the logits.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images, and perhaps metadata; returns logits ``(n_images, n_classes)``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skinclf.models._symmetries import SymmetryVote
    >>> votes = SymmetryVote(nn.Flatten())(torch.tensor([[[[0.0, 4.0], [8.0, 8.0]]]]))
    >>> torch.softmax(votes, dim=1)
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    N_POSITIONS = 2 * _SWAP

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """(N, channels, H, W) and (N, n_features) -> (N, n_classes)."""
        positions = _positions(images)
        repeated = {} if metadata is None else {"metadata": metadata.repeat(len(positions), 1)}
        logits = self.network(torch.cat(positions), **repeated)
        logs = torch.log_softmax(logits.float(), dim=1).view(len(positions), -1, logits.shape[1])
        return torch.logsumexp(logs, dim=0) - math.log(len(positions))
