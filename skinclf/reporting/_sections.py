"""What a report is made of: sections of sentences, tables and figures, which every renderer walks over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation import BootstrapInterval
from skinclf.reporting._tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure


@dataclass(frozen=True)
class Text:
    """Paragraphs, or the entries of a list.

    Attributes
    ----------
    sentences : tuple of str
        One for each paragraph or entry.
    kind : {"paragraph", "lead", "list", "warning"}
        ``"lead"`` is what a hurried reader must see.
    """

    sentences: tuple[str, ...]
    kind: Literal["paragraph", "lead", "list", "warning"] = "paragraph"


@dataclass(frozen=True)
class Scale:
    """A figure on a scale from 0 to 1, with its interval, and what the null models score.

    Attributes
    ----------
    title : str
        What the figure is called.
    interval : BootstrapInterval
        The figure.
    nulls : mapping of str to float
        The score of each null model.
    """

    title: str
    interval: BootstrapInterval
    nulls: Mapping[str, float]


@dataclass(frozen=True)
class Scales:
    """The overall figures.

    Attributes
    ----------
    scales : tuple of Scale
        For the page.
    table : Table
        The same as a table, for text.
    """

    scales: tuple[Scale, ...]
    table: Table


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts, which the page shades by their share of the row.

    Attributes
    ----------
    labels : tuple of str
        The classes.
    counts : ndarray of int64, shape (n_classes, n_classes)
        Rows are the truth.
    shares : ndarray of float64, shape (n_classes, n_classes)
        Of the row, 0–1; NaN for a class without images.
    table : Table
        The same as a table, for text.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    shares: NDArray[np.float64]
    table: Table


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure that is drawn when a page is made.

    Attributes
    ----------
    caption : str
        Below the figure: how to read it.
    description : str
        What it shows, in words, for those who do not see it. It names the figures that matter.
    draw : callable
        Gets an empty matplotlib Figure of this size and draws on it.
    size : (float, float)
        Width and height in inches. A width of 4.4 makes text that can be read on a phone.
    """

    caption: str
    description: str
    draw: Callable[[MatplotlibFigure], object]
    size: tuple[float, float] = (4.4, 3.6)


@dataclass(frozen=True)
class Picture:
    """A small photo with a caption.

    Attributes
    ----------
    data : str
        A ``data:`` address.
    side : int
        Width and height in pixels.
    description : str
        For those who do not see it.
    caption : str
        Below it.
    """

    data: str
    side: int
    description: str
    caption: str


Block: TypeAlias = Text | Table | Scales | Confusion | Chart | Picture


@dataclass(frozen=True, eq=False)
class Section:
    """A heading and what stands below it.

    Attributes
    ----------
    title : str
        The heading.
    blocks : tuple of Block
        What the page and Markdown show, in order.
    data : mapping of str to object
        What the dictionary of the report holds of it, numbers as numbers. A chart shows nothing else.
    in_text : bool
        Whether the tables are also printed in a terminal.
    """

    title: str
    blocks: tuple[Block, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    in_text: bool = False
