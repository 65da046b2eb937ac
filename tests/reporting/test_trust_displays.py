"""Displays of calibration, abstention and subgroups hold numbers, draw what they hold, and return themselves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.svm import LinearSVC

from skinclf.evaluation import calibration_metrics, cross_validate, risk_coverage, subgroup_metrics
from skinclf.reporting import ReliabilityDisplay, RiskCoverageDisplay, SubgroupDisplay

DISPLAYS = (ReliabilityDisplay, RiskCoverageDisplay)


@pytest.fixture(scope="module")
def subgroups() -> Any:
    """Women with all classes, men of whom few have a melanoma, and one image of an ear."""
    generator = np.random.default_rng(0)
    y_true = np.array(["bkl", "mel", "nv"])[np.arange(200) % 3]
    sex = np.where(np.arange(200) < 100, "female", "male")
    y_true[(sex == "male") & (np.arange(200) > 120) & (y_true == "mel")] = "nv"
    y_pred = np.where(generator.random(200) < 0.7, y_true, "nv")
    site = np.where(np.arange(200) == 0, "ear", "back")
    return subgroup_metrics(y_true, y_pred, pd.DataFrame({"sex": sex, "localization": site}), n_draws=50)


@pytest.fixture(scope="module")
def predictions(result: Any) -> tuple[Any, Any, Any]:
    return result.y_true, result.y_proba, result.groups


# --- reliability ---------------------------------------------------------------------------------------


def test_reliability_draws_what_it_holds(predictions: Any) -> None:
    y, proba, lesion = predictions
    bins = calibration_metrics(y, proba, groups=lesion, n_bins=5, n_draws=10).bins
    display = ReliabilityDisplay(bins, name="model")
    assert display.plot() is display
    points, _, (bars,) = display.errorbar_
    np.testing.assert_array_equal(points.get_xdata(), bins["predicted"])
    np.testing.assert_array_equal(points.get_ydata(), bins["observed"])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, bins[["low", "high"]])
    error = calibration_metrics(y, proba, n_bins=5, n_draws=10).summary.loc["ece", "estimate"]
    assert display.calibration_error == pytest.approx(error)
    (text,) = display.ax_.get_legend().get_texts()
    assert text.get_text() == f"model: calibration error {error:.3f}"
    assert display.figure_ is display.ax_.figure


def test_reliability_from_predictions_estimator_and_cross_validation_agree(result: Any, table: Any) -> None:
    X, y, lesion = table
    by_result = ReliabilityDisplay.from_cross_validation(result)
    by_predictions = ReliabilityDisplay.from_predictions(result.y_true, result.y_proba, groups=result.groups)
    pd.testing.assert_frame_equal(by_result.bins, by_predictions.bins)
    estimator = result.estimators[0]
    by_estimator = ReliabilityDisplay.from_estimator(estimator, X, y, groups=lesion)
    expected = calibration_metrics(y, estimator.predict_proba(X), groups=lesion, n_draws=1).bins
    pd.testing.assert_frame_equal(by_estimator.bins, expected)


def test_reliability_of_one_class(predictions: Any) -> None:
    y, proba, lesion = predictions
    settings = {"n_bins": 4, "binning": "equal_width"}
    display = ReliabilityDisplay.from_predictions(y, proba, groups=lesion, class_label="mel", **settings)
    bins = calibration_metrics(y, proba, groups=lesion, n_draws=1, **settings).class_bins
    assert display.bins["observed"].tolist() == bins.loc[bins["class"] == "mel", "observed"].tolist()
    assert display.ax_.get_xlabel() == "Probability of mel"
    assert display.ax_.get_ylabel() == "Share that is mel"


def test_two_curves_share_axes_diagonal_and_legend(predictions: Any) -> None:
    y, proba, _ = predictions
    first = ReliabilityDisplay.from_predictions(y, proba, name="a")
    n_patches = len(first.ax_.patches)
    second = ReliabilityDisplay.from_predictions(y, proba, name="b", ax=first.ax_)
    assert second.ax_ is first.ax_
    assert [text.get_text()[:2] for text in first.ax_.get_legend().get_texts()] == ["a:", "b:"]
    assert len(first.ax_.patches) == n_patches
    assert first.errorbar_[0].get_color() != second.errorbar_[0].get_color()
    diagonals = [line for line in first.ax_.get_lines() if list(line.get_xdata()) == [0, 1]]
    assert len(diagonals) == 1


def test_the_legend_covers_no_point() -> None:
    y = np.array(["mel", "nv"] * 100)
    p = np.linspace(0.01, 0.99, 200)
    first = ReliabilityDisplay.from_predictions(y, np.c_[p, 1 - p], name="a model with a long name")
    ReliabilityDisplay.from_predictions(y, np.c_[1 - p, p], name="another model", ax=first.ax_)
    first.figure_.canvas.draw()
    legend = first.ax_.get_legend().get_window_extent()
    assert legend.y0 >= first.ax_.get_window_extent().y1
    assert legend.x1 <= first.figure_.bbox.x1
    assert legend.y1 <= first.figure_.bbox.y1


def test_reliability_messages(predictions: Any) -> None:
    y, proba, _ = predictions
    with pytest.raises(ValueError, match=r"without \['high', 'low', .*calibration_metrics\(...\).bins is such"):
        ReliabilityDisplay(pd.DataFrame({"predicted": [0.5], "observed": [0.5]}))
    with pytest.raises(ValueError, match=r"class_label must be one of \['bkl', 'mel', 'nv'\]; got 'df'"):
        ReliabilityDisplay.from_predictions(y, proba, class_label="df")


# --- risk and coverage ---------------------------------------------------------------------------------


def test_risk_coverage_draws_what_it_holds(predictions: Any) -> None:
    y, proba, lesion = predictions
    found = risk_coverage(y, proba, groups=lesion, n_draws=20)
    display = RiskCoverageDisplay(found, name="model")
    assert display.plot() is display
    np.testing.assert_array_equal(display.line_.get_xdata(), found.curve["coverage"])
    np.testing.assert_array_equal(display.line_.get_ydata(), found.curve["error"])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == [f"model: area {found.summary.loc['aurc', 'estimate']:.3f}", "least possible"]
    assert display.ax_.get_ylim()[0] == 0
    assert display.ax_.get_ylim()[1] >= found.curve["high"].max()


def test_risk_coverage_from_predictions_estimator_and_cross_validation_agree(result: Any, table: Any) -> None:
    X, y, lesion = table
    by_result = RiskCoverageDisplay.from_cross_validation(result)
    by_predictions = RiskCoverageDisplay.from_predictions(result.y_true, result.y_proba, groups=result.groups)
    pd.testing.assert_frame_equal(by_result.result.at, by_predictions.result.at)
    estimator = result.estimators[0]
    by_estimator = RiskCoverageDisplay.from_estimator(estimator, X, y, groups=lesion)
    expected = risk_coverage(y, estimator.predict_proba(X), groups=lesion)
    pd.testing.assert_frame_equal(by_estimator.result.at, expected.at)


def test_two_risk_coverage_curves_on_the_same_axes(predictions: Any) -> None:
    y, proba, _ = predictions
    better = 0.6 * proba + 0.4 * np.eye(3)[np.searchsorted(["bkl", "mel", "nv"], y)]
    first = RiskCoverageDisplay.from_predictions(y, proba, name="a")
    top = first.ax_.get_ylim()[1]
    second = RiskCoverageDisplay.from_predictions(y, better, name="b", ax=first.ax_)
    assert first.ax_.get_ylim()[1] == top
    texts = [text.get_text()[:2] for text in second.ax_.get_legend().get_texts()]
    assert texts == ["a:", "le", "b:"]
    assert first.line_.get_color() != second.line_.get_color()


# --- both ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("display", DISPLAYS)
def test_given_axes_open_no_figure(display: Any, predictions: Any) -> None:
    y, proba, _ = predictions
    ax = Figure().subplots()
    assert display.from_predictions(y, proba, ax=ax).ax_ is ax
    assert plt.get_fignums() == []


@pytest.mark.parametrize("display", DISPLAYS)
def test_a_result_without_probabilities(display: Any, table: Any) -> None:
    X, y, lesion = table
    without = cross_validate(LinearSVC(), X, y, groups=lesion, cv=2)
    with pytest.raises(ValueError, match="the classifier has no predict_proba"):
        display.from_cross_validation(without)


@pytest.mark.parametrize("display", DISPLAYS)
def test_rows_that_no_fold_tests_are_left_out(display: Any, table: Any, fake_network: Any) -> None:
    X, y, lesion = table
    test = np.flatnonzero(np.isin(lesion, np.unique(lesion)[:30]))
    partial = cross_validate(
        fake_network(), X, y, groups=lesion, cv=[(np.setdiff1d(np.arange(y.size), test), test)]
    )
    by_result = display.from_cross_validation(partial)
    rows = by_result.bins["n_images"].sum() if display is ReliabilityDisplay else by_result.result.n_images
    assert rows == test.size


# --- subgroups -----------------------------------------------------------------------------------------


def _labels(display: SubgroupDisplay) -> list[str]:
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def test_a_row_for_each_part_under_a_heading(subgroups: Any) -> None:
    display = SubgroupDisplay(subgroups, metric="accuracy")
    assert display.plot() is display
    assert _labels(display) == ["Sex", "female (100)", "male (100)", "Body site", "back (199)"]
    weights = [label.get_fontweight() for label in display.ax_.get_yticklabels()]
    assert weights == ["bold", "normal", "normal", "bold", "normal"]
    lines = display.ax_.get_lines()
    points = [line.get_xdata()[0] for line in lines if line.get_marker() == "o"]
    assert points == display.rows["accuracy"].tolist()
    spans = [list(line.get_xdata()) for line in lines if line.get_marker() == "None" and line.get_ydata()[0] != 0]
    assert spans == display.rows[["accuracy_low", "accuracy_high"]].to_numpy().tolist()
    overall = subgroups.table.loc[("all", "all"), "accuracy"]
    assert display.ax_.get_xlabel() == f"Accuracy; all images: {overall:.3f}"


def test_small_parts_are_hollow(subgroups: Any) -> None:
    display = SubgroupDisplay(subgroups, metric="sensitivity").plot()
    few = display.rows["small_positive"].tolist()
    assert few == [False, True, False]
    faces = [line.get_markerfacecolor() for line in display.ax_.get_lines() if line.get_marker() == "o"]
    assert [face == "white" for face in faces] == few
    lesions = subgroups.table.loc[("sex", "male"), "n_positive_lesions"]
    assert f"male ({lesions})" in _labels(display)
    assert "Sensitivity for mel" in display.ax_.get_xlabel()


def test_missing_classes_are_said_of_a_mean_over_classes() -> None:
    table = pd.DataFrame({"dx_type": ["histo"] * 40 + ["follow_up"] * 40})
    result = subgroup_metrics(["mel", "nv"] * 20 + ["nv"] * 40, ["nv"] * 80, table, n_draws=20)
    assert _labels(SubgroupDisplay(result).plot()) == ["Diagnosis by", "follow_up (40, 1 class)", "histo (40)"]
    assert _labels(SubgroupDisplay(result, metric="accuracy").plot())[1] == "follow_up (40)"


def test_subgroups_of_a_cross_validation(result: Any) -> None:
    table = pd.DataFrame({"sex": np.where(np.arange(result.y_true.size) % 2, "female", "male")})
    display = SubgroupDisplay.from_cross_validation(result, table)
    expected = subgroup_metrics(result.y_true, result.y_pred, table, groups=result.groups)
    pd.testing.assert_frame_equal(display.result.table, expected.table)
    with pytest.raises(ValueError, match=r"table must have a row for each of the \d+ rows of X; got 3"):
        SubgroupDisplay.from_cross_validation(result, table[:3])


def test_names_and_points_do_not_overlap(subgroups: Any) -> None:
    display = SubgroupDisplay(subgroups).plot()
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.ax_.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


def test_subgroup_messages(subgroups: Any) -> None:
    with pytest.raises(ValueError, match=r"metric must be one of \['balanced_accuracy', .*; got 'auc'"):
        SubgroupDisplay(subgroups, metric="auc")
    ax = Figure().subplots()
    assert SubgroupDisplay(subgroups).plot(ax).ax_ is ax
    assert plt.get_fignums() == []
