"""`LesionEnsemble`: the vote, its temperature, its guard and its file."""

from __future__ import annotations

import functools
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from saved_models import linear_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, StratifiedGroupKFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinclf import LesionCNNClassifier, LesionEnsemble
from skinclf.datasets import make_lesions
from skinclf.estimator import ModelFileError
from skinclf.evaluation import (
    LeakageError,
    LeakageWarning,
    TemperatureScaling,
    apply_temperature,
    calibration_metrics,
    cross_validate,
    fit_temperature,
)
from skinclf.preprocessing import ImageFlattener

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=1, image_size=16, architecture_params={"width": 8, "depth": 1}, random_state=0
)


@parametrize_with_checks([LesionEnsemble(LogisticRegression(), cv=2)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def unseen():
    """Photos of lesions that are nowhere else."""
    return make_lesions(28, images_per_lesion=2, image_size=16, random_state=77)


@pytest.fixture(scope="module")
def ensemble(lesions):
    """Of the first 120 of 168 images, which are 60 of 84 lesions."""
    rows = slice(0, 120)
    return LesionEnsemble(Quick(), cv=3).fit(
        lesions.images[rows], lesions.target[rows], groups=lesions.groups[rows]
    )


@contextmanager
def noted_warnings() -> Iterator[list[str]]:
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    messages += [str(warning.message) for warning in caught]


# --- the vote


def test_the_vote_is_the_mean_of_what_the_members_say(data) -> None:
    X, y, lesion = data
    ensemble = LesionEnsemble(GaussianNB(), cv=4).fit(X, y, groups=lesion)
    proba = [member.predict_proba(X) for member in ensemble.estimators_]
    by_hand = np.mean([apply_temperature(each, ensemble.temperature_) for each in proba], axis=0)

    np.testing.assert_allclose(ensemble.predict_proba(X), by_hand, rtol=1e-12)
    assert ensemble.predict(X).tolist() == ensemble.classes_[by_hand.argmax(axis=1)].tolist()
    assert len(ensemble.estimators_) == 4
    assert ensemble.n_features_in_ == 3

    plain = LesionEnsemble(GaussianNB(), cv=4, calibrate=False).fit(X, y, groups=lesion)
    np.testing.assert_allclose(plain.predict_proba(X), np.mean(proba, axis=0), rtol=1e-12)
    assert (plain.temperature_, plain.n_calibration_images_) == (1.0, 0)


def test_fitted_or_from_a_cross_validation_it_is_the_same(data) -> None:
    X, y, lesion = data
    result = cross_validate(GaussianNB(), X, y, groups=lesion, cv=4)
    taken = LesionEnsemble.from_cross_validation(result)
    fitted = LesionEnsemble(GaussianNB(), cv=4).fit(X, y, groups=lesion)

    np.testing.assert_array_equal(taken.predict_proba(X), fitted.predict_proba(X))
    assert taken.temperature_ == fitted.temperature_ == fit_temperature(y, result.y_proba)
    assert taken.n_calibration_images_ == len(y)
    assert taken.get_params() == {**fitted.get_params(), "estimator": taken.estimator}
    assert taken.estimators_[2] is result.estimators[2]
    np.testing.assert_array_equal(clone(taken).fit(X, y, groups=lesion).predict_proba(X), taken.predict_proba(X))


def test_members_are_fitted_by_lesion_and_the_temperature_on_what_they_did_not_see(data) -> None:
    X, y, lesion = data

    class Noting(GaussianNB):
        seen: list = []  # noqa: RUF012

        def fit(self, X, y):
            self.seen.append(set(X[:, 0]))
            return super().fit(X, y)

        def predict_proba(self, X):
            assert self.seen
            return super().predict_proba(X)

    LesionEnsemble(Noting(), cv=4).fit(X, y, groups=lesion)

    tested = [set(X[:, 0]) - rows for rows in Noting.seen]
    assert len(tested) == 4
    assert sorted(value for rows in tested for value in rows) == sorted(X[:, 0])
    of_value = dict(zip(X[:, 0], lesion, strict=True))
    for rows, others in zip(Noting.seen, tested, strict=True):
        assert not {of_value[value] for value in rows} & {of_value[value] for value in others}


def test_a_class_that_a_member_does_not_know_has_no_probability_from_it() -> None:
    generator = np.random.default_rng(0)
    y = np.array(["df"] * 4 + ["mel", "nv"] * 20)
    X = generator.normal(size=(44, 2)) + (y == "mel")[:, None]
    X[y == "df"] += 5
    splits = [(np.arange(4, 30), np.r_[30:44]), (np.r_[0:4, 20:44], np.arange(4, 20))]
    ensemble = LesionEnsemble(GaussianNB(), cv=splits, calibrate=False).fit(X, y)

    proba = ensemble.predict_proba(X[:1])

    assert ensemble.classes_.tolist() == ["df", "mel", "nv"]
    assert [len(member.classes_) for member in ensemble.estimators_] == [2, 3]
    assert proba[0, 0] == ensemble.estimators_[1].predict_proba(X[:1])[0, 0] / 2
    assert proba.sum() == pytest.approx(1)


def test_a_splitter_that_leaves_rows_untested(data) -> None:
    X, y, lesion = data
    ensemble = LesionEnsemble(GaussianNB(), cv=GroupShuffleSplit(1, test_size=0.3, random_state=0))
    ensemble.fit(X, y, groups=lesion)

    assert len(ensemble.estimators_) == 1
    assert 0 < ensemble.n_calibration_images_ < len(y) / 2


def test_it_is_searched_cross_validated_and_pickled(data) -> None:
    X, y, lesion = data
    model = LesionEnsemble(make_pipeline(StandardScaler(), GaussianNB()), cv=2)
    grid = {"estimator__gaussiannb__var_smoothing": [1e-9, 0.1], "calibrate": [True, False]}
    search = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    result = cross_validate(model, X, y, groups=lesion, cv=3)

    assert search.best_estimator_.estimators_
    assert result.scores["accuracy"].mean() > 1 / 3
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(search)).predict_proba(X), search.predict_proba(X))


