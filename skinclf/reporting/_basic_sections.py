"""The sections that every report has: summary, protocol, folds, classes, confusion matrix, training, origin."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from skinclf.datasets._ham10000_catalogue import CLASS_NAMES
from skinclf.evaluation import BootstrapInterval
from skinclf.reporting._confusion_display import LesionConfusionDisplay
from skinclf.reporting._evaluation import Evaluation
from skinclf.reporting._sections import Block, Chart, Confusion, Scale, Scales, Section, Text
from skinclf.reporting._tables import (
    class_table,
    confusion_table,
    fold_table,
    interval_table,
    mapping_table,
    summary_table,
)
from skinclf.reporting._training_history import TrainingHistoryDisplay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVERALL = {"balanced_accuracy": "Balanced accuracy", "accuracy": "Accuracy"}
MELANOMA = "mel"


def summary_section(evaluation: Evaluation) -> Section:
    """Put balanced accuracy first, the null models beside it, and both into words."""
    intervals, nulls = evaluation.intervals, evaluation.null_models
    scales = tuple(
        Scale(title, intervals[name], {str(null): float(score) for null, score in nulls[name].items()})
        for name, title in OVERALL.items()
    )
    sentences = _plain_words(evaluation)
    return Section(
        "Summary",
        (Text(sentences, "lead"), Scales(scales, summary_table(intervals, nulls, tuple(OVERALL)))),
        {
            "summary": sentences,
            "intervals": {name: asdict(interval) for name, interval in intervals.items()},
            "null_models": nulls.to_dict("index"),
        },
    )


def _plain_words(evaluation: Evaluation) -> tuple[str, ...]:
    balanced = evaluation.intervals["balanced_accuracy"]
    best = evaluation.null_models["balanced_accuracy"]
    sentences = [
        f"Of 100 images of each class, {balanced.estimate * 100:.0f} are named correctly on average"
        f"{_out_of_100(balanced)}. The best answer that looks at no image, “{best.idxmax()}”, gets "
        f"{best.max() * 100:.0f}."
    ]
    if f"sensitivity:{MELANOMA}" in evaluation.intervals:
        found = evaluation.intervals[f"sensitivity:{MELANOMA}"]
        ppv = evaluation.intervals[f"ppv:{MELANOMA}"].estimate
        sentences.append(
            f"Of 100 images of melanoma, {found.estimate * 100:.0f} are called melanoma{_out_of_100(found)}. Of "
            f"100 images of this data set that are called melanoma, {ppv * 100:.0f} are."
        )
    return tuple(sentence for sentence in sentences if "nan" not in sentence)


def _out_of_100(interval: BootstrapInterval) -> str:
    percent = f"{interval.confidence * 100:g} % interval"
    return f" ({percent} {interval.low * 100:.0f}–{interval.high * 100:.0f})"


def protocol_section(evaluation: Evaluation) -> Section:
    """Say in words how the figures came about."""
    protocol = evaluation.protocol
    data = {"protocol": list(protocol.sentences), "warnings": list(protocol.warnings)}
    return Section("Protocol", (Text(protocol.sentences, "list"),), data)


def folds_section(evaluation: Evaluation) -> Section | None:
    """Show the folds of a cross-validation."""
    if evaluation.folds is None:
        return None
    records = evaluation.folds.reset_index().to_dict("records")
    return Section("Folds", (fold_table(evaluation.folds),), {"folds": records}, in_text=True)


def classes_section(evaluation: Evaluation) -> Section:
    """Show the figures of each class, and what the codes of the classes mean."""
    metrics = evaluation.metrics
    data: dict[str, Any] = {
        "classes": metrics.per_class.rename(index=str).to_dict("index"),
        "averages": metrics.averages.to_dict("index"),
    }
    names = {label: CLASS_NAMES[label] for label in map(str, metrics.labels) if label in CLASS_NAMES}
    blocks: list[Block] = [class_table(metrics, evaluation.intervals)]
    if names:
        words = "; ".join(f"{code}: {name}" for code, name in names.items())
        blocks.append(Text((f"{words}.",)))
        data["class_names"] = names
    return Section("Classes", tuple(blocks), data, in_text=True)


def intervals_section(evaluation: Evaluation) -> Section:
    """Show the interval of every figure of every class; the dictionary has them with the summary."""
    table = interval_table(evaluation.metrics, evaluation.intervals)
    return Section("Intervals", (table,))


def confusion_section(evaluation: Evaluation) -> Section:
    """Show what is taken for what."""
    metrics = evaluation.metrics
    labels = tuple(str(label) for label in metrics.labels)
    counts = metrics.confusion
    shares = LesionConfusionDisplay(counts, display_labels=labels).row_shares
    matrix = {"labels": list(labels), "counts": counts.tolist(), "row_shares": shares.tolist()}
    block = Confusion(labels, counts, shares, confusion_table(labels, counts, shares))
    return Section("Confusion matrix", (block,), {"confusion_matrix": matrix}, in_text=True)


def training_section(evaluation: Evaluation) -> Section | None:
    """Draw the curves of training, each panel by itself, so that they can go side by side or stacked."""
    display = evaluation.history
    if display is None:
        return None
    panels = [("Loss against the epoch.", _describe_loss(display)), (_SCORE_CAPTION, _describe_score(display))]
    charts = [
        Chart(caption, description, _PanelOfTraining(display, number))
        for number, (caption, description) in enumerate(panels)
        if description
    ]
    histories = [
        {"best_epoch": best, "epochs": history.to_dict("records")}
        for history, best in zip(display.histories, display.best_epochs, strict=True)
    ]
    return Section("Training", tuple(charts), {"histories": histories})


class _PanelOfTraining:
    """Draws one of the two panels of a `TrainingHistoryDisplay`."""

    def __init__(self, display: TrainingHistoryDisplay, number: int) -> None:
        self.display, self.number = display, number

    def __call__(self, figure: Figure) -> None:
        from matplotlib.figure import Figure

        axes = [Figure().add_subplot() for _ in range(2)]
        axes[self.number] = figure.add_subplot()
        # A display remembers where it was drawn last; that of the report stays undrawn.
        TrainingHistoryDisplay(self.display.histories, best_epochs=self.display.best_epochs).plot(axes)


_SCORE_CAPTION = (
    "Balanced accuracy on the validation part against the epoch. Early stopping chose by these images: the "
    "figures to quote are those of the test parts, above."
)


def _describe_loss(display: TrainingHistoryDisplay) -> str:
    n_epochs = display.n_epochs
    models = "the model" if len(n_epochs) == 1 else f"each of the {len(n_epochs)} folds"
    epochs = str(min(n_epochs)) if min(n_epochs) == max(n_epochs) else f"{min(n_epochs)} to {max(n_epochs)}"
    first = [float(history["train_loss"].iloc[0]) for history in display.histories]
    last = [float(history["train_loss"].iloc[-1]) for history in display.histories]
    return (
        f"Line chart of the loss of {models}, {epochs} epochs. The training loss goes from "
        f"{sum(first) / len(first):.2f} to {sum(last) / len(last):.2f} on average."
    )


def _describe_score(display: TrainingHistoryDisplay) -> str:
    column = "valid_balanced_accuracy"
    best = [float(history[column].max()) for history in display.histories if column in history.columns]
    best = [value for value in best if value == value]
    if not best:
        return ""
    low, high = f"{min(best):.2f}", f"{max(best):.2f}"
    reach = low if low == high else f"{low} to {high}"
    return (
        f"Line chart of the balanced accuracy on the validation part of each model; the best epochs reach {reach}."
    )


def parameters_section(evaluation: Evaluation) -> Section | None:
    """List the parameters of the estimator."""
    if not evaluation.parameters:
        return None
    parameters = dict(evaluation.parameters)
    table = mapping_table("Parameters of the estimator", ("parameter", "value"), parameters)
    return Section("Parameters", (table,), {"parameters": parameters})


def origin_section(evaluation: Evaluation) -> Section:
    """Name versions and machine."""
    provenance = evaluation.provenance
    blocks = (
        mapping_table("Versions", ("package", "version"), provenance.versions),
        mapping_table("Machine", ("part", "description"), provenance.machine),
    )
    data = {"versions": dict(provenance.versions), "machine": dict(provenance.machine)}
    return Section("Versions and machine", blocks, data)
