"""`sampler` and `mixer`: which images an epoch has, how much they weigh, and what is made of a batch."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from skinclf import LesionCNNClassifier
from skinclf.augmentation import BatchMixer, LesionAugmenter
from skinclf.estimator._batches import ImageDataset, ShuffledBatches
from skinclf.estimator._seeds import EpochDraws, FitSeeds
from skinclf.estimator._targets import image_weights
from skinclf.models import WeightedCrossEntropy

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=2, batch_size=32, architecture_params={"width": 8, "depth": 1}, random_state=0
)
LABELS = np.repeat([0, 1, 2], [60, 30, 6])


def epoch(sampler, mixer=None, weight=None, seed=0):
    """The batches of one epoch over images, of which each is filled with its row number."""
    images = np.arange(len(LABELS), dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    return list(
        ShuffledBatches(
            ImageDataset(images, y=LABELS, weight=weight),
            16,
            draws=EpochDraws(FitSeeds.spawn(seed)),
            augmenter=None,
            value_range=(0.0, 1.0),
            device="cpu",
            sampler=sampler,
            mixer=mixer,
            n_classes=3,
        )
    )


@pytest.mark.parametrize(
    ("sampler", "counts"), [(None, [60, 30, 6]), ("balanced", [32, 32, 32]), ("sqrt", [47, 34, 15])]
)
def test_how_often_the_classes_come_in_an_epoch(sampler, counts):
    batches = epoch(sampler)
    assert np.bincount(np.concatenate([labels for _, labels in batches])).tolist() == counts
    for inputs, labels in batches:  # image, label and row stay together
        np.testing.assert_array_equal(LABELS[inputs["images"][:, 0, 0, 0].numpy()], labels)


@pytest.mark.parametrize("class_weight", ["balanced", "sqrt", None, {0: 3.0}])
@pytest.mark.parametrize("sampler", [None, "sqrt", "balanced"])
def test_weights_have_the_mean_of_one_over_an_epoch(sampler, class_weight):
    weight = image_weights(
        LABELS, np.arange(96), classes=np.arange(3), class_weight=class_weight, sample_weight=None, sampler=sampler
    )
    drawn = np.concatenate([inputs["weight"] for inputs, _ in epoch(sampler, weight=weight)])
    assert drawn.mean() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("sampler", [None, "sqrt", "balanced"])
def test_balanced_weights_give_the_classes_the_same_total_over_an_epoch(sampler):
    weight = image_weights(
        LABELS, np.arange(96), classes=np.arange(3), class_weight="balanced", sample_weight=None, sampler=sampler
    )
    totals = np.zeros(3)
    for inputs, labels in epoch(sampler, weight=weight):
        np.add.at(totals, labels, inputs["weight"])
    np.testing.assert_allclose(totals, 32, rtol=1e-5)
    if sampler == "balanced":
        np.testing.assert_allclose(weight, 1)


@pytest.mark.parametrize(("sampler", "power"), [(None, 0.5), ("sqrt", 0.25), ("balanced", 0)])
def test_sqrt_weights_go_half_of_the_way_that_the_sampler_has_left(sampler, power):
    weight = image_weights(
        LABELS, np.arange(96), classes=np.arange(3), class_weight="sqrt", sample_weight=None, sampler=sampler
    )
    totals = np.zeros(3)
    for inputs, labels in epoch(sampler, weight=weight):
        np.add.at(totals, labels, inputs["weight"])
    wanted = np.bincount(LABELS) ** power
    np.testing.assert_allclose(totals / totals.sum(), wanted / wanted.sum(), rtol=0.06)


@pytest.mark.parametrize("sampler", ["sqrt", "balanced"])
def test_validation_images_weigh_the_classes_as_an_epoch_does(sampler):
    training = np.flatnonzero(np.arange(96) % 3 > 0)
    validation = np.flatnonzero(np.arange(96) % 3 == 0)  # with the mix of classes of the training images
    weight = image_weights(
        LABELS, training, classes=np.arange(3), class_weight=None, sample_weight=None, sampler=sampler
    )
    share = np.bincount(LABELS[validation], weight[validation]) / weight[validation].sum()
    wanted = {"balanced": np.full(3, 1 / 3), "sqrt": np.sqrt([60, 30, 6]) / np.sqrt([60, 30, 6]).sum()}
    np.testing.assert_allclose(share, wanted[sampler], atol=0.02)


def test_the_classifier_repeats_itself_with_a_sampler_and_differs_without(lesions):
    probabilities = [
        Quick(sampler=sampler).fit(lesions.images, lesions.target).predict_proba(lesions.images)
        for sampler in ("sqrt", "sqrt", None)
    ]
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    assert np.abs(probabilities[0] - probabilities[2]).max() > 0


def test_mixed_batches_have_targets_to_match():
    (inputs, targets), *_ = epoch(None, BatchMixer(mixup=1.0), weight=np.ones(96))
    assert inputs["images"].dtype == torch.float32
    assert targets.shape == (16, 3)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    assert 0 < float(targets.max(1).values.min()) < 1


def batches(**options):
    """Two epochs over 48 random images."""
    images = np.random.default_rng(0).integers(0, 256, (48, 16, 16, 3), dtype=np.uint8)
    dataset = ImageDataset(images, y=np.arange(48) % 3)
    draws = EpochDraws(FitSeeds.spawn(0))
    given = {"draws": draws, "augmenter": None, "value_range": (0.0, 1.0), "device": "cpu", "n_classes": 3}
    iterator = ShuffledBatches(dataset, 16, **(given | options))
    for number in (1, 2):
        draws.begin(number)
        yield from iterator


def test_mixing_leaves_the_augmentation_as_it_would_be_without():
    """A share of 1 mixes nothing: what is left is what the augmenter drew."""
    plain = list(batches(augmenter=LesionAugmenter()))
    mixed = list(batches(augmenter=LesionAugmenter(), mixer=BatchMixer()))

    assert len(plain) == len(mixed) == 6
    for (inputs, labels), (mixed_inputs, targets) in zip(plain, mixed, strict=True):
        assert torch.equal(inputs["images"], mixed_inputs["images"])
        assert torch.equal(labels, targets.argmax(dim=1))


def test_batches_are_mixed_anew_each_time():
    shares = [float(targets.max(dim=1).values.min()) for _, targets in batches(mixer=BatchMixer(mixup=1.0))]
    assert len(set(shares)) == len(shares) == 6


def test_images_that_are_only_mixed_are_mixed_on_the_device():
    for mixer in (BatchMixer(mixup=1.0), BatchMixer(cutmix=1.0)):
        assert {inputs["images"].device.type for inputs, _ in batches(mixer=mixer, device="meta")} == {"meta"}


def test_the_loss_of_a_mixed_target_is_the_mean_of_both(lesions):
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    one, other = torch.tensor([0, 1, 2, 3]), torch.tensor([3, 2, 1, 0])
    loss = WeightedCrossEntropy()
    mixed = 0.3 * torch.nn.functional.one_hot(one, 7) + 0.7 * torch.nn.functional.one_hot(other, 7)
    expected = 0.3 * loss(logits, one) + 0.7 * loss(logits, other)
    assert float(loss(logits, mixed.float())) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("mixer", [BatchMixer(mixup=0.4), BatchMixer(cutmix=1.0)], ids=["mixup", "cutmix"])
def test_a_classifier_that_mixes_learns_saves_and_resumes(lesions, tmp_path, mixer):
    classifier = Quick(mixer=mixer, checkpoint_dir=tmp_path / "runs")
    classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
    plain = Quick().fit(lesions.images, lesions.target, groups=lesions.groups)

    assert np.abs(classifier.predict_proba(lesions.images) - plain.predict_proba(lesions.images)).max() > 0
    classifier.save(tmp_path / "model.safetensors")
    again = LesionCNNClassifier.load(tmp_path / "model.safetensors")
    assert again.mixer == mixer
    np.testing.assert_array_equal(again.predict_proba(lesions.images), classifier.predict_proba(lesions.images))

    other = BatchMixer(mixup=mixer.mixup + 0.1, cutmix=mixer.cutmix)
    Quick(mixer=other, checkpoint_dir=tmp_path / "runs").fit(lesions.images, lesions.target, groups=lesions.groups)
    assert len(list((tmp_path / "runs").glob("*.safetensors"))) == 2


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sampler": "smote"}, "'sampler' parameter .* must be"),
        ({"mixer": "mixup"}, "'mixer' parameter .* must be"),
    ],
    ids=["sampler", "mixer"],
)
def test_wrong_values_are_named(lesions, params, message):
    with pytest.raises(ValueError, match=message):
        Quick(**params).fit(lesions.images, lesions.target)
