"""What happens inside the run: skorch callbacks, interruption, NaN, progress."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler

from skinclf import LesionCNNClassifier
from skinclf.estimator._device import choose_precision
from skinclf.models import WeightedCrossEntropy

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=3, architecture_params={"width": 8, "depth": 2}, random_state=0
)


class Recorder(Callback):
    """Counts its calls in lists that live outside, since callbacks are copied for every fit."""

    calls: list[str] = []  # noqa: RUF012

    def on_train_begin(self, net, **kwargs):
        self.calls.append("train")

    def on_epoch_end(self, net, **kwargs):
        self.calls.append(f"epoch {net.history[-1, 'epoch']}")


def test_callbacks_of_skorch_are_called_and_copied(lesions):
    Recorder.calls.clear()
    own = Recorder()

    classifier = Quick(callbacks=[("recorder", own)]).fit(lesions.images, lesions.target)

    assert Recorder.calls == ["train", "epoch 1", "epoch 2", "epoch 3"]
    assert dict(classifier.net_.callbacks_)["recorder"] is not own


def test_an_epoch_scoring_reaches_the_history_and_agrees_with_ours(lesions):
    scoring = EpochScoring("balanced_accuracy", lower_is_better=False, name="theirs")

    history = Quick(callbacks=[scoring]).fit(lesions.images, lesions.target, groups=lesions.groups).history_

    np.testing.assert_allclose(history["theirs"], history["valid_balanced_accuracy"])


def test_early_stopping_of_the_user_coexists_with_ours(lesions):
    theirs = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, threshold_mode="abs")

    classifier = Quick(max_epochs=9, callbacks=[("theirs", theirs)]).fit(lesions.images, lesions.target)

    assert classifier.n_epochs_ == 2
    assert classifier.predict(lesions.images).shape == (168,)


def test_a_schedule_of_the_user(lesions):
    theirs = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)

    classifier = Quick(lr=0.01, lr_schedule=None, callbacks=[theirs]).fit(lesions.images, lesions.target)

    np.testing.assert_allclose(classifier.history_["lr"], [0.01, 0.005, 0.0025])


def interrupt(image_shape, n_classes):
    """A network during whose second batch the user presses Ctrl-C."""

    class Interrupted(torch.nn.Linear):
        batches = 0

        def forward(self, x):
            Interrupted.batches += 1
            if Interrupted.batches == 2:
                raise KeyboardInterrupt
            return super().forward(x.flatten(1))

    return Interrupted(int(np.prod(image_shape)), n_classes)


@pytest.mark.fault(65)
def test_ctrl_c_is_passed_on_and_leaves_no_fitted_classifier(lesions):
    classifier = Quick().fit(lesions.images, lesions.target)
    classifier.set_params(architecture=interrupt, architecture_params=None)

    with pytest.raises(KeyboardInterrupt):
        classifier.fit(lesions.images, lesions.target)

    with pytest.raises(NotFittedError):
        classifier.predict(lesions.images)


@pytest.mark.fault(70)
def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_try(lesions):
    classifier = Quick(lr=1e30, lr_schedule=None, optimizer="sgd")
    with pytest.raises(FloatingPointError, match=r"loss became (nan|inf) in epoch 1, batch \d.*Try a lower lr"):
        classifier.fit(lesions.images, lesions.target)


def test_the_validation_loss_is_the_weighted_mean_over_all_images(lesions):
    classifier = Quick(max_epochs=1, validation_fraction=0.4, batch_size=16, class_weight={"nv": 5.0})
    classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
    rows = classifier.validation_indices_

    probability = classifier.predict_proba(lesions.images[rows])
    own = probability[np.arange(len(rows)), np.searchsorted(classifier.classes_, lesions.target[rows])]
    weight = np.where(lesions.target[rows] == "nv", 5.0, 1.0)

    expected = np.average(-np.log(own), weights=weight)
    assert classifier.history_["valid_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_ignores_smoothing_outside_training():
    logits, target = torch.arange(28.0).reshape(4, 7).sin(), torch.arange(4)
    loss, plain = WeightedCrossEntropy(label_smoothing=0.5), torch.nn.functional.cross_entropy(logits, target)

    assert float(loss.eval()(logits, target)) == pytest.approx(float(plain), rel=1e-6)
    assert abs(float(loss.train()(logits, target)) - float(plain)) > 0.01


def test_progress_is_shown_on_standard_error_on_demand(lesions, capsys):
    Quick(max_epochs=2).fit(lesions.images, lesions.target)
    assert capsys.readouterr().err == ""

    Quick(max_epochs=2, verbose=1).fit(lesions.images, lesions.target)

    shown = capsys.readouterr()
    assert "2/2" in shown.err
    assert "valid loss=" in shown.err
    assert shown.out == ""


def test_mixed_precision_is_for_gpus_only():
    assert choose_precision("auto", "cpu") is None
    assert choose_precision(False, "cuda") is None
