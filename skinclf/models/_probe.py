"""What a network takes and gives, found by running it once; its first and last layers made to fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skinclf._validation import ImageShape
from skinclf.models._weights import fit_channels

_N_IMAGES = 2
_MEMORY_SIGNS = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


@dataclass(frozen=True)
class Probe:
    """What two black images showed.

    Attributes
    ----------
    output : object or None
        What the network returned; None if it failed.
    stem : str or None
        Name of the convolution that ran first.
    head : str or None
        Name of the linear layer or convolution that ran last, if it has as many outputs as the network.
    error : Exception or None
        Why it failed.
    """

    output: Any
    stem: str | None
    head: str | None
    error: Exception | None

    @property
    def n_outputs(self) -> int | None:
        """Number of outputs, if the output is a tensor ``(n_images, n_outputs)``."""
        shape = tuple(self.output.shape) if isinstance(self.output, Tensor) else ()
        return shape[1] if len(shape) == 2 and shape[0] == _N_IMAGES else None


def probe(network: nn.Module, image_shape: ImageShape) -> Probe:
    """Run a network once, in evaluation and without gradients, and leave it as it was.

    Parameters
    ----------
    network : torch.nn.Module
        On any device.
    image_shape : tuple of int (height, width, channels)
        Of the images.

    Returns
    -------
    Probe
        What was seen.

    Raises
    ------
    MemoryError, RuntimeError
        If there is not enough memory. Other errors of the network are in the result.

    Examples
    --------
    >>> from skinclf.models import lesion_cnn
    >>> from skinclf.models._probe import probe
    >>> seen = probe(lesion_cnn((16, 16, 3), 7), (16, 16, 3))
    >>> seen.stem, seen.head, seen.n_outputs
    ('stem', 'output', 7)
    """
    stems: list[str] = []
    ends: list[tuple[str, int]] = []
    height, width, channels = image_shape
    some = next(network.parameters(), torch.empty(0))
    images = torch.zeros((_N_IMAGES, channels, height, width), device=some.device)
    images = images.contiguous(memory_format=torch.channels_last)
    output, error = None, None
    with _evaluating(network), _watched(network, stems, ends), torch.no_grad():
        try:
            output = network(images)
        except Exception as failure:
            if isinstance(failure, MemoryError) or any(sign in str(failure) for sign in _MEMORY_SIGNS):
                raise
            error = failure
    found = Probe(output, stems[0] if stems else None, None, error)
    if ends and ends[-1][1] == found.n_outputs:
        found = Probe(output, found.stem, ends[-1][0], error)
    return found


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _watched(network: nn.Module, stems: list[str], ends: list[tuple[str, int]]) -> Iterator[None]:
    """Note the convolutions that begin, and the linear layers and convolutions that end."""
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: stems.append(name)))
        if isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(
                module.register_forward_hook(lambda *seen, name=name: ends.append((name, seen[2].shape[1])))
            )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def replace_stem(network: nn.Module, name: str, channels: int) -> bool:
    """Let the first convolution take 1 channel instead of 3 or the other way round; see `fit_channels`.

    Returns
    -------
    bool
        False if it takes another number of channels, and stays as it is.
    """
    stem = network.get_submodule(name)
    if not isinstance(stem, nn.Conv2d) or stem.groups != 1 or {stem.in_channels, channels} != {1, 3}:
        return False
    weight = fit_channels(stem.weight.detach(), channels).contiguous(memory_format=torch.channels_last)
    stem.weight = nn.Parameter(weight, requires_grad=stem.weight.requires_grad)
    stem.in_channels = channels
    return True


def replace_head(network: nn.Module, name: str, n_classes: int) -> None:
    """Give the last layer `n_classes` outputs, with new trainable weights from torch's global generator."""
    head: Any = network.get_submodule(name)
    shape = (n_classes, *head.weight.shape[1:])
    head.weight = nn.Parameter(head.weight.new_empty(shape))
    if head.bias is not None:
        head.bias = nn.Parameter(head.bias.new_empty(n_classes))
    setattr(head, "out_channels" if isinstance(head, nn.Conv2d) else "out_features", n_classes)
    head.reset_parameters()
