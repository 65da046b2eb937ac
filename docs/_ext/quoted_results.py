"""The role ``quoted`` and the directive ``quoted-table``: figures of docs/results on pages that tell a story.

``:quoted:`ham10000_protocols rows/split_by_image/accuracy %``` is a value of ``ham10000_protocols.json``; the
entries of a list of rows are named by the first value of the row. The last word says how it is printed: ``%`` with
one digit, ``%%`` with two, ``3`` with three digits after the point, ``n`` as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from measured_results import header, number, table
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

FORMATS = {
    "%": lambda value: f"{100 * value:.1f} %",
    "%%": lambda value: f"{100 * value:.2f} %",
    "3": lambda value: f"{value:.3f}",
    "n": lambda value: value if isinstance(value, str) else number(value),
}


def quote(folder: Path, text: str) -> str:
    """Return a value of a file in a folder, as ``file path format`` asks for it.

    Raises
    ------
    ValueError
        If there is no such value, or no such format.
    """
    try:
        file, path, form = text.split()
        return FORMATS[form](look_up(folder, file, path))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{text!r} quotes nothing that is in {folder.name}: {error!r}") from error


def look_up(folder: Path, file: str, path: str) -> Any:
    """Return what is in a file, at a path of keys with slashes between them."""
    value = json.loads((folder / f"{file}.json").read_text(encoding="utf-8"))
    for key in path.split("/"):
        value = find(value, key)
    return value


def find(content: Any, key: str) -> Any:
    """Return a value of a dictionary, or of a list by number or by the first value of its entries."""
    if not isinstance(content, list):
        return content[key]
    if key.isdecimal():
        return content[int(key)]
    (row,) = [row for row in content if next(iter(row.values())) == key]
    return row


def cell(row: dict[str, Any], key: str) -> str:
    """Return a value of a row, with its interval if it has one; shares in percent."""
    value = row[key]
    if isinstance(value, str):
        return f"``{value}``" if key == next(iter(row)) else value
    if f"{key}_interval" not in row:
        return FORMATS["%"](value) if isinstance(value, float) and value <= 1 else number(value)
    low, high = row[f"{key}_interval"]
    return f"**{100 * value:.1f}** ({100 * low:.1f}–{100 * high:.1f})"


class Quoted(SphinxRole):
    """A figure in a sentence."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the figure as text."""
        folder = Path(self.env.srcdir) / "results"
        self.env.note_dependency(str(folder / f"{self.text.split()[0]}.json"))
        return [nodes.Text(quote(folder, self.text).replace(" %", "\N{NO-BREAK SPACE}%"))], []


class QuotedTable(SphinxDirective):
    """Some columns of the rows of a result: of a list, or of a dictionary whose keys are the first column."""

    required_arguments = 2
    option_spec = {"columns": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        folder, (name, path) = Path(self.env.srcdir) / "results", self.arguments
        self.env.note_dependency(str(folder / f"{name}.json"))
        rows = look_up(folder, name, path)
        keys = self.options["columns"].split()
        if isinstance(rows, dict):
            rows = [{"": key, **row} for key, row in rows.items()]
            keys = ["", *keys]
        lines = table([header(key) for key in keys], [[cell(row, key) for key in keys] for row in rows])
        container = nodes.section()
        container.document = self.state.document
        self.state.nested_parse(StringList(lines, source=name), self.content_offset, container)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role and the directive."""
    app.add_role("quoted", Quoted())
    app.add_directive("quoted-table", QuotedTable)
    return {"version": "1", "parallel_read_safe": True}
