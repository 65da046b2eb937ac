"""From `architecture` and `weights` to a network whose ends fit the images and the classes."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skinclf._validation import ImageShape
from skinclf.models._efficientnet_lite import INPUT_MEAN, INPUT_STD, efficientnet_lite0, own_names
from skinclf.models._lesion_cnn import lesion_cnn
from skinclf.models._probe import Probe, probe, replace_head, replace_stem
from skinclf.models._published import build_published, library_of, lite0_file
from skinclf.models._weights import WeightsReport, load_weights, read_weights

Architecture: TypeAlias = str | Callable[..., nn.Module] | nn.Module
Weights: TypeAlias = str | os.PathLike[str] | None

_OWN: dict[str, Callable[..., nn.Module]] = {
    "lesion_cnn": lesion_cnn,
    "efficientnet_lite0": efficientnet_lite0,
}
_OWN_TAKES = {"lesion_cnn": "width, depth and dropout", "efficientnet_lite0": "dropout and stochastic_depth"}
SEEDED = frozenset(_OWN)
"""Names of networks that draw from explicit generators only; others use torch's global ones."""

_CLASSES_NAMES = ("n_classes", "num_classes", "n_labels", "num_labels", "n_outputs", "num_outputs")
_SHAPE_NAMES = ("image_shape", "input_shape")
_CHANNEL_NAMES = ("in_channels", "in_chans", "n_channels", "num_channels")


@dataclass(frozen=True)
class Backbone:
    """A network, and how its images are to be standardised.

    Attributes
    ----------
    network : torch.nn.Module
        Takes standardised float32 images ``(n_images, channels, height, width)`` and returns logits
        ``(n_images, n_classes)``.
    mean, std : tuple of float, one for each channel, or None
        What its weights expect of images on the scale 0–1; None where any will do.
    report : WeightsReport or None
        What of `weights` went into it; None without.
    """

    network: nn.Module
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    report: WeightsReport | None = None


def architecture_name(architecture: Architecture) -> str:
    """Return a name for messages: a string itself, else the name of the function or class."""
    if isinstance(architecture, str):
        return architecture
    built_by: Any = architecture
    while isinstance(built_by, functools.partial):
        built_by = built_by.func
    named = built_by if hasattr(built_by, "__qualname__") else type(built_by)
    return f"{named.__module__}.{named.__qualname__}"


def weights_digest(weights: Weights) -> NDArray[np.uint8] | None:
    """Return the SHA-256 of a file of weights, so that a run is known by what it began with; None without one.

    Parameters
    ----------
    weights : None, "imagenet" or path
        Those of ImageNet are known by their name.

    Returns
    -------
    ndarray of uint8, shape (32,), or None
        The digest.
    """
    if weights is None or weights == "imagenet":
        return None
    with Path(weights).expanduser().open("rb") as file:
        return np.frombuffer(hashlib.file_digest(file, "sha256").digest(), np.uint8)


def check_architecture(architecture: Architecture, weights: Weights) -> None:
    """Refuse names and files that do not exist, before images are read.

    Parameters
    ----------
    architecture, weights
        As `build_backbone` takes them.

    Raises
    ------
    ValueError
        If there is no such network, or it has no ImageNet weights.
    ImportError
        If a library or the weights of ``efficientnet_lite0`` are not installed.
    FileNotFoundError
        If the file of the weights does not exist.
    """
    if isinstance(architecture, str) and architecture not in _OWN:
        library_of(architecture)
    if weights is None:
        return
    if weights == "imagenet":
        if architecture == "efficientnet_lite0":
            lite0_file()
        elif architecture == "lesion_cnn" or not isinstance(architecture, str):
            raise ValueError(
                f"weights='imagenet' are not there for {architecture_name(architecture)}. Pass weights=None, or "
                "a file of weights; 'efficientnet_lite0' and networks of torchvision and timm have them."
            )
    elif not Path(weights).expanduser().is_file():
        raise FileNotFoundError(f"weights must be None, 'imagenet' or a file; there is no file {weights!r}.")


