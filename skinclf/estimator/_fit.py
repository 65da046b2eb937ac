"""From ``X`` and ``y`` to a trained net: `fit`, `partial_fit`, and what they go on from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skorch import NeuralNetClassifier

from skinclf._validation import check_groups
from skinclf.estimator._batches import FitData
from skinclf.estimator._checkpoint import Checkpoint, load_optimizer, open_checkpoint
from skinclf.estimator._device import choose_device, choose_precision, repeatable_kernels
from skinclf.estimator._guard import all_fingerprints, check_inner_split, remember, watched_in_fit
from skinclf.estimator._holdout import lesion_holdout
from skinclf.estimator._images import read_images
from skinclf.estimator._memory import explain_out_of_memory
from skinclf.estimator._metadata import fused, metadata_for_fit
from skinclf.estimator._net import build_net, build_network
from skinclf.estimator._parameters import check_parameters, choose_augmenter, unchanged_on_error
from skinclf.estimator._recipe import recipe, setting
from skinclf.estimator._run_key import describe, run_key
from skinclf.estimator._seeds import EpochDraws, FitSeeds, seeded_torch
from skinclf.estimator._standardization import channel_scaling
from skinclf.estimator._targets import check_sample_weight, encode_labels, image_weights
from skinclf.estimator._training import history_frame, release_after_training, train
from skinclf.models import StandardizedNetwork
from skinclf.models._architectures import SEEDED, check_architecture, weights_digest
from skinclf.preprocessing._file_images import FileImages, reading


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes
    ----------
    seeds : FitSeeds
        Kept when a fitted classifier goes on, so that images which were put aside stay aside.
    net : NeuralNetClassifier or None
        The trained net whose weights and history go on; None for new weights.
    keeps_optimizer : bool
        Whether its optimiser goes on too, as from one `partial_fit` to the next.
    """

    seeds: FitSeeds
    net: NeuralNetClassifier | None = None
    keeps_optimizer: bool = False


def fit(classifier: Any, X: Any, y: Any, *, groups: Any, sample_weight: Any) -> None:
    """Train `classifier` anew, or with ``warm_start`` go on; see `LesionCNNClassifier.fit`."""
    check_parameters(classifier)
    start = _start(classifier) if classifier.warm_start else Start(FitSeeds.spawn(classifier.random_state))
    if start.net is None:
        check_architecture(classifier.architecture, classifier.weights)
    with unchanged_on_error(classifier) as no_way_back:
        metadata = metadata_for_fit(classifier, X, reset=start.net is None)
        images, lesion_id = read_images(classifier, X, reset=start.net is None)
        images = watched_in_fit(classifier, images)
        classes, labels = encode_labels(y, len(images))
        _set_classes(classifier, classes, start)
        named = groups if groups is not None else lesion_id
        if named is not None:
            named = check_groups(named, len(images))
        sample_weight = check_sample_weight(sample_weight, len(images))
        with reading(images):
            lesions = all_fingerprints(images) if named is None else named
            known = (images, labels, lesions, sample_weight, metadata)
            with _opened_checkpoint(classifier, start, *known) as checkpoint:
                if checkpoint is not None:
                    start = replace(start, seeds=checkpoint.seeds)
                training, validation = _split(classifier, labels, lesions, start.seeds.holdout)
                if named is None:
                    check_inner_split(classifier, lesions, training, validation)
                weight = _weights(classifier, labels, training, sample_weight)
                data = FitData(images, labels, weight, training, validation, metadata)
                _train(classifier, data, start, no_way_back, checkpoint=checkpoint)
        remember(classifier, images, groups=groups, lesion_id=lesion_id, goes_on=start.net is not None)


