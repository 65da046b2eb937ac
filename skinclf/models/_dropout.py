"""Layers that leave something out in training, drawn from explicit generators."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SeededDropout(nn.Module):
    """Dropout whose masks come from an explicit generator instead of torch's global one.

    Two networks that train in two threads would share the global generator, and neither could be repeated.

    Parameters
    ----------
    p : float
        Share of the values that become 0 in training.

    Attributes
    ----------
    generator : torch.Generator or None
        A CPU generator; None draws from torch's global one.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` in evaluation, and a masked, rescaled copy in training; any shape."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(self._mask_shape(x), generator=self.generator) >= self.p
        return x * kept.to(x) / (1 - self.p)

    def _mask_shape(self, x: Tensor) -> tuple[int, ...]:
        return tuple(x.shape)

    def extra_repr(self) -> str:
        """Show the probability, as torch's own layers do."""
        return f"p={self.p}"


class StochasticDepth(SeededDropout):
    """Dropout of whole images from a residual branch, so that the block is the identity for them.

    Parameters
    ----------
    p : float
        Share of the images for which the branch becomes 0 in training.

    References
    ----------
    Huang et al., "Deep networks with stochastic depth", ECCV 2016.
    """

    def _mask_shape(self, x: Tensor) -> tuple[int, ...]:
        return (x.shape[0], *[1] * (x.ndim - 1))