def build_backbone(
    architecture: Architecture,
    image_shape: ImageShape,
    n_classes: int,
    *,
    params: dict[str, Any] | None = None,
    weights: Weights = None,
    generator: torch.Generator | None = None,
    checked: bool = True,
) -> Backbone:
    """Build a network for these images and classes, with weights if there are any.

    Parameters
    ----------
    architecture : str, callable, or torch.nn.Module class or instance
        ``"lesion_cnn"``, ``"efficientnet_lite0"``, or the name of a network of torchvision or timm. A callable
        gets ``(image_shape, n_classes, **params)``. A class gets those of ``image_shape``, ``n_classes`` (or
        ``num_classes``) and ``in_channels`` that its constructor names, and `params`. Of an instance a copy is
        made; its output layer is replaced where it has another number of outputs.
    image_shape : tuple of int (height, width, channels)
        Of the images.
    n_classes : int
        Number of classes.
    params : dict, default=None
        Arguments of the architecture.
    weights : None, "imagenet" or path, default=None
        What the network begins with, but for its output layer.
    generator : torch.Generator, default=None
        What skinclf's own networks draw their weights from. Others draw from torch's global generator.
    checked : bool, default=True
        Whether callables are run once, to see that they take the images and have an output for each class.

    Returns
    -------
    Backbone
        On the CPU, but for an instance that is elsewhere.

    Raises
    ------
    ValueError
        If the network does not take the images, or has another number of outputs; or the weights do not fit.
    TypeError
        If a callable returns anything but a module, or does not take the parameters.
    ImportError, FileNotFoundError
        As `check_architecture`; and if weights are not on this machine.

    Examples
    --------
    >>> from torch import nn
    >>> from skinclf.models import build_backbone
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1000))
    >>> build_backbone(network, (32, 32, 1), 7).network[3]
    Linear(in_features=8, out_features=7, bias=True)
    """
    params = {} if params is None else params
    if isinstance(architecture, str) and architecture in _OWN:
        return _own(architecture, image_shape, n_classes, params, weights, generator)
    if isinstance(architecture, str):
        return _by_name(architecture, image_shape, n_classes, params, weights)
    return _users(architecture, image_shape, n_classes, params, weights, checked=checked)


def _own(
    name: str,
    image_shape: ImageShape,
    n_classes: int,
    params: dict[str, Any],
    weights: Weights,
    generator: torch.Generator | None,
) -> Backbone:
    build = _OWN[name]
    try:
        network = build(image_shape, n_classes, generator=generator, **params)
    except TypeError as error:
        raise TypeError(
            f"architecture_params={params!r} do not fit {name}, which takes {_OWN_TAKES[name]}."
        ) from error
    if weights is None:
        return Backbone(network)
    if name == "lesion_cnn":
        return _with_weights(network, weights, image_shape, stem="stem", head="output")
    file = lite0_file() if weights == "imagenet" else weights
    return _with_weights(
        network,
        file,
        image_shape,
        stem="stem",
        head="output",
        mean=(INPUT_MEAN,),
        std=(INPUT_STD,),
        rename=own_names,
    )


def _by_name(
    name: str, image_shape: ImageShape, n_classes: int, params: dict[str, Any], weights: Weights
) -> Backbone:
    published = build_published(*library_of(name), image_shape, n_classes, params)
    network = published.network
    seen = _fitted_ends(network, name, image_shape, n_classes, replaces_head=False)
    network = network.to(memory_format=torch.channels_last)
    if weights is None:
        return Backbone(network)
    file = published.imagenet() if weights == "imagenet" else weights
    return _with_weights(
        network,
        file,
        image_shape,
        stem=seen.stem,
        head=seen.head,
        mean=published.mean,
        std=published.std,
        rename=published.rename,
    )


def _users(
    architecture: Any,
    image_shape: ImageShape,
    n_classes: int,
    params: dict[str, Any],
    weights: Weights,
    *,
    checked: bool,
) -> Backbone:
    name = architecture_name(architecture)
    knows_classes = True
    if isinstance(architecture, nn.Module):
        if params:
            raise TypeError(
                f"architecture_params={params!r} have no effect on architecture={name}, which is a network "
                "already. Pass its class, or a function that builds it."
            )
        network, knows_classes = copy.deepcopy(architecture), False
    elif isinstance(architecture, type) and issubclass(architecture, nn.Module):
        network, knows_classes = _of_class(architecture, image_shape, n_classes, params)
    else:
        network = _of_factory(architecture, name, image_shape, n_classes, params)
    seen = None
    if checked or weights is not None or not knows_classes:
        seen = _fitted_ends(network, name, image_shape, n_classes, replaces_head=not knows_classes)
    mean, std = _expected_by(network)
    if weights is None or seen is None:
        return Backbone(network, *_for_channels(mean, std, image_shape[2]))
    return _with_weights(network, weights, image_shape, stem=seen.stem, head=seen.head, mean=mean, std=std)


