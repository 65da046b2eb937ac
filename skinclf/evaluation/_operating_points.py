"""Sensitivity at a given specificity and the reverse, with the threshold and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._random import RandomStateLike
from skinclf.evaluation._bounds import clopper_pearson, has_width
from skinclf.evaluation._cases import read_cases
from skinclf.evaluation._confusion import FloatArray, divide
from skinclf.evaluation._curves import Ranking, RankingSums
from skinclf.evaluation._intervals import check_settings
from skinclf.evaluation._resampling import Lesions, draw_weights, sort_into_patterns
from skinclf.evaluation._tasks import TASKS, read_tasks

GOALS = ("sensitivity", "specificity")


@dataclass(frozen=True, eq=False)
class _Task:
    """One binary task: which images are positive, and how strongly the model says so."""

    name: str
    is_positive: NDArray[np.bool_]
    scores: FloatArray


@dataclass(frozen=True)
class _Settings:
    at: float
    n_draws: int
    confidence: float
    random_state: RandomStateLike


def operating_points(
    y_true: Any,
    y_proba: Any,
    *,
    labels: Any,
    tasks: Mapping[str, Any] | None = None,
    at: float = 0.95,
    groups: Any = None,
    fold: Any = None,
    thresholds: pd.DataFrame | None = None,
    n_draws: int = 2000,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> pd.DataFrame:
    """Find the sensitivity at 95 % specificity, and the specificity at 95 % sensitivity, of binary tasks.

    A threshold that was chosen on the images that it is then judged by promises too much. So each row says where
    its threshold is from, and `fold` or `thresholds` add rows with thresholds from other images.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels, of all classes.
    y_proba : array-like of float, shape (n_images, n_classes)
        Probabilities of the classes, 0–1; the columns are in the order of `labels`. The score of a task is the sum
        over its positive classes.
    labels : array-like of shape (n_classes,)
        The classes, such as ``classes_``.
    tasks : dict of str to a label or a list of labels, default=None
        Positive classes of binary tasks by name. None: melanoma (``mel``), and malignant (``mel``, ``bcc``,
        ``akiec``), where `labels` holds these and others.
    at : float, default=0.95
        The specificity, and the sensitivity, to be kept: at least this, between 0 and 1.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image, for the intervals. None: every image is drawn by itself.
    fold : array-like of shape (n_images,), default=None
        The fold of every image, such as ``CrossValidationResult.fold``. Adds rows in which the threshold for the
        images of a fold was chosen on all other folds.
    thresholds : DataFrame, default=None
        What this function returned for other images, such as a validation set. Adds rows in which its thresholds
        (those of ``threshold_from="same rows"``) are applied to these images.
    n_draws : int, default=2000
        Bootstrap draws.
    confidence : float, default=0.95
        Share of the draws inside an interval, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Seeds the draws; the same integer gives the same table whatever the order of the rows.

    Returns
    -------
    DataFrame
        A row for each task, goal and origin of the threshold. Columns:

        - ``task``; ``goal``, such as ``"sensitivity at 95 % specificity"``.
        - ``threshold_from``: ``"same rows"``, ``"other folds"`` or ``"given"``.
        - ``threshold``: images that score this or more are called positive. With ``"other folds"`` the median of
          the folds' thresholds. Infinite if every threshold calls too many negative images positive.
        - ``sensitivity``, ``specificity``, and for each ``_low`` and ``_high``: float64, 0–1. With ``"same rows"``
          each draw chooses its own threshold. With the others thresholds stay, and what was to be kept need not
          be.
        - ``sensitivity_method``, ``specificity_method``: ``"bootstrap"``, or ``"clopper-pearson"`` where no draw
          can move the figure.
        - ``n_positive``, ``n_negative``: int64, lesions (images without `groups`).

    Raises
    ------
    ValueError, TypeError
        If labels or probabilities are not usable, no task is possible, a task has no positive or no negative
        images, `fold` has fewer than two folds or splits a lesion, or `thresholds` lacks a row that is needed.

    See Also
    --------
    bootstrap_table : All figures at once, these among them.

    Notes
    -----
    Of the thresholds that keep the specificity, the one with the highest sensitivity is taken, and the reverse;
    thresholds are scores that occur among the positive images, and nothing is interpolated.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import operating_points
    >>> generator = np.random.default_rng(0)
    >>> y_true = np.repeat(["mel", "nv"], [50, 150])
    >>> mel = 1 / (1 + np.exp(-generator.normal(np.where(y_true == "mel", 1, -1))))
    >>> points = operating_points(y_true, np.column_stack([mel, 1 - mel]), labels=["mel", "nv"])
    >>> points[["task", "goal", "threshold_from"]]
           task                            goal threshold_from
    0  melanoma  sensitivity at 95 % specificity      same rows
    1  melanoma  specificity at 95 % sensitivity      same rows
    >>> bool(points["specificity"][0] >= 0.95 and points["sensitivity"][1] >= 0.95)
    True
    """
    check_settings(n_draws, confidence)
    if not 0 < at < 1:
        raise ValueError(f"at must be between 0 and 1, such as 0.95; got {at!r}.")
    settings = _Settings(at, n_draws, confidence, random_state)
    binary = _read(y_true, y_proba, labels, tasks)
    folds = None if fold is None else _check_folds(fold, groups, binary[0].scores.size)
    rows: list[dict[str, Any]] = []
    for task in binary:
        rows += _same_rows(task, groups, settings)
        if folds is not None:
            rows += _other_folds(task, groups, folds, settings)
        if thresholds is not None:
            rows += _given(task, groups, thresholds, settings)
    return pd.DataFrame(rows)


def _read(y_true: Any, y_proba: Any, labels: Any, tasks: Mapping[str, Any] | None) -> list[_Task]:
    cases = read_cases(y_true, None, y_proba, labels)
    masks = read_tasks(tasks, cases.classes)
    if not masks:
        raise ValueError(
            f"tasks must name binary tasks, such as {{'melanoma': ['mel']}}; got {tasks!r}, and the labels "
            f"{cases.classes.tolist()} allow none of the usual ones, {TASKS}."
        )
    binary = []
    for name, positive in masks.items():
        is_positive = positive[cases.truth]
        if is_positive.all() or not is_positive.any():
            which = "negative" if is_positive.all() else "positive"
            raise ValueError(f"tasks[{name!r}] has no {which} images in y_true; it needs both.")
        binary.append(_Task(name, is_positive, np.asarray(cases.scores)[:, positive].sum(axis=1)))
    return binary


def _check_folds(fold: Any, groups: Any, n_images: int) -> NDArray[Any]:
    folds = np.asarray(fold)
    if folds.shape != (n_images,):
        raise ValueError(f"fold must name the fold of each of the {n_images} images; got shape {folds.shape}.")
    if np.unique(folds).size < 2:
        raise ValueError("fold must name at least two folds; a threshold for one is chosen on the others.")
    if groups is not None:
        split = pd.Series(folds).groupby(np.asarray(groups, dtype=object)).nunique() > 1
        if split.any():
            raise ValueError(
                f"fold puts the images of {int(split.sum())} lesion(s) into several folds, among them "
                f"{split.index[split.to_numpy()][0]!r}: a threshold would be chosen on what it is judged by."
            )
    return folds


def _choose(sums: RankingSums, goal: str, at: float) -> NDArray[np.intp]:
    return sums.sensitivity_at(at)[1] if goal == "sensitivity" else sums.specificity_at(at)[1]


def _choose_threshold(task: _Task, rows: NDArray[np.bool_], goal: str, at: float) -> float:
    """Return the threshold that these rows ask for."""
    if not task.is_positive[rows].any() or task.is_positive[rows].all():
        raise ValueError(
            f"fold leaves no positive or no negative images of {task.name!r} outside one of the folds."
        )
    ranking = Ranking(task.is_positive[rows], task.scores[rows])
    place = int(_choose(ranking.measure(np.ones((int(rows.sum()), 1))), goal, at)[0])
    return float(ranking.thresholds[place]) if place >= 0 else np.inf


def _same_rows(task: _Task, groups: Any, settings: _Settings) -> list[dict[str, Any]]:
    contents = np.column_stack([task.is_positive, task.scores])
    lesions = sort_into_patterns(contents, groups)
    ranking = Ranking(task.is_positive, task.scores, lesions.members)
    as_is = _points(ranking.measure(lesions.multiplicity[:, None]), settings.at)
    drawn = [
        _points(ranking.measure(weights), settings.at)
        for weights in draw_weights(lesions, settings.n_draws, settings.random_state)
    ]
    everything = np.ones(task.scores.size, dtype=bool)
    rows = []
    for goal in GOALS:
        draws = {side: np.concatenate([draw[goal][side] for draw in drawn]) for side in GOALS}
        estimates = {side: float(as_is[goal][side][0]) for side in GOALS}
        threshold = _choose_threshold(task, everything, goal, settings.at)
        rows.append(_row(task, goal, "same rows", threshold, estimates, draws, lesions, settings))
    return rows


def _points(sums: RankingSums, at: float) -> dict[str, dict[str, FloatArray]]:
    """Return sensitivity and specificity of each draw, at the threshold that it chooses for each goal."""
    points = {}
    for goal in GOALS:
        place = _choose(sums, goal, at)
        rows, somewhere = np.arange(place.size), np.maximum(place, 0)
        found = np.where(place < 0, 0, sums.found[rows, somewhere])
        false = np.where(place < 0, 0, sums.false[rows, somewhere])
        # A draw of positive or of negative images alone asks for no threshold.
        points[goal] = {
            "sensitivity": divide(found, np.where(sums.defined, sums.n_positive, 0)),
            "specificity": divide(sums.n_negative - false, np.where(sums.defined, sums.n_negative, 0)),
        }
    return points


def _other_folds(task: _Task, groups: Any, folds: NDArray[Any], settings: _Settings) -> list[dict[str, Any]]:
    rows = []
    for goal in GOALS:
        chosen = {f: _choose_threshold(task, folds != f, goal, settings.at) for f in np.unique(folds).tolist()}
        called = task.scores >= np.array([chosen[f] for f in folds.tolist()])
        threshold = float(np.median(list(chosen.values())))
        rows.append(_at_fixed_thresholds(task, goal, "other folds", threshold, called, groups, settings))
    return rows


def _given(task: _Task, groups: Any, thresholds: pd.DataFrame, settings: _Settings) -> list[dict[str, Any]]:
    rows = []
    for goal in GOALS:
        text = _describe(goal, settings.at)
        wanted = (
            (thresholds["task"] == task.name)
            & (thresholds["goal"] == text)
            & (thresholds["threshold_from"] == "same rows")
        )
        if wanted.sum() != 1:
            raise ValueError(
                f"thresholds must have one row with task {task.name!r}, goal {text!r} and threshold_from 'same "
                f"rows', as operating_points returns it for other images; got {int(wanted.sum())} such rows."
            )
        threshold = float(thresholds.loc[wanted, "threshold"].iloc[0])
        called = task.scores >= threshold
        rows.append(_at_fixed_thresholds(task, goal, "given", threshold, called, groups, settings))
    return rows


def _at_fixed_thresholds(
    task: _Task,
    goal: str,
    origin: str,
    threshold: float,
    called: NDArray[np.bool_],
    groups: Any,
    settings: _Settings,
) -> dict[str, Any]:
    lesions = sort_into_patterns(np.column_stack([task.is_positive, called]).astype(float), groups)
    positive, negative = task.is_positive.astype(float), (~task.is_positive).astype(float)
    tallies = np.stack([positive * called, positive, negative * ~called, negative])
    per_pattern = (lesions.members.T @ tallies.T).T

    def rates(weights: FloatArray) -> dict[str, FloatArray]:
        hits, n_positive, passed, n_negative = per_pattern @ weights
        return {"sensitivity": divide(hits, n_positive), "specificity": divide(passed, n_negative)}

    drawn = [rates(weights) for weights in draw_weights(lesions, settings.n_draws, settings.random_state)]
    draws = {side: np.concatenate([draw[side] for draw in drawn]) for side in GOALS}
    estimates = {side: float(values[0]) for side, values in rates(lesions.multiplicity[:, None]).items()}
    return _row(task, goal, origin, threshold, estimates, draws, lesions, settings)


def _row(
    task: _Task,
    goal: str,
    origin: str,
    threshold: float,
    estimates: dict[str, float],
    draws: dict[str, FloatArray],
    lesions: Lesions,
    settings: _Settings,
) -> dict[str, Any]:
    n_lesions = {
        "sensitivity": lesions.count(task.is_positive),
        "specificity": lesions.count(~task.is_positive),
    }
    row: dict[str, Any] = {"task": task.name, "goal": _describe(goal, settings.at), "threshold_from": origin}
    row["threshold"] = threshold
    methods = {}
    tail = (1 - settings.confidence) / 2
    for side in GOALS:
        low, high = np.nanquantile(draws[side], [tail, 1 - tail])
        methods[side] = "bootstrap"
        if not has_width(low, high) or n_lesions[side] < 2:
            low, high = clopper_pearson(estimates[side], n_lesions[side], tail)
            methods[side] = "clopper-pearson"
        row |= {side: estimates[side], f"{side}_low": float(low), f"{side}_high": float(high)}
    row |= {f"{side}_method": methods[side] for side in GOALS}
    row |= {"n_positive": n_lesions["sensitivity"], "n_negative": n_lesions["specificity"]}
    return row


def _describe(goal: str, at: float) -> str:
    kept = "specificity" if goal == "sensitivity" else "sensitivity"
    return f"{goal} at {100 * at:g} % {kept}"
