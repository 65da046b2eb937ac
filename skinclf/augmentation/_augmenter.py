"""`LesionAugmenter`: what is drawn for each training image, and how strongly."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skinclf._random import RandomStateLike, spawn_seeds, torch_generator
from skinclf._validation import MIN_SQUARE_SIDE, ImageShape, check_images
from skinclf.augmentation._color import ColorChange, ColorDraw, ColorRanges, draw_color
from skinclf.augmentation._erasing import draw_boxes, fill_boxes
from skinclf.augmentation._geometry import AffineChange, GeometryRanges, draw_affine
from skinclf.preprocessing._output import ImageOutputMixin
from skinclf.preprocessing._pixels import is_flat, read_pixels

_IMAGES_AT_ONCE = 256
_VALUES_AT_ONCE = 2**18
"""Values that are worked on at once, for each thread: 1 MiB of float32, about what a core's own cache holds."""


class AugmentationDraw(NamedTuple):
    """What was drawn for a batch: one affine map, one change of colour and one box for each image.

    Attributes
    ----------
    affine : Tensor of float32, shape (n_images, 2, 3)
        As from `draw_affine`.
    color : ColorDraw
        As from `draw_color`.
    boxes : Tensor of float32, shape (n_images, 4)
        As from `draw_boxes`.
    """

    affine: Tensor
    color: ColorDraw
    boxes: Tensor


class LesionAugmenter(OneToOneFeatureMixin, ImageOutputMixin, BaseEstimator):
    """Change training images at random in the ways in which photos of one lesion differ.

    A dermatoscope has no up and no left, so flips and quarter turns cost nothing; zoom and shift stand for the
    distance and the aim of the camera, the colours for light and device. Every image gets draws of its own.

    In `LesionCNNClassifier` (``augmentation=``) the draws are new in every epoch. As a step of a pipeline,
    ``fit_transform`` augments the training images once and ``transform`` returns images as they are, so that
    only training images are ever changed.

    Parameters
    ----------
    flip : bool, default=True
        Mirror half of the images.
    quarter_turns : bool, default=True
        Turn by 0, 90, 180 or 270 degrees; images that are not square by 0 or 180.
    rotation : float, default=20
        Turn further by at most this many degrees in both directions.
    zoom : float, default=0.2
        Magnify by a factor in ``[1 / (1 + zoom), 1 + zoom]``.
    shift : float, default=0.05
        Move by at most this share of the shorter side, along both axes.
    brightness : float, default=0.15
        Multiply all values by a factor in ``[1 / (1 + brightness), 1 + brightness]``.
    contrast : float, default=0.15
        Multiply the distance from the mean luma by a factor of the same form.
    saturation : float, default=0.15
        Multiply the chroma by a factor of the same form; images of one channel have none.
    hue : float, default=0.02
        Turn the hue by at most this share of a full turn in both directions.
    erasing : float, default=0.0
        Probability with which a box of 2 to 20 % of the image is filled with the image's mean colour.
    random_state : int, RandomState, Generator or None, default=None
        Seed of ``fit_transform``. Inside `LesionCNNClassifier` the classifier's own ``random_state`` counts.

    Attributes
    ----------
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the training images.
    n_features_in_ : int
        ``height * width * channels``.

    Notes
    -----
    What was moved in from outside the image is its reflection. Images whose shorter side is below 8 pixels
    (strips of features among them) are not augmented.

    References
    ----------
    Erasing: Zhong et al., "Random erasing data augmentation", AAAI 2020.

    Examples
    --------
    >>> from skinclf.augmentation import LesionAugmenter
    >>> from skinclf.datasets import make_lesions
    >>> images = make_lesions(n_lesions=7, image_size=32, random_state=0).images
    >>> augmenter = LesionAugmenter(random_state=0)
    >>> augmented = augmenter.fit_transform(images)
    >>> augmented.shape == images.shape, augmented.dtype, bool((augmented == images).all())
    (True, dtype('uint8'), False)
    >>> bool((augmenter.transform(images) == images).all())
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "flip": ["boolean"],
        "quarter_turns": ["boolean"],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "zoom": [Interval(Real, 0, 4, closed="both")],
        "shift": [Interval(Real, 0, 0.5, closed="both")],
        "brightness": [Interval(Real, 0, 4, closed="both")],
        "contrast": [Interval(Real, 0, 4, closed="both")],
        "saturation": [Interval(Real, 0, 4, closed="both")],
        "hue": [Interval(Real, 0, 0.5, closed="both")],
        "erasing": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        *,
        flip: bool = True,
        quarter_turns: bool = True,
        rotation: float = 20,
        zoom: float = 0.2,
        shift: float = 0.05,
        brightness: float = 0.15,
        contrast: float = 0.15,
        saturation: float = 0.15,
        hue: float = 0.02,
        erasing: float = 0.0,
        random_state: RandomStateLike = None,
    ) -> None:
        self.flip = flip
        self.quarter_turns = quarter_turns
        self.rotation = rotation
        self.zoom = zoom
        self.shift = shift
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.erasing = erasing
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and the images; nothing is learnt.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float in 0–1.
        y : ignored
            Present by convention.

        Returns
        -------
        LesionAugmenter
            The fitted transformer.
        """
        self.check_parameters()
        read_training_images(self, X)
        return self

    def transform(self, X: Any) -> Any:
        """Return the images as they are: only training images are augmented.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            Images.

        Returns
        -------
        ndarray, of the shape and dtype of ``X``
            The same values.
        """
        check_is_fitted(self)
        images = read_pixels(self, X, reset=False)
        return self._as_output(images.reshape(len(images), -1) if is_flat(X) else images, X)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Augment training images.

        Parameters
        ----------
        X : array of shape (n_images, height, width, channels) or (n_images, n_features)
            uint8 in 0–255 or float in 0–1.
        y : ignored
            Present by convention.
        **fit_params : dict
            None is known; passing one is an error.

        Returns
        -------
        ndarray, of the shape and dtype of ``X``
            Changed images; uint8 values are rounded.
        """
        if fit_params:
            raise TypeError(f"LesionAugmenter.fit_transform knows no {sorted(fit_params)}.")
        self.check_parameters()
        images = read_training_images(self, X)
        generator = torch_generator(spawn_seeds(self.random_state, 1)[0])
        result = np.empty_like(images)
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            rows = slice(start, start + _IMAGES_AT_ONCE)
            result[rows] = augment_array(self, images[rows], generator)
        return self._as_output(result.reshape(len(images), -1) if is_flat(X) else result, X)

    def check_parameters(self) -> None:
        """Raise if a parameter is out of its range.

        Raises
        ------
        ValueError
            The message names the parameter, its value and the range.
        """
        validate_parameter_constraints(self._parameter_constraints, self.get_params(deep=False), "LesionAugmenter")

    def draw(self, n_images: int, image_shape: ImageShape, generator: torch.Generator) -> AugmentationDraw:
        """Draw the changes of a batch.

        Parameters
        ----------
        n_images : int
            Size of the batch.
        image_shape : tuple of int
            ``(height, width, channels)``.
        generator : torch.Generator
            A CPU generator; every image takes the same number of draws, whatever the parameters.

        Returns
        -------
        AugmentationDraw
            What `apply` does to a batch of this size.
        """
        geometry = GeometryRanges(self.flip, self.quarter_turns, self.rotation, self.zoom, self.shift)
        color = ColorRanges(self.brightness, self.contrast, self.saturation, self.hue)
        return AugmentationDraw(
            affine=draw_affine(n_images, geometry, square=image_shape[0] == image_shape[1], generator=generator),
            color=draw_color(n_images, color, generator=generator),
            boxes=draw_boxes(n_images, self.erasing, generator=generator),
        )

    @staticmethod
    def apply(images: Tensor, draw: AugmentationDraw) -> Tensor:
        """Apply drawn changes: geometry, then colour, then erasing.

        Parameters
        ----------
        images : Tensor of uint8 or float, shape (n_images, channels, height, width)
            uint8 in 0–255 or float in 0–1, on any device.
        draw : AugmentationDraw
            As from `draw`.

        Returns
        -------
        Tensor of float, of the shape, memory format and device of `images`
            Values in 0–1, in the precision of `images`, or float32 where they are uint8.
        """
        result = torch.empty_like(images, dtype=_unit_dtype(images))
        move, recolor = AffineChange(draw.affine, result), ColorChange(draw.color, result)
        for rows in _slices(images):
            result[rows] = recolor(move(_unit_scale(images[rows]), rows), rows)
        return fill_boxes(result, draw.boxes)

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw and apply in one go.

        Parameters
        ----------
        images : Tensor of uint8 or float, shape (n_images, channels, height, width)
            uint8 in 0–255 or float in 0–1, on any device.
        generator : torch.Generator
            A CPU generator.

        Returns
        -------
        Tensor of float, of the shape and on the device of `images`
            Changed images in 0–1; those with a side below 8 pixels are not changed.
        """
        n_images, channels, height, width = images.shape
        if min(height, width) < MIN_SQUARE_SIDE:
            return _unit_scale(images)
        return self.apply(images, self.draw(n_images, (height, width, channels), generator))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.random_state is None
        return tags


