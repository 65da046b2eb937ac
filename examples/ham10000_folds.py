"""
Folds that are stored, and rows of figures
==========================================

What the long scripts on HAM10000 share: a fold that was run is a file, so that a run which was stopped goes on
when it is started again; and a figure of a table stands beside its interval.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def stored_fold(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is stored in a file, or make it and store it; a file is written whole, or not at all."""
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **make())
        part.replace(path)
    return read_fold(path)


def read_fold(path: Path) -> dict[str, Any]:
    """Return the arrays of a file, and what is told of them."""
    with np.load(path) as content:
        fold = {name: content[name] for name in content.files}
    return {**fold, "told": json.loads(str(fold["told"]))}


def figures_with_intervals(table: pd.DataFrame, figures: Mapping[str, str]) -> dict[str, Any]:
    """Return some rows of `skinclf.evaluation.bootstrap_table` by other names, each beside its interval."""
    row: dict[str, Any] = {}
    for column, metric in figures.items():
        found = table.loc[metric]
        row[column] = round(float(found["estimate"]), 6)
        row[f"{column}_interval"] = [round(float(found[end]), 6) for end in ("low", "high")]
    return row


def code_version(files: Iterable[Path]) -> str:
    """Return eight digits that change with the code of some files; comments and docstrings do not count."""
    digest = hashlib.sha256()
    for file in sorted(files):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and ast.get_docstring(node) is not None
            ):
                del node.body[0]
        digest.update(f"{file.name}: {ast.dump(tree)}".encode())
    return digest.hexdigest()[:8]
