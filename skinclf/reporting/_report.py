"""The evaluation of a classifier on one page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    LeakageAudit,
    bootstrap_table,
    classification_metrics,
    null_models,
)
from skinclf.reporting._basic_sections import OVERALL
from skinclf.reporting._contents import make_sections
from skinclf.reporting._evaluation import (
    BootstrapSettings,
    Evaluation,
    Predictions,
    given_predictions,
    intervals_of,
    predictions_of_result,
)
from skinclf.reporting._folds import describe_folds, find_history
from skinclf.reporting._html import render_html
from skinclf.reporting._leak_section import audit_warnings, check_audit
from skinclf.reporting._protocol import (
    Protocol,
    describe_cross_validation,
    describe_predictions,
    describe_size,
)
from skinclf.reporting._provenance import Provenance, collect_provenance, describe_parameters
from skinclf.reporting._sections import Section
from skinclf.reporting._text import render_markdown, render_text
from skinclf.reporting._training_history import TrainingHistoryDisplay

NOTICE = "skinclf is a research tool. It is not a medical device and must not be used to diagnose."
DEFAULT_TITLE = "Evaluation report"


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
        All figures that `skinclf.evaluation.bootstrap_table` knows: ``"balanced_accuracy"``, ``"accuracy"``,
        ``"sensitivity:mel"`` and so on.
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
    sections : tuple of Section
        What the page shows, in order: headings, sentences, tables, charts that are not drawn yet.
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
    sections: tuple[Section, ...] = ()
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
        frame: pd.DataFrame | None = None,
        audit: LeakageAudit | None = None,
        lookup: Any = None,
        embed_images: bool = False,
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
        frame : DataFrame, default=None
            What is known of the images, a row for each row of ``X``, such as the ``frame`` of `load_ham10000`. Its
            columns ``age``, ``sex``, ``localization`` and ``dx_type`` make subgroups; ``image_id`` or ``image``
            names the images.
        audit : LeakageAudit, default=None
            Of `skinclf.evaluation.audit_leakage` for the same splits: exact copies and near-duplicates.
        lookup : array-like of shape (n_rows,), default=None
            What `skinclf.evaluation.LookupClassifier` answers on the same splits, one of the null models.
        embed_images : bool, default=False
            Whether the page shows the images that were most confidently wrong, from the paths in the column
            ``image`` of `frame`. Mind their licence before you hand the page on.
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
            Of all out-of-fold predictions together. A section is there if there are data for it.

        Raises
        ------
        TypeError
            If `frame` is no DataFrame.
        ValueError
            If `frame` has other rows than the images, or is in another order.
        """
        check_audit(audit, result)
        predictions = predictions_of_result(result, frame)
        settings = BootstrapSettings(n_draws, confidence, random_state)
        metrics = _find_metrics(predictions, result.classes)
        figures = _find_figures(predictions, metrics, settings)
        intervals = intervals_of(figures, predictions, settings)
        n_lesions = None if predictions.groups is None else int(pd.Series(predictions.groups).nunique())
        size = describe_size(metrics.n_images, n_lesions)
        evaluation = Evaluation(
            predictions=predictions,
            metrics=metrics,
            figures=figures,
            intervals=intervals,
            null_models=null_models(predictions.truth, lookup=_tested_rows(lookup, result)),
            protocol=describe_cross_validation(result, size, intervals["balanced_accuracy"]),
            provenance=collect_provenance(),
            settings=settings,
            n_lesions=n_lesions,
            folds=describe_folds(result),
            history=find_history(result),
            parameters=describe_parameters(result.estimator),
            result=result,
            audit=audit,
            embed_images=embed_images,
        )
        return cls._from_evaluation(evaluation, title, description)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        y_proba: Any = None,
        groups: Any = None,
        labels: Any = None,
        frame: pd.DataFrame | None = None,
        audit: LeakageAudit | None = None,
        lookup: Any = None,
        embed_images: bool = False,
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
            Probabilities of the classes, columns in the order of `labels`. Scores that are none have curves, but
            no calibration, abstention and mistakes.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image, for the intervals. None: the column ``lesion_id`` of `frame`, if there is
            one.
        labels : array-like of shape (n_classes,), default=None
            The classes, such as ``classes_``. None: all that occur, sorted.
        frame : DataFrame, default=None
            What is known of the images, a row for each; see `from_cross_validation`.
        audit : LeakageAudit, default=None
            Of `skinclf.evaluation.audit_leakage` for the split that the predictions are of.
        lookup : array-like of shape (n_images,), default=None
            What `skinclf.evaluation.LookupClassifier` answers for the same images, one of the null models.
        embed_images : bool, default=False
            Whether the page shows the images that were most confidently wrong; see `from_cross_validation`.
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
            As in `skinclf.evaluation.classification_metrics` and `skinclf.evaluation.bootstrap_ci`, and if `frame`
            has other rows than the images, or is in another order.
        """
        metrics = classification_metrics(y_true, y_pred, y_proba=y_proba, labels=labels)
        check_audit(audit, None)
        predictions = given_predictions(y_true, y_pred, y_proba, groups, frame)
        settings = BootstrapSettings(n_draws, confidence, random_state)
        figures = _find_figures(predictions, metrics, settings)
        intervals = intervals_of(figures, predictions, settings)
        balanced = intervals["balanced_accuracy"]
        n_lesions = balanced.n_groups if balanced.by_group else None
        evaluation = Evaluation(
            predictions=predictions,
            metrics=metrics,
            figures=figures,
            intervals=intervals,
            null_models=null_models(predictions.truth, lookup=lookup),
            protocol=describe_predictions(describe_size(metrics.n_images, n_lesions), balanced),
            provenance=collect_provenance(),
            settings=settings,
            n_lesions=n_lesions,
            audit=audit,
            embed_images=embed_images,
        )
        return cls._from_evaluation(evaluation, title, description)

    @classmethod
    def _from_evaluation(cls, evaluation: Evaluation, title: str, description: str) -> EvaluationReport:
        protocol, result = evaluation.protocol, evaluation.result
        if result is None or not len(result.leaks):  # else the protocol warns of leaking lesions already
            warnings = (*protocol.warnings, *audit_warnings(evaluation.audit))
            protocol = replace(protocol, warnings=warnings)
        return cls(
            title=title,
            description=description,
            metrics=evaluation.metrics,
            intervals=evaluation.intervals,
            null_models=evaluation.null_models,
            protocol=protocol,
            provenance=evaluation.provenance,
            n_lesions=evaluation.n_lesions,
            folds=evaluation.folds,
            history=evaluation.history,
            parameters=evaluation.parameters or {},
            sections=make_sections(replace(evaluation, protocol=protocol)),
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
        content: dict[str, Any] = {
            "title": self.title,
            "description": self.description,
            "date": self.provenance.date,
            "notice": self.notice,
            "n_images": self.metrics.n_images,
            "n_lesions": self.n_lesions,
            "folds": None,
            "histories": None,
            "parameters": {},
        }
        for section in self.sections:
            content.update(section.data)
        return {key: _to_json(value) for key, value in content.items()}

    def to_markdown(self) -> str:
        """Return the report as Markdown.

        Returns
        -------
        str
            For a README, an issue or a notebook.
        """
        return render_markdown(self)

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

    def __str__(self) -> str:
        return render_text(self)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={self.intervals[name]}" for name in OVERALL)
        return f"{type(self).__name__}({figures})"


def _tested_rows(lookup: Any, result: CrossValidationResult) -> Any:
    """Take the rows that some fold tests."""
    if lookup is None:
        return None
    answers = np.asarray(lookup)
    if answers.shape != result.y_true.shape:
        raise ValueError(
            f"lookup must have an answer for each of the {result.y_true.size} rows; got shape {answers.shape}."
        )
    return answers[result.tested]


def _find_metrics(predictions: Predictions, labels: Any) -> ClassificationMetrics:
    return classification_metrics(predictions.truth, predictions.answer, y_proba=predictions.proba, labels=labels)


def _find_figures(
    predictions: Predictions, metrics: ClassificationMetrics, settings: BootstrapSettings
) -> pd.DataFrame:
    return bootstrap_table(
        predictions.truth,
        predictions.answer,
        y_proba=predictions.proba,
        groups=predictions.groups,
        labels=metrics.labels,
        **settings.as_arguments(),
    )


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
