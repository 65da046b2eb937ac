"""skorch's callbacks and those of users in fits of LesionCNNClassifier, beside ours."""

from __future__ import annotations

import copy
import functools
import json
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    Initializer,
    LRScheduler,
    MlflowLogger,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WandbLogger,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from skinclf import LesionCNNClassifier
from skinclf.estimator._callbacks import is_best

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=2, architecture_params={"width": 8, "depth": 1}, random_state=0
)
NO_FILES = {"f_params": None, "f_optimizer": None, "f_criterion": None, "f_history": None}
NAMES = {"valid_loss", "valid_accuracy", "valid_balanced_accuracy"}


@pytest.fixture
def fit(lesions):
    def fit(*callbacks, **params):
        classifier = Quick(callbacks=[*callbacks], **params)
        return classifier.fit(lesions.images, lesions.target, groups=lesions.groups)

    return fit


def weights(classifier):
    return {name: value.clone() for name, value in classifier.net_.module_.state_dict().items()}


def same_bits(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def linear(image_shape, n_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(image_shape)), n_classes))


def macro_f1(net, dataset, y):
    return f1_score(y, net.predict(dataset), average="macro")


class StopAfter(Callback):
    """Stop training as skorch's own callbacks do it."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


class PressesCtrlC(Callback):
    def on_epoch_end(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)


class Handle:
    """A run, a client or a writer in one: it holds a lock, which cannot be copied, and remembers all calls."""

    def __init__(self, folder="."):
        self.lock, self.calls, self.dir, self.info = threading.Lock(), [], folder, SimpleNamespace(run_id="7")
        self.weights = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))

    def called(self, name):
        return [(args, kwargs) for called, args, kwargs in self.calls if called == name]


class Remember(Callback):
    """Put the weights of every epoch into a handle."""

    def __init__(self, handle):
        self.handle = handle

    def on_epoch_end(self, net, **kwargs):
        self.handle.weights.append(copy.deepcopy(net.module_.state_dict()))


def scripted(name, *scores):
    """Return a scoring that gives these scores, epoch by epoch."""
    return EpochScoring(lambda net, X, y: scores[len(net.history) - 1], name=name, lower_is_better=False)


FIVE = {"max_epochs": 5, "lr": 0.02, "validation_fraction": 0.3}


class TestScoring:
    def test_by_the_name_of_a_metric(self, fit, lesions):
        classifier = fit(EpochScoring("f1_macro", lower_is_better=False), max_epochs=1)
        rows = classifier.validation_indices_
        expected = f1_score(lesions.target[rows], classifier.predict(lesions.images[rows]), average="macro")
        assert classifier.history_["f1_macro"].item() == pytest.approx(expected)

    def test_by_a_function_with_a_name(self, fit):
        by_name, by_function = EpochScoring("f1_macro"), EpochScoring(macro_f1, name="mine")
        history = fit(by_name, by_function).history_
        assert history["f1_macro"].tolist() == history["mine"].tolist()

    def test_of_the_training_images(self, fit):
        """In training mode and over augmented images, as skorch has them at hand."""
        history = fit(
            EpochScoring("accuracy", name="train_accuracy", on_train=True), BatchScoring("accuracy")
        ).history_
        assert history["train_accuracy"].between(0, 1, inclusive="neither").all()
        np.testing.assert_allclose(history["accuracy"], history["valid_accuracy"])

    def test_by_probabilities(self, fit):
        history = fit(
            EpochScoring("neg_log_loss", name="log_loss"), class_weight=None, validation_fraction=0.5
        ).history_
        np.testing.assert_allclose(-history["log_loss"], history["valid_loss"], rtol=1e-5)

    def test_without_a_validation_set(self, fit):
        with pytest.warns(UserWarning, match="'EpochScoring' will record nothing"):
            classifier = fit(EpochScoring("accuracy"), early_stopping=False)
        assert "accuracy" not in classifier.history_
        assert "f1" in fit(EpochScoring("f1_macro", on_train=True, name="f1"), early_stopping=False).history_

    def test_our_scores_say_whether_they_are_the_best(self, fit):
        rows = fit(max_epochs=8, lr=0.02).net_.history
        for name in (*NAMES, "train_loss"):
            scores = [row[name] for row in rows]
            better = max if "accuracy" in name else min
            best = [i == 0 or (score == better(scores[: i + 1]) and score not in scores[:i])
                    for i, score in enumerate(scores)]  # fmt: skip
            assert [row[f"{name}_best"] for row in rows] == best
            assert type(rows[0][f"{name}_best"]) is bool
        assert not [name for name in fit().history_ if name.endswith("_best")]

    def test_nan_is_never_the_best(self):
        nan = float("nan")
        assert [is_best(1.0, [nan], higher_is_better=up) for up in (True, False)] == [True, True]
        assert not is_best(nan, [], higher_is_better=True)
        assert not is_best(nan, [0.0], higher_is_better=False)


class TestStopping:
    def test_theirs_stops_first(self, fit):
        theirs = EarlyStopping("train_loss", patience=1, threshold=1e9, threshold_mode="abs")
        assert fit(theirs, max_epochs=9).n_epochs_ == 2

    def test_ours_stops_first(self, fit):
        still = {"architecture": linear, "architecture_params": None, "lr": 1e-30, "lr_schedule": None}
        classifier = fit(EarlyStopping(patience=7), max_epochs=9, patience=2, **still)
        assert (classifier.n_epochs_, classifier.best_epoch_) == (3, 1)

    @pytest.mark.parametrize("monitor", ["valid_loss", "valid_accuracy"])
    def test_a_callback_may_raise_keyboard_interrupt(self, fit, monitor):
        """The epoch in which it does so counts, although early stopping does not come to see it."""
        params = {"lr_schedule": None, "monitor": monitor, "lr": 0.01}
        for epochs in (1, 2, 3):
            stopped, whole = fit(StopAfter(epochs), max_epochs=9, **params), fit(max_epochs=epochs, **params)
            assert (stopped.n_epochs_, stopped.best_epoch_) == (epochs, whole.best_epoch_)
            assert same_bits(weights(stopped), weights(whole))

    def test_also_out_of_a_function_that_it_calls(self, fit):
        assert fit(Asks(lambda net: raise_error(KeyboardInterrupt())), max_epochs=9).n_epochs_ == 1

    def test_ctrl_c_in_the_middle_of_a_callback_is_passed_on(self, fit):
        with pytest.raises(KeyboardInterrupt):
            fit(Asks(lambda net: signal.raise_signal(signal.SIGINT)))
        with pytest.raises(KeyboardInterrupt):
            fit(PressesCtrlC())

    def test_their_best_weights_go_before_ours(self, fit):
        handle = Handle()
        theirs = EarlyStopping("theirs", load_best=True, lower_is_better=False, patience=9)

        classifier = fit(scripted("theirs", 0.1, 0.2, 0.9, 0.3, 0.3), theirs, Remember(handle), **FIVE)

        assert len(classifier.history_) == classifier.n_epochs_ == 5
        assert classifier.history_["valid_loss"].idxmin() == 0
        assert classifier.best_epoch_ == 3
        assert same_bits(weights(classifier), handle.weights[2])

    def test_the_last_epoch_may_be_their_best(self, fit):
        """skorch would take the network for what it was in the last epoch, and we have loaded another one."""
        handle = Handle()
        theirs = EarlyStopping("theirs", load_best=True, lower_is_better=False, patience=9)
        classifier = fit(scripted("theirs", 1, 2, 3, 4, 5), theirs, Remember(handle), **FIVE)
        assert classifier.best_epoch_ == 5
        assert same_bits(weights(classifier), handle.weights[4])

    def test_the_last_one_that_was_given_decides(self, fit):
        handle = Handle()
        scores = [scripted("a", 1, 3, 2, 2, 2), scripted("b", 1, 1, 1, 2, 1), Remember(handle)]
        by_a, by_b = [
            (name, EarlyStopping(name, load_best=True, lower_is_better=False, patience=9)) for name in "ab"
        ]

        for first, second, epoch in [(by_a, by_b, 4), (by_b, by_a, 2)]:
            handle.weights = []
            classifier = fit(*scores, first, second, **FIVE)
            assert classifier.best_epoch_ == epoch
            assert same_bits(weights(classifier), handle.weights[epoch - 1])

    def test_nothing_holds_the_weights_after_the_fit(self, fit):
        classifier = fit(EarlyStopping(load_best=True), Checkpoint(load_best=True, **NO_FILES))
        held = [name for name, callback in classifier.net_.callbacks_
                if getattr(callback, "best_model_weights_", None) is not None]  # fmt: skip
        assert held == []


class TestSchedules:
    def test_theirs_alone(self, fit):
        history = fit(
            LRScheduler(StepLR, step_size=1, gamma=0.5), lr=0.01, lr_schedule=None, max_epochs=3
        ).history_
        np.testing.assert_allclose(history["lr"], [0.01, 0.005, 0.0025])

    def test_one_that_looks_at_our_scores(self, fit):
        theirs = LRScheduler(
            ReduceLROnPlateau, monitor="valid_loss", patience=0, threshold=1e9, threshold_mode="abs"
        )
        history = fit(theirs, lr=0.01, lr_schedule=None, max_epochs=4).history_
        np.testing.assert_allclose(history["lr"], [0.01, 0.01, 0.001, 0.0001])

    @pytest.mark.parametrize("lr_schedule", ["onecycle", "cosine", "plateau"])
    def test_theirs_and_ours_are_refused(self, fit, lr_schedule):
        message = f"lr_schedule='{lr_schedule}' and callback 'LRScheduler' would both set the learning rate"
        with pytest.raises(ValueError, match=message):
            fit("LRScheduler", lr_schedule=lr_schedule)


class TestLoggers:
    def test_wandb_reaches_the_run_of_the_user(self, fit, tmp_path):
        run = Handle(tmp_path)

        classifier = fit(WandbLogger(run), max_epochs=3)

        logged = [args[0] for args, _ in run.called("log")]
        assert [row["valid_loss"] for row in logged] == classifier.history_["valid_loss"].tolist()
        assert len(run.called("watch")) == 1
        saved = torch.load(tmp_path / "best_model.pth", weights_only=True)
        assert same_bits(saved, weights(classifier))

    def test_wandb_says_what_is_missing_without_a_validation_set(self, fit, tmp_path):
        message = (
            r"Callback 'WandbLogger' asks for 'valid_loss_best'.* there is no validation set \(early_stopping="
        )
        with pytest.raises(ValueError, match=message):
            fit(WandbLogger(Handle(tmp_path)), early_stopping=False)
        fit(WandbLogger(Handle(tmp_path), save_model=False), early_stopping=False)

    def test_mlflow_reaches_the_client_of_the_user(self, fit):
        run, client = Handle(), Handle()

        classifier = fit(MlflowLogger(run, client))

        metrics = [(args[1:], kwargs) for args, kwargs in client.called("log_metric")]
        for epoch, loss in enumerate(classifier.history_["valid_loss"], start=1):
            assert (("valid_loss", loss), {"step": epoch}) in metrics
        assert [args[1].name for args, _ in client.called("log_artifact")] == [
            "params.pth", "optimizer.pth", "criterion.pth", "history.json"
        ]  # fmt: skip
        assert client.called("set_terminated") == [(("7",), {})]

    @pytest.mark.parametrize(("kind", "call"), [(TensorBoard, "add_scalar"), (SacredLogger, "log_scalar")])
    def test_a_writer_of_the_user_gets_every_score(self, fit, kind, call):
        writer = Handle()
        fit(kind(writer), max_epochs=3)
        assert len(writer.called(call)) == 3 * len({"train_loss", *NAMES, "lr", "dur"})

    def test_a_cross_validation_logs_into_one_run(self, lesions, tmp_path):
        from sklearn.model_selection import cross_validate

        run = Handle(tmp_path)
        cross_validate(
            Quick(callbacks=[WandbLogger(run)]), lesions.images, lesions.target, cv=3, error_score="raise"
        )
        assert len(run.called("log")) == 3 * 2

    def test_a_table_is_printed_for_who_asks_for_it(self, fit, capsys):
        fit("PrintLog")
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["epoch", "lr", "train_loss", *sorted(NAMES), "dur"]
        assert [line.split()[0] for line in lines[2:]] == ["1", "2"]

        rows = []
        fit(PrintLog(sink=rows.append))
        assert len(rows) == 4
        assert capsys.readouterr().out == ""

    def test_a_progress_bar_of_the_batches(self, fit, capsys):
        fit(ProgressBar())
        assert capsys.readouterr().err.count("0/4 [") == 2  # three batches to train on, and one to validate


class TestTheNetwork:
    def test_clipped_gradients(self, fit):
        """Gradients of norm zero leave the weights as they were, whatever the learning rate."""
        params = {"weight_decay": 0, "lr_schedule": None, "early_stopping": False}
        slow, fast = (fit(GradientNormClipping(1e-30), lr=lr, optimizer="sgd", **params) for lr in (1e-3, 1.0))
        assert self.parameters(slow) == self.parameters(fast)
        free = [fit("GradientNormClipping", lr=lr, optimizer="sgd", **params) for lr in (1e-3, 1e-2)]
        assert self.parameters(free[0]) != self.parameters(free[1])

    @staticmethod
    def parameters(classifier):
        return [value.double().round(decimals=20).tolist() for value in classifier.net_.module_.parameters()]

    def test_frozen_and_unfrozen_layers(self, fit):
        name = next(name for name, _ in fit().net_.module_.named_parameters())
        frozen, longer = fit(Freezer(f"*{name}"), max_epochs=1), fit(Freezer(f"*{name}"), max_epochs=3)
        assert torch.equal(weights(frozen)[name], weights(longer)[name])
        thawed = fit(Freezer(f"*{name}"), Unfreezer(f"*{name}", at=2), max_epochs=3)
        assert not torch.equal(weights(frozen)[name], weights(thawed)[name])

    def test_own_first_weights(self, fit):
        zeros = Initializer("*.bias", fn=functools.partial(torch.nn.init.constant_, val=3.0))
        classifier = fit(zeros, lr=1e-12, lr_schedule=None, max_epochs=1)
        biases = [v for name, v in classifier.net_.module_.named_parameters() if name.endswith("bias")]
        assert biases
        assert all(torch.allclose(bias, torch.tensor(3.0)) for bias in biases)

    def test_what_is_saved_when_training_ends_is_what_the_classifier_has(self, fit, tmp_path):
        end = TrainEndCheckpoint(dirname=str(tmp_path / "end"))
        second_is_best = EarlyStopping("mine", load_best=True, lower_is_better=False)

        classifier = fit(scripted("mine", 1, 2, 1), end, second_is_best, max_epochs=3)

        assert (classifier.best_epoch_, classifier.n_epochs_) == (2, 3)
        saved = torch.load(tmp_path / "end" / "train_end_params.pt", weights_only=True)
        assert same_bits(saved, weights(classifier))
        assert len(json.loads((tmp_path / "end" / "train_end_history.json").read_text())) == 3


ORIGINALS = {
    "scoring": lambda: EpochScoring("accuracy"),
    "stopping": lambda: EarlyStopping(load_best=True),
    "checkpoint": lambda: Checkpoint(load_best=True, event_name=None, **NO_FILES),
    "schedule": lambda: LRScheduler(StepLR, step_size=1),
    "freezer": lambda: Freezer("*.bias"),
    "passthrough": lambda: PassthroughScoring("train_loss", on_train=True),
    "clipping": lambda: GradientNormClipping(1.0),
    "table": lambda: PrintLog(sink=lambda text: None),
    "bar": lambda: ProgressBar(),
    "own": lambda: StopAfter(1),
    "writer": lambda: TensorBoard(Handle()),
}  # fmt: skip


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_fit_leaves_the_callback_of_the_user_as_it_was(fit, name):
    original = ORIGINALS[name]()
    before = copy.copy(vars(original))

    first = fit((name + "_of_mine", original), lr_schedule=None)
    second = fit((name + "_of_mine", original), lr_schedule=None)

    assert vars(original) == before
    assert same_bits(weights(first), weights(second))
    assert dict(first.net_.callbacks_)[name + "_of_mine"] is not original


class TestSearches:
    def test_callbacks_as_values_of_a_grid(self, lesions):
        fold = PredefinedSplit(np.where(np.arange(168) < 112, -1, 0))
        stop = EarlyStopping("train_loss", patience=1, threshold=1e9, threshold_mode="abs", load_best=False)
        grid = {"callbacks": [None, [("stop", stop)], ["EpochTimer"]]}
        search = GridSearchCV(Quick(max_epochs=4), grid, cv=fold, n_jobs=2, error_score="raise", refit=False)

        search.fit(lesions.images, lesions.target)

        alone = [Quick(max_epochs=4, callbacks=value).fit(lesions.images[:112], lesions.target[:112])
                 for value in grid["callbacks"]]  # fmt: skip
        assert [classifier.n_epochs_ for classifier in alone] == [4, 2, 4]
        expected = [classifier.score(lesions.images[112:], lesions.target[112:]) for classifier in alone]
        assert search.cv_results_["split0_test_score"].tolist() == expected

    def test_callbacks_of_the_estimator_of_a_search(self, lesions):
        classifier = Quick(callbacks=[EpochScoring("f1_macro", name="f1"), "GradientNormClipping"])
        search = GridSearchCV(classifier, {"lr": [1e-3, 1e-2]}, cv=2, n_jobs=2, error_score="raise")
        search.fit(lesions.images, lesions.target)
        assert len(search.best_estimator_.history_["f1"]) == 2


class Asks(Callback):
    """Asks the history for a name, in one way or another."""

    def __init__(self, question):
        self.question = question

    def on_epoch_end(self, net, **kwargs):
        self.question(net)


def raise_error(error):
    raise error


class TestErrors:
    @pytest.mark.parametrize(
        ("callback", "message"),
        [
            (EarlyStopping("f1"), r"^Callback 'mine' asks for 'f1', which the history does not record\. It rec"),
            (EarlyStopping("valid_los"), r"Did you mean 'valid_loss'\? An EpochScoring\(\.\.\., name='valid_los'"),
            (Checkpoint("f1_best", **NO_FILES), r"asks for 'f1_best'.*EpochScoring\(\.\.\., name='f1'\) before"),
            (LRScheduler(ReduceLROnPlateau, monitor="f1"), "^Callback 'mine' asks for 'f1', which"),
            (Asks(lambda net: net.history[-1, "nothing"]), "^Callback 'mine' asks for 'nothing', which"),
            (Asks(lambda net: net.history[:, ("lr", "x")]), "^Callback 'mine' asks for 'x', which"),
        ],
    )  # fmt: skip
    def test_a_name_that_nobody_records(self, fit, callback, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=message) as raised:
            fit(("mine", callback), lr_schedule=None)
        assert raised.value.__cause__ is not None

    def test_a_score_that_is_recorded_too_late(self, fit):
        scoring = ("f1", EpochScoring("f1_macro", name="macro"))
        with pytest.raises(
            ValueError, match=r"'EarlyStopping' asks for 'macro'.*'f1' records it; put that one first"
        ):
            fit(EarlyStopping("macro"), scoring)
        fit(scoring, EarlyStopping("macro"))

    def test_a_validation_score_without_a_validation_set(self, fit):
        with pytest.raises(ValueError, match="'stop' monitors 'valid_loss', but there is no validation set"):
            fit(("stop", EarlyStopping()), early_stopping=False)
        with pytest.raises(ValueError, match=r"'valid_f1'.*there is no validation set \(early_stopping=False"):
            fit(EarlyStopping("valid_f1"), early_stopping=False)

    @pytest.mark.parametrize(
        "error", [RuntimeError("own"), ValueError("own"), KeyError("train_loss"), OSError("own")]
    )
    def test_other_errors_pass_as_they_are(self, fit, error):
        with pytest.raises(type(error)) as raised:
            fit(Asks(lambda net: raise_error(error)))
        assert raised.value is error
        assert not getattr(error, "__notes__", [])

    def test_a_key_error_of_their_own_gets_a_note(self, fit):
        with pytest.raises(KeyError) as raised:
            fit(Asks(lambda net: {}["mine"]))
        (note,) = raised.value.__notes__
        assert note.startswith("It was raised in callback 'Asks'. The history records ['dur', 'epoch', ")

    def test_after_an_error_nothing_is_fitted(self, lesions):
        classifier = Quick(callbacks=[Asks(lambda net: raise_error(RuntimeError("own")))])
        with pytest.raises(RuntimeError, match="own"):
            classifier.fit(lesions.images, lesions.target)
        with pytest.raises(NotFittedError):
            classifier.predict(lesions.images)
