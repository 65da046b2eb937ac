"""A search with Optuna gives bad candidates up after a few epochs."""

from __future__ import annotations

import copy
import functools
import importlib.util
import inspect
import pickle
import sys
from collections.abc import Iterator

import optuna
import pytest
from optuna.trial import TrialState
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from skorch.callbacks import Callback, EpochScoring

from skinclf import LesionCNNClassifier
from skinclf.estimator import TrialPruning

EPOCHS = 5
Quick = functools.partial(
    LesionCNNClassifier, max_epochs=EPOCHS, architecture_params={"width": 8, "depth": 1}, lr_schedule=None,
    patience=EPOCHS, random_state=0,
)  # fmt: skip
GOOD, BAD = 3e-3, 1e-9


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(verbosity)


class CountEpochs(Callback):
    """Counts epochs in a list that all copies share."""

    counted: list[int] = []  # noqa: RUF012

    def on_epoch_begin(self, net, **kwargs):
        self.counted.append(len(net.history))


@pytest.fixture
def epochs():
    CountEpochs.counted.clear()
    return CountEpochs.counted


class Compare(optuna.pruners.BasePruner):
    """End a trial whose value at a step is worse than that of the first trial, from the second epoch on."""

    def prune(self, study, trial):
        first = study.get_trials(deepcopy=False)[0]
        if trial.number == 0 or trial.last_step % EPOCHS == 1:
            return False
        worse = trial.intermediate_values[trial.last_step] - first.intermediate_values[trial.last_step]
        return worse > 0 if study.direction.name == "MINIMIZE" else worse < 0


def objective_of(fit, monitor="train_loss"):
    """The loss of the training images falls with a good rate and stays with a bad one, whatever the seed."""

    def objective(trial):
        lr = trial.suggest_float("lr", BAD, GOOD, log=True)
        return fit(Quick(lr=lr, callbacks=[TrialPruning(trial, monitor), CountEpochs()]))

    return objective


def new_study(rates, pruner=None, **params):
    study = optuna.create_study(pruner=pruner or Compare(), **params)
    for lr in rates:
        study.enqueue_trial({"lr": lr})
    return study


def states(study):
    return [trial.state for trial in study.trials]


class TestOneFitATrial:
    @pytest.fixture
    def fit(self, lesions):
        def fit(classifier):
            classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
            return classifier.history_["train_loss"].min()

        return fit

    def test_bad_trials_end_early_and_good_ones_are_completed(self, fit, epochs):
        study = new_study([GOOD, BAD, GOOD, BAD])

        study.optimize(objective_of(fit), n_trials=4)

        assert states(study) == [TrialState.COMPLETE, TrialState.PRUNED] * 2
        assert [[*trial.intermediate_values] for trial in study.trials] == [[1, 2, 3, 4, 5], [1, 2]] * 2
        assert epochs == [1, 2, 3, 4, 5, 1, 2, 1, 2, 3, 4, 5, 1, 2]
        assert study.best_params == {"lr": GOOD}

    def test_with_a_pruner_of_optuna(self, fit, epochs):
        study = new_study([GOOD, BAD], optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3))
        study.optimize(objective_of(fit), n_trials=2)
        assert states(study) == [TrialState.COMPLETE, TrialState.PRUNED]
        assert len(epochs) == 5 + 3

    @pytest.mark.parametrize(("params", "name"), [({}, "valid_loss"), ({"monitor": "f1"}, "f1")])
    def test_the_scores_of_the_history_are_reported(self, lesions, params, name):
        study = optuna.create_study()
        pruning = TrialPruning(study.ask(), **params)
        classifier = Quick(callbacks=[EpochScoring("f1_macro", name="f1"), pruning])
        classifier.fit(lesions.images, lesions.target)
        assert [*study.trials[0].intermediate_values.values()] == classifier.history_[name].tolist()

    def test_a_score_that_is_not_recorded_is_named(self, fit):
        study = new_study([GOOD])
        with pytest.raises(ValueError, match="Callback 'TrialPruning' asks for 'f1', which the history does not"):
            study.optimize(objective_of(fit, "f1"), n_trials=1)

    @pytest.mark.parametrize(
        ("direction", "monitor", "remedy"),
        [
            ("maximize", "valid_loss", "valid_balanced_accuracy"),
            ("maximize", "train_loss", "valid_balanced_accuracy"),
            ("minimize", "valid_balanced_accuracy", "valid_loss"),
        ],
    )
    def test_the_direction_must_be_that_of_the_study(self, fit, epochs, direction, monitor, remedy):
        message = f"report '{monitor}' to a study with direction='{direction}', .* Set monitor='{remedy}'"
        with pytest.raises(ValueError, match=message):
            new_study([GOOD], direction=direction).optimize(objective_of(fit, monitor), n_trials=1)
        assert epochs == []

    def test_a_study_of_two_objectives_is_refused(self, fit):
        study = optuna.create_study(directions=["minimize", "minimize"])
        with pytest.raises(ValueError, match="needs a study of one objective; this one has 2"):
            study.optimize(objective_of(fit), n_trials=1)


