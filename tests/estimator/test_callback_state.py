"""What a checkpoint keeps of callbacks: plain data, enough for a stopped run to go on as if it was not."""

from __future__ import annotations

import collections
import json
import threading
from typing import Any

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    LRScheduler,
    ProgressBar,
    Unfreezer,
)
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.optim import lr_scheduler

from skinclf import LesionCNNClassifier
from skinclf.estimator._callback_state import callback_state, restore_callback_state


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """Write the tree as strict JSON with the tensors beside it, and read it back."""
    tensors: list[torch.Tensor] = []

    def take_out(tensor: Any) -> dict[str, int]:
        assert isinstance(tensor, torch.Tensor), f"{type(tensor)} is in the state"
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad
        tensors.append(tensor.clone())
        return {"tensor": len(tensors) - 1}

    def put_in(item: dict[str, Any]) -> Any:
        return tensors[item["tensor"]] if list(item) == ["tensor"] else item

    return json.loads(json.dumps(state, default=take_out, allow_nan=False), object_hook=put_in)


class Network(torch.nn.Module):
    """Two layers with batch normalisation, which has a version in its state."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))

    def forward(self, x):
        return self.layers(x)


class Run:
    """A net whose training can be left after any epoch, and taken up by another one."""

    def __init__(self, callbacks):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 3, 60)
        self.train, valid = Dataset(X[:40], y[:40]), Dataset(X[40:], y[40:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = NeuralNetClassifier(
                Network, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=0.05, batch_size=20,
                train_split=predefined_split(valid), callbacks=callbacks, verbose=0,
            ).initialize()  # fmt: skip
        self.net.notify("on_train_begin", X=self.train, y=None)

    def epochs(self, number):
        for _ in range(number):
            try:
                self.net.fit_loop(self.train, epochs=1)
            except KeyboardInterrupt:
                return self
        return self

    def end(self):
        self.net.notify("on_train_end", X=self.train, y=None)
        return self

    def checkpoint(self):
        callbacks = through_a_file(callback_state(self.net.callbacks_))
        return (
            {name: value.clone() for name, value in self.net.module_.state_dict().items()},
            self.net.optimizer_.state_dict(), [*self.net.history], callbacks,
        )  # fmt: skip

    def resume(self, checkpoint):
        module, optimizer, history, callbacks = checkpoint
        self.net.module_.load_state_dict(module)
        self.net.optimizer_.load_state_dict(optimizer)
        self.net.history.extend(history)
        restore_callback_state(self.net.callbacks_, callbacks)
        return self

    def outcome(self):
        keys = [key for key in self.net.history[-1] if key not in ("batches", "dur")]
        rows = [[row[key] for key in keys] for row in self.net.history]
        return rows, self.net.optimizer_.param_groups[0]["lr"], self.net.module_.state_dict()


def scheduler(policy, **params):
    return lambda: [("schedule", LRScheduler(policy, **params))]


CALLBACKS = {
    "early_stopping": lambda: [("stop", EarlyStopping(patience=3, load_best=True, sink=lambda _: None))],
    "own_threshold": lambda: [EarlyStopping("train_loss", patience=2, threshold=0.05, threshold_mode="abs")],
    "onecycle": scheduler(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=17, step_every="batch"),
    "cosine": scheduler(lr_scheduler.CosineAnnealingLR, T_max=16, step_every="batch"),
    "warm_restarts": scheduler(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2),
    "plateau": scheduler(lr_scheduler.ReduceLROnPlateau, monitor="valid_loss", patience=0, threshold=0.1),
    "step": scheduler(lr_scheduler.StepLR, step_size=2, gamma=0.5),
    "milestones": scheduler(lr_scheduler.MultiStepLR, milestones=[2, 5], gamma=0.1),
    "lambda": scheduler(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.8**epoch),
    "cyclic": scheduler(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, cycle_momentum=False, step_size_up=3),
    "skorch's own": lambda: [LRScheduler("WarmRestartLR", max_lr=0.1, base_period=3)],
    "scoring": lambda: [EpochScoring("accuracy", lower_is_better=False), EpochScoring("f1_macro", on_train=True)],
    "both": lambda: [
        LRScheduler(lr_scheduler.StepLR, step_size=3),
        EpochScoring("accuracy", lower_is_better=False, name="score"),
        EarlyStopping("score", patience=4, lower_is_better=False, load_best=True, sink=lambda _: None),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("left_after", [1, 3])
def test_a_run_that_is_taken_up_ends_as_one_that_was_not_stopped(name, left_after):
    whole = Run(CALLBACKS[name]()).epochs(8)
    first = Run(CALLBACKS[name]()).epochs(left_after)
    second = Run(CALLBACKS[name]()).resume(first.checkpoint()).epochs(8 - left_after)

    (rows, lr, weights), (resumed_rows, resumed_lr, resumed_weights) = (
        whole.end().outcome(),
        second.end().outcome(),
    )

    assert resumed_rows == rows
    assert resumed_lr == lr
    assert all(torch.equal(weights[key], resumed_weights[key]) for key in weights)


@pytest.mark.parametrize("name", ["early_stopping", "plateau", "onecycle", "scoring"])
def test_without_the_state_it_would_end_otherwise(name):
    """The test above can fail."""
    whole, first = Run(CALLBACKS[name]()).epochs(8).end(), Run(CALLBACKS[name]()).epochs(4)
    module, optimizer, history, _ = first.checkpoint()
    second = Run(CALLBACKS[name]()).resume((module, optimizer, history, {})).epochs(5).end()

    (rows, _, weights), (resumed_rows, _, resumed_weights) = whole.outcome(), second.outcome()

    same = all(torch.equal(weights[key], resumed_weights[key]) for key in weights)
    assert resumed_rows != rows or not same


def test_early_stopping_is_restored_in_every_part():
    run = Run(CALLBACKS["early_stopping"]()).epochs(3)
    stopping = dict(run.net.callbacks_)["stop"]
    restored = dict(Run(CALLBACKS["early_stopping"]()).resume(run.checkpoint()).net.callbacks_)["stop"]

    for attribute in ("misses_", "dynamic_threshold_", "best_epoch_"):
        assert getattr(restored, attribute) == getattr(stopping, attribute)
    weights, expected = restored.best_model_weights_, stopping.best_model_weights_
    assert weights.keys() == expected.keys()
    assert type(weights) is collections.OrderedDict
    assert weights._metadata == expected._metadata
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


class Counting(Callback):
    """A callback as a user writes it, without skorch's underscores."""

    def __init__(self, size=3):
        self.size = size
        self.seen = 0

    def on_train_begin(self, net=None, **kwargs):
        self.mean_ = np.zeros(self.size)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, -0.5, float("inf"), float("-inf"), "text", (1, (2.5, None)), [], {}, {3: "t", (1, 2): [4]},
        {"b", "a"}, frozenset({2}), np.float64(0.1), np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("t"),
        np.arange(6, dtype=np.uint16).reshape(2, 3)[:, ::2], torch.arange(4.0)[::2],
        torch.ones(3, dtype=torch.bfloat16), torch.zeros(0, dtype=torch.bool), collections.Counter("aab"),
        {"weights": torch.nn.Parameter(torch.ones(2)), "steps": [np.int64(4)]},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_plain_data_comes_back_as_it_was(value):
    callback, other = Counting(), Counting()
    callback.value_ = value

    restore_callback_state([("own", other)], through_a_file(callback_state([("own", callback)])))

    assert_equal(other.value_, value)


