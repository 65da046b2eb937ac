"""Which rows belong together: the lesions behind the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skinclf._validation import check_groups

LESION_COLUMN = "lesion_id"
"""The column of a DataFrame ``X`` that names the lesion of every image."""


@dataclass(frozen=True, eq=False)
class Groups:
    """The group of every row, checked and numbered.

    Attributes
    ----------
    values : ndarray of object, shape (n_rows,)
        The groups as they were given; none is missing.
    codes : ndarray of int64, shape (n_rows,)
        The same groups, numbered from 0 in order of first appearance.
    n_groups : int
        How many different groups there are.
    source : {"groups", "lesion_id", "table", "images"}
        Whether they came from the argument `groups` or, without that, from the column ``lesion_id`` of ``X``; are
        in that column though `groups` were passed ("table"); or are the different images of ``X``, of which there
        may be copies.
    """

    values: NDArray[Any]
    codes: NDArray[np.int64]
    n_groups: int
    source: Literal["groups", "lesion_id", "table", "images"]


def count_rows(X: Any) -> int:
    """Return the number of rows (images) of anything that scikit-learn can index by row."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def encode_groups(groups: Any, n_rows: int) -> tuple[NDArray[Any], NDArray[np.int64], int]:
    """Check groups and number them from 0; see `Groups` for the three values."""
    values = check_groups(groups, n_rows)
    codes, unique = pd.factorize(values)
    return values, codes.astype(np.int64), len(unique)


def lesions_of_table(X: Any) -> Groups | None:
    """Return the lesions that a table names, whether or not they are its groups.

    Parameters
    ----------
    X : DataFrame, array or list of n_rows rows
        The images.

    Returns
    -------
    Groups or None
        Those of the column ``lesion_id``, in which a row without a name is a lesion of its own; None without one.
    """
    if not (isinstance(X, pd.DataFrame) and LESION_COLUMN in X.columns):
        return None
    named = X[LESION_COLUMN].to_numpy(dtype=object)
    values = np.where(pd.isna(named), [f"row {row}" for row in range(len(named))], named).astype(object)
    codes, unique = pd.factorize(values)
    return Groups(values, codes.astype(np.int64), len(unique), "table")


def resolve_groups(X: Any, groups: Any) -> Groups | None:
    """Find the groups: the argument, else the column ``lesion_id`` of ``X``, else there are none.

    Parameters
    ----------
    X : DataFrame, array or list of n_rows rows
        The images.
    groups : array-like of shape (n_rows,) or None
        The argument of that name.

    Returns
    -------
    Groups or None
        None when neither names any groups.

    Raises
    ------
    ValueError
        If a group is missing (the message names the rows), or there are more or fewer than rows.
    """
    n_rows = count_rows(X)
    if groups is not None:
        values, codes, n_groups = encode_groups(groups, n_rows)
        return Groups(values, codes, n_groups, "groups")
    if not (isinstance(X, pd.DataFrame) and LESION_COLUMN in X.columns):
        return None
    try:
        values, codes, n_groups = encode_groups(X[LESION_COLUMN].to_numpy(dtype=object), n_rows)
    except ValueError as error:
        raise ValueError(
            f"The column {LESION_COLUMN!r} of X, which is used as no groups were passed: {error}"
        ) from error
    return Groups(values, codes, n_groups, "lesion_id")
