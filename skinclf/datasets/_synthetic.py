"""A data set of painted lesions, for examples, tests and demonstrations without any files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skinclf._random import RandomStateLike, spawn_seeds
from skinclf.datasets._ham10000_catalogue import CLASS_NAMES, HAM10000
from skinclf.datasets._lesion_camera import photograph

_MIN_IMAGE_SIZE = 8
_CLASSES = tuple(sorted(CLASS_NAMES))

_AGE_AND_SHARE_OF_MEN: Mapping[str, tuple[int, int, float]] = MappingProxyType(
    {
        "akiec": (67, 12, 0.65),
        "bcc": (67, 14, 0.63),
        "bkl": (64, 14, 0.57),
        "df": (53, 13, 0.48),
        "mel": (61, 15, 0.60),
        "nv": (47, 14, 0.51),
        "vasc": (52, 20, 0.49),
    }
)
"""Mean and standard deviation of the age in years, and share of men, of the lesions of each class of HAM10000."""

_SITES = ("abdomen", "back", "chest", "face", "lower extremity", "neck", "scalp", "trunk", "upper extremity")
_SITE_PERCENTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "akiec": (1, 10, 4, 37, 18, 4, 4, 0, 18),
        "bcc": (3, 38, 10, 19, 11, 3, 3, 2, 10),
        "bkl": (5, 18, 7, 27, 15, 3, 3, 8, 9),
        "df": (3, 1, 0, 1, 74, 0, 0, 0, 19),
        "mel": (5, 30, 6, 11, 17, 3, 1, 4, 18),
        "nv": (13, 20, 2, 1, 23, 1, 0, 21, 9),
        "vasc": (22, 12, 3, 5, 16, 2, 2, 28, 6),
    }
)
"""Percent of the lesions of each class of HAM10000 at these places, which make up at least nine in ten of them."""


def make_lesions(
    n_lesions: int = 350,
    *,
    images_per_lesion: int | tuple[int, int] = 2,
    image_size: int = 64,
    class_weights: Mapping[str, float] | str | None = None,
    random_state: RandomStateLike = None,
) -> Bunch:
    """Paint a data set of skin lesions: seven classes, several photos of each lesion, no files needed.

    The images are drawn by a program. They are not medical data, and nothing that is measured on them says
    anything about skin. They are for examples, tests and demonstrations: the classes differ by what
    clinicians look at (asymmetry, border, colour, diameter, texture), and share their mean colours, so that a
    model has to see patterns. The photos of one lesion show the same lesion at another angle, zoom and
    place, in other light, with other hair and noise; split them by ``groups``.

    Parameters
    ----------
    n_lesions : int, default=350
        How many lesions; at least one for each class of positive weight.
    images_per_lesion : int or (int, int), default=2
        How many photos of each lesion; a pair ``(low, high)`` draws the number for each lesion, both ends
        included.
    image_size : int, default=64
        Height and width of the images in pixels, 8 or more; made for 16 to 256. Lesions are painted in
        relative coordinates: the same `random_state` gives the same lesions, and the same photos of them, at
        any size, but for the noise.
    class_weights : mapping of str to float, "ham10000" or None, default=None
        How frequent the classes are among the lesions. None makes them equal; a mapping gives relative
        weights, and classes that it leaves out are absent; ``"ham10000"`` takes the numbers of images of
        HAM10000, of which two in three are ``nv``. The counts of lesions are these shares of `n_lesions`
        rounded by largest remainder, but at least 1: they are not random.
    random_state : int, RandomState, Generator or None, default=None
        An int gives the same data set, bit for bit, every time. None takes fresh entropy; NumPy's global
        random state is neither read nor changed.

    Returns
    -------
    Bunch
        In the form of :func:`load_ham10000`, and with `images`; rows are in the order of ``image_id``, which is
        random, and all of them have the same length:

        images : uint8 array of shape (n_images, image_size, image_size, 3)
            Red, green and blue, in 0–255: the ``X`` of a classifier.
        data : DataFrame of shape (n_images, 4)
            ``lesion_id`` (str), ``age`` (float64, years in steps of 5), ``sex`` (``"female"`` or ``"male"``) and
            ``localization`` (str), none of them missing. There are no files, and so no column ``image``.
        target : object array of shape (n_images,)
            The class as str: one of ``akiec``, ``bcc``, ``bkl``, ``df``, ``mel``, ``nv``, ``vasc``.
        groups : object array of shape (n_images,)
            ``lesion_id``: what every split must keep together.
        frame : DataFrame of shape (n_images, 6)
            ``image_id``, ``lesion_id``, ``dx`` (the class), ``age``, ``sex`` and ``localization``.
        target_names : list of str
            The seven classes, sorted, whether or not they occur.
        DESCR : str
            A description.

    Raises
    ------
    TypeError
        If `n_lesions`, `images_per_lesion`, `image_size` or `class_weights` is of another type.
    ValueError
        If one of them is out of range, or `random_state` is no seed.

    See Also
    --------
    load_ham10000 : Load HAM10000, real images in the same form.

    Notes
    -----
    Age, sex and localization are drawn for each lesion from rounded figures of HAM10000 [1]_ for its class:
    mean and standard deviation of the age, the share of men, and the shares of the nine most frequent
    places. Given the class, they depend neither on each other nor on the image.

    References
    ----------
    .. [1] Tschandl, P., Rosendahl, C. and Kittler, H. The HAM10000 dataset, a large collection of
       multi-source dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161 (2018).
       doi:10.1038/sdata.2018.161

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.datasets import make_lesions
    >>> lesions = make_lesions(14, images_per_lesion=3, image_size=32, random_state=0)
    >>> lesions.images.shape, lesions.images.dtype
    ((42, 32, 32, 3), dtype('uint8'))
    >>> len(np.unique(lesions.groups)), lesions.target_names
    (14, ['akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc'])
    >>> rare = make_lesions(100, images_per_lesion=1, image_size=16, class_weights="ham10000", random_state=0)
    >>> {str(dx): int(count) for dx, count in zip(*np.unique(rare.target, return_counts=True))}
    {'akiec': 3, 'bcc': 5, 'bkl': 11, 'df': 1, 'mel': 11, 'nv': 67, 'vasc': 2}
    """
    n_lesions = _check_integer(n_lesions, "n_lesions", 1)
    image_size = _check_integer(image_size, "image_size", _MIN_IMAGE_SIZE)
    low, high = _check_images_per_lesion(images_per_lesion)
    counts = _count_lesions(n_lesions, _check_class_weights(class_weights))
    table_seed, *lesion_seeds = spawn_seeds(random_state, 1 + n_lesions)
    rng = np.random.default_rng(table_seed)

    labels = rng.permutation(np.repeat(np.array(_CLASSES, dtype=object), counts))
    n_photos = rng.integers(low, high, n_lesions, endpoint=True)
    lesions = _describe_lesions(labels, rng)
    lesion_of_row = rng.permutation(np.repeat(np.arange(n_lesions), n_photos))
    images = np.empty((len(lesion_of_row), image_size, image_size, 3), dtype=np.uint8)
    rows_by_lesion = np.split(np.argsort(lesion_of_row, kind="stable"), np.cumsum(n_photos)[:-1])
    for dx, rows, seed in zip(labels, rows_by_lesion, lesion_seeds, strict=True):
        images[rows] = photograph(dx, image_size, len(rows), seed)

    frame = lesions.take(lesion_of_row).reset_index(drop=True)
    frame.insert(0, "image_id", [f"IMAGE_{number:07d}" for number in range(len(frame))])
    return Bunch(
        images=images,
        data=frame[["lesion_id", "age", "sex", "localization"]].copy(),
        target=frame["dx"].to_numpy(dtype=object),
        groups=frame["lesion_id"].to_numpy(dtype=object),
        frame=frame,
        target_names=list(_CLASSES),
        DESCR=_describe(images, labels),
    )


def _check_integer(value: object, name: str, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer >= {minimum}; got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}; got {value!r}.")
    return int(value)


def _check_images_per_lesion(value: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(value, tuple | list):
        count = _check_integer(value, "images_per_lesion", 1)
        return count, count
    if len(value) != 2:
        raise ValueError(
            f"images_per_lesion must be an integer or a pair (low, high); got {len(value)} values, {value!r}."
        )
    low, high = (_check_integer(end, f"images_per_lesion[{i}]", 1) for i, end in enumerate(value))
    if low > high:
        raise ValueError(f"images_per_lesion must be a pair (low, high) with low <= high; got {value!r}.")
    return low, high


def _check_class_weights(class_weights: Mapping[str, float] | str | None) -> NDArray[np.float64]:
    """Return a weight for each of the seven classes."""
    if class_weights is None:
        return np.ones(len(_CLASSES))
    if isinstance(class_weights, str):
        if class_weights != "ham10000":
            raise ValueError(
                f"class_weights must be None, 'ham10000' or a mapping of class to weight; got {class_weights!r}."
            )
        class_weights = HAM10000.class_counts
    if not isinstance(class_weights, Mapping):
        raise TypeError(
            f"class_weights must be None, 'ham10000' or a mapping of class to weight; got {class_weights!r}."
        )
    unknown = [dx for dx in class_weights if dx not in _CLASSES]
    if unknown:
        raise ValueError(f"class_weights has unknown classes {unknown!r}; the classes are {list(_CLASSES)}.")
    for dx, weight in class_weights.items():
        _check_weight(dx, weight)
    weights = np.array([class_weights.get(dx, 0.0) for dx in _CLASSES], dtype=np.float64)
    if not weights.any():
        raise ValueError(f"class_weights must give at least one class a weight above 0; got {class_weights!r}.")
    return weights


def _check_weight(dx: str, weight: object) -> None:
    if not isinstance(weight, Real) or not math.isfinite(weight) or weight < 0:
        raise ValueError(f"class_weights[{dx!r}] must be a finite number >= 0; got {weight!r}.")


def _count_lesions(n_lesions: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Share out the lesions by largest remainder, with at least one for each positive weight."""
    present = weights > 0
    if n_lesions < present.sum():
        raise ValueError(
            f"n_lesions={n_lesions} is too few for {present.sum()} classes, each with at least one lesion. "
            "Raise n_lesions, or give class_weights with fewer classes."
        )
    shares = n_lesions * (weights / weights.sum())
    counts: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(np.where(present, counts - shares, 1.0), kind="stable")
    counts[by_remainder[: n_lesions - counts.sum()]] += 1
    for dx in np.flatnonzero(present & (counts == 0)):
        counts[np.argmax(counts)] -= 1
        counts[dx] = 1
    return counts


