"""What else is known of a patient, beside the image: late fusion of metadata."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from skinclf.models._dropout import SeededDropout


class MetadataDropout(SeededDropout):
    """Forget all metadata of some images in training, so that the network also learns to do without them.

    Nothing is rescaled, unlike in other dropout: a row of zeros does not stand for an average, it means "unknown".

    Parameters
    ----------
    p : float
        Share of the images whose row becomes 0 in training.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(n_images, n_features) in and out; `x` itself in evaluation."""
        if not self.training or self.p == 0:
            return x
        is_kept = torch.rand((x.shape[0], 1), generator=self.generator) >= self.p
        return x * is_kept.to(x)


class FusedNetwork(nn.Module):
    """Add what a small perceptron makes of metadata to the logits of an image network.

    The two meet at the logits, so that any network will do: nobody needs to know where its features are, and its
    weights keep their names. It is also what the two kinds of knowledge ask for if they are independent given the
    class, as in naive Bayes: then log-probabilities add up. The perceptron's last layer begins with zeros: at the
    start the sum is the image network alone, and pretrained weights are not disturbed.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images, and returns logits ``(n_images, n_classes)``.
    n_features : int
        Width of a row of metadata.
    n_classes : int
        Number of classes.
    hidden : int, default=32
        Width of the perceptron's hidden layer.
    dropout : float, default=0.2
        Share of the images whose metadata are forgotten as a whole in training, in [0, 1).
    generator : torch.Generator, optional
        A CPU generator that the perceptron's weights are drawn from; None draws from torch's global one.

    Raises
    ------
    ValueError
        If a width is below 1, or `dropout` is out of range.

    References
    ----------
    Neverova et al., "ModDrop: adaptive multi-modal gesture recognition", TPAMI 2016 (a kind of input that is left
    out as a whole in training). He et al., "Delving deep into rectifiers", ICCV 2015 (first weights).

    Examples
    --------
    >>> import torch
    >>> from skinclf.models import FusedNetwork, lesion_cnn
    >>> image_network = lesion_cnn((8, 8, 3), 2).eval()
    >>> network = FusedNetwork(image_network, n_features=5, n_classes=2).eval()
    >>> images, metadata = torch.rand(4, 3, 8, 8), torch.rand(4, 5)
    >>> torch.equal(network(images, metadata), image_network(images))  # before any training
    True
    """

    def __init__(
        self,
        network: nn.Module,
        n_features: int,
        n_classes: int,
        *,
        hidden: int = 32,
        dropout: float = 0.2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(n_features, n_classes, hidden) < 1:
            raise ValueError(
                f"n_features, n_classes and hidden must be at least 1; got {n_features}, {n_classes}, {hidden}."
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1); got {dropout!r}.")
        self.n_features = n_features
        self.network = network
        # Layers draw weights from the global generator when they are made; on the meta device they cannot.
        with torch.device("meta"):
            layers: dict[str, nn.Module] = {
                "dropout": MetadataDropout(dropout),
                "hidden": nn.Linear(n_features, hidden),
                "relu": nn.ReLU(),
                "output": nn.Linear(hidden, n_classes),
            }
        self.perceptron = nn.Sequential(OrderedDict(layers)).to_empty(device="cpu")
        self.reset_perceptron(generator)

    def reset_perceptron(self, generator: torch.Generator | None = None) -> None:
        """Begin anew: first layer as He et al. (2015), everything else 0.

        Parameters
        ----------
        generator : torch.Generator, optional
            A CPU generator; None draws from torch's global one.
        """
        for parameter in self.perceptron.parameters():
            nn.init.zeros_(parameter)
        first = self.perceptron.get_parameter("hidden.weight")
        nn.init.normal_(first, 0.0, math.sqrt(2 / self.n_features), generator=generator)

    def forward(self, images: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Return logits.

        Parameters
        ----------
        images : Tensor of float32, shape (n_images, channels, height, width)
            As the image network takes them.
        metadata : Tensor of float32, shape (n_images, n_features), optional
            A row of zeros, or None for all, where nothing is known.

        Returns
        -------
        Tensor, shape (n_images, n_classes)
            Of unknown metadata the image network's logits plus a constant for each class.
        """
        if metadata is None:
            metadata = torch.zeros((images.shape[0], self.n_features), device=images.device)
        # The perceptron runs first: who looks for the layer that runs last finds that of the image network.
        offsets = self.perceptron(metadata)  # (n_images, n_classes)
        logits: Tensor = self.network(images) + offsets
        return logits
