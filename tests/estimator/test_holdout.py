"""The inner validation split: by lesion, stratified, and never without a class in training."""

from __future__ import annotations

import numpy as np
import pytest

from skinclf._leakage import image_fingerprints
from skinclf.estimator._holdout import lesion_holdout


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_no_lesion_on_both_sides_and_every_class_on_each(rng, seed, fraction):
    lesion = rng.integers(0, 400, size=1000)
    y = rng.integers(0, 7, size=400)[lesion]

    train, validation = lesion_holdout(y, lesion, fraction, seed)

    assert not set(lesion[train]) & set(lesion[validation])
    assert sorted([*train, *validation]) == list(range(1000))
    for k in range(7):
        share = np.mean(y[validation] == k) * len(validation) / np.sum(y == k)
        assert share == pytest.approx(fraction, abs=0.04)


@pytest.mark.fault(47)
def test_a_class_of_one_lesion_stays_in_training():
    y = np.array([0, 0, 0, 1, 1, 1])
    lesion = np.array(["a", "a", "a", "b", "c", "d"], dtype=object)

    train, validation = lesion_holdout(y, lesion, 0.4, seed=0)

    assert {0, 1, 2} <= set(train)
    assert len(validation) == 1
    assert y[validation[0]] == 1


def test_two_lesions_a_class_give_one_each_however_small_the_fraction():
    train, validation = lesion_holdout(np.array([0, 0, 1, 1]), np.arange(4), 0.01, seed=0)

    assert len(train) == len(validation) == 2


def test_only_one_lesion_a_class_leaves_nothing_to_hold_out():
    _, validation = lesion_holdout(np.array([0, 0, 1, 1]), np.array([5, 5, 6, 6]), 0.5, seed=0)

    assert len(validation) == 0


def test_a_lesion_with_two_labels_is_not_torn_apart():
    y = np.array([0, 0, 1, 0, 0, 1, 1, 1])
    lesion = np.array([0, 0, 0, 1, 2, 3, 4, 5])

    train, validation = lesion_holdout(y, lesion, 0.5, seed=3)

    assert not set(lesion[train]) & set(lesion[validation])


def test_the_seed_decides_and_the_order_of_labels_does_not_matter(rng):
    lesion = rng.integers(0, 50, size=100)
    y = (lesion % 3).astype(np.intp)

    first, again, other = (lesion_holdout(y, lesion, 0.2, seed)[1] for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fingerprints_tell_images_apart_by_their_bytes(rng):
    images = rng.integers(0, 256, size=(20, 8, 8, 3), dtype=np.uint8)
    images[7] = images[3]
    almost = images.copy()
    almost[0, 0, 0, 0] ^= 1

    prints = image_fingerprints(images)

    assert len(np.unique(prints)) == 19
    assert prints[7] == prints[3]
    assert image_fingerprints(almost)[0] != prints[0]
    np.testing.assert_array_equal(image_fingerprints(np.asfortranarray(images)), prints)