def test_the_seed_shuffles_folds_and_nothing_else(data) -> None:
    X, y, lesion = data
    first, second, other = (
        LesionEnsemble(GaussianNB(), cv=3, random_state=seed).fit(X, y, groups=lesion).predict_proba(X)
        for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_no_estimator_stands_for_the_networks_default() -> None:
    ensemble = LesionEnsemble(random_state=3)

    default = ensemble._default_classifier()

    assert type(default) is LesionCNNClassifier
    assert default.get_params() == LesionCNNClassifier(random_state=3).get_params()
    assert ensemble.__sklearn_tags__().input_tags.string
    with pytest.raises(NotFittedError, match="LesionEnsemble instance is not fitted yet"):
        ensemble.predict([[0.0]])


def test_lesions_and_weights_get_to_the_members(lesion_files, lesions, unseen) -> None:
    by_column = LesionEnsemble(Quick(), cv=3).fit(lesion_files, lesions.target)
    by_groups = LesionEnsemble(Quick(), cv=3).fit(lesions.images, lesions.target, groups=lesions.groups)
    weighted = LesionEnsemble(Quick(), cv=3).fit(
        lesions.images, lesions.target, groups=lesions.groups, sample_weight=np.linspace(0.1, 2, 168)
    )

    proba = by_groups.predict_proba(unseen.images)
    np.testing.assert_array_equal(by_column.predict_proba(unseen.images), proba)
    assert not np.allclose(weighted.predict_proba(unseen.images), proba, atol=1e-3)


def test_lesions_must_not_be_torn_apart(data) -> None:
    X, y, lesion = data
    by_image = StratifiedKFold(3, shuffle=True, random_state=0)
    with pytest.raises(LeakageError, match="lesion"):
        LesionEnsemble(GaussianNB(), cv=by_image).fit(X, y, groups=lesion)


# --- calibration


def overconfident_model():
    """A linear model of a hundred numbers, which knows 210 lesions by heart."""
    from sklearn.decomposition import PCA

    return make_pipeline(ImageFlattener(), PCA(100, random_state=0), LinearDiscriminantAnalysis())


def test_calibrated_members_make_the_better_vote() -> None:
    """The ways that the documentation compares, on lesions that no member has seen."""
    train = make_lesions(210, images_per_lesion=2, image_size=16, random_state=0)
    test = make_lesions(350, images_per_lesion=1, image_size=16, random_state=99)
    result = cross_validate(overconfident_model(), train.images, train.target, groups=train.groups)
    calibrated = LesionEnsemble.from_cross_validation(result)
    raw = LesionEnsemble.from_cross_validation(result, calibrate=False)
    member = [each.predict_proba(test.images) for each in result.estimators]
    own = [
        fit_temperature(result.y_true[result.fold == k], result.y_proba[result.fold == k], labels=result.classes)
        for k in range(5)
    ]
    probabilities = {
        "member": apply_temperature(member[0], calibrated.temperature_),
        "raw": raw.predict_proba(test.images),
        "calibrated": calibrated.predict_proba(test.images),
        "temperature after the vote": apply_temperature(raw.predict_proba(test.images), calibrated.temperature_),
        "a temperature for each": np.mean(list(map(apply_temperature, member, own)), axis=0),
    }
    loss = {name: log_loss(test.target, proba) for name, proba in probabilities.items()}
    summaries = {
        name: calibration_metrics(test.target, proba, n_draws=20, n_bins=10).summary["estimate"]
        for name, proba in probabilities.items()
    }

    assert calibrated.temperature_ > 3
    assert loss["calibrated"] < loss["raw"] - 0.2
    assert loss["calibrated"] < loss["member"] - 0.04
    assert loss["calibrated"] < loss["temperature after the vote"]
    assert abs(loss["calibrated"] - loss["a temperature for each"]) < 0.01
    assert summaries["calibrated"]["ece"] < summaries["raw"]["ece"] / 2
    # Calibrated members disagree, and their mean is less sure than it could be; after the vote still less so.
    confidence = {name: summary["overconfidence"] for name, summary in summaries.items()}
    assert confidence["temperature after the vote"] < confidence["calibrated"] < 0 < confidence["raw"]


def test_a_temperature_of_the_vote_itself_can_be_fitted_on_further_lesions(data) -> None:
    X, y, lesion = data
    first = np.isin(lesion, np.unique(lesion)[:40])
    ensemble = LesionEnsemble(GaussianNB(), cv=3).fit(X[first], y[first], groups=lesion[first])
    scaled = TemperatureScaling(FrozenEstimator(ensemble)).fit(X[~first], y[~first])

    assert scaled.temperature_ == fit_temperature(y[~first], ensemble.predict_proba(X[~first]))


# --- messages


def test_what_an_ensemble_cannot_be_made_of(data) -> None:
    X, y, lesion = data
    result = cross_validate(GaussianNB(), X, y, groups=lesion, cv=3, return_estimator=False)
    with pytest.raises(ValueError, match=r"return_estimator=False\. Cross-validate with return_estimator=True"):
        LesionEnsemble.from_cross_validation(result)
    with pytest.raises(TypeError, match=r"result must be what .*cross_validate returns.*got dict"):
        LesionEnsemble.from_cross_validation({"test_score": [0.5]})
    with pytest.raises(ValueError, match="'estimator' parameter of LesionEnsemble must be an object implementing"):
        LesionEnsemble(LinearSVC()).fit(X, y)
    with pytest.raises(TypeError, match="estimator must have predict_proba once it is fitted"):
        LesionEnsemble.from_cross_validation(cross_validate(LinearSVC(), X, y, groups=lesion, cv=3))


def test_no_temperature_from_predictions_of_what_was_trained_on(data) -> None:
    X, y, lesion = data
    leaky = [(np.arange(len(y)), np.arange(0, 60)), (np.arange(0, 60), np.arange(60, len(y)))]
    with pytest.warns(LeakageWarning):
        result = cross_validate(GaussianNB(), X, y, groups=lesion, cv=leaky, on_leakage="warn")

    with pytest.raises(LeakageError, match=r"[12] of 2 folds tested what they trained.*pass calibrate=False"):
        LesionEnsemble.from_cross_validation(result)
    assert LesionEnsemble.from_cross_validation(result, calibrate=False).temperature_ == 1


# --- the guard


def test_the_guard_is_silent_on_its_training_set_and_on_new_lesions(ensemble, lesions, unseen) -> None:
    ensemble.score(lesions.images[:120], lesions.target[:120])
    ensemble.predict_proba(lesions.images[30:60])  # as one model is, asked about images that it was trained on
    ensemble.predict(unseen.images)
    ensemble.predict(unseen.images[:1])
    ensemble.predict(lesions.images[5:6])


def test_the_guard_warns_once_of_a_mixture(ensemble, lesions, unseen) -> None:
    mixed = np.concatenate([unseen.images[:6], lesions.images[[3, 50, 90]]])
    with pytest.warns(LeakageWarning) as caught:
        ensemble.predict(mixed)

    (warning,) = caught
    assert str(warning.message).startswith(
        "3 of 9 rows to predict (33.3 %) were in the training, 3 as the same image; the first are rows 6, 7, 8."
    )
    assert warning.filename == __file__
    ensemble.predict_proba(mixed)  # of the same set, right after it
    with pytest.warns(LeakageWarning, match="120 of 168 rows"):
        ensemble.predict(lesions.images)


def test_the_guard_says_what_that_of_one_model_says(lesions, lesion_files) -> None:
    """For whatever set: one network that is trained on all rows of the ensemble is the reference."""
    train, y = lesion_files.iloc[:120], lesions.target[:120]
    one, many = Quick().fit(train, y), LesionEnsemble(Quick(), cv=3).fit(train, y)
    generator = np.random.default_rng(0)
    sets = [np.sort(generator.choice(168, size, replace=False)) for size in (1, 2, 5, 40, 160)]
    for rows in [*sets, np.arange(120), np.arange(119), np.arange(120, 168), np.r_[0, 120], np.arange(168)]:
        said = []
        for model in (one, many):
            with noted_warnings() as messages:
                model.predict(lesion_files.iloc[rows])
            said.append(messages)
        assert said[0] == said[1], rows


def test_another_photo_of_a_lesion_is_recognised(lesions, lesion_files) -> None:
    is_first = ~lesion_files.duplicated("lesion_id").to_numpy()
    ensemble = LesionEnsemble(Quick(), cv=3).fit(lesion_files[is_first], lesions.target[is_first])
    with pytest.warns(LeakageWarning, match="84 of 84 rows .* 84 as another photo of the same lesion"):
        ensemble.predict(lesion_files[~is_first])


def test_raise_and_ignore(lesions) -> None:
    images, y = lesions.images, lesions.target
    for leakage in ("raise", "ignore"):
        model = LesionEnsemble(Quick(leakage=leakage), cv=2)
        model.fit(images[:120], y[:120], groups=lesions.groups[:120])
        model.predict(images[:120])
        if leakage == "ignore":
            model.predict(images)
        else:
            with pytest.raises(LeakageError, match="120 of 168 rows to predict"):
                model.predict(images)
            model.predict(images[:120])  # nothing is left over from the error


def test_members_on_their_own_speak_for_themselves(ensemble, lesions) -> None:
    with pytest.warns(LeakageWarning, match=r"of 120 rows to predict"):
        ensemble.estimators_[0].predict(lesions.images[:120])


def test_inside_another_ensemble_it_is_a_member(lesions) -> None:
    images, y, groups = lesions.images[:120], lesions.target[:120], lesions.groups[:120]
    splits = list(StratifiedGroupKFold(2).split(images, y, groups))
    outer = CalibratedClassifierCV(LesionEnsemble(Quick(), cv=2), cv=splits).fit(images, y)
    nested = LesionEnsemble(LesionEnsemble(Quick(), cv=2), cv=2).fit(images, y, groups=groups)
    outer.score(images, y)
    nested.score(images, y)
    with pytest.warns(LeakageWarning, match="of 100 rows"):
        outer.predict(lesions.images[68:])
    with pytest.warns(LeakageWarning, match="52 of 100 rows") as caught:
        nested.predict(lesions.images[68:])
    assert len(caught) == 1


# --- the file


def test_a_loaded_ensemble_is_the_saved_one(ensemble, lesions, unseen, tmp_path) -> None:
    path = tmp_path / "ensemble.safetensors"
    ensemble.save(path)
    loaded = LesionEnsemble.load(path)

    np.testing.assert_array_equal(loaded.predict_proba(unseen.images), ensemble.predict_proba(unseen.images))
    assert loaded.predict(unseen.images).tolist() == ensemble.predict(unseen.images).tolist()
    assert vars(loaded).keys() == vars(ensemble).keys()
    assert (loaded.temperature_, loaded.n_calibration_images_) == (ensemble.temperature_, 120)
    assert loaded.n_features_in_ == 16 * 16 * 3
    assert {**loaded.get_params(), "estimator": 0} == {**ensemble.get_params(), "estimator": 0}
    with pytest.warns(LeakageWarning, match="120 of 168 rows"):
        loaded.predict(lesions.images)
    loaded.predict(lesions.images[:120])
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    again = clone(loaded).fit(lesions.images[:120], lesions.target[:120], groups=lesions.groups[:120])
    np.testing.assert_array_equal(again.predict_proba(unseen.images), ensemble.predict_proba(unseen.images))


def test_a_network_of_ones_own_is_passed_again(lesions, unseen, tmp_path) -> None:
    model = LesionEnsemble(LesionCNNClassifier(linear_network, max_epochs=1, random_state=0), cv=2)
    model.fit(lesions.images, lesions.target, groups=lesions.groups).save(tmp_path / "own")

    with pytest.raises(ModelFileError, match=r"own network saved_models\.linear_network, and files hold no code"):
        LesionEnsemble.load(tmp_path / "own")
    loaded = LesionEnsemble.load(tmp_path / "own", architecture=linear_network)
    np.testing.assert_array_equal(loaded.predict_proba(unseen.images), model.predict_proba(unseen.images))


def test_foreign_members_are_sent_to_joblib(data, tmp_path) -> None:
    X, y, lesion = data
    for model in (GaussianNB(), make_pipeline(StandardScaler(), GaussianNB())):
        fitted = LesionEnsemble(model, cv=2).fit(X, y, groups=lesion)
        with pytest.raises(
            TypeError, match=rf"a member is a {type(model).__name__}\. .*joblib\.dump or skops\.io\.dump"
        ):
            fitted.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFittedError):
        LesionEnsemble(Quick()).save(tmp_path / "model")


