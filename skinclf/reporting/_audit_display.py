"""What crosses a split, to be looked at: pairs of images side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._validation import infer_image_shape, read_input
from skinclf.evaluation import LeakageAudit
from skinclf.preprocessing import ImageLoader

_FILE_SIZE = 160
"""Side in pixels at which files are read for the display."""

_WORDS = {"lesion": "same lesion", "copy": "exact copy", "near_duplicate": "looks the same"}
_INCHES = 1.5
"""Side of an image in the figure."""


class LeakageAuditDisplay:
    """Pairs of a training image and a test image that `skinclf.evaluation.audit_leakage` found.

    It holds the table of the pairs and their pixels; `plot` draws them, the training image on the left of each
    pair. Make it with `from_audit`, which also draws.

    Parameters
    ----------
    pairs : DataFrame
        Rows of `LeakageAudit.pairs`.
    train_images, test_images : ndarray of uint8, shape (n_pairs, height, width, 3)
        RGB values in 0–255.

    Attributes
    ----------
    pairs : DataFrame
    train_images, test_images : ndarray
    axes_ : ndarray of matplotlib Axes, shape (n_pairs, 2)
        Once drawn.
    figure_ : matplotlib Figure or SubFigure
        Once drawn.

    Raises
    ------
    ValueError
        If there are not as many images as pairs, or no pair.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.datasets import make_lesions
    >>> from skinclf.evaluation import audit_leakage
    >>> from skinclf.reporting import LeakageAuditDisplay
    >>> lesions = make_lesions(n_lesions=14, images_per_lesion=2, image_size=32, random_state=0)
    >>> train, test = np.arange(0, 28, 2), np.arange(1, 28, 2)
    >>> audit = audit_leakage(lesions.images, groups=lesions.groups, splits=[(train, test)])
    >>> display = LeakageAuditDisplay.from_audit(audit, lesions.images, max_pairs=4)
    >>> display.axes_.shape
    (4, 2)
    """

    axes_: NDArray[Any]
    figure_: Any

    def __init__(self, pairs: pd.DataFrame, train_images: NDArray[Any], test_images: NDArray[Any]) -> None:
        if not len(pairs) or not len(pairs) == len(train_images) == len(test_images):
            raise ValueError(
                f"There must be a training and a test image for each pair, and at least one pair; got {len(pairs)}"
                f" pairs, {len(train_images)} training and {len(test_images)} test images."
            )
        self.pairs = pairs.reset_index(drop=True)
        self.train_images = train_images
        self.test_images = test_images

    @classmethod
    def from_audit(
        cls, audit: LeakageAudit, X: Any, *, kind: str | None = None, max_pairs: int = 8, figure: Any = None
    ) -> LeakageAuditDisplay:
        """Draw pairs of an audit.

        Parameters
        ----------
        audit : LeakageAudit
            Of `skinclf.evaluation.audit_leakage`.
        X : as for `audit_leakage`
            The images that were audited.
        kind : {"lesion", "copy", "near_duplicate"}, default=None
            Which pairs; None takes the kinds in turns.
        max_pairs : int, default=8
            How many at most; near-duplicates with the smallest distance first, others in the order of the table.
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LeakageAuditDisplay
            Drawn.

        Raises
        ------
        ValueError
            If there is no such kind, no such pair, or `X` has another number of rows than what was audited.
        """
        if kind is not None and kind not in _WORDS:
            raise ValueError(f"kind must be one of {list(_WORDS)} or None; got {kind!r}.")
        if not isinstance(max_pairs, int | np.integer) or max_pairs < 1:
            raise ValueError(f"max_pairs must be a whole number of at least 1; got {max_pairs!r}.")
        pairs = audit.pairs if kind is None else audit.pairs[audit.pairs["kind"] == kind]
        if not len(pairs):
            of_kind = "" if kind is None else f" of the kind {kind!r}"
            raise ValueError(f"The audit found no pairs{of_kind} to draw.")
        pairs = _first(pairs, max_pairs)
        rows = pairs[["train_row", "test_row"]].to_numpy(dtype=np.intp)
        train_images, test_images = (_read(X, part, audit.n_rows) for part in rows.T)
        return cls(pairs, train_images, test_images).plot(figure)

    def plot(self, figure: Any = None) -> LeakageAuditDisplay:
        """Draw the pairs, two of them beside each other.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, default=None
            Where to draw; None makes a figure that fits the number of pairs.

        Returns
        -------
        LeakageAuditDisplay
            Itself.
        """
        n_pairs = len(self.pairs)
        n_columns = min(2, n_pairs)
        n_lines = -(-n_pairs // n_columns)
        if figure is None:
            import matplotlib.pyplot as plt

            size = (n_columns * (2 * _INCHES + 0.5), n_lines * (_INCHES + 0.85))
            figure = plt.figure(figsize=size, layout="constrained")
        cells = np.ravel(figure.subfigures(n_lines, n_columns, squeeze=False))
        self.axes_ = np.empty((n_pairs, 2), dtype=object)
        for number, pair in enumerate(self.pairs.to_dict("records")):
            cells[number].suptitle(_title(pair), fontsize=9)
            left_and_right = cells[number].subplots(1, 2)
            images = (self.train_images[number], self.test_images[number])
            for ax, image, side in zip(left_and_right, images, ("train", "test"), strict=True):
                ax.imshow(image)
                ax.set_xticks([])
                ax.set_yticks([])
                ax.set_xlabel(_caption(pair, side), fontsize=8)
            self.axes_[number] = left_and_right
        self.figure_ = figure
        return self


def _first(pairs: pd.DataFrame, max_pairs: int) -> pd.DataFrame:
    """Return the first pairs of each kind, the kinds in turns; the nearest near-duplicates first.

    What is a pair in two folds, with the sides exchanged perhaps, is shown once.
    """
    ordered = pairs.sort_values("distance", kind="stable", na_position="first")
    rows = np.sort(ordered[["train_row", "test_row"]].to_numpy(dtype=np.intp), axis=1)
    ordered = ordered[~ordered[["kind"]].assign(low=rows[:, 0], high=rows[:, 1]).duplicated().to_numpy()]
    turn = ordered.groupby("kind").cumcount()
    kinds = ordered["kind"].map({kind: place for place, kind in enumerate(_WORDS)})
    return ordered.iloc[np.lexsort((kinds, turn))[:max_pairs]]


def _read(X: Any, rows: NDArray[np.intp], n_rows: int) -> NDArray[np.uint8]:
    """Return some images of ``X`` as RGB, uint8."""
    given = read_input(X)
    source = next(part for part in (given.paths, given.images, given.rows) if part is not None)
    if len(source) != n_rows:
        raise ValueError(f"X has {len(source)} rows; {n_rows} were audited. Pass what was audited.")
    if given.paths is not None:
        return ImageLoader(_FILE_SIZE, crop=None).transform(given.paths[rows])
    images = np.asarray(source)[rows]
    if images.ndim == 2:
        images = images.reshape(len(rows), *infer_image_shape(images.shape[1]))
    if images.dtype.kind == "f":
        low, high = min(0.0, float(images.min())), max(1.0, float(images.max()))
        images = np.round(255 * (images - low) / (high - low))
    return np.repeat(images, 3 if images.shape[3] == 1 else 1, axis=3).astype(np.uint8)


def _title(pair: dict[Any, Any]) -> str:
    distance = "" if pd.isna(pair["distance"]) else f", {pair['distance']} of 256 bits"
    return f"Fold {pair['fold']}: {_WORDS[pair['kind']]}{distance}"


def _caption(pair: dict[Any, Any], side: str) -> str:
    part = "training" if side == "train" else "test"
    known = [str(pair[name]) for name in (f"{side}_lesion", f"{side}_label") if name in pair]
    return "\n".join([f"{part} row {pair[f'{side}_row']}", *([", ".join(known)] if known else [])])
