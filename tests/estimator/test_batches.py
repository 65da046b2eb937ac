"""Batches: every image once an epoch, no batch of one, augmentation per image and per epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skinclf.augmentation import LesionAugmenter
from skinclf.estimator._batches import (
    ImageDataset,
    OrderedBatches,
    ShuffledBatches,
    compute_logits,
    n_training_batches,
)
from skinclf.estimator._seeds import EpochDraws, FitSeeds


def shuffled(dataset, batch_size, augmenter=None, seed=0, value_range=(0.0, 1.0)):
    return ShuffledBatches(
        dataset,
        batch_size,
        draws=EpochDraws(FitSeeds.spawn(seed)),
        augmenter=augmenter,
        value_range=value_range,
        device="cpu",
    )


@pytest.fixture
def numbered():
    """Image i is filled with i."""
    return np.arange(33, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


@pytest.mark.fault(71)
@pytest.mark.parametrize(("n_images", "batch_size"), [(33, 8), (33, 32), (32, 8), (2, 64), (9, 4), (31, 10)])
def test_an_epoch_sees_every_image_once_and_no_batch_is_of_one(numbered, n_images, batch_size):
    batches = list(shuffled(ImageDataset(numbered[:n_images]), batch_size))

    seen = np.concatenate([inputs["images"][:, 0, 0, 0].numpy() for inputs, _ in batches])
    assert sorted(seen) == list(range(n_images))
    assert len(batches) == n_training_batches(n_images, batch_size)
    assert min(len(labels) for _, labels in batches) > 1
    assert max(len(labels) for _, labels in batches) <= batch_size + 1


def test_every_epoch_has_a_new_order_and_the_seed_repeats_all_of_them(numbered):
    def orders(seed):
        batches = shuffled(ImageDataset(numbered), 8, seed=seed)
        return [[int(v) for inputs, _ in batches for v in inputs["images"][:, 0, 0, 0]] for _ in range(2)]

    first, second = orders(1)
    assert first != second
    assert orders(1) == [first, second]
    assert orders(2) != [first, second]


def test_rows_labels_and_weights_stay_together(numbered):
    rows = np.array([4, 30, 7])
    dataset = ImageDataset(numbered, rows, y=np.arange(33) * 2, weight=np.arange(33) * 0.5)

    ((inputs, labels),) = OrderedBatches(dataset, 8)

    assert inputs["images"].shape == (3, 3, 8, 8)
    assert inputs["images"].dtype == torch.uint8
    np.testing.assert_array_equal(inputs["images"][:, 0, 0, 0], rows)
    np.testing.assert_array_equal(labels, rows * 2)
    np.testing.assert_array_equal(inputs["weight"], rows * 0.5)


def test_copies_of_an_image_are_augmented_differently_within_a_batch_and_between_epochs():
    image = np.random.default_rng(0).integers(0, 256, size=(1, 16, 16, 3), dtype=np.uint8)
    batches = shuffled(ImageDataset(np.repeat(image, 4, axis=0)), 4, LesionAugmenter())

    epochs = [next(iter(batches))[0]["images"] for _ in range(2)]

    views = torch.cat(epochs).flatten(1)
    assert len(torch.unique(views, dim=0)) == 8
    assert 0 <= float(views.min()) <= float(views.max()) <= 1


def test_standardised_floats_are_augmented_on_their_own_scale():
    images = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype(np.float32)
    low, high = float(images.min()), float(images.max())

    ((inputs, _),) = shuffled(ImageDataset(images), 8, LesionAugmenter(), value_range=(low, high))

    assert float(inputs["images"].min()) >= low - 1e-5
    assert float(inputs["images"].max()) <= high + 1e-5
    assert float(inputs["images"].std()) > 0.3


def test_a_read_only_memory_map_is_served(tmp_path, numbered):
    np.save(tmp_path / "images.npy", numbered)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")

    served = torch.cat([inputs["images"] for inputs, _ in OrderedBatches(ImageDataset(images), 8)])

    np.testing.assert_array_equal(served[:, 0, 0, 0], np.arange(33))


def test_logits_are_those_of_the_module_in_evaluation_in_the_order_of_the_rows(numbered):
    module = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).train()
    images = numbered.astype(np.float32) / 255

    logits = compute_logits(module, ImageDataset(images), 8, "cpu")

    assert logits.dtype == torch.float64
    assert not logits.requires_grad
    assert not module.training
    np.testing.assert_allclose(logits, np.repeat(np.arange(33)[:, None] / 255, 3, axis=1), rtol=1e-6)
