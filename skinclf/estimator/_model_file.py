"""`save` and `load` of the classifier: parameters, fitted attributes and weights in one file without code."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from skorch.history import History
from torch.nn.parameter import is_lazy

from skinclf._files import check_target
from skinclf.augmentation import BatchMixer, LesionAugmenter
from skinclf.estimator._container import ModelFileError, read_container, write_container
from skinclf.estimator._device import choose_device, choose_precision
from skinclf.estimator._guard import LeakGuard
from skinclf.estimator._metadata import check_learned, fused
from skinclf.estimator._net import build_network, prediction_net
from skinclf.estimator._seeds import FitSeeds, seeded_torch
from skinclf.models import StandardizedNetwork
from skinclf.models._architectures import architecture_name

Classifier = TypeVar("Classifier")

_SHOWN = 5  # names of weights in a message


def save_classifier(classifier: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted classifier; see `LesionCNNClassifier.save`.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Fitted.
    path : str or PathLike
        The file; its folder exists.
    overwrite : bool, default=False
        Whether a file that is there already may be replaced.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Before `fit`.
    FileExistsError
        If there is a file already, and `overwrite` is False.
    TypeError
        If `architecture_params` or `class_weight` hold what no file without code can hold.
    OSError
        If the file cannot be written; the old one is then as it was.

    Warns
    -----
    UserWarning
        If a parameter is left out, which a later `fit` would need: `callbacks`, an optimiser that is not of
        ``torch.optim``, and a `random_state` that is a RandomState or a Generator.
    """
    check_is_fitted(classifier)
    check_target(Path(path), overwrite=overwrite)
    content = classifier_content(classifier)
    warn_of_left_out(path, content["left_out"], "A classifier", stacklevel=3)
    write_content(path, "model", content, type(classifier).__name__)


def classifier_content(classifier: Any) -> dict[str, Any]:
    """Return what a file holds of a fitted classifier, as `write_container` takes it."""
    plain, objects, left_out = _sorted_out(classifier.get_params(deep=False))
    return {
        "params": plain,
        "objects": objects,
        "left_out": left_out,
        "fitted": {
            name: value
            for name, value in vars(classifier).items()
            if _is_fitted_attribute(name) and name not in ("net_", "history_")
        },
        "history": [(name, classifier.history_[name].to_numpy()) for name in classifier.history_.columns],
        "state": dict(classifier.net_.module_.state_dict()),
        "guard": _guard_content(classifier),
    }


