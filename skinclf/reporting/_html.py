"""The report as one self-contained page: no script, no network, nothing beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from skinclf.reporting._sections import Block, Chart, Confusion, Picture, Scale, Scales, Section, Text
from skinclf.reporting._svg import chart_svg
from skinclf.reporting._tables import Table, format_interval, format_number, format_share

if TYPE_CHECKING:
    from skinclf.reporting._report import EvaluationReport

STRONGEST_SHADE = 0.6
"""Opacity of a confusion cell that holds its whole row; text keeps a contrast of over 4.5 to 1 on it.

It grows with the square root of the share, so that a confusion of 5 % can be seen beside a sensitivity of 90 %.
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the browser lets the page do: show what is in it. It asks nobody for anything, and runs no script."""


def render_html(report: EvaluationReport) -> str:
    """Return the whole page."""
    style = resources.files("skinclf.reporting").joinpath("report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(report.title)}</title>",
            # Without it a browser asks the server, where there is one, for an icon.
            '<link rel="icon" href="data:,">',
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#content">Skip to the results</a>',
            _header(report),
            '<main id="content" tabindex="-1">',
            *_main(report.sections),
            "</main>",
            f"<footer><p>Computed on {escape(report.provenance.date)} with skinclf. "
            f"{escape(report.notice)}</p></footer>",
            "</body>",
            "</html>",
            "",
        ]
    )


def section_id(title: str) -> str:
    """Return the id of a section, such as ``"confusion-matrix"``."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _header(report: EvaluationReport) -> str:
    description = f'<p class="description">{escape(report.description)}</p>' if report.description else ""
    alarm = _alarm(report.protocol.warnings)
    return (
        f'<header class="top"><h1>{escape(report.title)}</h1><p class="size">{escape(report.size)}</p>'
        f'{description}<p class="notice">{escape(report.notice)}</p>{alarm}</header>'
    )


def _alarm(warnings: Iterable[str]) -> str:
    paragraphs = "".join(f"<p>{escape(warning)}</p>" for warning in warnings)
    return f'<div class="alarm" role="note" aria-label="Warning">{paragraphs}</div>' if paragraphs else ""


def _main(sections: Sequence[Section]) -> list[str]:
    """Return the sections; the list of them comes after the first, which a phone must show first."""
    rendered = [_section(section) for section in sections]
    return [*rendered[:1], _contents(sections[1:]), *rendered[1:]]


def _contents(sections: Iterable[Section]) -> str:
    links = "".join(
        f'<li><a href="#{section_id(section.title)}">{escape(section.title)}</a></li>' for section in sections
    )
    return f'<nav aria-label="Sections"><ol>{links}</ol></nav>'


def _section(section: Section) -> str:
    """Return a section; blocks of a kind that follow each other share a grid."""
    name = section_id(section.title)
    parts = []
    number = 0
    for kind, group in groupby(section.blocks, key=_grid_of):
        rendered = []
        for block in group:
            rendered.append(_block(block, f"{name}-{number}"))
            number += 1
        content = "\n".join(rendered)
        parts.append(f'<div class="{kind}">{content}</div>' if kind else content)
    content = "\n".join(parts)
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(section.title)}</h2>\n{content}</section>'


def _grid_of(block: Block) -> str:
    if isinstance(block, Chart):
        return "charts"
    if isinstance(block, Picture):
        return "pictures"
    return "key-tables" if isinstance(block, Table) and _is_key_table(block) else ""


def _is_key_table(table: Table) -> bool:
    return table.kind == "words" and len(table.header) == 2


def _block(block: Block, name: str) -> str:
    if isinstance(block, Text):
        return _text(block)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Scales):
        return f'<dl class="figures">{"".join(_scale(scale) for scale in block.scales)}</dl>'
    if isinstance(block, Confusion):
        return _confusion(block)
    if isinstance(block, Picture):
        return _picture(block)
    return f"<figure>{chart_svg(block, name)}<figcaption>{escape(block.caption)}</figcaption></figure>"


def _text(text: Text) -> str:
    if text.kind == "warning":
        return _alarm(text.sentences)
    if text.kind == "list":
        return f'<ul class="sentences">{"".join(f"<li>{escape(s)}</li>" for s in text.sentences)}</ul>'
    attribute = ' class="lead"' if text.kind == "lead" else ""
    return "".join(f"<p{attribute}>{escape(sentence)}</p>" for sentence in text.sentences)


def _scale(scale: Scale) -> str:
    """Show a figure on a scale from 0 to 1 with its interval and the null models."""
    interval = scale.interval
    nulls = "".join(
        f'<div class="null">“{escape(null)}” scores {format_number(score)}</div>'
        for null, score in scale.nulls.items()
    )
    ticks = "".join(f'<i class="tick" style="left:{score:.2%}"></i>' for score in scale.nulls.values())
    bar = ""
    if not np.isnan(interval.low):
        width = interval.high - interval.low
        bar = f'<i class="bar" style="left:{interval.low:.2%};width:{width:.2%}"></i>'
    return (
        f"<div><dt>{escape(scale.title)}</dt>"
        f'<dd><span class="value">{format_number(interval.estimate)}</span>'
        f'<div class="range">{interval.confidence * 100:g} % interval {format_interval(interval)}</div>'
        f'<div class="scale" aria-hidden="true">{bar}{ticks}'
        f'<i class="dot" style="left:{interval.estimate:.2%}"></i></div>'
        '<div class="ends" aria-hidden="true"><span>0</span><span>1</span></div>'
        f"{nulls}</dd></div>"
    )


def _table(table: Table) -> str:
    """Return a table with a caption, and header cells that say what they are for."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    split = len(table.rows) - table.n_summary
    body = f"<tbody>{_rows(table.rows[:split])}</tbody>"
    if table.n_summary:
        body += f'<tbody class="summary">{_rows(table.rows[split:])}</tbody>'
    css_class = "keys" if _is_key_table(table) else table.kind
    # A region that scrolls must be reachable by keyboard.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.caption)}">'
        f'<table class="{css_class}"><caption><span>{escape(table.caption)}</span></caption>'
        f"<thead><tr>{head}</tr></thead>{body}</table></div>"
    )


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>\n')
    return "".join(lines)


def _confusion(confusion: Confusion) -> str:
    """Show counts and row shares, shaded by share: blue where right, orange where wrong."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in confusion.labels)
    rows = []
    for i, name in enumerate(confusion.labels):
        cells = []
        for j, (count, share) in enumerate(zip(confusion.counts[i], confusion.shares[i], strict=True)):
            color = "accent" if i == j else "error"
            shade = 0.0 if np.isnan(share) else STRONGEST_SHADE * share**0.5
            css_class = ' class="right"' if i == j else ""
            cells.append(
                f'<td{css_class} style="background:rgb(var(--{color}-rgb) / {shade:.3f})">{count:,}'
                f"<small> {format_share(share)}</small></td>"
            )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>\n')
    caption = "Images of each true class (rows) by the class predicted (columns), and their share of the row"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Confusion matrix"><table class="confusion">'
        f"<caption><span>{caption}</span></caption>"
        f'<thead><tr><td></td><th scope="colgroup" colspan="{len(confusion.labels)}">predicted class</th></tr>'
        f'<tr><th scope="col">true class</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _picture(picture: Picture) -> str:
    return (
        f'<figure><img src="{escape(picture.data)}" width="{picture.side}" height="{picture.side}" '
        f'alt="{escape(picture.description)}"><figcaption>{escape(picture.caption)}</figcaption></figure>'
    )
