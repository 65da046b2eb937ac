"""Displays hold numbers, draw what they hold, and return themselves."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.dummy import DummyClassifier
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinclf.evaluation import cross_validate
from skinclf.reporting import LesionConfusionDisplay, TrainingHistoryDisplay


def _history(n_epochs: int = 3, **columns: Any) -> pd.DataFrame:
    epoch = np.arange(1, n_epochs + 1)
    return pd.DataFrame({"epoch": epoch, "train_loss": 2.0 / epoch, **columns})


# --- training history ----------------------------------------------------------------------------------


def test_history_of_an_estimator_a_pipeline_and_a_search(fake_network: Any, table: Any) -> None:
    X, y, _ = table
    plain = fake_network().fit(X, y)
    pipeline = make_pipeline(StandardScaler(), fake_network()).fit(X, y)
    search = GridSearchCV(pipeline, {"fakenetwork__max_epochs": [4]}, cv=2).fit(X, y)
    for estimator, n_epochs in ((plain, 6), (pipeline, 6), (search, 4)):
        display = TrainingHistoryDisplay.from_estimator(estimator)
        assert display.n_epochs == [n_epochs]
        assert display.best_epochs == [n_epochs - 2]


def test_history_of_a_cross_validation_has_a_set_of_curves_for_each_fold(result: Any) -> None:
    display = TrainingHistoryDisplay.from_cross_validation(result)
    assert len(display.histories) == 4
    loss, score = display.axes_
    assert sum(line.get_linestyle() == "-" for line in loss.get_lines()) == 4
    assert sum(line.get_linestyle() == "--" for line in loss.get_lines()) == 4
    assert sum(line.get_linestyle() == "--" for line in score.get_lines()) == 4
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation", "epoch kept"]


def test_history_is_drawn_as_it_is() -> None:
    history = _history(valid_loss=[1.5, 1.2, 1.3], valid_balanced_accuracy=[0.2, 0.5, 0.4])
    display = TrainingHistoryDisplay([history], best_epochs=[2])
    assert display.plot() is display
    train, valid, best = display.axes_[0].get_lines()
    np.testing.assert_array_equal(train.get_ydata(), history["train_loss"])
    np.testing.assert_array_equal(valid.get_ydata(), history["valid_loss"])
    assert (best.get_xdata().tolist(), best.get_ydata().tolist()) == ([2], [1.2])
    np.testing.assert_array_equal(display.axes_[1].get_lines()[0].get_ydata(), [0.2, 0.5, 0.4])
    assert display.figure_ is display.axes_[0].figure


def test_history_without_a_validation_part_has_training_curves_only() -> None:
    for columns in ({}, {"valid_loss": [np.nan] * 3, "valid_balanced_accuracy": [np.nan] * 3}):
        display = TrainingHistoryDisplay([_history(**columns)]).plot()
        assert len(display.axes_[0].get_lines()) == 1
        assert len(display.axes_[1].get_lines()) == 0
        assert display.axes_[1].get_legend() is None


def test_history_draws_on_given_axes_without_opening_a_figure() -> None:
    axes = Figure().subplots(1, 2)
    display = TrainingHistoryDisplay([_history()]).plot(axes)
    assert display.axes_.tolist() == axes.tolist()
    assert plt.get_fignums() == []


def test_history_messages(result: Any, fake_network: Any, table: Any) -> None:
    X, y, lesion = table
    with pytest.raises(ValueError, match=r"histories\[0\] lacks the column\(s\) \['train_loss'\]"):
        TrainingHistoryDisplay([pd.DataFrame({"epoch": [1]})])
    with pytest.raises(ValueError, match="a value for each of the 1 histories; got 2"):
        TrainingHistoryDisplay([_history()], best_epochs=[1, 2])
    with pytest.raises(ValueError, match="ax must be two Axes, for loss and for balanced accuracy; got 1"):
        TrainingHistoryDisplay([_history()]).plot(Figure().subplots())
    with pytest.raises(ValueError, match="FakeNetwork has no history_: either it is not fitted"):
        TrainingHistoryDisplay.from_estimator(fake_network())
    without = cross_validate(DummyClassifier(), X, y, groups=lesion, return_estimator=False)
    with pytest.raises(ValueError, match="return_estimator=True"):
        TrainingHistoryDisplay.from_cross_validation(without)


# --- confusion matrix ----------------------------------------------------------------------------------


def test_confusion_from_predictions_estimator_and_cross_validation(result: Any, table: Any) -> None:
    X, y, _ = table
    expected = confusion_matrix(result.y_true, result.y_pred)
    by_result = LesionConfusionDisplay.from_cross_validation(result)
    np.testing.assert_array_equal(by_result.confusion_matrix, expected)
    assert by_result.display_labels.tolist() == ["bkl", "mel", "nv"]
    by_predictions = LesionConfusionDisplay.from_predictions(result.y_true, result.y_pred)
    np.testing.assert_array_equal(by_predictions.confusion_matrix, expected)
    by_estimator = LesionConfusionDisplay.from_estimator(result.estimators[0], X, y)
    np.testing.assert_array_equal(
        by_estimator.confusion_matrix, confusion_matrix(y, result.estimators[0].predict(X))
    )


def test_confusion_cells_show_counts_and_row_shares() -> None:
    display = LesionConfusionDisplay([[3, 1], [0, 0]], display_labels=["mel", "nv"])
    assert display.plot() is display
    texts = [[cell.get_text() for cell in row] for row in display.text_]
    assert texts == [["3\n75%", "1\n25%"], ["0\n–", "0\n–"]]
    np.testing.assert_array_equal(display.im_.get_array(), [[0.75, 0.25], [0, 0]])
    assert np.isnan(display.row_shares[1]).all()
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["mel", "nv"]
    assert display.figure_ is display.ax_.figure


def test_confusion_text_fits_its_cells_with_seven_classes() -> None:
    names = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    display = LesionConfusionDisplay(np.full((7, 7), 6705), display_labels=names).plot()
    display.figure_.canvas.draw()
    cell_width = np.diff(display.ax_.transData.transform([(0, 0), (1, 0)])[:, 0])[0]
    assert all(text.get_window_extent().width < cell_width for text in display.text_.ravel())


def test_confusion_draws_on_given_axes_without_opening_a_figure() -> None:
    ax = Figure().subplots()
    display = LesionConfusionDisplay(np.eye(2, dtype=int), display_labels=["melanoma", "nevus"]).plot(ax)
    assert display.ax_ is ax
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {45.0}
    assert plt.get_fignums() == []


def test_confusion_of_a_subset_of_rows_that_are_tested(table: Any) -> None:
    X, y, lesion = table
    test = np.flatnonzero(np.isin(lesion, np.unique(lesion)[:20]))
    train = np.setdiff1d(np.arange(y.size), test)
    partial = cross_validate(DummyClassifier(), X, y, groups=lesion, cv=[(train, test)])
    assert LesionConfusionDisplay.from_cross_validation(partial).confusion_matrix.sum() == test.size


@pytest.mark.parametrize(
    ("matrix", "labels", "message"),
    [
        ([[1, 2]], None, r"confusion_matrix must be square; got shape \(1, 2\)"),
        ([[1, 2], [3, 4]], ["a"], r"display_labels must name the 2 classes.*got shape \(1,\)"),
    ],
)
def test_confusion_messages(matrix: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LesionConfusionDisplay(matrix, display_labels=labels)


def test_reporting_imports_neither_torch_nor_a_drawing_library() -> None:
    code = (
        "import sys, skinclf.reporting as r;"
        "r.EvaluationReport.from_predictions([0, 1] * 9, [0, 1] * 9).to_html();"
        "sys.exit(', '.join({'torch', 'skorch', 'matplotlib'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.stderr.strip() == ""