def partial_fit(classifier: Any, X: Any, y: Any, classes: Any, *, sample_weight: Any) -> None:
    """Train `classifier` for one epoch; see `LesionCNNClassifier.partial_fit`."""
    check_parameters(classifier)
    start = _start(classifier)
    if start.net is None:
        check_architecture(classifier.architecture, classifier.weights)
    known = classifier.classes_ if start.net is not None else classes
    if known is None:
        raise ValueError("classes must be passed on the first call to partial_fit: all labels that will come.")
    with unchanged_on_error(classifier) as no_way_back:
        metadata = metadata_for_fit(classifier, X, reset=start.net is None)
        images, lesion_id = read_images(classifier, X, reset=start.net is None)
        images = watched_in_fit(classifier, images)
        all_classes, labels = encode_labels(y, len(images), known if classes is None else classes)
        _set_classes(classifier, all_classes, start)
        everything = np.arange(len(images))
        sample_weight = check_sample_weight(sample_weight, len(images))
        weight = _weights(classifier, labels, everything, sample_weight)
        data = FitData(images, labels, weight, everything, everything[:0], metadata)
        with reading(images):
            _train(classifier, data, start, no_way_back, incremental=True)
        remember(classifier, images, groups=None, lesion_id=lesion_id, goes_on=start.net is not None)