def assert_equal(got, expected):
    if isinstance(expected, torch.Tensor):
        assert torch.equal(got, expected.detach())
        assert got.dtype == expected.dtype
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(got, expected, strict=True)
    elif isinstance(expected, dict) and type(got) is type(expected):
        assert got.keys() == expected.keys()
        for key in expected:
            assert_equal(got[key], expected[key])
    else:
        assert got == expected
        assert type(got) is (str if isinstance(expected, np.str_) else type(expected))


def test_nan_comes_back():
    callback, other = Counting(), Counting()
    callback.value_ = float("nan")
    restore_callback_state([("own", other)], through_a_file(callback_state([("own", callback)])))
    assert np.isnan(other.value_)


def test_what_is_not_plain_is_left_out_and_parameters_are_not_touched():
    callback = Counting(size=2)
    callback.on_train_begin()
    callback.seen, callback.lock_, callback.function_, callback.mixed_ = 5, threading.Lock(), print, [1, print]
    callback.text_, callback.complex_ = np.array(["a"]), np.complex128(1j)
    state = through_a_file(callback_state([("own", callback), ("bar", ProgressBar())]))

    other = Counting(size=4)
    restore_callback_state([("own", other), ("new", Counting())], state)

    assert [*state] == ["own"]
    assert sorted(state["own"]["attributes"]) == ["mean_", "seen"]
    assert (other.seen, other.size) == (5, 4)


