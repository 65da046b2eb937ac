"""What a result was computed with: versions and machine, without anything that names a person or a place."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from skinclf import __version__

PACKAGES = ("numpy", "pandas", "scikit-learn", "torch", "skorch", "pillow", "matplotlib")
"""Distributions whose versions are named, if they are installed."""

_LONGEST_VALUE = 120


@dataclass(frozen=True)
class Provenance:
    """When, with which versions and on what kind of machine a result was computed.

    Attributes
    ----------
    date : str
        ISO 8601, in UTC, such as ``"2025-01-31"``.
    versions : mapping of str to str
        Python and the packages.
    machine : mapping of str to str
        Processor, cores, memory, operating system and, if torch is in use, GPU. No host name, user or path.
    """

    date: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]


def collect_provenance() -> Provenance:
    """Look at the running process; torch is not imported for it.

    Examples
    --------
    >>> from skinclf.reporting._provenance import collect_provenance
    >>> sorted(collect_provenance().versions)[:3]
    ['matplotlib', 'numpy', 'pandas']
    """
    return Provenance(
        date=datetime.now(UTC).date().isoformat(), versions=_find_versions(), machine=_describe_machine()
    )


def _find_versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "skinclf": __version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _describe_machine() -> dict[str, str]:
    parts = {
        "processor": _processor(),
        "cores": str(_usable_cores()),
        "memory": _memory(),
        "system": _system(),
        "gpu": _gpu(),
    }
    return {name: words for name, words in parts.items() if words}


def _processor() -> str:
    """Name of the processor; the architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # no such call or name on this system
        return ""
    return f"{n_bytes / 2**30:.0f} GiB"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return f"{platform.system()} ({name})" if name else f"{platform.system()} {platform.release()}"


def _gpu() -> str:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    return str(torch.cuda.get_device_name())


def describe_parameters(estimator: Any) -> dict[str, str]:
    """Return the parameters of an estimator, and of what it is made of, as text.

    Numbers, names and short collections of them are shown; a folder or file is replaced by ``"(path)"``, and any
    other object by the name of its class.

    Parameters
    ----------
    estimator : scikit-learn estimator
        Fitted or not.

    Returns
    -------
    dict of str to str
        In the order of ``get_params``.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> from skinclf.reporting._provenance import describe_parameters
    >>> describe_parameters(SVC())["kernel"]
    "'rbf'"
    """
    return {name: _describe_value(value) for name, value in estimator.get_params(deep=True).items()}


def _describe_value(value: Any) -> str:
    if isinstance(value, os.PathLike) or (isinstance(value, str) and _looks_like_a_path(value)):
        return "(path)"
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return _shorten(repr(value))
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_describe_value(key)}: {_describe_value(item)}" for key, item in value.items())
        return _shorten(f"{{{inner}}}")
    if isinstance(value, list | tuple):
        inner = ", ".join(_describe_value(item) for item in value)
        return _shorten(f"[{inner}]" if isinstance(value, list) else f"({inner})")
    if isinstance(value, type) or callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    return type(value).__name__


def _looks_like_a_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith("~")


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
