"""The figure of each part of the data beside that of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pandas as pd

from skinclf.evaluation import CrossValidationResult, SubgroupMetrics, subgroup_metrics
from skinclf.reporting._palette import GRID_COLOR, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Figure: TypeAlias = Literal["balanced_accuracy", "accuracy", "sensitivity"]

FIGURES: dict[str, str] = {
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity for {positive}",
}
HEADINGS = {"sex": "Sex", "age": "Age", "localization": "Body site", "dx_type": "Diagnosis by"}
SMALL_COLOR = "#6e6e6e"


class SubgroupDisplay:
    """A forest plot: one figure of each sex, age band, body site and way of diagnosis, with its interval.

    The vertical line is the figure of all images; in brackets is the number of lesions (for the sensitivity, of
    those of the class), and of classes where some are missing. Parts with few lesions are grey and hollow. It
    holds the numbers; `plot` draws them. Make it with `from_predictions` or `from_cross_validation`, which also
    draw.

    Parameters
    ----------
    result : SubgroupMetrics
        Of `skinclf.evaluation.subgroup_metrics`.
    metric : {"balanced_accuracy", "accuracy", "sensitivity"}, default="balanced_accuracy"
        The figure.

    Attributes
    ----------
    result : SubgroupMetrics
    metric : str
    ax_ : matplotlib Axes
        Once drawn.
    figure_ : matplotlib Figure
        Once drawn.

    Raises
    ------
    ValueError
        If `metric` is none of these.

    See Also
    --------
    skinclf.evaluation.subgroup_metrics : The numbers behind it.

    Examples
    --------
    >>> import pandas as pd
    >>> from skinclf.evaluation import subgroup_metrics
    >>> from skinclf.reporting import SubgroupDisplay
    >>> table = pd.DataFrame({"sex": ["female", "male"] * 40})
    >>> result = subgroup_metrics(["mel", "mel", "nv", "nv"] * 20, ["mel", "nv", "nv", "nv"] * 20, table)
    >>> display = SubgroupDisplay(result, metric="sensitivity")
    >>> display.rows["sensitivity"].tolist()
    [1.0, 0.0]
    """

    ax_: Any
    figure_: Any

    def __init__(self, result: SubgroupMetrics, *, metric: Figure = "balanced_accuracy") -> None:
        if metric not in FIGURES:
            raise ValueError(f"metric must be one of {[*FIGURES]}; got {metric!r}.")
        self.result = result
        self.metric = metric

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of the table that are drawn: all parts in which the figure is defined."""
        parts = self.result.table.iloc[1:]
        return parts[parts[self.metric].notna()]

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        table: pd.DataFrame,
        *,
        groups: Any = None,
        labels: Any = None,
        positive: Any = "mel",
        metric: Figure = "balanced_accuracy",
        ax: Axes | None = None,
    ) -> SubgroupDisplay:
        """Draw the figure of each part of the images.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_images,)
            True and predicted labels.
        table : DataFrame of n_images rows
            What is known of each image, in the order of `y_true`.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image. None: the column ``lesion_id`` of `table`, if there is one.
        labels : array-like of shape (n_classes,), default=None
            The classes. None: all that occur.
        positive : object, default="mel"
            The class of the sensitivity.
        metric : {"balanced_accuracy", "accuracy", "sensitivity"}, default="balanced_accuracy"
            The figure.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        SubgroupDisplay
            Drawn.
        """
        result = subgroup_metrics(y_true, y_pred, table, groups=groups, labels=labels, positive=positive)
        return cls(result, metric=metric).plot(ax)

    @classmethod
    def from_cross_validation(
        cls,
        result: CrossValidationResult,
        table: pd.DataFrame,
        *,
        positive: Any = "mel",
        metric: Figure = "balanced_accuracy",
        ax: Axes | None = None,
    ) -> SubgroupDisplay:
        """Draw the figure of each part of the images, from all out-of-fold predictions.

        Parameters
        ----------
        result : CrossValidationResult
            Of `skinclf.evaluation.cross_validate`.
        table : DataFrame of n_rows rows
            What is known of each row of ``X``, in its order.
        positive : object, default="mel"
            The class of the sensitivity.
        metric : {"balanced_accuracy", "accuracy", "sensitivity"}, default="balanced_accuracy"
            The figure.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        SubgroupDisplay
            Drawn.

        Raises
        ------
        ValueError
            If `table` has not as many rows as the result.
        """
        tested = result.tested
        if len(table) != tested.size:
            raise ValueError(f"table must have a row for each of the {tested.size} rows of X; got {len(table)}.")
        return cls.from_predictions(
            result.y_true[tested],
            result.y_pred[tested].astype(result.y_true.dtype),
            table[tested],
            groups=None if result.groups is None else result.groups[tested],
            labels=result.classes,
            positive=positive,
            metric=metric,
            ax=ax,
        )

    def plot(self, ax: Axes | None = None) -> SubgroupDisplay:
        """Draw a row for each part, under a heading for each attribute.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that is high enough.

        Returns
        -------
        SubgroupDisplay
            Itself.
        """
        rows = self.rows
        attributes = list(dict.fromkeys(rows.index.get_level_values("attribute")))
        n_lines = len(rows) + len(attributes)
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(5.6, 0.9 + 0.21 * n_lines), layout="constrained")
        few, count = ("small", "n_lesions")
        if self.metric == "sensitivity":
            few, count = ("small_positive", "n_positive_lesions")
        places, names, headings = [], [], []
        line = 0
        for attribute in attributes:
            headings.append(line)
            places.append(line)
            names.append(HEADINGS.get(attribute, str(attribute)))
            for value, row in rows.xs(attribute, level="attribute").iterrows():
                line += 1
                places.append(line)
                names.append(f"{value} ({row[count]:,}{self._say_classes(row)})")
                self._draw_row(ax, line, row, is_small=bool(row[few]))
            line += 1
        overall = self.result.table.iloc[0][self.metric]
        ax.axvline(overall, color=GRID_COLOR, linewidth=1.2, zorder=1)
        ax.set_yticks(places, names, fontsize=9)
        for place, label in zip(places, ax.get_yticklabels(), strict=True):
            if place in headings:
                label.set_fontweight("bold")
        ax.set(xlim=(0, 1), ylim=(n_lines - 0.4, -0.6))
        ax.set_xlabel(f"{FIGURES[self.metric].format(positive=self.result.positive)}; all images: {overall:.3f}")
        ax.tick_params(axis="y", length=0)
        ax.grid(True, axis="x", color=GRID_COLOR, linewidth=0.6, alpha=0.5)
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _draw_row(self, ax: Axes, line: int, row: pd.Series, *, is_small: bool) -> None:
        color = SMALL_COLOR if is_small else style_of(0).color
        ax.plot(
            [row[f"{self.metric}_low"], row[f"{self.metric}_high"]],
            [line, line],
            color=color,
            linewidth=1.0 if is_small else 1.6,
            solid_capstyle="butt",
            zorder=2,
        )
        ax.plot(
            row[self.metric],
            line,
            marker="o",
            markersize=5,
            color=color,
            markerfacecolor="white" if is_small else color,
            clip_on=False,
            zorder=3,
        )

    def _say_classes(self, row: pd.Series) -> str:
        """Say how many classes there are where a mean over classes is over fewer than in all images."""
        n_classes = row["n_classes"]
        if self.metric != "balanced_accuracy" or n_classes == self.result.table["n_classes"].iloc[0]:
            return ""
        return ", 1 class" if n_classes == 1 else f", {n_classes} classes"