class TestCrossValidation:
    def objective(self, lesions, **params):
        def fit(classifier):
            cv = KFold(3, shuffle=True, random_state=0)
            scores = cross_val_score(classifier, lesions.images, lesions.target, cv=cv, **params)
            return 1 - float(scores.mean())

        return objective_of(fit)

    def test_every_fold_has_its_own_steps(self, lesions, epochs):
        study = new_study([GOOD, GOOD], pruner=optuna.pruners.NopPruner())

        study.optimize(self.objective(lesions, error_score="raise"), n_trials=2)

        for trial in study.trials:
            assert [*trial.intermediate_values] == [*range(1, 3 * EPOCHS + 1)]
            assert trial.user_attrs == {"skinclf_fits": 3}
        assert study.trials[0].intermediate_values == study.trials[1].intermediate_values
        assert len(epochs) == 2 * 3 * EPOCHS

    def test_a_bad_trial_is_not_trained_on_the_other_folds(self, lesions, epochs):
        study = new_study([GOOD, BAD])

        study.optimize(self.objective(lesions, error_score="raise"), n_trials=2)

        assert states(study) == [TrialState.COMPLETE, TrialState.PRUNED]
        pruned = len(study.trials[1].intermediate_values)
        assert pruned < EPOCHS
        assert len(epochs) == 3 * EPOCHS + pruned

    def test_a_swallowed_pruning_does_not_train_on(self, lesions, epochs):
        """scikit-learn makes NaN of any error, unless it is told to raise."""
        study = new_study([GOOD, BAD])
        with pytest.raises(ValueError, match=r'(?s)pruned in an earlier fit, .* set error_score="raise"'):
            study.optimize(self.objective(lesions), n_trials=2)
        assert len(epochs) == 3 * EPOCHS + len(study.trials[1].intermediate_values) < 4 * EPOCHS

    def test_a_search_inside_a_trial(self, lesions):
        """Grid values are cloned too."""
        trial = optuna.create_study().ask()
        grid = {"callbacks": [[TrialPruning(trial)]]}
        search = GridSearchCV(Quick(), grid, cv=2, refit=False, error_score="raise")
        search.fit(lesions.images, lesions.target)
        assert [*trial.study.trials[0].intermediate_values] == [*range(1, 2 * EPOCHS + 1)]

    def test_another_process_has_no_trial(self, lesions):
        """What goes there is pickled."""
        classifier = Quick(callbacks=[TrialPruning(optuna.create_study().ask())])
        sent = pickle.loads(pickle.dumps(classifier))
        with pytest.raises(TypeError, match=r"got None\. A trial does not go along into another process"):
            sent.fit(lesions.images, lesions.target)


class TestCopies:
    @pytest.mark.parametrize(
        "copied",
        [
            copy.deepcopy, clone, lambda pruning: clone(LesionCNNClassifier(callbacks=[pruning])).callbacks[0],
            lambda pruning: copy.deepcopy(LesionCNNClassifier(callbacks=[("p", pruning)])).callbacks[0][1],
        ],
    )  # fmt: skip
    def test_report_to_the_same_study(self, copied):
        study = optuna.create_study()
        pruning = TrialPruning(study.ask(), "train_loss")

        new = copied(pruning)
        new.trial.report(0.5, 1)

        assert new is not pruning
        assert (new.trial, new.monitor) == (pruning.trial, "train_loss")
        assert study.trials[0].intermediate_values == {1: 0.5}

    def test_a_copied_trial_would_report_to_a_copied_study(self):
        """This is what the callback guards against."""
        study = optuna.create_study()
        copy.deepcopy(study.ask()).report(0.5, 1)
        assert study.trials[0].intermediate_values == {}

    def test_a_pickled_classifier_predicts_and_has_no_trial(self, lesions):
        classifier = Quick(callbacks=[TrialPruning(optuna.create_study().ask())], max_epochs=1)
        classifier.fit(lesions.images, lesions.target)
        loaded = pickle.loads(pickle.dumps(classifier))
        assert (loaded.predict(lesions.images) == classifier.predict(lesions.images)).all()
        assert loaded.callbacks[0].trial is None

    def test_a_fit_leaves_the_callback_of_the_user_as_it_was(self, lesions):
        pruning = TrialPruning(optuna.create_study().ask())
        Quick(callbacks=[pruning], max_epochs=1).fit(lesions.images, lesions.target)
        assert [*vars(pruning)] == ["trial", "monitor"]

    def test_it_has_a_representation(self):
        classifier = LesionCNNClassifier(callbacks=[TrialPruning(optuna.create_study().ask())])
        assert "TrialPruning" in classifier._repr_html_()


@pytest.mark.parametrize("wrong", [None, 3, "trial"])
def test_anything_but_a_trial_is_refused(lesions, wrong):
    with pytest.raises(TypeError, match=rf"needs the trial that Optuna gives to the objective; got {wrong!r}\."):
        Quick(callbacks=[TrialPruning(wrong)]).fit(lesions.images, lesions.target)


def test_a_fixed_trial_is_never_pruned(lesions):
    trial = optuna.trial.FixedTrial({"lr": BAD})
    assert Quick(callbacks=[TrialPruning(trial)]).fit(lesions.images, lesions.target).n_epochs_ == EPOCHS


def test_without_optuna_the_error_says_what_to_install(lesions, monkeypatch):
    trial = optuna.create_study().ask()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'^TrialPruning needs Optuna: pip install "skinclf\[search\]"\.$'):
        Quick(callbacks=[TrialPruning(trial)]).fit(lesions.images, lesions.target)


def test_the_import_does_not_need_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    spec = importlib.util.spec_from_file_location("pruning_again", inspect.getsourcefile(TrialPruning))
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.TrialPruning(None).monitor == "valid_loss"
