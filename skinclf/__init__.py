"""Classify dermatoscopic images with scikit-learn estimators whose numbers can be believed.

The public names are imported lazily: ``import skinclf`` costs a few milliseconds and does not import
torch; ``skinclf.LesionCNNClassifier`` does, the first time it is asked for.

This is a research tool. It is not a medical device and must not be used to diagnose.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinclf.estimator import LesionCNNClassifier, LesionFeatures
    from skinclf.evaluation import LesionEnsemble

__version__ = "0.1.0"

__all__ = ["LesionCNNClassifier", "LesionEnsemble", "LesionFeatures", "__version__"]

_LAZY_NAMES = {
    "LesionCNNClassifier": "skinclf.estimator",
    "LesionEnsemble": "skinclf.evaluation",
    "LesionFeatures": "skinclf.estimator",
}
_SUBPACKAGES = ("augmentation", "datasets", "estimator", "evaluation", "models", "preprocessing", "reporting")


def __getattr__(name: str) -> Any:
    """Import a public name, or a subpackage, the first time that it is used (PEP 562)."""
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(_LAZY_NAMES[name]), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"skinclf.{name}")
    raise AttributeError(f"module 'skinclf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
