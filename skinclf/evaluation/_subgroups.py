"""The figures of parts of the data: women and men, ages, body sites, ways of diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import label_pair
from skinclf.evaluation._groups import LESION_COLUMN, encode_groups
from skinclf.evaluation._intervals import bootstrap_ci, check_settings

ATTRIBUTES = ("sex", "age", "localization", "dx_type")
"""The columns that are looked at if none are named: those of HAM10000."""

SKIN_TONE_COLUMNS = frozenset(
    {"skin_tone", "skin_type", "fitzpatrick", "fitzpatrick_skin_type", "fitzpatrick_scale", "monk_skin_tone"}
)
"""Under these names other data sets say how light or dark the skin is."""

UNKNOWN = "unknown"
"""What HAM10000 says of a sex or body site that is not known; here it also stands for a missing value."""


@dataclass(frozen=True, eq=False, repr=False)
class SubgroupMetrics:
    """The figures of parts of the data; see `subgroup_metrics`, which makes it.

    Attributes
    ----------
    table : DataFrame
        A row for each part, indexed by ``attribute`` and ``value``; the first, ``("all", "all")``, is of all
        images. Columns: ``n_images``, ``n_lesions``; ``n_classes`` that occur in it; ``n_positive_images`` and
        ``n_positive_lesions`` of the class `positive`; ``balanced_accuracy`` (over the classes that occur),
        ``accuracy`` and ``sensitivity`` (of the class `positive`), 0–1, each with the ends of its interval,
        ``..._low`` and ``..._high``; ``small`` and ``small_positive``, whether there are fewer than `min_lesions`
        lesions, and fewer of the class `positive`.
    notes : tuple of str
        What must be said beside the table, in sentences.
    positive : object
        The class whose sensitivity is shown.
    min_lesions : int
        What counts as few.
    n_lesions : int
        In all; images if no groups were given.
    by_group : bool
        Whether groups were given.
    confidence : float
        Of the intervals.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]
    positive: Any
    min_lesions: int
    n_lesions: int
    by_group: bool
    confidence: float

    def __repr__(self) -> str:
        attributes = self.table.index.get_level_values("attribute")[1:]
        parts = ", ".join(f"{name}: {(attributes == name).sum()}" for name in dict.fromkeys(attributes))
        return f"SubgroupMetrics({parts}; {int(self.table['small'].sum())} of them small)"


