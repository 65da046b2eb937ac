"""Prediction sets: quantiles by hand, promises kept in simulations, lesions that count once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinclf.evaluation import ConformalClassifier, LeakageError, conformal_sets
from skinclf.evaluation._conformal import _score_aps, conformal_quantile


def _simulate(n: int, seed: int = 0, sharp: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = sharp * generator.normal(size=(n, 3)) + [0, 0, 1.5]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (proba.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1), proba


# --- the threshold -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [9, 10, 19, 99, 100])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_one_image_a_lesion_is_split_conformal_prediction(n: int, coverage: float) -> None:
    scores = np.random.default_rng(n).permutation(n) + 1.0
    rank = int(np.ceil(np.round((n + 1) * coverage, 9)))
    assert conformal_quantile(scores, np.arange(n), coverage) == (rank if rank <= n else np.inf)


def test_photos_share_the_weight_of_their_lesion() -> None:
    # Lesion a has scores 1, 2, 3, 4, a quarter of 1 / 4 each; b has 5, c has 6; the new one is at infinity.
    scores, lesion = np.array([1.0, 2, 3, 4, 5, 6]), np.array([0, 0, 0, 0, 1, 2])
    found = [conformal_quantile(scores, lesion, coverage) for coverage in (0.0625, 0.07, 0.25, 0.5, 0.75, 0.76)]
    assert found == [1, 2, 4, 5, 6, np.inf]
    order = [3, 5, 1, 0, 4, 2]
    assert conformal_quantile(scores[order], lesion[order], 0.5) == 5


def test_copies_of_all_photos_change_nothing() -> None:
    scores = np.random.default_rng(0).random(50)
    five = np.repeat(np.arange(50), 5)
    assert conformal_quantile(scores[five], five, 0.9) == conformal_quantile(scores, np.arange(50), 0.9)


def test_the_adaptive_score_adds_up_what_is_more_probable() -> None:
    scores = _score_aps(np.array([[0.5, 0.2, 0.3], [0.4, 0.4, 0.2]]))
    np.testing.assert_allclose(scores, [[0, 0.8, 0.5], [0, 0, 0.8]])


# --- sets ----------------------------------------------------------------------------------------------


def test_sets_of_six_images_by_hand() -> None:
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.75, 0.55])
    fold = [0, 0, 0, 1, 1, 1]
    found = conformal_sets([0] * 5 + [1], np.c_[p, 1 - p], fold=fold, coverage=0.5)
    # Fold 0 is calibrated on the scores 0.4, 0.25 and 0.55: rank ceil(4 / 2) = 2, so 0.4. Fold 1 on 0.1, 0.2, 0.3.
    np.testing.assert_allclose(found.thresholds, [[0.4, 0.4], [0.2, 0.2]])
    assert found.sets.tolist() == [[True, False]] * 3 + [[False, False]] * 3
    assert found.sizes.tolist() == [0.5, 0.5, 0]
    row = found.table.loc["all"]
    assert row[["n_images", "coverage", "mean_size", "single", "empty"]].tolist() == [6, 0.5, 0.5, 0.5, 0.5]
    assert found.table.loc[0, ["n_images", "coverage"]].tolist() == [5, 0.6]
    assert found.table.loc[1, ["n_images", "coverage"]].tolist() == [1, 0]


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("class_conditional", [False, True])
def test_the_promise_is_kept_on_average(method: Any, class_conditional: bool) -> None:
    coverages, of_classes = [], []
    for seed in range(20):
        y, proba = _simulate(1000, seed)
        table = conformal_sets(y, proba, method=method, class_conditional=class_conditional, coverage=0.85).table
        coverages.append(table.loc["all", "coverage"])
        of_classes.append(table.loc[[0, 1, 2], "coverage"])
    assert np.mean(coverages) == pytest.approx(0.85, abs=0.012)
    spread = np.ptp(np.mean(of_classes, axis=0))
    # The third class is the frequent one: on average alone, the others pay for it.
    assert spread < 0.02 if class_conditional else spread > 0.05


def test_a_random_photo_of_a_new_lesion_is_covered_as_promised_and_counting_images_is_not() -> None:
    """Hard lesions have many photos: an image-wise quantile would promise too much of new lesions with one."""
    generator = np.random.default_rng(0)
    by_lesion, by_image = [], []
    for _ in range(400):
        hard = generator.random(60) < 0.3
        photos = np.where(hard, 6, 1)
        lesion = np.repeat(np.arange(60), photos)
        scores = generator.normal(size=60)[lesion] + 0.3 * generator.normal(size=lesion.size) + 2 * hard[lesion]
        new_is_hard = generator.random() < 0.3
        new = generator.normal() + 0.3 * generator.normal() + 2 * new_is_hard
        by_lesion.append(new <= conformal_quantile(scores, lesion, 0.8))
        by_image.append(new <= conformal_quantile(scores, np.arange(lesion.size), 0.8))
    assert np.mean(by_lesion) == pytest.approx(0.8, abs=0.05)
    assert np.mean(by_image) > 0.87


def test_adaptive_sets_are_never_empty_and_more_coverage_never_makes_a_set_smaller() -> None:
    y, proba = _simulate(400, sharp=3)
    assert conformal_sets(y, proba, coverage=0.5, method="lac").table.loc["all", "empty"] > 0
    for method in ("lac", "aps"):
        smaller, larger = (
            conformal_sets(y, proba, coverage=coverage, method=method).sets for coverage in (0.6, 0.95)
        )
        assert (smaller <= larger).all()
        assert smaller.sum() < larger.sum()
    sets = conformal_sets(y, proba, coverage=0.5, method="aps").sets
    assert sets[np.arange(400), proba.argmax(axis=1)].all()


def test_a_class_with_too_few_lesions_is_in_every_set() -> None:
    y, proba = _simulate(300)
    y[y == 0] = 1
    y[:5] = 0
    found = conformal_sets(y, proba, fold=np.arange(300) % 2, labels=[0, 1, 2], class_conditional=True)
    assert np.isinf(found.thresholds[:, 0]).all()
    assert found.sets[:, 0].all()
    assert found.table.loc[0, "coverage"] == 1


def test_lesions_count_once_in_what_is_promised() -> None:
    y, proba = _simulate(200)
    photos = np.repeat(np.arange(200), np.where(np.arange(200) % 2, 5, 1))
    fold = (np.arange(200) % 4)[photos]
    found = conformal_sets(y[photos], proba[photos], fold=fold, groups=photos)
    once = conformal_sets(y, proba, fold=np.arange(200) % 4)
    np.testing.assert_array_equal(found.thresholds, once.thresholds)
    assert found.table.loc["all", "lesion_coverage"] == pytest.approx(once.table.loc["all", "coverage"])
    assert found.table.loc["all", "lesion_low"] == pytest.approx(once.table.loc["all", "low"])
    assert found.table.loc["all", ["n_images", "n_lesions"]].tolist() == [600, 200]
    expected = np.average(once.sets[np.arange(200), y], weights=np.where(np.arange(200) % 2, 5, 1))
    assert found.table.loc["all", "coverage"] == pytest.approx(expected)


def test_in_words() -> None:
    y, proba = _simulate(500)
    found = conformal_sets(y, proba)
    row = found.table.loc["all"]
    sentence = found.sentence()
    assert sentence.startswith("Sets made for 90 % coverage hold the true class for ")
    assert (
        f"{row['lesion_coverage'] * 100:.1f} % of the lesions (95 % CI {row['lesion_low'] * 100:.1f}–" in sentence
    )
    assert f"{row['coverage'] * 100:.1f} % of the images, with {row['mean_size']:.1f} classes" in sentence


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"coverage": 90}, ValueError, "coverage must be between 0 and 1, such as 0.9; got 90"),
        ({"confidence": 1.0}, ValueError, "confidence must be between 0 and 1"),
        ({"method": "raps"}, ValueError, r"method must be one of \['lac', 'aps'\]; got 'raps'"),
        ({"fold": [0, 1, 0, 1], "groups": list("aabb")}, LeakageError, "in more than one fold"),
    ],
)
def test_messages(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        conformal_sets([0, 1, 0, 1], [[0.6, 0.4]] * 4, **arguments)


# --- the classifier ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four hundred lesions with two photos."""
    generator = np.random.default_rng(0)
    lesion = np.repeat(np.arange(400), 2)
    y = np.array(["bkl", "mel", "nv"])[lesion % 3]
    X = generator.normal(size=(800, 3)) + 1.2 * np.eye(3)[lesion % 3]
    return X, y, np.array([f"HAM_{i:07d}" for i in lesion])


