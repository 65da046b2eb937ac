"""Whether one model is better than another on the same images."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinclf._random import RandomStateLike
from skinclf.evaluation._cases import Cases, read_cases
from skinclf.evaluation._confusion import as_labels
from skinclf.evaluation._figures import Figures
from skinclf.evaluation._intervals import Metric, check_settings, contents_of, measure_of, resolve_name
from skinclf.evaluation._resampling import draw_weights, sort_into_patterns


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the same images; see `compare_models`, which makes it.

    Attributes
    ----------
    metric : str
        Name of the figure.
    a, b : float
        Its value for each model.
    difference : float
        ``a - b``.
    low, high : float
        Ends of the interval of the difference; NaN if it was not defined in any draw.
    p_value : float
        Probability, 0–1, of a difference at least as far from 0 if the models were equally good.
    confidence : float
        Share of the draws in the interval, such as 0.95.
    n_draws, n_undefined : int
        Bootstrap draws, and how many of them were left out as the difference was not defined in them.
    n_groups, n_images : int
        Resampled units (lesions; images if no groups were given), and images.
    by_group : bool
        Whether groups were resampled.
    method : str
        ``"bootstrap"``; ``"no difference"`` if all draws gave 0, so that there is nothing to estimate a spread
        from; ``"undefined"``.
    """

    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    confidence: float
    n_draws: int
    n_undefined: int
    n_groups: int
    n_images: int
    by_group: bool
    method: str

    def __str__(self) -> str:
        return (
            f"{self.metric}: {self.a:.3f} - {self.b:.3f} = {self.difference:+.3f} ({self.confidence * 100:g} % CI "
            f"{self.low:+.3f} to {self.high:+.3f}, p = {self.p_value:.2g})"
        )


