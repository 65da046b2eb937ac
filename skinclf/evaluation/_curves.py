"""Figures of a ranking, positive against negative images, of many weightings of the images at once.

The figures are those of the ISIC challenge's scorer: the area under the ROC curve, average precision, and the area
under the part of the ROC curve where the sensitivity is at least 80 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from skinclf.evaluation._confusion import FloatArray, divide

HIGH_SENSITIVITY = 0.8
"""Where ``auc_above_80`` begins: as in the ISIC challenge."""

FIGURES = ("roc_auc", "average_precision", "auc_above_80")
"""The figures of a ranking, by name."""

_EXACT_IN_FLOAT32 = 2**24


class Ranking:
    """Images in order of a score, of which only the places of the positive ones matter.

    Between two neighbouring scores of positive images the ROC curve runs level, so that negative images there
    need only be counted. Counts are sums over images, and a bootstrap draw is a weight for each *lesion*: both
    steps are one product of a sparse matrix.

    Parameters
    ----------
    is_positive : ndarray of bool, shape (n_images,)
        Which images are positive.
    scores : ndarray of float64, shape (n_images,)
        The larger, the more positive.
    members : sparse array of shape (n_images, n_weights), default=None
        How much each weight counts for each image. None: each image has a weight of its own.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (n_thresholds,)
        The different scores of positive images, from the highest. At the threshold t, images that score t or more
        are called positive.
    """

    def __init__(self, is_positive: NDArray[np.bool_], scores: FloatArray, members: Any = None) -> None:
        self.thresholds: FloatArray = np.unique(scores[is_positive])[::-1]
        m = self.thresholds.size
        place = np.searchsorted(-self.thresholds, -scores, side="left")  # thresholds above the score
        tied = np.zeros(scores.size, dtype=bool)
        inside = place < m
        tied[inside] = self.thresholds[place[inside]] == scores[inside]
        # Rows: positive images at each threshold; negative ones above it and below the one before; negative ones
        # at it; and last, negative images below all thresholds.
        row = np.where(is_positive, place, m + 2 * place + tied)
        counts = sparse.csr_array((np.ones(row.size), (row, np.arange(row.size))), shape=(3 * m + 1, row.size))
        self._counts = counts if members is None else (counts @ members).tocsr()
        if self._counts.sum() < _EXACT_IN_FLOAT32 / 64:  # halves the time; see _sums
            self._counts = self._counts.astype(np.float32)

    def measure(self, weights: FloatArray) -> RankingSums:
        """Count positive and negative images at every threshold, for each column of weights.

        Parameters
        ----------
        weights : ndarray of float64, shape (n_weights, n_draws)
            Non-negative whole numbers.

        Returns
        -------
        RankingSums
            From which the figures follow.
        """
        return RankingSums(self._sums(weights), self.thresholds.size)

    def _sums(self, weights: FloatArray) -> FloatArray:
        # float32 holds whole numbers up to 2**24: it is used only where no sum comes near.
        exact = weights.max(initial=0) < 64 and self._counts.dtype == np.float32
        sums = self._counts @ weights.astype(np.float32 if exact else np.float64)
        return np.ascontiguousarray(sums.T, dtype=np.float64)


class RankingSums:
    """Positive and negative images at every threshold, of each draw; arrays are (n_draws, n_thresholds).

    Parameters
    ----------
    sums : ndarray of float64, shape (n_draws, 3 * n_thresholds + 1)
        The counts that `Ranking.measure` makes.
    n_thresholds : int
        How many different scores the positive images have.
    """

    def __init__(self, sums: FloatArray, n_thresholds: int) -> None:
        m = n_thresholds
        self.positive = sums[:, :m]
        self.tied = sums[:, m + 1 : 3 * m : 2]  # negative images that score exactly as much
        negative = np.cumsum(sums[:, m : 3 * m : 2] + self.tied, axis=1)
        self.found = np.cumsum(self.positive, axis=1)
        self.false = negative
        self.n_positive = self.positive.sum(axis=1)
        self.n_negative = sums[:, m:].sum(axis=1)
        self.defined = (self.n_positive > 0) & (self.n_negative > 0)

    def figures(self) -> dict[str, FloatArray]:
        """Return each of `FIGURES` by name, shape (n_draws,), 0–1; NaN where one side is empty."""
        return {
            "roc_auc": self.roc_auc(),
            "average_precision": self.average_precision(),
            "auc_above_80": self.auc_above(HIGH_SENSITIVITY),
        }

    def roc_auc(self) -> FloatArray:
        """Return the share of pairs in the right order, a tie counting half."""
        wrong = _row_sums(self.positive, self.false) - 0.5 * _row_sums(self.positive, self.tied)
        return self._share(self.n_positive * self.n_negative - wrong)

    def average_precision(self) -> FloatArray:
        """Return the mean, over positive images, of the precision at the threshold of each."""
        precision = self.found / np.maximum(self.found + self.false, 1)
        return divide(_row_sums(self.positive, precision), np.where(self.defined, self.n_positive, 0))

    def auc_above(self, sensitivity: float) -> FloatArray:
        """Return the area below the ROC curve to the right of where it first reaches a sensitivity.

        The area goes down to a sensitivity of 0, and is not rescaled: 1 is perfect, and chance with a sensitivity
        of 0.8 is (1 - 0.8) * (1 + 0.8) / 2 = 0.18.
        """
        if self.thresholds_missing:
            return np.full(self.n_positive.size, np.nan)
        floor = sensitivity * self.n_positive
        rows, at = np.arange(floor.size), self._first_with(sensitivity)
        found, false = self.found[rows, at], self.false[rows, at]
        positive, tied = self.positive[rows, at], self.tied[rows, at]
        # Where several images tie the curve is straight: the floor cuts the tie into a part below and one above.
        above = divide(found - floor, positive)
        below_floor = floor * (self.n_negative - false + tied * above)
        # Positive images above the floor, as widths of strips that reach from the curve to the right.
        mass = np.clip(self.found - floor[:, None], 0, self.positive)
        wrong = _row_sums(mass, self.false) - 0.5 * _row_sums(mass, self.tied)
        wrong += 0.5 * tied * (found - floor) * (1 - above)
        return self._share(below_floor + (self.n_positive - floor) * self.n_negative - wrong)

    def sensitivity_at(self, specificity: float) -> tuple[FloatArray, NDArray[np.intp]]:
        """Return the best sensitivity with at least this specificity, and the place of its threshold (or -1)."""
        may_be_false = self.n_negative - _least_count(specificity, self.n_negative)
        place = (self.false <= may_be_false[:, None]).sum(axis=1) - 1
        rows = np.arange(place.size)
        found = np.where(place < 0, 0, self.found[rows, np.maximum(place, 0)] if self.found.size else 0)
        return divide(found, np.where(self.defined, self.n_positive, 0)), place

    def specificity_at(self, sensitivity: float) -> tuple[FloatArray, NDArray[np.intp]]:
        """Return the best specificity with at least this sensitivity, and the place of its threshold."""
        if self.thresholds_missing:
            return np.full(self.n_positive.size, np.nan), np.full(self.n_positive.size, -1)
        place = self._first_with(sensitivity)
        false = self.false[np.arange(place.size), place]
        return divide(self.n_negative - false, np.where(self.defined, self.n_negative, 0)), place

    @property
    def thresholds_missing(self) -> bool:
        """Whether no image is positive."""
        return bool(self.found.shape[1] == 0)

    def _first_with(self, sensitivity: float) -> NDArray[np.intp]:
        """Return the place of the highest threshold with at least this sensitivity."""
        wanted = _least_count(sensitivity, self.n_positive)
        last = self.found.shape[1] - 1
        place: NDArray[np.intp] = np.minimum((self.found < wanted[:, None]).sum(axis=1), last)
        return place

    def _share(self, pairs: FloatArray) -> FloatArray:
        return divide(pairs, np.where(self.defined, self.n_positive * self.n_negative, 0))


def _row_sums(a: FloatArray, b: FloatArray) -> FloatArray:
    """Sum the products of two arrays over the last axis, without an array for the products."""
    sums: FloatArray = np.einsum("ij,ij->i", a, b)
    return sums


def _least_count(share: float, counts: FloatArray) -> FloatArray:
    """Return the least whole number that is at least this share of each count, as the division rounds."""
    least = np.ceil(share * counts)
    least = np.where(divide(least - 1, counts) >= share, least - 1, least)
    return np.where(divide(least, counts) < share, least + 1, least)
