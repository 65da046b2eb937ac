"""A fitted classifier as one ONNX file: from pixels to probabilities, for any ONNX runtime."""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skinclf import __version__
from skinclf._files import check_target, write_whole
from skinclf.estimator._recipe import setting
from skinclf.models import StandardizedNetwork
from skinclf.models._symmetries import SymmetryVote

NOTICE = "Research tool, not a medical device."
_OPSET = 20  # onnxruntime reads it from version 1.17 of January 2024 on


def export_onnx(classifier: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted classifier as an ONNX file; see `LesionCNNClassifier.to_onnx`.

    The input ``images`` has the shape ``(n_images, height, width, channels)`` of the training images: uint8 in
    0–255 where the classifier was trained on uint8 images or on floats in 0–1, else float32 on the scale of the
    training images. The output ``probabilities``, float32 ``(n_images, n_classes)``, is in the order of
    ``classes_``. The metadata hold ``classes`` (a JSON list), ``skinclf`` (the version) and ``notice``.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Fitted; it stays as it is.
    path : str or PathLike
        The file; its folder exists.
    overwrite : bool, default=False
        Whether a file that is there already may be replaced.

    Raises
    ------
    ImportError
        If the packages of the extra ``onnx`` are not installed.
    sklearn.exceptions.NotFittedError
        Before `fit`.
    FileExistsError
        If there is a file already, and `overwrite` is False.
    ValueError
        If the network does something that ONNX cannot, or only for a fixed number of images; and if it takes
        metadata: who runs the file would have to encode them just as `fit` did.
    OSError
        If the file cannot be written; the old one is then as it was.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'ONNX export needs {" and ".join(missing)}: pip install "skinclf[onnx]".')
    check_is_fitted(classifier)
    if getattr(classifier, "metadata_", None) is not None:
        raise ValueError(
            f"The classifier was fitted with the metadata {[*classifier.metadata_]}, and an ONNX file of skinclf "
            "takes images alone. Fit with metadata=None and export that, or keep this one with save(path)."
        )
    path = Path(path)
    check_target(path, overwrite=overwrite)
    model = _traced(
        _OnnxNetwork(classifier.net_.module_, tta=setting(classifier, "tta")).eval(), example_images(classifier)
    )
    _describe(model, classifier)
    data: bytes = model.SerializeToString()

    def write(file: BinaryIO) -> None:
        file.write(data)

    write_whole(path, write)


class _OnnxNetwork(nn.Module):
    """A copy of a network, with the images as they are stored, and with probabilities instead of logits."""

    def __init__(self, module: StandardizedNetwork, *, tta: bool) -> None:
        super().__init__()
        own: StandardizedNetwork = copy.deepcopy(module).cpu()
        own.autocast_dtype = None  # a runtime chooses its own precision
        self.module: nn.Module = SymmetryVote(own) if tta else own

    def forward(self, images: Tensor) -> Tensor:
        """(n_images, height, width, channels) -> (n_images, n_classes)."""
        probabilities: Tensor = torch.softmax(self.module(images.permute(0, 3, 1, 2)), dim=1)
        return probabilities


def example_images(classifier: Any) -> Tensor:
    """Return two black images of the shape and type that the exported network takes.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Fitted.

    Returns
    -------
    Tensor of uint8 or float32, shape (2, height, width, channels)
        Rows of features (images of height 1) are float32 on any scale.
    """
    takes_uint8 = classifier.value_range_ == (0.0, 1.0) and classifier.image_shape_[0] > 1
    return torch.zeros((2, *classifier.image_shape_), dtype=torch.uint8 if takes_uint8 else torch.float32)


def _traced(network: nn.Module, images: Tensor) -> Any:
    """Return the ONNX model, for any number of images; the exporters' warnings are about their own insides."""
    n_images = torch.export.Dim("n_images", min=1)
    with warnings.catch_warnings(), _quiet_exporter():
        warnings.simplefilter("ignore")
        try:
            # torch.onnx.export would do it, but when it fails it tries three other ways, and prints what it tried.
            program = torch.export.export(network, (images,), dynamic_shapes=({0: n_images},), strict=False)
            onnx_program: Any = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=["images"],
                output_names=["probabilities"],
            )
        except RuntimeError as error:
            raise ValueError(
                "The network cannot be exported to ONNX. Its forward must treat any number of images alike, must "
                f"not decide by the values of tensors, and use operations that ONNX has. {_first_line(error)}"
            ) from error
    return onnx_program.model_proto


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter from logging that torchvision, whose operations nobody uses here, is not installed."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _describe(model: Any, classifier: Any) -> None:
    """Say what the model is; and drop the exporter's notes, which hold paths and source lines of this machine."""
    import onnx

    graph = model.graph
    graph.ClearField("value_info")  # shapes in between, which a runtime infers
    functions = [part for function in model.functions for part in (function, *function.node)]
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n_images"  # in place of a symbol such as s34
    model.producer_name, model.producer_version = "skinclf", __version__
    model.doc_string = NOTICE
    labels = json.dumps(classifier.classes_.tolist(), ensure_ascii=False)
    onnx.helper.set_model_props(model, {"classes": labels, "skinclf": __version__, "notice": NOTICE})
    onnx.checker.check_model(model, full_check=True)
