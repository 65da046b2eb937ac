"""Confidence intervals by a bootstrap over lesions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from skinclf._random import RandomStateLike
from skinclf.evaluation import _confusion, _curves
from skinclf.evaluation._bounds import has_width
from skinclf.evaluation._cases import Cases, read_cases
from skinclf.evaluation._confusion import FloatArray
from skinclf.evaluation._figures import MEANS, Draw, FigureName, Figures, list_figures
from skinclf.evaluation._resampling import Lesions, draw_weights, sort_into_patterns
from skinclf.evaluation._support import Support
from skinclf.evaluation._tasks import read_tasks

Metric: TypeAlias = str | Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class BootstrapInterval:
    """A figure and its confidence interval; see `bootstrap_ci`, which makes it.

    Attributes
    ----------
    metric : str
        Name of the figure.
    estimate : float
        Its value on the data as they are.
    low, high : float
        Ends of the interval; NaN if the figure was not defined in any draw.
    confidence : float
        Share of the draws between them, such as 0.95.
    n_draws, n_undefined : int
        Bootstrap draws, and how many of them were left out as the figure was not defined in them.
    n_groups, n_images : int
        Resampled units (lesions; images if no groups were given), and images.
    by_group : bool
        Whether groups were resampled.
    method : str, default="bootstrap"
        Where the ends come from; the values are explained at `bootstrap_table`.
    n_lesions : int, default=0
        Those of the resampled units that the figure rests on, such as the lesions of one class.
    """

    metric: str
    estimate: float
    low: float
    high: float
    confidence: float
    n_draws: int
    n_undefined: int
    n_groups: int
    n_images: int
    by_group: bool
    method: str = "bootstrap"
    n_lesions: int = 0

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.confidence * 100:g} % CI {self.low:.3f}–{self.high:.3f})"


def bootstrap_ci(
    y_true: Any,
    y_pred: Any = None,
    *,
    y_proba: Any = None,
    groups: Any = None,
    metric: Metric = "balanced_accuracy",
    labels: Any = None,
    n_draws: int = 2000,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> BootstrapInterval:
    """Estimate how far a figure would move with another sample of lesions.

    Lesions, not images, are drawn with replacement: photos of one lesion are no independent evidence, and an
    interval that counts them as such is too narrow [1]_. The interval lies between percentiles of the draws
    [2]_; a figure that no draw can move, such as the sensitivity for a class that is never found, gets an exact
    bound in its place. For many figures of the same predictions, `bootstrap_table` is one pass for all.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_pred : array-like of shape (n_images,), default=None
        The predicted labels. None: the class of the largest score in `y_proba`; where two share it, none.
    y_proba : array-like of float, shape (n_images, n_classes), default=None
        Scores of the classes, such as ``predict_proba`` gives; the columns are in the order of `labels`.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: every image is drawn by itself.
    metric : str or callable, default="balanced_accuracy"
        ``"balanced_accuracy"``, ``"accuracy"``, or a figure of one class: ``"sensitivity:mel"``, and likewise
        ``specificity``, ``ppv``, ``npv`` and ``f1``, and with `y_proba` ``roc_auc``, ``average_precision`` and
        ``auc_above_80``; for their means over the classes, ``macro`` or ``weighted`` in the place of the class. Or
        a function of stacked confusion matrices, float64 of shape ``(n, n_classes, n_classes)`` with rows the
        truth, that returns n values; without `y_pred` the matrices have one more column, the undecided images.
    labels : array-like of shape (n_classes,), default=None
        The classes, in the order of rows and columns of these matrices. None: all that occur, sorted.
    n_draws : int, default=2000
        Bootstrap draws.
    confidence : float, default=0.95
        Share of the draws inside the interval, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Seeds the draws; the same integer gives the same interval, whatever the order of the rows.

    Returns
    -------
    BootstrapInterval
        ``estimate``, ``low``, ``high`` and what they rest on.

    Raises
    ------
    ValueError
        If labels, scores or groups are missing or of other lengths, there is only one group, the metric is not
        known, or `n_draws` or `confidence` is out of range.

    Notes
    -----
    The interval answers for the choice of the lesions that the model was tested on, not for the training:
    another seed or another training set moves the figure further. A draw may hold no lesion of a rare class;
    balanced accuracy is then the mean over the other classes, as it is defined throughout.

    Lesions of which everything is the same are interchangeable, so that draws are of these patterns: exact, and
    quick.

    References
    ----------
    .. [1] C. A. Field, A. H. Welsh. Bootstrapping clustered data. Journal of the Royal Statistical Society B
       69, 369–390, 2007.
    .. [2] B. Efron, R. J. Tibshirani. An Introduction to the Bootstrap. Chapman & Hall, 1993, chapter 13.

    Examples
    --------
    >>> from skinclf.evaluation import bootstrap_ci
    >>> y_true = ["nv"] * 80 + ["mel"] * 20
    >>> y_pred = ["nv"] * 72 + ["mel"] * 8 + ["mel"] * 14 + ["nv"] * 6
    >>> interval = bootstrap_ci(y_true, y_pred, metric="sensitivity:mel")
    >>> interval.estimate
    0.7
    >>> interval.low < 0.6 and interval.high > 0.8
    True
    >>> never_found = bootstrap_ci(y_true, ["nv"] * 100, metric="sensitivity:mel")
    >>> print(never_found, never_found.method)
    0.000 (95 % CI 0.000–0.168) clopper-pearson
    """
    check_settings(n_draws, confidence)
    cases = read_cases(y_true, y_pred, y_proba, labels)
    lesions = sort_into_patterns(contents_of(cases), groups)
    name = None if callable(metric) else resolve_name(metric, cases)
    measure = measure_of(metric, name)
    figures = Figures(cases, lesions.members)
    as_is = figures.draw(lesions.multiplicity[:, None])
    draws = collect(figures, lesions, [measure], n_draws, random_state)[0]
    support = Support(cases, lesions, {})
    interval = find_interval(name, measure(as_is)[0], draws, support, as_is, confidence)
    return BootstrapInterval(
        metric=getattr(metric, "__name__", type(metric).__name__) if name is None else str(name),
        confidence=confidence,
        n_draws=n_draws,
        n_groups=lesions.n_groups,
        n_images=lesions.n_images,
        by_group=lesions.by_group,
        n_lesions=lesions.n_groups if name is None else support.n_lesions(name),
        **interval,
    )


def bootstrap_table(
    y_true: Any,
    y_pred: Any = None,
    *,
    y_proba: Any = None,
    groups: Any = None,
    labels: Any = None,
    tasks: Mapping[str, Any] | None = None,
    n_draws: int = 2000,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> pd.DataFrame:
    """Compute all figures of an evaluation with their intervals, from the same draws of lesions.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_pred : array-like of shape (n_images,), default=None
        The predicted labels. None: the class of the largest score in `y_proba`; where two share it, none.
    y_proba : array-like of float, shape (n_images, n_classes), default=None
        Scores of the classes, columns in the order of `labels`. None: no figures of rankings.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: every image is drawn by itself.
    labels : array-like of shape (n_classes,), default=None
        The classes, such as ``classes_``. None: all that occur, sorted.
    tasks : dict of str to a label or a list of labels, default=None
        Positive classes of binary tasks by name; the score of a task is the sum of their scores. None: melanoma
        (``mel``), and malignant (``mel``, ``bcc``, ``akiec``), where `labels` holds these and others. Empty: none.
    n_draws : int, default=2000
        Bootstrap draws.
    confidence : float, default=0.95
        Share of the draws inside an interval, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Seeds the draws; the same integer gives the same table, bit for bit, whatever the order of the rows.

    Returns
    -------
    DataFrame
        A row for each figure. The index, ``"metric"``, holds names as `bootstrap_ci` takes them:
        ``"balanced_accuracy"``, ``"accuracy"``, ``"sensitivity:mel"``, ``"sensitivity:macro"``,
        ``"roc_auc:mel"``; and for each task the figures of its ranking and
        ``"sensitivity_at_95_specificity:melanoma"``, ``"specificity_at_95_sensitivity:melanoma"``, for which every
        draw chooses its own threshold. Columns:

        - ``figure``, ``label``: the two parts of the name, the second empty for figures of all images.
        - ``estimate``, ``low``, ``high``: float64, 0–1, NaN where not defined.
        - ``method``: where the interval comes from, see below.
        - ``n_lesions``: int64, lesions (images without `groups`) that the figure rests on: those of the class for
          its sensitivity, those that are called so for its PPV, the smaller side for a ranking.
        - ``n_undefined``: int64, draws in which the figure was 0 / 0.

    Raises
    ------
    ValueError, TypeError
        As in `bootstrap_ci`, and if `tasks` is not usable.

    See Also
    --------
    bootstrap_ci : One figure, or one of your own.
    operating_points : The thresholds behind these figures, and thresholds from other data.

    Notes
    -----
    A percentile interval has no width where no draw can move the figure: a class that is never found, or always.
    These, and figures that rest on a single lesion, get another interval, named in the column ``method``:

    - ``"bootstrap"``: between percentiles of the draws.
    - ``"clopper-pearson"``: the exact interval of a share, of lesions [1]_. For F1, of the Jaccard index, of
      which it is a function.
    - ``"pairs"``: the area under the ROC curve is the share of pairs of a positive and a negative lesion in the
      right order; as many pairs as the smaller side has lesions are independent, and the exact interval is of
      these.
    - ``"pairs bound"``: the least average precision, or area above a sensitivity, that this lower end allows.
    - ``"mean of bounds"``: for means over classes, of bounds that hold together (Bonferroni). Wide.
    - ``"undefined"``: 0 / 0 in the data, or in every draw.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson. The Use of Confidence or Fiducial Limits Illustrated in the Case of the
       Binomial. Biometrika 26, 404–413, 1934.

    Examples
    --------
    >>> from skinclf.evaluation import bootstrap_table
    >>> y_true = ["bkl"] * 10 + ["mel"] * 20 + ["nv"] * 70
    >>> y_pred = ["nv"] * 10 + ["mel"] * 12 + ["nv"] * 78
    >>> table = bootstrap_table(y_true, y_pred)
    >>> table.loc[["sensitivity:bkl", "sensitivity:mel"], ["estimate", "high", "method", "n_lesions"]].round(2)
                     estimate  high           method  n_lesions
    metric
    sensitivity:bkl       0.0  0.31  clopper-pearson         10
    sensitivity:mel       0.6  0.81        bootstrap         20
    """
    check_settings(n_draws, confidence)
    cases = read_cases(y_true, y_pred, y_proba, labels)
    masks = read_tasks(tasks, cases.classes)
    lesions = sort_into_patterns(contents_of(cases), groups)
    figures = Figures(cases, lesions.members, masks)
    names = list_figures(cases, masks)
    as_is = figures.draw(lesions.multiplicity[:, None])
    draws = collect(figures, lesions, [measure_of(None, name) for name in names], n_draws, random_state)
    support = Support(cases, lesions, masks)
    rows = [
        {
            "metric": str(name),
            "figure": name.figure,
            "label": name.label,
            **find_interval(name, as_is.value(name)[0], values, support, as_is, confidence),
            "n_lesions": support.n_lesions(name),
        }
        for name, values in zip(names, draws, strict=True)
    ]
    columns = ["figure", "label", "estimate", "low", "high", "method", "n_lesions", "n_undefined"]
    return pd.DataFrame(rows).set_index("metric")[columns]


def check_settings(n_draws: int, confidence: float) -> None:
    """Refuse a number of draws below 1, and a confidence that is no share."""
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1; got {n_draws!r}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, such as 0.95; got {confidence!r}.")


def contents_of(cases: Cases) -> FloatArray:
    """Return all that is known of each image, float64 of shape (n_images, n_columns)."""
    labels = np.stack([cases.truth, cases.prediction], axis=1).astype(np.float64)
    return labels if cases.scores is None else np.hstack([labels, cases.scores])


def resolve_name(metric: Any, cases: Cases) -> FigureName:
    """Find a figure by its name; say which there are if it is none."""
    known = {str(name): name for name in reversed(list_figures(cases, {}))}
    if metric in known:
        return known[metric]
    figures = [*_confusion.PER_CLASS, *(_curves.FIGURES if cases.scores is not None else ())]
    needs_scores = cases.scores is None and str(metric).partition(":")[0] in _curves.FIGURES
    remedy = f" {[*_curves.FIGURES]} need y_proba." if needs_scores else ""
    raise ValueError(
        f"metric must be a function, one of {[*_confusion.OVERALL]}, or one of {figures} followed by a colon and "
        f"one of the classes {cases.classes.astype(str).tolist()} or of {[*MEANS]}; got {metric!r}.{remedy}"
    )


Measure: TypeAlias = Callable[[Draw], FloatArray]
"""A figure as a function of draws."""


def measure_of(metric: Any, name: FigureName | None) -> Measure:
    """Return a figure, or a function of confusion matrices, as a function of draws."""
    if name is not None:
        return lambda draw: draw.value(name)
    return lambda draw: _measure_stack(metric, draw.confusion)


def _measure_stack(metric: Callable[[FloatArray], FloatArray], matrices: FloatArray) -> FloatArray:
    values = np.asarray(metric(matrices), dtype=np.float64)
    if values.shape != (len(matrices),):
        name = getattr(metric, "__name__", type(metric).__name__)
        raise ValueError(
            f"The metric {name} must return one value for each of the {len(matrices)} confusion matrices; got "
            f"shape {values.shape}."
        )
    return values


def collect(
    figures: Figures, lesions: Lesions, measures: list[Measure], n_draws: int, random_state: RandomStateLike
) -> FloatArray:
    """Return the figures of all draws, float64 of shape (n_measures, n_draws)."""
    chunks = []
    for weights in draw_weights(lesions, n_draws, random_state):
        draw = figures.draw(weights)
        chunks.append(np.stack([measure(draw) for measure in measures]))
    return np.concatenate(chunks, axis=1)


def find_interval(
    name: FigureName | None,
    estimate: np.float64,
    draws: FloatArray,
    support: Support,
    as_is: Draw,
    confidence: float,
) -> dict[str, Any]:
    """Return estimate, low, high, method and n_undefined of a figure."""
    defined = draws[~np.isnan(draws)]
    tail = (1 - confidence) / 2
    low, high, method = np.nan, np.nan, "undefined"
    if defined.size and not np.isnan(estimate):
        low, high = np.quantile(defined, [tail, 1 - tail])
        method = "bootstrap"
        if name is not None and (not has_width(low, high) or support.n_lesions(name) < 2):
            low, high, method = support.bound(name, as_is, tail)
    return {
        "estimate": float(estimate),
        "low": float(low),
        "high": float(high),
        "method": method,
        "n_undefined": int(draws.size - defined.size),
    }
