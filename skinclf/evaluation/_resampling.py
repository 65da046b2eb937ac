"""Bootstrap draws of lesions, the same whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from skinclf._random import RandomStateLike, spawn_seeds
from skinclf.evaluation._confusion import FloatArray
from skinclf.evaluation._groups import encode_groups

_VALUES_AT_ONCE = 1_000_000
"""Draws are worked off in chunks, so that no array of weights holds many more values than this (8 MB)."""

_FEW_PATTERNS = 10
"""A multinomial draw costs time for each pattern, a draw of single lesions for each lesion, a tenth as much."""


@dataclass(frozen=True, eq=False)
class Lesions:
    """Images sorted into lesions, and lesions into patterns.

    Lesions with the same images, as far as anything is known of these, are interchangeable: a pattern with a
    multiplicity. Patterns are in an order of their own, so that nothing depends on the order of rows or on names.

    Attributes
    ----------
    members : sparse array of float64, shape (n_images, n_patterns)
        Times that an image is in each lesion of a pattern. Images that are alike stand for each other: only the
        first of them has entries.
    multiplicity : ndarray of float64, shape (n_patterns,)
        Lesions of each pattern.
    n_groups, n_images : int
        Lesions (images if no groups were given), and images.
    by_group : bool
        Whether groups were given.
    """

    members: Any
    multiplicity: FloatArray
    n_groups: int
    n_images: int
    by_group: bool

    def count(self, images: NDArray[np.bool_]) -> int:
        """Count the lesions that have at least one of these images; `images` is bool of shape (n_images,)."""
        held = self.members.T @ images.astype(np.float64)
        return int(self.multiplicity[held > 0].sum())


def sort_into_patterns(contents: FloatArray, groups: Any) -> Lesions:
    """Find lesions that are interchangeable.

    Parameters
    ----------
    contents : ndarray of float64, shape (n_images, n_columns)
        All that matters of each image: true and predicted class, scores.
    groups : array-like of shape (n_images,) or None
        The lesion of every image. None: every image is one of its own.

    Returns
    -------
    Lesions
        With at least two groups.

    Raises
    ------
    ValueError
        If groups are missing, of another length, or only one.
    """
    n_images = len(contents)
    if groups is None:
        codes, n_groups = np.arange(n_images), n_images
    else:
        _, codes, n_groups = encode_groups(groups, n_images)
    if n_groups < 2:
        raise ValueError("groups must name at least two lesions to draw from; all images are of one.")
    rank, first = _rank_rows(contents)
    order = np.lexsort((rank, codes))
    ends = np.cumsum(np.bincount(codes, minlength=n_groups))[:-1]
    # Negated ranks put lesions in the order of their counts of each content, as np.unique would.
    keys = [tuple(part) for part in np.split(-rank[order], ends)]
    patterns = {key: position for position, key in enumerate(sorted(set(keys)))}
    multiplicity = np.bincount([patterns[key] for key in keys], minlength=len(patterns))
    columns = np.repeat(np.arange(len(patterns)), [len(key) for key in patterns])
    rows = first[-np.concatenate([np.array(key) for key in patterns])]
    members = sparse.csr_array((np.ones(rows.size), (rows, columns)), shape=(n_images, len(patterns)))
    return Lesions(members, multiplicity.astype(np.float64), n_groups, n_images, groups is not None)


def _rank_rows(contents: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rank of each row, equal rows sharing one, and for each rank a row that has it."""
    order = np.lexsort(contents.T[::-1])
    ordered = contents[order]
    is_new = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    rank = np.empty(order.size, dtype=np.intp)
    rank[order] = np.cumsum(is_new) - 1
    return rank, order[is_new]


def draw_weights(lesions: Lesions, n_draws: int, random_state: RandomStateLike) -> Iterator[FloatArray]:
    """Draw lesions with replacement, as many as there are, again and again.

    Parameters
    ----------
    lesions : Lesions
        What to draw from.
    n_draws : int
        How often.
    random_state : int, RandomState, Generator or None
        Seeds the draws.

    Yields
    ------
    ndarray of float64, shape (n_patterns, n)
        How often lesions of each pattern were drawn, of some of the draws; all together are `n_draws`.
    """
    generator = np.random.default_rng(spawn_seeds(random_state, 1)[0])
    n_patterns, n_groups = lesions.multiplicity.size, lesions.n_groups
    few = _FEW_PATTERNS * n_patterns < n_groups
    pattern_of = np.repeat(np.arange(n_patterns), lesions.multiplicity.astype(np.intp))
    chunk = max(1, _VALUES_AT_ONCE // (n_patterns if few else n_groups))
    for start in range(0, n_draws, chunk):
        n = min(chunk, n_draws - start)
        if few:
            counts = generator.multinomial(n_groups, lesions.multiplicity / n_groups, size=n)
        else:
            drawn = pattern_of[generator.integers(0, n_groups, (n, n_groups))]
            drawn += np.arange(n)[:, None] * n_patterns
            counts = np.bincount(drawn.ravel(), minlength=n * n_patterns).reshape(n, n_patterns)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)
