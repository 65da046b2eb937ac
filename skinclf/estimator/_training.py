"""The skorch net of one fit: its parts, its run, and its history."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from skorch.helper import predefined_split

from skinclf._random import spawn_seeds, torch_generator
from skinclf._validation import ImageShape
from skinclf.augmentation import LesionAugmenter
from skinclf.estimator._batches import ImageDataset, OrderedBatches, ShuffledBatches, n_training_batches
from skinclf.estimator._callbacks import EpochProgress, LearningRate, LossGuard, ValidationScores
from skinclf.models import StandardizedNetwork, WeightedCrossEntropy, lesion_cnn
from skinclf.models._lesion_cnn import SeededDropout

_HIGHER_IS_BETTER = {"valid_loss": False, "valid_accuracy": True, "valid_balanced_accuracy": True}
_OPTIMIZERS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


@dataclass(frozen=True)
class FitSeeds:
    """One seed for each use of randomness in a fit, so that none of them disturbs another."""

    holdout: int
    weights: int
    dropout: int
    shuffle: int
    augmentation: int
    torch: int

    @classmethod
    def spawn(cls, random_state: Any) -> FitSeeds:
        """Derive the seeds from ``random_state``."""
        return cls(*spawn_seeds(random_state, 6))


def choose_device(device: str) -> str:
    """Return the device that ``"auto"`` stands for here, or check the one that was asked for.

    Raises
    ------
    ValueError
        If the device does not exist on this machine.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} cannot be used on this machine: {error}") from error
    return device


def choose_precision(mixed_precision: bool | str, device: str) -> torch.dtype | None:
    """Return bfloat16 where the device multiplies it fast, else None for float32.

    A CPU without native bfloat16 is over 50 times slower in it, so that "auto" means a GPU only.

    Raises
    ------
    ValueError
        If mixed precision was asked for where it does not exist.
    """
    supported = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    if mixed_precision is True and not supported:
        raise ValueError(f"mixed_precision=True needs a GPU with bfloat16; the device is {device!r}. Use 'auto'.")
    return torch.bfloat16 if mixed_precision and supported else None


def build_network(
    architecture: Any, params: dict[str, Any], image_shape: ImageShape, n_classes: int, seeds: FitSeeds
) -> torch.nn.Module:
    """Build the network with weights that depend on the seed alone.

    Raises
    ------
    TypeError
        If a factory returns anything but a module, or does not take the parameters.
    """
    if architecture == "lesion_cnn":
        try:
            network = lesion_cnn(image_shape, n_classes, generator=torch_generator(seeds.weights), **params)
        except TypeError as error:
            raise TypeError(
                f"architecture_params={params!r} do not fit lesion_cnn, which takes width, depth and dropout."
            ) from error
        dropout = torch_generator(seeds.dropout)
        for module in network.modules():
            if isinstance(module, SeededDropout):
                module.generator = dropout
        return network
    built = architecture(image_shape, n_classes, **params)
    if not isinstance(built, torch.nn.Module):
        raise TypeError(f"architecture must return a torch.nn.Module; {architecture!r} returned {type(built)}.")
    return built


def build_net(
    module: StandardizedNetwork,
    *,
    classifier: Any,
    n_classes: int,
    n_training_images: int,
    valid_set: ImageDataset | None,
    augmenter: LesionAugmenter | None,
    value_range: tuple[float, float],
    seeds: FitSeeds,
    device: str,
) -> NeuralNetClassifier:
    """Put the skorch net together from the parameters of the classifier.

    Parameters
    ----------
    module : StandardizedNetwork
        With its initial weights.
    classifier : LesionCNNClassifier
        Whose parameters count.
    n_classes, n_training_images : int
        Of the training set.
    valid_set : ImageDataset or None
        For early stopping.
    augmenter, value_range, seeds, device
        As `ShuffledBatches` takes them.

    Returns
    -------
    skorch.NeuralNetClassifier
        Initialised.
    """
    optimizer = _OPTIMIZERS.get(classifier.optimizer, classifier.optimizer)
    momentum = {"optimizer__momentum": 0.9, "optimizer__nesterov": True} if classifier.optimizer == "sgd" else {}
    net = NeuralNetClassifier(
        module,
        criterion=WeightedCrossEntropy,
        criterion__label_smoothing=classifier.label_smoothing,
        optimizer=optimizer,
        lr=classifier.lr,
        optimizer__weight_decay=classifier.weight_decay,
        max_epochs=classifier.max_epochs,
        batch_size=classifier.batch_size,
        iterator_train=ShuffledBatches,
        iterator_train__shuffle_seed=seeds.shuffle,
        iterator_train__augmentation_seed=seeds.augmentation,
        iterator_train__augmenter=augmenter,
        iterator_train__value_range=value_range,
        iterator_train__device=device,
        iterator_valid=OrderedBatches,
        train_split=None if valid_set is None else predefined_split(valid_set),
        classes=list(range(n_classes)),
        callbacks=_callbacks(classifier, n_training_images, stops=valid_set is not None),
        callbacks__valid_loss=None,
        callbacks__valid_acc=None,
        callbacks__print_log=None,
        device=device,
        verbose=0,
        **momentum,
    )
    return net.initialize()


