"""The report as plain text for a terminal, and as Markdown."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from skinclf.reporting._sections import Block, Chart, Confusion, Picture, Scales, Section, Text
from skinclf.reporting._tables import Table

if TYPE_CHECKING:
    from skinclf.reporting._report import EvaluationReport


_TEXT_WIDTH = 100


def render_text(report: EvaluationReport) -> str:
    """Return what fits a terminal: the overall figures, warnings, and the tables of some sections."""
    balanced, accuracy = (report.intervals[name] for name in ("balanced_accuracy", "accuracy"))
    summary = f"Balanced accuracy {balanced}, accuracy {accuracy}"
    summary += "".join(
        f"\n“{null}” scores {row['balanced_accuracy']:.3f} and {row['accuracy']:.3f}"
        for null, row in report.null_models.iterrows()
    )
    parts = [f"{report.title}\n{'=' * len(report.title)}", summary]
    parts += [f"WARNING: {warning}" for warning in report.protocol.warnings]
    parts.append(report.size)
    for section in report.sections:
        if section.in_text:
            tables = [table for block in section.blocks for table in _tables_of(block)]
            parts += [f"{fill(table.caption, _TEXT_WIDTH)}\n\n{text_table(table)}" for table in tables]
    parts.append(report.notice)
    return "\n\n".join(parts)


def render_markdown(report: EvaluationReport) -> str:
    """Return all sections; charts and photos are replaced by their descriptions."""
    lines = [f"# {escape_markdown(report.title)}", report.size]
    lines += [escape_markdown(report.description)] if report.description else []
    lines += [f"> **Warning.** {escape_markdown(warning)}" for warning in report.protocol.warnings]
    for section in report.sections:
        lines += [f"## {section.title}", *_markdown_section(section)]
    footer = f"Computed on {report.provenance.date} with skinclf. {report.notice}"
    return "\n\n".join([*lines, footer]) + "\n"


def _markdown_section(section: Section) -> list[str]:
    lines = []
    for block in section.blocks:
        if isinstance(block, Text):
            prefix = {"list": "- ", "warning": "> **Warning.** "}.get(block.kind, "")
            entries = [f"{prefix}{escape_markdown(sentence)}" for sentence in block.sentences]
            lines += ["\n".join(entries)] if block.kind == "list" else entries
        elif isinstance(block, Chart | Picture):
            lines.append(f"*{escape_markdown(block.description)}*")
        for table in _tables_of(block):
            lines += [escape_markdown(table.caption), markdown_table(table)]
    return lines


def _tables_of(block: Block) -> list[Table]:
    if isinstance(block, Table):
        return [block]
    return [block.table] if isinstance(block, Scales | Confusion) else []


def text_table(table: Table) -> str:
    """Align columns with spaces: the first to the left, the others to the right.

    Examples
    --------
    >>> from skinclf.reporting._tables import Table
    >>> from skinclf.reporting._text import text_table
    >>> print(text_table(Table("", ("class", "images"), (("mel", "1,113"), ("nv", "6,705")))))
    class  images
    mel     1,113
    nv      6,705
    """
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    formatted = []
    for number, line in enumerate(lines):
        if table.n_summary and number == len(lines) - table.n_summary:
            formatted.append("")
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        formatted.append("  ".join(cells).rstrip())
    return "\n".join(formatted)


def markdown_table(table: Table) -> str:
    """Return a Markdown table; the summary rows are bold.

    Examples
    --------
    >>> from skinclf.reporting._tables import Table
    >>> from skinclf.reporting._text import markdown_table
    >>> print(markdown_table(Table("", ("class", "images"), (("mel", "1,113"), ("all", "1,113")), n_summary=1)))
    | class | images |
    |---|---:|
    | mel | 1,113 |
    | **all** | **1,113** |
    """
    lines = [_markdown_row(table.header), "|---|" + "---:|" * (len(table.header) - 1)]
    first_summary = len(table.rows) - table.n_summary
    for number, row in enumerate(table.rows):
        bold = number >= first_summary
        lines.append(_markdown_row(row, bold=bold))
    return "\n".join(lines)


def _markdown_row(cells: tuple[str, ...], *, bold: bool = False) -> str:
    escaped = [escape_markdown(cell) for cell in cells]
    if bold:
        escaped = [f"**{cell}**" if cell else "" for cell in escaped]
    return f"| {' | '.join(escaped)} |"


def escape_markdown(text: str) -> str:
    """Keep text from being read as markup, or as the end of a table cell."""
    for character in "\\`*_<>|[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