def _describe_lesions(labels: NDArray[np.object_], rng: np.random.Generator) -> pd.DataFrame:
    """Draw what a table would say of each lesion: one row per lesion."""
    ages, sexes, sites = [], [], []
    for dx in labels:
        mean, deviation, share_of_men = _AGE_AND_SHARE_OF_MEN[dx]
        ages.append(5.0 * round(min(max(rng.normal(mean, deviation), 5.0), 85.0) / 5))
        sexes.append("male" if rng.uniform() < share_of_men else "female")
        percents = np.array(_SITE_PERCENTS[dx])
        sites.append(_SITES[rng.choice(len(_SITES), p=percents / percents.sum())])
    return pd.DataFrame(
        {
            "lesion_id": [f"LESION_{number:07d}" for number in range(len(labels))],
            "dx": labels.tolist(),
            "age": ages,
            "sex": sexes,
            "localization": sites,
        }
    )


def _describe(images: NDArray[np.uint8], labels: NDArray[np.object_]) -> str:
    width = max(len(dx) for dx in _CLASSES)
    counts = "\n".join(f"    {dx:<{width}}  {int((labels == dx).sum()):>6,}  {CLASS_NAMES[dx]}" for dx in _CLASSES)
    return _DESCRIPTION.format(
        n_images=len(images), n_lesions=len(labels), image_size=images.shape[1], counts=counts
    )


_DESCRIPTION = """\
Painted skin lesions

These images were painted by a program. They are not medical data: nobody's skin is on them, and what a model
scores on them says nothing about what it would score on real images.

{n_images:,} images, {image_size} by {image_size} pixels, of {n_lesions:,} lesions. Lesions
of each class:

{counts}

images    red, green and blue, uint8 in 0–255
data      lesion_id, age (years, in steps of 5), sex and localization, drawn from figures of HAM10000 for the
          class. There are no files, and so no column image
target    the class of each image
groups    the lesion of each image. Photos of one lesion look alike: split by lesion
frame     the whole table
"""
