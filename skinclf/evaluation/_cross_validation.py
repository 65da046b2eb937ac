"""Cross-validation that is by lesion, refuses to leak, and keeps what it predicted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import model_selection
from sklearn.base import is_classifier

from skinclf._leakage import LeakageWarning
from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import as_labels
from skinclf.evaluation._copies import number_copies
from skinclf.evaluation._fit_params import add_groups, check_groups_inside, check_search
from skinclf.evaluation._groups import Groups, count_rows, lesions_of_table, resolve_groups
from skinclf.evaluation._leakage import FoldLeak, OnLeakage, Split, find_leaks, leakage_frame, report_leaks
from skinclf.evaluation._out_of_fold import RecordingScorer, assemble, take_record
from skinclf.evaluation._splits import make_splits

DEFAULT_SCORING = ("balanced_accuracy", "accuracy")


@dataclass(frozen=True, eq=False, repr=False)
class CrossValidationResult:
    """What a cross-validation found; see `cross_validate`, which makes it.

    All arrays "of rows" are in the order of the rows of ``X``.

    Attributes
    ----------
    scores : DataFrame of shape (n_folds, n_scores)
        The scores of each fold on its test part; the index is named ``"fold"`` and counts from 0.
    y_true : ndarray of shape (n_rows,)
        The true labels.
    y_pred : ndarray of shape (n_rows,)
        ``predict`` of the model that was not trained on the row. If there are rows that no fold tests, an
        array of objects with None in these.
    y_proba : ndarray of float64, shape (n_rows, n_classes), or None
        ``predict_proba`` of that model, 0–1, columns in the order of `classes`; 0 for a class that its
        training part did not hold, NaN in rows that no fold tests. None for classifiers that have no
        ``predict_proba``.
    fold : ndarray of int64, shape (n_rows,)
        The fold that tests the row, -1 for none.
    classes : ndarray of shape (n_classes,)
        The labels that occur, sorted.
    groups : ndarray of object, shape (n_rows,), or None
        The lesions, if they are known.
    train_indices, test_indices : tuple of ndarray of intp
        Row numbers of the two parts of each fold.
    fit_seconds, score_seconds : ndarray of float64, shape (n_folds,)
        Time for training, and for predicting and scoring the test part.
    estimators : tuple or None
        The fitted estimator of each fold; None with ``return_estimator=False``.
    estimator : classifier
        The estimator that was passed, as it was.
    splitter : str
        How the folds were made.
    leaks : DataFrame
        A row for each fold of which training and test part share a lesion, a row or, if that is all, exact
        copies of an image: ``fold``, ``n_groups``, ``n_leaking`` test images of ``n_test``, and an example.
        Empty unless ``on_leakage="warn"`` let it pass.
    """

    scores: pd.DataFrame
    y_true: NDArray[Any]
    y_pred: NDArray[Any]
    y_proba: NDArray[np.float64] | None
    fold: NDArray[np.int64]
    classes: NDArray[Any]
    groups: NDArray[Any] | None
    train_indices: tuple[NDArray[np.intp], ...]
    test_indices: tuple[NDArray[np.intp], ...]
    fit_seconds: NDArray[np.float64]
    score_seconds: NDArray[np.float64]
    estimators: tuple[Any, ...] | None
    estimator: Any
    splitter: str
    leaks: pd.DataFrame

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(self.test_indices)

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Which rows some fold tests, bool of shape (n_rows,)."""
        tested: NDArray[np.bool_] = self.fold >= 0
        return tested

    def __repr__(self) -> str:
        means = ", ".join(f"{name}={value:.3f}" for name, value in self.scores.mean().items())
        return f"CrossValidationResult({means}; means of {self.n_folds} folds, {self.y_true.size} rows)"


