"""Charts as inline SVG, whose text takes the font of the page around it and can be read, scaled and searched."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING

from skinclf.reporting._sections import Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT_SIZE = 10.0
"""Points; a chart of 4.4 inches is 317 points wide, about as many as a phone has pixels for it."""


def chart_svg(chart: Chart, name: str) -> str:
    """Draw a chart.

    Parameters
    ----------
    chart : Chart
        What to draw.
    name : str
        Begins the ids inside, so that no other chart of the page has the same.

    Returns
    -------
    str
        An ``<svg>`` element with the description of the chart as its label.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    # A user's style sheet must not change the page; the salt makes the ids inside the same in every run.
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "skinclf",
        "font.size": _FONT_SIZE,
        "legend.fontsize": _FONT_SIZE - 0.5,
        "axes.labelsize": _FONT_SIZE,
        "axes.titlesize": _FONT_SIZE + 0.5,
        "xtick.labelsize": _FONT_SIZE - 0.5,
        "ytick.labelsize": _FONT_SIZE - 0.5,
    }
    with matplotlib.style.context(["default", settings]):
        figure = Figure(figsize=chart.size, layout="constrained")
        chart.draw(figure)
        return _to_svg(figure, name, chart.description)


def _to_svg(figure: Figure, prefix: str, description: str) -> str:
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
    svg = re.sub(r"\n\s*", "\n", svg)
    view_box = re.search(r'viewBox="[^"]+"', svg)
    size = view_box.group() if view_box else ""
    opening = f'<svg class="chart" role="img" aria-label="{escape(description)}" {size}>'
    return re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1).strip()
