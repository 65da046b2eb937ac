"""Paint a lesion of one of the seven classes, and the skin round it.

What a painter lays on is not colour, but what makes the colour of skin: melanin, blood, melanin deep in the
dermis, and white scale or scar; :func:`render` turns their amounts into red, green and blue. The classes are
given overlapping amounts on purpose, so that an image's mean colour says little about its class, and the
pattern much. The cues of each class are those of dermatoscopy's textbooks, caricatured [1]_.

Coordinates: the lesion's centre is (0, 0), and a photo taken from straight above spans -1 to 1 on both axes.

References
----------
.. [1] Kittler, H. et al. Standardization of terminology in dermoscopy/dermatoscopy: Results of the third
   consensus conference of the International Society of Dermoscopy. Journal of the American Academy of
   Dermatology 74(6), 1093–1106 (2016). doi:10.1016/j.jaad.2015.12.038
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from skinclf.datasets._lesion_patterns import (
    Field,
    cloud,
    depth_inside,
    network,
    noise,
    scatter,
    smoothstep,
    spots,
    vessels,
)

# Per channel (red, green, blue): what one unit of pigment absorbs, and how much bare skin and scale reflect.
# Chosen by eye. Melanin is brown, as it absorbs blue most; blood is red; melanin deep in the dermis looks
# blue-grey, as the light that gets down there and back is red, and is what it absorbs.
_MELANIN = (0.50, 0.88, 1.10)
_BLOOD = (0.12, 0.85, 0.70)
_DEEP = (0.95, 0.66, 0.42)
_BARE_SKIN = (0.93, 0.81, 0.76)
_WHITE = (0.97, 0.90, 0.86)


@dataclass
class Tissue:
    """What the photos of one lesion show at each pixel.

    Attributes
    ----------
    x, y : float32 arrays of shape (n_photos, height, width)
        The place on the skin.
    melanin, blood, deep : float32 arrays of the same shape
        Amounts of pigment: 1 of melanin is a mid brown, 1 of blood a clear red, 1 of deep melanin a
        blue-grey. What is below 0 counts as 0.
    white : float32 array of the same shape
        Opacity of the scale, keratin or scar that hides the pigment. What is outside 0–1 counts as 0 or 1.
    """

    x: Field
    y: Field
    melanin: Field
    blood: Field
    deep: Field
    white: Field


def paint(dx: str, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Paint one lesion, and the skin round it, as all of its photos see it.

    Parameters
    ----------
    dx : str
        One of the seven classes, ``akiec`` to ``vasc``.
    x, y : float32 arrays of shape (n_photos, height, width)
        The place on the skin that each pixel shows.
    rng : numpy.random.Generator
        The lesion's own generator.

    Returns
    -------
    float32 array of shape (3, n_photos, height, width)
        Red, green and blue planes, in 0–1.
    """
    tissue = _skin(x, y, rng)
    # Bent coordinates: no spot is quite round, and no line quite straight.
    tissue.x, tissue.y = x + 0.035 * cloud(x, y, rng, 4.0), y + 0.035 * cloud(x, y, rng, 4.0)
    _PAINTERS[dx](tissue, rng)
    tissue.melanin *= 1 + 0.4 * cloud(x, y, rng, 7.0)
    tissue.blood *= 1 + 0.4 * cloud(x, y, rng, 6.0)
    return render(tissue)


def render(tissue: Tissue) -> Field:
    """Turn amounts of pigment into colour: the law of Beer and Lambert, with white laid over it.

    Parameters
    ----------
    tissue : Tissue
        The amounts.

    Returns
    -------
    float32 array of shape (3, n_photos, height, width)
        Red, green and blue planes, in 0–1.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.datasets._lesion_painter import Tissue, render
    >>> none = np.zeros((1, 1, 1), dtype=np.float32)
    >>> render(Tissue(none, none, melanin=none, blood=none, deep=none, white=none)).ravel()
    array([0.93, 0.81, 0.76], dtype=float32)
    >>> brown = render(Tissue(none, none, melanin=none + 1, blood=none, deep=none, white=none))
    >>> brown.ravel().round(2)
    array([0.56, 0.34, 0.25], dtype=float32)
    """
    planes = np.empty((3, *tissue.x.shape), dtype=np.float32)
    melanin, blood, deep = (np.maximum(pigment, 0) for pigment in (tissue.melanin, tissue.blood, tissue.deep))
    bare = 1 - np.clip(tissue.white, 0, 1)
    for plane, *absorbance, skin, white in zip(planes, _MELANIN, _BLOOD, _DEEP, _BARE_SKIN, _WHITE, strict=True):
        absorbed = absorbance[0] * melanin + absorbance[1] * blood + absorbance[2] * deep
        plane[:] = white + bare * (skin * np.exp(-absorbed) - white)
    return planes


