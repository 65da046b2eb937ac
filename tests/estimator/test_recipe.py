"""The two recipes at work: what "auto" stands for, head before body, lower rates below, averaged weights."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skinclf import LesionCNNClassifier
from skinclf.evaluation import cross_validate
from tests.support.fitted_bits import bits

Quick = functools.partial(
    LesionCNNClassifier, architecture_params={"width": 8, "depth": 2}, batch_size=32, random_state=0
)
FINE_TUNING = {"lr": 0.01, "max_epochs": 3, "head_epochs": 1, "layer_decay": 0.5}


@pytest.fixture(scope="module")
def start(lesions, tmp_path_factory):
    """A file of weights to begin with, and the classifier that it is from."""
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    classifier = Quick(max_epochs=3).fit(lesions.images, lesions.target)
    classifier.save(path)
    return path, classifier


def weights_of(classifier):
    return {name: value.clone() for name, value in classifier.net_.module_.network.state_dict().items()}


def changed(one, other):
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_auto_is_one_recipe_from_scratch_and_another_for_fine_tuning(lesions, start):
    scratch = LesionCNNClassifier(architecture_params={"width": 4, "depth": 1}, max_epochs=1, random_state=0)
    scratch.fit(lesions.images, lesions.target)
    assert scratch.recipe_ == {
        "image_size": 64, "lr": 0.002, "head_epochs": 0, "layer_decay": 1.0, "augmentation": "standard",
        "tta": False,
    }  # fmt: skip
    tuned = Quick(weights=start[0], max_epochs=2).fit(lesions.images, lesions.target)
    assert tuned.recipe_["head_epochs"] == 1
    assert tuned.recipe_["lr"] < 0.002
    assert tuned.recipe_["augmentation"] == "strong"
    assert tuned.get_params()["lr"] == "auto"  # what the user set stays as it is


def test_a_single_epoch_is_not_spent_on_the_head_alone(lesions, start):
    classifier = Quick(weights=start[0], max_epochs=1).fit(lesions.images, lesions.target)
    assert classifier.recipe_["head_epochs"] == 0
    assert "stem.weight" in changed(weights_of(start[1]), weights_of(classifier))


def test_files_are_read_in_the_size_of_the_recipe(lesions, lesion_files, start):
    for weights, side in ((None, 64), (start[0], 128)):
        classifier = Quick(weights=weights, max_epochs=1).fit(lesion_files[:30], lesions.target[:30])
        assert classifier.image_shape_ == (side, side, 3)
    assert Quick(image_size=16, max_epochs=1).fit(lesion_files[:30], lesions.target[:30]).image_shape_[0] == 16


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", "high"), ("lr", 0), ("max_epochs", "many"), ("image_size", 4), ("head_epochs", -1), ("layer_decay", 0),
     ("layer_decay", 1.5), ("ema_decay", 1.0), ("ema_decay", "auto"), ("tta", 8)],
)  # fmt: skip
def test_wrong_values_are_named(lesions, name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter.*Got {value!r}"):
        Quick(**{name: value}).fit(lesions.images, lesions.target)


def test_in_the_first_epochs_nothing_but_the_head_changes(lesions, start):
    """Neither the weights of the body, nor the statistics of its norms, which a running network would change."""
    classifier = Quick(weights=start[0], max_epochs=2, head_epochs=2).fit(lesions.images, lesions.target)
    assert changed(weights_of(start[1]), weights_of(classifier)) == {"output.weight", "output.bias"}
    assert all(parameter.requires_grad for parameter in classifier.net_.module_.parameters())
    longer = Quick(weights=start[0], max_epochs=3, head_epochs=2).fit(lesions.images, lesions.target)
    assert any("running_mean" in name for name in changed(weights_of(start[1]), weights_of(longer)))


class Rates(Callback):
    """The learning rates of all parameters in the middle of the training."""

    seen: dict[str, float] = {}  # noqa: RUF012

    def on_epoch_begin(self, net, **kwargs):
        names = {id(parameter): name for name, parameter in net.module_.network.named_parameters()}
        for group in net.optimizer_.param_groups:
            for parameter in group["params"]:
                Rates.seen[names[id(parameter)]] = (group["lr"], group["weight_decay"])


def test_rates_fall_from_the_head_and_only_matrices_decay(lesions, start):
    Quick(weights=start[0], **FINE_TUNING, lr_schedule=None, callbacks=[Rates()]).fit(
        lesions.images, lesions.target
    )
    assert Rates.seen["output.weight"] == (0.01, 0.05)
    assert Rates.seen["output.bias"] == (0.01, 0.0)
    assert Rates.seen["stem.weight"] == (pytest.approx(0.01 * 0.5**3), 0.05)
    assert sorted({rate for rate, _ in Rates.seen.values()}) == pytest.approx([0.00125, 0.0025, 0.005, 0.01])


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "plateau"])
def test_every_schedule_keeps_the_proportions_of_the_rates(lesions, start, schedule):
    params = {**FINE_TUNING, "max_epochs": 6}
    classifier = Quick(weights=start[0], **params, lr_schedule=schedule, callbacks=[Rates()])
    classifier.fit(lesions.images, lesions.target)
    head, stem = Rates.seen["output.weight"][0], Rates.seen["stem.weight"][0]
    assert head / stem == pytest.approx(8, rel=0.01)
    assert classifier.history_["lr"].max() <= 0.01 + 1e-12
    assert classifier.history_["lr"].iloc[-1] == pytest.approx(head)  # the history has the rate of the head


def test_a_network_without_an_output_layer_that_can_be_found_is_trained_as_a_whole(lesions):
    def doubled(image_shape, n_classes):
        class Doubled(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.twice = torch.nn.Linear(int(np.prod(image_shape)), 2 * n_classes)

            def forward(self, images):
                return self.twice(images.flatten(1)).unflatten(1, (n_classes, 2)).sum(dim=2)

        return Doubled()

    classifier = Quick(doubled, architecture_params=None, **FINE_TUNING).fit(lesions.images, lesions.target)
    assert classifier.n_epochs_ == 3


def test_an_average_that_keeps_nothing_is_the_last_weights_bit_for_bit(lesions):
    fits = [Quick(max_epochs=2, ema_decay=decay).fit(lesions.images, lesions.target) for decay in (0.0, None)]
    assert bits(fits[0], lesions.images) == bits(fits[1], lesions.images)


class Steps(Callback):
    """All weights after every training step, and those that are validated."""

    def on_train_begin(self, net, **kwargs):
        Steps.own, Steps.validated = [], []

    def on_batch_end(self, net, training=False, **kwargs):
        (Steps.own if training else Steps.validated).append(weights_of_module(net.module_))


def weights_of_module(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("early_stopping", [True, False])
def test_what_is_validated_and_kept_is_the_average_and_what_is_trained_is_not(lesions, early_stopping):
    """The average is computed here once more, from the weights after every step; a fit without it has the same."""
    callback = ("steps", Steps())
    classifier = Quick(
        max_epochs=3, ema_decay=0.8, early_stopping=early_stopping, callbacks=[callback], patience=9
    )
    classifier.fit(lesions.images, lesions.target)
    averaged, validated = Steps.own, Steps.validated
    Quick(max_epochs=3, ema_decay=None, early_stopping=early_stopping, callbacks=[callback], patience=9).fit(
        lesions.images, lesions.target
    )
    name = "network.output.weight"
    assert all(torch.equal(one[name], other[name]) for one, other in zip(averaged, Steps.own, strict=True))

    steps = len(averaged) // 3
    expected, after_epochs = first_average(classifier, averaged, name), []
    for number, own in enumerate(averaged, start=1):
        kept = min(0.8, (1 + number) / (10 + number))
        expected = kept * expected + (1 - kept) * own[name]
        if number % steps == 0:
            after_epochs.append(expected)
    kept_weights = classifier.net_.module_.state_dict()[name]
    torch.testing.assert_close(kept_weights, after_epochs[classifier.best_epoch_ - 1], rtol=1e-4, atol=1e-6)
    if early_stopping:
        seen = validated[:: len(validated) // 3]
        for one, other in zip(seen, after_epochs, strict=True):
            torch.testing.assert_close(one[name], other, rtol=1e-4, atol=1e-6)


def first_average(classifier, own, name):
    """The weights before the first step: those of the same network, untrained."""
    from skinclf.estimator._net import build_network
    from skinclf.estimator._seeds import FitSeeds

    network = build_network(classifier, FitSeeds.spawn(0)).network
    return network.state_dict()[name.removeprefix("network.")].clone()


class StopAfter(Callback):
    """Break a run off at the beginning of an epoch, once."""

    armed = False

    def on_epoch_begin(self, net, **kwargs):
        if StopAfter.armed and net.history[-1, "epoch"] == 3:
            StopAfter.armed = False
            raise OSError("the power failed")


@pytest.mark.parametrize("head_epochs", [1, 3], ids=["in the body's epochs", "in the head's epochs"])
def test_a_fine_tuning_that_was_cut_off_ends_with_the_same_bits(lesions, start, tmp_path, head_epochs):
    params = {**FINE_TUNING, "max_epochs": 5, "head_epochs": head_epochs, "weights": start[0]}
    whole = Quick(**params, callbacks=[StopAfter()]).fit(lesions.images, lesions.target)
    resumed = Quick(**params, callbacks=[StopAfter()], checkpoint_dir=tmp_path)
    StopAfter.armed = True
    with pytest.raises(OSError, match="power"):
        resumed.fit(lesions.images, lesions.target)
    resumed.fit(lesions.images, lesions.target)
    assert bits(resumed, lesions.images) == bits(whole, lesions.images)


def test_partial_fit_trains_all_layers_at_rates_that_stay(lesions, start):
    classifier = Quick(weights=start[0], **FINE_TUNING, callbacks=[Rates()])
    for _ in range(2):
        classifier.partial_fit(lesions.images, lesions.target, classes=np.unique(lesions.target))
        assert Rates.seen["output.weight"][0] == 0.01
        assert Rates.seen["stem.weight"][0] == pytest.approx(0.00125)
    assert "stem.weight" in changed(weights_of(start[1]), weights_of(classifier))


def test_a_warm_start_does_not_begin_with_the_head_again(lesions, start):
    classifier = Quick(weights=start[0], **FINE_TUNING, warm_start=True).fit(lesions.images, lesions.target)
    before = weights_of(classifier)
    classifier.set_params(max_epochs=1, head_epochs=1).fit(lesions.images, lesions.target)
    assert "stem.weight" in changed(before, weights_of(classifier))


def test_the_recipe_is_part_of_a_cross_validation_by_lesion(lesions, lesion_files, start):
    classifier = Quick(weights=start[0], image_size=16, **FINE_TUNING)
    result = cross_validate(classifier, lesion_files, lesions.target, cv=2)
    assert [estimator.recipe_ for estimator in result.estimators] == 2 * [{"augmentation": "strong", "tta": True}]
    np.testing.assert_allclose(result.y_proba.sum(axis=1), 1)
