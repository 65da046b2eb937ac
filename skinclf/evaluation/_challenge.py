"""The table that the scorer of the ISIC challenge prints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skinclf.evaluation._cases import read_cases
from skinclf.evaluation._confusion import FloatArray
from skinclf.evaluation._metrics import classification_metrics

CALLED_ABOVE = 0.5
"""The challenge's scorer takes a class as predicted where its probability is larger."""


def isic_challenge_scores(y_true: Any, y_proba: Any, *, labels: Any) -> pd.DataFrame:
    """Score probabilities as the scorer of the ISIC challenge does, to compare with its leaderboards.

    It differs from `classification_metrics` in two ways. It takes each class by itself: an image is called of the
    class if the probability is above 0.5, so that some images are called nothing. And what is 0 / 0 counts as 1,
    such as the PPV of a class that is never called.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels; each class must occur, and not alone.
    y_proba : array-like of float, shape (n_images, n_classes)
        Probabilities, 0–1; the columns are in the order of `labels`.
    labels : array-like of shape (n_classes,)
        The classes, such as ``classes_``.

    Returns
    -------
    DataFrame
        A row for each class, indexed by its label as text, and ``"macro_average"``, their mean. The columns have
        the scorer's names: ``accuracy``, ``sensitivity``, ``specificity``, ``dice`` (F1), ``ppv``, ``npv``,
        ``auc``, ``auc_sens_80``, ``ap``, float64, 0–1. A column ``balanced_accuracy`` has the challenge's metric
        in the last row, and NaN in the others, where it has no meaning.

    Raises
    ------
    ValueError
        If labels or probabilities are not usable, a probability is not within 0–1, or a class has no images.

    See Also
    --------
    classification_metrics : Figures of the predicted classes; what is 0 / 0 is NaN.

    Notes
    -----
    The definitions are those of ISIC Challenge Scoring 5.6 [1]_; the code is not. ``balanced_accuracy`` is the
    mean sensitivity when the class of the largest probability is predicted, a tie being wrong. It is not the mean
    of the column ``sensitivity``.

    References
    ----------
    .. [1] ISIC Challenge Scoring, ``metrics.py`` and ``classification.py``.
       https://github.com/ImageMarkup/isic-challenge-scoring

    Examples
    --------
    >>> from skinclf.evaluation import isic_challenge_scores
    >>> y_proba = [[0.6, 0.3, 0.1], [0.4, 0.3, 0.3], [0.2, 0.7, 0.1], [0.1, 0.4, 0.5]]
    >>> scores = isic_challenge_scores(["bkl", "bkl", "mel", "nv"], y_proba, labels=["bkl", "mel", "nv"])
    >>> scores[["sensitivity", "ppv", "auc", "balanced_accuracy"]]
                   sensitivity  ppv  auc  balanced_accuracy
    bkl                    0.5  1.0  1.0                NaN
    mel                    1.0  1.0  1.0                NaN
    nv                     0.0  1.0  1.0                NaN
    macro_average          0.5  1.0  1.0                1.0
    """
    metrics = classification_metrics(y_true, y_proba=y_proba, labels=labels)
    cases = read_cases(y_true, None, y_proba, labels)
    proba = np.asarray(cases.scores)
    outside = ((proba < 0) | (proba > 1)).any(axis=1)
    if outside.any():
        rows = np.flatnonzero(outside)
        raise ValueError(
            f"y_proba must hold probabilities, 0–1; {rows.size} row(s) do not, the first of them "
            f"{rows[:5].tolist()}."
        )
    alone = np.isin(metrics.per_class["support"], [0, cases.truth.size])
    if alone.any():
        raise ValueError(
            "y_true must hold images of each of the labels, as the challenge does; "
            f"{metrics.labels[alone].tolist()} have none, or all. Use classification_metrics, which leaves "
            "undefined figures out."
        )
    is_class = cases.truth[:, None] == np.arange(metrics.labels.size)
    scores = pd.DataFrame(
        _binary_figures(is_class, proba > CALLED_ABOVE)
        | {
            "auc": metrics.per_class["roc_auc"].to_numpy(),
            "auc_sens_80": metrics.per_class["auc_above_80"].to_numpy(),
            "ap": metrics.per_class["average_precision"].to_numpy(),
        },
        index=pd.Index([str(label) for label in metrics.labels.tolist()]),
    )
    scores.loc["macro_average"] = scores.mean()
    scores["balanced_accuracy"] = [*[np.nan] * metrics.labels.size, metrics.balanced_accuracy]
    return scores


def _binary_figures(is_class: Any, is_called: Any) -> dict[str, FloatArray]:
    """Return the figures of each column as a binary decision, shape (n_classes,) each."""
    tp, fp = (is_class & is_called).sum(axis=0), (~is_class & is_called).sum(axis=0)
    fn, tn = (is_class & ~is_called).sum(axis=0), (~is_class & ~is_called).sum(axis=0)
    return {
        "accuracy": (tp + tn) / len(is_class),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "dice": _or_one(2 * tp, 2 * tp + fp + fn),
        "ppv": _or_one(tp, tp + fp),
        "npv": _or_one(tn, tn + fn),
    }


def _or_one(numerator: Any, denominator: Any) -> FloatArray:
    quotient: FloatArray = np.divide(numerator, denominator, out=np.ones(numerator.shape), where=denominator != 0)
    return quotient
