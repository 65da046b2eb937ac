"""Which test shows which fault of docs/faults.json: read from the marks, for a test and for the documentation."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path


def marked_tests(folder: Path) -> dict[int, list[str]]:
    """Return for each number the tests under `folder` that are marked with it, as ``file::test``."""
    found = defaultdict(list)
    for file in sorted(folder.rglob("test_*.py")):
        module = ast.parse(file.read_text(encoding="utf-8"))
        everywhere = [number for node in module.body if isinstance(node, ast.Assign) for number in _numbers(node)]
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in sorted({*everywhere, *(n for mark in node.decorator_list for n in _numbers(mark))}):
                    found[number].append(f"{file.relative_to(folder.parent).as_posix()}::{node.name}")
    return dict(found)


def _numbers(tree: ast.AST) -> list[int]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    marks = (call for call in calls if ast.unparse(call.func) == "pytest.mark.fault")
    return [argument.value for mark in marks for argument in mark.args if isinstance(argument, ast.Constant)]
