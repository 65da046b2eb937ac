"""Which lesions are taken for which."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation import CrossValidationResult, classification_metrics


class LesionConfusionDisplay:
    """A confusion matrix that shows counts, and shares of each true class.

    Cells are shaded by their share of the row: rows are the truth, so that the diagonal shows the sensitivity of
    each class, and a class of 115 images is as visible as one of 6,705. It holds the numbers; `plot` draws them.
    Make it with `from_predictions`, `from_estimator` or `from_cross_validation`, which also draw.

    Parameters
    ----------
    confusion_matrix : array-like of int, shape (n_classes, n_classes)
        Counts; rows are the truth, columns the prediction.
    display_labels : array-like of shape (n_classes,), default=None
        Names of the classes; None numbers them from 0.

    Attributes
    ----------
    confusion_matrix : ndarray of int64, shape (n_classes, n_classes)
    display_labels : ndarray of str, shape (n_classes,)
    ax_ : matplotlib Axes
        Once drawn.
    figure_ : matplotlib Figure
        Once drawn.
    im_ : matplotlib AxesImage
        The shading; once drawn.
    text_ : ndarray of matplotlib Text, shape (n_classes, n_classes)
        Once drawn.

    Raises
    ------
    ValueError
        If the matrix is not square, or has not as many rows as there are labels.

    Examples
    --------
    >>> from skinclf.reporting import LesionConfusionDisplay
    >>> display = LesionConfusionDisplay([[30, 10], [5, 45]], display_labels=["mel", "nv"])
    >>> display.row_shares
    array([[0.75, 0.25],
           [0.1 , 0.9 ]])
    """

    ax_: Any
    figure_: Any
    im_: Any
    text_: NDArray[Any]

    def __init__(self, confusion_matrix: Any, *, display_labels: Any = None) -> None:
        self.confusion_matrix = np.asarray(confusion_matrix, dtype=np.int64)
        shape = self.confusion_matrix.shape
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"confusion_matrix must be square; got shape {shape}.")
        labels = np.arange(shape[0]) if display_labels is None else np.asarray(display_labels)
        if labels.shape != shape[:1]:
            raise ValueError(
                f"display_labels must name the {shape[0]} classes of confusion_matrix; got shape {labels.shape}."
            )
        self.display_labels = labels.astype(str)

    @property
    def row_shares(self) -> NDArray[np.float64]:
        """Share of each true class that is taken for each class, 0–1; NaN in the row of a class without images."""
        counts = self.confusion_matrix
        sums = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
        undefined = np.full(counts.shape, np.nan)
        shares: NDArray[np.float64] = np.divide(counts, sums, out=undefined, where=sums > 0)
        return shares

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_pred: Any, *, labels: Any = None, ax: Any = None
    ) -> LesionConfusionDisplay:
        """Draw the confusion matrix of true and predicted labels.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_images,)
            Labels.
        labels : array-like of shape (n_classes,), default=None
            The classes and their order; None: all that occur, sorted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LesionConfusionDisplay
            Drawn.

        Raises
        ------
        ValueError
            If a label is missing or unknown, or lengths differ.
        """
        metrics = classification_metrics(y_true, y_pred, labels=labels)
        return cls(metrics.confusion, display_labels=metrics.labels).plot(ax)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, labels: Any = None, ax: Any = None
    ) -> LesionConfusionDisplay:
        """Draw the confusion matrix of a fitted classifier on other images.

        Parameters
        ----------
        estimator : fitted classifier
            Or Pipeline, or search.
        X : DataFrame, array or list of n_images rows
            Images that it was not trained on.
        y : array-like of shape (n_images,)
            Their labels.
        labels : array-like of shape (n_classes,), default=None
            The classes and their order; None: all that occur, sorted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LesionConfusionDisplay
            Drawn.
        """
        return cls.from_predictions(y, estimator.predict(X), labels=labels, ax=ax)

    @classmethod
    def from_cross_validation(cls, result: CrossValidationResult, *, ax: Any = None) -> LesionConfusionDisplay:
        """Draw the confusion matrix of all out-of-fold predictions.

        Parameters
        ----------
        result : CrossValidationResult
            Of `skinclf.evaluation.cross_validate`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LesionConfusionDisplay
            Drawn.
        """
        tested = result.tested
        return cls.from_predictions(
            result.y_true[tested],
            result.y_pred[tested].astype(result.y_true.dtype),
            labels=result.classes,
            ax=ax,
        )

    def plot(self, ax: Any = None) -> LesionConfusionDisplay:
        """Draw the matrix: counts, shares of the row below them.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits the number of classes.

        Returns
        -------
        LesionConfusionDisplay
            Itself.
        """
        n_classes = len(self.display_labels)
        if ax is None:
            import matplotlib.pyplot as plt

            side = 1.6 + 0.72 * n_classes
            _, ax = plt.subplots(figsize=(side, side), layout="constrained")
        shares = self.row_shares
        self.im_ = ax.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
        self.text_ = np.empty((n_classes, n_classes), dtype=object)
        for i, j in np.ndindex(n_classes, n_classes):
            share = "–" if np.isnan(shares[i, j]) else f"{shares[i, j]:.0%}"
            self.text_[i, j] = ax.text(
                j,
                i,
                f"{self.confusion_matrix[i, j]:,}\n{share}",
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold" if i == j else "normal",
                # "Blues" is dark enough for white text from 0.55 on.
                color="white" if shares[i, j] > 0.55 else "black",
            )
        ticks = np.arange(n_classes)
        longest = max(len(label) for label in self.display_labels)
        ax.set_xticks(ticks, self.display_labels, rotation=0 if longest <= 6 else 45)
        if longest > 6:
            for label in ax.get_xticklabels():
                label.set(horizontalalignment="right", rotation_mode="anchor")
        ax.set_yticks(ticks, self.display_labels)
        ax.set(xlabel="Predicted class", ylabel="True class")
        ax.tick_params(length=0)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self