def _skin(x: Field, y: Field, rng: np.random.Generator) -> Tissue:
    """Healthy skin of a random tone, unevenly tanned and flushed."""
    melanin = rng.uniform(0.0, 0.30) + 0.08 * noise(x, y, rng, 1.5) + 0.07 * noise(x, y, rng, 9.0)
    blood = rng.uniform(0.02, 0.32) + 0.10 * cloud(x, y, rng, 1.6)
    return Tissue(x, y, melanin, blood, deep=np.zeros_like(x), white=np.zeros_like(x))


def _akiec(tissue: Tissue, rng: np.random.Generator) -> None:
    """Actinic keratosis: large, red, fuzzy; white follicles in the red (strawberry), scale on it."""
    x, y = tissue.x, tissue.y
    radius = rng.uniform(0.40, 0.76)
    depth = depth_inside(x, y, rng, radius, irregularity=0.08, roughness=0.4, stretch=1.3)
    body = smoothstep(-0.25, 0.25, depth)
    redness = 1 + 0.6 * cloud(x, y, rng, 3.0)
    tissue.blood += rng.uniform(0.2, 0.8) * body * redness
    tissue.melanin += rng.uniform(0.0, 0.8) * body
    count = int(rng.integers(20, 36))
    places = scatter(rng, count, 1.1 * radius, jitter=0.25)
    follicles = spots(x, y, places, rng.uniform(0.04, 0.075, count), softness=0.9)
    scale = smoothstep(0.2, 0.5, cloud(x, y, rng, 6.0))
    tissue.white += body * (rng.uniform(0.15, 0.5) * follicles + rng.uniform(0.1, 0.5) * scale)


def _bcc(tissue: Tissue, rng: np.random.Generator) -> None:
    """Basal cell carcinoma: pearly, with branching vessels and blue-grey ovoid nests."""
    x, y = tissue.x, tissue.y
    radius = rng.uniform(0.34, 0.66)
    depth = depth_inside(x, y, rng, radius, irregularity=0.07, roughness=0.2, stretch=1.25)
    body = smoothstep(-0.10, 0.10, depth)
    tissue.melanin += rng.uniform(0.0, 0.8) * body
    tissue.blood += rng.uniform(0.05, 0.5) * body
    tissue.blood += rng.uniform(0.3, 1.1) * vessels(x, y, rng, radius, n_trees=int(rng.integers(2, 5)))
    sheen = smoothstep(-0.1, 0.5, cloud(x, y, rng, 2.5))
    tissue.white += rng.uniform(0.05, 0.4) * body * sheen
    count = int(rng.integers(2, 7))
    places = scatter(rng, count, 0.75 * radius, jitter=0.4)
    nests = spots(x, y, places, rng.uniform(0.07, 0.16, count), softness=0.9)
    tissue.deep += rng.uniform(0.3, 1.2) * nests


def _bkl(tissue: Tissue, rng: np.random.Generator) -> None:
    """Benign keratosis: stuck on with a sharp edge; fissures, comedo openings, milia-like cysts."""
    x, y = tissue.x, tissue.y
    radius = rng.uniform(0.32, 0.64)
    depth = depth_inside(x, y, rng, radius, irregularity=0.06, roughness=0.16, stretch=1.25)
    body = smoothstep(-0.025, 0.025, depth)
    fissures = 1 - smoothstep(0.0, 0.25, np.abs(cloud(x, y, rng, 4.5)))
    tissue.melanin += body * (rng.uniform(0.3, 1.2) + rng.uniform(0.1, 0.6) * fissures)
    tissue.blood += rng.uniform(0.0, 0.35) * body
    count = int(rng.integers(3, 9))
    places = scatter(rng, count, 0.8 * radius, jitter=0.5)
    openings = spots(x, y, places, rng.uniform(0.04, 0.07, count), softness=0.7)
    tissue.melanin += rng.uniform(0.5, 1.5) * body * openings
    count = int(rng.integers(6, 14))
    places = scatter(rng, count, 0.85 * radius, jitter=0.4)
    cysts = spots(x, y, places, rng.uniform(0.035, 0.07, count), softness=0.9)
    tissue.white += rng.uniform(0.3, 0.75) * body * cysts


