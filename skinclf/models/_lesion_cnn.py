"""`lesion_cnn`: blocks of convolutions and max-pooling, then dense layers; small enough for two CPU cores."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from skinclf._validation import ImageShape
from skinclf.models._dropout import SeededDropout

_STRIDED_FROM = 48
"""Shorter side, in pixels, from which the first convolution halves the image."""


class ConvBlock(nn.Module):
    """Max-pooling by two, then two 3 × 3 convolutions with batch normalisation, the second one residual.

    Pooling comes first, since the convolution that widens costs four times as much before it.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.widen_norm = nn.BatchNorm2d(out_channels)
        self.refine = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.refine_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / 2), ceil(W / 2))."""
        x = functional.relu(self.widen_norm(self.widen(halve(x))))
        return functional.relu(x + self.refine_norm(self.refine(x)))


def halve(x: Tensor) -> Tensor:
    """Max-pool by two along every axis that is longer than 1; (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2))."""
    kernel = (min(2, x.shape[2]), min(2, x.shape[3]))
    return functional.max_pool2d(x, kernel, ceil_mode=True)


class LesionCNN(nn.Module):
    """The network of `lesion_cnn`; see there for the parameters.

    Parameters
    ----------
    in_channels : int
        1 or 3.
    n_classes : int
        Number of outputs.
    width, depth : int
        As in `lesion_cnn`.
    dropout : float
        As in `lesion_cnn`.
    stride : int
        Stride of the first convolution.

    Examples
    --------
    >>> from skinclf.models import LesionCNN
    >>> network = LesionCNN(3, 7, width=8, depth=2, dropout=0.0, stride=1)
    >>> [block.widen.out_channels for block in network.blocks]
    [16, 32]
    """

    def __init__(
        self, in_channels: int, n_classes: int, *, width: int, depth: int, dropout: float, stride: int
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 5, stride=stride, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        channels = [width * 2**i for i in range(depth + 1)]
        self.blocks = nn.Sequential(*(ConvBlock(a, b) for a, b in pairwise(channels)))
        self.dropout = SeededDropout(dropout)
        self.hidden = nn.Linear(channels[-1], 4 * width)
        self.output = nn.Linear(4 * width, n_classes)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew: He et al. (2015) for layers before a ReLU, small ones for the output.

        Parameters
        ----------
        generator : torch.Generator, optional
            A CPU generator; None draws from torch's global one.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan = module.weight[0].numel()
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan), generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.output.weight, 0.0, 0.01, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, n_classes)."""
        x = functional.relu(self.stem_norm(self.stem(x)))  # (N, width, H / stride, W / stride)
        x = self.blocks(x)  # (N, width * 2**depth, h, w)
        x = x.mean(dim=(2, 3))  # (N, width * 2**depth)
        x = functional.relu(self.hidden(self.dropout(x)))  # (N, 4 * width)
        logits: Tensor = self.output(self.dropout(x))  # (N, n_classes)
        return logits


def lesion_cnn(
    image_shape: ImageShape,
    n_classes: int,
    *,
    width: int = 24,
    depth: int = 3,
    dropout: float = 0.3,
    generator: torch.Generator | None = None,
) -> LesionCNN:
    """Build a convolutional network that is economical on a CPU.

    The first convolution (5 × 5) halves images of 48 pixels and more; every block doubles the channels and halves
    the image. Global average pooling follows, so that any larger image fits too, and two dense layers.

    Parameters
    ----------
    image_shape : tuple of int (height, width, channels)
        Shape of the images: sides of 8 to 256 pixels are what it is made for; strips ``1 × n`` work too.
    n_classes : int
        Number of classes.
    width : int, default=24
        Channels of the first convolution.
    depth : int, default=3
        Number of blocks.
    dropout : float, default=0.3
        Share of the values that become 0 before each dense layer in training.
    generator : torch.Generator, optional
        A CPU generator that the weights are drawn from; None draws from torch's global one.

    Returns
    -------
    LesionCNN
        Takes standardised float32 images ``(n_images, channels, height, width)`` and returns logits
        ``(n_images, n_classes)``.

    Raises
    ------
    ValueError
        If `width` or `depth` is below 1, or `dropout` is not in [0, 1).

    Examples
    --------
    >>> import torch
    >>> from skinclf.models import lesion_cnn
    >>> network = lesion_cnn((64, 64, 3), n_classes=7)
    >>> network(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 7])
    """
    if width < 1 or depth < 1:
        raise ValueError(
            f"width and depth of lesion_cnn must be at least 1; got width={width!r}, depth={depth!r}."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout of lesion_cnn must be in [0, 1); got {dropout!r}.")
    height, breadth, channels = image_shape
    stride = 2 if min(height, breadth) >= _STRIDED_FROM else 1
    # Layers draw weights from the global generator when they are made; on the meta device they cannot.
    with torch.device("meta"):
        network = LesionCNN(channels, n_classes, width=width, depth=depth, dropout=dropout, stride=stride)
    network.to_empty(device="cpu")
    network.reset_parameters(generator)
    return network.to(memory_format=torch.channels_last)
