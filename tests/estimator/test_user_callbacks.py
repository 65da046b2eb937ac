"""Callbacks that users give: what is accepted, what is refused with which words, and what a copy shares."""

from __future__ import annotations

import copy
import re
import threading

import numpy as np
import pytest
import skorch.callbacks
from sklearn.base import clone
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LoadInitState,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    TrainEndCheckpoint,
    WandbLogger,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from skinclf import LesionCNNClassifier
from skinclf.estimator._user_callbacks import RESERVED_NAMES, copy_callbacks, fresh_callbacks


def names(callbacks):
    return [name for name, _ in fresh_callbacks(callbacks)]


class Own(Callback):
    """As users write them: no underscores, a log, and a handle."""

    def __init__(self, log=None, handle=None, other=None):
        self.log = [] if log is None else log
        self.handle = handle
        self.other = other


class Slotted(Callback):
    __slots__ = ("memory", "memory_")


class Watching(WandbLogger):
    """A subclass of a logger with something of its own."""

    def __init__(self, wandb_run, seen):
        super().__init__(wandb_run)
        self.seen = seen


class Uncopied(Callback):
    """Decides about its copies itself."""

    def __deepcopy__(self, memo):
        return self


class TestWhatIsAccepted:
    def test_instances_pairs_and_names(self):
        given = [EarlyStopping(), ("clip", GradientNormClipping(1.0)), "ProgressBar", Own()]

        fresh = fresh_callbacks(given)

        assert [(name, type(callback)) for name, callback in fresh] == [
            ("EarlyStopping", EarlyStopping), ("clip", GradientNormClipping), ("ProgressBar", ProgressBar),
            ("Own", Own),
        ]  # fmt: skip
        assert dict(fresh)["clip"].gradient_clip_value == 1.0
        assert fresh_callbacks(tuple(given)) is not fresh
        assert fresh_callbacks(None) == fresh_callbacks([]) == []

    def test_several_of_a_class_are_numbered_as_skorch_does_it(self):
        assert names(["EpochTimer", ("mine", Own()), "EpochTimer"]) == ["EpochTimer_1", "mine", "EpochTimer_2"]

    @pytest.mark.parametrize("name", sorted({*skorch.callbacks.__all__} - {"Callback"}))
    def test_a_name_works_exactly_where_the_class_needs_no_argument(self, name):
        kind = getattr(skorch.callbacks, name)
        if name in ("InputShapeSetter", "LoadInitState"):
            with pytest.raises(ValueError, match=rf"^callbacks\[0\]: {name} cannot be used here, since "):
                fresh_callbacks([name])
            return
        try:
            kind()
        except TypeError as error:
            needed = re.findall(r"'(\w+)'", str(error))
            words = re.escape(
                f"callbacks[0] is {name!r}, which needs {' and '.join(needed)}; pass an instance, {name}"
            )
            with pytest.raises(ValueError, match=f"^{words}" + r"\(\w+=\.\.\.\)\.$"):
                fresh_callbacks([name])
        else:
            assert [type(callback) for _, callback in fresh_callbacks([name])] == [kind]


