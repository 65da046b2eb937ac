"""The list of faults in the documentation, and the tests that are marked with their numbers, agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fault_marks import marked_tests

PROJECT = Path(__file__).parents[1]
FAULTS = json.loads((PROJECT / "docs" / "faults.json").read_text(encoding="utf-8"))
MARKED = marked_tests(PROJECT / "tests")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['number']} {fault['fault']}")
def test_every_fault_of_the_documentation_is_shown_by_a_test(fault):
    assert MARKED.get(fault["number"])


def test_every_mark_has_a_line_in_the_documentation():
    assert set(MARKED) <= {fault["number"] for fault in FAULTS}
    assert [fault["number"] for fault in FAULTS] == sorted({fault["number"] for fault in FAULTS})
