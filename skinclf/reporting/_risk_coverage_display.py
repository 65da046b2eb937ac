"""The error that is left when a model answers only where it is sure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skinclf.evaluation import CrossValidationResult, RiskCoverage, risk_coverage
from skinclf.reporting._folds import held_out_rows
from skinclf.reporting._palette import GRID_COLOR, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RiskCoverageDisplay:
    """A risk–coverage curve: the error among the images that the model is surest of, with its interval.

    The grey curve is the least that is possible with as many errors. It holds the numbers; `plot` draws them.
    Make it with `from_predictions`, `from_estimator` or `from_cross_validation`, which also draw.

    Parameters
    ----------
    result : RiskCoverage
        Of `skinclf.evaluation.risk_coverage`.
    name : str, default=None
        Name in the legend, which also has the area under the curve.

    Attributes
    ----------
    result : RiskCoverage
    name : str or None
    ax_ : matplotlib Axes
        Once drawn.
    figure_ : matplotlib Figure
        Once drawn.
    line_ : matplotlib Line2D
        The curve; once drawn.

    See Also
    --------
    skinclf.evaluation.risk_coverage : The numbers behind it.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import risk_coverage
    >>> from skinclf.reporting import RiskCoverageDisplay
    >>> p_mel = np.array([0.95, 0.9, 0.85, 0.2, 0.6])
    >>> result = risk_coverage(["mel", "mel", "mel", "nv", "nv"], np.c_[p_mel, 1 - p_mel])
    >>> display = RiskCoverageDisplay(result)
    >>> display.result.sentence(0.8)[:39]
    'Answers 80 % of the images at 0.0 % err'
    """

    ax_: Any
    figure_: Any
    line_: Any

    def __init__(self, result: RiskCoverage, *, name: str | None = None) -> None:
        self.result = result
        self.name = name

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        labels: Any = None,
        groups: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> RiskCoverageDisplay:
        """Draw the curve of true labels and probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_images,)
            The true labels.
        y_proba : array-like of float, shape (n_images, n_classes)
            Probabilities of images that the model was not trained on.
        labels : array-like of shape (n_classes,), default=None
            The classes in the order of the columns. None: all that occur in `y_true`, sorted.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image; without them the band is too narrow.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        RiskCoverageDisplay
            Drawn.
        """
        return cls(risk_coverage(y_true, y_proba, labels=labels, groups=groups), name=name).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> RiskCoverageDisplay:
        """Draw the curve of a fitted classifier on other images.

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
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        RiskCoverageDisplay
            Drawn.
        """
        proba = estimator.predict_proba(X)
        return cls.from_predictions(y, proba, labels=estimator.classes_, groups=groups, name=name, ax=ax)

    @classmethod
    def from_cross_validation(
        cls, result: CrossValidationResult, *, name: str | None = None, ax: Axes | None = None
    ) -> RiskCoverageDisplay:
        """Draw the curve of all out-of-fold probabilities.

        Parameters
        ----------
        result : CrossValidationResult
            Of `skinclf.evaluation.cross_validate`.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        RiskCoverageDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the classifier has no ``predict_proba``.
        """
        y_true, y_proba, groups = held_out_rows(result)
        return cls.from_predictions(y_true, y_proba, labels=result.classes, groups=groups, name=name, ax=ax)

    def plot(self, ax: Axes | None = None) -> RiskCoverageDisplay:
        """Draw the curve, its interval and the ideal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, such as the ``ax_`` of another one of these displays, to compare; None makes a figure.

        Returns
        -------
        RiskCoverageDisplay
            Itself.
        """
        from matplotlib.ticker import PercentFormatter

        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
        curve = self.result.curve
        style = style_of(len(ax.collections))
        area = f"area {self.result.summary['estimate']['aurc']:.3f}"
        top = max(ax.get_ylim()[1] if ax.lines else 0, 1.1 * float(curve["high"].max()), 0.01)
        ax.fill_between(curve["coverage"], curve["low"], curve["high"], color=style.color, alpha=0.2, linewidth=0)
        (self.line_,) = ax.plot(
            curve["coverage"],
            curve["error"],
            color=style.color,
            linestyle=style.dashes,
            linewidth=1.5,
            label=f"{self.name}: {area}" if self.name else area,
        )
        (ideal,) = ax.plot(curve["coverage"], curve["ideal"], color=GRID_COLOR, linewidth=1.2, zorder=1)
        if len(ax.lines) == 2:
            ideal.set_label("least possible")
        ax.set(xlim=(0, 1), ylim=(0, top), xlabel="Images that are answered", ylabel="Error among them")
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top > 0.05 else 1))
        ax.grid(True, color=GRID_COLOR, linewidth=0.6, alpha=0.5)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, loc="upper left", fontsize=9)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self
