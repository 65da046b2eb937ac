"""The tables of a report, as text cells; how they look is up to the renderers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf.evaluation import BootstrapInterval, ClassificationMetrics

UNDEFINED = "–"
_MINUS = "−"

CLASS_COLUMNS = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "precision",
    "npv": "NPV",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "AP",
    "auc_above_80": "AUC80",
}
"""Columns of the metrics, and what a reader calls them."""

FOLD_COLUMNS = {
    "balanced_accuracy": "balanced accuracy",
    "train_images": "trained on",
    "test_images": "tested on",
    "test_lesions": "lesions",
    "best_epoch": "epoch kept",
    "epochs": "epochs",
    "fit_seconds": "fit (s)",
    "score_seconds": "test (s)",
}
"""Columns of the folds, and what a reader calls them; scores not named here keep their names."""

_SIZES = frozenset({"train_images", "test_images", "test_lesions"})
_EPOCHS = frozenset({"best_epoch", "epochs"})


@dataclass(frozen=True)
class Table:
    """Text cells.

    Attributes
    ----------
    caption : str
        What the table shows.
    header : tuple of str
        Names of the columns; the first column names the rows.
    rows : tuple of tuple of str
        One tuple for each row, as long as the header.
    n_summary : int
        How many of the last rows sum up the others.
    kind : {"numbers", "words"}
        What the columns after the first hold; words may be long and are set flush left.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_summary: int = 0
    kind: Literal["numbers", "words"] = "numbers"


def format_number(value: float, digits: int = 3) -> str:
    """Return a number as text, with a dash for what is not defined."""
    return UNDEFINED if np.isnan(value) else f"{value:.{digits}f}".replace("-", _MINUS)


def format_interval(interval: BootstrapInterval) -> str:
    """Return an interval as text, such as ``"0.690–0.733"``."""
    return format_range(interval.low, interval.high)


def format_range(low: float, high: float) -> str:
    """Return the ends of an interval as text."""
    if np.isnan(low):
        return UNDEFINED
    between = " to " if low < 0 else "–"
    return f"{low:.3f}{between}{high:.3f}".replace("-", _MINUS)


def format_share(share: float) -> str:
    """Return a share in percent, such as ``"18%"``."""
    return UNDEFINED if np.isnan(share) else f"{share:.0%}"


def class_table(metrics: ClassificationMetrics, intervals: Mapping[str, BootstrapInterval]) -> Table:
    """Lay out the figures of each class, with the interval of the sensitivity, and their means."""
    figures = [name for name in CLASS_COLUMNS if name in metrics.per_class.columns]
    rows = []
    for label, row in metrics.per_class.iterrows():
        cells = [format_number(row[name]) for name in figures]
        cells.insert(1, format_interval(intervals[f"sensitivity:{label}"]))
        rows.append((str(label), *cells, f"{int(row['support']):,}"))
    for name, row in metrics.averages.iterrows():
        cells = [format_number(row[figure]) for figure in figures]
        cells.insert(1, "")
        rows.append((f"{name} mean", *cells, f"{int(row['support']):,}"))
    percent = f"{next(iter(intervals.values())).confidence * 100:g} %"
    header = [CLASS_COLUMNS[name] for name in figures]
    header.insert(1, f"{percent} interval")
    return Table(
        "Each class against the others; the interval is that of the sensitivity" + _explain(figures),
        ("class", *header, "images"),
        tuple(rows),
        n_summary=len(metrics.averages),
    )


def _explain(figures: list[str]) -> str:
    """Say what the short names of the figures of rankings mean, if there are any."""
    if "average_precision" not in figures:
        return ""
    return ". AP: average precision; AUC80: area under the ROC curve where the sensitivity is above 80 %"


def interval_table(metrics: ClassificationMetrics, intervals: Mapping[str, BootstrapInterval]) -> Table:
    """Lay out the interval of each figure of each class, and of the means; * marks those of another method."""
    figures = [name for name in CLASS_COLUMNS if name in metrics.per_class.columns]
    names = {str(label): str(label) for label in metrics.labels}
    names |= {f"{name} mean": str(name) for name in metrics.averages.index}
    rows = []
    for title, name in names.items():
        found = [intervals.get(f"{figure}:{name}") for figure in figures]
        rows.append((title, *(UNDEFINED if interval is None else _mark(interval) for interval in found)))
    confidence = next(iter(intervals.values())).confidence
    caption = (
        f"{confidence * 100:g} % intervals of the same figures; * not from the bootstrap, which has no width here"
    )
    header = ("class", *(CLASS_COLUMNS[name] for name in figures))
    return Table(caption, header, tuple(rows), n_summary=len(metrics.averages))


def _mark(interval: BootstrapInterval) -> str:
    return format_interval(interval) + ("" if interval.method in ("bootstrap", "undefined") else " *")


def fold_table(folds: pd.DataFrame) -> Table:
    """Lay out the folds, and below them mean and standard deviation over the folds, except of their sizes."""
    names = [str(name) for name in folds.columns]
    rows = [(str(fold), *_format_fold(names, row)) for fold, row in folds.iterrows()]
    n_summary = 0
    if len(folds) > 1:
        statistics = {"mean": folds.mean(), "std": folds.std()}
        rows += [(title, *_format_fold(names, values, mean=True)) for title, values in statistics.items()]
        n_summary = len(statistics)
    header = tuple(FOLD_COLUMNS.get(name, name.replace("_", " ")) for name in names)
    caption = "Each model on the images of its test part; “trained on” and “tested on” count images"
    return Table(caption, ("fold", *header), tuple(rows), n_summary)


def _format_fold(names: list[str], values: pd.Series[Any], *, mean: bool = False) -> list[str]:
    return [_format_fold_cell(name, float(value), mean=mean) for name, value in zip(names, values, strict=True)]


def _format_fold_cell(column: str, number: float, *, mean: bool) -> str:
    if np.isnan(number):
        return UNDEFINED
    if column in _SIZES:
        return "" if mean else f"{number:,.0f}"
    if column in _EPOCHS:
        return f"{number:.1f}" if mean else f"{number:.0f}"
    return f"{number:,.1f}" if column.endswith("_seconds") else f"{number:.3f}"


def confusion_table(labels: tuple[str, ...], counts: NDArray[np.int64], shares: NDArray[np.float64]) -> Table:
    """Lay out the confusion counts and their shares of the row; rows are the truth."""
    rows = tuple(
        (name, *(f"{count:,} ({format_share(share)})" for count, share in zip(*pair, strict=True)))
        for name, *pair in zip(labels, counts, shares, strict=True)
    )
    caption = "Confusion matrix: rows are the true class, columns the prediction; shares are of the row"
    return Table(caption, ("", *labels), rows)


def summary_table(
    intervals: Mapping[str, BootstrapInterval], null_models: pd.DataFrame, names: tuple[str, ...]
) -> Table:
    """Lay out the overall figures of the model, and below them those of the null models."""
    titles = [FOLD_COLUMNS.get(name, name.replace("_", " ")) for name in names]
    model = [f"{intervals[name].estimate:.3f} ({format_interval(intervals[name])})" for name in names]
    rows = [("this model", *model)]
    for null, row in null_models.iterrows():
        rows.append((str(null), *(format_number(row[name]) for name in names)))
    return Table(
        "Overall figures, beside models that look at no image", ("", *titles), tuple(rows), len(null_models)
    )


def mapping_table(caption: str, header: tuple[str, str], values: Mapping[str, str]) -> Table:
    """Lay out names and values."""
    return Table(caption, header, tuple((str(name), str(value)) for name, value in values.items()), kind="words")
