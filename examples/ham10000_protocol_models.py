"""
The models of the protocols
===========================

What ``ham10000_protocols.py`` trains: `skinclf.models.lesion_cnn` on small images, the network of a public
notebook, and a support vector machine on flattened pixels. A row is the number of an image: repeated rows repeat a
number, and the pixels of each image are held once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from imblearn.over_sampling import RandomOverSampler
from sklearn.svm import SVC
from torch import nn

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter
from skinclf.preprocessing import ImageFlattener, ImageLoader

Fitted = tuple[np.ndarray, np.ndarray, dict[str, Any]]
"""Predicted labels, scores of the classes, and what is to be told of the training."""

LUMA = (0.299, 0.587, 0.114)


def oversample(target: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Repeat the numbers of images of rare classes until all classes are as frequent; no image is copied."""
    repeated, _ = RandomOverSampler(random_state=0).fit_resample(images[:, None], target[images])
    return repeated[:, 0]


@dataclass(frozen=True)
class FoldData:
    """What a model gets of a fold; images are named by their numbers."""

    files: pd.Series
    target: np.ndarray
    train_images: np.ndarray
    keep_together: np.ndarray
    test_images: np.ndarray
    is_balanced: bool
    work: Path

    def balanced_images(self) -> np.ndarray:
        """Return the training images, those of rare classes repeated, if they are not yet."""
        return self.train_images if self.is_balanced else oversample(self.target, self.train_images)


@dataclass(frozen=True)
class Model:
    """A model, and its settings for the table."""

    fit_predict: Callable[[FoldData], Fitted]
    settings: dict[str, Any]


# %%
# The network
# -----------
# `lesion_cnn` has convolutions, max-pooling and dense layers. Its augmentation is weak, as it is in the notebooks.
# Where rows were not balanced before the split, each epoch draws rare classes as often as others (``sampler``),
# from what early stopping has left to train on. Such an epoch is shorter, and there are as many more of them.

NETWORK = {
    "model": "lesion_cnn",
    "pixels": 48,
    "width": 16,
    "dropout": 0.0,
    "monitor": "valid_accuracy",
    "epochs": {"balanced": {"max_epochs": 18, "patience": 5}, "not balanced": {"max_epochs": 84, "patience": 23}},
    "augmentation": {
        "flip": False,
        "quarter_turns": False,
        "rotation": 5,
        "zoom": 0.05,
        "shift": 0.02,
        "brightness": 0.1,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
    },
}


def fit_network(data: FoldData) -> Fitted:
    """Train with early stopping."""
    classifier = LesionCNNClassifier(
        architecture_params={"width": NETWORK["width"], "dropout": NETWORK["dropout"]},
        image_size=NETWORK["pixels"],
        augmentation=LesionAugmenter(**NETWORK["augmentation"]),
        sampler=None if data.is_balanced else "balanced",
        monitor=NETWORK["monitor"],
        weight_decay=0.01,
        **NETWORK["epochs"]["balanced" if data.is_balanced else "not balanced"],
    )
    return train_classifier(classifier, data, data.train_images, data.keep_together)


def train_classifier(
    classifier: LesionCNNClassifier, data: FoldData, images: np.ndarray, groups: np.ndarray | None
) -> Fitted:
    """Train on stretched images, as plainly as the notebooks do, and predict each test image once."""
    classifier.set_params(
        crop=None,
        class_weight=None,
        label_smoothing=0.0,
        ema_decay=None,
        random_state=0,
        cache_dir=data.work / "pixels",
        checkpoint_dir=data.work / "networks",
    )
    classifier.fit(data.files.iloc[images], data.target[images], groups=groups)
    distinct, back = np.unique(data.test_images, return_inverse=True)
    scores = classifier.predict_proba(data.files.iloc[distinct])
    history = classifier.history_.round(4)
    curves = {name: history[name].tolist() for name in ("train_loss", "valid_accuracy") if name in history}
    told = {"epochs": classifier.n_epochs_, "best_epoch": classifier.best_epoch_, **curves}
    return classifier.classes_[scores.argmax(axis=1)][back], scores[back], told


# %%
# The network of the notebook
# ---------------------------
# Two convolutions of 32 channels, two of 16, without padding; 126 hidden units; grey images of 200 × 200; Adam, 15
# epochs, batches of 47, no early stopping. A CPU would need half a day for it, and gets smaller images.

NOTEBOOK = {"model": "four convolutions", "pixels": 200 if torch.cuda.is_available() else 40, "max_epochs": 15}


class Greyscale(nn.Module):
    """A fixed mix of the three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor(LUMA)[None, :, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 1, H, W)."""
        return (x * self.luma).sum(dim=1, keepdim=True)


def four_convolutions(image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Build the network of https://github.com/mkowalsky97/Skin_Cancer_Detection."""
    height, width = (((side - 4) // 2 - 4) // 2 for side in image_shape[:2])
    return nn.Sequential(
        Greyscale(),
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(32, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * height * width, 126),
        nn.ReLU(),
        nn.Linear(126, n_classes),
    )


def fit_notebook(data: FoldData) -> Fitted:
    """Train the network of the notebook as it was trained there."""
    classifier = LesionCNNClassifier(
        four_convolutions,
        image_size=NOTEBOOK["pixels"],
        augmentation=None,
        sampler=None,
        optimizer=torch.optim.Adam,
        lr=0.001,
        weight_decay=0.0,
        lr_schedule=None,
        batch_size=47,
        max_epochs=NOTEBOOK["max_epochs"],
        early_stopping=False,
    )
    return train_classifier(classifier, data, data.balanced_images(), None)


# %%
# The support vector machine
# --------------------------
# A row that is there five times weighs as much as one with a weight of five: the problem to solve is the same, and
# smaller.

MACHINE = {"model": "SVM on flattened pixels", "pixels": 16, "C": 10.0}


def fit_machine(data: FoldData) -> Fitted:
    """Train on each distinct image, weighted by how often it is there; the scores are the decision function."""
    loader = ImageLoader(MACHINE["pixels"], crop=None, cache_dir=data.work / "pixels")
    pixels = ImageFlattener().fit_transform(loader.transform(data.files))
    distinct, repeats = np.unique(data.balanced_images(), return_counts=True)
    machine = SVC(C=MACHINE["C"], cache_size=1000)
    machine.fit(pixels[distinct], data.target[distinct], sample_weight=repeats)
    tested, back = np.unique(data.test_images, return_inverse=True)
    scores = machine.decision_function(pixels[tested])
    return machine.predict(pixels[tested])[back], scores[back], {"support_vectors": int(machine.n_support_.sum())}


MODELS = {
    "lesion_cnn": Model(fit_network, NETWORK),
    "four_convolutions": Model(fit_notebook, NOTEBOOK),
    "svm": Model(fit_machine, MACHINE),
}
