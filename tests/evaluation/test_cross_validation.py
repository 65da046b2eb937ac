"""Cross-validation: folds by lesion, out-of-fold predictions, groups inside ``fit``, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import model_selection
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinclf.evaluation import LeakageError, LeakageWarning, cross_validate


class NearestMean(ClassifierMixin, BaseEstimator):
    """A nearest-mean classifier that counts how often it is asked."""

    def fit(self, X: Any, y: Any) -> NearestMean:
        self.classes_ = np.unique(y)
        self.means_ = np.stack([self._pixels(X)[np.asarray(y) == label].mean(axis=0) for label in self.classes_])
        self.calls_ = {"predict": 0, "predict_proba": 0}
        return self

    @staticmethod
    def _pixels(X: Any) -> np.ndarray:
        return X[["f0", "f1", "f2"]].to_numpy() if isinstance(X, pd.DataFrame) else np.asarray(X, float)

    def predict_proba(self, X: Any) -> np.ndarray:
        self.calls_["predict_proba"] += 1
        distance = ((self._pixels(X)[:, None] - self.means_) ** 2).sum(axis=2)
        weight = np.exp(-distance)
        return weight / weight.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        self.calls_["predict"] += 1
        distance = ((self._pixels(X)[:, None] - self.means_) ** 2).sum(axis=2)
        return self.classes_[distance.argmin(axis=1)]


def _frame(X: np.ndarray, lesion: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=["f0", "f1", "f2"]).assign(lesion_id=lesion)


# --- folds ---------------------------------------------------------------------------------------------


def test_no_lesion_is_on_both_sides_and_every_row_is_tested_once(data: Any) -> None:
    X, y, lesion = data
    result = cross_validate(LogisticRegression(), X, y, groups=lesion)
    for train, test in zip(result.train_indices, result.test_indices, strict=True):
        assert not set(lesion[train]) & set(lesion[test])
        assert set(y[test]) == {"bkl", "mel", "nv"}
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(y.size))
    np.testing.assert_array_equal(np.sort(np.concatenate(result.test_indices)), np.arange(y.size))
    assert result.tested.all()
    assert result.n_folds == 5
    assert result.leaks.empty


def test_an_integer_means_scikit_learns_stratified_group_k_fold(data: Any) -> None:
    X, y, lesion = data
    result = cross_validate(LogisticRegression(), X, y, groups=lesion, cv=4)
    splitter = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    for (train, test), ours in zip(splitter.split(X, y, lesion), range(4), strict=True):
        np.testing.assert_array_equal(result.train_indices[ours], train)
        np.testing.assert_array_equal(result.test_indices[ours], test)
        assert (result.fold[test] == ours).all()
    assert result.splitter == str(splitter)


def test_scores_are_scikit_learns(data: Any) -> None:
    X, y, lesion = data
    result = cross_validate(LogisticRegression(), X, y, groups=lesion)
    theirs = model_selection.cross_validate(
        LogisticRegression(),
        X,
        y,
        groups=lesion,
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=0),
        scoring=["balanced_accuracy", "accuracy"],
    )
    assert result.scores.columns.tolist() == ["balanced_accuracy", "accuracy"]
    assert result.scores.index.name == "fold"
    np.testing.assert_array_equal(result.scores["balanced_accuracy"], theirs["test_balanced_accuracy"])
    np.testing.assert_array_equal(result.scores["accuracy"], theirs["test_accuracy"])
    assert (result.fit_seconds > 0).all()
    assert (result.score_seconds > 0).all()


def test_without_groups_images_are_split_one_by_one(data: Any) -> None:
    X, y, _ = data
    result = cross_validate(LogisticRegression(), X, y)
    assert result.groups is None
    assert result.splitter == "StratifiedKFold(n_splits=5, random_state=0, shuffle=True)"


def test_the_column_lesion_id_is_found(data: Any) -> None:
    X, y, lesion = data
    by_argument = cross_validate(NearestMean(), X, y, groups=lesion)
    by_column = cross_validate(NearestMean(), _frame(X, lesion), y)
    np.testing.assert_array_equal(by_column.fold, by_argument.fold)
    np.testing.assert_array_equal(by_column.groups, lesion)
    patient = lesion.astype(object) + " and so on"
    by_both = cross_validate(NearestMean(), _frame(X, lesion), y, groups=patient)
    assert (by_both.groups == patient).all()  # the argument goes before the column


def test_random_state_shuffles_the_folds_and_leaves_the_global_one_alone(data: Any) -> None:
    X, y, lesion = data
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    folds = [
        cross_validate(NearestMean(), X, y, groups=lesion, random_state=seed).fold
        for seed in (0, 0, 1, None, np.random.default_rng(0), np.random.RandomState(0))
    ]
    np.testing.assert_array_equal(folds[0], folds[1])
    np.testing.assert_array_equal(folds[0], folds[5])  # an integer and its RandomState, as in scikit-learn
    assert (folds[0] != folds[2]).any()
    assert (folds[0] != folds[4]).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_splitters_iterables_masks_and_none_are_accepted(data: Any) -> None:
    X, y, lesion = data
    splitter = GroupKFold(3)
    by_splitter = cross_validate(NearestMean(), X, y, groups=lesion, cv=splitter)
    assert by_splitter.splitter == str(splitter)
    splits = list(splitter.split(X, y, lesion))
    by_list = cross_validate(NearestMean(), X, y, groups=lesion, cv=iter(splits))
    assert by_list.splitter == "given splits"
    masks = [(np.isin(np.arange(y.size), train), np.isin(np.arange(y.size), test)) for train, test in splits]
    by_mask = cross_validate(NearestMean(), X, y, groups=lesion, cv=masks)
    np.testing.assert_array_equal(by_splitter.fold, by_list.fold)
    np.testing.assert_array_equal(by_splitter.fold, by_mask.fold)
    assert cross_validate(NearestMean(), X, y, groups=lesion, cv=None).n_folds == 5


# --- out-of-fold predictions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=GroupKFold(2)),
    ],
    ids=["plain", "pipeline", "search"],
)
def test_predictions_are_those_of_the_models_that_did_not_see_the_row(data: Any, estimator: Any) -> None:
    X, y, lesion = data
    result = cross_validate(estimator, X, y, groups=lesion)
    for fitted, test in zip(result.estimators, result.test_indices, strict=True):
        np.testing.assert_array_equal(result.y_pred[test], fitted.predict(X[test]))
        np.testing.assert_array_equal(result.y_proba[test], fitted.predict_proba(X[test]))
    np.testing.assert_array_equal(result.y_true, y)
    np.testing.assert_allclose(result.y_proba.sum(axis=1), 1)
    assert result.classes.tolist() == ["bkl", "mel", "nv"]
    assert result.y_pred.dtype.kind == "U"


def test_a_model_is_asked_once_for_each_test_row(data: Any) -> None:
    X, y, lesion = data
    scoring = ["balanced_accuracy", "accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"]
    result = cross_validate(NearestMean(), X, y, groups=lesion, scoring=scoring)
    assert [estimator.calls_ for estimator in result.estimators] == [{"predict": 1, "predict_proba": 1}] * 5


def test_nothing_is_left_behind_on_the_estimators(data: Any) -> None:
    X, y, lesion = data
    original = LogisticRegression()
    result = cross_validate(original, X, y, groups=lesion)
    fresh = LogisticRegression().fit(X, y)
    assert all(vars(estimator).keys() == vars(fresh).keys() for estimator in result.estimators)
    assert result.estimator is original
    assert not hasattr(original, "classes_")


def test_two_processes_agree_with_one(data: Any) -> None:
    X, y, lesion = data
    estimator = RandomForestClassifier(5, random_state=0)
    one = cross_validate(estimator, X, y, groups=lesion, cv=3)
    two = cross_validate(estimator, X, y, groups=lesion, cv=3, n_jobs=2)
    np.testing.assert_array_equal(one.y_pred, two.y_pred)
    np.testing.assert_array_equal(one.y_proba, two.y_proba)
    pd.testing.assert_frame_equal(one.scores, two.scores)


@pytest.mark.fault(51)
def test_probabilities_line_up_where_a_fold_never_saw_a_class(data: Any) -> None:
    X, y, lesion = data
    is_mel = y == "mel"
    rows = np.arange(y.size)
    halves = [rows[is_mel], rows[~is_mel]]  # fold 0 trains without mel, fold 1 on mel only and one nv
    only = rows[y == "nv"][:1]
    keep = rows[~np.isin(lesion, lesion[only]) | np.isin(rows, only)]
    splits = [
        (halves[1], halves[0]),
        (np.concatenate([halves[0], only]), np.setdiff1d(np.intersect1d(halves[1], keep), only)),
    ]
    result = cross_validate(LogisticRegression(), X, y, groups=lesion, cv=splits, scoring="accuracy")
    first, second = splits[0][1], splits[1][1]
    assert (result.y_proba[first, 1] == 0).all()
    assert (result.y_proba[second, 0] == 0).all()
    np.testing.assert_array_equal(result.y_proba[first][:, [0, 2]], result.estimators[0].predict_proba(X[first]))
    np.testing.assert_allclose(result.y_proba[first].sum(axis=1), 1)
    assert not (result.y_pred[first] == "mel").any()


def test_rows_that_no_fold_tests_are_marked(data: Any) -> None:
    X, y, lesion = data
    splits = list(GroupKFold(3).split(X, y, lesion))[:2]
    result = cross_validate(LogisticRegression(), X, y, groups=lesion, cv=splits)
    untested = ~result.tested
    assert untested.sum() == y.size - sum(test.size for _, test in splits)
    assert (result.fold[untested] == -1).all()
    assert all(label is None for label in result.y_pred[untested])
    assert np.isnan(result.y_proba[untested]).all()
    assert np.isfinite(result.y_proba[result.tested]).all()


def test_classifiers_without_probabilities(data: Any) -> None:
    X, y, lesion = data
    result = cross_validate(RidgeClassifier(), X, y, groups=lesion)
    assert result.y_proba is None
    for fitted, test in zip(result.estimators, result.test_indices, strict=True):
        np.testing.assert_array_equal(result.y_pred[test], fitted.predict(X[test]))


@pytest.mark.parametrize("labels", [[3, 7], [True, False], [1.0, 2.0]])
def test_labels_of_other_types(data: Any, labels: list[Any]) -> None:
    X, y, lesion = data
    encoded = np.where(y == "mel", labels[0], labels[1])
    result = cross_validate(LogisticRegression(), X, encoded, groups=lesion)
    assert result.y_pred.dtype == encoded.dtype
    assert result.classes.tolist() == sorted(labels)


def test_pandas_input(data: Any) -> None:
    X, y, lesion = data
    index = np.arange(y.size)[::-1]
    result = cross_validate(
        LogisticRegression(),
        pd.DataFrame(X, index=index),
        pd.Series(y, index=index),
        groups=pd.Series(lesion, index=index),
    )
    np.testing.assert_array_equal(result.y_pred, cross_validate(LogisticRegression(), X, y, groups=lesion).y_pred)


def test_images_and_lists_of_paths_are_sliced() -> None:
    class Constant(ClassifierMixin, BaseEstimator):
        def fit(self, X: Any, y: Any) -> Constant:
            self.classes_, self.kind_ = np.unique(y), type(X)
            return self

        def predict(self, X: Any) -> np.ndarray:
            return np.full(len(X), self.classes_[0])

    y = np.array(["a", "b"] * 10)
    images = np.zeros((20, 8, 8, 3), np.uint8)
    assert cross_validate(Constant(), images, y, groups=np.arange(20)).estimators[0].kind_ is np.ndarray
    paths = [f"{i}.jpg" for i in range(20)]
    assert cross_validate(Constant(), paths, y, groups=np.arange(20)).estimators[0].kind_ is list


# --- scoring -------------------------------------------------------------------------------------------


def _share_of_nv(estimator: Any, X: Any, y: Any) -> float:
    assert isinstance(estimator, LogisticRegression)  # a function of the user's gets the estimator itself
    return float((estimator.predict(X) == "nv").mean())


@pytest.mark.parametrize(
    ("scoring", "columns"),
    [
        ("f1_macro", ["f1_macro"]),
        (_share_of_nv, ["score"]),
        (("accuracy", "f1_macro"), ["accuracy", "f1_macro"]),
        ({"acc": "accuracy", "nv": _share_of_nv}, ["acc", "nv"]),
        (lambda estimator, X, y: {"one": 1.0, "two": 2}, ["one", "two"]),
    ],
)
def test_scoring(data: Any, scoring: Any, columns: list[str]) -> None:
    X, y, lesion = data
    result = cross_validate(LogisticRegression(), X, y, groups=lesion, scoring=scoring)
    assert result.scores.columns.tolist() == columns
    assert np.isfinite(result.scores.to_numpy()).all()


def test_default_scores_are_those_of_the_predictions(data: Any) -> None:
    X, y, lesion = data
    result = cross_validate(LogisticRegression(), X, y, groups=lesion)
    for fold, test in enumerate(result.test_indices):
        expected = balanced_accuracy_score(y[test], result.y_pred[test])
        assert result.scores.loc[fold, "balanced_accuracy"] == pytest.approx(expected)


# --- leaks ---------------------------------------------------------------------------------------------


@pytest.mark.fault(49)
def test_splits_that_leak_are_refused_before_anything_is_trained(data: Any) -> None:
    X, y, lesion = data

    class Untouchable(NearestMean):
        def fit(self, X: Any, y: Any) -> NearestMean:
            raise AssertionError("trained")

    by_image = StratifiedKFold(5, shuffle=True, random_state=0)
    message = r"in 5 fold\(s\), \d+ of \d+ test rows are of a group .*both 'HAM_\d+'.*on_leakage='warn'"
    with pytest.raises(LeakageError, match=message):
        cross_validate(Untouchable(), X, y, groups=lesion, cv=by_image)


def test_leaks_are_measured_when_told_to(data: Any) -> None:
    X, y, lesion = data
    with pytest.warns(LeakageWarning, match=r"Scores on such folds overstate") as caught:
        result = cross_validate(
            NearestMean(),
            X,
            y,
            groups=lesion,
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
            on_leakage="warn",
        )
    assert caught[0].filename == __file__
    assert result.leaks["fold"].tolist() == [0, 1, 2, 3, 4]
    for leak in result.leaks.itertuples():
        train, test = result.train_indices[leak.fold], result.test_indices[leak.fold]
        shared = np.isin(lesion[test], lesion[train])
        assert leak.n_leaking == shared.sum()
        assert leak.n_groups == len(set(lesion[train]) & set(lesion[test]))
        assert leak.n_test == test.size
        assert leak.test_row in test
        assert leak.train_row in train
        assert lesion[leak.test_row] == lesion[leak.train_row] == leak.group


def test_a_row_on_both_sides_is_a_leak_even_without_groups(data: Any) -> None:
    X, y, _ = data
    rows = np.arange(y.size)
    with pytest.raises(
        LeakageError, match=r"test rows are training rows of the same fold.*row 0 is on both sides"
    ):
        cross_validate(NearestMean(), X, y, cv=[(rows, rows[:30])])


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.fault(33, 46, 50)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cv": 21}, r"cv=21 needs at least 21 lesions.*every class.*class bkl has 20 \(\d+ images\).*Use cv=20"),
        ({"cv": 61}, "cv=61 needs at least 61 lesions.*there are 60"),
        ({"cv": 1}, "cv must be at least 2.*got 1"),
        ({"cv": "5"}, "cv must be an integer of at least 2.*got '5'"),
        ({"cv": 2.0}, "cv must be an integer of at least 2.*got 2.0"),
        ({"cv": []}, "cv gave no splits"),
        ({"cv": [([0, 1], [])]}, "non-empty array of row numbers as the test part of fold 0"),
        ({"cv": [([0, 1], [9999])]}, "cv names row 9999 in the test part of fold 0; X has the rows 0 to"),
        ({"cv": [([-1, 1], [2])]}, "cv names row -1 in the training part of fold 0"),
        ({"cv": [([0, 1], [50, 60]), ([0, 1], [60])]}, "cv tests row 60 2 times"),
        ({"on_leakage": "ignore"}, "on_leakage must be 'raise' or 'warn'; got 'ignore'"),
        ({"scoring": 3}, "scoring must be the name of a scikit-learn scorer"),
        ({"groups": [1, 2]}, "one value for each of the"),
        ({"y": ["nv"]}, "X has .* rows and y 1 labels"),
        ({"random_state": -1}, "random_state|seed|Seed"),
    ],
)
def test_messages(data: Any, change: dict[str, Any], message: str) -> None:
    X, y, lesion = data
    arguments = {"y": y, "groups": lesion, **change}
    with pytest.raises(ValueError, match=message):
        cross_validate(NearestMean(), X, **arguments)


def test_a_missing_lesion_is_named(data: Any) -> None:
    X, y, lesion = data
    holes = lesion.astype(object)
    holes[[3, 17]] = None, np.nan
    with pytest.raises(ValueError, match=r"2 of \d+ are missing \(rows \[3, 17\]\)"):
        cross_validate(NearestMean(), X, y, groups=holes)
    with pytest.raises(ValueError, match=r"The column 'lesion_id' of X.*rows \[3, 17\]"):
        cross_validate(NearestMean(), _frame(X, holes), y)


def test_a_missing_label_is_named(data: Any) -> None:
    X, y, lesion = data
    holes = y.astype(object)
    holes[5] = np.nan
    with pytest.raises(ValueError, match=r"y has no label in 1 row\(s\), the first of them \[5\]"):
        cross_validate(NearestMean(), X, holes, groups=lesion)


@pytest.mark.fault(45)
def test_one_class(data: Any) -> None:
    X, y, lesion = data
    with pytest.raises(ValueError, match=r"at least two classes; all .* labels are 'nv'"):
        cross_validate(NearestMean(), X, np.full(y.size, "nv"), groups=lesion)


@pytest.mark.fault(47)
def test_a_class_whose_photos_are_all_of_one_lesion(data: Any) -> None:
    X, y, lesion = data
    rare = np.where(lesion == "HAM_0000", "df", y)
    with pytest.raises(ValueError, match=r"class df has 1 .*trained on or tested, not both"):
        cross_validate(NearestMean(), X, rare, groups=lesion)


@pytest.mark.fault(46)
def test_a_class_smaller_than_the_folds_without_lesions() -> None:
    y = np.array(["df"] * 3 + ["nv"] * 20)
    with pytest.raises(ValueError, match=r"cv=5 needs at least 5 images.*class df has 3 \(3 images\). Use cv=3"):
        cross_validate(NearestMean(), np.zeros((23, 3)), y)


def test_only_classifiers() -> None:
    with pytest.raises(TypeError, match=r"estimator must be a scikit-learn classifier; got StandardScaler"):
        cross_validate(StandardScaler(), np.zeros((4, 1)), [0, 1, 0, 1])


def test_an_error_in_fit_is_raised_and_not_scored(data: Any) -> None:
    X, y, lesion = data

    class Broken(NearestMean):
        def fit(self, X: Any, y: Any) -> NearestMean:
            raise MemoryError("out of memory")

    with pytest.raises(MemoryError, match=r"out of memory"):
        cross_validate(Broken(), X, y, groups=lesion)


def test_a_model_with_strange_classes_is_refused(data: Any) -> None:
    X, y, lesion = data

    class Strange(NearestMean):
        def fit(self, X: Any, y: Any) -> NearestMean:
            super().fit(X, y)
            self.classes_ = np.array(["bkl", "mel", "sun"])
            return self

    class Short(NearestMean):
        def predict_proba(self, X: Any) -> np.ndarray:
            return super().predict_proba(X)[:, :2]

    with pytest.raises(ValueError, match=r"fold 0 knows the class 'sun', which does not occur in y"):
        cross_validate(Strange(), X, y, groups=lesion, scoring=lambda *_: 0.0)
    with pytest.raises(ValueError, match=r"fold 0 has shape \(\d+, 2\), but its classes_ names 3"):
        cross_validate(Short(), X, y, groups=lesion)


def test_estimators_need_not_be_kept(data: Any) -> None:
    X, y, lesion = data
    result = cross_validate(NearestMean(), X, y, groups=lesion, return_estimator=False)
    assert result.estimators is None
    assert repr(result).startswith("CrossValidationResult(balanced_accuracy=0.")


def test_evaluation_needs_neither_torch_nor_a_drawing_library() -> None:
    code = (
        "import sys, skinclf.evaluation, skinclf.reporting;"
        "sys.exit(str({'torch', 'skorch', 'matplotlib'} & set(sys.modules)) if "
        "{'torch', 'skorch', 'matplotlib'} & set(sys.modules) else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.real_data
def test_a_split_of_ham10000_by_image_is_caught() -> None:
    table = Path(os.environ.get("SKINCLF_DATA", "")) / "HAM10000_metadata.csv"
    if "SKINCLF_DATA" not in os.environ or not table.is_file():
        pytest.skip("SKINCLF_DATA does not point at HAM10000")
    frame = pd.read_csv(table)
    arguments = {"X": frame[["lesion_id"]], "y": frame["dx"], "scoring": "accuracy"}
    by_image = StratifiedKFold(5, shuffle=True, random_state=0)
    with pytest.warns(LeakageWarning, match="of 10,015 test rows"):
        leaky = cross_validate(DummyClassifier(), cv=by_image, on_leakage="warn", **arguments)
    assert leaky.leaks["n_leaking"].sum() / 10015 == pytest.approx(0.389, abs=0.005)
    honest = cross_validate(DummyClassifier(), **arguments)
    assert honest.leaks.empty
    assert pd.Series(honest.fold).groupby(frame["lesion_id"]).nunique().max() == 1
    shares = [np.mean(honest.y_true[test] == "mel") for test in honest.test_indices]
    np.testing.assert_allclose(shares, 1113 / 10015, atol=0.005)
