"""Tables as plain text for a terminal, and as Markdown."""

from __future__ import annotations

from skinclf.reporting._tables import Table


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
