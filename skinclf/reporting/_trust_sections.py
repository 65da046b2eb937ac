"""How far the probabilities can be trusted, and for whom: calibration, abstention, prediction sets, subgroups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from skinclf.evaluation import (
    calibration_metrics,
    conformal_sets,
    cross_fit_temperature,
    risk_coverage,
    subgroup_metrics,
)
from skinclf.reporting._evaluation import Evaluation, folds_by_lesion
from skinclf.reporting._reliability_display import ReliabilityDisplay
from skinclf.reporting._risk_coverage_display import RiskCoverageDisplay
from skinclf.reporting._sections import Block, Chart, Section, Text
from skinclf.reporting._subgroup_display import HEADINGS, SubgroupDisplay
from skinclf.reporting._tables import Table, format_number, format_range

_CALIBRATION_ROWS = {
    "ece": "expected calibration error",
    "classwise_ece": "class-wise calibration error",
    "brier": "Brier score (0–2)",
    "log_loss": "log loss (nats)",
    "overconfidence": "overconfidence",
}
_SHARE_TO_ANSWER = 0.8
_SET_COVERAGE = 0.9
_SUBGROUP_COLUMNS = ("sex", "age", "localization", "dx_type")
_MELANOMA = "mel"


def _arguments(evaluation: Evaluation, *, with_draws: bool = True) -> dict[str, Any]:
    settings = evaluation.settings.as_arguments() if with_draws else {}
    return {"labels": evaluation.metrics.labels, "groups": evaluation.predictions.groups, **settings}


def calibration_section(evaluation: Evaluation) -> Section | None:
    """Compare probabilities with frequencies, as they are and after temperature scaling."""
    predictions, fold = evaluation.predictions, folds_by_lesion(evaluation)
    if predictions.probabilities is None:
        return None
    arguments = _arguments(evaluation)
    metrics = {"as it is": calibration_metrics(predictions.truth, predictions.probabilities, **arguments)}
    data: dict[str, Any] = {}
    words = [_describe_confidence(predictions.probabilities, evaluation.metrics.accuracy)]
    if fold is not None:
        scaled = cross_fit_temperature(
            predictions.truth,
            predictions.probabilities,
            fold=fold,
            labels=evaluation.metrics.labels,
            groups=predictions.groups,
        )
        metrics["with a temperature"] = calibration_metrics(predictions.truth, scaled.y_proba, **arguments)
        data["temperature"] = float(scaled.temperature)
        words.append(
            f"One temperature divides all logits ({scaled.temperature:.2f} on all rows; above 1 it makes the "
            "model less sure). That of a row was fitted on the other folds, whose lesions are others; the answers "
            "stay the same."
        )
    charts = [
        Chart(
            f"Reliability, {name}: how often the answer is right, against its probability; on the grey line both "
            "agree. Grey steps: how many images have such a probability.",
            f"Reliability diagram, {name}: expected calibration error "
            f"{format_number(found.summary['estimate'].loc['ece'])}.",
            _DrawReliability(found.bins),
            size=(4.4, 4.2),
        )
        for name, found in metrics.items()
    ]
    data |= {
        name.replace(" ", "_"): {
            "summary": found.summary.to_dict("index"),
            "per_class": found.per_class.rename(index=str).to_dict("index"),
            "bins": found.bins.to_dict("records"),
        }
        for name, found in metrics.items()
    }
    table = _calibration_table({name: found.summary for name, found in metrics.items()}, evaluation)
    return Section("Calibration", (Text(tuple(words)), table, *charts), {"calibration": data})


class _DrawReliability:
    def __init__(self, bins: pd.DataFrame) -> None:
        self.bins = bins

    def __call__(self, figure: Any) -> None:
        ReliabilityDisplay(self.bins).plot(figure.add_subplot())


def _describe_confidence(proba: np.ndarray, accuracy: float) -> str:
    mean = float(proba.max(axis=1).mean())
    verdict = "promises too much" if mean > accuracy else "promises too little"
    return (
        f"On average the model gives its answer a probability of {mean:.3f}, and is right in {accuracy:.3f} of "
        f"the images: it {verdict}."
    )


def _calibration_table(summaries: dict[str, pd.DataFrame], evaluation: Evaluation) -> Table:
    percent = f"{evaluation.settings.confidence * 100:g} % interval"
    header = ["figure", *(cell for name in summaries for cell in (name, percent))]
    first = next(iter(summaries.values()))
    rows = []
    for figure, title in _CALIBRATION_ROWS.items():
        if figure not in first.index:
            continue
        cells = [title]
        for summary in summaries.values():
            row = summary.to_dict("index")[figure]
            value = row["estimate"] if math.isnan(row["debiased"]) else row["debiased"]
            cells += [format_number(value), format_range(row["low"], row["high"])]
        rows.append(tuple(cells))
    caption = "Calibration; 0 is best. Of calibration errors is taken off what chance alone adds to them"
    return Table(caption, tuple(header), tuple(rows))


def abstention_section(evaluation: Evaluation) -> Section | None:
    """Show how many errors remain if the model answers only where it is sure."""
    predictions = evaluation.predictions
    if predictions.probabilities is None:
        return None
    found = risk_coverage(predictions.truth, predictions.probabilities, **_arguments(evaluation))
    sentence = found.sentence(_SHARE_TO_ANSWER)
    rows = tuple(
        (
            f"{row['coverage'] * 100:g} %",
            format_number(row["error"]),
            format_range(row["low"], row["high"]),
            format_number(row["balanced_accuracy"]),
            format_number(row["threshold"]),
            f"{int(row['n_answered']):,}",
        )
        for row in found.at.reset_index().to_dict("records")
    )
    percent = f"{evaluation.settings.confidence * 100:g} % interval"
    table = Table(
        "Errors among the images that the model is surest of",
        ("answers", "error", percent, "balanced accuracy", "lowest probability", "images"),
        rows,
    )
    chart = Chart(
        "Error among the answers, against the share of images that is answered: the surest first. The grey line "
        "would be a model that is unsure exactly where it is wrong.",
        f"Risk-coverage curve. {sentence}.",
        lambda figure: RiskCoverageDisplay(found).plot(figure.add_subplot()),
        size=(4.4, 3.8),
    )
    data: dict[str, Any] = {
        "summary": found.summary.to_dict("index"),
        "at": found.at.reset_index().to_dict("records"),
        "curve": found.curve.round(4).to_dict("list"),
    }
    data["sentence"] = sentence
    return Section("Abstention", (Text((f"{sentence}.",), "lead"), table, chart), {"abstention": data})


def conformal_section(evaluation: Evaluation) -> Section | None:
    """Show sets of classes that hold the truth as often as promised, and whether they do for each class."""
    predictions, fold = evaluation.predictions, folds_by_lesion(evaluation)
    if predictions.probabilities is None or fold is None:
        return None
    blocks: list[Block] = []
    data: dict[str, Any] = {}
    for name, by_class in (("one threshold", False), ("a threshold for each class", True)):
        found = conformal_sets(
            predictions.truth,
            predictions.probabilities,
            fold=fold,
            coverage=_SET_COVERAGE,
            class_conditional=by_class,
            confidence=evaluation.settings.confidence,
            **_arguments(evaluation, with_draws=False),
        )
        blocks += [Text((f"{found.sentence()}.",)), _set_table(name, found.table, evaluation)]
        data[name.replace(" ", "_")] = {
            "table": found.table.rename(index=str).to_dict("index"),
            "sizes": {str(size): float(share) for size, share in found.sizes.items()},
        }
    return Section("Prediction sets", tuple(blocks), {"prediction_sets": {"coverage": _SET_COVERAGE, **data}})


def _set_table(name: str, table: pd.DataFrame, evaluation: Evaluation) -> Table:
    percent = f"{evaluation.settings.confidence * 100:g} % interval"
    rows = tuple(
        (
            str(label),
            format_number(row["lesion_coverage"]),
            format_range(row["lesion_low"], row["lesion_high"]),
            format_number(row["coverage"]),
            format_number(row["mean_size"], 2),
            format_number(row["single"]),
            format_number(row["empty"]),
            f"{int(row['n_images']):,}",
        )
        for label, row in table.iterrows()
    )
    caption = (
        f"Sets made with {name}: how often they hold the true class; promised is {_SET_COVERAGE:g} of lesions"
    )
    header = (
        "class",
        "of lesions",
        percent,
        "of images",
        "classes in a set",
        "sets of one",
        "empty sets",
        "images",
    )
    return Table(caption, header, rows)


def subgroup_section(evaluation: Evaluation) -> Section | None:
    """Show the figures of men and women, ages, body sites, and ways of diagnosis."""
    predictions = evaluation.predictions
    frame = predictions.frame
    if frame is None or not any(column in frame.columns for column in _SUBGROUP_COLUMNS):
        return None
    labels = evaluation.metrics.labels
    melanoma = _MELANOMA in labels.astype(str)
    settings = evaluation.settings
    found = subgroup_metrics(
        predictions.truth,
        predictions.answer,
        frame,
        groups=predictions.groups,
        labels=labels,
        positive=_MELANOMA if melanoma else None,
        n_draws=min(settings.n_draws, 1000),
        confidence=settings.confidence,
        random_state=settings.random_state,
    )
    table = _subgroup_table(found.table, settings.confidence, melanoma=melanoma)
    chart = Chart(
        "Balanced accuracy of each subgroup with its interval.",
        "Balanced accuracy of each subgroup with its interval; the numbers are in the table.",
        lambda figure: SubgroupDisplay(found).plot(figure.add_subplot()),
        size=(4.4, 1.2 + 0.24 * len(found.table)),
    )
    records = found.table.reset_index().to_dict("records")
    data = {"subgroups": {"notes": list(found.notes), "rows": records}}
    return Section("Subgroups", (Text(tuple(found.notes), "list"), table, chart), data)


def _subgroup_table(table: pd.DataFrame, confidence: float, *, melanoma: bool) -> Table:
    percent = f"{confidence * 100:g} % interval"
    header = ["group", "balanced accuracy", percent, "accuracy"]
    if melanoma:
        header += ["sensitivity, melanoma", percent, "melanoma lesions"]
    header += ["classes", "images", "lesions"]
    rows = []
    for row in table.reset_index().to_dict("records"):
        attribute, value = row["attribute"], row["value"]
        few = "\u00a0†" if row["small"] or (melanoma and row["small_positive"]) else ""
        name = "all" if attribute == "all" else f"{HEADINGS.get(attribute, attribute)}: {value}{few}"
        cells = [name, format_number(row["balanced_accuracy"])]
        cells += [format_range(row["balanced_accuracy_low"], row["balanced_accuracy_high"])]
        cells += [format_number(row["accuracy"])]
        if melanoma:
            cells += [format_number(row["sensitivity"])]
            cells += [format_range(row["sensitivity_low"], row["sensitivity_high"])]
            cells += [f"{int(row['n_positive_lesions']):,}"]
        cells += [f"{int(row[name]):,}" for name in ("n_classes", "n_images", "n_lesions")]
        rows.append(tuple(cells))
    return Table("Subgroups; † few lesions, or few melanomas: a wide interval", tuple(header), tuple(rows))