def warn_of_left_out(path: Any, left_out: list[str], what: str, *, stacklevel: int) -> None:
    """Say which parameters a file cannot hold, if any; `what` is in it."""
    if left_out:
        warnings.warn(
            f"{path} cannot hold {left_out}. {what} that is loaded from it predicts the same; before it is "
            "fitted again, set them with set_params.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def write_content(path: str | os.PathLike[str], kind: str, content: dict[str, Any], name: str) -> None:
    """Write a file of this kind; say of a value that no file can hold whose it is."""
    try:
        write_container(path, kind, content)
    except TypeError as error:
        raise TypeError(
            f"{name} cannot be saved: {error} In parameters, name such things by "
            "strings; or put them into the function that is the architecture."
        ) from error


def _guard_content(classifier: Any) -> dict[str, Any] | None:
    """Return the fingerprints of the training, unless the user wants none."""
    guard = getattr(classifier, "_guard", None)
    if guard is None or classifier.leakage == "ignore":
        return None
    return {"images": guard.images, "lesions": guard.lesions, "believes_notes": guard.believes_notes}


def _is_fitted_attribute(name: Any) -> bool:
    return isinstance(name, str) and name.endswith("_") and not name.startswith("_")


def _sorted_out(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Part parameters into plain values, objects that a name and plain values describe, and others."""
    plain: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in params.items():
        described = _described(name, value)
        if described is not None:
            objects[name] = described
        elif _is_left_out(name, value):
            left_out.append(name)
        else:
            plain[name] = value
    return plain, objects, left_out


def _described(name: str, value: Any) -> tuple[str, Any] | None:
    if name == "architecture" and callable(value):
        return "own network", architecture_name(value)
    if name == "optimizer" and value in vars(torch.optim).values():
        return "torch.optim", value.__name__
    if isinstance(value, LesionAugmenter):
        params = value.get_params(deep=False)
        return "LesionAugmenter", {k: v for k, v in params.items() if not _is_left_out(k, v)}
    if isinstance(value, BatchMixer):
        return "BatchMixer", dataclasses.asdict(value)
    if isinstance(value, os.PathLike):
        return "path", os.fspath(value)
    return None


def _is_left_out(name: str, value: Any) -> bool:
    if name == "random_state":
        return not (value is None or isinstance(value, int | np.integer))
    return (name == "optimizer" and not isinstance(value, str)) or (name == "callbacks" and value is not None)


def load_classifier(
    cls: type[Classifier], path: str | os.PathLike[str], *, architecture: Any = None, device: str = "auto"
) -> Classifier:
    """Read a classifier that `save_classifier` wrote; see `LesionCNNClassifier.load`.

    Parameters
    ----------
    cls : type
        `LesionCNNClassifier` or a subclass.
    path : str or PathLike
        The file.
    architecture : callable, or torch.nn.Module class or instance, default=None
        The network that it was trained with, where that has no name: a file holds no code.
    device : str, default="auto"
        Where the network goes, and the new value of the parameter `device`. ``"auto"`` keeps the parameter as it
        was saved, if there is such a device on this machine.

    Returns
    -------
    LesionCNNClassifier
        Fitted.

    Raises
    ------
    ModelFileError
        If the file is damaged, something else, or of another version, or does not fit the network.
    FileNotFoundError, OSError
        If it is missing or cannot be read.
    ValueError
        If `device` was given, and does not exist on this machine.

    Warns
    -----
    UserWarning
        If the device or the precision that was saved does not exist on this machine, or `architecture` fits but
        has another name than the one that was saved.
    """
    return restored_classifier(cls, path, read_container(path, "model"), architecture=architecture, device=device)


def restored_classifier(
    cls: type[Classifier], path: Any, content: Any, *, architecture: Any, device: str
) -> Classifier:
    """Return the classifier that `classifier_content` describes; parameters and errors as `load_classifier`."""
    content = _checked_content(path, content)
    params = _restored_params(cls, path, content, architecture)
    classifier: Any = cls(**params)
    if device != "auto":
        classifier.device = device
    chosen = _settle_on_device(classifier, path, is_required=device != "auto")
    for name, value in content["fitted"].items():
        setattr(classifier, name, value)
    classifier.history_ = pd.DataFrame(dict(content["history"]))
    classifier._guard = _restored_guard(path, content.get("guard"))
    module = _restored_module(path, classifier, content["state"])
    _notice_other_name(path, content, classifier.architecture)
    module.autocast_dtype = choose_precision(classifier.mixed_precision, chosen)
    classifier.net_ = prediction_net(
        module, n_classes=len(classifier.classes_), batch_size=classifier.batch_size, device=chosen
    )
    classifier.net_.history = _skorch_history(classifier.history_)
    result: Classifier = classifier
    return result


def _checked_content(path: Any, content: Any) -> dict[str, Any]:
    kinds = {"params": dict, "objects": dict, "fitted": dict, "history": list, "state": dict}
    is_whole = isinstance(content, dict) and all(isinstance(content.get(k), kind) for k, kind in kinds.items())
    needed = {"classes_", "image_shape_"}
    if not is_whole or not needed <= {*content["fitted"]} or not all(map(_is_fitted_attribute, content["fitted"])):
        raise ModelFileError(f"{path} holds no classifier as this version of skinclf saves it. Save it again.")
    whole: dict[str, Any] = content
    return whole


def _restored_params(cls: Any, path: Any, content: dict[str, Any], architecture: Any) -> dict[str, Any]:
    objects = {name: _restored(path, name, *described) for name, described in content["objects"].items()}
    own_network = content["objects"].get("architecture")
    if architecture is not None:
        objects["architecture"] = architecture
    elif own_network is not None:
        raise ModelFileError(
            f"{path} was trained with the own network {own_network[1]}, and files hold no code. Import it, and "
            f"pass it: load(path, architecture={own_network[1].rpartition('.')[2]})."
        )
    params = {**content["params"], **objects}
    _refuse_unknown(path, params, cls().get_params(deep=False), "LesionCNNClassifier")
    return params


def _restored(path: Any, name: str, kind: str, value: Any) -> Any:
    """Return the object that was described; each kind is known here, and none comes from the file."""
    if kind == "own network":
        return None
    if kind == "path":
        return Path(value)
    if kind == "LesionAugmenter":
        _refuse_unknown(path, value, LesionAugmenter().get_params(), "LesionAugmenter")
        return LesionAugmenter(**value)
    if kind == "BatchMixer":
        _refuse_unknown(path, value, dataclasses.asdict(BatchMixer()), "BatchMixer")
        return BatchMixer(**value)
    optimizer = getattr(torch.optim, str(value), None)
    if kind == "torch.optim" and isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer):
        return optimizer
    raise ModelFileError(f"{path} has the parameter {name} from {kind}, {value!r}, which is not known here.")


def _restored_guard(path: Any, content: Any) -> LeakGuard | None:
    """Return the leak guard; None for a file from before there was one, or without."""
    if content is None:
        return None
    prints = [content.get(name) for name in ("images", "lesions")] if isinstance(content, dict) else []
    if not prints or not all(isinstance(p, np.ndarray) and p.dtype == np.uint64 and p.ndim == 1 for p in prints):
        raise ModelFileError(f"{path} holds fingerprints of the training in a form that is not known here.")
    images, lesions = prints
    return LeakGuard(images, lesions, believes_notes=content.get("believes_notes") is True)


def _refuse_unknown(path: Any, params: dict[str, Any], known: dict[str, Any], owner: str) -> None:
    unknown = sorted({*params} - {*known})
    if unknown:
        raise ModelFileError(
            f"{path} has parameters that {owner} does not have in this version of skinclf: {unknown}. It was "
            "saved by a later version; upgrade skinclf."
        )


def _settle_on_device(classifier: Any, path: Any, *, is_required: bool) -> str:
    """Return the device of the network; set parameters that this machine cannot fulfil to "auto", and say so."""
    try:
        device = choose_device(classifier.device)
    except ValueError:
        if is_required:
            raise
        device = choose_device("auto")
        _warn_of_auto(path, "device", classifier.device, device)
        classifier.device = "auto"
    try:
        choose_precision(classifier.mixed_precision, device)
    except ValueError:
        _warn_of_auto(path, "mixed_precision", classifier.mixed_precision, "float32")
        classifier.mixed_precision = "auto"
    return device


def _warn_of_auto(path: Any, name: str, value: Any, now: str) -> None:
    warnings.warn(
        f"{path} was saved with {name}={value!r}, which this machine cannot do; {name} is 'auto' now, here {now}.",
        UserWarning,
        stacklevel=6,
    )


def _restored_module(path: Any, classifier: Any, state: dict[str, Any]) -> StandardizedNetwork:
    shape, n_classes = classifier.image_shape_, len(classifier.classes_)
    try:
        check_learned(getattr(classifier, "metadata_", None))
    except ValueError as error:
        raise ModelFileError(f"{path} has metadata_ in a form that is not known here: {error}.") from error
    with seeded_torch(0):  # an own network may draw its first weights from the global generators
        backbone = build_network(classifier, FitSeeds.spawn(0), is_new=False)
    network = fused(backbone.network, classifier, FitSeeds.spawn(0))
    module = StandardizedNetwork(network, mean=[0.0] * shape[2], scale=[1.0] * shape[2])
    problems = _differences(state, module.state_dict())
    if problems:
        name = architecture_name(classifier.architecture)
        raise ModelFileError(
            f"{path} holds other weights than {name} has for {n_classes} classes and images of shape {shape}: "
            f"{'; '.join(problems)}. Pass the architecture that it was trained with."
        )
    module.load_state_dict(state)
    return module.eval()


def _notice_other_name(path: Any, content: dict[str, Any], architecture: Any) -> None:
    """Two networks whose weights have the same names and shapes may still compute different things."""
    described = content["objects"].get("architecture")
    saved = content["params"].get("architecture", "lesion_cnn") if described is None else described[1]
    name = architecture_name(architecture)
    if name != saved:
        warnings.warn(
            f"{path} was trained with {saved} and is loaded with {name}. The weights have the same names and "
            "shapes; whether the network computes the same cannot be seen. If it was only moved or renamed, save "
            "it again.",
            UserWarning,
            stacklevel=5,
        )


def _differences(state: dict[str, Any], own: dict[str, Any]) -> list[str]:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} {_shape(state[name])} instead of {_shape(value)}"
        for name, value in own.items()
        if name in state and not is_lazy(value) and _shape(state[name]) != _shape(value)
    ]
    kinds = (("the file lacks", missing), ("the network lacks", unexpected), ("the file has", shapes))
    return [f"{words} {_first(names)}" for words, names in kinds if names]


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _first(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _skorch_history(frame: pd.DataFrame) -> History:
    """Return a history that training can go on from, and that gives `frame` again."""
    rows = [{"batches": [], **row} for row in frame.rename(columns={"seconds": "dur"}).to_dict("records")]
    return History(rows)