@pytest.mark.parametrize(
    ("callbacks", "error", "message"),
    [
        (["a"], ValueError, r"callbacks\[0\] is 'a', which is no class of .*\. Known are \['BatchScoring'"),
        (["earlystoping"], ValueError, r"Did you mean 'EarlyStopping'\?"),
        (["WandLogger"], ValueError, r"Did you mean 'WandbLogger'( or '\w+')*\?"),
        (["Callback"], ValueError, "which is no class of skorch.callbacks"),
        ([EarlyStopping(), 3], TypeError, r"callbacks\[1\] must be a callback .*; got 3 of type int"),
        ([None], TypeError, r"callbacks\[0\] must be .*; got None of type NoneType"),
        ([["stop", EarlyStopping()]], TypeError, r"callbacks\[0\] must be .* of type list"),
        ([EarlyStopping], TypeError, r"callbacks\[0\] is the class EarlyStopping; pass an instance, Early"),
        ([("stop", EarlyStopping)], TypeError, r"callbacks\[0\] is the class EarlyStopping"),
        ([int], TypeError, r"callbacks\[0\] must be .*; got <class 'int'> of type type"),
        ([("stop",)], TypeError, r"callbacks\[0\] must be .*; got the tuple \('stop',\)"),
        ([(1, EarlyStopping())], TypeError, r"callbacks\[0\] must be .*; got the tuple \(1, "),
        ([("", EarlyStopping())], TypeError, r"got the tuple \('', "),
        ([("clip", "GradientNormClipping")], TypeError, "got 'GradientNormClipping' of type str"),
        ({"stop": EarlyStopping()}, TypeError, "callbacks must be a list or None; got {'stop'"),
        ("EarlyStopping", TypeError, "callbacks must be a list or None; got 'EarlyStopping'"),
        (EarlyStopping(), TypeError, "callbacks must be a list or None; got <skorch"),
        ([("a", Own()), ("a", Own())], ValueError, "callbacks has the name 'a' twice"),
        ([("Own", Own()), Own()], ValueError, "callbacks has the name 'Own' twice"),
        ([("Own_1", Own()), Own(), Own()], ValueError, "callbacks has the name 'Own_1' twice"),
        ([LoadInitState(Checkpoint())], ValueError, "weights of another one. .*checkpoint_dir.*warm_start=True"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_its_position(callbacks, error, message):
    with pytest.raises(error, match=message):
        fresh_callbacks(callbacks)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_the_names_of_our_callbacks_are_taken(name):
    with pytest.raises(
        ValueError, match=rf"^callbacks\[1\] has the name '{name}', which .*such as 'my_{name}'\.$"
    ):
        fresh_callbacks(["ProgressBar", (name, Own())])


def test_two_schedules_are_refused():
    schedule = LRScheduler(StepLR, step_size=1)
    message = (
        r"lr_schedule='cosine' and callback 'mine' would both set .* Set lr_schedule=None to use the callback"
    )
    with pytest.raises(ValueError, match=message):
        fresh_callbacks([("mine", schedule)], lr_schedule="cosine")
    assert names([schedule]) == ["LRScheduler"]


def test_a_scoring_that_would_get_no_labels_is_refused():
    with pytest.raises(
        ValueError, match=r"^Callback 'f1' has use_caching=False and scoring='f1_macro', which would"
    ):
        fresh_callbacks([("f1", EpochScoring("f1_macro", use_caching=False))])
    assert names([EpochScoring(lambda net, dataset, y: 1.0, use_caching=False, name="own")]) == ["EpochScoring"]


class TestWithoutValidationSet:
    @pytest.mark.parametrize(
        ("callback", "monitor", "remedy"),
        [
            (EarlyStopping(), "valid_loss", "train_loss"),
            (Checkpoint(), "valid_loss_best", "train_loss_best"),
            (
                EarlyStopping("valid_balanced_accuracy", lower_is_better=False),
                "valid_balanced_accuracy",
                "train_loss",
            ),
            (LRScheduler(ReduceLROnPlateau, monitor="valid_loss"), "valid_loss", "train_loss"),
        ],
    )  # fmt: skip
    def test_what_monitors_it_is_refused_before_training(self, callback, monitor, remedy):
        message = (
            f"^Callback 'mine' monitors '{monitor}', but there is no .*early_stopping=True, or monitor='{remedy}'"
        )
        with pytest.raises(ValueError, match=message):
            fresh_callbacks([("mine", callback)], validated=False)
        assert names([("mine", callback)]) == ["mine"]

    def test_what_does_not_is_taken(self):
        given = [
            EarlyStopping("train_loss"),
            LRScheduler(StepLR, monitor="valid_loss", step_size=1),
            EpochScoring("accuracy", on_train=True, name="valid_accuracy"),
            Checkpoint("valid_accuracy_best"),
            Checkpoint(lambda net: True),
        ]
        assert len(fresh_callbacks(given, validated=False)) == 5

    def test_a_score_that_nobody_can_compute_is_a_warning(self):
        with pytest.warns(UserWarning, match=r"'EpochScoring' will record nothing: .* Set on_train=True"):
            fresh_callbacks([EpochScoring("accuracy")], validated=False)


class TestCopies:
    @pytest.mark.parametrize("run", [threading.Lock(), {"could be": "copied"}], ids=["lock", "dict"])
    def test_of_skorchs_callbacks_have_no_state_and_share_their_handles(self, run):
        logger, scoring = WandbLogger(run), EpochScoring("accuracy", lower_is_better=False)
        for callback in (logger, scoring):
            callback.initialize()
        scoring.best_score_, stopping = 0.9, EarlyStopping()
        stopping.misses_ = 4

        copies = [callback for _, callback in fresh_callbacks([logger, scoring, stopping])]

        assert copies[0].wandb_run is run
        assert not [name for callback in copies for name in vars(callback) if name.endswith("_")]
        assert (copies[1].lower_is_better, copies[2].patience) == (False, 5)
        assert (scoring.best_score_, stopping.misses_) == (0.9, 4)

    def test_of_own_callbacks_are_deep_where_that_is_possible(self):
        lock, own = threading.Lock(), Own(log=[[1]])
        own.handle, own.fitted_, own._private = lock, "weights", {"a": 1}

        ((_, new),) = fresh_callbacks([own])

        assert new.log == [[1]]
        assert new.log[0] is not own.log[0]
        assert new.handle is lock
        assert new._private == {"a": 1}
        assert new._private is not own._private
        assert not hasattr(new, "fitted_")
        assert own.fitted_ == "weights"

    def test_what_one_attribute_shares_with_another_stays_shared(self):
        own = Own(log=[1])
        own.same, own.append = own.log, own.log.append
        own.method = own.on_epoch_end

        ((_, new),) = fresh_callbacks([own])

        assert new.same is new.log
        assert new.log is not own.log
        assert new.method.__self__ is new

    @pytest.mark.parametrize("error", [TypeError, ValueError, RuntimeError, NotImplementedError])
    def test_what_refuses_to_be_copied_is_shared(self, error):
        class Handle:
            def __deepcopy__(self, memo):
                raise error("no copies")

        own = Own(handle=[Handle()], log=["kept"])
        ((_, new),) = fresh_callbacks([own])
        assert new.handle is own.handle
        assert new.log is not own.log

    def test_the_handle_of_a_subclass_of_a_logger_is_shared_and_the_rest_copied(self):
        run = {"copied": "this could be"}
        ((_, new),) = fresh_callbacks([Watching(run, seen=[0])])
        assert new.wandb_run is run
        assert new.seen == [0]

    def test_callbacks_that_refer_to_each_other_still_do(self):
        scoring = EpochScoring("accuracy")
        copies = dict(fresh_callbacks([("own", Own(other=scoring, log=[scoring])), ("score", scoring)]))
        assert copies["own"].other is copies["score"]
        assert copies["own"].log == [copies["score"]]

    def test_of_slots(self):
        slotted = Slotted()
        slotted.memory, slotted.memory_ = [1], [2]
        ((_, new),) = fresh_callbacks([slotted])
        assert new.memory == [1]
        assert new.memory is not slotted.memory
        assert not hasattr(new, "memory_")

    def test_a_callback_may_decide_itself(self):
        uncopied = Uncopied()
        assert fresh_callbacks([uncopied]) == [("Uncopied", uncopied)]

    @pytest.mark.parametrize(
        "callback",
        [
            Freezer("*.bias"),
            ProgressBar(),
            PrintLog(),
            TrainEndCheckpoint(f_params=None),
            PassthroughScoring("loss"),
        ],
        ids=lambda callback: type(callback).__name__,
    )
    def test_the_original_is_not_touched_by_what_happens_to_the_copy(self, callback):
        before = copy.copy(vars(callback))
        ((_, new),) = fresh_callbacks([callback])
        new.initialize()
        assert vars(callback) == before


class TestCheckpointCopies:
    def test_files_are_never_loaded(self):
        given = Checkpoint(load_best=True, event_name=None)

        (name, checkpoint), (keeper_name, keeper) = fresh_callbacks([("cp", given)])

        assert (name, keeper_name) == ("cp", "cp_kept")
        assert checkpoint.load_best is False
        assert keeper.checkpoint is checkpoint
        assert (given.load_best, given.event_name) == (True, None)

    @pytest.mark.parametrize(
        "given", [Checkpoint(), Checkpoint(monitor=None, load_best=True), TrainEndCheckpoint()]
    )
    def test_without_load_best_nothing_is_kept(self, given):
        assert len(fresh_callbacks([given])) == 1

    def test_no_name_leads_to_one_of_ours(self):
        for name in ("best", "checkpoint", "learning", "valid", "train"):
            callbacks = dict(fresh_callbacks([(name, Checkpoint(load_best=True))]))
            assert not RESERVED_NAMES & {*callbacks}

    def test_the_name_of_the_keeper_must_be_free(self):
        with pytest.raises(ValueError, match="callbacks has the name 'cp_kept' twice"):
            fresh_callbacks([("cp", Checkpoint(load_best=True)), ("cp_kept", Own())])


class TestClones:
    def test_share_the_handles_and_nothing_else(self):
        lock = threading.Lock()
        logger, own = WandbLogger(lock), Own(log=[1])
        classifier = LesionCNNClassifier(callbacks=[("log", logger), own, "ProgressBar"], lr=0.3)

        cloned = clone(classifier)

        assert cloned.lr == 0.3
        (name, new_logger), new_own, text = cloned.callbacks
        assert (name, text) == ("log", "ProgressBar")
        assert new_logger.wandb_run is lock
        assert new_logger is not logger
        assert new_own.log == [1]
        assert new_own.log is not own.log
        assert classifier.callbacks == [("log", logger), own, "ProgressBar"]

    @pytest.mark.parametrize("wrong", [None, "text", 3, [int, 4], [("a", "b", 2)], {"a": 1}, ()])
    def test_of_wrong_callbacks_leave_the_error_to_fit(self, wrong):
        assert clone(LesionCNNClassifier(callbacks=wrong)).callbacks == copy_callbacks(wrong) == wrong

    def test_a_class_whose_constructor_renames_its_arguments_can_be_cloned(self):
        class Renaming(Callback):
            def __init__(self, limit):
                self.at_most = limit

        assert clone(LesionCNNClassifier(callbacks=[Renaming(3)])).callbacks[0].at_most == 3

    def test_a_representation_shows_them(self):
        classifier = LesionCNNClassifier(callbacks=[EarlyStopping(), ("log", WandbLogger(threading.Lock()))])
        assert "EarlyStopping" in repr(classifier)
        assert "WandbLogger" in classifier._repr_html_()
        assert classifier.get_params()["callbacks"] is classifier.callbacks

    def test_metadata_requests_go_along(self):
        import sklearn

        with sklearn.config_context(enable_metadata_routing=True):
            classifier = LesionCNNClassifier(callbacks=[Own()]).set_fit_request(groups=True)
            assert clone(classifier).get_metadata_routing().fit.requests["groups"] is True


def test_numpy_is_not_asked_for_a_truth_value():
    """Arrays among the attributes are compared nowhere."""
    ((_, new),) = fresh_callbacks([Own(log=np.arange(3), other=np.arange(3))])
    np.testing.assert_array_equal(new.log, [0, 1, 2])


@pytest.mark.parametrize(
    ("monitor", "lower_is_better"),
    [("valid_balanced_accuracy", True), ("valid_accuracy", True), ("valid_loss", False)],
)
def test_early_stopping_in_the_wrong_direction_is_refused(monitor, lower_is_better):
    stopping = EarlyStopping(monitor, lower_is_better=lower_is_better)
    with pytest.raises(ValueError, match=rf"the worst {monitor}: .*Set lower_is_better={not lower_is_better}"):
        fresh_callbacks([stopping])
    assert fresh_callbacks([EarlyStopping(monitor, lower_is_better=not lower_is_better)])
