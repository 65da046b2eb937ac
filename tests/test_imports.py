"""The architecture's import rule, and what an import of the library costs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import skinclf

PACKAGE = Path(skinclf.__file__).parent
TESTS = Path(__file__).parent
PROJECT = TESTS.parent

LEAVES = ("_validation", "_random", "_files", "_leakage")
"""Anything in the library may import these; they import nothing of it but each other."""

ORDER = (
    "datasets",
    "preprocessing",
    "augmentation",
    "models",
    "estimator",
    "evaluation",
    "reporting",
    "explain",
    "cli",
)
"""A part may import what stands before it, never what stands after it."""

TORCH_PARTS = {"augmentation", "models", "estimator"}
MAX_LINES = 500


@dataclass(frozen=True)
class Import:
    """One imported module, as a dotted name.

    ``place`` is ``"module"`` (run when the module is imported), ``"function"``, or ``"typing"`` (never run).
    """

    name: str
    line: int
    place: str


def read_imports(source: str, package: str) -> list[Import]:
    """List the imports of a module that lies in the package of this dotted name."""
    return list(_walk(ast.parse(source), package, "module"))


def _walk(node: ast.AST, package: str, place: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, place)
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")
        base = parents[: len(parents) - node.level + 1] if node.level else []
        origin = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            yield Import(f"{origin}.{alias.name}", node.lineno, place)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.body:
            yield from _walk(child, package, "typing")
        for child in node.orelse:
            yield from _walk(child, package, place)
    else:
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, package, "function" if inside and place == "module" else place)


def part_of(path: Path) -> str:
    """Return the part of the library that a module belongs to; ``""`` for skinclf/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def broken_rules(source: str, part: str) -> list[str]:
    """Say which imports of a module break the architecture's rule."""
    package = "skinclf" if part in ("", "cli", *LEAVES) else f"skinclf.{part}"
    problems = []
    for found in read_imports(source, package):
        library, _, rest = found.name.partition(".")
        where = f"line {found.line}: {found.name}"
        if library == "skinclf":
            problem = _breaks_order(part, rest.partition(".")[0])
            shown_to_type_checkers = part == "" and found.place == "typing"
            if problem and not shown_to_type_checkers:
                problems.append(f"{where}: {problem}")
        elif library == "skorch" and part != "estimator":
            problems.append(f"{where}: only skinclf.estimator may import skorch")
        elif library == "torch" and part not in TORCH_PARTS and found.place != "typing":
            drawn_late = part == "_random" and found.place == "function"
            if not drawn_late:
                problems.append(f"{where}: torch belongs to {sorted(TORCH_PARTS)}")
        elif library == "matplotlib" and found.place == "module":
            problems.append(f"{where}: matplotlib is imported inside the function that draws")
    return problems


def _breaks_order(importer: str, imported: str) -> str | None:
    if imported == "__version__" or imported in LEAVES or imported == importer:
        return None
    if imported not in ORDER:
        return f"is none of the parts {list(ORDER)}"
    if importer in LEAVES:
        return "a private leaf imports nothing of the library"
    if importer == "" or ORDER.index(imported) > ORDER.index(importer):
        return f"{imported!r} comes after {importer or 'skinclf/__init__.py'!r} in the order"
    return None


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_comes_before_it(path: Path) -> None:
    assert broken_rules(path.read_text("utf-8"), part_of(path)) == []


def test_every_part_of_the_library_has_its_place_in_the_order() -> None:
    parts = {part_of(path) for path in modules()} - {"", *LEAVES}
    assert parts <= set(ORDER)
    assert len(modules()) > 20  # the parametrised test above has something to read