def _callbacks(classifier: Any, n_training_images: int, *, stops: bool) -> list[Any]:
    own: list[Any] = [("loss_guard", LossGuard()), ("learning_rate", LearningRate())]
    if stops:
        monitor = classifier.monitor
        own.append(("validation_scores", ValidationScores()))
        if classifier.early_stopping:
            own.append(
                (
                    "early_stopping",
                    EarlyStopping(
                        monitor=monitor,
                        patience=classifier.patience,
                        lower_is_better=not _HIGHER_IS_BETTER[monitor],
                        threshold=0,
                        load_best=True,
                    ),
                )
            )
    schedule = _schedule(classifier, n_training_images, monitored=stops)
    if schedule is not None:
        own.append(("lr_schedule", schedule))
    users = copy.deepcopy(list(classifier.callbacks or []))  # a callback must not carry anything from fit to fit
    if classifier.verbose:
        users.append(("progress", EpochProgress(classifier.max_epochs)))
    # Scores come first, so that users' callbacks can read them, and early stopping last, so that they all see the
    # epoch at which it stops.
    last = [callback for callback in own if callback[0] == "early_stopping"]
    return [callback for callback in own if callback not in last] + users + last


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
        mode = "max" if _HIGHER_IS_BETTER.get(monitor, False) else "min"
        return LRScheduler(
            torch.optim.lr_scheduler.ReduceLROnPlateau,
            monitor=monitor,
            mode=mode,
            patience=max(classifier.patience // 3, 1),
        )
    return None


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Give torch's global generators a seed, and their old state back afterwards.

    Our own parts draw from generators of their own; this is for what a user's module draws by itself.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def train(net: NeuralNetClassifier, dataset: ImageDataset) -> None:
    """Run the epochs; a callback may stop them, Ctrl-C is passed on.

    skorch's own ``fit`` takes any KeyboardInterrupt for early stopping, and would hand back a half-trained network
    as a fitted one after Ctrl-C.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        Initialised.
    dataset : ImageDataset
        Training rows.
    """
    try:
        net.notify("on_train_begin", X=dataset, y=None)
        net.fit_loop(dataset)
    except KeyboardInterrupt as error:
        if not _raised_by_callback(error):
            raise
    finally:
        progress = dict(net.callbacks_).get("progress")
        if progress is not None:
            progress.close()
    net.notify("on_train_end", X=dataset, y=None)


def release_after_training(net: NeuralNetClassifier) -> None:
    """Let go of what a trained net does not need: the images, a copy of the best weights, and the generators.

    Without this a fitted classifier would hold, and pickle, its whole training set.
    """
    net.train_split = None
    stopping = dict(net.callbacks_).get("early_stopping")
    if stopping is not None:
        stopping.best_model_weights_ = None
    for part in net.module_.modules():
        if isinstance(part, SeededDropout):
            part.generator = None


def _raised_by_callback(error: BaseException) -> bool:
    """Whether a skorch callback raised the KeyboardInterrupt itself, which is how it ends the training."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    frame = traceback.tb_frame
    return isinstance(frame.f_locals.get("self"), Callback) and frame.f_code.co_name.startswith("on_")


def history_frame(net: NeuralNetClassifier) -> pd.DataFrame:
    """Return skorch's history as a table: a row an epoch, only single numbers, our names first."""
    first = [
        "epoch",
        "train_loss",
        "valid_loss",
        "valid_accuracy",
        "valid_balanced_accuracy",
        "lr",
        "seconds",
    ]
    rows = []
    for epoch in net.history:
        row = {key: value for key, value in epoch.items() if isinstance(value, int | float | np.number)}
        row["seconds"] = row.pop("dur", float("nan"))
        rows.append({k: v for k, v in row.items() if not k.endswith(("_best", "_batch_count", "event_lr"))})
    frame = pd.DataFrame(rows)
    known: Sequence[str] = [name for name in first if name in frame]
    return frame[[*known, *(name for name in frame if name not in known)]]
