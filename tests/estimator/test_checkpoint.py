"""`checkpoint_dir`: a run that was cut off, anywhere, ends as if nothing had happened."""

from __future__ import annotations

import errno
import functools
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EpochScoring, LRScheduler

from skinclf import LesionCNNClassifier
from skinclf.datasets import make_lesions
from skinclf.estimator import ModelFileError
from skinclf.estimator import _checkpoint as checkpoint_module
from skinclf.estimator._batches import ShuffledBatches
from skinclf.evaluation import cross_validate

Quick = functools.partial(
    LesionCNNClassifier,
    max_epochs=5,
    patience=2,
    batch_size=32,
    validation_fraction=0.3,
    architecture_params={"width": 8, "depth": 1},
    random_state=0,
)


def weights_of(classifier):
    """One digest of all weights."""
    digest = hashlib.sha256()
    for value in classifier.net_.module_.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


class Count(Callback):
    """How many epochs are trained, counted outside, as callbacks are copied."""

    epochs = 0

    def on_epoch_end(self, net, **kwargs):
        Count.epochs += 1


HIDDEN = 8


class OwnNetwork(torch.nn.Sequential):
    """A user's network, with dropout out of torch's global generator."""

    def __init__(self, image_shape, n_classes):
        super().__init__(
            torch.nn.Conv2d(image_shape[2], HIDDEN, 3),
            torch.nn.BatchNorm2d(HIDDEN),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(4 * HIDDEN, n_classes),
        )


def fit(classifier, lesions, **params):
    return clone(classifier).set_params(**params).fit(lesions.images, lesions.target, groups=lesions.groups)


def cut_off(classifier, lesions, epoch):
    """Fit, and press Ctrl-C in the middle of an epoch."""
    batches = ShuffledBatches.__iter__

    def interrupted(self):
        for number, batch in enumerate(batches(self)):
            if number == 2 and self.draws.epoch == epoch:
                raise KeyboardInterrupt
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShuffledBatches, "__iter__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(classifier, lesions)


CONFIGURATIONS = {
    "defaults": {},
    "early stop": {"max_epochs": 9, "patience": 1, "lr": 0.03},
    "no validation": {"early_stopping": False, "lr_schedule": None},
    "sgd, plateau": {"optimizer": "sgd", "lr": 0.02, "lr_schedule": "plateau", "patience": 3},
    "cosine, own network": {"lr_schedule": "cosine", "architecture": OwnNetwork, "architecture_params": None},
    "callbacks": {
        "lr_schedule": None,
        "callbacks": [
            LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.3),
            ("theirs", EpochScoring("f1_macro", lower_is_better=False)),
        ],
    },
}


@pytest.mark.fault(65)
@pytest.mark.parametrize("epoch", [1, 2, 4])
@pytest.mark.parametrize("params", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_run_that_was_cut_off_ends_as_if_nothing_had_happened(lesions, tmp_path, params, epoch):
    classifier = Quick(checkpoint_dir=tmp_path).set_params(**params)
    undisturbed = fit(classifier, lesions, checkpoint_dir=None)

    cut_off(classifier, lesions, epoch=min(epoch, undisturbed.n_epochs_))
    resumed = fit(classifier, lesions)

    assert weights_of(resumed) == weights_of(undisturbed)
    np.testing.assert_array_equal(resumed.predict_proba(lesions.images), undisturbed.predict_proba(lesions.images))
    assert resumed.best_epoch_ == undisturbed.best_epoch_
    columns = [name for name in undisturbed.history_ if name != "seconds"]
    assert resumed.history_[columns].equals(undisturbed.history_[columns])
    np.testing.assert_array_equal(resumed.validation_indices_, undisturbed.validation_indices_)


def test_epochs_that_are_done_are_not_trained_again_and_a_finished_run_is_only_read(lesions, tmp_path):
    classifier = Quick(checkpoint_dir=tmp_path, callbacks=[("count", Count())], patience=9)
    cut_off(classifier, lesions, epoch=4)
    Count.epochs = 0

    resumed = fit(classifier, lesions)
    assert Count.epochs == 2  # of five

    again = fit(classifier, lesions)
    assert Count.epochs == 2
    assert weights_of(again) == weights_of(resumed)
    assert again.history_.equals(resumed.history_)


def test_the_folder_holds_one_file_a_run_and_nothing_else(lesions, tmp_path):
    fit(Quick(checkpoint_dir=tmp_path / "new" / "folder", max_epochs=2), lesions)

    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert len([name for name in names if name.endswith(".safetensors")]) == 1
    assert all(name.endswith((".safetensors", ".safetensors.lock")) for name in names)


@pytest.mark.fault(72)
@pytest.mark.parametrize(
    "change",
    [
        {"params": {"lr": 0.001}},
        {"params": {"random_state": 1}},
        {"params": {"class_weight": {"nv": 2.0}}},
        {"params": {"architecture_params": {"width": 8, "depth": 2}}},
        {"params": {"lr_schedule": None, "callbacks": [LRScheduler("StepLR", step_size=1)]}},
        {"params": {"lr_schedule": None, "callbacks": [LRScheduler("StepLR", step_size=2)]}},
        {"images": 1},
        {"labels": 1},
        {"groups": 1},
        {"sample_weight": 1},
    ],
    ids=["rate", "seed", "classes", "network", "step-1", "step-2", "images", "labels", "groups", "weights"],
)
def test_another_run_in_the_same_folder_is_another_file(lesions, tmp_path, change):
    images, target, groups = lesions.images.copy(), lesions.target.copy(), lesions.groups.copy()
    weight = np.ones(len(images))
    first = Quick(checkpoint_dir=tmp_path, max_epochs=1)
    first.fit(images, target, groups=groups, sample_weight=weight)
    if "images" in change:
        images[3, 4, 5, 0] ^= 1
    if "labels" in change:
        target[[0, -1]] = target[[-1, 0]]
    if "groups" in change:
        groups[0] = groups[-1]
    if "sample_weight" in change:
        weight[7] = 2

    second = clone(first).set_params(**change.get("params", {}))
    second.fit(images, target, groups=groups, sample_weight=weight)

    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    alone = clone(second).set_params(checkpoint_dir=None)
    alone.fit(images, target, groups=groups, sample_weight=weight)
    assert weights_of(second) == weights_of(alone)


def flattened(last):
    """Two networks of one name, which differ in what they close over."""

    def network(image_shape, n_classes):
        inputs = int(np.prod(image_shape))
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(inputs, n_classes), torch.nn.ReLU6(), last()
        )

    return network