def compare_models(
    y_true: Any,
    a: Any,
    b: Any,
    *,
    groups: Any = None,
    metric: Metric = "balanced_accuracy",
    labels: Any = None,
    n_draws: int = 2000,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> ModelComparison:
    """Compare two models by what they say of the same images.

    Both meet the same lesions in every bootstrap draw. What makes an image hard for both models then cancels, and
    the interval of the difference is narrower than those of the two figures make one think.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    a, b : array-like of shape (n_images,) or (n_images, n_classes)
        What each model says of the images, row by row the same: predicted labels, or probabilities with columns in
        the order of `labels`, of which the largest decides (a tie is wrong). Both in the same form.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: every image is drawn by itself.
    metric : str or callable, default="balanced_accuracy"
        As in `bootstrap_ci`. Figures of rankings, such as ``"roc_auc:mel"``, need probabilities.
    labels : array-like of shape (n_classes,), default=None
        The classes. None: all that occur, sorted; with probabilities, all that occur in `y_true`.
    n_draws : int, default=2000
        Bootstrap draws.
    confidence : float, default=0.95
        Share of the draws inside the interval, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Seeds the draws; the same integer gives the same result whatever the order of the rows.

    Returns
    -------
    ModelComparison
        ``difference``, ``low``, ``high``, ``p_value`` and what they rest on.

    Raises
    ------
    ValueError
        If `a` and `b` are not of the same images: other lengths, other forms, or a pandas index that differs. And
        as in `bootstrap_ci`.

    See Also
    --------
    bootstrap_ci : The interval of one model's figure.

    Notes
    -----
    The p-value is twice the share of the draws on the far side of 0, one draw added to each count, so that it is
    never 0 [1]_; it is below 0.05 where the 95 % interval leaves 0 out. It is of this pair of trained models, and
    says nothing of how the next training runs would compare. Of twenty comparisons one is below 0.05 by chance.

    References
    ----------
    .. [1] A. C. Davison, D. V. Hinkley. Bootstrap Methods and their Application. Cambridge University Press, 1997,
       chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import compare_models
    >>> y_true = np.repeat(["mel", "nv"], [50, 150])
    >>> a = np.where(np.arange(200) % 10 == 0, "mel", y_true)  # a tenth of the nevi are taken for melanoma
    >>> b = np.where(np.arange(200) % 4 == 0, "nv", a)  # and a quarter of the melanomas missed
    >>> comparison = compare_models(y_true, a, b)
    >>> round(comparison.difference, 3), comparison.low > 0, comparison.p_value < 0.01
    (0.107, True, True)
    """
    check_settings(n_draws, confidence)
    _check_paired(y_true, a, b)
    cases = _read_models(y_true, a, b, labels)
    name = None if callable(metric) else resolve_name(metric, cases[0])
    measure = measure_of(metric, name)
    contents = np.hstack([contents_of(cases[0]), contents_of(cases[1])[:, 1:]])
    lesions = sort_into_patterns(contents, groups)
    models = [Figures(case, lesions.members) for case in cases]
    estimates = [float(measure(model.draw(lesions.multiplicity[:, None]))[0]) for model in models]
    drawn = []
    for weights in draw_weights(lesions, n_draws, random_state):
        of_a, of_b = (measure(model.draw(weights)) for model in models)
        drawn.append(of_a - of_b)
    differences = np.concatenate(drawn)
    defined = differences[~np.isnan(differences)]
    low, high, p_value, method = np.nan, np.nan, np.nan, "undefined"
    if defined.size and not np.isnan(estimates).any():
        tail = (1 - confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        beyond = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
        p_value = min(1.0, 2 * (beyond + 1) / (defined.size + 1))
        method = "bootstrap" if defined.any() else "no difference"
    return ModelComparison(
        metric=getattr(metric, "__name__", type(metric).__name__) if name is None else str(name),
        a=estimates[0],
        b=estimates[1],
        difference=estimates[0] - estimates[1],
        low=float(low),
        high=float(high),
        p_value=float(p_value),
        confidence=confidence,
        n_draws=n_draws,
        n_undefined=n_draws - int(defined.size),
        n_groups=lesions.n_groups,
        n_images=lesions.n_images,
        by_group=lesions.by_group,
        method=method,
    )


def _check_paired(y_true: Any, a: Any, b: Any) -> None:
    """Refuse predictions of which row i is not of image i in both models, as far as one can tell."""
    lengths = [len(values) for values in (y_true, a, b)]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"y_true, a and b must be of the same images, row by row; they have {lengths[0]}, {lengths[1]} and "
            f"{lengths[2]} rows. Models that were tested on other images cannot be compared in pairs."
        )
    arguments = {"y_true": y_true, "a": a, "b": b}
    frames = {name: given for name, given in arguments.items() if isinstance(given, pd.Series | pd.DataFrame)}
    for (first, one), (name, other) in itertools.pairwise(frames.items()):
        if not other.index.equals(one.index):
            row = int(np.argmax(np.asarray(other.index) != np.asarray(one.index)))
            raise ValueError(
                f"{first} and {name} must be of the same images in the same order; in row {row} the index of "
                f"{first} is {one.index[row]!r} and that of {name} {other.index[row]!r}. Bring both in the same "
                f"order first: {name}.reindex({first}.index)."
            )
    if np.ndim(a) != np.ndim(b):
        raise ValueError(
            f"a and b must both be labels, or both probabilities; got shapes {np.shape(a)} and {np.shape(b)}."
        )


def _read_models(y_true: Any, a: Any, b: Any, labels: Any) -> tuple[Cases, Cases]:
    if np.ndim(a) == 2 and np.shape(a)[1] > 1:
        return read_cases(y_true, None, a, labels), read_cases(y_true, None, b, labels)
    if labels is None:
        labels = np.unique(np.concatenate([as_labels(y, n) for n, y in (("y_true", y_true), ("a", a), ("b", b))]))
    return read_cases(y_true, a, None, labels), read_cases(y_true, b, None, labels)
