"""Batches for skorch: uint8 until the batch, augmented and moved to the device as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from skinclf.augmentation import BatchMixer, LesionAugmenter
from skinclf.augmentation._mixing import mix_images, mix_targets
from skinclf.augmentation._sampling import epoch_rows
from skinclf.estimator._seeds import EpochDraws
from skinclf.preprocessing._file_images import FileImages

Batch = tuple[dict[str, Tensor], Tensor]


class ImageDataset(Dataset[Any]):
    """Some rows of an array of images, with class numbers and weights; nothing is copied.

    Parameters
    ----------
    images : ndarray, ImageRows or FileImages, shape (n, height, width, channels)
        uint8 or float.
    rows : ndarray of int, optional
        Which of the n images belong to the set, in this order; all by default.
    y : ndarray of int, shape (n,), optional
        Class numbers; 0 by default, where only predictions are wanted.
    weight : ndarray of float, shape (n,), optional
        A weight for each image.
    metadata : ndarray of float32, shape (n, n_features), optional
        What else is known of each image.
    """

    def __init__(
        self,
        images: Any,
        rows: NDArray[np.intp] | None = None,
        y: NDArray[np.intp] | None = None,
        weight: NDArray[np.floating[Any]] | None = None,
        metadata: NDArray[np.float32] | None = None,
    ) -> None:
        self.images = images
        self.rows = np.arange(len(images)) if rows is None else rows
        self.labels = np.zeros(len(images), dtype=np.intp) if y is None else y
        self.weight = weight
        self.metadata = metadata

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        """Return one image as a batch of one."""
        return self.batch(np.array([index]))

    def batch(self, positions: NDArray[np.intp]) -> Batch:
        """Return images ``(n, channels, height, width)`` in their own dtype with all that is known of them."""
        (batch,) = self.batches([positions])
        return batch

    def batches(self, positions: Iterable[NDArray[np.intp]]) -> Iterator[Batch]:
        """Yield one batch after the other; from files, the next ones are decoded meanwhile."""
        rows = [self.rows[part] for part in positions]
        read = (
            self.images.read(rows) if isinstance(self.images, FileImages) else (self.images[part] for part in rows)
        )
        for part, pixels in zip(rows, read, strict=True):
            yield self._as_tensors(part, pixels)

    def _as_tensors(self, rows: NDArray[np.intp], pixels: NDArray[Any]) -> Batch:
        if pixels.dtype == np.float64:
            pixels = pixels.astype(np.float32)
        inputs = {"images": torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)}
        if self.weight is not None:
            inputs["weight"] = torch.from_numpy(self.weight[rows].astype(np.float32))
        if self.metadata is not None:
            inputs["metadata"] = torch.from_numpy(self.metadata[rows])
        return inputs, torch.from_numpy(self.labels[rows].astype(np.int64))


@dataclass(frozen=True)
class FitData:
    """The images of one fit, and what each of them is for.

    Attributes
    ----------
    images : ndarray, shape (n, height, width, channels)
        Of all rows of ``X``.
    labels : ndarray of int, shape (n,)
        Class numbers.
    weight : ndarray of float64, shape (n,)
        Of each image in the loss.
    training, validation : ndarray of int
        Disjoint row numbers; `validation` may be empty.
    metadata : ndarray of float32, shape (n, n_features), or None
        What else is known of each image.
    """

    images: Any
    labels: NDArray[np.intp]
    weight: NDArray[np.float64]
    training: NDArray[np.intp]
    validation: NDArray[np.intp]
    metadata: NDArray[np.float32] | None = None

    @property
    def training_set(self) -> ImageDataset:
        """What the network is trained on."""
        return ImageDataset(self.images, self.training, self.labels, self.weight, self.metadata)

    @property
    def validation_set(self) -> ImageDataset | None:
        """What early stopping looks at; None if nothing was put aside."""
        if len(self.validation) == 0:
            return None
        return ImageDataset(self.images, self.validation, self.labels, self.weight, self.metadata)


class OrderedBatches:
    """Batches in the order of the rows, for validation and prediction.

    Parameters
    ----------
    dataset : ImageDataset
        Where the batches come from.
    batch_size : int
        Images in a batch; the last one may be smaller.
    """

    def __init__(self, dataset: ImageDataset, batch_size: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        starts = range(0, len(self.dataset), self.batch_size)
        yield from self.dataset.batches(
            [np.arange(start, min(start + self.batch_size, len(self.dataset))) for start in starts]
        )


def compute_logits(module: torch.nn.Module, dataset: ImageDataset, batch_size: int, device: str) -> Tensor:
    """Run a network over images as skorch does, without what skorch does beside that for every batch.

    Parameters
    ----------
    module : torch.nn.Module
        Takes images, and metadata where the dataset has them; is left in evaluation mode.
    dataset : ImageDataset
        The images.
    batch_size : int
        Images in a batch.
    device : str
        Where the module is.

    Returns
    -------
    Tensor of float64, shape (n_images, n_classes)
        On the CPU, without gradients.
    """
    module.eval()
    with torch.no_grad():
        batches = (inputs for inputs, _ in OrderedBatches(dataset, batch_size))
        return torch.cat([_logits(module, inputs, device) for inputs in batches])


def _logits(module: torch.nn.Module, inputs: dict[str, Tensor], device: str) -> Tensor:
    known = {name: inputs[name].to(device) for name in ("metadata",) if name in inputs}
    logits: Tensor = module(inputs["images"].to(device), **known).cpu().double()
    return logits


class ShuffledBatches:
    """Batches in a new random order every epoch, augmented; for training.

    Parameters
    ----------
    dataset : ImageDataset
        Where the batches come from.
    batch_size : int
        Images in a batch. A last batch of one would break batch normalisation, so it joins the one before.
    draws : EpochDraws
        The generators of the order, of the augmentation and of the mixing, each apart from the others.
    augmenter : LesionAugmenter or None
        What is drawn for each image.
    value_range : tuple of float (low, high)
        Of the training images; augmentation works on values that are mapped from here to 0–1.
    device : str
        Where the images are augmented and mixed.
    sampler : "balanced", "sqrt" or None
        Which rows an epoch has, as `LesionCNNClassifier` says.
    mixer : BatchMixer or None
        What mixes the augmented images of a batch.
    n_classes : int
        For the targets of mixed images.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        *,
        draws: EpochDraws,
        augmenter: LesionAugmenter | None,
        value_range: tuple[float, float],
        device: str,
        sampler: str | None = None,
        mixer: BatchMixer | None = None,
        n_classes: int = 0,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.mixer = mixer
        self.n_classes = n_classes
        self.augmenter = augmenter
        self.value_range = value_range
        self.device = device
        self.draws = draws

    def __len__(self) -> int:
        return n_training_batches(len(self.dataset), self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        n_images = len(self.dataset)
        order = epoch_rows(self.dataset.labels[self.dataset.rows], self.sampler, self.draws.order)
        starts = [i * self.batch_size for i in range(len(self))]
        stops = [*starts[1:], n_images]
        parts = [order[start:stop] for start, stop in zip(starts, stops, strict=True)]
        for inputs, labels in self.dataset.batches(parts):
            if self.augmenter is not None:
                inputs["images"] = self._augment(inputs["images"].to(self.device), self.augmenter)
            yield (inputs, labels) if self.mixer is None else self._mix(inputs, labels, self.mixer)

    def _mix(self, inputs: dict[str, Tensor], labels: Tensor, mixer: BatchMixer) -> Batch:
        images, metadata = inputs["images"].to(self.device), inputs.get("metadata")
        n_images, channels, height, width = images.shape
        drawn = mixer.draw(n_images, (height, width, channels), self.draws.mixing)
        targets, weight = mix_targets(labels, inputs.get("weight"), drawn, n_classes=self.n_classes)
        mixed = {"images": mix_images(images, drawn)}
        if weight is not None:
            mixed["weight"] = weight
        if metadata is not None:  # in the shares of the images that they belong to
            mixed["metadata"] = torch.lerp(metadata, metadata[drawn.partner], 1 - drawn.share)
        return mixed, targets

    def _augment(self, images: Tensor, augmenter: LesionAugmenter) -> Tensor:
        low, high = self.value_range
        if images.dtype == torch.uint8 or (low, high) == (0.0, 1.0):
            return augmenter.augment(images, self.draws.augmentation)
        return augmenter.augment((images - low) / (high - low), self.draws.augmentation) * (high - low) + low


def n_training_batches(n_images: int, batch_size: int) -> int:
    """Return the number of batches of an epoch, where a last batch of one joins the one before."""
    n_batches = -(-n_images // batch_size)
    return n_batches - 1 if n_batches > 1 and n_images % batch_size == 1 else n_batches