def test_files_are_not_overwritten_unless_asked(ensemble, tmp_path) -> None:
    ensemble.save(tmp_path / "model")
    with pytest.raises(FileExistsError):
        ensemble.save(tmp_path / "model")
    ensemble.save(tmp_path / "model", overwrite=True)


def test_what_the_file_cannot_hold_is_said_once(lesions, tmp_path) -> None:
    model = LesionEnsemble(Quick(random_state=np.random.default_rng(0)), cv=StratifiedGroupKFold(2))
    model.fit(lesions.images, lesions.target, groups=lesions.groups)
    with pytest.warns(UserWarning, match=r"cannot hold \['random_state'\]\. An ensemble that is loaded") as caught:
        model.save(tmp_path / "model")

    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert LesionEnsemble.load(tmp_path / "model").cv == 2


def test_kinds_of_files_are_not_mixed_up(ensemble, tmp_path) -> None:
    ensemble.save(tmp_path / "ensemble")
    ensemble.estimators_[0].save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"is a saved ensemble, not a saved model\. .*LesionEnsemble\.load"):
        LesionCNNClassifier.load(tmp_path / "ensemble")
    with pytest.raises(ModelFileError, match=r"is a saved model, not a saved ensemble\. .*Classifier\.load"):
        LesionEnsemble.load(tmp_path / "model")


