"""Files of skorch's Checkpoint: no fit reads what another one wrote, and no two fits write the same."""

from __future__ import annotations

import copy
import functools
import re

import numpy as np
import pytest
import torch
from filelock import FileLock
from sklearn.model_selection import StratifiedGroupKFold, cross_validate
from skorch.callbacks import Callback, Checkpoint, EpochScoring, TrainEndCheckpoint

from skinclf import LesionCNNClassifier

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=4, architecture_params={"width": 8, "depth": 1}, lr=0.02, random_state=0
)
NO_FILES = {"f_params": None, "f_optimizer": None, "f_criterion": None, "f_history": None}
MACRO_F1 = EpochScoring("f1_macro", lower_is_better=False)
ALONE = {"monitor": "f1_macro_best", "load_best": True}


def weights(classifier):
    return {name: value.clone() for name, value in classifier.net_.module_.state_dict().items()}


def same_bits(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def fit(lesions):
    def fit(*callbacks, **params):
        classifier = Quick(callbacks=[*callbacks], **params)
        return classifier.fit(lesions.images, lesions.target, groups=lesions.groups)

    return fit


@pytest.fixture
def folds(lesions):
    """Run a cross-validation, and each fold by itself, with callbacks that a function makes."""
    splits = [*StratifiedGroupKFold(3).split(lesions.images, lesions.target, lesions.groups)]

    def folds(make_callbacks, n_jobs=None):
        together = cross_validate(
            Quick(callbacks=make_callbacks("together")), lesions.images, lesions.target, cv=splits, n_jobs=n_jobs,
            return_estimator=True, error_score="raise",
        )["estimator"]  # fmt: skip
        alone = [Quick(callbacks=make_callbacks(f"alone_{i}")).fit(lesions.images[rows], lesions.target[rows])
                 for i, (rows, _) in enumerate(splits)]  # fmt: skip
        return together, alone

    return folds


class TestFolds:
    def test_that_share_a_folder_end_as_each_would_alone(self, folds, tmp_path):
        def make(folder):
            return [MACRO_F1, Checkpoint(dirname=str(tmp_path / folder), **ALONE)]

        together, alone = folds(make)

        for one, other in zip(together, alone, strict=True):
            assert same_bits(weights(one), weights(other))
            assert one.best_epoch_ == other.best_epoch_ == one.history_["f1_macro"].idxmax() + 1
        assert not same_bits(weights(together[0]), weights(together[1]))
        last = torch.load(tmp_path / "together" / "params.pt", weights_only=True)
        assert same_bits(last, weights(together[2]))

    def test_in_two_processes_need_no_files(self, folds):
        together, alone = folds(lambda folder: [MACRO_F1, Checkpoint(**ALONE, **NO_FILES)], n_jobs=2)
        for one, other in zip(together, alone, strict=True):
            assert same_bits(weights(one), weights(other))
            assert one.best_epoch_ == other.best_epoch_

    def test_a_second_fit_does_not_see_the_first(self, fit, lesions, tmp_path):
        classifier = Quick(callbacks=[Checkpoint(dirname=str(tmp_path), load_best=True)])
        first = weights(classifier.fit(lesions.images[:100], lesions.target[:100]))
        second = weights(classifier.fit(lesions.images, lesions.target, groups=lesions.groups))
        assert not same_bits(first, second)
        assert same_bits(second, weights(fit()))


class TestOldFiles:
    @pytest.fixture
    def left_there(self, fit, tmp_path):
        """A folder with the files of another fit, of a network of the same shape."""
        fit(Checkpoint(dirname=str(tmp_path)), random_state=1)
        return tmp_path

    def test_are_not_loaded_if_the_monitor_was_never_true(self, fit, left_there):
        before = {path.name: path.read_bytes() for path in left_there.iterdir()}
        message = r"'old' has load_best=True and saved in none of 4 epochs: its monitor .* Nothing was loaded"

        with pytest.warns(UserWarning, match=message):
            classifier = fit(("old", Checkpoint(never, dirname=str(left_there), load_best=True)))

        assert same_bits(weights(classifier), weights(fit()))
        assert classifier.best_epoch_ == fit().best_epoch_
        assert {path.name: path.read_bytes() for path in left_there.iterdir()} == before

    def test_of_another_architecture_do_no_harm(self, fit, left_there):
        other = {"width": 16, "depth": 1}
        classifier = fit(
            Checkpoint("valid_loss_best", dirname=str(left_there), load_best=True), architecture_params=other
        )
        assert same_bits(weights(classifier), weights(fit(architecture_params=other)))


def never(net):
    return False


def test_the_event_need_not_be_in_the_history(fit, tmp_path):
    checkpoint = Checkpoint(
        "train_loss_best", dirname=str(tmp_path), load_best=True, event_name=None, f_history=None
    )

    classifier = fit(checkpoint, early_stopping=False)

    assert same_bits(weights(classifier), torch.load(tmp_path / "params.pt", weights_only=True))
    assert classifier.best_epoch_ == classifier.history_["train_loss"].idxmin() + 1
    assert not [name for name in classifier.history_ if name.startswith("event")]


def test_the_whole_history_stays(fit, tmp_path):
    """skorch would cut it off at the epoch that it loads."""
    scores = iter([0.1, 0.9, 0.2, 0.3])
    scoring = EpochScoring(lambda net, X, y: next(scores), name="f1_macro", lower_is_better=False)
    classifier = fit(scoring, Checkpoint(dirname=str(tmp_path), **ALONE))
    assert classifier.best_epoch_ == 2
    assert classifier.n_epochs_ == len(classifier.history_) == len(classifier.net_.history) == 4
    assert classifier.history_["event_cp"].tolist() == [True, True, False, False]


class FitsAgain(Callback):
    """Starts another fit in the middle of the first one."""

    def __init__(self, again):
        self.again = again

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            self.again()


class TestTwoFitsAtOnce:
    @pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
    def test_in_one_folder_are_refused(self, fit, tmp_path, kind):
        files = kind(dirname=str(tmp_path))
        message = (
            rf"^Callback 'files' writes to {re.escape(repr(str(tmp_path)))}, and so does another fit .*n_jobs=1"
        )
        with pytest.raises(RuntimeError, match=message):
            fit(files, FitsAgain(functools.partial(fit, ("files", files))))
        fit(files)  # the lock is gone with the fit, also after an error

    def test_also_if_the_other_one_is_another_process(self, fit, tmp_path):
        """The lock is a file, which processes share."""
        with FileLock(tmp_path / "mine_.lock"), pytest.raises(RuntimeError, match="so does another fit"):
            fit(Checkpoint(dirname=str(tmp_path), fn_prefix="mine_"))

    def test_with_names_of_their_own_go_together(self, fit, tmp_path):
        both = [Checkpoint(dirname=str(tmp_path), fn_prefix=prefix) for prefix in ("a_", "b_")]
        other = functools.partial(fit, Checkpoint(dirname=str(tmp_path / "other")))
        fit(*both, TrainEndCheckpoint(dirname=str(tmp_path)), FitsAgain(other))
        assert {path.name for path in tmp_path.glob("*params.pt")} == {
            f"{p}params.pt" for p in ("a_", "b_", "train_end_")
        }

    def test_one_fit_may_have_two_checkpoints_in_a_folder(self, fit, tmp_path):
        given = [Checkpoint(dirname=str(tmp_path), f_params=f"{name}.pt") for name in "ab"]
        fit(*given)
        assert (tmp_path / "a.pt").exists()
        assert (tmp_path / "b.pt").exists()

    def test_without_a_folder_the_current_one_counts(self, fit, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RuntimeError, match="so does another fit"):
            fit(Checkpoint(), FitsAgain(functools.partial(fit, Checkpoint())))
        assert (tmp_path / "params.pt").exists()


class TestFailures:
    def test_a_save_that_fails_is_an_error(self, fit, tmp_path):
        """skorch passes over it."""
        message = r"^Callback 'cp' could not write its file\. Unable to save module state to .*absent"
        with pytest.raises(RuntimeError, match=message):
            fit(("cp", Checkpoint(dirname=str(tmp_path), f_params="absent/params.pt")))
        with pytest.raises(RuntimeError, match=r"^Callback 'TrainEndCheckpoint' could not write its file"):
            fit(TrainEndCheckpoint(dirname=str(tmp_path), f_params="absent/params.pt"))

    def test_a_folder_that_is_a_file_is_named(self, fit, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            fit(Checkpoint(dirname=str(tmp_path / "file")))

    def test_the_sink_of_the_user_still_hears(self, fit, tmp_path):
        heard = []
        fit(Checkpoint(dirname=str(tmp_path), sink=heard.append, monitor=None))
        assert len(heard) == 4
        assert all("checkpoint was triggered" in text for text in heard)


def test_a_fitted_classifier_can_be_copied_and_saved(fit, tmp_path, lesions):
    import pickle

    classifier = fit(Checkpoint(dirname=str(tmp_path), load_best=True), TrainEndCheckpoint(dirname=str(tmp_path)))
    for other in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        np.testing.assert_array_equal(
            other.predict_proba(lesions.images), classifier.predict_proba(lesions.images)
        )
