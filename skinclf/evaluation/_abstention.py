"""What a model's error is when it answers only the images that it is surest of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import FloatArray, divide, mean_of_defined
from skinclf.evaluation._intervals import check_settings
from skinclf.evaluation._lesion_intervals import percentile_interval
from skinclf.evaluation._probabilities import Predictions, check_predictions
from skinclf.evaluation._resampling import Lesions, draw_weights

CURVE_POINTS = 200
"""Coverages at which the curve is given; more than a figure can show."""

AREAS = ("aurc", "ideal_aurc", "excess_aurc")


@dataclass(frozen=True, eq=False, repr=False)
class RiskCoverage:
    """How the error falls as unsure images are left to somebody else; see `risk_coverage`, which makes it.

    Attributes
    ----------
    curve : DataFrame
        A row for each of 200 coverages: ``coverage`` (share of images that are answered), ``error`` (share of
        these that are wrong), ``low`` and ``high`` (interval), ``ideal`` (the error if every wrong image were
        left out first), all 0–1.
    summary : DataFrame
        Rows ``aurc`` (area under the curve), ``ideal_aurc`` (the least that is possible with as many errors) and
        ``excess_aurc`` (the difference); columns ``estimate``, ``low``, ``high``.
    at : DataFrame
        A row for each coverage that was asked for, indexed by it: ``error``, ``low``, ``high``, ``threshold``
        (images of at least this probability are answered), ``n_answered``, ``balanced_accuracy`` of what is
        answered.
    classes : DataFrame
        A row for each of these coverages and each class, indexed by both: ``n_answered`` images of the class,
        ``answered`` (their share in the class), ``sensitivity`` (share of them that is right).
    n_images, n_lesions : int
        What all of it rests on; lesions are images if no groups were given.
    by_group : bool
        Whether groups were given.
    confidence : float
        Of the intervals.
    """

    curve: pd.DataFrame
    summary: pd.DataFrame
    at: pd.DataFrame
    classes: pd.DataFrame
    n_images: int
    n_lesions: int
    by_group: bool
    confidence: float

    def sentence(self, coverage: float) -> str:
        """Say in words what the error is at a coverage that was asked for.

        Parameters
        ----------
        coverage : float
            One of the index of `at`.

        Returns
        -------
        str
            Such as "Answers 80 % of the images at 7.9 % error (95 % CI 7.2–8.6 %)".

        Raises
        ------
        ValueError
            If that coverage was not asked for.
        """
        if coverage not in self.at.index:
            raise ValueError(
                f"coverage must be one of {self.at.index.tolist()}; got {coverage!r}. Others can be asked for by "
                "risk_coverage(..., coverages=...)."
            )
        row = self.at.loc[coverage] * 100
        return (
            f"Answers {coverage * 100:g} % of the images at {row['error']:.1f} % error "
            f"({self.confidence * 100:g} % CI {row['low']:.1f}–{row['high']:.1f} %)"
        )

    def __repr__(self) -> str:
        area = self.summary["estimate"]
        return (
            f"RiskCoverage(aurc={area['aurc']:.3f}, excess_aurc={area['excess_aurc']:.3f}, "
            f"n_images={self.n_images}, n_lesions={self.n_lesions})"
        )


def risk_coverage(
    y_true: Any,
    y_proba: Any,
    *,
    labels: Any = None,
    groups: Any = None,
    coverages: Sequence[float] = (1.0, 0.9, 0.8, 0.7, 0.5),
    n_draws: int = 2000,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> RiskCoverage:
    """Compute the error among the images that a model is surest of, for every share of images.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_proba : array-like of float, shape (n_images, n_classes)
        Probabilities. The largest of an image says how sure the model is of it.
    labels : array-like of shape (n_classes,), default=None
        The classes in the order of the columns, such as ``classes_``. None: all that occur in `y_true`, sorted.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: every image counts as a lesion of its own.
    coverages : sequence of float, default=(1.0, 0.9, 0.8, 0.7, 0.5)
        Shares of images that are answered, above 0 and up to 1, for the tables `at` and `classes`.
    n_draws : int, default=2000
        Bootstrap draws of lesions.
    confidence : float, default=0.95
        Of the intervals, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Seeds the draws.

    Returns
    -------
    RiskCoverage
        ``curve``, ``summary``, ``at``, ``classes``.

    Raises
    ------
    ValueError
        If labels, groups or probabilities are missing, do not match or are no distribution, or a setting is out
        of range.

    See Also
    --------
    skinclf.reporting.RiskCoverageDisplay : Draws it.

    Notes
    -----
    The area under the curve [1]_ is the mean of the errors among the 1, 2, … n images of the largest probability;
    the excess over the ideal [2]_ subtracts what it would be if all wrong images came last. Images of equal
    probability come in random order: their errors are spread evenly over them. In a draw of the bootstrap the
    coverage is kept, and the threshold moves.

    Leaving unsure images out is no gain for a class that is left out altogether. Look at ``classes``: how many
    of the melanomas are answered at all, and how many of these are right?

    References
    ----------
    .. [1] Y. Geifman, R. El-Yaniv. Selective Classification for Deep Neural Networks. NeurIPS 2017.
    .. [2] Y. Geifman, G. Uziel, R. El-Yaniv. Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers.
       ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import risk_coverage
    >>> p_mel = np.array([0.95, 0.9, 0.85, 0.2, 0.6])
    >>> answers = risk_coverage(["mel", "mel", "mel", "nv", "nv"], np.c_[p_mel, 1 - p_mel], coverages=(1.0, 0.8))
    >>> answers.at[["error", "threshold", "n_answered"]]
              error  threshold  n_answered
    coverage
    1.0         0.2        0.6           5
    0.8         0.0        0.8           4
    >>> answers.summary.loc["aurc", "estimate"].round(3)  # (0 + 0 + 0 + 0 + 1 / 5) / 5
    np.float64(0.04)
    """
    data = check_predictions(y_true, y_proba, labels, groups)
    check_settings(n_draws, confidence)
    shares = _check_coverages(coverages)
    lesions = data.sort_into_patterns()
    ranked = _Ranked.of(data, lesions)
    grid = np.arange(1, CURVE_POINTS + 1) / CURVE_POINTS
    wanted = np.concatenate([grid, shares])
    errors, areas = ranked.measure(lesions.multiplicity[:, None], wanted)
    drawn = [ranked.measure(weights, wanted) for weights in draw_weights(lesions, n_draws, random_state)]
    low, high = percentile_interval(np.vstack([part for part, _ in drawn]), confidence)
    area_low, area_high = percentile_interval(np.vstack([part for _, part in drawn]), confidence)
    n_wrong = float((~data.right).sum())
    ideal = np.maximum(0, grid - (1 - n_wrong / data.n_images)) / grid
    points = slice(None, grid.size)
    at, classes = _answered(data, shares)
    asked = {"error": errors[0, grid.size :], "low": low[grid.size :], "high": high[grid.size :]}
    return RiskCoverage(
        curve=pd.DataFrame(
            {
                "coverage": grid,
                "error": errors[0, points],
                "low": low[points],
                "high": high[points],
                "ideal": ideal,
            }
        ),
        summary=pd.DataFrame({"estimate": areas[0], "low": area_low, "high": area_high}, index=pd.Index(AREAS)),
        at=pd.DataFrame(asked, index=at.index).join(at),
        classes=classes,
        n_images=data.n_images,
        n_lesions=data.n_lesions,
        by_group=data.by_group,
        confidence=confidence,
    )


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Runs of images of equal confidence, from the surest on: what lesions of each pattern have in each run.

    Both are sparse, of shape ``(n_runs, n_patterns)``: images, and how many of them are wrong.
    """

    images: Any
    wrong: Any

    @classmethod
    def of(cls, data: Predictions, lesions: Lesions) -> _Ranked:
        run = np.unique(-data.confidence, return_inverse=True)[1]
        rows = np.arange(data.n_images)
        in_run = sparse.csr_array((np.ones(rows.size), (run, rows)), shape=(run.max() + 1, rows.size))
        is_wrong = sparse.csr_array(((~data.right).astype(np.float64), (run, rows)), shape=in_run.shape)
        return cls(in_run @ lesions.members, is_wrong @ lesions.members)

    def measure(self, weights: FloatArray, coverages: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Compute errors at coverages, and areas, of samples of lesions.

        Parameters
        ----------
        weights : ndarray of float64, shape (n_patterns, n_samples)
            Whole numbers: how many lesions of each pattern each sample holds.
        coverages : ndarray of float64, shape (n_coverages,)
            Above 0, up to 1.

        Returns
        -------
        errors : ndarray of float64, shape (n_samples, n_coverages)
        areas : ndarray of float64, shape (n_samples, 3)
            In the order of `AREAS`.
        """
        count, wrong = self.images @ weights, self.wrong @ weights
        answered, missed = count.cumsum(axis=0), wrong.cumsum(axis=0)
        n, n_wrong = answered[-1], missed[-1]
        # The sum of 1 / i up to each i turns a run into two look-ups.
        harmonic = np.r_[0, np.cumsum(1 / np.arange(1, n.max() + 1))]
        sums = harmonic[np.vstack([np.zeros_like(n), answered]).astype(np.intp)]
        # An image at place i of a run adds (errors before the run + its share of those in the run) / i.
        base = missed - wrong - wrong / np.maximum(count, 1) * (answered - count)
        area = (wrong + base * np.diff(sums, axis=0)).sum(axis=0) / n
        right = n - n_wrong
        ideal = (n_wrong - right * (sums[-1] - harmonic[right.astype(np.intp)])) / n
        errors = np.empty((n.size, coverages.size))
        for sample in range(n.size):
            target = coverages * n[sample]
            errors[sample] = np.interp(target, answered[:, sample], missed[:, sample], left=np.nan) / target
            first = target < answered[0, sample]
            errors[sample, first] = wrong[0, sample] / max(count[0, sample], 1)
        return errors, np.column_stack([area, ideal, area - ideal])


def _answered(data: Predictions, coverages: FloatArray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Describe what is answered at each coverage, as a whole and of each class."""
    falling = np.sort(data.confidence)[::-1]
    n_classes = data.classes.size
    support = np.bincount(data.truth, minlength=n_classes)
    at, classes = [], []
    for coverage in coverages:
        # A rounding error must not turn 80 % of ten images into nine.
        n_wanted = max(1, math.ceil(coverage * data.n_images - 1e-9))
        threshold = falling[n_wanted - 1]
        answered = data.confidence >= threshold
        of_class = np.bincount(data.truth[answered], minlength=n_classes)
        is_right = answered & data.right
        sensitivity = divide(np.bincount(data.truth[is_right], minlength=n_classes), of_class)
        at.append((threshold, int(answered.sum()), float(mean_of_defined(sensitivity))))
        classes.append(
            pd.DataFrame(
                {"n_answered": of_class, "answered": divide(of_class, support), "sensitivity": sensitivity},
                index=pd.MultiIndex.from_product([[coverage], data.classes.tolist()], names=["coverage", "class"]),
            )
        )
    columns = ["threshold", "n_answered", "balanced_accuracy"]
    return pd.DataFrame(at, index=pd.Index(coverages, name="coverage"), columns=columns), pd.concat(classes)


def _check_coverages(coverages: Sequence[float]) -> FloatArray:
    shares = np.asarray(coverages, dtype=np.float64)
    if shares.ndim != 1 or shares.size == 0 or not ((shares > 0) & (shares <= 1)).all():
        raise ValueError(
            f"coverages must be shares of images above 0 and up to 1, such as (1.0, 0.8); got {coverages!r}."
        )
    if np.unique(shares).size != shares.size:
        raise ValueError(f"coverages names a share twice: {shares.tolist()}.")
    return shares
