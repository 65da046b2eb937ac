"""The skorch net of one fit, put together from the parameters of the classifier."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.helper import predefined_split

from skinclf._random import torch_generator
from skinclf.augmentation import LesionAugmenter
from skinclf.estimator._batches import FitData, OrderedBatches, ShuffledBatches, n_training_batches
from skinclf.estimator._callbacks import (
    HIGHER_IS_BETTER,
    BestWeights,
    EpochProgress,
    LearningRate,
    LossGuard,
    ValidationScores,
)
from skinclf.estimator._seeds import EpochDraws, FitSeeds
from skinclf.estimator._user_callbacks import fresh_callbacks
from skinclf.models import Backbone, StandardizedNetwork, WeightedCrossEntropy, build_backbone
from skinclf.models._dropout import SeededDropout

_OPTIMIZERS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def build_network(classifier: Any, seeds: FitSeeds, *, is_new: bool = True) -> Backbone:
    """Build the network of a classifier with weights that depend on the seed and on `weights` alone.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Whose parameters, ``image_shape_`` and ``classes_`` count.
    seeds : FitSeeds
        Of the fit.
    is_new : bool, default=True
        False for a network whose weights will be replaced: `weights` are not read then, and a network of the
        user's own is not tried out.

    Returns
    -------
    Backbone
        See `skinclf.models.build_backbone`.

    Raises
    ------
    TypeError, ValueError, ImportError, OSError
        As `skinclf.models.build_backbone`.

    Warns
    -----
    UserWarning
        If some of `weights` do not fit.
    """
    backbone = build_backbone(
        classifier.architecture,
        classifier.image_shape_,
        len(classifier.classes_),
        params=classifier.architecture_params,
        weights=classifier.weights if is_new else None,
        generator=torch_generator(seeds.weights),
        checked=is_new,
    )
    if backbone.report is not None and not backbone.report.fits:
        warnings.warn(
            f"Not all weights fit the network: {backbone.report} What is missing begins with new values.",
            UserWarning,
            stacklevel=7,
        )
    return backbone


def build_net(
    module: StandardizedNetwork,
    data: FitData,
    *,
    classifier: Any,
    augmenter: LesionAugmenter | None,
    draws: EpochDraws,
    device: str,
    incremental: bool = False,
) -> NeuralNetClassifier:
    """Put the skorch net together from the parameters of the classifier.

    Parameters
    ----------
    module : StandardizedNetwork
        With its initial weights.
    data : FitData
        Whose validation rows, if any, are scored after every epoch.
    classifier : LesionCNNClassifier
        Whose parameters, ``classes_`` and ``value_range_`` count.
    augmenter, draws, device
        As `ShuffledBatches` takes them.
    incremental : bool, default=False
        For `partial_fit`: a constant learning rate, since nobody knows how many epochs will follow.

    Returns
    -------
    skorch.NeuralNetClassifier
        Initialised.
    """
    optimizer = _OPTIMIZERS.get(classifier.optimizer, classifier.optimizer)
    momentum = {"optimizer__momentum": 0.9, "optimizer__nesterov": True} if classifier.optimizer == "sgd" else {}
    give_generator(module, draws.dropout)
    return prediction_net(
        module,
        n_classes=len(classifier.classes_),
        batch_size=classifier.batch_size,
        device=device,
        criterion__label_smoothing=classifier.label_smoothing,
        optimizer=optimizer,
        lr=classifier.lr,
        optimizer__weight_decay=classifier.weight_decay,
        max_epochs=classifier.max_epochs,
        iterator_train=ShuffledBatches,
        iterator_train__draws=draws,
        iterator_train__augmenter=augmenter,
        iterator_train__value_range=classifier.value_range_,
        iterator_train__device=device,
        iterator_train__sampler=classifier.sampler,
        iterator_train__mixer=classifier.mixer,
        iterator_train__n_classes=len(classifier.classes_),
        train_split=None if data.validation_set is None else predefined_split(data.validation_set),
        callbacks=_callbacks(classifier, data, draws, incremental=incremental),
        **momentum,
    )


def prediction_net(
    module: StandardizedNetwork, *, n_classes: int, batch_size: int, device: str, **params: Any
) -> NeuralNetClassifier:
    """Return an initialised skorch net around a module.

    Parameters
    ----------
    module : StandardizedNetwork
        Whose weights stay as they are.
    n_classes, batch_size : int
        Of the predictions.
    device : str
        As torch names it.
    **params
        Further parameters of the net; without any it is good for predictions only.

    Returns
    -------
    skorch.NeuralNetClassifier
        Initialised.
    """
    net = NeuralNetClassifier(
        module,
        batch_size=batch_size,
        criterion=WeightedCrossEntropy,
        iterator_valid=OrderedBatches,
        classes=list(range(n_classes)),
        callbacks__valid_loss=None,
        callbacks__valid_acc=None,
        callbacks__print_log=None,
        device=device,
        verbose=0,
        **{"train_split": None, **params},
    )
    return net.initialize()


def give_generator(module: torch.nn.Module, generator: torch.Generator | None) -> None:
    """Let every `SeededDropout` of a module draw from `generator`."""
    for part in module.modules():
        if isinstance(part, SeededDropout):
            part.generator = generator


def _callbacks(classifier: Any, data: FitData, draws: EpochDraws, *, incremental: bool) -> list[Any]:
    stops = data.validation_set is not None
    # Scores come first, so that users' callbacks can read them, and early stopping last, so that they all see the
    # epoch at which it stops.
    own: list[Any] = [
        ("best_weights", BestWeights()),
        ("draws", draws),
        ("loss_guard", LossGuard()),
        ("learning_rate", LearningRate()),
    ]
    last: list[Any] = []
    if stops:
        monitor = classifier.monitor
        own.append(("validation_scores", ValidationScores()))
        last.append(
            (
                "early_stopping",
                EarlyStopping(
                    monitor=monitor,
                    patience=classifier.patience,
                    lower_is_better=not HIGHER_IS_BETTER[monitor],
                    threshold=0,
                    load_best=True,
                ),
            )
        )
    schedule = None if incremental else _schedule(classifier, len(data.training), monitored=stops)
    if schedule is not None:
        own.append(("lr_schedule", schedule))
    own_schedule = None if incremental else classifier.lr_schedule
    users = fresh_callbacks(classifier.callbacks, validated=stops, lr_schedule=own_schedule)
    if classifier.verbose:
        users.append(("progress", EpochProgress(classifier.max_epochs)))
    return own + users + last


def _schedule(classifier: Any, n_training_images: int, *, monitored: bool) -> Callback | None:
    n_batches = n_training_batches(n_training_images, classifier.batch_size)
    total = classifier.max_epochs * n_batches
    if classifier.lr_schedule == "onecycle":
        if total < 10:  # too short to rise and fall
            return None
        return LRScheduler(
            torch.optim.lr_scheduler.OneCycleLR,
            step_every="batch",
            max_lr=classifier.lr,
            total_steps=total + 1,
        )
    if classifier.lr_schedule == "cosine":
        return LRScheduler(torch.optim.lr_scheduler.CosineAnnealingLR, step_every="batch", T_max=total)
    if classifier.lr_schedule == "plateau":
        monitor = classifier.monitor if monitored else "train_loss"
        mode = "max" if HIGHER_IS_BETTER.get(monitor, False) else "min"
        return LRScheduler(
            torch.optim.lr_scheduler.ReduceLROnPlateau,
            monitor=monitor,
            mode=mode,
            patience=max(classifier.patience // 3, 1),
        )
    return None