def cross_validate(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = 5,
    scoring: Any = None,
    on_leakage: OnLeakage = "raise",
    n_jobs: int | None = None,
    verbose: int = 0,
    return_estimator: bool = True,
    params: Mapping[str, Any] | None = None,
    random_state: RandomStateLike = 0,
) -> CrossValidationResult:
    """Cross-validate a classifier by lesion, and keep the out-of-fold predictions.

    scikit-learn's own ``cross_validate`` does the work. This function draws the folds by lesion, looks for
    lesions and copies of images that are in both parts of a fold before anything is trained, hands the lesions
    on to ``fit``, and keeps what each model says of the rows that it was not trained on.

    Parameters
    ----------
    estimator : classifier
        Any scikit-learn classifier, Pipeline or search. It is cloned for each fold.
    X : DataFrame, array or list of n_rows rows
        The images.
    y : array-like of shape (n_rows,)
        Their labels.
    groups : array-like of shape (n_rows,), default=None
        The lesion of every image. None: the column ``lesion_id`` of `X`, if it is a DataFrame that has one;
        else no lesions are known, and images are split one by one.
    cv : int, splitter or iterable of (train, test), default=5
        An integer means that many folds, of the same mix of classes as far as lesions allow:
        ``StratifiedGroupKFold`` where lesions are known, ``StratifiedKFold`` where they are not, both
        shuffled.
    scoring : str, callable, sequence of str or dict, default=None
        As in scikit-learn. None: balanced accuracy and accuracy.
    on_leakage : {"raise", "warn"}, default="raise"
        What to do with folds whose training and test parts share a lesion, a row, or an exact copy of an image: of
        paths the same text, of arrays of images the same pixels. `audit_leakage` looks further.
    n_jobs : int, default=None
        Folds that run at the same time, in processes of their own; None means 1, -1 all processors.
    verbose : int, default=0
        As in scikit-learn: how much to print on the way.
    return_estimator : bool, default=True
        Whether the fitted estimators are kept.
    params : dict, default=None
        Further parameters of ``fit``; those with a value for each row are sliced for each fold.
    random_state : int, RandomState, Generator or None, default=0
        Shuffles the folds if `cv` is an integer. It does not reach the estimator.

    Returns
    -------
    CrossValidationResult
        Scores, out-of-fold predictions, folds, fitted estimators, timings.

    Raises
    ------
    LeakageError
        If a fold trains on a lesion, a row, or an image that it tests, or if `estimator` is a search whose own
        folds do, unless ``on_leakage="warn"``.
    ValueError
        If lengths differ, a label or a lesion is missing, there is one class only, a class has fewer lesions
        than there are folds, or a row is tested twice. An error in ``fit`` is raised, and never turned into a
        score.

    Warns
    -----
    LeakageWarning
        Instead of `LeakageError`, with ``on_leakage="warn"``.

    Notes
    -----
    The lesions go to ``fit`` as well, so that an early-stopping split inside it is by lesion: to an
    estimator, or a last step of a Pipeline, whose ``fit`` has a parameter `groups`, and to the splitter of a
    grid search. They do not go through a Pipeline with a resampling step of imbalanced-learn, after which
    rows and lesions no longer match; a DataFrame with a column ``lesion_id`` gets through. With
    scikit-learn's metadata routing enabled, an estimator gets them if it asked for them by
    ``set_fit_request(groups=True)``.

    ``predict`` and ``predict_proba`` of a model run once on each test row; the scorers of scikit-learn share
    the result.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinclf.evaluation import cross_validate
    >>> generator = np.random.default_rng(0)
    >>> lesion = np.repeat(np.arange(50), 2)  # two photos of each lesion
    >>> y = np.where(lesion % 2 == 0, "mel", "nv")
    >>> X = generator.normal(size=(100, 4)) + (y == "mel")[:, None]
    >>> result = cross_validate(LogisticRegression(), X, y, groups=lesion)
    >>> result.scores.shape
    (5, 2)
    >>> result.y_proba.shape
    (100, 2)
    >>> bool((result.fold[::2] == result.fold[1::2]).all())  # no lesion is in two folds
    True
    """
    if not is_classifier(estimator):
        raise TypeError(f"estimator must be a scikit-learn classifier; got {type(estimator).__name__}.")
    if on_leakage not in ("raise", "warn"):
        raise ValueError(f"on_leakage must be 'raise' or 'warn'; got {on_leakage!r}.")
    labels, classes = _check_labels(X, y)
    lesions = resolve_groups(X, groups)
    splits, description = make_splits(cv, X, labels, lesions, random_state=random_state)
    leaks, together = _find_any_leaks(splits, X, lesions)
    report_leaks(leaks, together, on_leakage)
    check_search(estimator, labels, lesions, on_leakage)
    check_groups_inside(estimator, X, lesions)
    with _rows_of_a_fold(), _told_once(leaks):
        raw = model_selection.cross_validate(
            estimator,
            X,
            labels,
            cv=splits,
            scoring=RecordingScorer(DEFAULT_SCORING if scoring is None else scoring),
            n_jobs=n_jobs,
            verbose=verbose,
            params=add_groups(params, estimator, lesions),
            return_estimator=True,
            error_score="raise",
        )
    out_of_fold = assemble([take_record(fitted) for fitted in raw["estimator"]], splits, labels, classes)
    scores = {name.removeprefix("test_"): raw[name] for name in raw if name.startswith("test_")}
    return CrossValidationResult(
        scores=pd.DataFrame(scores).rename_axis("fold"),
        y_true=labels,
        y_pred=out_of_fold.y_pred,
        y_proba=out_of_fold.y_proba,
        fold=out_of_fold.fold,
        classes=classes,
        groups=None if lesions is None else lesions.values,
        train_indices=tuple(train for train, _ in splits),
        test_indices=tuple(test for _, test in splits),
        fit_seconds=np.asarray(raw["fit_time"]),
        score_seconds=np.asarray(raw["score_time"]),
        estimators=tuple(raw["estimator"]) if return_estimator else None,
        estimator=estimator,
        splitter=description,
        leaks=leakage_frame(leaks),
    )


def _find_any_leaks(
    splits: Sequence[Split], X: Any, lesions: Groups | None
) -> tuple[list[FoldLeak], Groups | None]:
    """Look for groups on both sides; for lesions that the table names, whatever the groups; and for copies."""
    together, n_rows = lesions, count_rows(X)
    leaks = find_leaks(splits, together, n_rows)
    for others in (lesions_of_table, number_copies):
        if not leaks and (together := others(X)) is not None:
            leaks = find_leaks(splits, together, n_rows)
    return leaks, together


@contextmanager
def _told_once(leaks: list[FoldLeak]) -> Iterator[None]:
    """Keep the guards of the classifiers from saying in each fold what was said of the splits."""
    with warnings.catch_warnings():
        if leaks:
            warnings.filterwarnings("ignore", message=".* were in the training", category=LeakageWarning)
        yield


@contextmanager
def _rows_of_a_fold() -> Iterator[None]:
    """Say of an error that names rows what they are rows of."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if "row" in str(error).lower():
            error.add_note("Rows that this message names are counted in one part of a fold, not in X.")
        raise


def _check_labels(X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the labels, one for each row of ``X``, and the classes, of which there must be two."""
    labels = as_labels(y, "y")
    n_rows = count_rows(X)
    if labels.size != n_rows:
        raise ValueError(f"X has {n_rows} rows and y {labels.size} labels; they must be as many.")
    classes = np.unique(labels)
    if classes.size < 2:
        raise ValueError(f"y must hold at least two classes; all {labels.size} labels are {classes[0].item()!r}.")
    return labels, classes