def subgroup_metrics(
    y_true: Any,
    y_pred: Any,
    table: pd.DataFrame,
    *,
    groups: Any = None,
    labels: Any = None,
    by: Sequence[str] | None = None,
    positive: Any = "mel",
    age_edges: Sequence[int] = (30, 45, 60, 75),
    min_lesions: int = 30,
    n_draws: int = 1000,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> SubgroupMetrics:
    """Compute the figures of each sex, age band, body site and way of diagnosis.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_images,)
        True and predicted labels.
    table : DataFrame of n_images rows
        What is known of each image, in the order of `y_true`, such as ``frame`` of `load_ham10000`. The index is
        not looked at.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: the column ``lesion_id`` of `table`, if there is one; else every image
        counts as a lesion of its own.
    labels : array-like of shape (n_classes,), default=None
        The classes. None: all that occur in `y_true` or `y_pred`.
    by : sequence of str, default=None
        Columns to divide by. None: ``sex``, ``age``, ``localization``, ``dx_type`` and columns of skin tone, as
        far as they are there.
    positive : object, default="mel"
        The class whose sensitivity is shown; NaN if there is no such class.
    age_edges : sequence of int, default=(30, 45, 60, 75)
        The ages, in years, at which a band of the column ``age`` begins.
    min_lesions : int, default=30
        Parts with fewer lesions are marked as small.
    n_draws : int, default=1000
        Bootstrap draws of lesions, for each part.
    confidence : float, default=0.95
        Of the intervals, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Seeds the draws.

    Returns
    -------
    SubgroupMetrics
        ``table`` and ``notes``.

    Raises
    ------
    TypeError
        If `table` is no DataFrame.
    ValueError
        If arguments are missing, do not match or are out of range, or `table` has none of the columns.

    See Also
    --------
    skinclf.reporting.SubgroupDisplay : Draws it.

    Notes
    -----
    The way of diagnosis, ``dx_type``, divides the images here and must never be a feature: it gives the label
    away. It says how sure the truth is, and how hard the case was.

    Parts differ in which classes occur in them, and how often: balanced accuracy is the mean over those that do.
    Compare the intervals before the figures; with many parts some differ by chance. Intervals are those of
    `bootstrap_ci`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skinclf.evaluation import subgroup_metrics
    >>> table = pd.DataFrame({"sex": ["female", "male"] * 40, "lesion_id": [f"HAM_{i:07d}" for i in range(80)]})
    >>> y_true = ["mel", "mel", "nv", "nv"] * 20
    >>> y_pred = ["mel", "nv", "nv", "nv"] * 20
    >>> result = subgroup_metrics(y_true, y_pred, table)
    >>> result.table[["n_lesions", "balanced_accuracy", "sensitivity"]]
                      n_lesions  balanced_accuracy  sensitivity
    attribute value
    all       all            80               0.75          0.5
    sex       female         40               1.00          1.0
              male           40               0.50          0.0
    >>> print(result.notes[0])
    Nothing is known of different skin tones: skin tone is not recorded in HAM10000.
    """
    truth, prediction, classes = label_pair(y_true, y_pred, labels)
    check_settings(n_draws, confidence)
    _check_table(table, truth.size)
    if groups is None and LESION_COLUMN in table.columns:
        groups = table[LESION_COLUMN].to_numpy(dtype=object)
    names = _choose_attributes(table, by)
    lesion = np.arange(truth.size) if groups is None else encode_groups(groups, truth.size)[1]
    parts: list[tuple[str, str, NDArray[np.bool_]]] = [("all", "all", np.ones(truth.size, dtype=bool))]
    for name in names:
        parts += [(name, value, rows) for value, rows in _divide(table[name], name, age_edges)]
    figures = _figures(classes, positive)
    settings: dict[str, Any] = {
        "labels": classes,
        "n_draws": n_draws,
        "confidence": confidence,
        "random_state": random_state,
    }
    records = []
    for _, _, rows in parts:
        record = _count(truth[rows], lesion[rows], positive, min_lesions)
        for figure, metric in figures.items():
            values = [np.nan] * 3
            if metric is not None and record["n_lesions"] > 1:
                interval = bootstrap_ci(
                    truth[rows], prediction[rows], groups=lesion[rows], metric=metric, **settings
                )
                values = [interval.estimate, interval.low, interval.high]
            record |= dict(zip((figure, f"{figure}_low", f"{figure}_high"), values, strict=True))
        records.append(record)
    index = pd.MultiIndex.from_tuples([part[:2] for part in parts], names=["attribute", "value"])
    frame = pd.DataFrame(records, index=index)
    frame = frame[[*frame.columns.drop(["small", "small_positive"]), "small", "small_positive"]]
    return SubgroupMetrics(
        table=frame,
        notes=_notes(table, frame, groups, names, min_lesions),
        positive=positive,
        min_lesions=min_lesions,
        n_lesions=np.unique(lesion).size,
        by_group=groups is not None,
        confidence=confidence,
    )


def _count(truth: NDArray[Any], lesion: NDArray[Any], positive: Any, min_lesions: int) -> dict[str, Any]:
    is_positive = truth == positive
    n_lesions, n_positive = np.unique(lesion).size, np.unique(lesion[is_positive]).size
    return {
        "n_images": truth.size,
        "n_lesions": n_lesions,
        "n_classes": np.unique(truth).size,
        "n_positive_images": int(is_positive.sum()),
        "n_positive_lesions": n_positive,
        "small": n_lesions < min_lesions,
        "small_positive": n_positive < min_lesions,
    }


def _figures(classes: NDArray[Any], positive: Any) -> dict[str, str | None]:
    known = bool(np.isin(classes, [positive]).any())
    return {
        "balanced_accuracy": "balanced_accuracy",
        "accuracy": "accuracy",
        "sensitivity": f"sensitivity:{positive}" if known else None,
    }


def _check_table(table: Any, n_images: int) -> None:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"table must be a DataFrame with a row for each image, such as load_ham10000().frame; got "
            f"{type(table).__name__}."
        )
    if len(table) != n_images:
        raise ValueError(
            f"table has {len(table)} rows and y_true {n_images} labels; row i must describe image i. Take the "
            "same rows of both."
        )


