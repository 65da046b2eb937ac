"""`LesionAugmenter`: what is drawn for each training image, and how strongly."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skinclf._random import RandomStateLike, spawn_seeds, torch_generator
from skinclf._validation import MIN_SQUARE_SIDE, ImageShape, check_images
from skinclf.augmentation._color import ColorDraw, ColorRanges, apply_color, draw_color
from skinclf.augmentation._erasing import apply_boxes, draw_boxes
from skinclf.augmentation._geometry import GeometryRanges, apply_affine, draw_affine
from skinclf.preprocessing._pixels import is_flat, read_pixels

_IMAGES_AT_ONCE = 256


class AugmentationDraw(NamedTuple):
    """What was drawn for a batch: one affine map, one change of colour and one box for each image."""

    affine: Tensor
    color: ColorDraw
    boxes: Tensor


class LesionAugmenter(TransformerMixin, BaseEstimator):
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
        self._read_training_images(X)
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
        return images.reshape(len(images), -1) if is_flat(X) else images

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
        images = self._read_training_images(X)
        generator = torch_generator(spawn_seeds(self.random_state, 1)[0])
        result = np.empty_like(images)
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            rows = slice(start, start + _IMAGES_AT_ONCE)
            result[rows] = self._augment_array(images[rows], generator)
        return result.reshape(len(images), -1) if is_flat(X) else result

    def _read_training_images(self, X: Any) -> NDArray[Any]:
        self.check_parameters()
        images = read_pixels(self, X, reset=True)
        if min(self.image_shape_[:2]) < MIN_SQUARE_SIDE:
            return images
        return check_images(images, standardized=False)

    def _augment_array(self, images: NDArray[Any], generator: torch.Generator) -> NDArray[Any]:
        is_uint8 = images.dtype == np.uint8
        values = images.astype(np.float32) / 255 if is_uint8 else images.copy()  # torch warns of read-only memory
        batch = torch.from_numpy(values).permute(0, 3, 1, 2)
        changed: NDArray[Any] = self.augment(batch, generator).permute(0, 2, 3, 1).numpy()
        return np.rint(changed * 255).astype(np.uint8) if is_uint8 else changed

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
        images : Tensor of float, shape (n_images, channels, height, width)
            Values in 0–1, on any device.
        draw : AugmentationDraw
            As from `draw`.

        Returns
        -------
        Tensor, of the shape and on the device of `images`
            Values in 0–1.
        """
        return apply_boxes(apply_color(apply_affine(images, draw.affine), draw.color), draw.boxes)

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw and apply in one go.

        Parameters
        ----------
        images : Tensor of float, shape (n_images, channels, height, width)
            Values in 0–1, on any device.
        generator : torch.Generator
            A CPU generator.

        Returns
        -------
        Tensor, of the shape and on the device of `images`
            Changed images; images with a side below 8 pixels come back as they are.
        """
        n_images, channels, height, width = images.shape
        if min(height, width) < MIN_SQUARE_SIDE:
            return images
        return self.apply(images, self.draw(n_images, (height, width, channels), generator))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.random_state is None
        return tags
