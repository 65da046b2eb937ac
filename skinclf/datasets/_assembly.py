"""Make the frame that every loader returns from cells of text and the paths of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinclf.datasets._tables import is_unknown, parse_age

_FEATURES = ("image", "lesion_id", "age", "sex", "localization")


def assemble_frame(cells: pd.DataFrame, paths: Mapping[str, str], words: Sequence[str]) -> pd.DataFrame:
    """Give the columns their types, add the paths, and sort by image_id.

    Parameters
    ----------
    cells : DataFrame of str
        With the columns ``image_id`` and ``age``, and those named in `words`; ids and ages were checked.
    paths : mapping of str to str
        image_id -> absolute path.
    words : sequence of str
        Columns in which everything that means "not known" becomes ``"unknown"``.

    Returns
    -------
    DataFrame
        The same columns, ``age`` as float64 with NaN where it is unknown, then ``image``.
    """
    columns: dict[str, Any] = {str(name): cells[name].tolist() for name in cells.columns}
    ages = (parse_age(age) for age in columns["age"])
    columns["age"] = np.array([math.nan if age is None else age for age in ages], dtype=np.float64)
    for name in words:
        columns[name] = ["unknown" if is_unknown(word) else word for word in columns[name]]
    columns["image"] = [paths[image_id] for image_id in columns["image_id"]]
    return pd.DataFrame(columns).sort_values("image_id", ignore_index=True)


def feature_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what a model may be shown, as a frame of its own: nothing that gives the label away."""
    return frame[[name for name in _FEATURES if name in frame]].copy()