def _choose_attributes(table: pd.DataFrame, by: Sequence[str] | None) -> list[str]:
    if by is None:
        tones = [name for name in table.columns if str(name).lower() in SKIN_TONE_COLUMNS]
        names = [name for name in (*ATTRIBUTES, *tones) if name in table.columns]
        if names:
            return names
        raise ValueError(
            f"table has none of the columns {[*ATTRIBUTES]}, only {table.columns.tolist()}. Name the columns to "
            "divide by: by=[...]."
        )
    if isinstance(by, str):
        raise ValueError(f"by must be a list of columns; got the text {by!r}. Pass by=[{by!r}].")
    missing = [name for name in by if name not in table.columns]
    if missing or not by:
        raise ValueError(f"by must name columns of table, {table.columns.tolist()}; got {[*by]!r}.")
    return [*by]


def _divide(column: pd.Series, name: str, age_edges: Sequence[int]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the values of a column in their order, the unknown last, and the rows that have them."""
    if name == "age":
        values, order = _age_bands(column, age_edges)
    else:
        values = column.astype(object).where(column.notna(), UNKNOWN).astype(str).to_numpy(dtype=str)
        values[np.char.strip(values) == ""] = UNKNOWN
        order = sorted(set(values.tolist()) - {UNKNOWN})
    return [(value, values == value) for value in [*order, UNKNOWN] if (values == value).any()]


def _age_bands(column: pd.Series, edges: Sequence[int]) -> tuple[NDArray[np.str_], list[str]]:
    starts = np.asarray(edges)
    if starts.ndim != 1 or starts.size == 0 or starts.dtype.kind not in "iu" or (np.diff(starts) <= 0).any():
        raise ValueError(f"age_edges must be rising whole numbers, such as (30, 45, 60, 75); got {edges!r}.")
    try:
        years = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The column 'age' of table must hold numbers (years): {error}") from error
    between = [f"{low}–{high - 1}" for low, high in pairwise(starts.tolist())]
    names = [f"under {starts[0]}", *between, f"{starts[-1]} and over"]
    bands = np.array([*names, UNKNOWN])
    known = np.isfinite(years)
    position = np.where(known, np.searchsorted(starts, np.where(known, years, 0), side="right"), len(names))
    return bands[position], names


def _notes(
    table: pd.DataFrame, frame: pd.DataFrame, groups: Any, names: Sequence[str], min_lesions: int
) -> tuple[str, ...]:
    notes = []
    if not {str(name).lower() for name in table.columns} & SKIN_TONE_COLUMNS:
        source = "HAM10000" if _is_of_ham10000(table, groups) else "this table"
        notes.append(f"Nothing is known of different skin tones: skin tone is not recorded in {source}.")
    small = [f"{attribute}: {value}" for attribute, value in frame.index[frame["small"]]]
    if small:
        notes.append(f"Fewer than {min_lesions} lesions, so that a figure says little: {', '.join(small)}.")
    n_classes = frame["n_classes"]
    if (n_classes < n_classes.iloc[0]).any():
        notes.append(
            "Some parts lack classes: their balanced accuracy is the mean over fewer, and not "
            "comparable with the others."
        )
    if "dx_type" in names:
        notes.append(
            "The way of diagnosis says how the truth was found. It gives the label away and must never be a "
            "feature."
        )
    return tuple(notes)


def _is_of_ham10000(table: pd.DataFrame, groups: Any) -> bool:
    """Whether the lesions have the names that they have in HAM10000."""
    names = table[LESION_COLUMN] if LESION_COLUMN in table.columns else groups
    if names is None:
        return False
    first = next(iter(names), None)
    return isinstance(first, str) and first.startswith("HAM_")
