"""What a report is computed from: predictions, and what is known of the images and of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._random import RandomStateLike
from skinclf._validation import check_groups
from skinclf.evaluation import BootstrapInterval, ClassificationMetrics, CrossValidationResult
from skinclf.reporting._protocol import Protocol
from skinclf.reporting._provenance import Provenance
from skinclf.reporting._training_history import TrainingHistoryDisplay

LESION_COLUMN = "lesion_id"
NAME_COLUMNS = ("image_id", "image")
"""Columns of a table of images that name them, the first found is used."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Images that a model was tested on.

    Attributes
    ----------
    truth, answer : ndarray of shape (n_images,)
        True and predicted labels.
    proba : ndarray of float64, shape (n_images, n_classes), or None
        Scores of the classes.
    groups : ndarray of shape (n_images,), or None
        The lesions.
    rows : ndarray of intp, shape (n_images,)
        Where the images are in what was handed in.
    frame : DataFrame of n_images rows, or None
        What is known of the images.
    """

    truth: NDArray[Any]
    answer: NDArray[Any]
    proba: NDArray[np.float64] | None
    groups: NDArray[Any] | None
    rows: NDArray[np.intp]
    frame: pd.DataFrame | None

    @property
    def probabilities(self) -> NDArray[np.float64] | None:
        """The scores, if they are probabilities; a decision function has curves, but cannot be calibrated."""
        proba = self.proba
        if proba is None or (proba < 0).any() or not np.allclose(proba.sum(axis=1), 1, rtol=0, atol=1e-3):
            return None
        return proba


@dataclass(frozen=True)
class BootstrapSettings:
    """How intervals are made; see `skinclf.evaluation.bootstrap_ci`."""

    n_draws: int
    confidence: float
    random_state: RandomStateLike

    def as_arguments(self) -> dict[str, Any]:
        """Return them as keyword arguments."""
        return {
            "n_draws": self.n_draws,
            "confidence": self.confidence,
            "random_state": self.random_state,
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that the sections of a report are made of; the names are those of `EvaluationReport`.

    `figures` is the table of `skinclf.evaluation.bootstrap_table`, `intervals` the same row by row.
    """

    predictions: Predictions
    metrics: ClassificationMetrics
    figures: pd.DataFrame
    intervals: Mapping[str, BootstrapInterval]
    null_models: pd.DataFrame
    protocol: Protocol
    provenance: Provenance
    settings: BootstrapSettings
    n_lesions: int | None
    folds: pd.DataFrame | None = None
    history: TrainingHistoryDisplay | None = None
    parameters: Mapping[str, str] | None = None
    result: CrossValidationResult | None = None
    audit: Any = None
    embed_images: bool = False


def intervals_of(
    figures: pd.DataFrame, predictions: Predictions, settings: BootstrapSettings
) -> dict[str, BootstrapInterval]:
    """Return the rows of a table of figures as intervals, by the name of the figure."""
    groups = predictions.groups
    n_images = predictions.truth.size
    n_groups = n_images if groups is None else int(pd.Series(groups).nunique())
    return {
        str(name): BootstrapInterval(
            metric=str(name),
            estimate=float(row["estimate"]),
            low=float(row["low"]),
            high=float(row["high"]),
            confidence=settings.confidence,
            n_draws=settings.n_draws,
            n_undefined=int(row["n_undefined"]),
            n_groups=n_groups,
            n_images=n_images,
            by_group=groups is not None,
            method=str(row["method"]),
            n_lesions=int(row["n_lesions"]),
        )
        for name, row in figures.iterrows()
    }


def predictions_of_result(result: CrossValidationResult, frame: Any) -> Predictions:
    """Take the rows of a cross-validation that some fold tests."""
    tested = result.tested
    table = check_frame(frame, result.y_true, result.groups)
    return Predictions(
        truth=result.y_true[tested],
        answer=result.y_pred[tested].astype(result.y_true.dtype),
        proba=None if result.y_proba is None else result.y_proba[tested],
        groups=None if result.groups is None else result.groups[tested],
        rows=np.flatnonzero(tested),
        frame=None if table is None else table.loc[tested].reset_index(drop=True),
    )


def given_predictions(y_true: Any, y_pred: Any, y_proba: Any, groups: Any, frame: Any) -> Predictions:
    """Take predictions as they were handed in; the lesions are `groups`, else a column of the table."""
    truth, answer = np.asarray(y_true), np.asarray(y_pred)
    if groups is None and isinstance(frame, pd.DataFrame) and LESION_COLUMN in frame.columns:
        groups = frame[LESION_COLUMN].to_numpy(dtype=object)
    lesions = None if groups is None else check_groups(groups, truth.shape[0])
    return Predictions(
        truth=truth,
        answer=answer,
        proba=None if y_proba is None else np.asarray(y_proba, dtype=np.float64),
        groups=lesions,
        rows=np.arange(truth.shape[0]),
        frame=check_frame(frame, truth, lesions),
    )


def check_frame(frame: Any, truth: NDArray[Any], groups: NDArray[Any] | None) -> pd.DataFrame | None:
    """Return a table of images whose rows are those of the labels, or refuse it.

    Raises
    ------
    TypeError
        If it is no DataFrame.
    ValueError
        If it has another number of rows, or its columns ``lesion_id`` or ``dx`` contradict the lesions or the
        labels: its rows are then in another order.
    """
    if frame is None:
        return None
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"frame must be a DataFrame with a row for each image, such as the frame of load_ham10000; got "
            f"{type(frame).__name__}."
        )
    if len(frame) != truth.size:
        raise ValueError(
            f"frame must have a row for each of the {truth.size} images, in their order; it has {len(frame)}."
        )
    known = {LESION_COLUMN: groups, "dx": truth}
    for column, values in known.items():
        if values is None or column not in frame.columns:
            continue
        differs = frame[column].astype(str).to_numpy() != np.asarray(values).astype(str)
        if differs.any():
            row = int(np.argmax(differs))
            raise ValueError(
                f"frame must be in the order of the images: in row {row} its {column!r} is "
                f"{frame[column].iloc[row]!r}, but the image is of {str(np.asarray(values)[row])!r} "
                f"({int(differs.sum())} such rows). Sort the table as the images are."
            )
    return frame.reset_index(drop=True)


def folds_by_lesion(evaluation: Evaluation) -> NDArray[np.int64] | None:
    """Return the fold of every image, where what is fitted on the other folds has not seen its lesion.

    None if there are no folds, only one, or if a lesion is in several.
    """
    result, groups = evaluation.result, evaluation.predictions.groups
    if result is None or len(result.leaks):
        return None
    fold = result.fold[result.tested]
    lesions = pd.Series(np.arange(fold.size) if groups is None else groups)
    if np.unique(fold).size < 2 or pd.Series(fold).groupby(lesions.to_numpy()).nunique().max() > 1:
        return None
    return fold


def image_names(predictions: Predictions) -> list[str]:
    """Return the name of every image: from the table (of a path the last part), else its row."""
    frame = predictions.frame
    if frame is not None:
        for column in NAME_COLUMNS:
            if column in frame.columns:
                return [str(value).replace("\\", "/").rpartition("/")[2] for value in frame[column]]
    return [f"row {row}" for row in predictions.rows]
