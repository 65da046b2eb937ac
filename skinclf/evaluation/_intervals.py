"""Confidence intervals by a bootstrap over lesions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skinclf._random import RandomStateLike, spawn_seeds
from skinclf.evaluation import _confusion
from skinclf.evaluation._confusion import FloatArray, encode_labels, label_pair
from skinclf.evaluation._groups import encode_groups

Metric: TypeAlias = str | Callable[[FloatArray], FloatArray]

_VALUES_AT_ONCE = 4_000_000
"""Draws are worked off in chunks, so that no array holds many more than this many values (32 MB)."""


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

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.confidence * 100:g} % CI {self.low:.3f}–{self.high:.3f})"


def bootstrap_ci(
    y_true: Any,
    y_pred: Any,
    *,
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
    [2]_.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_images,)
        True and predicted labels.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: every image is drawn by itself.
    metric : str or callable, default="balanced_accuracy"
        ``"balanced_accuracy"``, ``"accuracy"``, or a figure of one class: ``"sensitivity:mel"``, and likewise
        ``specificity``, ``ppv``, ``npv`` and ``f1``. Or a function of stacked confusion matrices, float64 of
        shape ``(n, n_classes, n_classes)`` with rows the truth, that returns n values.
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
        If labels or groups are missing or of other lengths, there is only one group, the metric is not known,
        or `n_draws` or `confidence` is out of range.

    Notes
    -----
    The interval answers for the choice of the lesions that the model was tested on, not for the training:
    another seed or another training set moves the figure further. A draw may hold no lesion of a rare class;
    balanced accuracy is then the mean over the other classes, as it is defined throughout.

    Lesions with the same confusion counts are interchangeable, so that a draw of lesions is a multinomial
    draw of these patterns: exact, and quick.

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
    """
    _check_settings(n_draws, confidence)
    truth, prediction, classes = label_pair(y_true, y_pred, labels)
    if groups is None:
        codes, n_groups = np.arange(truth.size), truth.size
    else:
        _, codes, n_groups = encode_groups(groups, truth.size)
    if n_groups < 2:
        raise ValueError("groups must name at least two lesions to draw from; all images are of one.")
    name, measure = _resolve_metric(metric, classes)
    k = classes.size
    cells = encode_labels(truth, classes) * k + encode_labels(prediction, classes)
    patterns, multiplicity, used_cells = _count_patterns(codes, cells, n_groups)

    def measure_weighted(weights: FloatArray) -> FloatArray:
        matrices = np.zeros((len(weights), k * k))
        matrices[:, used_cells] = weights @ patterns
        return _measure_stack(measure, matrices.reshape(-1, k, k), name)

    estimate = float(measure_weighted(multiplicity[None])[0])
    generator = np.random.default_rng(spawn_seeds(random_state, 1)[0])
    draws = np.empty(n_draws)
    chunk = max(1, _VALUES_AT_ONCE // max(multiplicity.size, k * k))
    for start in range(0, n_draws, chunk):
        n = min(chunk, n_draws - start)
        weights = generator.multinomial(n_groups, multiplicity / n_groups, size=n)
        draws[start : start + n] = measure_weighted(weights.astype(np.float64))
    defined = draws[~np.isnan(draws)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if defined.size else (np.nan, np.nan)
    return BootstrapInterval(
        metric=name,
        estimate=estimate,
        low=float(low),
        high=float(high),
        confidence=confidence,
        n_draws=n_draws,
        n_undefined=n_draws - defined.size,
        n_groups=n_groups,
        n_images=truth.size,
        by_group=groups is not None,
    )


def _check_settings(n_draws: int, confidence: float) -> None:
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1; got {n_draws!r}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, such as 0.95; got {confidence!r}.")


def _resolve_metric(metric: Metric, classes: NDArray[Any]) -> tuple[str, Callable[[FloatArray], FloatArray]]:
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if metric in _confusion.OVERALL:
        return metric, _confusion.OVERALL[metric]
    figure, _, label = metric.partition(":")
    positions = np.flatnonzero(classes.astype(str) == label)
    if figure not in _confusion.PER_CLASS or positions.size == 0:
        raise ValueError(
            f"metric must be a function, one of {[*_confusion.OVERALL]}, or one of {[*_confusion.PER_CLASS]} "
            f"followed by a colon and one of the classes {classes.astype(str).tolist()}; got {metric!r}."
        )
    measure, position = _confusion.PER_CLASS[figure], int(positions[0])
    return metric, lambda matrices: measure(matrices)[..., position]


def _count_patterns(
    codes: NDArray[Any], cells: NDArray[np.intp], n_groups: int
) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Sort groups into patterns of equal confusion counts.

    Returns
    -------
    patterns : ndarray of float64, shape (n_patterns, n_used)
        Images of a group of this pattern in each confusion cell that occurs at all.
    multiplicity : ndarray of float64, shape (n_patterns,)
        Groups of this pattern.
    used_cells : ndarray of intp, shape (n_used,)
        Those cells, in the flattened confusion matrix.
    """
    used_cells, cell_codes = np.unique(cells, return_inverse=True)
    flat = np.bincount(codes * used_cells.size + cell_codes, minlength=n_groups * used_cells.size)
    patterns, multiplicity = np.unique(flat.reshape(n_groups, used_cells.size), axis=0, return_counts=True)
    return patterns.astype(np.float64), multiplicity.astype(np.float64), used_cells


def _measure_stack(measure: Callable[[FloatArray], FloatArray], matrices: FloatArray, name: str) -> FloatArray:
    values = np.asarray(measure(matrices), dtype=np.float64)
    if values.shape != (len(matrices),):
        raise ValueError(
            f"The metric {name} must return one value for each of the {len(matrices)} confusion matrices; got "
            f"shape {values.shape}."
        )
    return values
