"""What a network that was just built says of its weights, and how its images are standardised."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf.models import Backbone
from skinclf.preprocessing._standardizer import channel_statistics


def warn_of_misfits(backbone: Backbone, *, stacklevel: int) -> None:
    """Say which weights of a file did not fit the network, if any.

    Parameters
    ----------
    backbone : Backbone
        From `skinclf.models.build_backbone`.
    stacklevel : int
        As `warnings.warn` takes it, counted from the caller.

    Warns
    -----
    UserWarning
        If some did not fit.
    """
    if backbone.report is not None and not backbone.report.fits:
        warnings.warn(
            f"Not all weights fit the network: {backbone.report} What is missing begins with new values.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def channel_scaling(
    backbone: Backbone,
    images: Any,
    rows: NDArray[np.intp],
    *,
    value_range: tuple[float, float],
    stacklevel: int,
) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each channel: what the weights expect, else what the images have.

    Parameters
    ----------
    backbone : Backbone
        From `skinclf.models.build_backbone`.
    images : array-like of uint8 or float, shape (n_images, height, width, channels)
        The training images.
    rows : ndarray of int
        Which of them count.
    value_range : tuple of float
        Their scale, as ``LesionCNNClassifier.value_range_``.
    stacklevel : int
        As `warnings.warn` takes it, counted from the caller.

    Returns
    -------
    mean, scale : list of float
        On the scale 0–1 for uint8 images.

    Warns
    -----
    UserWarning
        If the weights expect images on the scale 0–1, and these are on another one.
    """
    mean, std = backbone.mean, backbone.std
    if mean is not None and value_range != (0.0, 1.0):
        low, high = value_range
        warnings.warn(
            f"The network's weights expect images on the scale 0-1, and these have values from {low:.3g} to "
            f"{high:.3g}: they are standardised by their own mean and deviation. Pass uint8 images, or leave out "
            "steps that standardise.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
        mean = None
    if mean is None or std is None:
        means, scales = channel_statistics(images, rows)
        return means.tolist(), scales.tolist()
    return list(mean), list(std)
