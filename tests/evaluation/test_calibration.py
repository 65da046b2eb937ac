"""Calibration errors and temperatures: by hand, against scikit-learn, and where the truth is known."""

from __future__ import annotations

import importlib
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import GridSearchCV, GroupShuffleSplit, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from skinclf.evaluation import (
    ConformalClassifier,
    LeakageError,
    TemperatureScaling,
    apply_temperature,
    calibration_metrics,
    cross_fit_temperature,
    cross_validate,
    fit_temperature,
)
from skinclf.evaluation._lesion_intervals import clustered_proportion

VERSION = parse_version(sklearn.__version__)


def _simulate(
    n: int, temperature: float = 1.0, seed: int = 0, n_classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels from probabilities, and return these made too sure (above 1) or not sure enough."""
    generator = np.random.default_rng(seed)
    logits = 1.5 * generator.normal(size=(n, n_classes))
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (proba.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1)
    return y, apply_temperature(proba, 1 / temperature)


# --- calibration errors --------------------------------------------------------------------------------


def test_errors_of_four_images_by_hand() -> None:
    y_true = ["mel", "nv", "nv", "mel"]
    p_mel = np.array([0.9, 0.8, 0.3, 0.45])
    found = calibration_metrics(y_true, np.c_[p_mel, 1 - p_mel], n_bins=2, binning="equal_width", n_draws=10)
    # The predicted class has 0.9, 0.8, 0.7, 0.55, all above 0.5, and two of four are right.
    assert found.summary.loc["ece", "estimate"] == pytest.approx((0.9 + 0.8 + 0.7 + 0.55) / 4 - 0.5)
    # mel: 0.3 and 0.45 with one mel, 0.9 and 0.8 with one mel; nv is its mirror image.
    gaps = (abs(0.375 - 0.5) + abs(0.85 - 0.5)) / 2
    assert found.per_class["estimate"].tolist() == pytest.approx([gaps, gaps])
    assert found.summary.loc["classwise_ece", "estimate"] == pytest.approx(gaps)
    squares = np.array([0.1, 0.8, 0.3, 0.55]) ** 2
    assert found.summary.loc["brier", "estimate"] == pytest.approx(2 * squares.mean())
    assert found.per_class["brier"].tolist() == pytest.approx([squares.mean()] * 2)
    assert found.summary.loc["overconfidence", "estimate"] == pytest.approx(0.2375)
    assert found.bins[["lower", "upper", "n_images", "observed"]].to_numpy().tolist() == [[0.5, 1.0, 4, 0.5]]
    assert found.class_bins["class"].tolist() == ["mel", "mel", "nv", "nv"]


def test_scores_are_scikit_learns() -> None:
    y, proba = _simulate(500, 2.0)
    summary = calibration_metrics(y, proba, n_draws=10).summary["estimate"]
    assert summary["log_loss"] == pytest.approx(log_loss(y, proba))
    assert summary["brier"] == pytest.approx(
        np.mean([brier_score_loss(y == k, proba[:, k]) for k in range(3)]) * 3
    )
    certain = calibration_metrics([0, 1], [[0.0, 1.0], [0.0, 1.0]], n_draws=10).summary["estimate"]
    assert certain["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 2)


@pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_curves_of_classes_are_scikit_learns(binning: Any, strategy: str) -> None:
    y, proba = _simulate(800, 1.5)
    bins = calibration_metrics(y, proba, n_bins=8, binning=binning, n_draws=10).class_bins
    for k in range(3):
        observed, predicted = calibration_curve(y == k, proba[:, k], n_bins=8, strategy=strategy)
        of_class = bins[bins["class"] == k]
        np.testing.assert_allclose(of_class["observed"], observed)
        np.testing.assert_allclose(of_class["predicted"], predicted)


def test_bins_hold_equally_many_images_and_equal_probabilities_together() -> None:
    y, proba = _simulate(600)
    assert set(calibration_metrics(y, proba, n_bins=6, n_draws=10).bins["n_images"]) == {100}
    p = np.repeat([0.6, 0.9, 1.0], [10, 10, 80])
    bins = calibration_metrics(["nv"] * 100, np.c_[1 - p, p], labels=["mel", "nv"], n_draws=10).bins
    assert bins["n_images"].sum() == 100
    assert bins["predicted"].is_monotonic_increasing
    assert bins["n_images"].iloc[-1] == 80
    one = calibration_metrics([0, 1], [[0.7, 0.3]] * 2, n_draws=10)
    assert one.bins[["lower", "upper", "n_images"]].to_numpy().tolist() == [[0.7, 0.7, 2]]


def test_a_calibrated_model_scores_what_it_is_said_to_score() -> None:
    y, proba = _simulate(6000)
    summary = calibration_metrics(y, proba, n_draws=200).summary
    for name in ("ece", "classwise_ece"):
        row = summary.loc[name]
        assert row["estimate"] == pytest.approx(row["if_calibrated"], rel=0.5)
        assert 0 < row["if_calibrated"] < row["if_calibrated_high"] < 0.04
        assert row["low"] == 0
        assert row["debiased"] < row["estimate"]
    assert summary.loc["overconfidence", "low"] < 0 < summary.loc["overconfidence", "high"]


def test_a_model_that_is_too_sure_is_found_out() -> None:
    y, proba = _simulate(6000, 2.0)
    summary = calibration_metrics(y, proba, n_draws=200).summary
    right = proba.argmax(axis=1) == y
    # Too sure everywhere, so that the error is the mean confidence minus the accuracy.
    assert summary.loc["ece", "estimate"] == pytest.approx(proba.max(axis=1).mean() - right.mean(), abs=1e-3)
    assert summary.loc["ece", "low"] > summary.loc["ece", "if_calibrated_high"]
    assert summary.loc["ece", "low"] < summary.loc["ece", "debiased"] < summary.loc["ece", "high"]
    assert summary.loc["overconfidence", "low"] > 0


@pytest.mark.parametrize("temperature", [1.0, 1.3])
def test_intervals_hold_the_error_of_many_more_images(temperature: float) -> None:
    # Too sure everywhere: the error is the mean confidence minus the mean of the right probabilities.
    _, proba = _simulate(100_000, temperature, seed=99)
    true = max(0.0, float((proba.max(axis=1) - apply_temperature(proba, temperature).max(axis=1)).mean()))
    held = 0
    for seed in range(40):
        y, proba = _simulate(400, temperature, seed)
        lesion = np.repeat(np.arange(400), 2)
        row = calibration_metrics(y[lesion], proba[lesion], groups=lesion, n_draws=100).summary.loc["ece"]
        held += row["low"] <= true <= row["high"]
    assert held >= 33


def test_photos_of_the_same_lesions_change_nothing() -> None:
    y, proba = _simulate(300, 1.5)
    once = calibration_metrics(y, proba, groups=np.arange(300), n_draws=200)
    four = np.repeat(np.arange(300), 4)
    by_lesion = calibration_metrics(y[four], proba[four], groups=four, n_draws=200)
    by_image = calibration_metrics(y[four], proba[four], n_draws=200)
    pd.testing.assert_frame_equal(by_lesion.summary, once.summary, atol=0.003)
    pd.testing.assert_frame_equal(by_lesion.bins[["low", "high"]], once.bins[["low", "high"]], atol=0.02)
    width = [row["high"] - row["low"] for row in (by_image.summary.loc["brier"], once.summary.loc["brier"])]
    assert width[0] / width[1] == pytest.approx(0.5, abs=0.08)
    assert (by_lesion.n_images, by_lesion.n_lesions, by_lesion.by_group) == (1200, 300, True)


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    y, proba = _simulate(200, 1.5)
    order = np.random.default_rng(0).permutation(200)
    first = calibration_metrics(y, proba, n_draws=50)
    pd.testing.assert_frame_equal(calibration_metrics(y[order], proba[order], n_draws=50).summary, first.summary)
    other = calibration_metrics(y, proba, n_draws=50, random_state=1)
    assert other.summary.loc["ece", "high"] != first.summary.loc["ece", "high"]
    assert other.summary.loc["ece", "estimate"] == first.summary.loc["ece", "estimate"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bins": 0}, "n_bins must be an integer of at least 1, such as 15; got 0"),
        ({"binning": "quantile"}, "binning must be 'equal_mass' or 'equal_width'; got 'quantile'"),
        ({"n_draws": 0}, "n_draws must be at least 1; got 0"),
        ({"confidence": 95}, "confidence must be between 0 and 1"),
        ({"groups": [1] * 4}, "groups must name at least two lesions"),
        ({"labels": [0, 0]}, "labels names a class twice"),
        ({"labels": [0, 2]}, r"y_true holds 1 in row 1 \(2 such rows\), which is none of the labels \[0, 2\]"),
        ({"labels": [0, 1, 2]}, r"a column for each of the 3 classes .* shape \(4, 2\).*pass labels=classes_"),
        ({"y_proba": [[2.0, -1.0]] * 4}, r"must hold probabilities, 0–1.*4 row\(s\).*not scores or logits"),
        ({"y_proba": [[0.5, 0.2]] * 4}, r"that sum to 1 in every row.*\[0.5, 0.2\]"),
        ({"y_proba": [[np.nan, 1.0]] + [[0.5, 0.5]] * 3}, r"NaN in 1 row\(s\).*result.tested says which"),
        ({"y_true": [0, 1, None, 1]}, r"y_true has no label in 1 row\(s\)"),
    ],
)
def test_messages(arguments: dict[str, Any], message: str) -> None:
    given = {"y_true": [0, 1, 0, 1], "y_proba": [[0.6, 0.4]] * 4, **arguments}
    with pytest.raises(ValueError, match=message):
        calibration_metrics(given.pop("y_true"), given.pop("y_proba"), **given)


# --- intervals of shares -------------------------------------------------------------------------------


def test_the_interval_of_independent_images_is_wilsons() -> None:
    hits = np.repeat([1.0, 0.0], [30, 70])[:, None]
    share, low, high = clustered_proportion(hits, np.ones((100, 1)), 0.95)
    z = NormalDist().inv_cdf(0.975)
    n = 99  # the variance has n - 1 below it, so that 100 images are worth 99
    middle, half = 0.3 + z**2 / 2 / n, z * np.sqrt(0.21 / n + z**2 / 4 / n**2)
    assert share.item() == 0.3
    assert low.item() == pytest.approx((middle - half) / (1 + z**2 / n))
    assert high.item() == pytest.approx((middle + half) / (1 + z**2 / n))


def test_a_share_of_lesions_with_many_photos() -> None:
    hits = np.repeat([1.0, 0.0], [30, 70])[:, None]
    once = clustered_proportion(hits, np.ones((100, 1)), 0.95)
    often = clustered_proportion(hits * 9, np.full((100, 1), 9.0), 0.95)
    np.testing.assert_allclose(often, once)
    _, low, high = clustered_proportion(np.zeros((5, 1)), np.full((5, 1), 9.0), 0.95)
    assert (low.item(), round(high.item(), 3)) == (0.0, 0.434)  # five lesions, not 45 images
    assert np.isnan(clustered_proportion(np.zeros((5, 1)), np.zeros((5, 1)), 0.95)).all()


# --- temperature ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_temperature_is_found_again(temperature: float) -> None:
    y, proba = _simulate(20_000, temperature)
    assert fit_temperature(y, proba) == pytest.approx(temperature, rel=0.03)


def test_no_temperature_has_a_smaller_log_loss() -> None:
    y, proba = _simulate(300, 1.7)
    best = fit_temperature(y, proba)
    losses = {t: log_loss(y, apply_temperature(proba, t)) for t in (best, best * 1.01, best / 1.01, 1.0)}
    assert min(losses, key=losses.get) == best


def test_rows_that_are_all_right_have_a_finite_temperature() -> None:
    # As if one more were half right: 10.5 of 11, odds of 21, where 0.9 has odds of 9.
    found = fit_temperature([0] * 10, [[0.9, 0.1]] * 10, labels=[0, 1])
    assert found == pytest.approx(np.log(9) / np.log(21))


def test_worse_than_a_guess_goes_to_the_limit() -> None:
    assert fit_temperature([1] * 9 + [0], [[0.9, 0.1]] * 10) == pytest.approx(100)


def test_applying_a_temperature_keeps_order_sums_and_zeros() -> None:
    _, proba = _simulate(100)
    proba[0] = [0.0, 0.0, 1.0]
    for temperature in (0.01, 0.5, 1, 3.0, np.float32(100)):
        scaled = apply_temperature(proba, temperature)
        np.testing.assert_allclose(scaled.sum(axis=1), 1)
        np.testing.assert_array_equal(scaled.argmax(axis=1), proba.argmax(axis=1))
        assert scaled[0].tolist() == [0, 0, 1]
    np.testing.assert_allclose(apply_temperature(proba, 1.0), proba)
    np.testing.assert_allclose(apply_temperature(apply_temperature(proba, 2.0), 0.5), proba)
    for wrong in (0, -1.0, np.inf, np.nan, "1"):
        with pytest.raises(ValueError, match="temperature must be a positive number"):
            apply_temperature(proba, wrong)


def test_a_temperature_is_never_judged_on_the_rows_that_it_was_fitted_on() -> None:
    y, proba = _simulate(300, 2.0)
    fold = np.arange(300) % 3 + 4
    found = cross_fit_temperature(y, proba, fold=fold)
    for number in range(3):
        rows = fold == number + 4
        others = fit_temperature(y[~rows], proba[~rows])
        assert found.temperatures[number] == others
        np.testing.assert_array_equal(found.y_proba[rows], apply_temperature(proba[rows], others))
    assert found.temperature == fit_temperature(y, proba)
    changed = y.copy()
    changed[0] = (y[0] + 1) % 3
    again = cross_fit_temperature(changed, proba, fold=fold)
    assert again.temperatures[0] == found.temperatures[0]
    assert (again.temperatures[1:] != found.temperatures[1:]).all()


def test_folds_that_are_drawn_are_by_lesion() -> None:
    y, proba = _simulate(100, 2.0)
    lesion = np.repeat(np.arange(100), 3)
    found = cross_fit_temperature(y[lesion], proba[lesion], groups=lesion)
    assert len(found.temperatures) == 5
    assert (found.fold.reshape(100, 3) == found.fold[::3, None]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fold": [0, 1]}, ValueError, r"fold must have one value for each of the 4 images.*\(2,\)"),
        ({"fold": [0, 1, -1, 0]}, ValueError, r"got \[-1, 0, 1\].*no model was tested on the row"),
        ({"fold": [2, 2, 2, 2]}, ValueError, "fold must name at least two folds"),
        ({"fold": [0, 1, 0, 1], "groups": list("aabb")}, LeakageError, r"2 lesion\(s\) are in more than one fold"),
    ],
)
def test_messages_of_folds(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cross_fit_temperature([0, 1, 0, 1], [[0.6, 0.4]] * 4, **arguments)


# --- the classifier ------------------------------------------------------------------------------------


class Recorder(ClassifierMixin, BaseEstimator):
    """Naive Bayes that notes the lesion (the last feature) of what it is fitted on and what it predicts."""

    log: list[tuple[str, set[float], Any]] = []  # noqa: RUF012

    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> Recorder:
        self.log.append(("fit", set(X[:, -1]), (groups, sample_weight)))
        self.model_ = GaussianNB().fit(X[:, :-1], y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        self.log.append(("predict", set(X[:, -1]), None))
        return self.model_.predict_proba(X[:, :-1])

    def predict(self, X: Any) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.fixture
def photos() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sixty lesions with two photos; one feature four times, so that naive Bayes is too sure."""
    generator = np.random.default_rng(0)
    lesion = np.repeat(np.arange(60), 2)
    y = np.array(["bkl", "mel", "nv"])[lesion % 3]
    feature = generator.normal(size=(120, 1)) + (lesion % 3)[:, None]
    return np.hstack([np.repeat(feature, 4, axis=1), lesion[:, None]]), y, lesion


def test_it_is_fitted_on_lesions_that_the_model_did_not_see(photos: Any) -> None:
    X, y, lesion = photos
    Recorder.log.clear()
    model = TemperatureScaling(Recorder(), cv=4).fit(X, y, groups=lesion, sample_weight=np.ones(120))
    *folds, final = Recorder.log
    assert [kind for kind, _, _ in folds].count("fit") == 4
    seen: set[float] = set()
    tested: list[float] = []
    for kind, lesions, passed in folds:
        if kind == "fit":
            seen = lesions
            assert len(passed[0]) == len(passed[1]) == 2 * len(lesions)  # groups and weights of the fold
        else:
            assert not lesions & seen
            tested += lesions
    assert set(tested) == set(lesion)
    assert final[:2] == ("fit", set(lesion))
    assert model.n_calibration_images_ == 120
    assert model.temperature_ > 1.5


def test_probabilities_are_scaled_and_predictions_are_not(photos: Any) -> None:
    X, y, lesion = photos
    model = TemperatureScaling(GaussianNB()).fit(X[:, :-1], y, groups=lesion)
    plain = GaussianNB().fit(X[:, :-1], y)
    expected = apply_temperature(plain.predict_proba(X[:, :-1]), model.temperature_)
    np.testing.assert_array_equal(model.predict_proba(X[:, :-1]), expected)
    np.testing.assert_array_equal(model.predict(X[:, :-1]), plain.predict(X[:, :-1]))
    result = cross_validate(GaussianNB(), X[:, :-1], y, groups=lesion)
    assert model.temperature_ == fit_temperature(y, result.y_proba)
    assert model.n_features_in_ == 4


def test_one_split_costs_one_fit(photos: Any) -> None:
    X, y, lesion = photos
    split = GroupShuffleSplit(1, test_size=0.3, random_state=0)
    Recorder.log.clear()
    model = TemperatureScaling(Recorder(), cv=split, refit=False).fit(X, y, groups=lesion)
    assert [kind for kind, _, _ in Recorder.log].count("fit") == 1
    assert model.n_calibration_images_ == 36
    with pytest.raises(ValueError, match="refit=False keeps the estimator of the only fold, but cv gives 5"):
        TemperatureScaling(Recorder(), refit=False).fit(X, y, groups=lesion)


def test_a_split_by_image_is_refused(photos: Any) -> None:
    X, y, lesion = photos
    with pytest.raises(LeakageError, match="lesion"):
        TemperatureScaling(GaussianNB(), cv=StratifiedKFold(3, shuffle=True, random_state=0)).fit(X, y, lesion)


def test_a_fitted_model_is_not_fitted_again(photos: Any) -> None:
    X, y, _ = photos
    fitted = GaussianNB().fit(X[:60, :-1], y[:60])
    model = TemperatureScaling(FrozenEstimator(fitted)).fit(X[60:, :-1], y[60:])
    assert model.temperature_ == fit_temperature(y[60:], fitted.predict_proba(X[60:, :-1]))
    assert model.n_calibration_images_ == 60
    with pytest.raises(ValueError, match=r"label\(s\) \['df'\], which the frozen estimator was not trained on"):
        TemperatureScaling(FrozenEstimator(fitted)).fit(X[:2, :-1], ["mel", "df"])


def test_it_works_in_pipelines_searches_frames_and_cross_validation(photos: Any) -> None:
    X, y, lesion = photos
    result = cross_validate(TemperatureScaling(GaussianNB(), cv=3), X[:, :-1], y, groups=lesion, cv=3)
    plain = cross_validate(GaussianNB(), X[:, :-1], y, groups=lesion, cv=3)
    np.testing.assert_array_equal(result.y_pred, plain.y_pred)
    assert log_loss(y, result.y_proba) < log_loss(y, plain.y_proba)
    frame = pd.DataFrame(X[:, :-1]).rename(columns=str).assign(lesion_id=[f"HAM_{i:07d}" for i in lesion])
    inner = make_pipeline(StandardScaler().set_output(transform="pandas"), GaussianNB())
    search = GridSearchCV(TemperatureScaling(inner), {"estimator__gaussiannb__var_smoothing": [1e-9, 0.1]}, cv=2)
    assert search.fit(X[:, :-1], y).best_estimator_.temperature_ > 1
    Recorder.log.clear()
    numbers = frame.assign(lesion_id=lesion)
    with_column = TemperatureScaling(_TakesFrame()).fit(numbers, y)
    assert with_column.temperature_ == TemperatureScaling(Recorder()).fit(X, y, groups=lesion).temperature_


class _TakesFrame(Recorder):
    def fit(self, X: Any, y: Any) -> Recorder:
        return super().fit(X.to_numpy(), y)

    def predict_proba(self, X: Any) -> np.ndarray:
        return super().predict_proba(X.to_numpy())


@pytest.mark.skipif(parse_version("1.8") > VERSION, reason="scikit-learn has temperature scaling from 1.8 on")
def test_the_temperature_is_scikit_learns(photos: Any) -> None:
    X, y, _ = photos
    fitted = LogisticRegression(C=100).fit(X[:60, :-1], y[:60])
    theirs = CalibratedClassifierCV(FrozenEstimator(fitted), method="temperature").fit(X[60:, :-1], y[60:])
    ours = TemperatureScaling(FrozenEstimator(fitted)).fit(X[60:, :-1], y[60:])
    np.testing.assert_allclose(ours.predict_proba(X[:, :-1]), theirs.predict_proba(X[:, :-1]), rtol=0, atol=1e-5)
    assert ours.temperature_ != pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TemperatureScaling(LinearSVC()), "The 'estimator' parameter of TemperatureScaling must be"),
        (TemperatureScaling(GaussianNB(), cv="five"), "The 'cv' parameter of TemperatureScaling must be"),
        (TemperatureScaling(GaussianNB(), cv=1), "cv must be at least 2"),
        (TemperatureScaling(GaussianNB(), refit=2), "The 'refit' parameter of TemperatureScaling must be"),
        (TemperatureScaling(GaussianNB(), cv=30), "cv=30 needs at least 30 lesions"),
        (ConformalClassifier(GaussianNB(), coverage=1.0), "The 'coverage' parameter of ConformalClassifier must"),
        (
            ConformalClassifier(GaussianNB(), method="raps"),
            "The 'method' parameter of ConformalClassifier must",
        ),
    ],
)
def test_messages_of_wrong_parameters(photos: Any, model: Any, message: str) -> None:
    X, y, lesion = photos
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, groups=lesion)


def test_the_import_needs_no_torch_and_no_new_scikit_learn() -> None:
    module = importlib.import_module("skinclf.evaluation._temperature")
    assert not hasattr(module, "CalibratedClassifierCV")


@parametrize_with_checks(
    [TemperatureScaling(LogisticRegression(), cv=2), ConformalClassifier(LogisticRegression(), cv=2)]
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_guess_stays_a_guess() -> None:
    y = np.array(["mel", "nv"] * 20)
    model = TemperatureScaling(DummyClassifier(strategy="uniform", random_state=0)).fit(np.zeros((40, 1)), y)
    assert model.predict_proba(np.zeros((1, 1))).tolist() == [[0.5, 0.5]]
