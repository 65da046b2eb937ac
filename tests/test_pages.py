"""The pages in docs: their sessions are run, and the reference lists every public name."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [
    page for page in sorted([*DOCS.glob("*.rst"), *DOCS.glob("user_guide/*.rst")]) if ">>> " in page.read_text()
]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_output_on_a_page_is_real(page: Path) -> None:
    results = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert results.attempted > 0
    assert results.failed == 0


def test_every_page_of_the_user_guide_has_a_session() -> None:
    assert {page.stem for page in PAGES} >= {"images_and_labels", "splits_by_lesion", "training", "evaluation"}


def names_in_reference() -> set[str]:
    """Return the dotted names that the autosummary tables of docs/api.rst list."""
    module, names = "", set()
    for line in (DOCS / "api.rst").read_text("utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            names.add(f"{module}.{line.strip()}")
    return names


def public_names() -> set[str]:
    """Return the dotted names of all public classes and functions."""
    packages = ["skinclf", *(f"skinclf.{path.parent.name}" for path in DOCS.parent.glob("skinclf/*/__init__.py"))]
    modules = [importlib.import_module(package) for package in packages]
    return {f"{m.__name__}.{name}" for m in modules for name in m.__all__ if callable(getattr(m, name))}


def test_the_reference_lists_every_public_name_and_no_other() -> None:
    listed_as_skinclfs = {
        "skinclf.estimator.LesionCNNClassifier",
        "skinclf.estimator.LesionFeatures",
        "skinclf.evaluation.LesionEnsemble",
    }
    assert names_in_reference() == public_names() - listed_as_skinclfs
