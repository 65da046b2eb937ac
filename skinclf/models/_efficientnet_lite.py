"""`efficientnet_lite0`: inverted residual blocks without attention, for which ImageNet weights come with pip."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from skinclf._validation import ImageShape
from skinclf.models._dropout import SeededDropout, StochasticDepth

INPUT_MEAN = 127 / 255
INPUT_STD = 128 / 255
"""What the published weights were trained with, in every channel, on the scale 0–1: ``MEAN_RGB`` and
``STDDEV_RGB`` of ``efficientnet_lite_builder.py`` in github.com/tensorflow/tpu."""

_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280
_STAGES = (
    # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPS = 1e-3
"""Of batch normalisation, with which the weights were trained. Its momentum is torch's 0.1 and not their 0.01: a
fine-tuning has hundreds of steps and not hundreds of thousands."""


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does: n pixels become ``ceil(n / stride)``.

    With stride 2, sides of an even length are padded by one pixel less in front than behind, so that the windows
    start one pixel later than with symmetric padding. A kernel with a row or column of zeros in front does the
    same, and saves a padded copy of the largest maps.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, groups : int
        As ``torch.nn.Conv2d`` takes them; `kernel_size` is odd and `stride` is 1 or 2. There is no bias.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int, groups: int = 1
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        weight = self.weight
        if self.stride[0] == 2:
            down, right = 1 - x.shape[2] % 2, 1 - x.shape[3] % 2  # by how much the windows start later
            if torch.compiler.is_compiling():  # an exported kernel must be one of the weights as they are
                before = self.kernel_size[0] // 2
                padding = [before - right, before, before - down, before]
                return functional.conv2d(functional.pad(x, padding), weight, None, 2, 0, 1, self.groups)
            weight = functional.pad(weight, [right, 0, down, 0])
        return functional.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


class MBConv(nn.Module):
    """Widen by 1 × 1, filter each channel by itself, narrow by 1 × 1; residual where the shape stays.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after.
    kernel_size, stride : int
        Of the filter.
    expansion : int
        How many times wider the middle is; 1 leaves the widening out.
    stochastic_depth : float
        Share of the images that skip the block in training, where it is residual.

    References
    ----------
    Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int,
        expansion: int,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.is_residual = stride == 1 and in_channels == out_channels
        self.expand = nn.Conv2d(in_channels, width, 1, bias=False) if expansion > 1 else None
        self.expand_norm = nn.BatchNorm2d(width, eps=_EPS) if expansion > 1 else None
        self.depthwise = SameConv2d(width, width, kernel_size, stride=stride, groups=width)
        self.depthwise_norm = nn.BatchNorm2d(width, eps=_EPS)
        self.project = nn.Conv2d(width, out_channels, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(out_channels, eps=_EPS)
        self.stochastic_depth = StochasticDepth(stochastic_depth)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = x
        if self.expand is not None and self.expand_norm is not None:
            y = _relu6(self.expand_norm(self.expand(y)))  # (N, width, H, W)
        y = _relu6(self.depthwise_norm(self.depthwise(y)))  # (N, width, H / stride, W / stride)
        y = self.project_norm(self.project(y))  # (N, out, H / stride, W / stride)
        if self.is_residual:
            y = x + self.stochastic_depth(y)
        return y


class _InPlaceReLU6(torch.autograd.Function):
    """ReLU6 in the memory of its input, whose gradient is told by its output.

    That of torch keeps a copy of the input for the gradient; without it the largest maps take a quarter less time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x.clamp_(0, 6))
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        back: Tensor = torch.ops.aten.hardtanh_backward(gradient, y, 0.0, 6.0)
        return back


def _relu6(x: Tensor) -> Tensor:
    """Overwrite the output of a batch norm, which no gradient needs, with its ReLU6."""
    if torch.compiler.is_compiling():
        return functional.relu6(x)
    activated: Tensor = _InPlaceReLU6.apply(x)
    return activated


class EfficientNetLite(nn.Module):
    """The network of `efficientnet_lite0`; see there for the parameters.

    Parameters
    ----------
    in_channels : int
        1 or 3.
    n_classes : int
        Number of outputs.
    dropout, stochastic_depth : float
        As in `efficientnet_lite0`.

    Examples
    --------
    >>> from skinclf.models import EfficientNetLite
    >>> network = EfficientNetLite(3, 7, dropout=0.2, stochastic_depth=0.0)
    >>> len(network.blocks), sum(parameter.numel() for parameter in network.parameters())
    (16, 3379975)
    """

    def __init__(self, in_channels: int, n_classes: int, *, dropout: float, stochastic_depth: float) -> None:
        super().__init__()
        self.stem = SameConv2d(in_channels, _STEM_CHANNELS, 3, stride=2)
        self.stem_norm = nn.BatchNorm2d(_STEM_CHANNELS, eps=_EPS)
        n_blocks = sum(repeats for repeats, *_ in _STAGES)
        blocks: list[MBConv] = []
        before = _STEM_CHANNELS
        for repeats, kernel_size, stride, expansion, channels in _STAGES:
            for repetition in range(repeats):
                blocks.append(
                    MBConv(
                        before,
                        channels,
                        kernel_size=kernel_size,
                        stride=stride if repetition == 0 else 1,
                        expansion=expansion,
                        stochastic_depth=stochastic_depth * len(blocks) / n_blocks,  # deeper, more often
                    )
                )
                before = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(before, _HEAD_CHANNELS, 1, bias=False)
        self.head_norm = nn.BatchNorm2d(_HEAD_CHANNELS, eps=_EPS)
        self.dropout = SeededDropout(dropout)
        self.output = nn.Linear(_HEAD_CHANNELS, n_classes)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, as the original does, but small ones for the output.

        Parameters
        ----------
        generator : torch.Generator, optional
            A CPU generator; None draws from torch's global one.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels / module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out), generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.output.weight, 0.0, 0.01, generator=generator)
        nn.init.zeros_(self.output.bias)

    def features(self, x: Tensor) -> Tensor:
        """Return what the output layer decides by.

        Parameters
        ----------
        x : Tensor of float32, shape (n_images, in_channels, height, width)
            Standardised images.

        Returns
        -------
        Tensor of float32, shape (n_images, 1280)
            From 0 to 6.
        """
        x = _relu6(self.stem_norm(self.stem(x)))  # (N, 32, H / 2, W / 2)
        x = self.blocks(x)  # (N, 320, H / 32, W / 32)
        x = _relu6(self.head_norm(self.head(x)))  # (N, 1280, H / 32, W / 32)
        return x.mean(dim=(2, 3))  # (N, 1280)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, n_classes)."""
        logits: Tensor = self.output(self.dropout(self.features(x)))
        return logits


def efficientnet_lite0(
    image_shape: ImageShape,
    n_classes: int,
    *,
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
    generator: torch.Generator | None = None,
) -> EfficientNetLite:
    """Build EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, and with ReLU6.

    Images of any size fit, since the last maps are averaged; the network was made for 224 pixels.

    Parameters
    ----------
    image_shape : tuple of int (height, width, channels)
        Shape of the images; only the channels count, 1 or 3.
    n_classes : int
        Number of classes.
    dropout : float, default=0.2
        Share of the values that become 0 before the output in training.
    stochastic_depth : float, default=0.2
        Share of the images that skip the last residual block in training; it falls to 0 towards the first.
    generator : torch.Generator, optional
        A CPU generator that the weights are drawn from; None draws from torch's global one.

    Returns
    -------
    EfficientNetLite
        Takes standardised float32 images ``(n_images, channels, height, width)`` and returns logits
        ``(n_images, n_classes)``.

    Raises
    ------
    ValueError
        If `dropout` or `stochastic_depth` is not in [0, 1).

    References
    ----------
    Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019. The Lite
    variant, whose numbers these are: ``models/official/efficientnet/lite`` in github.com/tensorflow/tpu.

    Examples
    --------
    >>> import torch
    >>> from skinclf.models import efficientnet_lite0
    >>> network = efficientnet_lite0((64, 64, 3), n_classes=7).eval()
    >>> network(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 7])
    """
    for name, share in (("dropout", dropout), ("stochastic_depth", stochastic_depth)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} of efficientnet_lite0 must be in [0, 1); got {share!r}.")
    # Layers draw weights from the global generator when they are made; on the meta device they cannot.
    with torch.device("meta"):
        network = EfficientNetLite(image_shape[2], n_classes, dropout=dropout, stochastic_depth=stochastic_depth)
    network.to_empty(device="cpu")
    network.reset_parameters(generator)
    return network.to(memory_format=torch.channels_last)


_ORIGINAL = {
    "_conv_stem": "stem",
    "_bn0": "stem_norm",
    "_conv_head": "head",
    "_bn1": "head_norm",
    "_fc": "output",
}
_ORIGINAL_BLOCK = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}
_TIMM = {"conv_stem": "stem", "bn1": "stem_norm", "conv_head": "head", "bn2": "head_norm", "classifier": "output"}
_TIMM_FIRST = {
    "conv_dw": "depthwise",
    "bn1": "depthwise_norm",
    "conv_pw": "project",
    "bn2": "project_norm",
}
_TIMM_BLOCK = {
    "conv_pw": "expand",
    "bn1": "expand_norm",
    "conv_dw": "depthwise",
    "bn2": "depthwise_norm",
    "conv_pwl": "project",
    "bn3": "project_norm",
}


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights of EfficientNet-Lite0 the names that they have here.

    Parameters
    ----------
    state : mapping of str to Tensor
        With the names of ``efficientnet_lite_pytorch``, of timm's ``tf_efficientnet_lite0``, or of this module.

    Returns
    -------
    dict of str to Tensor
        Names that none of the three has stay as they are.
    """
    return {_own_name(name): value for name, value in state.items()}


def _own_name(name: str) -> str:
    if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        return f"blocks.{block[1]}.{_ORIGINAL_BLOCK.get(block[2], block[2])}.{block[3]}"
    if block := re.fullmatch(r"blocks\.(\d)\.(\d)\.(\w+)\.(\w+)", name):
        stage = int(block[1])
        number = sum(repeats for repeats, *_ in _STAGES[:stage]) + int(block[2])
        layers = _TIMM_FIRST if stage == 0 else _TIMM_BLOCK
        return f"blocks.{number}.{layers.get(block[3], block[3])}.{block[4]}"
    layer, _, rest = name.partition(".")
    return f"{(_ORIGINAL | _TIMM).get(layer, layer)}.{rest}" if rest else name
