"""Photograph a painted lesion: where the camera is, the light that falls, the hair in the way, the noise.

All photos of a lesion share what is drawn from the lesion's generator (`skinclf.datasets._lesion_painter`);
what differs between them is drawn here, from a generator for each photo.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from skinclf.datasets._lesion_painter import paint
from skinclf.datasets._lesion_patterns import Field, smoothstep

_MIN_PAINTED_SIZE = 64
"""Smaller photos are painted at a multiple of their size and averaged: fine patterns blur, and don't alias."""


def photograph(dx: str, image_size: int, n_photos: int, seed: int) -> NDArray[np.uint8]:
    """Take photos of one lesion.

    Parameters
    ----------
    dx : str
        The lesion's class, ``akiec`` to ``vasc``.
    image_size : int
        Height and width of the photos in pixels.
    n_photos : int
        How many.
    seed : int
        Not below 0. It decides the lesion, and the lesion together with the photo's number decides the photo.

    Returns
    -------
    uint8 array of shape (n_photos, image_size, image_size, 3)
        Red, green and blue, in 0–255.

    Examples
    --------
    >>> from skinclf.datasets._lesion_camera import photograph
    >>> one, two = photograph("nv", 32, 1, seed=3), photograph("nv", 32, 2, seed=3)
    >>> bool((two[:1] == one).all())
    True
    """
    lesion_seed, *photo_seeds = np.random.SeedSequence(seed).spawn(1 + n_photos)
    cameras = [np.random.default_rng(photo_seed) for photo_seed in photo_seeds]
    factor = math.ceil(_MIN_PAINTED_SIZE / image_size)
    axis = (np.linspace(-1, 1, 2 * factor * image_size + 1)[1::2]).astype(np.float32)
    x, y = np.stack([_aim(axis, camera) for camera in cameras], axis=1)
    planes = paint(dx, x, y, np.random.default_rng(lesion_seed))
    photos = np.empty((n_photos, image_size, image_size, 3), dtype=np.uint8)
    for number, camera in enumerate(cameras):
        image = planes[:, number]
        _lay_hair(image, axis, camera)
        _light(image, axis, camera)
        if factor > 1:
            image = image.reshape(3, image_size, factor, image_size, factor).mean(axis=(2, 4))
        # Drawn last: it is all that depends on the size.
        image += camera.uniform(0.008, 0.03) * camera.standard_normal(image.shape, dtype=np.float32)
        photos[number] = np.moveaxis(np.clip(np.rint(255 * image), 0, 255), 0, -1)
    return photos


def _aim(axis: Field, camera: np.random.Generator) -> Field:
    """Return x and y, shape (2, size, size), of what the pixels of a turned, zoomed and shifted photo show."""
    turn, zoom = camera.uniform(0, 2 * math.pi), math.exp(camera.uniform(-0.22, 0.22))
    right = axis[None, :] - camera.uniform(-0.22, 0.22)
    down = axis[:, None] - camera.uniform(-0.22, 0.22)
    cos, sin = zoom * math.cos(turn), zoom * math.sin(turn)
    return np.stack([cos * right - sin * down, sin * right + cos * down])


def _lay_hair(image: Field, axis: Field, camera: np.random.Generator) -> None:
    """Lay a few bent hairs over half of the photos; `image`, shape (3, size, size), is changed in place."""
    n_hairs = int(camera.integers(1, 7)) if camera.uniform() < 0.5 else 0
    for _ in range(n_hairs):
        turn, offset, bend = camera.uniform(0, 2 * math.pi), camera.uniform(-0.9, 0.9), camera.normal(0, 0.35)
        cos, sin = math.cos(turn), math.sin(turn)
        along = cos * axis[None, :] + sin * axis[:, None] - camera.uniform(-0.5, 0.5)
        across = cos * axis[:, None] - sin * axis[None, :] - offset - bend * np.square(along)
        width = camera.uniform(0.014, 0.026)
        strand = 1 - smoothstep(0, width**2, np.square(across))
        strand *= 1 - smoothstep(0.5, 0.7, np.abs(along))
        image *= 1 - camera.uniform(0.25, 0.75) * strand


def _light(image: Field, axis: Field, camera: np.random.Generator) -> None:
    """Apply exposure, colour cast, light from one side, and vignette to `image`, in place."""
    cast = camera.uniform([-0.08, -0.08, -0.14], [0.08, 0.08, 0.14])
    gain = np.exp(camera.normal(-0.04, 0.10) + cast).astype(np.float32)
    light = 1 + camera.normal(0, 0.07) * axis[None, :] + camera.normal(0, 0.07) * axis[:, None]
    corner = smoothstep(0.3, 2.0, np.square(axis[None, :]) + np.square(axis[:, None]))
    light *= 1 - camera.uniform(0.0, 0.35) * corner
    image *= gain[:, None, None] * light
