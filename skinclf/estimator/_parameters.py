"""What the parameters of `LesionCNNClassifier` may be, and what its names stand for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)

from skinclf.augmentation import BatchMixer, LesionAugmenter
from skinclf.augmentation._sampling import SAMPLERS

_AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "standard": {},
    "light": {
        "rotation": 0, "zoom": 0, "shift": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0
    },
    "strong": {
        "rotation": 45, "zoom": 0.3, "shift": 0.1, "brightness": 0.25, "contrast": 0.25, "saturation": 0.25,
        "hue": 0.03, "erasing": 0.25,
    },
}  # fmt: skip

CONSTRAINTS: dict[str, list[Any]] = {
    "architecture": [str, callable],
    "architecture_params": [dict, None],
    "image_size": [Interval(Integral, 8, None, closed="left"), StrOptions({"auto"})],
    "crop": [StrOptions({"center"}), None],
    "image_shape": [tuple, list, None],
    "weights": [str, os.PathLike, None],
    "metadata": [StrOptions({"auto"}), None],
    "augmentation": [StrOptions({*_AUGMENTATIONS, "auto"}), LesionAugmenter, None],
    "mixer": [BatchMixer, None],
    "sampler": [StrOptions(set(SAMPLERS)), None],
    "class_weight": [StrOptions({"balanced", "sqrt"}), dict, None],
    "optimizer": [StrOptions({"adamw", "sgd"}), callable],
    "lr": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "lr_schedule": [StrOptions({"onecycle", "cosine", "plateau"}), None],
    "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    "batch_size": [Interval(Integral, 2, None, closed="left")],
    "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "head_epochs": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
    "layer_decay": [Interval(Real, 0, 1, closed="right"), StrOptions({"auto"})],
    "ema_decay": [Interval(Real, 0, 1, closed="left"), None],
    "early_stopping": ["boolean"],
    "patience": [Interval(Integral, 1, None, closed="left")],
    "monitor": [StrOptions({"valid_balanced_accuracy", "valid_loss", "valid_accuracy"})],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "callbacks": [list, tuple, None],
    "tta": ["boolean", StrOptions({"auto"})],
    "device": [str],
    "mixed_precision": ["boolean", StrOptions({"auto"})],
    "n_jobs": [Integral, None],
    "memory_limit": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left"), None],
    "cache_dir": [str, os.PathLike, None],
    "checkpoint_dir": [str, os.PathLike, None],
    "leakage": [StrOptions({"warn", "raise", "ignore"})],
    "warm_start": ["boolean"],
    "random_state": ["random_state", np.random.Generator],
    "verbose": ["verbose"],
}
"""In scikit-learn's notation."""


def check_parameters(classifier: Any) -> None:
    """Refuse parameters that no fit could use.

    Raises
    ------
    ValueError
        The message names the parameter, what came and what is expected.
    """
    try:
        validate_parameter_constraints(CONSTRAINTS, classifier.get_params(deep=False), "LesionCNNClassifier")
    except InvalidParameterError as error:
        # scikit-learn's functions would put their own name into a message of this type.
        raise ValueError(str(error)) from error
    if isinstance(classifier.augmentation, LesionAugmenter):
        classifier.augmentation.check_parameters()


def check_nested(classifier: Any, names: Iterable[str]) -> None:
    """Refuse names such as ``lr__rate``, where there is nothing that has parameters; scikit-learn only stumbles.

    Raises
    ------
    ValueError
        The message says what the parameter is, and how its parts are set.
    """
    for name in names:
        outer, separator, inner = name.partition("__")
        value = getattr(classifier, outer, None)
        if not separator or not hasattr(classifier, outer) or hasattr(value, "set_params"):
            continue
        if outer == "augmentation":
            remedy = "Pass augmentation=LesionAugmenter(), and its parameters can be set and searched"
        elif outer == "architecture_params":
            remedy = f"Set it as a whole, such as architecture_params={{{inner!r}: ...}}"
        else:
            remedy = f"Set {outer} itself"
        raise ValueError(f"{name!r} cannot be set: {outer} is {value!r}, which has no parameters. {remedy}.")


def choose_augmenter(augmentation: str | LesionAugmenter | None) -> LesionAugmenter | None:
    """Return the augmenter that a name stands for."""
    if isinstance(augmentation, str):
        return LesionAugmenter(**_AUGMENTATIONS[augmentation])
    return augmentation


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[Callable[[], None]]:
    """Take back what was set on an estimator if an error ends the block: wrong input loses no fitted model.

    The block gets a function that it calls when it goes too far to be taken back.
    """
    before = dict(vars(estimator))
    is_final = False

    def no_way_back() -> None:
        nonlocal is_final
        is_final = True

    try:
        yield no_way_back
    except BaseException:
        if not is_final:
            vars(estimator).clear()
            vars(estimator).update(before)
        raise
