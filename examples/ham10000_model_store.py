"""
Where the runs of the table of models are stored
================================================

A file for every fold of a run, known by the settings, the data and the code that it was made with: what was made
with others is not taken for it. ``ham10000_models.py`` reads its table out of them.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import asdict
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import ham10000_model_runs as runs
import numpy as np
from filelock import FileLock
from ham10000_folds import code_version, read_fold, stored_fold
from ham10000_model_runs import Run

import skinclf

PACKAGE = Path(skinclf.__file__).parent
OF_ALL_RUNS = ("_random.py", "_validation.py", "preprocessing", "augmentation", "models", "estimator")
OF_ENSEMBLES = ("evaluation/_ensemble.py", "evaluation/_temperature.py")
NOT_IN_A_RUN = {
    "_onnx.py",
    "_persistence.py",
    "_model_file.py",
    "_ensemble_file.py",
    "_container.py",
    "_guard.py",
    "_pruning.py",
}
"""They change neither weights nor probabilities."""


@cache
def library_version(kind: str) -> str:
    """Return eight digits for the code of the library that a kind of run depends on."""
    parts = [PACKAGE / name for name in (*OF_ALL_RUNS, *(OF_ENSEMBLES if kind == "ensemble" else ()))]
    files = [file for part in parts for file in ([part] if part.suffix else part.rglob("*.py"))]
    return code_version(file for file in files if file.name not in NOT_IN_A_RUN)


def digest(content: Any) -> str:
    """Return eight digits for settings; a class in them counts by the code of its module."""
    text = json.dumps(content, sort_keys=True, default=lambda value: code_version([Path(inspect.getfile(value))]))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Store:
    """The folder of what was run, by run, settings, version of the code, and fold.

    With `any_code`, a file of these settings is taken whatever version of the code has made it.
    """

    def __init__(self, folder: Path, ham: Any, *, any_code: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ham, self.any_code = folder, ham, any_code

    @cached_property
    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Training and test rows, as `skinclf.evaluation.cross_validate` draws them by itself."""
        return list(runs.by_lesion().split(np.zeros(self.ham.target.size), self.ham.target, self.ham.groups))

    @cached_property
    def data_key(self) -> str:
        """Eight digits for the labels and lesions; the images have them from their names."""
        names = [Path(str(file)).name for file in self.ham.data["image"]]
        return digest([names, self.ham.target.tolist(), list(map(str, self.ham.groups))])

    def path(self, run: Run, fold: int, version: str | None = None) -> Path:
        """Return the file of a run."""
        way = inspect.getsource(runs.FITS[run.kind])
        key = digest([asdict(run), runs.EVERYWHERE, way, runs.C_GRID, runs.SEED, self.data_key])
        return self.folder / f"{run.name}-{key}-{version or library_version(run.kind)}-{fold}.npz"

    def find(self, run: Run, fold: int) -> Path | None:
        """Return the file of a run if there is one; of several versions the newest."""
        path = self.path(run, fold)
        if path.exists():
            return path
        others = self.folder.glob(self.path(run, fold, "*").name) if self.any_code else ()
        return max(others, key=lambda other: other.stat().st_mtime, default=None)

    def read(self, run: Run, folds: tuple[int, ...]) -> list[dict[str, Any]] | None:
        """Return folds of a run; None unless all of them are there."""
        found = []
        for fold in folds:
            path = self.find(run, fold)
            if path is None:
                return None
            stored = read_fold(path)
            stored["told"]["code"] = path.stem.split("-")[-2]
            found.append(stored)
        return found

    def make(self, run: Run, fold: int) -> None:
        """Run a fold that is not there yet; of two processes that want the same, the second one waits."""
        path = self.path(run, fold)
        with FileLock(path.with_suffix(".lock")):
            found = self.find(run, fold)
            if found is not None:
                print(f"{found.stem}: found", flush=True)
                return
            networks = self.folder / "networks" / library_version("classifier")
            told = stored_fold(path, lambda: runs.run_fold(run, self.ham, *self.folds[fold], networks))["told"]
        # Of the test part nothing is said here: it is looked at once, in the table.
        print(f"{path.stem}: {told['train_seconds'] / 60:.1f} minutes", flush=True)
