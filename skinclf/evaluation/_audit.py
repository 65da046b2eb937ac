"""`audit_leakage`: what a split has on both of its sides, by lesion, by pixels and by look."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._leakage import image_fingerprints
from skinclf.evaluation._confusion import as_labels
from skinclf.evaluation._copies import number_copies, read_thumbnails
from skinclf.evaluation._cross_validation import CrossValidationResult
from skinclf.evaluation._groups import Groups, count_rows, resolve_groups
from skinclf.evaluation._leakage import Split
from skinclf.evaluation._perceptual_hash import MAX_DISTANCE, N_BITS, NearPairs, find_near_pairs, perceptual_hashes
from skinclf.evaluation._splits import check_rows

KINDS = ("lesion", "copy", "near_duplicate")
"""What may cross a split: another photo of the same lesion, the same image, an image that looks the same."""


@dataclass(frozen=True, eq=False, repr=False)
class LeakageAudit:
    """What crosses the splits of an evaluation; see `audit_leakage`, which makes it.

    Attributes
    ----------
    folds : DataFrame
        A row for each split: ``fold``, ``n_train``, ``n_test``; of the test rows those with an image of the same
        lesion (``lesion``), an exact copy (``copy``) and an image that looks the same (``near_duplicate``) in the
        training part; ``only_near_duplicate``, those of them that neither lesion nor copy gives away; ``any``, and
        its ``share`` of the test rows, 0–1; ``n_lesions``, the lesions on both sides. What was not looked for is
        ``<NA>``.
    pairs : DataFrame
        A row for each test row that leaks, and for each way in which it does: ``fold``, ``kind`` (``"lesion"``,
        ``"copy"`` or ``"near_duplicate"``), ``train_row`` and ``test_row``, row numbers of ``X``, ``distance`` in
        bits of 256 (near-duplicates only), and where they are known ``train_lesion``, ``test_lesion``,
        ``train_label`` and ``test_label``. Of several training rows it is the nearest, else the first.
    n_rows : int
        Rows of ``X``.
    max_distance : int or None
        Bits in which near-duplicates differ at most; None if they were not looked for.
    """

    folds: pd.DataFrame
    pairs: pd.DataFrame
    n_rows: int
    max_distance: int | None

    @property
    def is_clean(self) -> bool:
        """Whether nothing crosses any split, of what was looked for."""
        return not len(self.pairs)

    def to_frame(self) -> pd.DataFrame:
        """Return the table of the splits.

        Returns
        -------
        DataFrame
            A copy of `folds`.
        """
        return self.folds.copy()

    def __repr__(self) -> str:
        n_test, n_any = int(self.folds["n_test"].sum()), int(self.folds["any"].sum())
        found = [f"{kind} {int(self.folds[kind].sum()):,}" for kind in KINDS if self.folds[kind].notna().all()]
        return (
            f"LeakageAudit({len(self.folds)} splits; {n_any:,} of {n_test:,} test rows leak "
            f"({100 * n_any / n_test:.1f} %): {', '.join(found)})"
        )


def audit_leakage(
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    splits: Any,
    near_duplicates: bool = True,
    max_distance: int = MAX_DISTANCE,
    n_jobs: int | None = None,
) -> LeakageAudit:
    """Look for what splits have on both of their sides: lesions, exact copies, near-duplicates.

    Parameters
    ----------
    X : DataFrame with a column ``image``, paths, or array of images
        The image contract. Files are decoded once, at 64 × 64 pixels.
    y : array-like of shape (n_rows,), default=None
        Labels, for the table of pairs, and for a splitter that stratifies.
    groups : array-like of shape (n_rows,), default=None
        The lesions. None takes those of a CrossValidationResult, or the column ``lesion_id`` of `X`.
    splits : iterable of (train, test), splitter or CrossValidationResult
        Row numbers of the two sides, or what they are made with.
    near_duplicates : bool, default=True
        Whether to compare images by their look. Without it no file is opened, and copies are found by their path.
    max_distance : int, default=36
        Bits, of 256, in which the perceptual hashes of near-duplicates differ at most.
    n_jobs : int, default=None
        Threads that decode files; -1 for one a core, None for 1.

    Returns
    -------
    LeakageAudit
        A table of the splits, and one of the pairs.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or `X` holds rows that cannot be compared by their look.
    skinclf.preprocessing.ImageReadError
        If a file cannot be read.

    Notes
    -----
    A near-duplicate was re-encoded, scaled, made brighter, turned by a quarter or flipped, or two of these. A
    photo that was taken anew, cropped, or turned by some degrees, is none: lesions must be known by their names.
    What was measured of both is in :doc:`/user_guide/leakage`.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.datasets import make_lesions
    >>> from skinclf.evaluation import audit_leakage
    >>> lesions = make_lesions(n_lesions=14, images_per_lesion=2, image_size=32, random_state=0)
    >>> order = np.argsort(lesions.groups)  # both photos of a lesion one after the other
    >>> images, groups = lesions.images[order], lesions.groups[order]
    >>> images[20] = images[1, :, ::-1]  # a mirrored copy under another name
    >>> audit = audit_leakage(images, groups=groups, splits=[(np.arange(19), np.arange(19, 28))])
    >>> audit
    LeakageAudit(1 splits; 2 of 9 test rows leak (22.2 %): lesion 1, copy 0, near_duplicate 1)
    >>> audit.pairs[["kind", "train_row", "test_row", "distance"]]
                 kind  train_row  test_row  distance
    0          lesion         18        19      <NA>
    1  near_duplicate          1        20         0
    """
    n_rows = count_rows(X)
    if not isinstance(max_distance, int | np.integer) or not 0 <= max_distance < N_BITS:
        raise ValueError(f"max_distance must be a number of bits from 0 to {N_BITS - 1}; got {max_distance!r}.")
    labels = None if y is None else as_labels(y, "y")
    if labels is not None and labels.size != n_rows:
        raise ValueError(f"X has {n_rows} rows and y {labels.size} labels; they must be as many.")
    if groups is None and isinstance(splits, CrossValidationResult):
        groups = splits.groups
    lesions = resolve_groups(X, groups)
    parts = _as_splits(splits, X, labels, lesions, n_rows)
    images: NDArray[np.int64] | None
    near: NearPairs | None = None
    if near_duplicates:
        images, near = _compare(X, int(max_distance), n_jobs)
    else:
        copies = number_copies(X)
        images = None if copies is None else copies.codes
    found = [_look_at(fold, split, lesions, images, near) for fold, split in enumerate(parts)]
    return LeakageAudit(
        folds=pd.DataFrame([row for row, _ in found]).astype(dict.fromkeys(("n_lesions", *_COUNTS), "Int64")),
        pairs=_name_pairs(pd.concat([pairs for _, pairs in found], ignore_index=True), labels, lesions),
        n_rows=n_rows,
        max_distance=int(max_distance) if near_duplicates else None,
    )


_COUNTS = (*KINDS, "only_near_duplicate", "any")


def _as_splits(
    splits: Any, X: Any, labels: NDArray[Any] | None, lesions: Groups | None, n_rows: int
) -> list[Split]:
    if isinstance(splits, CrossValidationResult):
        if splits.y_true.size != n_rows:
            raise ValueError(f"splits is a result for {splits.y_true.size} rows; X has {n_rows}.")
        return list(zip(splits.train_indices, splits.test_indices, strict=True))
    if hasattr(splits, "split"):
        with warnings.catch_warnings():
            # Of a splitter that makes no use of them: whether lesions are torn apart is the question.
            warnings.filterwarnings("ignore", message="The groups parameter is ignored", category=UserWarning)
            splits = list(splits.split(X, labels, None if lesions is None else lesions.values))
    if isinstance(splits, str) or not isinstance(splits, Iterable):
        raise TypeError(
            "splits must be an iterable of (train, test) row numbers, a scikit-learn splitter or a "
            f"CrossValidationResult; got {splits!r}. One split is passed as [(train, test)]."
        )
    pairs = list(splits)
    if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise ValueError("splits must give pairs (train, test), and at least one. One split is [(train, test)].")
    return [
        (
            check_rows(train, n_rows, fold, "training", name="splits"),
            check_rows(test, n_rows, fold, "test", name="splits"),
        )
        for fold, (train, test) in enumerate(pairs)
    ]


def _compare(X: Any, max_distance: int, n_jobs: int | None) -> tuple[NDArray[np.int64], NearPairs]:
    """Give each different image a number, in order of appearance, and find those that look the same."""
    prints, hashes = [], []
    for images in read_thumbnails(X, n_jobs):
        prints.append(image_fingerprints(images))
        hashes.append(perceptual_hashes(images))
    codes, unique = pd.factorize(np.concatenate(prints))
    first = np.full(len(unique), len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    return codes.astype(np.int64), find_near_pairs(np.concatenate(hashes)[first], max_distance)


def _look_at(
    fold: int, split: Split, lesions: Groups | None, images: NDArray[np.int64] | None, near: NearPairs | None
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the row of one split, and its pairs."""
    train, test = split
    partner = {
        "lesion": None if lesions is None else _partners(lesions.codes, train, test),
        "copy": None if images is None else _partners(images, train, test),
        "near_duplicate": None,
    }
    distance = None
    if near is not None and images is not None:
        partner["near_duplicate"], distance = _near_partners(near, images, train, test)
    tables, leaks = [], {}
    for kind, rows in partner.items():
        leaks[kind] = None if rows is None else rows >= 0
        if rows is not None:
            found = np.flatnonzero(rows >= 0)
            bits = distance[found] if kind == "near_duplicate" and distance is not None else [pd.NA] * len(found)
            rows_of_pair = {"train_row": rows[found], "test_row": test[found]}
            table = {"fold": fold, "kind": kind, **rows_of_pair, "distance": bits}
            tables.append(pd.DataFrame(table).astype({"distance": "Int64"}))
    known = [mask for mask in leaks.values() if mask is not None]
    told = [mask for kind, mask in leaks.items() if mask is not None and kind != "near_duplicate"]
    any_way = np.any([np.zeros(len(test), dtype=bool), *known], axis=0)
    by_name = np.any([np.zeros(len(test), dtype=bool), *told], axis=0)
    row: dict[str, Any] = {"fold": fold, "n_train": len(train), "n_test": len(test)}
    row |= {kind: pd.NA if mask is None else int(mask.sum()) for kind, mask in leaks.items()}
    row["only_near_duplicate"] = pd.NA if near is None else int((any_way & ~by_name).sum())
    row |= {"any": int(any_way.sum()), "share": float(any_way.mean())}
    crossing = None if lesions is None else np.intersect1d(lesions.codes[train], lesions.codes[test])
    row["n_lesions"] = pd.NA if crossing is None else len(crossing)
    return row, pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _partners(codes: NDArray[np.int64], train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the first training row with the code of each test row, -1 where there is none."""
    return _first_rows(codes, train)[codes[test]]


def _first_rows(codes: NDArray[np.int64], train: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the first training row of each code, -1 where there is none."""
    first = np.full(int(codes.max()) + 1, -1, dtype=np.intp)
    backwards = np.sort(train)[::-1]
    first[codes[backwards]] = backwards  # the last one that is written stays
    return first


def _near_partners(
    near: NearPairs, images: NDArray[np.int64], train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the training row that looks most like each test row, and its distance; -1 where there is none."""
    row_of_image = _first_rows(images, train)
    mine, other = np.concatenate([near.first, near.second]), np.concatenate([near.second, near.first])
    distance = np.concatenate([near.distance, near.distance])
    in_training = row_of_image[other] >= 0
    mine, other, distance = mine[in_training], other[in_training], distance[in_training]
    farthest_first = np.lexsort((row_of_image[other], distance))[::-1]
    row, bits = (np.full(len(row_of_image), -1, dtype=np.intp) for _ in range(2))
    row[mine[farthest_first]] = row_of_image[other[farthest_first]]  # the nearest one is written last
    bits[mine[farthest_first]] = distance[farthest_first]
    return row[images[test]], bits[images[test]]


def _name_pairs(pairs: pd.DataFrame, labels: NDArray[Any] | None, lesions: Groups | None) -> pd.DataFrame:
    """Add lesions and labels to the pairs."""
    columns = ["fold", "kind", "train_row", "test_row", "distance"]
    pairs = pairs.reindex(columns=columns) if pairs.empty else pairs[columns]
    named = {"lesion": None if lesions is None else lesions.values, "label": labels}
    for name, values in named.items():
        if values is not None:
            for side in ("train", "test"):
                pairs[f"{side}_{name}"] = values[pairs[f"{side}_row"].to_numpy(dtype=np.intp)]
    return pairs
