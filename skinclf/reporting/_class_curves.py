"""One curve for each class against the others, with the area below it and its interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from textwrap import shorten
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._random import RandomStateLike
from skinclf.evaluation import CrossValidationResult, bootstrap_table
from skinclf.reporting._folds import held_out_rows
from skinclf.reporting._palette import GRID_COLOR, style_of
from skinclf.reporting._tables import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DisplayT = TypeVar("DisplayT", bound="ClassCurvesDisplay")
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
_LONGEST_NAME = 24
AREA_COLUMNS = ("estimate", "low", "high", "prevalence")


class ClassCurvesDisplay(ABC):
    """What the displays of ROC and of precision-recall curves have in common.

    Parameters
    ----------
    curves : mapping of str to (ndarray, ndarray)
        The points of the curve of each class, x and y in 0–1.
    areas : DataFrame
        A row for each of these classes; columns ``estimate``, ``low``, ``high`` and ``prevalence``.
    """

    metric: ClassVar[str]
    """The area that goes with the curve, as `bootstrap_table` names it."""

    ax_: Any
    figure_: Any
    lines_: list[Any]

    def __init__(self, curves: Mapping[str, tuple[Any, Any]], areas: pd.DataFrame) -> None:
        self.curves: dict[str, Curve] = {str(label): _check_curve(label, *xy) for label, xy in curves.items()}
        missing = set(AREA_COLUMNS) - set(areas.columns)
        if missing:
            raise ValueError(f"areas lacks the column(s) {sorted(missing)}; it has {list(areas.columns)}.")
        self.areas = areas.rename(index=str)[list(AREA_COLUMNS)]
        if list(self.areas.index) != list(self.curves):
            raise ValueError(
                f"areas must have a row for each of the classes {list(self.curves)}, in this order; it has "
                f"{list(self.areas.index)}."
            )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        groups: Any = None,
        labels: Any = None,
        n_draws: int = 2000,
        confidence: float = 0.95,
        random_state: RandomStateLike = 0,
        ax: Any = None,
    ) -> Self:
        """Draw the curves of true labels and scores.

        Parameters
        ----------
        y_true : array-like of shape (n_images,)
            The true labels.
        y_proba : array-like of float, shape (n_images, n_classes)
            Scores of the classes, columns in the order of `labels`.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image, for the intervals. None: every image is one by itself.
        labels : array-like of shape (n_classes,), default=None
            The classes, such as ``classes_``. None: all that occur in `y_true`, sorted.
        n_draws : int, default=2000
            Bootstrap draws for the intervals.
        confidence : float, default=0.95
            Share of the draws inside an interval, between 0 and 1.
        random_state : int, RandomState, Generator or None, default=0
            Seeds the draws.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        Display
            Drawn. A class without images has no curve.

        Raises
        ------
        ValueError
            As in `skinclf.evaluation.bootstrap_table`, and if no class has both images and others beside it.
        """
        figures = bootstrap_table(
            y_true,
            y_proba=y_proba,
            groups=groups,
            labels=labels,
            tasks={},
            n_draws=n_draws,
            confidence=confidence,
            random_state=random_state,
        )
        return collect_curves(cls, y_true, y_proba, labels, figures).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        n_draws: int = 2000,
        confidence: float = 0.95,
        random_state: RandomStateLike = 0,
        ax: Any = None,
    ) -> Self:
        """Draw the curves of a fitted classifier on other images.

        Parameters
        ----------
        estimator : fitted classifier
            Or Pipeline, or search; with ``predict_proba``.
        X : DataFrame, array or list of n_images rows
            Images that it was not trained on.
        y : array-like of shape (n_images,)
            Their labels.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image, for the intervals.
        n_draws : int, default=2000
            Bootstrap draws for the intervals.
        confidence : float, default=0.95
            Share of the draws inside an interval, between 0 and 1.
        random_state : int, RandomState, Generator or None, default=0
            Seeds the draws.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        Display
            Drawn.
        """
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            groups=groups,
            labels=estimator.classes_,
            n_draws=n_draws,
            confidence=confidence,
            random_state=random_state,
            ax=ax,
        )

    @classmethod
    def from_cross_validation(
        cls,
        result: CrossValidationResult,
        *,
        n_draws: int = 2000,
        confidence: float = 0.95,
        random_state: RandomStateLike = 0,
        ax: Any = None,
    ) -> Self:
        """Draw the curves of all out-of-fold probabilities together.

        Parameters
        ----------
        result : CrossValidationResult
            Of `skinclf.evaluation.cross_validate`, of a classifier with ``predict_proba``.
        n_draws : int, default=2000
            Bootstrap draws for the intervals.
        confidence : float, default=0.95
            Share of the draws inside an interval, between 0 and 1.
        random_state : int, RandomState, Generator or None, default=0
            Seeds the draws.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        Display
            Drawn.

        Raises
        ------
        ValueError
            If the classifier gave no probabilities.
        """
        truth, probabilities, lesions = held_out_rows(result)
        return cls.from_predictions(
            truth,
            probabilities,
            groups=lesions,
            labels=result.classes,
            n_draws=n_draws,
            confidence=confidence,
            random_state=random_state,
            ax=ax,
        )

    def plot(self, ax: Any = None) -> Self:
        """Draw one curve for each class, and a legend with the areas below the axes.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        Display
            Itself.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            rows = -(-len(self.curves) // 2)
            _, ax = plt.subplots(figsize=(4.8, 4.6 + 0.22 * rows), layout="constrained")
        self.lines_ = []
        for number, (label, (x, y)) in enumerate(self.curves.items()):
            style = style_of(number)
            (line,) = ax.plot(
                x, y, color=style.color, linestyle=style.dashes, linewidth=1.6, label=self._legend_entry(label)
            )
            self.lines_.append(line)
        self._draw_chance(ax)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        ax.grid(True, color=GRID_COLOR, linewidth=0.6, alpha=0.5)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        # In two columns below the axes it fits a phone, and never hides a curve.
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.46, -0.16),
            ncols=2,
            frameon=False,
            handlelength=1.9,
            columnspacing=1.0,
            borderaxespad=0,
        )
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _legend_entry(self, label: str) -> str:
        estimate, low, high = (float(self.areas[name].loc[label]) for name in AREA_COLUMNS[:3])
        # A dollar sign would begin a formula, and a long name leave no room for the curves.
        label = shorten(label, _LONGEST_NAME, placeholder="…").replace("$", r"\$")
        if np.isnan(low):
            return f"{label} {format_number(estimate, 2)}"
        return f"{label} {estimate:.2f} ({low:.2f}–{high:.2f})"

    @classmethod
    @abstractmethod
    def points(cls, is_class: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
        """Compute the points of a curve.

        Parameters
        ----------
        is_class : ndarray of bool, shape (n_images,)
            Which images are of the class.
        scores : ndarray of float64, shape (n_images,)
            The score of the class.

        Returns
        -------
        tuple of ndarray of float64
            The x and the y of each point, both 0–1.
        """

    @abstractmethod
    def _draw_chance(self, ax: Axes) -> None:
        """Draw what a guess reaches, and name the axes."""


def collect_curves(
    kind: type[DisplayT], y_true: Any, y_proba: Any, labels: Any, figures: pd.DataFrame
) -> DisplayT:
    """Make a display, not drawn yet, whose areas are in a table of `bootstrap_table`."""
    truth, scores = np.asarray(y_true), np.asarray(y_proba, dtype=np.float64)
    classes = np.unique(truth) if labels is None else np.asarray(labels)
    curves, rows = {}, {}
    for column, label in enumerate(classes):
        is_class = truth == label
        if not 0 < is_class.sum() < is_class.size:
            continue
        figure = figures.loc[f"{kind.metric}:{label}"]
        curves[str(label)] = kind.points(is_class, scores[:, column])
        rows[str(label)] = [figure["estimate"], figure["low"], figure["high"], is_class.mean()]
    if not curves:
        raise ValueError("y_true must hold at least two classes, else there is no curve to draw.")
    return kind(curves, pd.DataFrame.from_dict(rows, orient="index", columns=list(AREA_COLUMNS), dtype=float))


def _check_curve(label: Any, x: Any, y: Any) -> Curve:
    points = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if points[0].ndim != 1 or points[0].shape != points[1].shape:
        raise ValueError(
            f"curves[{label!r}] must be two arrays of the same length; got shapes {points[0].shape} and "
            f"{points[1].shape}."
        )
    return points
