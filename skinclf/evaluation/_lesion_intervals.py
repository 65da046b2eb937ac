"""Ends of intervals: of shares of images, and of bootstrap draws."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from skinclf.evaluation._confusion import FloatArray, divide


def clustered_proportion(
    hits: FloatArray, counts: FloatArray, confidence: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimate shares of images, with Wilson intervals for as many images as the lesions are worth.

    A bootstrap draws from what was seen: of five melanomas that were all found it says 100 % to 100 %. Wilson's
    interval does not, and takes photos of one lesion into account by an effective number of images [1]_: that of
    independent images with which the share would be as uncertain as it is with lesions of several.

    Parameters
    ----------
    hits, counts : ndarray of float64, shape (n_lesions, n_shares)
        Images of each lesion that are hits, and that are counted at all.
    confidence : float
        Of the intervals, such as 0.95.

    Returns
    -------
    share, low, high : ndarray of float64, shape (n_shares,)
        0–1; NaN where no image is counted.

    References
    ----------
    .. [1] E. L. Korn, B. I. Graubard. Confidence intervals for proportions with small expected number of positive
       counts estimated from survey data. Survey Methodology 24, 193–201, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation._lesion_intervals import clustered_proportion
    >>> five = np.ones((5, 1))
    >>> share, low, high = clustered_proportion(five, five, 0.95)
    >>> (share.item(), round(low.item(), 3), high.item())
    (1.0, 0.566, 1.0)
    """
    n_images, n_lesions = counts.sum(axis=0), (counts > 0).sum(axis=0)
    share = divide(hits.sum(axis=0), n_images)
    residuals = hits - np.nan_to_num(share) * counts
    correction = divide(n_lesions, n_lesions - 1)
    variance = correction * divide((residuals**2).sum(axis=0), n_images**2)
    worth = divide(share * (1 - share), variance)
    # All hits, or none: nothing says how alike photos of a lesion are, so that each lesion counts once.
    n = np.where(np.isfinite(worth) & (worth > 0), np.minimum(worth, n_images), n_lesions).astype(np.float64)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    scale = 1 + divide(z**2, n)
    middle = (share + divide(z**2, 2 * n)) / scale
    half = z / scale * np.sqrt(divide(share * (1 - share), n) + divide(z**2, 4 * n**2))
    return share, np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)


def percentile_interval(draws: FloatArray, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Return both ends of the middle share of draws, shape ``(n_draws, n_figures)``; NaN without any draw."""
    ends = np.full((2, draws.shape[1]), np.nan)
    some = ~np.isnan(draws).all(axis=0)
    tail = (1 - confidence) / 2
    ends[:, some] = np.nanquantile(draws[:, some], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]