class Scaled:
    """A callable object with an attribute."""

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, image_shape, n_classes):
        inputs = int(np.prod(image_shape))
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(inputs, n_classes), torch.nn.LeakyReLU(self.slope)
        )


@pytest.mark.fault(72)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (flattened(torch.nn.Tanh), flattened(torch.nn.Sigmoid)),
        (Scaled(0.1), Scaled(0.9)),
        (
            lambda shape, n: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, n), torch.nn.Tanh()),
            lambda shape, n: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, n), torch.nn.Sigmoid()),
        ),
    ],
    ids=["closures", "objects", "lambdas"],
)
def test_networks_of_one_name_are_told_apart_by_their_code(lesions, tmp_path, one, other):
    shared = Quick(checkpoint_dir=tmp_path, architecture_params=None, max_epochs=1)
    fit(shared, lesions, architecture=one)
    second = fit(shared, lesions, architecture=other)
    alone = fit(shared, lesions, architecture=other, checkpoint_dir=None)
    np.testing.assert_array_equal(second.predict_proba(lesions.images), alone.predict_proba(lesions.images))
    fit(shared, lesions, architecture=other)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


@pytest.mark.parametrize(
    "params", [{"n_jobs": 2}, {"verbose": 1}, {"device": "cpu"}, {"memory_limit": 7}], ids=str
)
def test_what_does_not_change_the_outcome_does_not_make_another_run(lesions, tmp_path, params):
    fit(Quick(checkpoint_dir=tmp_path, max_epochs=1), lesions)
    fit(Quick(checkpoint_dir=tmp_path, max_epochs=1), lesions, **params)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


