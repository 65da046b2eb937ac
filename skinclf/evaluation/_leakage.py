"""Whether a split puts photos of one lesion, or copies of one image, on both of its sides."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._leakage import LeakageError, LeakageWarning
from skinclf.evaluation._groups import Groups

OnLeakage: TypeAlias = Literal["raise", "warn"]
Split: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Row numbers of the training part and of the test part of one fold."""

_ROW_LEAK_REMEDY = "Make the training and the test rows of each fold disjoint"
_COPY_LEAK_REMEDY = "Copy images inside the training part only, or give copies of an image the same group"
_TABLE_LEAK_REMEDY = (
    "The column 'lesion_id' of X says so, and the groups that were passed do not keep its lesions together. Leave "
    "groups out, or pass groups that do, such as patients"
)
_GROUP_LEAK_REMEDY = "Split by group, as an integer cv and StratifiedGroupKFold do"


@dataclass(frozen=True)
class FoldLeak:
    """What crosses one split.

    Attributes
    ----------
    fold : int
        Number of the fold, from 0.
    n_groups : int
        Groups (lesions) with rows on both sides; where no groups are known, rows on both sides; of exact copies,
        the different images.
    n_leaking : int
        Test rows whose group is also in the training part.
    n_test : int
        All test rows of the fold.
    test_row, train_row : int
        The first such test row, and the first training row of its group.
    group : object
        That group; the row itself where no groups are known; path or fingerprint of an image that was copied.
    """

    fold: int
    n_groups: int
    n_leaking: int
    n_test: int
    test_row: int
    train_row: int
    group: Any

    @property
    def share(self) -> float:
        """Share of the fold's test rows that leak, 0–1."""
        return self.n_leaking / self.n_test


def find_leaks(splits: Sequence[Split], groups: Groups | None, n_rows: int) -> list[FoldLeak]:
    """List the folds whose training and test parts share a group, or a row.

    Parameters
    ----------
    splits : sequence of (train, test)
        Row numbers.
    groups : Groups or None
        None: every row is a group of its own, so that only rows on both sides are found.
    n_rows : int
        Number of all rows.

    Returns
    -------
    list of FoldLeak
        One entry for each fold that leaks; empty if none does.
    """
    codes = np.arange(n_rows) if groups is None else groups.codes
    leaks = []
    for fold, (train, test) in enumerate(splits):
        leaking = np.isin(codes[test], codes[train])
        if not leaking.any():
            continue
        test_row = int(test[leaking].min())
        train_row = int(train[codes[train] == codes[test_row]].min())
        leaks.append(
            FoldLeak(
                fold=fold,
                n_groups=np.unique(codes[test][leaking]).size,
                n_leaking=int(leaking.sum()),
                n_test=test.size,
                test_row=test_row,
                train_row=train_row,
                group=test_row if groups is None else groups.values[test_row],
            )
        )
    return leaks


def leakage_frame(leaks: Sequence[FoldLeak]) -> pd.DataFrame:
    """Return leaks as a table, a row for each fold that leaks; the columns are the fields of `FoldLeak`."""
    columns = [field.name for field in fields(FoldLeak)]
    return pd.DataFrame([asdict(leak) for leak in leaks], columns=columns)


def report_leaks(leaks: Sequence[FoldLeak], groups: Groups | None, on_leakage: OnLeakage) -> None:
    """Raise, or warn of, the leaks that `find_leaks` found; do nothing if there are none.

    Raises
    ------
    LeakageError
        If there are leaks and `on_leakage` is ``"raise"``.

    Warns
    -----
    LeakageWarning
        If there are leaks and `on_leakage` is ``"warn"``.
    """
    if not leaks:
        return
    message = _describe(leaks, groups)
    if on_leakage == "raise":
        raise LeakageError(f"{message}, or pass on_leakage='warn' to measure the flattered score on purpose.")
    warnings.warn(f"{message}.", LeakageWarning, stacklevel=3)


def _describe(leaks: Sequence[FoldLeak], groups: Groups | None) -> str:
    n_leaking = sum(leak.n_leaking for leak in leaks)
    n_test = sum(leak.n_test for leak in leaks)
    first = leaks[0]
    if groups is None:
        what, remedy = "test rows are training rows of the same fold", _ROW_LEAK_REMEDY
        example = f"row {first.test_row} is on both sides"
    elif groups.source == "images":
        what, remedy = "test rows are exact copies of an image that is also trained on", _COPY_LEAK_REMEDY
        example = f"test row {first.test_row} and training row {first.train_row} are the same image"
    elif groups.source == "table":
        what, remedy = "test rows are of a lesion that is also trained on", _TABLE_LEAK_REMEDY
        example = f"test row {first.test_row} and training row {first.train_row} are both {first.group!r}"
    else:
        what, remedy = "test rows are of a group (lesion) that is also trained on", _GROUP_LEAK_REMEDY
        example = f"test row {first.test_row} and training row {first.train_row} are both {first.group!r}"
    return (
        f"The splits leak: in {len(leaks)} fold(s), {n_leaking:,} of {n_test:,} {what} "
        f"({100 * n_leaking / n_test:.1f} %). In fold {first.fold}, for instance, {example}. Scores on such folds "
        f"overstate how well the model does on new lesions. {remedy}"
    )
