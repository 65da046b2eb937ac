"""What a fitted classifier is written to, and read from: a file of its own, and ONNX."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Self

import torch

from skinclf.estimator import _fit
from skinclf.estimator._model_file import load_classifier, save_classifier
from skinclf.estimator._onnx import export_onnx


class PersistenceMixin:
    """`save`, `load` and `to_onnx` of `LesionCNNClassifier`."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted classifier into one file that holds no code.

        The file is safetensors: weights, parameters, classes and history, with SHA-256 over all of it. Left out,
        with a warning, are `callbacks`, an optimiser of your own, and a ``RandomState`` or ``Generator`` as
        `random_state`. Of a network of your own the file holds the weights and the name, not the code.

        Parameters
        ----------
        path : str or path
            The file; its folder must exist.
        overwrite : bool, default=False
            Whether to replace a file that is there. It is replaced whole, or not at all.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If `architecture`, `architecture_params` or `weights` were changed after `fit`.
        FileExistsError
            If the file is there and `overwrite` is False.
        OSError
            If it cannot be written.
        TypeError
            If a parameter is of a kind that the file cannot hold.
        """
        _fit.check_network(self, "save it")
        save_classifier(self, path, overwrite=overwrite)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        architecture: Callable[..., torch.nn.Module] | torch.nn.Module | None = None,
        device: str = "auto",
    ) -> Self:
        """Read a classifier that `save` wrote; nothing in the file is executed.

        Parameters
        ----------
        path : str or path
            The file.
        architecture : callable, or torch.nn.Module class or instance, default=None
            The network of your own that the classifier was trained with, if it was. A warning says if it has
            another name.
        device : str, default="auto"
            Where it is to compute, as in the constructor.

        Returns
        -------
        LesionCNNClassifier
            Fitted; it predicts, bit for bit, as the one that was saved does on the same kind of machine.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If it is damaged, cut short, of another kind or of a later version, or does not fit `architecture`.
        ValueError
            If the device does not exist here.
        """
        return load_classifier(cls, path, architecture=architecture, device=device)

    def to_onnx(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted classifier as an ONNX model: images in, probabilities out.

        The input ``images`` has the shape ``(n_images, height, width, channels)``, uint8 in 0–255 or, for a
        classifier that was fitted on floats on a scale of their own, float32 on that scale. The output
        ``probabilities`` is float32 ``(n_images, n_classes)``; the labels are in the metadata of the file. Reading
        and scaling files is not part of it. Needs the extra ``onnx``.

        Parameters
        ----------
        path : str or path
            The file; its folder must exist.
        overwrite : bool, default=False
            Whether to replace a file that is there.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ImportError
            Without the packages of the extra.
        FileExistsError
            If the file is there and `overwrite` is False.
        OSError
            If it cannot be written.
        """
        export_onnx(self, path, overwrite=overwrite)