def _df(tissue: Tissue, rng: np.random.Generator) -> None:
    """Dermatofibroma: a white scar in the middle of a fine brown network that fades outwards."""
    x, y = tissue.x, tissue.y
    radius = rng.uniform(0.32, 0.62)
    depth = depth_inside(x, y, rng, radius, irregularity=0.04, roughness=0.12)
    body = smoothstep(-0.20, 0.20, depth)
    mesh = network(x, y, rng, rng.uniform(0.12, 0.16), disorder=0.4)
    tissue.melanin += body * (rng.uniform(0.2, 1.0) + rng.uniform(0.1, 0.5) * mesh)
    tissue.blood += rng.uniform(0.0, 0.5) * body
    scar = smoothstep(-0.14, 0.16, depth - radius * rng.uniform(0.45, 0.65))
    tissue.white += rng.uniform(0.3, 0.75) * scar * (1 + 0.5 * cloud(x, y, rng, 5.0))


def _mel(tissue: Tissue, rng: np.random.Generator) -> None:
    """Melanoma: asymmetric, notched; blotches, blue-grey veil, red, a broken network; streaks on one side."""
    x, y = tissue.x, tissue.y
    radius = rng.uniform(0.36, 0.68)
    depth = depth_inside(x, y, rng, radius, irregularity=0.09, roughness=0.45, stretch=1.3)
    body = smoothstep(-0.06, 0.06, depth)
    side = rng.uniform(0, 2 * math.pi)
    across = (math.cos(side) * x + math.sin(side) * y) / radius
    blotch = smoothstep(-0.1, 0.4, cloud(x, y, rng, 2.6) + 0.4 * across)
    mesh = network(x, y, rng, rng.uniform(0.16, 0.24), disorder=1.6)
    browns = rng.uniform(0.25, 0.6) + rng.uniform(0.5, 1.4) * blotch + rng.uniform(0.1, 0.5) * mesh
    tissue.melanin += body * browns
    veil = smoothstep(0.0, 0.4, cloud(x, y, rng, 2.2) - 0.2 * across)
    tissue.deep += rng.uniform(0.2, 0.9) * body * veil
    flush = smoothstep(0.0, 0.4, cloud(x, y, rng, 2.5))
    tissue.blood += rng.uniform(0.2, 0.8) * body * flush
    angle = np.arctan2(y, x) + 0.12 * noise(x, y, rng, 5.0)
    rays = smoothstep(0.0, 0.9, np.cos(int(rng.integers(16, 26)) * angle))
    rim = smoothstep(-0.16, -0.02, depth) * (1 - smoothstep(0.0, 0.10, depth)) * smoothstep(0.0, 0.5, across)
    tissue.melanin += rng.uniform(0.2, 0.9) * rim * rays


def _nv(tissue: Tissue, rng: np.random.Generator) -> None:
    """Naevus: symmetric, with a regular border and one or two browns; an even network, or even globules."""
    x, y = tissue.x, tissue.y
    radius = rng.uniform(0.30, 0.60)
    depth = depth_inside(x, y, rng, radius, irregularity=0.03, roughness=0.08)
    body = smoothstep(-0.12, 0.12, depth)
    core = smoothstep(0.0, 0.8 * radius, depth)
    if rng.uniform() < 0.75:
        pattern = network(x, y, rng, rng.uniform(0.14, 0.19), disorder=0.4)
    else:
        places = scatter(rng, 36, radius, jitter=0.12)
        pattern = spots(x, y, places, rng.uniform(0.045, 0.06, 36), softness=0.7)
    browns = rng.uniform(0.3, 1.2) + rng.uniform(-0.2, 0.6) * core + rng.uniform(0.25, 0.75) * pattern
    tissue.melanin += body * browns
    tissue.blood += rng.uniform(0.0, 0.4) * body


def _vasc(tissue: Tissue, rng: np.random.Generator) -> None:
    """Vascular lesion: small and sharp, of red to purple lacunae."""
    x, y = tissue.x, tissue.y
    radius = rng.uniform(0.26, 0.56)
    depth = depth_inside(x, y, rng, radius, irregularity=0.07, roughness=0.1, stretch=1.25)
    body = smoothstep(-0.04, 0.04, depth)
    count = int(rng.integers(7, 16))
    places = scatter(rng, count, 0.9 * radius, jitter=0.2)
    sizes = radius * math.sqrt(1.1 / count) * rng.uniform(0.6, 1.2, count)
    lacunae = spots(x, y, places, sizes, softness=0.5)
    tissue.blood += rng.uniform(0.25, 0.9) * (0.6 * body + lacunae)
    tissue.deep += rng.uniform(0.0, 1.0) * (0.3 * body + 0.7 * lacunae)
    tissue.melanin += rng.uniform(0.0, 0.9) * (0.5 * body + 0.5 * lacunae)


_PAINTERS: Mapping[str, Callable[[Tissue, np.random.Generator], None]] = {
    "akiec": _akiec,
    "bcc": _bcc,
    "bkl": _bkl,
    "df": _df,
    "mel": _mel,
    "nv": _nv,
    "vasc": _vasc,
}
