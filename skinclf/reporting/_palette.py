"""Colours of classes: told apart by people with any colour vision, and dark enough for a white page."""

from __future__ import annotations

from dataclasses import dataclass

GRID_COLOR = "#b0b0b0"


@dataclass(frozen=True)
class LineStyle:
    """How the curve of a class is drawn; the dashes tell it apart where colour does not."""

    color: str
    dashes: str


CLASS_STYLES = (
    LineStyle("#0072b2", "-"),
    LineStyle("#d55e00", "--"),
    LineStyle("#007a5a", "-."),
    LineStyle("#4a4a4a", ":"),
    LineStyle("#b03a85", "-"),
    LineStyle("#9a6a00", "--"),
    LineStyle("#1b8fc4", "-."),
)
"""Blue, vermillion, green, grey, magenta, ochre and sky; after seven classes they come round again.

Derived from the Okabe–Ito palette, the light ones darkened to a contrast of 3 to 1 on white (WCAG 2.2, 1.4.11).
"""


def style_of(number: int) -> LineStyle:
    """Return the style of the class with this position."""
    return CLASS_STYLES[number % len(CLASS_STYLES)]
