"""Lesions reach ``fit``, so that an early-stopping split inside it is by lesion too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_resampling_pipeline
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skinclf.evaluation import LeakageError, LeakageWarning, cross_validate


class GroupAware(ClassifierMixin, BaseEstimator):
    """A nearest-mean classifier that remembers which groups reached ``fit``."""

    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> GroupAware:
        self.classes_ = np.unique(y)
        self.seen_groups_ = groups
        self.seen_weight_ = sample_weight
        self.means_ = np.stack([self._pixels(X)[np.asarray(y) == label].mean(axis=0) for label in self.classes_])
        return self

    @staticmethod
    def _pixels(X: Any) -> np.ndarray:
        return X[["f0", "f1", "f2"]].to_numpy() if isinstance(X, pd.DataFrame) else np.asarray(X, float)

    def predict_proba(self, X: Any) -> np.ndarray:
        distance = ((self._pixels(X)[:, None] - self.means_) ** 2).sum(axis=2)
        weight = np.exp(-distance)
        return weight / weight.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        distance = ((self._pixels(X)[:, None] - self.means_) ** 2).sum(axis=2)
        return self.classes_[distance.argmin(axis=1)]


def _frame(X: np.ndarray, lesion: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=["f0", "f1", "f2"]).assign(lesion_id=lesion)


def _groups_of(result: Any) -> list[Any]:
    return [last.seen_groups_ for last in (_last(estimator) for estimator in result.estimators)]


def _last(estimator: Any) -> Any:
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _assert_groups_reached_fit(result: Any, lesion: np.ndarray) -> None:
    for seen, train in zip(_groups_of(result), result.train_indices, strict=True):
        np.testing.assert_array_equal(seen, lesion[train])


class DropLesion(TransformerMixin, BaseEstimator):
    """Stands for an image loader: a DataFrame goes in, an array comes out."""

    def fit(self, X: Any, y: Any = None) -> DropLesion:
        self.fitted_ = True
        return self

    def transform(self, X: Any) -> np.ndarray:
        return X[["f0", "f1", "f2"]].to_numpy()


@pytest.mark.parametrize(
    "estimator",
    [
        GroupAware(),
        make_pipeline(StandardScaler(), GroupAware()),
        make_pipeline(StandardScaler(), make_pipeline(FunctionTransformer(), GroupAware())),
    ],
    ids=["plain", "pipeline", "nested"],
)
def test_groups_reach_fit(data: Any, estimator: Any) -> None:
    X, y, lesion = data
    _assert_groups_reached_fit(cross_validate(estimator, X, y, groups=lesion), lesion)


def test_groups_of_a_column_reach_the_last_step_but_not_who_reads_the_column_itself(data: Any) -> None:
    X, y, lesion = data
    frame = _frame(X, lesion)
    _assert_groups_reached_fit(cross_validate(make_pipeline(DropLesion(), GroupAware()), frame, y), lesion)
    assert _groups_of(cross_validate(GroupAware(), frame, y)) == [None] * 5
    _assert_groups_reached_fit(cross_validate(GroupAware(), frame, y, groups=lesion), lesion)


def test_groups_stop_at_a_resampling_step(data: Any) -> None:
    X, y, lesion = data
    unbalanced = np.where(y == "bkl", "nv", y)
    pipeline = make_resampling_pipeline(RandomOverSampler(random_state=0), GroupAware())
    assert _groups_of(cross_validate(pipeline, X, unbalanced, groups=lesion)) == [None] * 5


def test_groups_reach_the_splitter_of_a_search(data: Any) -> None:
    X, y, lesion = data
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=GroupKFold(2))
    assert cross_validate(search, X, y, groups=lesion).n_folds == 5  # GroupKFold would refuse to go without


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
@pytest.mark.parametrize("cv", [2, KFold(2, shuffle=True, random_state=0)])
def test_a_search_that_ignores_groups_is_refused(data: Any, cv: Any) -> None:
    X, y, lesion = data
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=cv)
    message = r"GridSearchCV inside draws its own folds with (Stratified)?KFold.*cv=StratifiedGroupKFold\(2\)"
    with pytest.raises(LeakageError, match=message):
        cross_validate(search, X, y, groups=lesion)
    with pytest.warns(LeakageWarning, match=message):
        result = cross_validate(search, X, y, groups=lesion, on_leakage="warn")
    assert result.n_folds == 5


def test_a_search_over_row_numbers_is_left_alone(data: Any) -> None:
    X, y, lesion = data
    rows = [(np.arange(0, 40, 2), np.arange(1, 40, 2))]
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=rows)
    assert cross_validate(search, X, y, groups=lesion, cv=2).n_folds == 2


def test_other_params_are_sliced_and_ones_own_groups_are_left_alone(data: Any) -> None:
    X, y, lesion = data
    weight = np.arange(y.size, dtype=float)
    own = np.arange(y.size)
    result = cross_validate(GroupAware(), X, y, groups=lesion, params={"sample_weight": weight, "groups": own})
    for estimator, train in zip(result.estimators, result.train_indices, strict=True):
        np.testing.assert_array_equal(estimator.seen_weight_, weight[train])
        np.testing.assert_array_equal(estimator.seen_groups_, own[train])


def test_metadata_routing(data: Any) -> None:
    X, y, lesion = data
    with sklearn.config_context(enable_metadata_routing=True):
        for estimator in (GroupAware(), make_pipeline(StandardScaler(), GroupAware())):
            with pytest.raises(ValueError, match=r"GroupAware.fit takes groups.*set_fit_request\(groups=True\)"):
                cross_validate(estimator, X, y, groups=lesion)
        wants = GroupAware().set_fit_request(groups=True)
        _assert_groups_reached_fit(cross_validate(wants, X, y, groups=lesion), lesion)
        piped = make_pipeline(StandardScaler(), GroupAware().set_fit_request(groups=True))
        _assert_groups_reached_fit(cross_validate(piped, X, y, groups=lesion), lesion)
        declines = GroupAware().set_fit_request(groups=False)
        assert _groups_of(cross_validate(declines, X, y, groups=lesion)) == [None] * 5
        search = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=GroupKFold(2))
        assert cross_validate(search, X, y, groups=lesion).n_folds == 5
        assert cross_validate(LogisticRegression(), X, y, groups=lesion).n_folds == 5