def test_calibration_is_on_lesions_that_the_model_did_not_see(photos: Any) -> None:
    X, y, lesion = photos
    model = ConformalClassifier(LogisticRegression()).fit(X, y, groups=lesion)
    aside = model.calibration_indices_
    rest = np.setdiff1d(np.arange(800), aside)
    assert set(lesion[aside]) & set(lesion[rest]) == set()
    assert aside.size == pytest.approx(160, abs=6)
    plain = LogisticRegression().fit(X[rest], y[rest])
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    scores = 1 - plain.predict_proba(X[aside])[np.arange(aside.size), np.searchsorted(plain.classes_, y[aside])]
    assert set(model.thresholds_) == {conformal_quantile(scores, lesion[aside], 0.9)}
    np.testing.assert_array_equal(model.predict_set(X), 1 - plain.predict_proba(X) <= model.thresholds_)


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_new_lesions_are_covered(photos: Any, method: Any) -> None:
    X, y, lesion = photos
    test = np.isin(lesion, np.unique(lesion)[::2])
    model = ConformalClassifier(LogisticRegression(), coverage=0.8, method=method, class_conditional=True, cv=2)
    model.fit(X[~test], y[~test], groups=lesion[~test])
    sets = model.predict_set(X[test])
    covered = sets[np.arange(test.sum()), np.searchsorted(model.classes_, y[test])]
    assert covered.mean() == pytest.approx(0.8, abs=0.08)
    assert 1 <= sets.sum(axis=1).mean() < 2.5


def test_frozen_models_pipelines_and_splitters(photos: Any) -> None:
    X, y, lesion = photos
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:400], y[:400])
    model = ConformalClassifier(FrozenEstimator(fitted)).fit(X[400:], y[400:], groups=lesion[400:])
    assert model.calibration_indices_.tolist() == list(range(400))
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    split = GroupShuffleSplit(1, test_size=0.5, random_state=0)
    half = ConformalClassifier(LogisticRegression(), cv=split).fit(X, y, groups=lesion)
    assert half.calibration_indices_.size == 400
