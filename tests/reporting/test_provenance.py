"""Provenance names versions and machine, and neither a person nor a place."""

from __future__ import annotations

import getpass
import os
import platform
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skinclf.reporting import _provenance as provenance


class Anything(BaseEstimator):
    def __init__(self, value: Any = None) -> None:
        self.value = value


def test_versions_machine_and_date() -> None:
    found = provenance.collect_provenance()
    assert date.fromisoformat(found.date) == datetime.now(UTC).date()
    assert found.versions["python"] == platform.python_version()
    assert found.versions["numpy"] == np.__version__
    assert int(found.machine["cores"]) >= 1
    assert found.machine["processor"]
    assert platform.system() in found.machine["system"]


def test_no_host_user_or_path() -> None:
    found = provenance.collect_provenance()
    text = " ".join([*found.versions.values(), *found.machine.values()])
    names = {platform.node(), str(Path.home()), str(Path.cwd())}
    names |= {getpass.getuser()} if getpass.getuser() != "root" else set()
    assert not [name for name in names if len(name) > 2 and name in text]
    assert os.sep not in found.machine.get("processor", "")


def test_gpu_is_named_only_if_torch_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=lambda: "NVIDIA H100")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert provenance.collect_provenance().machine["gpu"] == "NVIDIA H100"
    monkeypatch.delitem(sys.modules, "torch")
    assert "gpu" not in provenance.collect_provenance().machine


def test_a_missing_package_and_an_unknown_system_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("no such file")

    def read_text(path: Path, *arguments: Any, **keywords: Any) -> str:
        return fail() if path == Path("/proc/cpuinfo") else original(path, *arguments, **keywords)

    original = Path.read_text

    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "a-package-that-nobody-has-installed"))
    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "freedesktop_os_release", fail)
    monkeypatch.setattr(os, "sysconf", fail)
    found = provenance.collect_provenance()
    assert found.versions.keys() == {"python", "skinclf", "numpy"}
    assert "memory" not in found.machine
    assert found.machine["processor"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.001, "0.001"),
        ("balanced", "'balanced'"),
        (None, "None"),
        (np.float64(0.5), "0.5"),
        ((32, 64, "relu"), "(32, 64, 'relu')"),
        ({"mel": 2.0}, "{'mel': 2.0}"),
        ("/home/somebody/cache", "(path)"),
        ("~/cache", "(path)"),
        ("C:\\Users\\somebody", "(path)"),
        (Path("cache"), "(path)"),
        ([Path("/a"), 1], "[(path), 1]"),
        (np.zeros((1000, 3)), "ndarray"),
        (len, "len"),
        (SVC, "SVC"),
        ("x" * 500, "'" + "x" * 118 + "…"),
    ],
)
def test_parameters_are_text_without_paths(value: Any, text: str) -> None:
    assert provenance.describe_parameters(Anything(value)) == {"value": text}


def test_parameters_of_a_pipeline(tmp_path: Path) -> None:
    pipeline = make_pipeline(StandardScaler(), SVC(C=3.0), memory=joblib.Memory(tmp_path, verbose=0))
    parameters = provenance.describe_parameters(pipeline)
    assert parameters["svc__C"] == "3.0"
    assert parameters["memory"] == "Memory"
    assert str(tmp_path) not in " ".join(parameters.values())
