"""The figures of a classification: one row for each class, and their means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from skinclf.evaluation import _confusion
from skinclf.evaluation._confusion import FloatArray, confusion_counts, divide, label_pair, mean_of_defined


@dataclass(frozen=True, eq=False, repr=False)
class ClassificationMetrics:
    """The figures of a classification; see `classification_metrics`, which makes it.

    Attributes
    ----------
    per_class : DataFrame
        A row for each class, indexed by label. Columns ``sensitivity``, ``specificity``, ``ppv``, ``npv``,
        ``f1`` and, with `y_proba`, ``roc_auc`` (one class against the rest): float64, 0–1, NaN where not
        defined. Column ``support``: int64, how many images are of the class.
    averages : DataFrame
        The same columns; row ``"macro"`` holds the plain means over the classes, row ``"weighted"`` the means
        weighted by support, both over those classes that have a value. ``support`` is the number of images.
    accuracy, balanced_accuracy : float
        Share of right images, and mean sensitivity of the classes that have images, both 0–1.
    confusion : ndarray of int64, shape (n_classes, n_classes)
        Counts; rows are the truth, columns the prediction.
    labels : ndarray of shape (n_classes,)
        The classes, in the order of all of the above.
    """

    per_class: pd.DataFrame
    averages: pd.DataFrame
    accuracy: float
    balanced_accuracy: float
    confusion: NDArray[np.int64]
    labels: NDArray[Any]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

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
    y_true: Any, y_pred: Any, *, y_proba: Any = None, labels: Any = None
) -> ClassificationMetrics:
    """Compute what a clinical reader asks of a classifier, for each class and on average.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_pred : array-like of shape (n_images,)
        The predicted labels.
    y_proba : array-like of float, shape (n_images, n_classes), default=None
        Scores of the classes, such as ``predict_proba`` gives; the columns are in the order of `labels`. Only
        their order within a column matters.
    labels : array-like of shape (n_classes,), default=None
        The classes, such as ``classes_``. None: all that occur in `y_true` or `y_pred`, sorted.

    Returns
    -------
    ClassificationMetrics
        ``per_class``, ``averages``, ``accuracy``, ``balanced_accuracy``, ``confusion``, ``labels``.

    Raises
    ------
    ValueError
        If a label is missing or not among `labels`, lengths differ, or `y_proba` has another shape or is not
        finite.

    See Also
    --------
    bootstrap_ci : How far each of the figures can be trusted.
    null_models : What a model scores that never looks at an image.

    Notes
    -----
    A value that would be 0 / 0 is NaN and takes no part in the means: the sensitivity and the ROC AUC of a
    class without images, the PPV of a class that is never predicted. Sensitivity is called recall elsewhere,
    PPV (positive predictive value) precision. Balanced accuracy is the challenge metric of ISIC 2018 [1]_.

    References
    ----------
    .. [1] N. Codella et al. Skin Lesion Analysis Toward Melanoma Detection 2018: A Challenge Hosted by the
       International Skin Imaging Collaboration (ISIC). arXiv:1902.03368, 2019.

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
    """
    truth, prediction, classes = label_pair(y_true, y_pred, labels)
    confusion = confusion_counts(truth, prediction, classes)
    columns = {name: measure(confusion) for name, measure in _confusion.PER_CLASS.items()}
    if y_proba is not None:
        columns["roc_auc"] = _one_vs_rest_auc(truth, _check_proba(y_proba, truth.size, classes), classes)
    counts = _confusion.support(confusion)
    per_class = pd.DataFrame({**columns, "support": counts}, index=pd.Index(classes))
    means = {
        name: [float(mean_of_defined(values)), _weighted_mean(values, counts)] for name, values in columns.items()
    }
    averages = pd.DataFrame({**means, "support": int(counts.sum())}, index=pd.Index(["macro", "weighted"]))
    return ClassificationMetrics(
        per_class=per_class,
        averages=averages,
        accuracy=float(_confusion.accuracy(confusion)),
        balanced_accuracy=float(_confusion.balanced_accuracy(confusion)),
        confusion=confusion,
        labels=classes,
    )


def _weighted_mean(values: FloatArray, weights: NDArray[np.int64]) -> float:
    defined = ~np.isnan(values)
    return float(divide(np.sum(values[defined] * weights[defined]), np.sum(weights[defined])))


def _check_proba(y_proba: Any, n_images: int, classes: NDArray[Any]) -> FloatArray:
    scores = np.asarray(y_proba, dtype=np.float64)
    if scores.shape != (n_images, classes.size):
        raise ValueError(
            f"y_proba must have a row for each of the {n_images} images and a column for each of the "
            f"{classes.size} classes {classes.tolist()}; got shape {scores.shape}. If the model knows other "
            "classes than those that occur here, pass labels=classes_."
        )
    unusable = ~np.isfinite(scores).all(axis=1)
    if unusable.any():
        rows = np.flatnonzero(unusable)
        raise ValueError(
            f"y_proba must be finite; {rows.size} row(s) hold NaN or infinity, the first of them "
            f"{rows[:5].tolist()}."
        )
    return scores


def _one_vs_rest_auc(truth: NDArray[Any], scores: FloatArray, classes: NDArray[Any]) -> FloatArray:
    """Area under the ROC curve of each class against the rest; NaN for a class that has no rows, or all."""
    areas = np.full(classes.size, np.nan)
    for column, label in enumerate(classes):
        is_class = truth == label
        if 0 < is_class.sum() < is_class.size:
            areas[column] = roc_auc_score(is_class, scores[:, column])
    return areas
