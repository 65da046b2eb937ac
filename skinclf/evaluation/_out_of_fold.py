"""Scores and predictions of held-out rows, from one pass through the fitted model of their fold."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import get_scorer

from skinclf.evaluation._leakage import Split

_RECORD = "_skinclf_held_out"
_RESPONSES = frozenset({"predict", "predict_proba", "predict_log_proba", "decision_function"})


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What the model of one fold says of its test rows, in their order.

    Attributes
    ----------
    labels : ndarray of shape (n_test,)
        ``predict``.
    proba : ndarray of float, shape (n_test, n_fold_classes), or None
        ``predict_proba``, where the model has it.
    classes : ndarray of shape (n_fold_classes,)
        The classes that the model knows: its columns.
    """

    labels: NDArray[Any]
    proba: NDArray[np.float64] | None
    classes: NDArray[Any]


class _PredictOnce:
    """Stand-in for a fitted classifier that computes each response to one ``X`` only once."""

    def __init__(self, estimator: Any, X: Any) -> None:
        self._estimator = estimator
        self._X = X
        self._responses: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._estimator, name)
        if name not in _RESPONSES:
            return value

        @functools.wraps(value)  # scorers ask for the name of the method
        def respond(X: Any, **kwargs: Any) -> Any:
            if X is not self._X or kwargs:
                return value(X, **kwargs)
            if name not in self._responses:
                self._responses[name] = value(X)
            return self._responses[name]

        return respond


class RecordingScorer:
    """A scorer for scikit-learn's `cross_validate` that also keeps the predictions which it scores.

    scikit-learn hands back the scores and the fitted estimator of a fold, nothing else, and may have computed
    both in another process. So the predictions travel as an attribute of the estimator, until `take_record`
    removes them.

    Parameters
    ----------
    scoring : str, callable, sequence of str, or dict of str to str or callable
        As in scikit-learn.
    """

    def __init__(self, scoring: Any) -> None:
        self.scoring = scoring
        self._scorers = _name_scorers(scoring)

    def __call__(self, estimator: Any, X: Any, y: Any) -> dict[str, float]:
        """Return the scores by name, and leave a `HeldOut` with the estimator."""
        once = _PredictOnce(estimator, X)
        scores: dict[str, float] = {}
        for name, (scorer, is_own) in self._scorers.items():
            # A function of the user's may ask for a step, or for the type: it gets the estimator itself.
            value = scorer(once if is_own else estimator, X, y)
            scores.update(value if isinstance(value, Mapping) else {name: value})
        proba = (
            np.asarray(once.predict_proba(X), dtype=np.float64) if hasattr(estimator, "predict_proba") else None
        )
        held_out = HeldOut(np.asarray(once.predict(X)), proba, np.asarray(estimator.classes_))
        setattr(estimator, _RECORD, held_out)
        return scores


def _name_scorers(scoring: Any) -> dict[str, tuple[Callable[..., Any], bool]]:
    """Map the name of each score to its scorer, and to whether it is one of scikit-learn's by name."""
    if isinstance(scoring, str):
        return {scoring: (get_scorer(scoring), True)}
    if callable(scoring):
        return {"score": (scoring, False)}
    if isinstance(scoring, Mapping):
        return {str(name): (get_scorer(scorer), isinstance(scorer, str)) for name, scorer in scoring.items()}
    if isinstance(scoring, Sequence | set | frozenset) and scoring and all(isinstance(s, str) for s in scoring):
        return {name: (get_scorer(name), True) for name in scoring}
    raise ValueError(
        "scoring must be the name of a scikit-learn scorer, a function of (estimator, X, y), several names, or a "
        f"dictionary of names or functions; got {scoring!r}."
    )


def take_record(estimator: Any) -> HeldOut:
    """Return the predictions that `RecordingScorer` left with an estimator, and remove them from it."""
    record: HeldOut = vars(estimator).pop(_RECORD)
    return record


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The predictions of all folds, in the order of the rows of ``X``."""

    y_pred: NDArray[Any]
    y_proba: NDArray[np.float64] | None
    fold: NDArray[np.int64]


def assemble(
    records: Sequence[HeldOut], splits: Sequence[Split], y: NDArray[Any], classes: NDArray[Any]
) -> OutOfFold:
    """Put the predictions of each fold in their rows, and their probabilities in the columns of `classes`.

    Parameters
    ----------
    records : sequence of HeldOut
        One of each fold.
    splits : sequence of (train, test)
        Row numbers.
    y : ndarray of shape (n_rows,)
        The labels; the predictions get their dtype.
    classes : ndarray of shape (n_classes,)
        All classes, sorted.

    Returns
    -------
    OutOfFold
        Rows that no fold tests have fold -1, None as prediction (the array is then of objects) and NaN as
        probabilities. A class that was absent from a fold's training part has probability 0 in its test rows.

    Raises
    ------
    ValueError
        If a model's ``classes_`` holds a class that does not occur in `y`, or does not match its
        probabilities.
    """
    fold = np.full(y.size, -1, dtype=np.int64)
    for number, (_, test) in enumerate(splits):
        fold[test] = number
    y_pred = np.empty(y.size, dtype=y.dtype if (fold >= 0).all() else object)
    has_proba = all(record.proba is not None for record in records)
    y_proba = np.full((y.size, classes.size), np.nan) if has_proba else None
    for number, (record, (_, test)) in enumerate(zip(records, splits, strict=True)):
        y_pred[test] = record.labels
        if y_proba is not None and record.proba is not None:
            columns = _columns_of(record, classes, number)
            y_proba[test] = 0.0
            y_proba[np.ix_(test, columns)] = record.proba
    return OutOfFold(y_pred, y_proba, fold)


def _columns_of(record: HeldOut, classes: NDArray[Any], fold: int) -> NDArray[np.intp]:
    known = np.isin(record.classes, classes)
    if not known.all():
        raise ValueError(
            f"The model of fold {fold} knows the class {record.classes[~known][0].item()!r}, which does not occur "
            "in y: its probabilities cannot be lined up."
        )
    if record.proba is not None and record.proba.shape[1:] != record.classes.shape:
        raise ValueError(
            f"predict_proba of the model of fold {fold} has shape {record.proba.shape}, but its classes_ names "
            f"{record.classes.size} classes."
        )
    return np.searchsorted(classes, record.classes)
