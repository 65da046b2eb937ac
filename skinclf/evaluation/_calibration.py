"""Whether probabilities are what they say: calibration errors, Brier score, reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import FloatArray
from skinclf.evaluation._intervals import check_settings
from skinclf.evaluation._lesion_intervals import clustered_proportion, percentile_interval
from skinclf.evaluation._probabilities import SMALLEST, Predictions, check_predictions
from skinclf.evaluation._resampling import draw_weights

Binning: TypeAlias = Literal["equal_mass", "equal_width"]

MEANS = ("brier", "log_loss", "overconfidence")
"""The figures that are plain means over images, and need no bins."""


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationMetrics:
    """How far probabilities can be taken at their word; see `calibration_metrics`, which makes it.

    Attributes
    ----------
    summary : DataFrame
        Rows ``ece``, ``classwise_ece``, ``brier``, ``log_loss``, ``overconfidence``. Columns, float64:
        ``estimate``, the figure as it is defined; ``debiased``, without what chance adds to it; ``low`` and
        ``high``, an interval for the debiased figure, over lesions; ``if_calibrated`` and ``if_calibrated_high``,
        what a perfectly calibrated model would show on as many lesions, on average and at most (in the share
        `confidence` of samples). The last two are NaN for the figures without bins, which chance does not push
        up.
    per_class : DataFrame
        A row for each class, indexed by label: ``mean_predicted`` and ``share``, what the model expects of the
        class and what there is of it, 0–1; the columns of `summary` for the calibration error of the class
        against the rest; ``brier`` of the class against the rest, 0–1; ``n_images`` of the class.
    bins : DataFrame
        The reliability diagram of the predicted class, a row for each bin that holds images: ``lower`` and
        ``upper`` edge (the upper belongs to the bin), ``n_images``, ``n_lesions``, ``predicted`` (mean
        probability), ``observed`` (share that is right), ``low`` and ``high`` (interval for it).
    class_bins : DataFrame
        The same for each class against the rest, with the label in the column ``class``.
    labels : ndarray of shape (n_classes,)
        The classes.
    n_images, n_lesions : int
        What all of it rests on; lesions are images if no groups were given.
    by_group : bool
        Whether groups were given.
    n_bins : int
        Bins that were asked for.
    binning : {"equal_mass", "equal_width"}
        How they were cut.
    confidence : float
        Of all intervals.
    """

    summary: pd.DataFrame
    per_class: pd.DataFrame
    bins: pd.DataFrame
    class_bins: pd.DataFrame
    labels: NDArray[Any]
    n_images: int
    n_lesions: int
    by_group: bool
    n_bins: int
    binning: Binning
    confidence: float

    def __repr__(self) -> str:
        estimate = self.summary["estimate"]
        return (
            f"CalibrationMetrics(ece={estimate['ece']:.3f}, classwise_ece={estimate['classwise_ece']:.3f}, "
            f"brier={estimate['brier']:.3f}, {self.n_bins} bins of {self.binning.replace('_', ' ')}, "
            f"{self.n_images:,} images, {self.n_lesions:,} lesions)"
        )


def calibration_metrics(
    y_true: Any,
    y_proba: Any,
    *,
    labels: Any = None,
    groups: Any = None,
    n_bins: int = 15,
    binning: Binning = "equal_mass",
    n_draws: int = 2000,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> CalibrationMetrics:
    """Measure whether of all images that are given a probability of 0.8 about 80 % are of the class.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_proba : array-like of float, shape (n_images, n_classes)
        Probabilities of images that the model was not trained on, and no temperature was fitted on.
    labels : array-like of shape (n_classes,), default=None
        The classes in the order of the columns, such as ``classes_``. None: all that occur in `y_true`, sorted.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: every image counts as a lesion of its own.
    n_bins : int, default=15
        Bins of the calibration errors and of the reliability diagram.
    binning : {"equal_mass", "equal_width"}, default="equal_mass"
        Bins with as many images each as equal probabilities allow, or bins that divide 0–1 evenly.
    n_draws : int, default=2000
        Bootstrap draws of lesions.
    confidence : float, default=0.95
        Of the intervals, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Seeds the draws.

    Returns
    -------
    CalibrationMetrics
        ``summary``, ``per_class``, ``bins``, ``class_bins``.

    Raises
    ------
    ValueError
        If labels, groups or probabilities are missing, do not match or are no distribution, or a setting is out
        of range.

    See Also
    --------
    fit_temperature : What often mends it.
    skinclf.reporting.ReliabilityDisplay : Draws it.

    Notes
    -----
    The *expected calibration error* ``ece`` [1]_ looks at the predicted class: images are sorted into bins by its
    probability, and the gaps between mean probability and share of right answers are averaged, weighted by images.
    ``classwise_ece`` [2]_ does the same for every class against the rest, and is the mean over the classes: a
    model that is overconfident of melanoma only shows there. The *Brier score* [3]_ is the mean over images of the
    squared differences between probabilities and truth (1 for the true class, 0 for the others), summed over
    classes: 0 is perfect, 2 is certain and wrong. ``log_loss`` is in nats; probabilities below 2.2e-16 are raised
    to it. ``overconfidence`` is the mean probability of the predicted class minus the accuracy.

    Both calibration errors are means of absolute values, so that chance can only add to them, the more the finer
    the bins and the fewer the lesions: a perfectly calibrated model does not score 0 (``if_calibrated`` says what
    it would score). ``debiased`` subtracts what the bootstrap adds once more [4]_, and is 0 if that is more than
    there is; the interval is the basic bootstrap interval, and begins at 0 unless ``estimate`` exceeds
    ``if_calibrated_high``. The usual interval, between percentiles of the draws, lies above the true value of a
    model that is calibrated. This one is approximate: with some hundreds of lesions, and an error of a few
    hundredths, it holds the true value less often than it says. Bins are cut once, from all images. Intervals of
    single bins are Wilson intervals with as many images as the lesions are worth.

    Figures with other bins, or of other data, are not comparable: state them together.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On Calibration of Modern Neural Networks. ICML 2017.
    .. [2] M. Kull et al. Beyond temperature scaling: Obtaining well-calibrated multiclass probabilities with
       Dirichlet calibration. NeurIPS 2019.
    .. [3] G. W. Brier. Verification of forecasts expressed in terms of probability. Monthly Weather Review 78,
       1–3, 1950.
    .. [4] B. Efron, R. J. Tibshirani. An Introduction to the Bootstrap. Chapman & Hall, 1993, chapter 10.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import calibration_metrics
    >>> y_true = ["mel"] * 6 + ["nv"] * 4  # six of ten that were called mel are mel
    >>> y_proba = np.tile([0.9, 0.1], (10, 1))  # and the model said 0.9
    >>> calibration = calibration_metrics(y_true, y_proba)
    >>> calibration
    CalibrationMetrics(ece=0.300, classwise_ece=0.300, brier=0.660, 15 bins of equal mass, 10 images, 10 lesions)
    >>> calibration.bins[["n_images", "predicted", "observed"]]
       n_images  predicted  observed
    0        10        0.9       0.6
    """
    data = check_predictions(y_true, y_proba, labels, groups)
    check_settings(n_draws, confidence)
    _check_bins(n_bins, binning)
    n_classes = data.classes.size
    is_class = data.truth[:, None] == np.arange(n_classes)
    targets = [(data.confidence, data.right)]
    targets += [(data.proba[:, k], is_class[:, k]) for k in range(n_classes)]
    curves = [_Curve.of(p, hit, n_bins, binning) for p, hit in targets]
    means = np.column_stack(
        [
            ((data.proba - is_class) ** 2).sum(axis=1),
            -np.log(np.maximum(data.proba[is_class], SMALLEST)),
            data.confidence - data.right,
        ]
    )
    table = _bootstrap(curves, means, data, n_draws, confidence, random_state)
    per_class = pd.DataFrame(
        {
            "mean_predicted": data.proba.mean(axis=0),
            "share": is_class.mean(axis=0),
            **{name: table[name].to_numpy()[len(MEANS) + 2 :] for name in table.columns},
            "brier": ((data.proba - is_class) ** 2).mean(axis=0),
            "n_images": is_class.sum(axis=0),
        },
        index=pd.Index(data.classes),
    )
    class_bins = [
        curve.frame(data, confidence).assign(**{"class": label})
        for label, curve in zip(data.classes.tolist(), curves[1:], strict=True)
    ]
    together = pd.concat(class_bins, ignore_index=True)
    return CalibrationMetrics(
        summary=table.iloc[: len(MEANS) + 2],
        per_class=per_class,
        bins=curves[0].frame(data, confidence),
        class_bins=together[["class", *together.columns.drop("class")]],
        labels=data.classes,
        n_images=data.n_images,
        n_lesions=data.n_lesions,
        by_group=data.by_group,
        n_bins=n_bins,
        binning=binning,
        confidence=confidence,
    )


@dataclass(frozen=True, eq=False)
class _Curve:
    """One reliability curve: which of the bins each image is in, its probability, and whether it is a hit."""

    edges: FloatArray
    bins: NDArray[np.intp]
    proba: FloatArray
    hit: NDArray[np.bool_]

    @classmethod
    def of(cls, proba: FloatArray, hit: NDArray[np.bool_], n_bins: int, binning: Binning) -> _Curve:
        steps = np.linspace(0, 1, n_bins + 1)
        edges = steps if binning == "equal_width" else np.unique(np.quantile(proba, steps))
        if edges.size == 1:  # all probabilities are equal
            edges = np.repeat(edges, 2)
        # Inner edges only: equal probabilities stay together, and the lowest value is in the first bin.
        inside = np.searchsorted(edges[1:-1], proba, side="left")
        filled, bins = np.unique(inside, return_inverse=True)
        return cls(np.stack([edges[filled], edges[filled + 1]]), bins, proba, hit)

    @property
    def n_bins(self) -> int:
        return int(self.edges.shape[1])

    def gaps(self) -> Any:
        """Return probability minus hit of each image in the column of its bin: sparse, (n_images, n_bins)."""
        rows = np.arange(self.bins.size)
        return sparse.csr_array((self.proba - self.hit, (rows, self.bins)), shape=(rows.size, self.n_bins))

    def frame(self, data: Predictions, confidence: float) -> pd.DataFrame:
        cells = data.lesion * self.n_bins + self.bins

        def sum_by_lesion(values: Any) -> FloatArray:
            sums = np.bincount(cells, weights=values, minlength=data.n_lesions * self.n_bins)
            return sums.reshape(data.n_lesions, self.n_bins).astype(np.float64)

        counts = sum_by_lesion(None)
        n_images = counts.sum(axis=0)
        observed, low, high = clustered_proportion(sum_by_lesion(self.hit), counts, confidence)
        return pd.DataFrame(
            {
                "lower": self.edges[0],
                "upper": self.edges[1],
                "n_images": n_images.astype(np.int64),
                "n_lesions": (counts > 0).sum(axis=0),
                "predicted": np.bincount(self.bins, weights=self.proba) / n_images,
                "observed": observed,
                "low": low,
                "high": high,
            }
        )


def _bootstrap(
    curves: Sequence[_Curve],
    means: FloatArray,
    data: Predictions,
    n_draws: int,
    confidence: float,
    random_state: RandomStateLike,
) -> pd.DataFrame:
    """Make the columns of `CalibrationMetrics.summary` for ``ece``, ``classwise_ece``, `MEANS` and each class."""
    # Which bins make which figure: those of the predicted class, those of all classes, those of each class.
    owner = np.repeat(np.arange(len(curves)), [curve.n_bins for curve in curves])
    of_figure = (owner[:, None] == np.arange(len(curves))).astype(np.float64)
    of_figure = np.insert(of_figure, 1, (owner > 0) / data.classes.size, axis=1)
    lesions = data.sort_into_patterns()
    images = np.hstack([np.ones((data.n_images, 1)), means])
    parts = [images, *(curve.gaps().toarray() for curve in curves)]
    sums = np.hstack([lesions.members.T @ part for part in parts])  # of each pattern of lesions

    def average(weights: FloatArray) -> FloatArray:
        totals: FloatArray = weights.T @ sums
        return totals[:, 1:] / totals[:, :1]

    n_means = means.shape[1]
    as_is = average(lesions.multiplicity[:, None])[0]
    drawn = np.concatenate([average(weights) for weights in draw_weights(lesions, n_draws, random_state)])
    error = np.abs(as_is[n_means:]) @ of_figure
    drawn_errors = np.abs(drawn[:, n_means:]) @ of_figure
    null = np.abs(drawn[:, n_means:] - as_is[n_means:]) @ of_figure
    null_high = np.quantile(null, confidence, axis=0)
    bottom, top = percentile_interval(drawn_errors, confidence)
    low = np.where(error > null_high, np.maximum(2 * error - top, 0), 0)
    high = np.maximum(2 * error - bottom, low)
    debiased = np.maximum(2 * error - drawn_errors.mean(axis=0), 0)
    of_errors = np.column_stack([error, debiased, low, high, null.mean(axis=0), null_high])
    ends = percentile_interval(drawn[:, :n_means], confidence)
    undefined = np.full((n_means, 2), np.nan)
    of_means = np.column_stack([as_is[:n_means], as_is[:n_means], *ends, undefined])
    columns = ["estimate", "debiased", "low", "high", "if_calibrated", "if_calibrated_high"]
    names = ["ece", "classwise_ece", *MEANS, *(str(label) for label in data.classes)]
    return pd.DataFrame(
        np.vstack([of_errors[:2], of_means, of_errors[2:]]), index=pd.Index(names), columns=columns
    )


def _check_bins(n_bins: int, binning: str) -> None:
    if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or n_bins < 1:
        raise ValueError(f"n_bins must be an integer of at least 1, such as 15; got {n_bins!r}.")
    if binning not in ("equal_mass", "equal_width"):
        raise ValueError(f"binning must be 'equal_mass' or 'equal_width'; got {binning!r}.")
