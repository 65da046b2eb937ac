"""Figures as inline SVG that takes its colours and fonts from the page around it."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING

from skinclf.reporting._training_history import (
    GRID_COLOR,
    TRAINING_COLOR,
    VALIDATION_COLOR,
    TrainingHistoryDisplay,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_THEME = {
    "#000000": "var(--ink)",
    GRID_COLOR: "var(--line)",
    TRAINING_COLOR: "var(--training)",
    VALIDATION_COLOR: "var(--validation)",
}
"""Colours of the drawing, and the colours of the page that replace them: it may be light or dark."""


def history_figures(display: TrainingHistoryDisplay) -> list[tuple[str, str]]:
    """Draw the curves of training, each panel by itself, so that they can go side by side or one below the other.

    Parameters
    ----------
    display : TrainingHistoryDisplay
        Need not be drawn yet.

    Returns
    -------
    list of (str, str)
        SVG and caption of each figure. The second is left out if there was no validation part.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    # A user's style sheet may use other colours than those that are replaced; text stays text, to be read and
    # scaled.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "skinclf", "font.size": 11.0}
    with matplotlib.style.context(["default", settings]):
        figures = [Figure(figsize=(5.4, 3.6), layout="constrained") for _ in range(2)]
        axes = [figure.add_subplot() for figure in figures]
        TrainingHistoryDisplay(display.histories, best_epochs=display.best_epochs).plot(axes)
        captions = [_describe_loss(display), _describe_score(display)]
        return [
            (_to_svg(figure, f"curve{number}", caption), caption)
            for number, (figure, caption) in enumerate(zip(figures, captions, strict=True))
            if caption
        ]


def _describe_loss(display: TrainingHistoryDisplay) -> str:
    n_epochs = display.n_epochs
    models = "the model" if len(n_epochs) == 1 else f"each of the {len(n_epochs)} folds"
    epochs = str(min(n_epochs)) if min(n_epochs) == max(n_epochs) else f"{min(n_epochs)} to {max(n_epochs)}"
    first = [float(history["train_loss"].iloc[0]) for history in display.histories]
    last = [float(history["train_loss"].iloc[-1]) for history in display.histories]
    return (
        f"Loss of {models} against the epoch, {epochs} epochs. The training loss goes from "
        f"{sum(first) / len(first):.2f} to {sum(last) / len(last):.2f} on average."
    )


def _describe_score(display: TrainingHistoryDisplay) -> str:
    column = "valid_balanced_accuracy"
    best = [float(history[column].max()) for history in display.histories if column in history.columns]
    if not best:
        return ""
    low, high = f"{min(best):.2f}", f"{max(best):.2f}"
    reach = low if low == high else f"{low} to {high}"
    return (
        f"Balanced accuracy on the validation part against the epoch; the best epochs reach {reach}. Early "
        "stopping chose by these images: the figures to quote are those of the test parts, above."
    )


def _to_svg(figure: Figure, prefix: str, title: str) -> str:
    """Return the figure as an ``<svg>`` element for a page, without ids that another figure may have as well."""
    figure.patch.set_visible(False)
    for ax in figure.axes:
        ax.patch.set_visible(False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style).*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--sans)", svg)
    for color, variable in _THEME.items():
        svg = svg.replace(color, variable)
    view_box = re.search(r'viewBox="[^"]+"', svg)
    opening = f'<svg class="chart" role="img" aria-label="{escape(title)}" {view_box.group() if view_box else ""}>'
    return re.sub(r"<svg[^>]*>", opening, svg, count=1).strip()