def _weights(
    classifier: Any,
    labels: NDArray[np.intp],
    training: NDArray[np.intp],
    sample_weight: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    return image_weights(
        labels,
        training,
        classes=classifier.classes_,
        class_weight=classifier.class_weight,
        sample_weight=sample_weight,
        sampler=classifier.sampler,
    )


def _start(classifier: Any) -> Start:
    """Return what a classifier that goes on begins with; a file of a model holds no seeds."""
    if not hasattr(classifier, "net_"):
        return Start(FitSeeds.spawn(classifier.random_state))
    check_network(classifier, "go on with it")
    seeds, incremental, _ = getattr(classifier, "_training", (None, False, None))
    return Start(seeds or FitSeeds.spawn(classifier.random_state), classifier.net_, incremental)


def _network_of(classifier: Any) -> Any:
    params = [classifier.architecture, classifier.architecture_params or {}, str(classifier.weights)]
    return describe([*params, classifier.metadata])


def check_network(classifier: Any, purpose: str) -> None:
    """Refuse to go on with, or to save, a network that the parameters no longer describe.

    Raises
    ------
    ValueError
        If `architecture`, `architecture_params`, `weights` or `metadata` were changed after the fit.
    """
    *_, fitted = getattr(classifier, "_training", (None, False, None))
    now = _network_of(classifier)
    if fitted is not None and fitted != now:
        is_same_backbone = fitted[:-1] == now[:-1]
        changed = "metadata was" if is_same_backbone else "architecture, architecture_params or weights were"
        raise ValueError(
            f"{changed} changed after the classifier was fitted, and it still has the network from before. Set "
            f"{'it' if is_same_backbone else 'them'} back to {purpose}, or fit a new classifier."
        )


def _set_classes(classifier: Any, classes: NDArray[Any], start: Start) -> None:
    if start.net is None:
        classifier.classes_ = classes
    elif not np.array_equal(classes, classifier.classes_):
        raise ValueError(
            f"The classifier goes on with the labels {classifier.classes_.tolist()} of its network; "
            f"now they are {classes.tolist()}. A new classifier, or warm_start=False, can learn others."
        )


def _opened_checkpoint(
    classifier: Any,
    start: Start,
    images: Any,
    labels: NDArray[np.intp],
    lesions: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    metadata: NDArray[np.float32] | None,
) -> AbstractContextManager[Checkpoint | None]:
    if classifier.checkpoint_dir is None:
        return nullcontext()
    is_seeded = classifier.random_state is not None
    weights = None if start.net is not None else weights_digest(classifier.weights)
    key = run_key(
        classifier,
        (all_fingerprints(images), labels, pd.factorize(lesions)[0], sample_weight, weights, metadata),
        seeds=start.seeds if is_seeded else None,
        module=None if start.net is None else start.net.module_,
    )
    return open_checkpoint(classifier.checkpoint_dir, key, start.seeds, reuse_finished=is_seeded)


def _split(
    classifier: Any, labels: NDArray[np.intp], lesions: NDArray[Any], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    everything = np.arange(len(labels))
    training, validation = everything, everything[:0]
    if classifier.early_stopping:
        training, validation = lesion_holdout(labels, lesions, classifier.validation_fraction, seed)
        if len(validation) == 0:
            warnings.warn(
                "No lesion can be put aside for early stopping, since every class has images of one lesion only: "
                f"training goes on for all {setting(classifier, 'max_epochs')} epochs.",
                UserWarning,
                stacklevel=4,
            )
    if len(training) < 2:
        raise ValueError(f"At least 2 images must be left to train on; got n_samples = {len(labels)}.")
    return training, validation


def _train(
    classifier: Any,
    data: FitData,
    start: Start,
    no_way_back: Callable[[], None],
    *,
    incremental: bool = False,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train, and set the fitted attributes; when it fails, the classifier is not fitted."""
    is_ours = isinstance(classifier.architecture, str) and classifier.architecture in SEEDED
    own_network = not is_ours  # which draws from torch's global generators
    device = choose_device(classifier.device)
    with (
        seeded_torch(start.seeds.torch) if own_network else nullcontext(),
        explain_out_of_memory(
            "training", device=device, batch_size=classifier.batch_size, image_shape=classifier.image_shape_
        ),
        repeatable_kernels(device),
    ):
        net = _make_net(classifier, data, start, device, seed_torch=own_network, incremental=incremental)
        if isinstance(data.images, FileImages):
            data.images.check(data.validation)  # which nobody has looked at; not after the first epoch
        if checkpoint is not None:
            net.callbacks_.append(("checkpoint_dir", checkpoint))
        no_way_back()
        classifier.__dict__.pop("net_", None)
        epochs = 1 if incremental else setting(classifier, "max_epochs")
        earlier = None if start.net is None else start.net.history
        train(net, data.training_set, epochs=epochs, earlier=earlier, checkpoint=checkpoint)
    release_after_training(net)
    classifier.recipe_ = recipe(classifier)
    classifier.history_ = history_frame(net)
    classifier.n_epochs_ = len(classifier.history_)
    classifier.best_epoch_ = dict(net.callbacks_)["best_weights"].epoch_
    classifier.validation_indices_ = data.validation
    classifier._training = (start.seeds, incremental, _network_of(classifier))
    classifier.net_ = net


def _make_net(
    classifier: Any, data: FitData, start: Start, device: str, *, seed_torch: bool, incremental: bool
) -> NeuralNetClassifier:
    if start.net is None:
        module = _make_module(classifier, data, start.seeds)
    else:
        module = start.net.module_
    module.autocast_dtype = choose_precision(classifier.mixed_precision, device)
    net = build_net(
        module,
        data,
        classifier=classifier,
        augmenter=choose_augmenter(setting(classifier, "augmentation")),
        draws=EpochDraws(start.seeds, seed_torch=seed_torch),
        device=device,
        is_new=start.net is None,
        incremental=incremental,
    )
    if start.net is not None and start.keeps_optimizer and incremental:
        rates = [group["lr"] for group in net.optimizer_.param_groups]
        load_optimizer(net.optimizer_, start.net.optimizer_.state_dict())
        for group, rate in zip(net.optimizer_.param_groups, rates, strict=True):
            group["lr"] = rate
    return net


def _make_module(classifier: Any, data: FitData, seeds: FitSeeds) -> StandardizedNetwork:
    backbone = build_network(classifier, seeds)
    mean, std = channel_scaling(
        backbone, data.images, data.training, value_range=classifier.value_range_, stacklevel=6
    )
    return StandardizedNetwork(fused(backbone.network, classifier, seeds), mean=mean, scale=std)