@pytest.mark.fault(72)
def test_folds_and_candidates_share_a_folder_and_no_weights(lesions, tmp_path):
    def search(folder):
        grid = {"lr": [0.001, 0.01]}
        return GridSearchCV(Quick(max_epochs=2, checkpoint_dir=folder), grid, cv=2, n_jobs=1).fit(
            lesions.images, lesions.target
        )

    alone, shared = search(None), search(tmp_path)

    np.testing.assert_array_equal(shared.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert weights_of(shared.best_estimator_) == weights_of(alone.best_estimator_)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2 * 2 + 1


@pytest.mark.fault(67)
def test_a_cross_validation_that_was_cut_off_trains_the_missing_folds_only(lesions, tmp_path):
    classifier = Quick(max_epochs=2, checkpoint_dir=tmp_path, callbacks=[("count", Count())])
    whole = cross_validate(classifier, lesions.images, lesions.target, groups=lesions.groups, cv=3)
    newest = max(tmp_path.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()  # as if the last fold had never been
    Count.epochs = 0

    again = cross_validate(classifier, lesions.images, lesions.target, groups=lesions.groups, cv=3)

    assert Count.epochs == 2
    np.testing.assert_array_equal(again.y_proba, whole.y_proba)


def test_without_a_random_state_a_cut_off_run_goes_on_and_a_finished_one_is_not_reused(lesions, tmp_path):
    classifier = Quick(checkpoint_dir=tmp_path, random_state=None, callbacks=[("count", Count())], patience=9)
    cut_off(classifier, lesions, epoch=3)
    Count.epochs = 0

    first = fit(classifier, lesions)
    assert Count.epochs == 3
    second = fit(classifier, lesions)

    assert Count.epochs == 3 + 5
    assert weights_of(first) != weights_of(second)


@pytest.mark.fault(72)
def test_two_fits_of_one_run_at_once_are_refused(lesions, tmp_path):
    fit(Quick(checkpoint_dir=tmp_path, max_epochs=1), lesions)
    (path,) = tmp_path.glob("*.safetensors")
    with FileLock(f"{path}.lock"), pytest.raises(RuntimeError, match=r"Another fit .* is writing .*run-"):
        fit(Quick(checkpoint_dir=tmp_path, max_epochs=1), lesions)


def test_a_damaged_file_is_named_and_kept(lesions, tmp_path):
    classifier = Quick(checkpoint_dir=tmp_path)
    cut_off(classifier, lesions, epoch=2)
    (path,) = tmp_path.glob("*.safetensors")
    damaged = bytearray(path.read_bytes())
    damaged[-7] ^= 4
    path.write_bytes(damaged)

    with pytest.raises(ModelFileError, match=r"run-.*Remove the file to begin this run anew"):
        fit(classifier, lesions)
    assert path.read_bytes() == bytes(damaged)


def test_a_network_whose_code_has_changed_is_refused(lesions, tmp_path):
    classifier = Quick(checkpoint_dir=tmp_path, architecture=OwnNetwork, architecture_params=None)
    cut_off(classifier, lesions, epoch=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "HIDDEN", 16)
        with pytest.raises(ModelFileError, match=r"(?s)holds another network .* code of `architecture` change"):
            fit(classifier, lesions)


@pytest.mark.fault(63)
def test_a_full_disk_ends_the_fit_and_leaves_the_epoch_before(lesions, tmp_path, monkeypatch):
    classifier = Quick(checkpoint_dir=tmp_path)
    undisturbed = fit(classifier, lesions, checkpoint_dir=None)
    replace, calls = os.replace, []

    def full(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"No space left on device.*run-"):
            fit(classifier, lesions)

    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert weights_of(fit(classifier, lesions)) == weights_of(undisturbed)


@pytest.mark.fault(63)
def test_a_folder_that_cannot_be_made_is_named(lesions, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError, match=r"checkpoint_dir='.*file.*' cannot be written to"):
        fit(Quick(checkpoint_dir=str(tmp_path / "file" / "runs")), lesions)


def train_and_report(folder, started):
    """What the killed process does: the same fit every time, and the digest of its weights at the end."""
    torch.set_num_threads(1)
    lesions = make_lesions(n_lesions=84, images_per_lesion=2, image_size=16, random_state=0)
    fit(Quick(max_epochs=1), lesions)  # what torch and scikit-learn import and set up at first use
    started.set()
    classifier = fit(Quick(checkpoint_dir=folder, max_epochs=24, patience=24), lesions)
    folder.with_name(f"{folder.name}.weights").write_text(weights_of(classifier))


@pytest.mark.fault(66)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_ten_kills_at_random_moments_change_not_a_bit(tmp_path, lesions):
    context = multiprocessing.get_context("forkserver")  # imports torch once, not twelve times
    context.set_forkserver_preload([LesionCNNClassifier.__module__, "skinclf.datasets"])
    moment = random.Random()

    def run(folder, kill_after=None):
        started = context.Event()
        process = context.Process(target=train_and_report, args=(folder, started))
        process.start()
        assert started.wait(60)
        begin = time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        process.join(60)
        return process.exitcode, time.perf_counter() - begin

    code, duration = run(tmp_path / "undisturbed")
    assert code == 0
    expected = (tmp_path / "undisturbed.weights").read_text()

    folder, kills, finished = tmp_path / "run", 0, 0
    log = []
    while kills < 10:
        delay = moment.uniform(0, 0.4 * duration)
        if run(folder, kill_after=delay)[0] == -signal.SIGKILL:
            kills += 1
            log.append(f"kill {kills:2}: SIGKILL {1000 * delay:4.0f} ms into the fit; {done(folder)}")
        else:  # it was faster: the next kills are for a new run
            finished += 1
            assert Path(f"{folder}.weights").read_text() == expected
            folder = tmp_path / f"run{finished}"
    assert run(folder)[0] == 0
    found = Path(f"{folder}.weights").read_text()
    log.append(f"SHA-256 of the weights at the end {found[:16]}, without a kill {expected[:16]}")
    sys.stdout.write("\n".join(log))  # pytest -rP shows it
    assert found == expected


def done(folder):
    """How far a run had come, by its file, which must be whole."""
    files = list(folder.glob("*.safetensors")) if folder.exists() else []
    if not files:
        return "no epoch had ended"
    content = checkpoint_module.read_container(files[0], "checkpoint")
    return f"{len(content['history'])} epochs on disk"
