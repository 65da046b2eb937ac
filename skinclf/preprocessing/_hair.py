"""`HairRemover`: dark hair is found by its shape, and painted over with what is beside it."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from skinclf._validation import MIN_SQUARE_SIDE, ImageShape
from skinclf.preprocessing._cleaner import ImageCleaner
from skinclf.preprocessing._hair_mask import find_hair, hair_size
from skinclf.preprocessing._inpainting import fill_across


class HairRemover(ImageCleaner):
    """Find dark hair in each image and paint it over with the skin beside it, after DullRazor.

    Each image is treated by itself, so that nothing is learnt and nothing can leak: ``transform`` works without
    ``fit``. Sizes are shares of the shorter side, so that the same parameters serve any resolution.

    Parameters
    ----------
    contrast : float, default=0.08
        How much darker than its surroundings a long hair is in red light, on the scale 0–1; a short one must be
        twice as dark. Fainter parts count in proportion, and two thirds of a hair must be seen.
    max_width : float, default=0.025
        Width of the thickest hair, as a share of the shorter side.
    min_length : float, default=0.12
        Length of the shortest hair, as a share of the shorter side, but at least 11 pixels. From 1.7 times this
        length on, a hair is long.
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
    ColorConstancy : Remove the colour of the light.

    Notes
    -----
    The steps are those of DullRazor [1]_, some of them done otherwise:

    1. Greyscale closings along lines in four directions fill whatever is narrower than the line; their maximum
       less the image says how deep a dark line is. DullRazor does so in each channel and joins the results;
       here the red channel alone counts (the only one of grey images), as hair is dark in red light, and
       vessels and most pigment are paler there.
    2. DullRazor verifies that what was found is thin and long. Here a pixel is hair if it lies on a straight line,
       in one of twelve directions, that is dark for two thirds of its length, plus half of what is as dark beside
       it, as hair stands out from texture. A line that is not twice as dark as `contrast` counts only if another
       one continues it, at most 15 degrees off.
    3. Each pixel of hair is interpolated between the nearest skin on both sides, over four lines weighted by the
       inverse square of their length. That leaves no seam to be smoothed, so that all other pixels stay as they
       are, bit for bit.

    It does not find white hair, hair on a lesion that is as dark, and hair along the very edge of the image; of
    hair and bundles thicker than `max_width` it takes the rims only. It does take for hair what looks like it:
    dark gaps between white hairs, ink, cracks in crusts, and now and then what means something, such as streaks,
    parallel ridges, or a network with coarse, dark meshes. Look at `masks` on your images. Remove hair before
    images are made small: at 64 pixels hair is one pixel wide, and a tiny lesion is a line. Whether it helps a
    classifier is to be measured.

    Images whose shorter side is below 8 pixels (strips of features among them) are returned as they are.

    References
    ----------
    .. [1] Lee, Ng, Gallagher, Coldman and McLean, "DullRazor: a software approach to hair removal from images",
       Computers in Biology and Medicine 27(6), 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.preprocessing import HairRemover
    >>> skin = np.full((1, 64, 64, 3), (220, 170, 150), dtype=np.uint8)
    >>> hairy = skin.copy()
    >>> hairy[0, 20:22, 5:60] = 50
    >>> remover = HairRemover()
    >>> int(remover.masks(hairy).sum()), bool((remover.transform(hairy) == skin).all())
    (110, True)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "contrast": [Interval(Real, 0, 1, closed="right")],
        "max_width": [Interval(Real, 0, 0.2, closed="right")],
        "min_length": [Interval(Real, 0, 1, closed="right")],
        "image_shape": [tuple, list, None],
    }

    def __init__(
        self,
        *,
        contrast: float = 0.08,
        max_width: float = 0.025,
        min_length: float = 0.12,
        image_shape: ImageShape | None = None,
    ) -> None:
        self.contrast = contrast
        self.max_width = max_width
        self.min_length = min_length
        self.image_shape = image_shape

    def masks(self, X: Any) -> NDArray[np.bool_]:
        """Find the hair.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float in 0–1.

        Returns
        -------
        ndarray of bool, shape (n_images, height, width)
            Which pixels ``transform`` replaces.
        """
        images = self._read(X, reset=False)
        masks = np.zeros(images.shape[:3], dtype=np.bool_)
        if self._applies_to(images.shape[1:]):
            for rows in self._batches(images):
                masks[rows] = self._find(images[rows])
        return masks

    def _applies_to(self, image_shape: tuple[int, ...]) -> bool:
        return min(image_shape[:2]) >= MIN_SQUARE_SIDE

    def _clean(self, images: NDArray[Any]) -> NDArray[Any]:
        return fill_across(images, self._find(images))

    def _find(self, images: NDArray[Any]) -> NDArray[np.bool_]:
        red = images[..., 0]
        if red.dtype != np.uint8:
            red = np.rint(red * 255).astype(np.uint8)
        size = hair_size(min(red.shape[1:]), self.contrast, self.max_width, self.min_length)
        return find_hair(red, size)
