"""The network with its preprocessing: what is saved, exported and run is one module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn


class StandardizedNetwork(nn.Module):
    """Standardise the channels of each batch, then run a network.

    Parameters
    ----------
    network : torch.nn.Module
        Takes float32 images ``(n_images, channels, height, width)``, returns logits ``(n_images, n_classes)``; a
        `FusedNetwork` takes metadata, too.
    mean, scale : sequence of float, one for each channel
        Mean and standard deviation of the training images, on the scale 0–1 for uint8 images.
    autocast_dtype : torch.dtype, optional
        Precision of the network's arithmetic on a GPU; None for float32. Logits are float32 either way.

    Attributes
    ----------
    trained_alone : tuple of str
        Names of parts of the network; unless empty, all others stay in evaluation when the network goes into
        training: their norms keep their statistics, and nothing of them is dropped.

    Examples
    --------
    >>> import torch
    >>> from skinclf.models import StandardizedNetwork, lesion_cnn
    >>> network = StandardizedNetwork(lesion_cnn((8, 8, 1), 2), mean=[0.5], scale=[0.25]).eval()
    >>> grey = torch.full((1, 1, 8, 8), 51, dtype=torch.uint8)
    >>> bool(torch.allclose(network(grey), network(grey / 255)))
    True
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float],
        scale: Sequence[float],
        autocast_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.autocast_dtype = autocast_dtype
        self.trained_alone: tuple[str, ...] = ()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(1, -1, 1, 1))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32).reshape(1, -1, 1, 1))

    def train(self, mode: bool = True) -> Self:
        """Go into training, or with False into evaluation, in which all but the parts `trained_alone` stay.

        Parameters
        ----------
        mode : bool, default=True
            Whether to train.

        Returns
        -------
        StandardizedNetwork
            The module itself.
        """
        super().train(mode)
        if mode and self.trained_alone:
            for name, part in self.network.named_modules():
                is_alone = any(f"{name}.".startswith(f"{alone}.") for alone in self.trained_alone)
                if not is_alone and not any(True for _ in part.children()):
                    part.eval()
        return self

    def forward(
        self, images: Tensor, weight: Tensor | None = None, metadata: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits, and hand the weights on to the loss.

        Parameters
        ----------
        images : Tensor, shape (n_images, channels, height, width)
            uint8 in 0–255, or float32 on the scale of the mean.
        weight : Tensor of float32, shape (n_images,), optional
            Not used here.
        metadata : Tensor of float32, shape (n_images, n_features), optional
            For a `FusedNetwork`, which takes them for unknown where there are none.

        Returns
        -------
        Tensor of float32, shape (n_images, n_classes), or that and `weight`
            Logits.
        """
        standardized = self._standardize(images)
        inputs = (standardized,) if metadata is None else (standardized, metadata)
        if self.autocast_dtype is None:
            logits = self.network(*inputs)
        else:
            with torch.autocast(images.device.type, dtype=self.autocast_dtype):
                logits = self.network(*inputs)
        return logits.float() if weight is None else (logits.float(), weight)

    def _standardize(self, images: Tensor) -> Tensor:
        """Return float32 images whose channels lie side by side, without a second array of their size.

        As one row of ``width * channels`` values the channels-last images take a fifth of the time that three
        values at a time take; a new array for each step would cost more again, in pages to be mapped.
        """
        n_images, channels, height, width = images.shape
        last = images.to(torch.float32, memory_format=torch.channels_last, copy=True)
        rows = last.permute(0, 2, 3, 1).view(n_images, height, width * channels)
        if images.dtype == torch.uint8:
            rows.div_(255)
        rows.sub_(self.mean.flatten().repeat(width)).div_(self.scale.flatten().repeat(width))
        return last
