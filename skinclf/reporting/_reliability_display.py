"""Whether what is called 80 % sure is right in 80 % of the cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skinclf.evaluation import CrossValidationResult, calibration_metrics
from skinclf.evaluation._calibration import Binning
from skinclf.reporting._folds import held_out_rows
from skinclf.reporting._palette import GRID_COLOR, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("lower", "upper", "n_images", "predicted", "observed", "low", "high")
_HISTOGRAM_HEIGHT = 0.1
"""Share of the height of the axes that the densest bin takes at the bottom."""


class ReliabilityDisplay:
    """A reliability diagram: how often the model is right, against how sure it is.

    Below the diagonal the model is too sure of itself. The bars at each point are its interval, which knows of
    lesions; the grey area at the bottom shows where the images are. It holds the numbers; `plot` draws them. Make
    it with `from_predictions`, `from_estimator` or `from_cross_validation`, which also draw.

    Parameters
    ----------
    bins : DataFrame
        A row for each bin, with the columns ``lower``, ``upper``, ``n_images``, ``predicted``, ``observed``,
        ``low`` and ``high``: ``bins`` of `CalibrationMetrics`, or the rows of ``class_bins`` of one class.
    class_label : str, default=None
        The class that the bins are of; None if they are of the predicted class, whichever it is.
    name : str, default=None
        Name in the legend, which also has the calibration error.

    Attributes
    ----------
    bins : DataFrame
    class_label : str or None
    name : str or None
    ax_ : matplotlib Axes
        Once drawn.
    figure_ : matplotlib Figure
        Once drawn.
    errorbar_ : matplotlib ErrorbarContainer
        The points; once drawn.

    Raises
    ------
    ValueError
        If a column is missing, or there is no bin.

    See Also
    --------
    skinclf.evaluation.calibration_metrics : The numbers behind it.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import calibration_metrics
    >>> from skinclf.reporting import ReliabilityDisplay
    >>> y_true = ["mel"] * 6 + ["nv"] * 4
    >>> display = ReliabilityDisplay(calibration_metrics(y_true, np.tile([0.9, 0.1], (10, 1))).bins)
    >>> round(display.calibration_error, 3)
    0.3
    """

    ax_: Any
    figure_: Any
    errorbar_: Any

    def __init__(self, bins: pd.DataFrame, *, class_label: str | None = None, name: str | None = None) -> None:
        missing = set(COLUMNS) - set(bins.columns)
        if missing or bins.empty:
            raise ValueError(
                f"bins must have a row for each bin and the columns {[*COLUMNS]}; got {len(bins)} rows without "
                f"{sorted(missing)}. calibration_metrics(...).bins is such a table."
            )
        self.bins = bins.reset_index(drop=True)
        self.class_label = class_label
        self.name = name

    @property
    def calibration_error(self) -> float:
        """The gaps between points and diagonal, averaged over images, 0–1."""
        gaps = (self.bins["predicted"] - self.bins["observed"]).abs()
        return float(np.average(gaps, weights=self.bins["n_images"]))

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        labels: Any = None,
        groups: Any = None,
        n_bins: int = 15,
        binning: Binning = "equal_mass",
        class_label: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> ReliabilityDisplay:
        """Draw the reliability diagram of true labels and probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_images,)
            The true labels.
        y_proba : array-like of float, shape (n_images, n_classes)
            Probabilities of images that the model was not trained on.
        labels : array-like of shape (n_classes,), default=None
            The classes in the order of the columns. None: all that occur in `y_true`, sorted.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image; without them the intervals are too narrow.
        n_bins : int, default=15
            Bins.
        binning : {"equal_mass", "equal_width"}, default="equal_mass"
            See `calibration_metrics`.
        class_label : object, default=None
            Draw the probability of this class; None draws that of the predicted class.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ReliabilityDisplay
            Drawn.

        Raises
        ------
        ValueError
            If arguments do not match, or there is no such class.
        """
        metrics = calibration_metrics(
            y_true, y_proba, labels=labels, groups=groups, n_bins=n_bins, binning=binning, n_draws=1
        )
        if class_label is None:
            return cls(metrics.bins, name=name).plot(ax)
        bins = metrics.class_bins
        if class_label not in metrics.labels.tolist():
            raise ValueError(f"class_label must be one of {metrics.labels.tolist()}; got {class_label!r}.")
        return cls(bins[bins["class"] == class_label], class_label=str(class_label), name=name).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        class_label: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> ReliabilityDisplay:
        """Draw the reliability diagram of a fitted classifier on other images.

        Parameters
        ----------
        estimator : fitted classifier
            With ``predict_proba``.
        X : DataFrame, array or list of n_images rows
            Images that it was not trained on.
        y : array-like of shape (n_images,)
            Their labels.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image.
        class_label : object, default=None
            Draw the probability of this class; None draws that of the predicted class.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ReliabilityDisplay
            Drawn.
        """
        proba, classes = estimator.predict_proba(X), estimator.classes_
        return cls.from_predictions(
            y, proba, labels=classes, groups=groups, class_label=class_label, name=name, ax=ax
        )

    @classmethod
    def from_cross_validation(
        cls,
        result: CrossValidationResult,
        *,
        class_label: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> ReliabilityDisplay:
        """Draw the reliability diagram of all out-of-fold probabilities.

        Parameters
        ----------
        result : CrossValidationResult
            Of `skinclf.evaluation.cross_validate`.
        class_label : object, default=None
            Draw the probability of this class; None draws that of the predicted class.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        ReliabilityDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the classifier has no ``predict_proba``.
        """
        y_true, y_proba, groups = held_out_rows(result)
        return cls.from_predictions(
            y_true,
            y_proba,
            labels=result.classes,
            groups=groups,
            class_label=class_label,
            name=name,
            ax=ax,
        )

    def plot(self, ax: Axes | None = None) -> ReliabilityDisplay:
        """Draw the points, their intervals and the diagonal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, such as the ``ax_`` of another one of these displays, to compare; None makes a figure.

        Returns
        -------
        ReliabilityDisplay
            Itself.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
        number = len(ax.containers)
        style = style_of(number)
        if number == 0:
            ax.plot([0, 1], [0, 1], color=GRID_COLOR, linewidth=1.2, zorder=1)
            self._draw_histogram(ax)
        bins = self.bins
        error = f"calibration error {self.calibration_error:.3f}"
        self.errorbar_ = ax.errorbar(
            bins["predicted"],
            bins["observed"],
            yerr=[bins["observed"] - bins["low"], bins["high"] - bins["observed"]],
            color=style.color,
            linestyle=style.dashes,
            linewidth=1.5,
            elinewidth=1.0,
            marker="os^Dv"[number % 5],
            markersize=4,
            label=f"{self.name}: {error}" if self.name else error,
            zorder=3,
        )
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        if self.class_label is None:
            ax.set(xlabel="Probability of the predicted class", ylabel="Share that is right")
        else:
            ax.set(xlabel=f"Probability of {self.class_label}", ylabel=f"Share that is {self.class_label}")
        ax.spines[["top", "right"]].set_visible(False)
        # Above the axes: no corner is free for a model that is too sure and one that is not sure enough.
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, fontsize=9)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _draw_histogram(self, ax: Axes) -> None:
        """Show how densely images lie along the axis; in the background, as it has a scale of its own."""
        # A bin of a single value has no width, and would have no end of height.
        lower, upper, n_images = self.bins[["lower", "upper", "n_images"]].to_numpy(dtype=np.float64).T
        width = np.maximum(upper - lower, 0.005)
        density = n_images / width
        patches = ax.bar(
            lower,
            density / density.max() * _HISTOGRAM_HEIGHT,
            width=width,
            align="edge",
            color=GRID_COLOR,
            alpha=0.5,
            linewidth=0,
            zorder=0,
        )
        # Containers count the curves.
        ax.containers.remove(patches)