@pytest.mark.parametrize(
    ("part", "source", "message"),
    [
        ("datasets", "from skinclf.models import lesion_cnn", "'models' comes after 'datasets'"),
        ("datasets", "import skinclf.models._loss as loss", "'models' comes after 'datasets'"),
        ("evaluation", "def f():\n    from skinclf import reporting", "line 2: skinclf.reporting:"),
        ("models", "from ..estimator import LesionCNNClassifier", "'estimator' comes after 'models'"),
        ("_random", "from skinclf.datasets import load_isic", "a private leaf imports nothing"),
        ("reporting", "from skinclf.helpers import x", "is none of the parts"),
        ("", "from skinclf.estimator import LesionCNNClassifier", "comes after 'skinclf/__init__.py'"),
        ("models", "import skorch", "only skinclf.estimator may import skorch"),
        ("evaluation", "def f():\n    import torch", "torch belongs to"),
        ("_random", "import torch", "torch belongs to"),
        ("reporting", "try:\n    import matplotlib\nexcept ImportError:\n    pass", "function that draws"),
    ],
)
def test_the_rule_can_be_broken(part: str, source: str, message: str) -> None:
    problems = broken_rules(source, part)
    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("evaluation", "from skinclf._random import spawn_seeds\nfrom skinclf.estimator import x"),
        ("models", "from ._loss import WeightedCrossEntropy\nfrom .. import _validation"),
        ("_random", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("_random", "def f():\n    import torch"),
        ("", "if TYPE_CHECKING:\n    from skinclf.estimator import LesionCNNClassifier"),
        ("reporting", "def plot(self):\n    import matplotlib.pyplot as plt"),
    ],
)
def test_what_the_rule_allows(part: str, source: str) -> None:
    assert broken_rules(source, part) == []


def long_files(folders: list[Path]) -> dict[str, int]:
    """Return the modules of more than MAX_LINES lines."""
    lengths = {path: path.read_text("utf-8").count("\n") for folder in folders for path in folder.rglob("*.py")}
    return {path.name: length for path, length in lengths.items() if length > MAX_LINES}


def test_no_module_is_longer_than_500_lines(tmp_path: Path) -> None:
    assert long_files([PACKAGE, TESTS]) == {}
    (tmp_path / "long.py").write_text("x = 1\n" * (MAX_LINES + 1))
    assert long_files([tmp_path]) == {"long.py": MAX_LINES + 1}


def test_no_file_knows_of_a_folder_outside_the_project() -> None:
    outside = re.compile(r"(?:\.\.|/\w+)/shared/")
    assert outside.search("data = '../" + "shared/data'")
    folders = (PACKAGE, TESTS, *(PROJECT / name for name in ("docs", "examples", "benchmarks")))
    files = [path for folder in folders for path in folder.rglob("*") if "_build" not in path.parts]
    files += PROJECT.glob("*.md")
    texts = [path for path in files if path.suffix in {".py", ".md", ".rst", ".json", ".css", ".html"}]
    assert [path for path in texts if outside.search(path.read_text("utf-8"))] == []


def imported_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after a statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "module", ["skinclf", "skinclf.datasets", "skinclf.evaluation", "skinclf.reporting", "skinclf.cli"]
)
def test_an_import_does_not_load_torch(module: str) -> None:
    assert imported_by(f"import {module}") & {"torch", "torchvision", "skorch", "matplotlib", "imblearn"} == set()


def test_the_bare_import_loads_no_library_at_all() -> None:
    assert imported_by("import skinclf; dir(skinclf)") & {"numpy", "pandas", "sklearn", "PIL"} == set()


def test_the_classifier_is_imported_when_it_is_asked_for() -> None:
    assert {"torch", "skorch"} <= imported_by("from skinclf import LesionCNNClassifier")
    from skinclf import LesionCNNClassifier

    assert LesionCNNClassifier is skinclf.estimator.LesionCNNClassifier
    assert LesionCNNClassifier is skinclf.LesionCNNClassifier


def test_dir_lists_the_public_names_and_the_packages() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(dir(skinclf)) >= {"LesionCNNClassifier", "__version__", *packages}
    for name in dir(skinclf):
        assert getattr(skinclf, name) is not None


def test_packages_are_attributes_of_a_bare_import() -> None:
    assert "sklearn" in imported_by("import skinclf; skinclf.evaluation.cross_validate")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'skinclf' has no attribute 'LesionCNN'$"):
        _ = skinclf.LesionCNN
    with pytest.raises(ImportError, match="cannot import name 'LesionCNN' from 'skinclf'"):
        from skinclf import LesionCNN  # noqa: F401
