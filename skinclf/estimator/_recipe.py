"""What the classifier's "auto" stands for: one recipe for networks from scratch, one for fine-tuning."""

from __future__ import annotations

from typing import Any

_FROM_SCRATCH: dict[str, Any] = {
    "image_size": 64, "lr": 0.002, "max_epochs": 50, "head_epochs": 0, "layer_decay": 1.0,
    "augmentation": "standard", "tta": False,
}  # fmt: skip
_FINE_TUNING: dict[str, Any] = {
    "image_size": 128, "lr": 0.001, "max_epochs": 8, "head_epochs": 1, "layer_decay": 1.0,
    "augmentation": "strong", "tta": True,
}  # fmt: skip
"""Chosen on lesions that were put aside from the training part of one fold of HAM10000; see the page of models."""


def setting(estimator: Any, name: str) -> Any:
    """Return a parameter, or what ``"auto"`` stands for, which depends on there being weights to begin with.

    Parameters
    ----------
    estimator : LesionCNNClassifier or LesionFeatures
        Whose parameters count.
    name : str
        Of the parameter.

    Returns
    -------
    object
        Its value. Of a single epoch the head is not trained alone.

    Examples
    --------
    >>> from skinclf import LesionCNNClassifier
    >>> from skinclf.estimator._recipe import setting
    >>> [setting(LesionCNNClassifier(weights=weights), "image_size") for weights in (None, "imagenet")]
    [64, 128]
    """
    value = getattr(estimator, name)
    if not isinstance(value, str) or value != "auto":
        return value
    chosen = (_FROM_SCRATCH if estimator.weights is None else _FINE_TUNING)[name]
    return min(chosen, setting(estimator, "max_epochs") - 1) if name == "head_epochs" else chosen


def recipe(estimator: Any) -> dict[str, Any]:
    """Return what the parameters stand for that are ``"auto"``, by name."""
    names = [name for name in _FROM_SCRATCH if isinstance(getattr(estimator, name), str)]
    return {name: setting(estimator, name) for name in names if getattr(estimator, name) == "auto"}
