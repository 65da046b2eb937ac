"""ROC and precision-recall curves agree with scikit-learn, and can be read where they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.dummy import DummyClassifier
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve
from sklearn.svm import LinearSVC

from skinclf.evaluation import bootstrap_ci, cross_validate
from skinclf.reporting import LesionPrecisionRecallDisplay, LesionRocDisplay
from skinclf.reporting._palette import CLASS_STYLES

KINDS = (LesionRocDisplay, LesionPrecisionRecallDisplay)
AREAS = pd.DataFrame({"estimate": [0.8], "low": [0.7], "high": [0.9], "prevalence": [0.1]}, index=["mel"])


def test_roc_curves_and_areas_are_those_of_scikit_learn(full_result: Any) -> None:
    display = LesionRocDisplay.from_cross_validation(full_result, n_draws=50)
    assert list(display.curves) == list(full_result.classes)
    for column, label in enumerate(full_result.classes):
        is_class = full_result.y_true == label
        x, y, _ = roc_curve(is_class, full_result.y_proba[:, column])
        np.testing.assert_array_equal(display.curves[label][0], x)
        np.testing.assert_array_equal(display.curves[label][1], y)
        area = display.areas.loc[label]
        assert area["estimate"] == pytest.approx(roc_auc_score(is_class, full_result.y_proba[:, column]))
        assert area["estimate"] == pytest.approx(auc(x, y))
        assert area["low"] < area["estimate"] < area["high"]


def test_precision_recall_curves_and_areas_are_those_of_scikit_learn(full_result: Any) -> None:
    display = LesionPrecisionRecallDisplay.from_cross_validation(full_result, n_draws=50)
    for column, label in enumerate(full_result.classes):
        is_class = full_result.y_true == label
        scores = full_result.y_proba[:, column]
        precision, recall, _ = precision_recall_curve(is_class, scores, drop_intermediate=True)
        np.testing.assert_array_equal(display.curves[label], (recall, precision))
        area = display.areas.loc[label]
        assert area["estimate"] == pytest.approx(average_precision_score(is_class, scores))
        assert area["prevalence"] == pytest.approx(is_class.mean())


def test_intervals_are_over_lesions(full_result: Any) -> None:
    display = LesionRocDisplay.from_cross_validation(full_result, n_draws=80)
    interval = bootstrap_ci(
        full_result.y_true,
        y_proba=full_result.y_proba,
        groups=full_result.groups,
        metric="roc_auc:mel",
        n_draws=80,
    )
    assert display.areas.loc["mel", ["low", "high"]].tolist() == pytest.approx([interval.low, interval.high])


@pytest.mark.parametrize("kind", KINDS)
def test_from_an_estimator_from_predictions_and_from_folds_agree(
    kind: Any, fake_network: Any, table: Any, result: Any
) -> None:
    X, y, lesion = table
    model = fake_network().fit(X, y)
    by_estimator = kind.from_estimator(model, X, y, groups=lesion, n_draws=50)
    by_predictions = kind.from_predictions(
        y, model.predict_proba(X), groups=lesion, labels=model.classes_, n_draws=50
    )
    pd.testing.assert_frame_equal(by_estimator.areas, by_predictions.areas)
    by_folds = kind.from_cross_validation(result, n_draws=50)
    again = kind.from_predictions(result.y_true, result.y_proba, groups=result.groups, n_draws=50)
    pd.testing.assert_frame_equal(by_folds.areas, again.areas)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn(kind: Any, full_result: Any) -> None:
    display = kind.from_cross_validation(full_result, n_draws=50)
    assert len(display.lines_) == 7
    for line, (x, y) in zip(display.lines_, display.curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), x)
        np.testing.assert_array_equal(line.get_ydata(), y)
    entries = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    row = display.areas.loc["mel"]
    assert entries[4] == f"mel {row['estimate']:.2f} ({row['low']:.2f}–{row['high']:.2f})"
    assert len(entries) == 7
    assert len({(line.get_color(), line.get_linestyle()) for line in display.lines_}) == 7


@pytest.mark.parametrize("kind", KINDS)
def test_the_legend_is_inside_the_figure_and_hides_nothing(kind: Any, full_result: Any) -> None:
    display = kind.from_cross_validation(full_result, n_draws=50)
    display.figure_.canvas.draw()
    legend = display.ax_.get_legend().get_window_extent()
    figure = display.figure_.bbox
    assert figure.x0 <= legend.x0 < legend.x1 <= figure.x1
    assert figure.y0 <= legend.y0
    assert legend.y1 < display.ax_.xaxis.label.get_window_extent().y0


@pytest.mark.parametrize("kind", KINDS)
def test_given_axes_are_used_without_opening_a_figure(kind: Any) -> None:
    ax = Figure().add_subplot()
    display = kind({"mel": ([0, 0.5, 1], [0, 0.5, 1])}, AREAS)
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert plt.get_fignums() == []


def test_marks_of_a_guess_are_at_the_share_of_each_class(full_result: Any) -> None:
    display = LesionPrecisionRecallDisplay.from_cross_validation(full_result, n_draws=50)
    marks = [line for line in display.ax_.get_lines() if line not in display.lines_]
    assert [line.get_ydata()[0] for line in marks] == display.areas["prevalence"].tolist()
    assert {line.get_drawstyle() for line in display.lines_} == {"steps-post"}


def test_a_class_without_images_has_no_curve_and_an_odd_name_is_shown() -> None:
    y_true = ["cost $5$ and a very, very long name", "nv"] * 10
    labels = ["cost $5$ and a very, very long name", "mel", "nv"]
    proba = np.tile([[0.6, 0.1, 0.3], [0.2, 0.1, 0.7]], (10, 1))
    display = LesionRocDisplay.from_predictions(y_true, proba, labels=labels, n_draws=50)
    assert list(display.curves) == [labels[0], "nv"]
    display.figure_.canvas.draw()
    assert display.ax_.get_legend().get_texts()[0].get_text().startswith(r"cost \$5\$ and a very,… ")


@pytest.mark.parametrize("kind", KINDS)
def test_messages(kind: Any, table: Any) -> None:
    X, y, lesion = table
    curves = {"mel": ([0, 1], [0, 1])}
    with pytest.raises(ValueError, match=r"areas lacks the column\(s\) \['low'\]"):
        kind(curves, AREAS.drop(columns="low"))
    with pytest.raises(
        ValueError, match=r"a row for each of the classes \['mel'\], in this order; it has \['nv'\]"
    ):
        kind(curves, AREAS.rename(index={"mel": "nv"}))
    with pytest.raises(
        ValueError, match=r"curves\['mel'\] must be two arrays of the same length; got shapes \(2,\)"
    ):
        kind({"mel": ([0, 1], [0, 0.5, 1])}, AREAS)
    with pytest.raises(ValueError, match="must hold at least two classes, else there is no curve"):
        kind.from_predictions(["nv"] * 6, [[0.5, 0.5]] * 6, labels=["mel", "nv"], n_draws=50)
    without = cross_validate(LinearSVC(), X, y, groups=lesion)
    with pytest.raises(ValueError, match=r"holds no probabilities, so no curves: .* with predict_proba"):
        kind.from_cross_validation(without)


def test_folds_that_do_not_test_every_row(table: Any) -> None:
    X, y, lesion = table
    test = np.flatnonzero(np.isin(lesion, np.unique(lesion)[:20]))
    train = np.setdiff1d(np.arange(y.size), test)
    partial = cross_validate(DummyClassifier(strategy="prior"), X, y, groups=lesion, cv=[(train, test)])
    display = LesionRocDisplay.from_cross_validation(partial, n_draws=50)
    assert display.areas["estimate"].tolist() == [0.5, 0.5, 0.5]


def contrast(first: str, second: str) -> float:
    """Contrast of two colours as WCAG 2.2 defines it, 1 to 21."""

    def luminance(color: str) -> float:
        rgb = np.array(colors.to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_every_curve_can_be_seen_on_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert min(contrast(style.color, "white") for style in CLASS_STYLES) >= 3
    assert len({style.color for style in CLASS_STYLES}) == len(CLASS_STYLES) == 7
