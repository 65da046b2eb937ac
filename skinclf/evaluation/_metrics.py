"""The figures of a classification: one row for each class, and their means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf.evaluation import _confusion, _curves
from skinclf.evaluation._cases import Cases, read_cases
from skinclf.evaluation._confusion import FloatArray, divide, mean_of_defined
from skinclf.evaluation._curves import Ranking


@dataclass(frozen=True, eq=False, repr=False)
class ClassificationMetrics:
    """The figures of a classification; see `classification_metrics`, which makes it.

    Attributes
    ----------
    per_class : DataFrame
        A row for each class, indexed by label. Columns ``sensitivity``, ``specificity``, ``ppv``, ``npv``,
        ``f1`` and, with `y_proba`, ``roc_auc``, ``average_precision`` and ``auc_above_80`` (one class against
        the rest): float64, 0–1, NaN where not defined. Column ``support``: int64, how many images are of the
        class.
    averages : DataFrame
        The same columns; row ``"macro"`` holds the plain means over the classes, row ``"weighted"`` the means
        weighted by support, both over those classes that have a value. ``support`` is the number of images.
    accuracy, balanced_accuracy : float
        Share of right images, and mean sensitivity of the classes that have images, both 0–1.
    confusion : ndarray of int64, shape (n_classes, n_classes)
        Counts; rows are the truth, columns the prediction. Undecided images are in no column.
    labels : ndarray of shape (n_classes,)
        The classes, in the order of all of the above.
    undecided : ndarray of int64, shape (n_classes,)
        Images of each true class that were given no class, as their largest score is that of several classes. All
        0 where predicted labels were passed.
    """

    per_class: pd.DataFrame
    averages: pd.DataFrame
    accuracy: float
    balanced_accuracy: float
    confusion: NDArray[np.int64]
    labels: NDArray[Any]
    undecided: NDArray[np.int64]

    @property
    def n_images(self) -> int:
        """Number of images, undecided ones included."""
        return int(self.confusion.sum() + self.undecided.sum())

    def to_frame(self) -> pd.DataFrame:
        """Return the classes and their means as one table.

        Returns
        -------
        DataFrame
            `per_class`, its labels as text, and below it the rows ``"macro"`` and ``"weighted"`` of `averages`.
        """
        classes = self.per_class.rename(index=str)
        return pd.concat([classes, self.averages])

    def __repr__(self) -> str:
        return (
            f"ClassificationMetrics(balanced_accuracy={self.balanced_accuracy:.3f}, accuracy={self.accuracy:.3f}, "
            f"n_classes={self.labels.size}, n_images={self.n_images})"
        )


def classification_metrics(
    y_true: Any, y_pred: Any = None, *, y_proba: Any = None, labels: Any = None
) -> ClassificationMetrics:
    """Compute what a clinical reader asks of a classifier, for each class and on average.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_pred : array-like of shape (n_images,), default=None
        The predicted labels. None: the class of the largest score in `y_proba`. An image of which several classes
        share the largest score is *undecided*: it counts as an image of its class, and as wrong.
    y_proba : array-like of float, shape (n_images, n_classes), default=None
        Scores of the classes, such as ``predict_proba`` gives; the columns are in the order of `labels`. With
        `y_pred`, only their order within a column matters.
    labels : array-like of shape (n_classes,), default=None
        The classes, such as ``classes_``. None: all that occur in `y_true` or `y_pred`, sorted.

    Returns
    -------
    ClassificationMetrics
        ``per_class``, ``averages``, ``accuracy``, ``balanced_accuracy``, ``confusion``, ``labels``,
        ``undecided``.

    Raises
    ------
    ValueError
        If a label is missing or not among `labels`, lengths differ, `y_proba` has another shape or is not finite,
        or there is neither `y_pred` nor `y_proba`.

    See Also
    --------
    bootstrap_table : The same figures with their intervals.
    isic_challenge_scores : The table that the challenge's own scorer prints, to compare with its leaderboard.
    null_models : What a model scores that never looks at an image.

    Notes
    -----
    A value that would be 0 / 0 is NaN and takes no part in the means: the sensitivity and the ROC AUC of a
    class without images, the PPV of a class that is never predicted. Sensitivity is called recall elsewhere,
    PPV (positive predictive value) precision.

    Balanced accuracy is the metric of the ISIC 2018 challenge [1]_. Without `y_pred` it is what the challenge's
    scorer computes [2]_: there, too, a tie of the largest probability is undecided, that is, wrong. ``roc_auc``,
    ``average_precision`` and ``auc_above_80`` are that scorer's in any case; the last is the area under the ROC
    curve to the right of where it reaches a sensitivity of 80 %, which is 1 for a perfect ranking and 0.18 for
    chance. An undecided image is a negative answer for every class: right for the specificity of classes that it
    is not of.

    Sensitivity, specificity, PPV, NPV and F1 are of the predicted classes here. The challenge's scorer takes every
    class by itself instead, as predicted where its probability is above 0.5: see `isic_challenge_scores`.

    References
    ----------
    .. [1] N. Codella et al. Skin Lesion Analysis Toward Melanoma Detection 2018: A Challenge Hosted by the
       International Skin Imaging Collaboration (ISIC). arXiv:1902.03368, 2019.
    .. [2] ISIC Challenge Scoring, ``metrics.py`` and ``classification.py``.
       https://github.com/ImageMarkup/isic-challenge-scoring

    Examples
    --------
    >>> from skinclf.evaluation import classification_metrics
    >>> metrics = classification_metrics(["mel", "nv", "nv", "nv"], ["mel", "mel", "nv", "nv"])
    >>> metrics
    ClassificationMetrics(balanced_accuracy=0.833, accuracy=0.750, n_classes=2, n_images=4)
    >>> metrics.per_class.round(3)
         sensitivity  specificity  ppv  npv   f1  support
    mel        1.000        0.667  0.5  1.0  0.667        1
    nv         0.667        1.000  1.0  0.5  0.800        3

    The second image is undecided between the two classes:

    >>> proba = [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.1, 0.9]]
    >>> metrics = classification_metrics(["mel", "nv", "nv", "nv"], y_proba=proba)
    >>> metrics.accuracy, metrics.undecided.tolist(), metrics.confusion.tolist()
    (0.75, [0, 1], [[1, 0], [0, 2]])
    """
    cases = read_cases(y_true, y_pred, y_proba, labels)
    k = cases.classes.size
    matrix = cases.confusion()
    columns = {name: measure(matrix) for name, measure in _confusion.PER_CLASS.items()}
    if cases.scores is not None:
        columns |= _rank_classes(cases, cases.scores)
    counts = _confusion.support(matrix)
    per_class = pd.DataFrame({**columns, "support": counts}, index=pd.Index(cases.classes))
    means = {
        name: [float(mean_of_defined(values)), _weighted_mean(values, counts)] for name, values in columns.items()
    }
    averages = pd.DataFrame({**means, "support": int(counts.sum())}, index=pd.Index(["macro", "weighted"]))
    return ClassificationMetrics(
        per_class=per_class,
        averages=averages,
        accuracy=float(_confusion.accuracy(matrix)),
        balanced_accuracy=float(_confusion.balanced_accuracy(matrix)),
        confusion=matrix[:, :k],
        labels=cases.classes,
        undecided=matrix[:, k:].sum(axis=1),
    )


def _weighted_mean(values: FloatArray, weights: NDArray[np.int64]) -> float:
    defined = ~np.isnan(values)
    return float(divide(np.sum(values[defined] * weights[defined]), np.sum(weights[defined])))


def _rank_classes(cases: Cases, scores: FloatArray) -> dict[str, FloatArray]:
    """Return the figures of the ranking by each class's score, of shape (n_classes,) each."""
    once = np.ones((cases.truth.size, 1))
    ranked = [
        Ranking(cases.truth == position, scores[:, position]).measure(once).figures()
        for position in range(cases.classes.size)
    ]
    return {name: np.concatenate([values[name] for values in ranked]) for name in _curves.FIGURES}
