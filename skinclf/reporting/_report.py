"""The evaluation of a classifier on one page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinclf._files import check_target, write_whole
from skinclf._random import RandomStateLike
from skinclf.evaluation import (
    BootstrapInterval,
    ClassificationMetrics,
    CrossValidationResult,
    bootstrap_ci,
    classification_metrics,
    null_models,
)
from skinclf.reporting._fitted import find_model
from skinclf.reporting._html import render_html
from skinclf.reporting._protocol import (
    Protocol,
    describe_cross_validation,
    describe_predictions,
    describe_size,
)
from skinclf.reporting._provenance import Provenance, collect_provenance, describe_parameters
from skinclf.reporting._tables import (
    Table,
    class_table,
    confusion_table,
    fold_table,
    mapping_table,
    summary_table,
)
from skinclf.reporting._text import escape_markdown, markdown_table, text_table
from skinclf.reporting._training_history import TrainingHistoryDisplay, collect_histories

NOTICE = "skinclf is a research tool. It is not a medical device and must not be used to diagnose."
DEFAULT_TITLE = "Evaluation report"
_OVERALL = ("balanced_accuracy", "accuracy")


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationReport:
    """The evaluation of a classifier, as a table, text, Markdown, JSON or one self-contained HTML page.

    Make it with `from_cross_validation` or `from_predictions`. ``print(report)`` shows it in a terminal.

    Attributes
    ----------
    title, description : str
        What the reader sees first.
    metrics : ClassificationMetrics
        Figures of each class, their means, and the confusion matrix.
    intervals : mapping of str to BootstrapInterval
        ``"balanced_accuracy"``, ``"accuracy"``, and ``"sensitivity:"`` followed by each class.
    null_models : DataFrame
        What models score that look at no image.
    protocol : Protocol
        How the figures came about, in ``sentences``; ``warnings`` says what speaks against them.
    provenance : Provenance
        Date, versions, machine.
    n_lesions : int or None
        Lesions among the images, if they are known.
    folds : DataFrame or None
        A row for each fold of a cross-validation: sizes, scores, epochs, seconds.
    history : TrainingHistoryDisplay or None
        Curves of training, if the models have any. Not drawn yet.
    parameters : mapping of str to str
        Of the estimator, if it is known.
    notice : str
        That this is not a medical device.

    Examples
    --------
    >>> from skinclf.reporting import EvaluationReport
    >>> y_true = ["nv"] * 80 + ["mel"] * 20
    >>> y_pred = ["nv"] * 72 + ["mel"] * 8 + ["mel"] * 14 + ["nv"] * 6
    >>> report = EvaluationReport.from_predictions(y_true, y_pred, groups=range(100))
    >>> report
    EvaluationReport(balanced_accuracy=0.800 (95 % CI 0.685–0.900), accuracy=0.860 (95 % CI 0.790–0.930))
    >>> float(report.to_frame().loc["mel", "sensitivity"])
    0.7
    """

    title: str
    description: str
    metrics: ClassificationMetrics
    intervals: Mapping[str, BootstrapInterval]
    null_models: pd.DataFrame
    protocol: Protocol
    provenance: Provenance
    n_lesions: int | None = None
    folds: pd.DataFrame | None = None
    history: TrainingHistoryDisplay | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    notice: str = NOTICE

    @property
    def size(self) -> str:
        """Images, lesions and classes in a sentence."""
        return f"{describe_size(self.metrics.n_images, self.n_lesions)}, in {self.metrics.labels.size} classes."

    @classmethod
    def from_cross_validation(
        cls,
        result: CrossValidationResult,
        *,
        title: str = DEFAULT_TITLE,
        description: str = "",
        n_draws: int = 2000,
        confidence: float = 0.95,
        random_state: RandomStateLike = 0,
    ) -> EvaluationReport:
        """Report a cross-validation.

        Parameters
        ----------
        result : CrossValidationResult
            Of `skinclf.evaluation.cross_validate`. Curves of training need its estimators.
        title : str, default="Evaluation report"
            Heading.
        description : str, default=""
            A paragraph below it: the data, the model, the purpose.
        n_draws : int, default=2000
            Bootstrap draws for the intervals.
        confidence : float, default=0.95
            Share of the draws inside an interval, between 0 and 1.
        random_state : int, RandomState, Generator or None, default=0
            Seeds the draws.

        Returns
        -------
        EvaluationReport
            Of all out-of-fold predictions together.
        """
        tested = result.tested
        truth, prediction = result.y_true[tested], result.y_pred[tested].astype(result.y_true.dtype)
        groups = None if result.groups is None else result.groups[tested]
        metrics = classification_metrics(
            truth,
            prediction,
            y_proba=None if result.y_proba is None else result.y_proba[tested],
            labels=result.classes,
        )
        intervals = _find_intervals(
            truth, prediction, groups, metrics, n_draws=n_draws, confidence=confidence, random_state=random_state
        )
        n_lesions = None if groups is None else int(pd.Series(groups).nunique())
        size = describe_size(metrics.n_images, n_lesions)
        return cls(
            title=title,
            description=description,
            metrics=metrics,
            intervals=intervals,
            null_models=null_models(truth),
            protocol=describe_cross_validation(result, size, intervals["balanced_accuracy"]),
            provenance=collect_provenance(),
            n_lesions=n_lesions,
            folds=_describe_folds(result),
            history=_find_history(result),
            parameters=describe_parameters(result.estimator),
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        y_proba: Any = None,
        groups: Any = None,
        labels: Any = None,
        title: str = DEFAULT_TITLE,
        description: str = "",
        n_draws: int = 2000,
        confidence: float = 0.95,
        random_state: RandomStateLike = 0,
    ) -> EvaluationReport:
        """Report predictions.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_images,)
            True and predicted labels.
        y_proba : array-like of float, shape (n_images, n_classes), default=None
            Scores of the classes, columns in the order of `labels`.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image, for the intervals.
        labels : array-like of shape (n_classes,), default=None
            The classes, such as ``classes_``. None: all that occur, sorted.
        title : str, default="Evaluation report"
            Heading.
        description : str, default=""
            A paragraph below it: the data, the model, the purpose.
        n_draws : int, default=2000
            Bootstrap draws for the intervals.
        confidence : float, default=0.95
            Share of the draws inside an interval, between 0 and 1.
        random_state : int, RandomState, Generator or None, default=0
            Seeds the draws.

        Returns
        -------
        EvaluationReport
            Without folds, curves and parameters.

        Raises
        ------
        ValueError
            As in `skinclf.evaluation.classification_metrics` and `skinclf.evaluation.bootstrap_ci`.
        """
        metrics = classification_metrics(y_true, y_pred, y_proba=y_proba, labels=labels)
        intervals = _find_intervals(
            y_true, y_pred, groups, metrics, n_draws=n_draws, confidence=confidence, random_state=random_state
        )
        balanced = intervals["balanced_accuracy"]
        n_lesions = balanced.n_groups if balanced.by_group else None
        size = describe_size(metrics.n_images, n_lesions)
        return cls(
            title=title,
            description=description,
            metrics=metrics,
            intervals=intervals,
            null_models=null_models(y_true),
            protocol=describe_predictions(size, balanced),
            provenance=collect_provenance(),
            n_lesions=n_lesions,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the figures of each class and their means, with the interval of the sensitivity.

        Returns
        -------
        DataFrame
            As `ClassificationMetrics.to_frame`, with the columns ``sensitivity_low`` and ``sensitivity_high``.
        """
        frame = self.metrics.to_frame()
        for end in ("low", "high"):
            values = [getattr(self.intervals[f"sensitivity:{label}"], end) for label in self.metrics.labels]
            frame[f"sensitivity_{end}"] = [*values, *[np.nan] * len(self.metrics.averages)]
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, numbers and text; what is not defined is None.

        Returns
        -------
        dict
            ``json.dumps`` takes it as it is.
        """
        counts = self.metrics.confusion.tolist()
        content = {
            "title": self.title,
            "description": self.description,
            "date": self.provenance.date,
            "versions": dict(self.provenance.versions),
            "machine": dict(self.provenance.machine),
            "parameters": dict(self.parameters),
            "n_images": self.metrics.n_images,
            "n_lesions": self.n_lesions,
            "protocol": list(self.protocol.sentences),
            "warnings": list(self.protocol.warnings),
            "intervals": {name: asdict(interval) for name, interval in self.intervals.items()},
            "null_models": self.null_models.to_dict("index"),
            "classes": self.metrics.per_class.rename(index=str).to_dict("index"),
            "averages": self.metrics.averages.to_dict("index"),
            "confusion_matrix": {"labels": [str(label) for label in self.metrics.labels], "counts": counts},
            "folds": None if self.folds is None else self.folds.reset_index().to_dict("records"),
            "histories": None if self.history is None else _histories_to_lists(self.history),
            "notice": self.notice,
        }
        return {key: _to_json(value) for key, value in content.items()}

    def to_markdown(self) -> str:
        """Return the report as Markdown.

        Returns
        -------
        str
            For a README, an issue or a notebook.
        """
        lines = [f"# {escape_markdown(self.title)}", self.size]
        lines += [escape_markdown(self.description)] if self.description else []
        lines += [f"> **Warning.** {escape_markdown(warning)}" for warning in self.protocol.warnings]
        for heading, table in self._tables().items():
            lines += [f"## {heading}", markdown_table(table)]
        lines += ["## Protocol", "\n".join(f"- {escape_markdown(s)}" for s in self.protocol.sentences)]
        details = {"date": self.provenance.date, **self.provenance.versions, **self.provenance.machine}
        lines += ["## Versions and machine", markdown_table(mapping_table("", ("what", "value"), details))]
        if self.parameters:
            table = mapping_table("", ("parameter", "value"), self.parameters)
            lines += ["## Parameters", markdown_table(table)]
        return "\n\n".join([*lines, self.notice]) + "\n"

    def to_html(self) -> str:
        """Return the report as one HTML page.

        Returns
        -------
        str
            A page that needs no network, no script and no other file.
        """
        return render_html(self)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the report to a file, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            Its suffix says as what: ``.html``, ``.md`` or ``.json``.
        overwrite : bool, default=False
            Whether a file that is there already may be replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ValueError
            If the suffix is another one.
        FileExistsError
            If there is a file already, and `overwrite` is False.
        OSError
            If the file cannot be written; one that was there is then as it was.
        """
        target = Path(path)
        renderers = {".html": self.to_html, ".md": self.to_markdown, ".json": self._to_json_text}
        renderer = renderers.get(target.suffix.lower())
        if renderer is None:
            raise ValueError(
                f"path must end in one of {[*renderers]}, which says what to write; got {target.name!r}."
            )
        check_target(target, overwrite=overwrite)
        content = renderer().encode("utf-8")
        write_whole(target, lambda file: file.write(content))
        return target

    def _to_json_text(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _tables(self) -> dict[str, Table]:
        tables = {
            "Summary": summary_table(self.intervals, self.null_models, _OVERALL),
            "Classes": class_table(self.metrics, self.intervals),
            "Confusion matrix": confusion_table(self.metrics),
        }
        if self.folds is not None:
            tables["Folds"] = fold_table(self.folds)
        return tables

    def __str__(self) -> str:
        balanced, accuracy = (self.intervals[name] for name in _OVERALL)
        parts = [f"{self.title}\n{'=' * len(self.title)}", f"Balanced accuracy {balanced}, accuracy {accuracy}"]
        parts[1] += "".join(
            f"\n“{null}” scores {row['balanced_accuracy']:.3f} and {row['accuracy']:.3f}"
            for null, row in self.null_models.iterrows()
        )
        parts += [f"WARNING: {warning}" for warning in self.protocol.warnings]
        parts.append(self.size)
        for heading, table in self._tables().items():
            if heading != "Summary":
                parts.append(f"{table.caption}\n\n{text_table(table)}")
        parts.append(self.notice)
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={self.intervals[name]}" for name in _OVERALL)
        return f"{type(self).__name__}({figures})"


def _find_intervals(
    y_true: Any, y_pred: Any, groups: Any, metrics: ClassificationMetrics, **settings: Any
) -> dict[str, BootstrapInterval]:
    names = [*_OVERALL, *(f"sensitivity:{label}" for label in metrics.labels)]
    return {
        name: bootstrap_ci(y_true, y_pred, groups=groups, metric=name, labels=metrics.labels, **settings)
        for name in names
    }


def _describe_folds(result: CrossValidationResult) -> pd.DataFrame:
    """Return sizes, scores, epochs and seconds of each fold."""
    sizes = pd.DataFrame(
        {
            "train_images": [train.size for train in result.train_indices],
            "test_images": [test.size for test in result.test_indices],
        },
        index=result.scores.index,
    )
    if result.groups is not None:
        sizes["test_lesions"] = [pd.Series(result.groups[test]).nunique() for test in result.test_indices]
    folds = pd.concat([result.scores, sizes], axis=1)
    models = [find_model(estimator).model for estimator in result.estimators or ()]
    for column, attribute in (("best_epoch", "best_epoch_"), ("epochs", "n_epochs_")):
        if models and all(getattr(model, attribute, None) is not None for model in models):
            folds[column] = [int(getattr(model, attribute)) for model in models]
    folds["fit_seconds"] = result.fit_seconds
    folds["score_seconds"] = result.score_seconds
    return folds


def _find_history(result: CrossValidationResult) -> TrainingHistoryDisplay | None:
    estimators = result.estimators or ()
    histories = [getattr(find_model(estimator).model, "history_", None) for estimator in estimators]
    if not histories or not all(isinstance(history, pd.DataFrame) for history in histories):
        return None
    return collect_histories(estimators)


def _histories_to_lists(display: TrainingHistoryDisplay) -> list[dict[str, Any]]:
    return [
        {"best_epoch": best, "epochs": history.to_dict("records")}
        for history, best in zip(display.histories, display.best_epochs, strict=True)
    ]


def _to_json(value: Any) -> Any:
    """Turn NumPy numbers into Python's, keys into text, and what is not finite into None."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
