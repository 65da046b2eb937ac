"""Intervals for figures that no bootstrap draw can move: no hit at all, or nothing but hits."""

from __future__ import annotations

import math

from scipy.special import betaincinv


def has_width(low: float, high: float) -> bool:
    """Whether an interval is more than one value and the rounding of sums."""
    return high - low > 1e-9


def clopper_pearson(share: float, n: int, tail: float) -> tuple[float, float]:
    """Return the exact interval of a share.

    Parameters
    ----------
    share : float
        Hits by lesions, 0–1. Several photos of a lesion may make their number a fraction; the formula goes on to
        hold as an approximation.
    n : int
        Lesions.
    tail : float
        Probability left outside on each side, such as 0.025.

    Returns
    -------
    low, high : float
        The ends, 0–1.

    References
    ----------
    C. J. Clopper, E. S. Pearson. The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial.
    Biometrika 26, 404–413, 1934.

    Examples
    --------
    >>> from skinclf.evaluation._bounds import clopper_pearson
    >>> low, high = clopper_pearson(0.0, 10, 0.025)
    >>> low, round(high, 4)  # 1 - 0.025 ** (1 / 10)
    (0.0, 0.3085)
    """
    hits = share * n
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high


def f1_bound(f1: float, n: int, tail: float) -> tuple[float, float]:
    """Return the interval of an F1, by the exact one of the Jaccard index.

    J = TP / (TP + FP + FN) is the share of hits among the images that are, or are called, of the class; F1 is
    2 J / (1 + J), which grows with J.
    """
    low, high = clopper_pearson(f1 / (2 - f1), n, tail)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def precision_bound(auc_low: float, prevalence: float) -> float:
    """Return the least average precision that an area under the ROC curve leaves possible.

    With sensitivity t from 0 to 1, f(t) the false positive rate, p the prevalence and e = 1 - AUC, average
    precision is the integral of p t / (p t + (1 - p) f), which is smallest, among all f >= 0 with integral e,
    where its derivative by f is the same wherever f > 0: at (1 - p) f = k sqrt(t) - p t. The constant k follows
    from e.
    """
    error = 1 - auc_low
    part = math.sqrt(6 * error * (1 - prevalence) / prevalence)
    if part <= 1:
        return 1 - part / 3
    k = 1.5 * ((1 - prevalence) * error + prevalence / 2)
    return 2 * prevalence / (3 * k)


def area_above_bound(auc_low: float, sensitivity: float) -> float:
    """Return the least area above a sensitivity that an area under the whole ROC curve leaves possible.

    The false positive rate never falls with the sensitivity t. Of all such curves with an error of 1 - AUC in
    all, the one that loses most has a rate of 0 below the given sensitivity and a constant one above.
    """
    return max(0.0, 1 - (1 - auc_low) / (1 - sensitivity))