def test_the_state_shares_nothing_with_the_callback():
    callback, other = Counting(), Counting()
    callback.mean_ = torch.zeros(2)
    state = callback_state([("own", callback)])
    callback.mean_ += 1

    restore_callback_state([("own", other)], state)
    other.mean_ += 2

    assert callback.mean_.tolist() == [1, 1]
    assert state["own"]["attributes"]["mean_"]["data"].tolist() == [0, 0]


def test_callbacks_that_do_not_fit_the_state_are_named():
    state = callback_state([("mine", Counting())])
    with pytest.raises(
        ValueError, match=r"state of callbacks \['mine'\], and the classifier has \['yours'\]\. Give"
    ):
        restore_callback_state([("yours", Counting())], state)
    with pytest.raises(
        ValueError, match=r"a Counting for callback 'mine', which is now a EarlyStopping\. Give the"
    ):
        restore_callback_state([("mine", EarlyStopping())], state)


def test_an_object_with_a_state_must_be_there():
    callback = Counting()
    callback.average_ = torch.nn.Linear(1, 1)
    state = callback_state([("mine", callback)])
    with pytest.raises(ValueError, match=r"'average_' of callback 'mine'.*got None.*initialize or on_train_begin"):
        restore_callback_state([("mine", Counting())], state)


class Crash(Callback):
    """Ends the process of a run, as far as the run can tell, when the switch says so."""

    def __init__(self, switch):
        self.switch = switch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.switch.epoch:
            raise RuntimeError("crash")


class Switch:
    """Cannot be copied, so that all fits have the same one."""

    def __init__(self):
        self.epoch, self.lock = 0, threading.Lock()


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: [EarlyStopping("train_loss", load_best=True, patience=3)],
        lambda folder: [LRScheduler(lr_scheduler.ReduceLROnPlateau, monitor="valid_loss", patience=0)],
        lambda folder: [LRScheduler(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=40, step_every="batch")],
        lambda folder: [Freezer("*0*"), Unfreezer("*0*", at=4)],
        lambda folder: [Checkpoint(dirname=folder, load_best=True, monitor="train_loss_best")],
        lambda folder: [EpochScoring("f1_macro", name="f1", lower_is_better=False),
                        Checkpoint("f1_best", load_best=True, dirname=folder, event_name=None)],
    ],
    ids=["stopping", "plateau", "onecycle", "freezer", "checkpoint", "scoring"],
)  # fmt: skip
def test_a_fit_that_is_taken_up_ends_as_one_that_was_not_stopped(make, lesions, tmp_path):
    switch = Switch()

    def fit(name, crash_at=0):
        switch.epoch = crash_at
        classifier = LesionCNNClassifier(
            max_epochs=5, architecture_params={"width": 8, "depth": 1}, lr=0.01, lr_schedule=None, random_state=0,
            callbacks=[Crash(switch), *make(str(tmp_path / "files"))], checkpoint_dir=tmp_path / name,
        )  # fmt: skip
        return classifier.fit(lesions.images, lesions.target, groups=lesions.groups)

    whole = fit("whole")
    for epoch in (3, 5):
        with pytest.raises(RuntimeError, match="crash"):
            fit("cut off", crash_at=epoch)
    resumed = fit("cut off")

    assert resumed.best_epoch_ == whole.best_epoch_
    columns = [name for name in whole.history_ if name != "seconds"]
    assert resumed.history_[columns].equals(whole.history_[columns])
    weights, expected = resumed.net_.module_.state_dict(), whole.net_.module_.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert fit("whole").best_epoch_ == whole.best_epoch_  # a finished run is only read