def test_every_changed_byte_is_found(ensemble, tmp_path) -> None:
    ensemble.save(tmp_path / "ensemble")
    content = (tmp_path / "ensemble").read_bytes()
    for position in np.linspace(8, len(content) - 1, 12).astype(int):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(ModelFileError, match=re.escape(str(tmp_path / "damaged"))):
            LesionEnsemble.load(tmp_path / "damaged")
    (tmp_path / "short").write_bytes(content[:-100])
    with pytest.raises(ModelFileError, match="cut short"):
        LesionEnsemble.load(tmp_path / "short")


def test_an_ensemble_without_a_network_does_not_need_torch(tmp_path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from sklearn.naive_bayes import GaussianNB\n"
        "from skinclf import LesionEnsemble\n"
        "X = np.random.default_rng(0).normal(size=(40, 2)); y = np.arange(40) % 2\n"
        "LesionEnsemble(GaussianNB(), cv=2).fit(X, y).predict(X)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- scikit-learn's own


@pytest.mark.parametrize("form", ["frame", "pixels"])
def test_a_voting_classifier_of_networks(form, lesions, lesion_files, unseen) -> None:
    X: pd.DataFrame | np.ndarray = lesion_files if form == "frame" else lesions.images
    members = [("narrow", Quick()), ("other", Quick(random_state=1)), ("light", Quick(augmentation="light"))]
    vote = VotingClassifier(members, voting="soft", weights=[2, 1, 1]).fit(X, lesions.target)

    alone = [clone(member).fit(X, np.unique(lesions.target, return_inverse=True)[1]) for _, member in members]
    proba = [member.predict_proba(unseen.images) for member in alone]
    np.testing.assert_allclose(vote.predict_proba(unseen.images), np.average(proba, axis=0, weights=[2, 1, 1]))
    assert vote.classes_.tolist() == sorted(lesions.target_names)
    assert set(vote.predict(X)) <= set(lesions.target_names)
    assert vote.named_estimators_["narrow"].predict_proba(X).shape == (168, 7)
