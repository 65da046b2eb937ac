"""The directive ``fault-table``: what can go wrong, what happens then, and the tests that show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from fault_marks import marked_tests
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class FaultTable(SphinxDirective):
    """Show docs/faults.json beside the tests."""

    def run(self) -> list[nodes.Node]:
        """Return one definition a fault."""
        file = Path(self.env.srcdir) / "faults.json"
        self.env.note_dependency(str(file))
        tests = marked_tests(Path(self.env.srcdir).parent / "tests")
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 6 26 38 30", ""]
        lines += ["   * - no.", "     - what", "     - what happens", "     - shown by"]
        for entry in json.loads(file.read_text(encoding="utf-8")):
            lines += [
                f"   * - {entry['number']}",
                f"     - {_literal(entry['fault'])}",
                f"     - {_literal(entry['what_happens'])}",
                f"     - {', '.join(f'``{_short(test)}``' for test in tests[entry['number']])}",
            ]
        section = nodes.section()
        section.document = self.state.document
        self.state.nested_parse(StringList(lines, source=str(file)), self.content_offset, section)
        return section.children


def _literal(text: str) -> str:
    return text.replace("`", "``")


def _short(test: str) -> str:
    return test.split("::")[1].removeprefix("test_").replace("_", " ")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("fault-table", FaultTable)
    return {"version": "1", "parallel_read_safe": True}
