"""`warm_start` and `partial_fit`: training that goes on from what is there."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import balanced_accuracy_score

from skinclf import LesionCNNClassifier

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=2, batch_size=32, architecture_params={"width": 8, "depth": 1}, random_state=0
)


def weights_of(classifier):
    digest = hashlib.sha256()
    for value in classifier.net_.module_.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def test_a_warm_start_goes_on_with_weights_history_and_validation_split(lesions):
    classifier = Quick(warm_start=True, validation_fraction=0.3)
    classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
    first, rows = classifier.history_, classifier.validation_indices_

    classifier.fit(lesions.images, lesions.target, groups=lesions.groups)

    assert classifier.history_["epoch"].tolist() == [1, 2, 3, 4]
    assert classifier.n_epochs_ == 4
    assert classifier.history_.iloc[:2].equals(first)
    assert classifier.history_["train_loss"].iloc[2] < first["train_loss"].iloc[0]
    np.testing.assert_array_equal(classifier.validation_indices_, rows)


def test_images_that_were_put_aside_stay_aside_without_a_random_state(lesions):
    classifier = Quick(warm_start=True, random_state=None)
    first = classifier.fit(lesions.images, lesions.target, groups=lesions.groups).validation_indices_
    second = classifier.fit(lesions.images, lesions.target, groups=lesions.groups).validation_indices_
    np.testing.assert_array_equal(first, second)


def test_without_warm_start_a_second_fit_begins_anew(lesions):
    classifier = Quick().fit(lesions.images, lesions.target)
    first = weights_of(classifier)
    assert weights_of(classifier.fit(lesions.images, lesions.target)) == first
    assert classifier.n_epochs_ == 2


def test_the_first_fit_of_a_warm_start_is_an_ordinary_one(lesions):
    cold = Quick().fit(lesions.images, lesions.target)
    warm = Quick(warm_start=True).fit(lesions.images, lesions.target)
    assert weights_of(cold) == weights_of(warm)


def test_a_warm_start_draws_what_was_not_drawn_before(lesions):
    classifier = Quick(warm_start=True, early_stopping=False, lr=1e-9, lr_schedule=None, class_weight=None)
    classifier.fit(lesions.images, lesions.target)
    classifier.fit(lesions.images, lesions.target)
    # At this rate the weights stand still, so that equal losses would mean equal draws.
    assert classifier.history_["train_loss"].nunique() == 4


def test_a_warm_start_with_other_labels_or_sizes_is_refused_and_loses_nothing(lesions):
    classifier = Quick(warm_start=True).fit(lesions.images, lesions.target)
    before = classifier.predict_proba(lesions.images)

    with pytest.raises(ValueError, match=r"goes on with the labels \['akiec', .*now they are \['ben', 'mal'\]"):
        classifier.fit(lesions.images, np.where(lesions.target == "nv", "ben", "mal"))
    with pytest.raises(
        ValueError, match=r"fitted on images of shape \(16, 16, 3\); X has images of shape \(8, 8, 3\)"
    ):
        classifier.fit(lesions.images[:, ::2, ::2], lesions.target)

    np.testing.assert_array_equal(classifier.predict_proba(lesions.images), before)


def test_wrong_input_to_another_fit_loses_no_fitted_model(lesions):
    classifier = Quick().fit(lesions.images, lesions.target)
    before = classifier.predict_proba(lesions.images)
    for X, y in [
        (lesions.images[:, ::2, ::2], lesions.target[:5]),
        (lesions.images[..., :2], lesions.target),
        (lesions.images[:, :, :8], ["nv"] * 168),
    ]:
        with pytest.raises(ValueError, match=r"as many rows|channels|one class only"):
            classifier.fit(X, y)
        np.testing.assert_array_equal(classifier.predict_proba(lesions.images), before)


def test_partial_fit_learns_from_parts_and_goes_on_with_its_optimiser(lesions):
    classifier = Quick(lr=0.005, augmentation=None, architecture_params={"width": 16, "depth": 2})
    classes = np.unique(lesions.target)
    order = np.random.default_rng(0).permutation(168)
    for _ in range(12):
        for part in np.array_split(order, 3):
            classifier.partial_fit(lesions.images[part], lesions.target[part], classes)

    assert classifier.n_epochs_ == 36
    assert classifier.history_["epoch"].tolist() == list(range(1, 37))
    assert classifier.history_["lr"].nunique() == 1
    assert classifier.validation_indices_.size == 0
    steps = {int(state["step"]) for state in classifier.net_.optimizer_.state.values()}
    assert steps == {36 * 2}  # two batches a call: the optimiser was never made anew
    assert balanced_accuracy_score(lesions.target, classifier.predict(lesions.images)) > 0.6


def test_partial_fit_repeats_itself(lesions):
    def train():
        classifier = Quick()
        for part in (slice(None, None, 2), slice(1, None, 2)):
            classifier.partial_fit(lesions.images[part], lesions.target[part], np.unique(lesions.target))
        return weights_of(classifier)

    assert train() == train()


def test_partial_fit_after_fit_goes_on_at_the_rate_of_the_parameter(lesions):
    classifier = Quick(lr=0.004).fit(lesions.images, lesions.target)
    classifier.set_params(lr=0.001).partial_fit(lesions.images[:20], lesions.target[:20])
    assert classifier.history_["epoch"].tolist() == [1, 2, 3]
    assert classifier.history_["lr"].iloc[-1] == 0.001
    classifier.set_params(lr=0.0005).partial_fit(lesions.images[:20], lesions.target[:20])
    assert classifier.history_["lr"].iloc[-1] == 0.0005


@pytest.mark.filterwarnings("ignore:.* were in the training")  # and others were not
def test_a_part_may_lack_classes_and_the_columns_of_the_probabilities_stay(lesions):
    nevi = lesions.target == "nv"
    classifier = Quick().partial_fit(lesions.images[nevi], lesions.target[nevi], np.unique(lesions.target))
    assert classifier.classes_.tolist() == sorted(set(lesions.target))
    assert classifier.predict_proba(lesions.images).shape == (168, 7)


def test_what_partial_fit_refuses(lesions):
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        Quick().partial_fit(lesions.images, lesions.target)
    with pytest.raises(ValueError, match=r"y holds the labels \['vasc'\], and the classes are"):
        Quick().partial_fit(lesions.images, lesions.target, np.unique(lesions.target)[:-1])

    classifier = Quick().partial_fit(lesions.images, lesions.target, np.unique(lesions.target))
    before = weights_of(classifier)
    with pytest.raises(ValueError, match="goes on with the labels"):
        classifier.partial_fit(lesions.images, lesions.target, [*np.unique(lesions.target), "zzz"])
    with pytest.raises(ValueError, match=r"y holds the labels \['mole'\]"):
        classifier.partial_fit(lesions.images[:2], ["mole", "nv"])
    assert weights_of(classifier) == before


def test_a_clone_of_one_that_went_on_begins_anew(lesions):
    classifier = Quick().partial_fit(lesions.images, lesions.target, np.unique(lesions.target))
    with pytest.raises(NotFittedError):
        clone(classifier).predict(lesions.images)


def test_a_network_that_the_parameters_no_longer_describe_is_not_trained_further_or_saved(lesions, tmp_path):
    classifier = Quick(warm_start=True).fit(lesions.images, lesions.target)
    classifier.set_params(architecture_params={"width": 16, "depth": 1})

    with pytest.raises(
        ValueError, match=r"changed after the classifier was fitted.* Set them back to go on with it"
    ):
        classifier.fit(lesions.images, lesions.target)
    with pytest.raises(ValueError, match=r"changed after the classifier was fitted.* Set them back to save it"):
        classifier.save(tmp_path / "model")

    classifier.set_params(architecture_params={"width": 8, "depth": 1}).save(tmp_path / "model")
    assert LesionCNNClassifier.load(tmp_path / "model").fit(lesions.images, lesions.target).n_epochs_ == 4
