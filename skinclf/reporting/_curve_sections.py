"""ROC and precision-recall curves of each class, and the operating points of the questions that matter most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skinclf.evaluation import operating_points
from skinclf.reporting._class_curves import ClassCurvesDisplay, collect_curves
from skinclf.reporting._evaluation import Evaluation, folds_by_lesion
from skinclf.reporting._precision_recall_display import LesionPrecisionRecallDisplay
from skinclf.reporting._roc_display import LesionRocDisplay
from skinclf.reporting._sections import Chart, Section, Text
from skinclf.reporting._tables import UNDEFINED, Table, format_number, format_range

_ROC_CAPTION = (
    "Sensitivity against 1 − specificity, each class against all others. The grey line is a guess. In the legend: "
    "area under the curve and its interval."
)
_PR_CAPTION = (
    "Precision against sensitivity, each class against all others. Short lines at the right edge: what a guess "
    "reaches, which is the share of the class. In the legend: average precision and its interval."
)
_N_POINTS = 101
_POSITIVE = {"melanoma": "mel against all others", "malignant": "mel, bcc and akiec against all others"}


def curves_section(evaluation: Evaluation) -> Section | None:
    """Draw both curves of all classes."""
    predictions = evaluation.predictions
    if predictions.proba is None:
        return None
    displays: list[tuple[str, ClassCurvesDisplay, str, str]] = [
        ("roc", _display(LesionRocDisplay, evaluation), _ROC_CAPTION, "ROC curves; area under each"),
        (
            "precision_recall",
            _display(LesionPrecisionRecallDisplay, evaluation),
            _PR_CAPTION,
            "Precision-recall curves; average precision of each",
        ),
    ]
    charts = [
        Chart(caption, f"{what}: {_list_areas(display)}.", _draw(display), size=(4.4, 5.0))
        for _, display, caption, what in displays
    ]
    data = {
        name: {"areas": display.areas.to_dict("index"), "points": _thin(display)}
        for name, display, _, _ in displays
    }
    return Section("ROC and precision-recall", tuple(charts), {"curves": data})


def _display(kind: type[ClassCurvesDisplay], evaluation: Evaluation) -> ClassCurvesDisplay:
    predictions = evaluation.predictions
    return collect_curves(
        kind, predictions.truth, predictions.proba, evaluation.metrics.labels, evaluation.figures
    )


def _draw(display: ClassCurvesDisplay) -> Any:
    # A display remembers where it was drawn; each drawing gets one of its own.
    return lambda figure: type(display)(display.curves, display.areas).plot(figure.add_subplot())


def _thin(display: ClassCurvesDisplay) -> dict[str, dict[str, list[float]]]:
    """Return at most `_N_POINTS` points of each curve, its ends among them."""
    thinned = {}
    for label, (x, y) in display.curves.items():
        chosen = np.unique(np.linspace(0, x.size - 1, _N_POINTS).round().astype(np.intp))
        thinned[label] = {"x": x[chosen].round(4).tolist(), "y": y[chosen].round(4).tolist()}
    return thinned


def _list_areas(display: ClassCurvesDisplay) -> str:
    return ", ".join(f"{label} {row['estimate']:.3f}" for label, row in display.areas.iterrows())


def operating_section(evaluation: Evaluation) -> Section | None:
    """Show the sensitivity at 95 % specificity and the reverse, for melanoma and for what is malignant."""
    predictions = evaluation.predictions
    # Only data with a class of melanoma, or another malignant one, have such a question.
    if not evaluation.figures["figure"].str.startswith("sensitivity_at_").any():
        return None
    points = operating_points(
        predictions.truth,
        predictions.proba,
        labels=evaluation.metrics.labels,
        groups=predictions.groups,
        fold=folds_by_lesion(evaluation),
        **evaluation.settings.as_arguments(),
    )
    percent = f"{evaluation.settings.confidence * 100:g} % interval"
    table = Table(
        "Binary questions, asked of the summed probabilities of the positive classes",
        ("question", "sensitivity", percent, "specificity", percent, "threshold", "threshold from"),
        tuple(_point_row(row) for _, row in points.iterrows()),
    )
    asked = [f"{task}: {_POSITIVE[task]}" for task in points["task"].unique() if task in _POSITIVE]
    words = (f"{'; '.join(asked)}. " if asked else "") + (
        "A threshold that was chosen on the rows that it is judged by promises too much; one from other folds "
        "does not."
    )
    data = {"operating_points": points.to_dict("records")}
    return Section("Operating points", (table, Text((words,))), data)


def _point_row(row: pd.Series[Any]) -> tuple[str, ...]:
    threshold = row["threshold"]
    return (
        f"{row['task']}, {row['goal']}",
        format_number(row["sensitivity"]),
        format_range(row["sensitivity_low"], row["sensitivity_high"]),
        format_number(row["specificity"]),
        format_range(row["specificity_low"], row["specificity_high"]),
        UNDEFINED if pd.isna(threshold) else f"{threshold:.3g}",
        str(row["threshold_from"]),
    )
