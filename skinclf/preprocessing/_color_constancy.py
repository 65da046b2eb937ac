"""`ColorConstancy`: the colour of the light is estimated in each image, and divided out."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from skinclf._validation import ImageShape
from skinclf.preprocessing._cleaner import ImageCleaner
from skinclf.preprocessing._pixels import unit_scale


class ColorConstancy(ImageCleaner):
    """Show each image as if it had been taken in neutral light.

    Dermatoscopes, cameras and clinics differ in the colour of their light. The light of each image is estimated as
    a mean of its pixels, channel by channel, and each channel is divided by it (von Kries). Each image is treated
    by itself, so that nothing is learnt and nothing can leak: ``transform`` works without ``fit``.

    Parameters
    ----------
    method : {"shades_of_gray", "gray_world", "max_rgb"}, default="shades_of_gray"
        Which mean: ``"shades_of_gray"`` is the Minkowski mean ``mean(v ** norm) ** (1 / norm)``,
        ``"gray_world"`` the arithmetic mean (a norm of 1) and ``"max_rgb"`` the maximum (a norm of infinity).
    norm : float, default=6
        Order of the Minkowski mean, 1 to 100; only ``"shades_of_gray"`` has one. The higher, the more the
        brightest pixels count.
    image_shape : tuple of int (height, width, channels), default=None
        How the rows of a 2-D ``X`` are to be read. None takes rows of ``3 * s * s`` or ``s * s`` values
        (``s >= 8``) as square images and others as strips of one channel.

    Attributes
    ----------
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the images in ``fit``; other heights and widths may be transformed.
    n_features_in_ : int
        ``height * width * channels``.

    See Also
    --------
    HairRemover : Remove dark hair.

    Notes
    -----
    The estimate is scaled to the length of white, the square root of 3, before the channels are divided by it: a
    neutral image stays as it is, and others keep their brightness by and large. What is brighter than white
    afterwards is clipped.

    It works on the stored values, which are gamma-encoded, as is usual for dermatoscopic images [2]_. For an
    encoding with an exponent of 1/2.2 that is the same as the Minkowski mean of order ``norm / 2.2`` of the light
    itself.

    A channel that is 0 everywhere stays 0, a black image stays black, and an image of one channel has no colour
    and is returned as it is. Skin is not grey: its own colour is taken for that of the light, and a lesion that
    fills the image loses its colour, the more so the lower the norm. Whether it helps a classifier is to be
    measured.

    References
    ----------
    .. [1] Finlayson and Trezzi, "Shades of gray and colour constancy", Color and Imaging Conference 2004, where
       a norm of 6 was best.
    .. [2] Barata, Celebi and Marques, "Improving dermoscopy image classification using color constancy", IEEE
       Journal of Biomedical and Health Informatics 19(3), 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.datasets import make_lesions
    >>> from skinclf.preprocessing import ColorConstancy
    >>> images = make_lesions(n_lesions=7, image_size=32, random_state=0).images
    >>> constancy = ColorConstancy()
    >>> constancy.illuminants(images)[0].round(2)
    array([0.67, 0.54, 0.51])
    >>> neutral = constancy.transform(images)
    >>> neutral.dtype, bool(np.ptp(constancy.illuminants(neutral), axis=1).max() < 0.01)
    (dtype('uint8'), True)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "method": [StrOptions({"shades_of_gray", "gray_world", "max_rgb"})],
        "norm": [Interval(Real, 1, 100, closed="both")],
        "image_shape": [tuple, list, None],
    }

    def __init__(
        self, method: str = "shades_of_gray", *, norm: float = 6, image_shape: ImageShape | None = None
    ) -> None:
        self.method = method
        self.norm = norm
        self.image_shape = image_shape

    def illuminants(self, X: Any) -> NDArray[np.float64]:
        """Estimate the colour of the light in each image.

        Parameters
        ----------
        X : array of shape (n_images, height, width, 3) or (n_images, n_features)
            uint8 in 0–255 or float in 0–1.

        Returns
        -------
        ndarray of float64, shape (n_images, 3)
            Red, green and blue, at unit length; neutral light, also that of a black image, is 0.577 in each.
        """
        images = self._read(X, reset=False)
        if images.shape[3] != 3:
            raise ValueError(
                "Only images of 3 channels show the colour of light; X has images of shape "
                f"{tuple(images.shape[1:])} (height, width, channels)."
            )
        means = np.stack([minkowski_means(image, self._order()) for image in images])
        means[~means.any(axis=1)] = 1
        result: NDArray[np.float64] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return result

    def _order(self) -> float:
        return {"shades_of_gray": self.norm, "gray_world": 1, "max_rgb": math.inf}[self.method]

    def _applies_to(self, image_shape: tuple[int, ...]) -> bool:
        return image_shape[2] == 3

    def _clean(self, images: NDArray[Any]) -> NDArray[Any]:
        return np.stack([divide_by(image, minkowski_means(image, self._order())) for image in images])


def minkowski_means(image: NDArray[Any], order: float) -> NDArray[np.float64]:
    """Return the Minkowski mean of each channel.

    Parameters
    ----------
    image : ndarray, shape (height, width, 3)
        uint8 in 0–255 or float in 0–1.
    order : float
        1 or more; infinity stands for the maximum.

    Returns
    -------
    ndarray of float64, shape (3,)
        On the scale 0–1. For uint8 it is computed from counts of the 256 levels, so that the order of the pixels
        makes no difference at all.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.preprocessing._color_constancy import minkowski_means
    >>> minkowski_means(np.array([[[0, 0.3, 1], [1, 0.4, 1]]]), order=2).round(4)
    array([0.7071, 0.3536, 1.    ])
    """
    channels = image.reshape(-1, 3).T
    if math.isinf(order):
        return np.asarray(channels.max(axis=1) * unit_scale(image.dtype), dtype=np.float64)
    if image.dtype == np.uint8:
        counts = np.stack([np.bincount(channel, minlength=256) for channel in channels])
        sums: NDArray[np.float64] = (counts * (np.arange(256) * unit_scale(image.dtype)) ** order).sum(axis=1)
        return (sums / channels.shape[1]) ** (1 / order)
    # The powers of small floats underflow; those of their ratios to the largest do not.
    values = np.ascontiguousarray(channels, dtype=np.float64)
    peaks: NDArray[np.float64] = values.max(axis=1)
    ratios = values / np.where(peaks > 0, peaks, 1)[:, None]
    means: NDArray[np.float64] = (ratios**order).mean(axis=1)
    return peaks * means ** (1 / order)


def divide_by(image: NDArray[Any], means: NDArray[np.float64]) -> NDArray[Any]:
    """Divide each channel by its mean, after the means were scaled to the length of white.

    Parameters
    ----------
    image : ndarray, shape (height, width, 3)
        uint8 in 0–255 or float in 0–1.
    means : ndarray of float64, shape (3,)
        On any scale; a channel whose mean is 0 is left as it is.

    Returns
    -------
    ndarray of the shape and dtype of `image`
        Clipped to the range of the dtype; uint8 is rounded.
    """
    gains = np.divide(np.linalg.norm(means) / math.sqrt(3), means, out=np.ones(3), where=means > 0)
    if image.dtype != np.uint8:
        return np.asarray(np.minimum(image * gains.astype(image.dtype), 1))
    tables = np.minimum(np.rint(gains * np.arange(256)[:, None]), 255).astype(np.uint8)
    return np.stack([tables[:, channel][image[..., channel]] for channel in range(3)], axis=-1)
