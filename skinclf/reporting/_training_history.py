"""The curves of training: loss, and balanced accuracy on the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf.evaluation import CrossValidationResult
from skinclf.reporting._fitted import find_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING_COLOR = "#0072b2"
"""Blue of the Okabe–Ito palette, which people with any colour vision can tell from `VALIDATION_COLOR`."""
VALIDATION_COLOR = "#d55e00"
"""Vermillion of the Okabe–Ito palette."""
GRID_COLOR = "#b0b0b0"


class TrainingHistoryDisplay:
    """Curves of training, one set for each model (fold).

    It holds the numbers; `plot` draws them. Make it with `from_estimator` or `from_cross_validation`, which also
    draw.

    Parameters
    ----------
    histories : sequence of DataFrame
        One for each model, a row for each epoch, with the columns ``epoch`` (from 1), ``train_loss``, and, where
        there was a validation part, ``valid_loss`` and ``valid_balanced_accuracy`` (0–1).
    best_epochs : sequence of int or None, default=None
        The epoch of which each model kept its weights; None where that is not known.

    Attributes
    ----------
    histories : list of DataFrame
    best_epochs : list of int or None
    axes_ : ndarray of matplotlib Axes, shape (2,)
        Loss, and balanced accuracy; once drawn.
    figure_ : matplotlib Figure
        Of the first of them; once drawn.

    Raises
    ------
    ValueError
        If a history lacks a column, or there are not as many best epochs as histories.

    Examples
    --------
    >>> import pandas as pd
    >>> from skinclf.reporting import TrainingHistoryDisplay
    >>> history = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [1.9, 1.4, 1.1], "valid_loss": [1.8, 1.5, 1.6]})
    >>> display = TrainingHistoryDisplay([history], best_epochs=[2])
    >>> display.n_epochs
    [3]
    """

    figure_: Any
    axes_: NDArray[Any]

    def __init__(
        self, histories: Sequence[pd.DataFrame], *, best_epochs: Sequence[int | None] | None = None
    ) -> None:
        self.histories = list(histories)
        self.best_epochs = [None] * len(self.histories) if best_epochs is None else list(best_epochs)
        if len(self.best_epochs) != len(self.histories):
            raise ValueError(
                f"best_epochs must have a value for each of the {len(self.histories)} histories; got "
                f"{len(self.best_epochs)}."
            )
        for number, history in enumerate(self.histories):
            missing = {"epoch", "train_loss"} - set(history.columns)
            if missing:
                raise ValueError(
                    f"histories[{number}] lacks the column(s) {sorted(missing)}; it has {list(history.columns)}."
                )

    @property
    def n_epochs(self) -> list[int]:
        """Epochs that each model was trained for."""
        return [len(history) for history in self.histories]

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> TrainingHistoryDisplay:
        """Draw the curves of a fitted classifier, Pipeline or search.

        Parameters
        ----------
        estimator : fitted estimator
            It, or its last step, or the best estimator of a search, has ``history_`` and ``best_epoch_``.
        ax : sequence of two matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        TrainingHistoryDisplay
            Drawn.

        Raises
        ------
        ValueError
            If there is no ``history_``.
        """
        return collect_histories([estimator]).plot(ax)

    @classmethod
    def from_cross_validation(cls, result: CrossValidationResult, *, ax: Any = None) -> TrainingHistoryDisplay:
        """Draw the curves of all folds of a cross-validation.

        Parameters
        ----------
        result : CrossValidationResult
            With its estimators.
        ax : sequence of two matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        TrainingHistoryDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the estimators were not kept, or have no ``history_``.
        """
        if result.estimators is None:
            raise ValueError(
                "The result holds no estimators, so no histories: call cross_validate with return_estimator=True."
            )
        return collect_histories(result.estimators).plot(ax)

    def plot(self, ax: Any = None) -> TrainingHistoryDisplay:
        """Draw loss and balanced accuracy against the epoch.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        TrainingHistoryDisplay
            Itself.

        Raises
        ------
        ValueError
            If `ax` is not two Axes.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
        axes = np.asarray(ax, dtype=object).ravel()
        if axes.size != 2:
            raise ValueError(f"ax must be two Axes, for loss and for balanced accuracy; got {axes.size}.")
        loss, score = axes
        # One fold is drawn solid; the more there are, the fainter each, so that the bundle can be read.
        style = {"linewidth": 1.5, "alpha": 1.0 if len(self.histories) == 1 else 0.6}
        for history, best in zip(self.histories, self.best_epochs, strict=True):
            loss.plot(history["epoch"], history["train_loss"], color=TRAINING_COLOR, **style)
            _plot_validation(loss, history, "valid_loss", best, style)
            _plot_validation(score, history, "valid_balanced_accuracy", best, style)
        loss.set(xlabel="Epoch", ylabel="Loss")
        loss.set_ylim(bottom=0)
        score.set(xlabel="Epoch", ylabel="Balanced accuracy", ylim=(0, 1))
        for panel in axes:
            _finish_panel(panel)
        _add_legend(loss, with_training=True)
        _add_legend(score, with_training=False)
        self.axes_ = axes
        self.figure_ = axes[0].figure
        return self


def collect_histories(estimators: Sequence[Any]) -> TrainingHistoryDisplay:
    """Make a display, not drawn yet, of the models inside fitted estimators; see `find_model`."""
    models = [find_model(estimator).model for estimator in estimators]
    for model in models:
        if not hasattr(model, "history_"):
            raise ValueError(
                f"{type(model).__name__} has no history_: either it is not fitted, or it is not trained in epochs."
            )
    return TrainingHistoryDisplay(
        [model.history_ for model in models],
        best_epochs=[getattr(model, "best_epoch_", None) for model in models],
    )


def _plot_validation(
    ax: Axes, history: pd.DataFrame, column: str, best: int | None, style: dict[str, Any]
) -> None:
    if column not in history.columns or history[column].isna().all():
        return
    ax.plot(history["epoch"], history[column], color=VALIDATION_COLOR, linestyle="--", **style)
    at_best = history.loc[history["epoch"] == best]
    if len(at_best):
        ax.plot(at_best["epoch"], at_best[column], "o", color=VALIDATION_COLOR, markersize=5)


def _finish_panel(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(True, color=GRID_COLOR, linewidth=0.6, alpha=0.5)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _add_legend(ax: Axes, *, with_training: bool) -> None:
    """Name each kind of line once, however many models there are."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=TRAINING_COLOR, label="training")] if with_training else []
    drawn = {line.get_linestyle() for line in ax.get_lines()}
    if "--" in drawn:
        handles.append(Line2D([], [], color=VALIDATION_COLOR, linestyle="--", label="validation"))
    if "None" in drawn:
        handles.append(
            Line2D([], [], color=VALIDATION_COLOR, linestyle="None", marker="o", markersize=5, label="epoch kept")
        )
    if handles:
        ax.legend(handles=handles, frameon=False)
