"""The report as one self-contained page: no script, no network, nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from skinclf.reporting._svg import history_figures
from skinclf.reporting._tables import (
    Table,
    class_table,
    fold_table,
    format_interval,
    format_number,
    mapping_table,
)

if TYPE_CHECKING:
    from skinclf.reporting._report import EvaluationReport

_STRONGEST_SHADE = 0.6
"""Opacity of a confusion cell that holds its whole row; text keeps a contrast of over 4.5 to 1 on it.

It grows with the square root of the share, so that a confusion of 5 % can be seen beside a sensitivity of 90 %.
"""


def render_html(report: EvaluationReport) -> str:
    """Return the whole page."""
    sections = [
        _section("Summary", _summary(report)),
        _section("Protocol", "".join(f"<p>{escape(s)}</p>" for s in report.protocol.sentences)),
        _section("Classes", _table(class_table(report.metrics, report.intervals))),
        _section("Confusion matrix", _confusion(report)),
    ]
    if report.folds is not None:
        sections.insert(2, _section("Folds", _table(fold_table(report.folds))))
    if report.history is not None:
        sections.append(_section("Training", _charts(report)))
    sections.append(_section("Versions, machine and parameters", _provenance(report)))
    style = resources.files("skinclf.reporting").joinpath("report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(report.title)}</title>",
            # Without it a browser asks the server, where there is one, for an icon.
            '<link rel="icon" href="data:,">',
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            _header(report),
            "<main>",
            *sections,
            "</main>",
            f"<footer><p>Computed on {escape(report.provenance.date)} with skinclf. "
            f"{escape(report.notice)}</p></footer>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _header(report: EvaluationReport) -> str:
    description = f'<p class="description">{escape(report.description)}</p>' if report.description else ""
    alarm = ""
    if report.protocol.warnings:
        paragraphs = "".join(f"<p>{escape(warning)}</p>" for warning in report.protocol.warnings)
        alarm = f'<div class="alarm" role="note" aria-label="Warning">{paragraphs}</div>'
    return (
        f'<header class="top"><h1>{escape(report.title)}</h1><p class="size">{escape(report.size)}</p>'
        f'{description}<p class="notice">{escape(report.notice)}</p>{alarm}</header>'
    )


def _section(title: str, content: str) -> str:
    name = "".join(character if character.isalnum() else "-" for character in title.lower())
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>\n{content}</section>'


def _summary(report: EvaluationReport) -> str:
    """Show the overall figures, each on a scale from 0 to 1 with its interval and the null models."""
    parts = []
    for name, title in (("balanced_accuracy", "Balanced accuracy"), ("accuracy", "Accuracy")):
        interval = report.intervals[name]
        nulls = "; ".join(
            f"“{escape(str(null))}” scores {format_number(score)}"
            for null, score in report.null_models[name].items()
        )
        ticks = "".join(f'<i class="tick" style="left:{score:.2%}"></i>' for score in report.null_models[name])
        bar = ""
        if not np.isnan(interval.low):
            width = interval.high - interval.low
            bar = f'<i class="bar" style="left:{interval.low:.2%};width:{width:.2%}"></i>'
        parts.append(
            f"<div><dt>{title}</dt>"
            f'<dd><span class="value">{format_number(interval.estimate)}</span>'
            f'<div class="scale" aria-hidden="true">{bar}{ticks}'
            f'<i class="dot" style="left:{interval.estimate:.2%}"></i></div>'
            '<div class="ends" aria-hidden="true"><span>0</span><span>1</span></div>'
            f'<div class="range">{interval.confidence * 100:g} % interval {format_interval(interval)}</div>'
            f'<div class="null">{nulls}</div></dd></div>'
        )
    return f'<dl class="figures">{"".join(parts)}</dl>'


def _table(table: Table, css_class: str = "") -> str:
    """Return a table with a caption, and header cells that say what they are for."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    split = len(table.rows) - table.n_summary
    body = f"<tbody>{_rows(table.rows[:split])}</tbody>"
    if table.n_summary:
        body += f'<tbody class="summary">{_rows(table.rows[split:])}</tbody>'
    attribute = f' class="{css_class}"' if css_class else ""
    # A region that scrolls must be reachable by keyboard.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.caption)}"><table{attribute}>'
        f"<caption><span>{escape(table.caption)}</span></caption><thead><tr>{head}</tr></thead>{body}</table></div>"
    )


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>\n')
    return "".join(lines)


def _confusion(report: EvaluationReport) -> str:
    """Show counts and row shares, shaded by share: blue where right, orange where wrong."""
    counts = report.metrics.confusion
    names = [str(label) for label in report.metrics.labels]
    caption = "Images of each true class (rows) by the class predicted (columns), and their share of the row"
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = []
    for i, name in enumerate(names):
        total = counts[i].sum()
        cells = []
        for j, count in enumerate(counts[i]):
            share = count / total if total else float("nan")
            color = "accent" if i == j else "error"
            shade = 0.0 if np.isnan(share) else _STRONGEST_SHADE * share**0.5
            text = "–" if np.isnan(share) else f"{share:.0%}"
            css_class = ' class="right"' if i == j else ""
            cells.append(
                f'<td{css_class} style="background:rgb(var(--{color}-rgb) / {shade:.3f})">{count:,}'
                f"<small>{text}</small></td>"
            )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>\n')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Confusion matrix"><table class="confusion">'
        f"<caption><span>{caption}</span></caption>"
        f'<thead><tr><td></td><th scope="colgroup" colspan="{len(names)}">predicted class</th></tr>'
        f'<tr><th scope="col">true class</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _charts(report: EvaluationReport) -> str:
    if report.history is None:
        return ""
    figures = [
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for svg, caption in history_figures(report.history)
    ]
    return f'<div class="charts">{"".join(figures)}</div>'


def _provenance(report: EvaluationReport) -> str:
    tables = [
        mapping_table("Versions", ("package", "version"), report.provenance.versions),
        mapping_table("Machine", ("part", "description"), report.provenance.machine),
    ]
    if report.parameters:
        tables.append(mapping_table("Parameters", ("parameter", "value"), report.parameters))
    return f'<div class="key-tables">{"".join(_table(table, "keys") for table in tables)}</div>'