def read_training_images(estimator: Any, X: Any) -> NDArray[Any]:
    """Check pixels that are to be augmented, return them as 4-D images, and set ``image_shape_`` and the like.

    Raises
    ------
    ValueError, TypeError
        If ``X`` breaks the image contract, or holds images that were standardized.
    """
    images = read_pixels(estimator, X, reset=True)
    if min(estimator.image_shape_[:2]) < MIN_SQUARE_SIDE:
        return images
    return check_images(images, standardized=False)


def augment_array(augmenter: LesionAugmenter, images: NDArray[Any], generator: torch.Generator) -> NDArray[Any]:
    """Return changed images ``(n_images, height, width, channels)`` in their own dtype; uint8 are rounded."""
    batch = torch.from_numpy(images.copy()).permute(0, 3, 1, 2)  # torch warns of read-only memory
    changed: NDArray[Any] = augmenter.augment(batch, generator).permute(0, 2, 3, 1).numpy()
    return np.rint(changed * 255).astype(np.uint8) if images.dtype == np.uint8 else changed


def _unit_dtype(images: Tensor) -> torch.dtype:
    return torch.float32 if images.dtype == torch.uint8 else images.dtype


def _unit_scale(images: Tensor) -> Tensor:
    """Return values in 0–1, each channel a plane of its own: interpolation takes a third of the time then."""
    planes = images.to(_unit_dtype(images), memory_format=torch.contiguous_format)
    return planes.div_(255) if images.dtype == torch.uint8 else planes


def _slices(images: Tensor) -> Iterator[slice]:
    """Yield the rows that are worked on together: all on a GPU, few on a CPU.

    On a CPU arrays of a whole batch would leave the cache, and be mapped and cleared anew for every step, which
    costs several times the arithmetic.
    """
    n_images, step = len(images), len(images)
    if images.device.type == "cpu" and n_images:
        step = max(torch.get_num_threads() * (_VALUES_AT_ONCE // images[0].numel()), 1)
    yield from (slice(start, start + step) for start in range(0, n_images, step or 1))
