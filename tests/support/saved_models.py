"""Networks of users' own, and what the tests of saved models share."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter
from skinclf.estimator._container import read_container, write_container
from skinclf.estimator._model_file import load_classifier

load = functools.partial(load_classifier, LesionCNNClassifier)


def linear_network(image_shape: tuple[int, int, int], n_classes: int, *, width: int = 8) -> nn.Module:
    """Draw its first weights from torch's global generator, as most people's networks do."""
    height, side, channels = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(width * height * side, n_classes),
    )


def two_class_network(image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    return linear_network(image_shape, 2)


class Factory:
    """A callable object as architecture."""

    def __call__(self, image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), n_classes))


def activated_network(image_shape: tuple[int, int, int], n_classes: int, activation: type[nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), activation(), nn.Linear(math.prod(image_shape), n_classes))


def edited(path: Path, **changes: Any) -> Path:
    """Write a model file again, with other parts of its content."""
    content = read_container(path, "model")
    for part, values in changes.items():
        content[part] = {**content[part], **values} if isinstance(values, dict) else values
    write_container(path, "model", content)
    return path


def assert_same_classifier(one: LesionCNNClassifier, other: LesionCNNClassifier, images: Any) -> None:
    params, others = one.get_params(), other.get_params()
    for values in (params, others):
        values.pop("augmentation") if isinstance(values["augmentation"], LesionAugmenter) else None
    assert params == others
    assert [type(value) for value in params.values()] == [type(value) for value in others.values()]
    names = {name for name in vars(one) if name.endswith("_")}
    assert names == {name for name in vars(other) if name.endswith("_")}
    for name in names - {"net_", "history_"}:
        left, right = getattr(one, name), getattr(other, name)
        assert type(left) is type(right), name
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)
    pd.testing.assert_frame_equal(one.history_, other.history_, check_exact=True)
    np.testing.assert_array_equal(one.predict_proba(images), other.predict_proba(images))
    np.testing.assert_array_equal(one.predict(images), other.predict(images))
