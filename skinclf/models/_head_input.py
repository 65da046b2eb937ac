"""Features for another model: a network up to its output layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skinclf._validation import ImageShape
from skinclf.models._probe import probe


class HeadInput(nn.Module):
    """Run a network, and return what goes into its output layer.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images, returns logits.
    head : str
        Name of its output layer.

    Examples
    --------
    >>> import torch
    >>> from skinclf.models import lesion_cnn
    >>> from skinclf.models._head_input import HeadInput
    >>> HeadInput(lesion_cnn((16, 16, 3), 7, width=8), "output").eval()(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 32])
    """

    def __init__(self, network: nn.Module, head: str) -> None:
        super().__init__()
        self.network = network
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) -> features (N, n_features)."""
        seen: list[Tensor] = []

        def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            seen[:] = inputs[:1]

        hook = self.network.get_submodule(self.head).register_forward_pre_hook(note)
        try:
            self.network(images)
        finally:
            hook.remove()
        features = seen[0]
        # A convolution as output layer stands before the average over the places, or after it.
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def find_head_input(network: nn.Module, image_shape: ImageShape, name: str) -> tuple[HeadInput, int]:
    """Find the output layer of a network, and how many features go into it.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images of this shape.
    image_shape : tuple of int (height, width, channels)
        Of the images.
    name : str
        Of the network, for the message.

    Returns
    -------
    HeadInput
        In evaluation mode; `network` itself is in it.
    int
        Number of features.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    head = probe(network, image_shape).head
    if head is None:
        raise ValueError(
            f"architecture={name} has no output layer that could be found: the last linear layer or convolution "
            "that runs must have an output for each class, and its input are the features. Pass a network that "
            "ends so, such as nn.Sequential(body, nn.Linear(n_features, n_classes))."
        )
    height, width, channels = image_shape
    module = HeadInput(network, head).eval()
    some = next(network.parameters(), torch.empty(0))
    with torch.no_grad():
        features = module(torch.zeros((1, channels, height, width), device=some.device))
    if features.ndim != 2:
        raise ValueError(
            f"The output layer {head!r} of architecture={name} is given an array of shape {tuple(features.shape)} "
            "for one image; features are one row for each image, (n_images, n_features). Flatten it, or take the "
            "mean over its places, before the output layer."
        )
    return module, int(features.shape[1])
