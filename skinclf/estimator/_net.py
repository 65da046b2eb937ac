"""The skorch net of one fit, put together from the parameters of the classifier."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.helper import predefined_split

from skinclf._random import torch_generator
from skinclf._validation import ImageShape
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
from skinclf.estimator._fine_tuning import HeadFirst, parameter_groups
from skinclf.estimator._recipe import setting
from skinclf.estimator._seeds import EpochDraws, FitSeeds
from skinclf.estimator._standardization import warn_of_misfits
from skinclf.estimator._user_callbacks import fresh_callbacks
from skinclf.estimator._weight_average import AveragedWeights
from skinclf.models import Backbone, FusedNetwork, StandardizedNetwork, WeightedCrossEntropy, build_backbone
from skinclf.models._dropout import SeededDropout
from skinclf.models._probe import probe

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
    warn_of_misfits(backbone, stacklevel=7)
    return backbone


def build_net(
    module: StandardizedNetwork,
    data: FitData,
    *,
    classifier: Any,
    augmenter: LesionAugmenter | None,
    draws: EpochDraws,
    device: str,
    is_new: bool = True,
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
    is_new : bool, default=True
        Whether the module has not been trained on these classes, so that its head begins with random weights.
    incremental : bool, default=False
        For `partial_fit`: a constant learning rate, since nobody knows how many epochs will follow; all layers are
        trained from the first one on, and weights are not averaged.

    Returns
    -------
    skorch.NeuralNetClassifier
        Initialised.
    """
    head = _head(module, classifier.image_shape_) if _treats_head_apart(classifier) else ()
    optimizer = functools.partial(
        _grouped,
        _OPTIMIZERS.get(classifier.optimizer, classifier.optimizer),
        network=module.network,
        head=head,
        lower=setting(classifier, "layer_decay"),
    )
    momentum = {"optimizer__momentum": 0.9, "optimizer__nesterov": True} if classifier.optimizer == "sgd" else {}
    give_generator(module, draws.dropout)
    return prediction_net(
        module,
        n_classes=len(classifier.classes_),
        batch_size=classifier.batch_size,
        device=device,
        criterion__label_smoothing=classifier.label_smoothing,
        optimizer=optimizer,
        lr=setting(classifier, "lr"),
        optimizer__weight_decay=classifier.weight_decay,
        max_epochs=setting(classifier, "max_epochs"),
        iterator_train=ShuffledBatches,
        iterator_train__draws=draws,
        iterator_train__augmenter=augmenter,
        iterator_train__value_range=classifier.value_range_,
        iterator_train__device=device,
        iterator_train__sampler=classifier.sampler,
        iterator_train__mixer=classifier.mixer,
        iterator_train__n_classes=len(classifier.classes_),
        train_split=None if data.validation_set is None else predefined_split(data.validation_set),
        callbacks=_callbacks(classifier, data, draws, head=head if is_new else (), incremental=incremental),
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


def _treats_head_apart(classifier: Any) -> bool:
    """Whether the output layer is trained otherwise than the rest."""
    return bool(setting(classifier, "layer_decay") < 1 or setting(classifier, "head_epochs") > 0)


def _head(module: StandardizedNetwork, image_shape: ImageShape) -> tuple[str, ...]:
    """Return the names of what begins with random weights where all else may have published ones."""
    network = module.network
    if isinstance(network, FusedNetwork):
        found = probe(network.network, image_shape).head
        return () if found is None else (f"network.{found}", "perceptron")
    found = probe(network, image_shape).head
    return () if found is None else (found,)


def _grouped(
    make: Callable[..., torch.optim.Optimizer],
    params: Any,
    *,
    network: torch.nn.Module,
    head: tuple[str, ...],
    lower: float,
    lr: float,
    weight_decay: float,
    **others: Any,
) -> torch.optim.Optimizer:
    """Make an optimiser as skorch asks for it, but with its parameters sorted by rate and decay."""
    groups = parameter_groups(network, lr=lr, weight_decay=weight_decay, head=head, lower=lower)
    return make(groups, lr=lr, weight_decay=weight_decay, **others)


class OneCycle(torch.optim.lr_scheduler.OneCycleLR):
    """One cycle for each group of parameters, which all reach the rate that the optimiser has them begin with.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        New.
    total_steps : int
        Steps of the cycle.
    last_epoch : int, default=-1
        As skorch passes it: -1, the beginning.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, total_steps: int, last_epoch: int = -1) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        super().__init__(optimizer, rates, total_steps=total_steps, last_epoch=last_epoch)


def _callbacks(
    classifier: Any, data: FitData, draws: EpochDraws, *, head: tuple[str, ...], incremental: bool
) -> list[Any]:
    stops = data.validation_set is not None
    # Scores come first, so that users' callbacks can read them, and early stopping last, so that they all see the
    # epoch at which it stops.
    averages = classifier.ema_decay is not None and not incremental
    head_epochs = 0 if incremental or not head else setting(classifier, "head_epochs")
    own: list[Any] = [
        *([("averaged_weights", AveragedWeights(classifier.ema_decay))] if averages else []),
        *([("head_first", HeadFirst(head, head_epochs))] if head_epochs else []),
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
        users.append(("progress", EpochProgress(setting(classifier, "max_epochs"))))
    return own + users + last


def _schedule(classifier: Any, n_training_images: int, *, monitored: bool) -> Callback | None:
    n_batches = n_training_batches(n_training_images, classifier.batch_size)
    total = setting(classifier, "max_epochs") * n_batches
    if classifier.lr_schedule == "onecycle":
        if total < 10:  # too short to rise and fall
            return None
        return LRScheduler(
            OneCycle,
            step_every="batch",
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
