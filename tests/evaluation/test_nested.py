"""Nested cross-validation keeps lesions whole at each of its levels: outer folds, inner folds, early stopping.

Every image has its row number in its first pixel, so that what any level is given can be traced back to rows,
whatever happened to it on the way.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from PIL import Image
from sklearn import model_selection
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from skinclf import LesionCNNClassifier
from skinclf.datasets import make_lesions
from skinclf.evaluation import LeakageWarning, cross_validate
from skinclf.preprocessing import ImageLoader

N_OUTER, N_INNER, N_CANDIDATES = 2, 2, 2


def rows_of(X):
    """Return the row numbers of some images, from their first pixels."""
    images = ImageLoader(16).transform(X) if isinstance(X, pd.DataFrame) else X
    return images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]


class Recorder:
    """Row numbers of both sides of every split, at each level; a copy is itself, so that clones record here."""

    def __init__(self):
        self.splits = {"outer": [], "inner": [], "early stopping": []}

    def __deepcopy__(self, memo):
        return self


class RecordingFolds(StratifiedGroupKFold):
    """Folds that record what they split."""

    def __init__(self, n_splits, level, recorder):
        super().__init__(n_splits, shuffle=True, random_state=0)
        self.level, self.recorder = level, recorder

    def split(self, X, y=None, groups=None):
        for train, test in super().split(X, y, groups):
            if self.level == "outer":
                self.recorder.splits[self.level].append((train, test))
            elif np.ndim(X) > 1:  # else our cross_validate tries the splitter beforehand, with labels only
                rows = rows_of(X)
                self.recorder.splits[self.level].append((rows[train], rows[test]))
            yield train, test


class RecordingClassifier(LesionCNNClassifier):
    """A classifier that records what it trains on, and what it puts aside."""

    def __init__(self, *, recorder=None, lr=0.002, width=8):
        super().__init__(
            architecture_params={"width": width, "depth": 1},
            image_size=16,
            max_epochs=1,
            validation_fraction=0.2,
            device="cpu",
            random_state=0,
            lr=lr,
        )
        self.recorder, self.width = recorder, width

    def fit(self, X, y, *, groups=None, sample_weight=None):
        super().fit(X, y, groups=groups, sample_weight=sample_weight)
        rows, aside = rows_of(X), self.validation_indices_
        self.recorder.splits["early stopping"].append((np.delete(rows, aside), rows[aside]))
        return self


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """48 lesions of two classes, two or three photos each, numbered in their first pixels; arrays and files."""
    lesions = make_lesions(
        48, images_per_lesion=(2, 3), image_size=16, class_weights={"mel": 1, "nv": 1}, random_state=0
    )
    number = np.arange(len(lesions.images))
    lesions.images[:, 0, 0, 0], lesions.images[:, 0, 0, 1] = number // 256, number % 256
    folder = tmp_path_factory.mktemp("numbered")
    paths = [str(folder / f"{row:03d}.png") for row in number]
    for path, image in zip(paths, lesions.images, strict=True):
        Image.fromarray(image).save(path)
    lesions.data = lesions.data.assign(image=paths)
    return lesions


def check(recorder, lesion, *, levels=("outer", "inner", "early stopping")):
    """Every level has as many splits as it must, and no lesion is on both sides of one."""
    n_fits = N_OUTER * (N_INNER * N_CANDIDATES + 1)
    counts = {"outer": N_OUTER, "inner": N_OUTER * N_INNER, "early stopping": n_fits}
    for level in levels:
        splits = recorder.splits[level]
        assert len(splits) == counts[level]
        for train, test in splits:
            assert len(train) > 0
            assert len(test) > 0
            assert not set(lesion[train]) & set(lesion[test]), level
    outer_test = [set(test.tolist()) for _, test in recorder.splits["outer"]]
    for train, test in recorder.splits["early stopping"]:
        seen = {*train.tolist(), *test.tolist()}
        assert any(not seen & rows for rows in outer_test)  # a fit sees nothing of its outer test part


def ours(search, X, y, recorder, groups):
    result = cross_validate(search, X, y, groups=groups, cv=RecordingFolds(N_OUTER, "outer", recorder))
    return result.n_folds


def theirs(search, X, y, recorder, groups):
    lesion = X["lesion_id"].to_numpy() if groups is None else groups
    routed = sklearn.get_config()["enable_metadata_routing"]
    scores = model_selection.cross_validate(
        search,
        X,
        y,
        cv=RecordingFolds(N_OUTER, "outer", recorder),
        groups=None if routed else lesion,
        params={"groups": lesion},
        error_score="raise",
    )
    return len(scores["test_score"])


def search_over(classifier, recorder, grid=None):
    return GridSearchCV(
        classifier,
        {"lr": [0.001, 0.01]} if grid is None else grid,
        cv=RecordingFolds(N_INNER, "inner", recorder),
        error_score="raise",
    )


each_outer = pytest.mark.parametrize("outer", [ours, theirs], ids=["ours", "scikit-learn's"])
each_groups = pytest.mark.parametrize("passes_groups", [True, False], ids=["groups", "column"])


@pytest.fixture(params=[False, True], ids=["plain", "routing"])
def routing(request):
    """Metadata routing, off and on."""
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


@each_outer
@each_groups
def test_a_frame_keeps_lesions_whole_at_all_levels(numbered, outer, passes_groups, routing):
    recorder = Recorder()
    classifier = RecordingClassifier(recorder=recorder)
    if routing:
        classifier.set_fit_request(groups=passes_groups)
    groups = numbered.groups if passes_groups else None

    n_folds = outer(search_over(classifier, recorder), numbered.data, numbered.target, recorder, groups)

    assert n_folds == N_OUTER
    check(recorder, numbered.groups)


@pytest.mark.filterwarnings("ignore:Early stopping looks at photos of lesions")
@pytest.mark.filterwarnings("ignore:A GridSearchCV hands groups to its splitter only")
@each_outer
@each_groups
def test_a_frame_through_a_pipeline(numbered, outer, passes_groups, routing):
    """Behind the loader there are pixels only: the column gets no further, and groups do by routing."""
    recorder = Recorder()
    classifier = RecordingClassifier(recorder=recorder)
    if routing:
        classifier.set_fit_request(groups=True)
    pipeline = Pipeline([("load", ImageLoader(16)), ("classify", classifier)])
    groups = numbered.groups if passes_groups else None

    search = search_over(pipeline, recorder, {"classify__lr": [0.001, 0.01]})
    outer(search, numbered.data, numbered.target, recorder, groups)

    check(recorder, numbered.groups, levels=["outer", "inner", *(["early stopping"] if routing else [])])


@each_outer
def test_arrays_with_routing(numbered, outer):
    recorder = Recorder()
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = RecordingClassifier(recorder=recorder).set_fit_request(groups=True)
        outer(search_over(classifier, recorder), numbered.images, numbered.target, recorder, numbered.groups)

    check(recorder, numbered.groups)


@pytest.mark.filterwarnings("ignore:A GridSearchCV hands groups to its splitter only")
@each_outer
def test_arrays_without_routing_are_the_limit(numbered, outer):
    """A search hands groups to its splitter only: the innermost split cannot be by lesion, and is not."""
    recorder = Recorder()
    search = search_over(RecordingClassifier(recorder=recorder), recorder)

    outer(search, numbered.images, numbered.target, recorder, numbered.groups)

    check(recorder, numbered.groups, levels=["outer", "inner"])
    with pytest.raises(AssertionError, match="early stopping"):
        check(recorder, numbered.groups, levels=["early stopping"])


def test_the_check_of_this_module_finds_a_lesion_on_both_sides():
    recorder = Recorder()
    whole, torn = (np.array([0, 1]), np.array([2, 3])), (np.array([0, 2]), np.array([1, 3]))
    recorder.splits["outer"] = [whole, torn]
    with pytest.raises(AssertionError, match="outer"):
        check(recorder, np.array(["a", "a", "b", "b"]), levels=["outer"])


def test_that_groups_stop_at_a_search_is_said(numbered):
    recorder = Recorder()
    search = search_over(RecordingClassifier(recorder=recorder), recorder)
    with pytest.warns(LeakageWarning, match=r"RecordingClassifier inside does not get them.*metadata routing"):
        ours(search, numbered.images, numbered.target, recorder, numbered.groups)
