"""
What is trained for the table of models
=======================================

A run is a model with its settings: trained on the training part of a fold, asked once about the test part, stored.
``ham10000_models.py`` asks for the runs that it has no file of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ham10000_small_resnet import SmallResNet
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skinclf import LesionCNNClassifier, LesionEnsemble, LesionFeatures
from skinclf.datasets import make_lesions
from skinclf.evaluation import cross_validate
from skinclf.reporting._provenance import describe_parameters

SEED = 0
N_FOLDS = 5

# %%
# The runs
# --------
# What is not named here is as the library has it by default; `EVERYWHERE` is for trials.

RECIPE: dict[str, Any] = {"architecture": "efficientnet_lite0", "weights": "imagenet", "tta": False}
FROM_SCRATCH: dict[str, Any] = {"architecture": "lesion_cnn"}
EVERYWHERE: dict[str, Any] = {}
SMALLEST: dict[str, Any] = {"image_size": 16, "max_epochs": 1, "batch_size": 128}
"""For a trial: whether everything runs, not what it is worth."""

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1)
"""Of the logistic regression; chosen by balanced accuracy in five folds by lesion of the training part."""


@dataclass(frozen=True)
class Run:
    """A model, and on how many of the folds it is trained."""

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    kind: str = "classifier"  # or "features" or "ensemble"
    n_folds: int = 1
    tta: bool = False  # whether the fitted classifier is asked a second time, with test-time augmentation


def model_runs() -> list[Run]:
    """Return the runs of the table; the two that are run on all folds come first.

    An ensemble votes over the symmetries from the start, so that its temperature is that of such votes.
    """
    fusion = {**RECIPE, "metadata": "auto"}
    return [
        Run("lesion_cnn", FROM_SCRATCH, n_folds=N_FOLDS),
        Run("recipe", RECIPE, n_folds=N_FOLDS, tta=True),
        Run("lesion_cnn_28", {**FROM_SCRATCH, "image_size": 28}),
        Run("lesion_cnn_96", {**FROM_SCRATCH, "image_size": 96}),
        Run("small_resnet", {"architecture": SmallResNet}),
        Run("recipe_96", {**RECIPE, "image_size": 96}),
        Run("frozen_features", RECIPE, kind="features"),
        Run("fusion", fusion, tta=True),
        Run("ensemble", {**RECIPE, "tta": True}, kind="ensemble"),
        Run("fusion_ensemble", {**fusion, "tta": True}, kind="ensemble"),
    ]


# %%
# Ablations
# ---------
# One ingredient of the recipe is taken away or replaced at a time. What the recipe has anyway is left out; where
# it does without something, the ablation with it takes the place of that without.

ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "without_head_first": ("all layers from the first epoch on", {"head_epochs": 0}),
    "with_head_first": ("the output layer alone in the first epoch", {"head_epochs": 1}),
    "without_lower_rates": ("one learning rate for all layers", {"layer_decay": 1.0}),
    "with_lower_rates": ("half the learning rate in each lower third of the layers", {"layer_decay": 0.5}),
    "without_averaged_weights": ("the weights of the best epoch, not averaged", {"ema_decay": None}),
    "with_averaged_weights": ("a moving average of the weights", {"ema_decay": 0.995}),
    "without_label_smoothing": ("targets of 0 and 1", {"label_smoothing": 0.0}),
    "with_label_smoothing": ("a tenth of each target spread over all classes", {"label_smoothing": 0.1}),
    "class_weights": ("each class weighs the same in the loss", {"class_weight": "balanced", "sampler": None}),
    "balanced_sampler": ("each class as often in an epoch", {"class_weight": None, "sampler": "balanced"}),
    "sqrt_sampler": ("each class as often as the root of its size", {"class_weight": None, "sampler": "sqrt"}),
    "sqrt_sampler_and_class_weights": (
        "the same, and class weights for the rest",
        {"class_weight": "balanced", "sampler": "sqrt"},
    ),
    "sqrt_sampler_and_sqrt_weights": (
        "the same, and the root of the class weights for the rest",
        {"class_weight": "sqrt", "sampler": "sqrt"},
    ),
    "neither_weights_nor_sampler": ("classes as they are", {"class_weight": None, "sampler": None}),
    "flips_only": ("flips and quarter turns, no other augmentation", {"augmentation": "light"}),
    "one_cycle": ("the rate goes up and down once", {"lr_schedule": "onecycle"}),
    "cosine": ("the rate falls along a cosine", {"lr_schedule": "cosine"}),
    "random_weights": ("from random weights, with the settings for training from scratch", {"weights": None}),
}
WHOLE_RECIPE = "whole_recipe"


@cache
def recipe_values() -> dict[str, Any]:
    """Return every parameter of the recipe; what ``"auto"`` stands for is known of a classifier that is fitted."""
    lesions = make_lesions(n_lesions=21, image_size=16, random_state=SEED)
    classifier = LesionCNNClassifier(**RECIPE, max_epochs=3, random_state=SEED)
    classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
    return {**classifier.get_params(deep=False), **classifier.recipe_}


def ablation_runs(epochs: int) -> list[Run]:
    """Return the whole recipe and its ablations, all of as many epochs and as many pixels."""
    values = recipe_values()
    whole = {**RECIPE, "image_size": values["image_size"], "max_epochs": epochs}
    changes = {
        name: change
        for name, (_, change) in ABLATIONS.items()
        if any(values[parameter] != value for parameter, value in change.items())
    }
    has = {name.replace("without_", "with_") for name in changes if name.startswith("without_")}
    changes = {name: change for name, change in changes.items() if name not in has}
    return [Run(name, {**whole, **change}) for name, change in {WHOLE_RECIPE: {}, **changes}.items()]


# %%
# A fold of a run
# ---------------


def run_fold(run: Run, ham: Any, train: np.ndarray, test: np.ndarray, networks: Path) -> dict[str, Any]:
    """Train on some rows and ask about others; return arrays, and what is to be told of the training."""
    data, target, lesion = ham.data, ham.target, np.asarray(ham.groups)
    started = time.perf_counter()
    model, told = FITS[run.kind](run, data.iloc[train], target[train], lesion[train], networks)
    # A network that was cut off, and went on from its last epoch, has taken what all of its epochs took.
    told["train_seconds"] = max(time.perf_counter() - started, told.pop("epoch_seconds"))
    asked = {}
    for name in ("proba", "proba_tta") if run.tta else ("proba",):
        if name == "proba_tta":
            model.set_params(tta=True)
        started = time.perf_counter()
        asked[name] = model.predict_proba(data.iloc[test])
        told[f"{name}_seconds"] = time.perf_counter() - started
    return {
        "test": test,
        "truth": target[test].astype(str),
        "lesion": lesion[test].astype(str),
        "classes": model.classes_.astype(str),
        **asked,
        "told": json.dumps({"train_images": train.size, "threads": torch.get_num_threads(), **told}),
    }


def build(run: Run, networks: Path) -> LesionCNNClassifier:
    """Return the classifier of a run; a network is stored after every epoch."""
    return LesionCNNClassifier(
        **{**run.params, **EVERYWHERE},
        random_state=SEED,
        n_jobs=torch.get_num_threads(),
        checkpoint_dir=networks,
    )


Fitted = tuple[Any, dict[str, Any]]
"""A model, and what is told of it."""


def fit_classifier(run: Run, data: Any, target: np.ndarray, lesion: np.ndarray, networks: Path) -> Fitted:
    """Train a network."""
    classifier = build(run, networks).fit(data, target)
    return classifier, tell_of(classifier)


def tell_of(classifier: LesionCNNClassifier) -> dict[str, Any]:
    """Return what is to be told of a trained network."""
    history = classifier.history_
    curves = ("train_loss", "valid_loss", "valid_accuracy", "valid_balanced_accuracy")
    return {
        "settings": describe_parameters(classifier),
        "recipe": classifier.recipe_,
        "parameters": count_parameters(classifier.net_.module_),
        "epochs": classifier.n_epochs_,
        "best_epoch": classifier.best_epoch_,
        "epoch_seconds": float(history["seconds"].sum()),
        "curves": {name: history[name].round(4).tolist() for name in curves if name in history},
    }


def count_parameters(module: nn.Module) -> int:
    """Return the number of weights."""
    return sum(parameter.numel() for parameter in module.parameters())


def fit_features(run: Run, data: Any, target: np.ndarray, lesion: np.ndarray, networks: Path) -> Fitted:
    """Compute features once, and choose the regression on folds by lesion of the training part."""
    taken = {name: value for name, value in {**run.params, **EVERYWHERE}.items() if name in FEATURE_PARAMETERS}
    features = LesionFeatures(**taken, random_state=SEED, n_jobs=torch.get_num_threads())
    regression = LogisticRegression(class_weight="balanced", max_iter=1000)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), regression),
        {"logisticregression__C": list(C_GRID)},
        cv=by_lesion(),
        scoring="balanced_accuracy",
        error_score="raise",
    )
    search.fit(features.fit_transform(data), target, groups=lesion)
    model = make_pipeline(features, *search.best_estimator_)
    return model, {
        "settings": describe_parameters(model),
        "parameters": count_parameters(features.network_) + model[-1].coef_.size + model[-1].intercept_.size,
        "epochs": None,
        "epoch_seconds": 0.0,
        "chosen": {
            "C": search.best_params_["logisticregression__C"],
            "balanced_accuracy": [
                [C, round(float(score), 4)]
                for C, score in zip(C_GRID, search.cv_results_["mean_test_score"], strict=True)
            ],
        },
    }


def fit_ensemble(run: Run, data: Any, target: np.ndarray, lesion: np.ndarray, networks: Path) -> Fitted:
    """Cross-validate on the training part, and let the models of its folds vote."""
    result = cross_validate(build(run, networks), data, target, groups=lesion, cv=N_FOLDS, random_state=SEED)
    members = [tell_of(member) for member in result.estimators]
    return LesionEnsemble.from_cross_validation(result), {
        "settings": members[0]["settings"],
        "recipe": members[0]["recipe"],
        "parameters": sum(member["parameters"] for member in members),
        "epochs": float(np.mean([member["epochs"] for member in members])),
        "epoch_seconds": sum(member["epoch_seconds"] for member in members),
        "members": members,
    }


def by_lesion() -> StratifiedGroupKFold:
    """Return the splitter that `skinclf.evaluation.cross_validate` uses by itself where lesions are known."""
    return StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=SEED)


FEATURE_PARAMETERS = ("architecture", "architecture_params", "weights", "image_size")
FITS: dict[str, Callable[..., Fitted]] = {
    "classifier": fit_classifier,
    "features": fit_features,
    "ensemble": fit_ensemble,
}
