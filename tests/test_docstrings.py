"""Docstrings against numpydoc's rules and against the signatures that they describe."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

import skinclf

PACKAGES = ("", "augmentation", "datasets", "estimator", "evaluation", "models", "preprocessing", "reporting")

OFF = {
    "ES01": "a summary that says everything needs no second paragraph",
    "SA01": "a See Also section that must be there becomes a list of everything",
    "PR08": "a description may start with a dtype, such as uint8",
    "RT04": "a description may start with a dtype, such as uint8",
}
"""Codes of numpydoc that are not asked for anywhere, with the reason."""

OFF_FOR_METHODS = {"EX01": "the Examples of a class show its methods at work"}
OFF_FOR_EXCEPTIONS = {"EX01": "they are raised, and shown in the Raises section of what raises them"}
OFF_FOR_DATACLASSES = {
    "EX01": "the Examples of the function that makes one show it",
    "PR01": "nobody calls them; the fields are documented as Attributes, which is checked below",
    "PR02": "as PR01",
    "PR03": "as PR01",
}
TORCH_HOOKS = {"forward", "extra_repr"}
OFF_FOR_TORCH_HOOKS = {
    "PR01": "torch calls them; a summary such as '(N, C, H, W) -> (N, n_classes)' says all, and often better",
    "RT01": "as PR01",
}


def public_objects() -> Iterator[tuple[str, Any]]:
    """Yield every public class, function, method and property with its name."""
    for package in PACKAGES:
        module = importlib.import_module(f"skinclf.{package}".rstrip("."))
        for name in module.__all__:
            obj = getattr(module, name)
            if not callable(obj):
                continue
            yield f"{package}.{name}".lstrip("."), obj
            if inspect.isclass(obj):
                yield from ((f"{package}.{name}.{method}".lstrip("."), m) for method, m in methods(obj))


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that skinclf defines, its private base classes included."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("skinclf"):
            continue
        for name, value in vars(base).items():
            is_method = inspect.isfunction(value) or isinstance(value, property | staticmethod | classmethod)
            if is_method and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, value.__func__ if isinstance(value, staticmethod | classmethod) else value


def numpydoc_problems(obj: Any) -> list[str]:
    """List what numpydoc finds wrong, without the codes that are off."""
    off = {*OFF}
    if not inspect.isclass(obj) and "." in getattr(obj, "__qualname__", "property."):
        off |= {*OFF_FOR_METHODS}
    if is_torch_hook(obj):
        off |= {*OFF_FOR_TORCH_HOOKS}
    if is_exception(obj):
        off |= {*OFF_FOR_EXCEPTIONS}
    if dataclasses.is_dataclass(obj):
        off |= {*OFF_FOR_DATACLASSES}
    return [f"{code}: {text}" for code, text in validate(get_doc_object(obj))["errors"] if code not in off]


def is_torch_hook(obj: Any) -> bool:
    return inspect.isfunction(obj) and obj.__name__ in TORCH_HOOKS


def is_exception(obj: Any) -> bool:
    return inspect.isclass(obj) and issubclass(obj, BaseException)


def signature_problems(obj: Any) -> list[str]:
    """List where the documented parameters or their defaults differ from the signature."""
    if isinstance(obj, property) or is_exception(obj):
        return []
    document = get_doc_object(obj)
    if dataclasses.is_dataclass(obj):
        fields = [field.name for field in dataclasses.fields(obj)]
        attributes = [name for entry in document["Attributes"] for name in entry.name.split(", ")]
        return [] if attributes[: len(fields)] == fields else [f"fields {fields} != attributes {attributes}"]
    documented = {name.lstrip("*"): kind for name, (kind, _) in Validator(document).doc_parameters.items()}
    defaults = signature_defaults(obj)
    if is_torch_hook(obj) and not documented:
        return []
    if [*documented] != [*defaults]:
        return [f"documented parameters {[*documented]} != {[*defaults]} of the signature"]
    problems = {name: default_problem(kind, defaults[name]) for name, kind in documented.items()}
    return [f"{name}: {problem}" for name, problem in problems.items() if problem is not None]


def signature_defaults(obj: Any) -> dict[str, Any]:
    """Return the parameters of a function or class with their defaults, ``inspect.Parameter.empty`` for none."""
    parameters = inspect.signature(obj).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("self", "cls")}


def default_problem(kind: str, default: Any) -> str | None:
    """Compare what a type line says of the default with the real one."""
    stated = re.search(r"default[=:]? ?(.+)$", kind)
    if default is inspect.Parameter.empty:
        return f"{kind!r} states a default, but there is none" if stated or "optional" in kind else None
    if stated is None:
        says_none = kind == "ignored" or "optional" in kind
        return None if says_none and default is None else f"{kind!r} does not state the default {default!r}"
    try:
        value = ast.literal_eval(stated[1])
    except (SyntaxError, ValueError):
        return f"{kind!r} states a default that is no literal; the signature has {default!r}"
    same = value == default and isinstance(value, bool) == isinstance(default, bool)
    return None if same else f"{kind!r} states another default than {default!r}, which the signature has"


OBJECTS = dict(public_objects())


@pytest.mark.parametrize("name", OBJECTS)
def test_a_docstring_follows_numpydoc(name: str) -> None:
    assert numpydoc_problems(OBJECTS[name]) == []


@pytest.mark.parametrize("name", OBJECTS)
def test_documented_parameters_and_defaults_are_those_of_the_signature(name: str) -> None:
    assert signature_problems(OBJECTS[name]) == []


def test_every_public_name_is_looked_at() -> None:
    assert {"LesionCNNClassifier", "datasets.load_ham10000", "evaluation.cross_validate"} <= {*OBJECTS}
    assert {"LesionCNNClassifier.fit", "preprocessing.ImageLoader.load"} <= {*OBJECTS}
    packages = {name for name in dir(skinclf) if inspect.ismodule(getattr(skinclf, name))}
    assert packages == {*PACKAGES} - {""}


class WronglyDocumented:
    """has every fault that the checks are for

    Parameters
    ----------
    size : int, default=64
        Side.
    shape : tuple
        Shape.
    mode : str, optional
        Mode.
    share : float, default=0.5
        Share.
    flag : bool, default=1
        Flag.
    name : str, default=unknown
        Name.
    """

    def __init__(
        self,
        size: int = 32,
        shape: tuple[int, ...] | None = None,
        mode: str = "fast",
        share: float = 0.5,
        flag: bool = True,
        name: str = "unknown",
    ) -> None: ...

    def undocumented(self) -> None: ...

    def renamed(self, new_name: int) -> int:
        """Return a number.

        Parameters
        ----------
        old_name : int
            A number.
        """
        return new_name


def test_faults_of_style_are_found() -> None:
    codes = {problem[:4] for problem in numpydoc_problems(WronglyDocumented)}
    assert {"SS02", "SS03", "EX01"} <= codes
    assert [problem[:4] for problem in numpydoc_problems(WronglyDocumented.undocumented)] == ["GL08"]
    assert {problem[:4] for problem in numpydoc_problems(WronglyDocumented.renamed)} >= {"PR01", "PR02", "RT01"}


def test_wrong_defaults_are_found() -> None:
    assert signature_problems(WronglyDocumented) == [
        "size: 'int, default=64' states another default than 32, which the signature has",
        "shape: 'tuple' does not state the default None",
        "mode: 'str, optional' does not state the default 'fast'",
        "flag: 'bool, default=1' states another default than True, which the signature has",
        "name: 'str, default=unknown' states a default that is no literal; the signature has 'unknown'",
    ]
    assert signature_problems(WronglyDocumented.renamed) == [
        "documented parameters ['old_name'] != ['new_name'] of the signature"
    ]
    assert default_problem("int, default=3", inspect.Parameter.empty) is not None


def test_reordered_fields_of_a_dataclass_are_found() -> None:
    @dataclasses.dataclass
    class Result:
        """A result.

        Attributes
        ----------
        second : int
            Second.
        first : int
            First.
        """

        first: int
        second: int

    assert signature_problems(Result) == ["fields ['first', 'second'] != attributes ['second', 'first']"]
