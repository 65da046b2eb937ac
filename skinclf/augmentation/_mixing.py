"""Mixup and CutMix: every image of a batch blended with another one, and its target with the other's target."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skinclf._validation import ImageShape


class MixDraw(NamedTuple):
    """How the images of one batch are mixed.

    Attributes
    ----------
    partner : Tensor of int64, shape (n_images,)
        A permutation: which image each one is mixed with, perhaps itself.
    share : float
        What is left of each image, in 0–1: its weight in the blend, or the part of its area outside the box.
    box : tuple of int (left, top, right, bottom) or None
        In pixels, what comes from the partner; None where the two are blended everywhere.
    """

    partner: Tensor
    share: float
    box: tuple[int, int, int, int] | None


@dataclass
class BatchMixer:
    """Mix the images of a training batch in pairs, with targets to match: mixup and CutMix.

    Mixup blends each image with another one of its batch; CutMix pastes a box of the other one into it. The target
    becomes a distribution over the classes: that of the image itself has the share of the image that is left, that
    of its partner the rest. One share and one box are drawn for a batch, as in the papers; where both are on, each
    batch gets one of them, by the toss of a coin.

    Only a loss that takes soft targets can use it, such as `skinclf.models.WeightedCrossEntropy`; so it is for the
    training of networks, and no transformer of a pipeline. In `LesionCNNClassifier` (``mixer=``) a search reaches
    its parameters as ``mixer__mixup`` and ``mixer__cutmix``.

    Attributes
    ----------
    mixup : float
        Parameter alpha of mixup: the share is drawn from Beta(alpha, alpha). 0, the default, is off; 0.2 leaves
        most images nearly as they are, 1 draws all shares alike often.
    cutmix : float
        The same for CutMix, where the paper takes 1. 0, the default, is off.

    References
    ----------
    Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.
    Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", ICCV 2019.

    Examples
    --------
    >>> import torch
    >>> from skinclf.augmentation import BatchMixer
    >>> images, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    >>> mixer = BatchMixer(mixup=0.4, cutmix=1.0)
    >>> generator = torch.Generator().manual_seed(0)
    >>> mixed, targets, _ = mixer.mix(images, labels, n_classes=3, generator=generator)
    >>> mixed.shape == images.shape, targets.shape
    (True, torch.Size([4, 3]))
    >>> bool(torch.allclose(targets.sum(dim=1), torch.ones(4)))
    True
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            value: Any = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float | np.number)
                or not 0 <= value < math.inf
            ):
                raise ValueError(
                    f"{name} of BatchMixer must be a number of 0 (off) or more, the parameter of a beta "
                    f"distribution; got {value!r}."
                )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, as scikit-learn asks for them.

        Parameters
        ----------
        deep : bool, default=True
            No parameter has parameters of its own: the result is the same.

        Returns
        -------
        dict
            ``mixup`` and ``cutmix``.
        """
        return asdict(self)

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, as scikit-learn does.

        Parameters
        ----------
        **params : dict
            New values; on an error all stay as they were.

        Returns
        -------
        BatchMixer
            The same object.

        Raises
        ------
        ValueError
            If there is no such parameter, or a value is out of range.
        """
        unknown = sorted(set(params) - set(self.get_params()))
        if unknown:
            raise ValueError(f"BatchMixer has no parameters {unknown}; it has mixup and cutmix.")
        vars(self).update(vars(replace(self, **params)))
        return self

    def draw(self, n_images: int, image_shape: ImageShape, generator: torch.Generator) -> MixDraw:
        """Draw how a batch is mixed.

        Parameters
        ----------
        n_images : int
            Size of the batch.
        image_shape : tuple of int
            ``(height, width, channels)``.
        generator : torch.Generator
            A CPU generator. Every batch takes one draw, whatever its size and the parameters.

        Returns
        -------
        MixDraw
            What `mix_images` and `mix_targets` do to a batch of this size.
        """
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        rng = np.random.default_rng(seed)  # torch's beta distribution takes no generator
        coin, x, y = rng.random(3)
        partner = torch.from_numpy(rng.permutation(n_images))
        cuts = self.cutmix > 0 and (self.mixup == 0 or coin < 0.5)
        alpha = self.cutmix if cuts else self.mixup
        share = float(rng.beta(alpha, alpha)) if alpha > 0 else 1.0
        if not cuts:
            return MixDraw(partner, share, None)
        height, width = image_shape[:2]
        box = _cut_box(share, (x, y), height, width)
        left, top, right, bottom = box
        return MixDraw(partner, 1 - (right - left) * (bottom - top) / (height * width), box)

    def mix(
        self,
        images: Tensor,
        labels: Tensor,
        weight: Tensor | None = None,
        *,
        n_classes: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Draw and apply in one go.

        Parameters
        ----------
        images : Tensor of uint8 or float, shape (n_images, channels, height, width)
            uint8 in 0–255 or float on any scale, on any device.
        labels : Tensor of int64, shape (n_images,), or of float, shape (n_images, n_classes)
            Class numbers or distributions over the classes.
        weight : Tensor of float, shape (n_images,), optional
            Non-negative, of each image in the loss.
        n_classes : int
            Number of classes.
        generator : torch.Generator
            A CPU generator.

        Returns
        -------
        images : Tensor of float, of the shape of `images`
            Mixed; those that were uint8 are on the scale 0–1.
        targets : Tensor of float32, shape (n_images, n_classes)
            Distributions over the classes.
        weight : Tensor of float, shape (n_images,), or None
            Of each mixed image; None where none was given.
        """
        n_images, channels, height, width = images.shape
        drawn = self.draw(n_images, (height, width, channels), generator)
        targets, weight = mix_targets(labels, weight, drawn, n_classes=n_classes)
        return mix_images(images, drawn), targets, weight


def _cut_box(share: float, centre: tuple[float, float], height: int, width: int) -> tuple[int, int, int, int]:
    """Return a box of the image's proportions around a point of it, cut off at its edges (Yun et al., eq. 2)."""
    side = math.sqrt(1 - share)
    x, y = centre[0] * width, centre[1] * height
    left, right = (round(x + sign * side * width / 2) for sign in (-1, 1))
    top, bottom = (round(y + sign * side * height / 2) for sign in (-1, 1))
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def mix_images(images: Tensor, draw: MixDraw) -> Tensor:
    """Blend each image with its partner, or paste a box of the partner into it.

    Parameters
    ----------
    images : Tensor of uint8 or float, shape (n_images, channels, height, width)
        uint8 in 0–255 or float on any scale, on any device.
    draw : MixDraw
        As from `BatchMixer.draw`.

    Returns
    -------
    Tensor of float, of the shape of `images`
        Images that were uint8 are float32 in 0–1; with a share of 1 no value changes.
    """
    values = images.float() / 255 if images.dtype == torch.uint8 else images
    if draw.share == 1:
        return values
    partner = draw.partner.to(images.device)
    if draw.box is None:
        return torch.lerp(values, values[partner], 1 - draw.share)
    left, top, right, bottom = draw.box
    mixed = values.clone()
    mixed[:, :, top:bottom, left:right] = values[partner, :, top:bottom, left:right]
    return mixed


def mix_targets(
    labels: Tensor, weight: Tensor | None, draw: MixDraw, *, n_classes: int
) -> tuple[Tensor, Tensor | None]:
    """Return the targets and the weights of mixed images.

    The weighted cross-entropy of a mixed image is the sum of those that its logits have with the two targets, each
    times its share and the weight of the image that it came from. So the target of an image of weight 0 never
    counts, and the weights of a batch keep their sum.

    Parameters
    ----------
    labels : Tensor of int64, shape (n_images,), or of float, shape (n_images, n_classes)
        Class numbers or distributions over the classes.
    weight : Tensor of float, shape (n_images,), or None
        Non-negative, of each image in the loss.
    draw : MixDraw
        As from `BatchMixer.draw`.
    n_classes : int
        Number of classes.

    Returns
    -------
    targets : Tensor of float32, shape (n_images, n_classes)
        Distributions over the classes.
    weight : Tensor of float, shape (n_images,), or None
        Of each mixed image.
    """
    targets = (functional.one_hot(labels, n_classes) if labels.ndim == 1 else labels).float()
    partner = draw.partner.to(labels.device)
    if weight is None:
        return torch.lerp(targets, targets[partner], 1 - draw.share), None
    own, others = draw.share * weight, (1 - draw.share) * weight[partner]
    mixed_weight = own + others
    # Where neither image counts, any target will do.
    part = torch.where(mixed_weight > 0, others / mixed_weight, 0.0)[:, None]
    return torch.lerp(targets, targets[partner], part.to(targets)), mixed_weight