def _of_factory(
    factory: Callable[..., nn.Module], name: str, image_shape: ImageShape, n_classes: int, params: dict[str, Any]
) -> nn.Module:
    try:
        inspect.signature(factory).bind(image_shape, n_classes, **params)
    except ValueError:  # a callable that does not tell what it takes
        pass
    except TypeError as error:
        raise TypeError(
            f"architecture={name} must be callable as {name}(image_shape, n_classes, **architecture_params); it "
            f"is not with architecture_params={params!r}: {error}."
        ) from error
    built = factory(image_shape, n_classes, **params)
    if not isinstance(built, nn.Module):
        raise TypeError(f"architecture must return a torch.nn.Module; {factory!r} returned {type(built)}.")
    return built


def _of_class(
    cls: type[nn.Module], image_shape: ImageShape, n_classes: int, params: dict[str, Any]
) -> tuple[nn.Module, bool]:
    """Build an instance; say whether it was told the number of classes."""
    taken = inspect.signature(cls).parameters
    values = {
        **dict.fromkeys(_SHAPE_NAMES, image_shape),
        **dict.fromkeys(_CLASSES_NAMES, n_classes),
        **dict.fromkeys(_CHANNEL_NAMES, image_shape[2]),
    }
    named = {key: value for key, value in values.items() if key in taken and key not in params}
    needed = [
        parameter.name
        for parameter in taken.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name not in {*named, *params}
    ]
    if not needed and (named or not any(p.kind is p.VAR_POSITIONAL for p in taken.values())):
        _bound(cls, (), {**named, **params})
        return cls(**named, **params), any(key in named or key in params for key in _CLASSES_NAMES)
    _bound(cls, (image_shape, n_classes), params)  # whatever the two are called
    return cls(image_shape, n_classes, **params), True


def _bound(cls: type[nn.Module], args: tuple[Any, ...], params: dict[str, Any]) -> None:
    try:
        inspect.signature(cls).bind(*args, **params)
    except TypeError as error:
        raise TypeError(
            f"architecture={cls.__qualname__} cannot be built: {error}. Its constructor is given those of "
            "image_shape, n_classes (or num_classes) and in_channels that it names, and architecture_params."
        ) from error


def _fitted_ends(
    network: nn.Module, name: str, image_shape: ImageShape, n_classes: int, *, replaces_head: bool
) -> Probe:
    """Run the network once; let its first layer take the channels and its last one give the classes."""
    seen = probe(network, image_shape)
    if seen.error is not None and seen.stem is not None and replace_stem(network, seen.stem, image_shape[2]):
        seen = probe(network, image_shape)
    if seen.error is None and replaces_head and seen.head is not None and seen.n_outputs != n_classes:
        replace_head(network, seen.head, n_classes)
        seen = probe(network, image_shape)
    height, width, channels = image_shape
    if seen.error is not None:
        raise ValueError(
            f"architecture={name} does not take images of {height} x {width} x {channels} (height, width, "
            f"channels): {type(seen.error).__name__}: {_first_line(seen.error)} If they are too small, raise "
            "image_size, or pass larger arrays; if the network is made for one size, pass that."
        ) from seen.error
    if seen.n_outputs != n_classes:
        raise ValueError(
            f"architecture={name} must return logits of shape (n_images, {n_classes}), one for each class; for 2 "
            f"images it returned {_shape_of(seen.output)}."
        )
    return seen


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.')}." if lines else ""


def _shape_of(output: Any) -> str:
    return f"shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else f"{type(output).__name__}"


def _expected_by(network: nn.Module) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return mean and deviation that a network itself names, as those of timm do."""
    config = getattr(network, "pretrained_cfg", None)
    if not isinstance(config, dict) or "mean" not in config or "std" not in config:
        return None, None
    return tuple(map(float, config["mean"])), tuple(map(float, config["std"]))


def _for_channels(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, channels: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if mean is None or std is None:
        return None, None
    if len(mean) != channels:
        mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
    return mean, std


def _with_weights(
    network: nn.Module,
    weights: str | os.PathLike[str],
    image_shape: ImageShape,
    *,
    stem: str | None,
    head: str | None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    rename: Callable[..., Any] | None = None,
) -> Backbone:
    state = read_weights(weights)
    is_classifier = {"mean", "scale"} <= state.keys() and any(key.startswith("network.") for key in state)
    if is_classifier:
        mean, std = (tuple(state.pop(key).flatten().tolist()) for key in ("mean", "scale"))
    report = load_weights(network, state, head=head, stem=stem, source=os.fspath(weights), rename=rename)
    return Backbone(network, *_for_channels(mean, std, image_shape[2]), report)
