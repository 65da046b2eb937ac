"""Age, sex and body site of a table as numbers for the network; nothing else of a table ever enters.

``dx_type``, how the diagnosis was made, never does. It gives the label away: in HAM10000 every lesion that was
followed up is a nevus, and every melanoma was diagnosed by histopathology. And nobody knows it of a lesion that is
yet to be diagnosed. So there is a list of columns that enter, and not one of columns that do not.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from skinclf._random import spawn_seeds, torch_generator
from skinclf.estimator._seeds import FitSeeds
from skinclf.models import FusedNetwork

COLUMNS = ("age", "sex", "localization")
"""What enters, in this order; the order of a table's columns does not matter."""

AGE_KNOTS = (0.0, 20.0, 40.0, 60.0, 80.0)
"""In years. Ages of HAM10000 are rounded to 5 years, and few are above 80."""

_OLDEST = 125  # years; the oldest person whose age is proven was 122 (Jeanne Calment, 1875-1997)
_UNKNOWN = {"", "unknown", "nan", "none", "<na>"}
"""Besides what pandas takes for missing: the names that it writes when a column is turned into strings."""

_SHOWN = 5  # rows in a message

Features = NDArray[np.float32]


def learn_metadata(X: Any) -> dict[str, Any] | None:
    """Note what there is to know in a table that a classifier is fitted on.

    The state is made of plain values, so that a model file can hold it. Categories are learnt from all rows, those
    of the inner validation set included: they are no labels.

    Parameters
    ----------
    X : DataFrame, or anything else
        The image contract; only a DataFrame with a column ``image`` has metadata beside it.

    Returns
    -------
    dict or None
        ``"age"``: the knots of its basis; ``"sex"`` and ``"localization"``: their categories, lower-case, sorted.
        Columns without a single known value are left out; None if there is no other.

    Raises
    ------
    ValueError
        If a column holds something else; the message names column, row and value.

    Examples
    --------
    >>> import pandas as pd
    >>> from skinclf.estimator._metadata import learn_metadata
    >>> learn_metadata(pd.DataFrame({"image": ["a.jpg", "b.jpg"], "sex": ["Male", "unknown"], "dx_type": "histo"}))
    {'sex': ['male']}
    """
    learned: dict[str, Any] = {}
    for name, column in _columns(X).items():
        if name == "age":
            if not np.isnan(_ages(column)).all():
                learned[name] = list(AGE_KNOTS)
        elif categories := sorted({value for value in _names(column, name) if value}):
            learned[name] = categories
    return learned or None


def encode_metadata(X: Any, learned: dict[str, Any]) -> Features:
    """Turn the columns of a table into one row of numbers for each image.

    An age becomes weights of the two knots that it lies between, which add up to 1 (a piecewise linear basis): the
    risk of a melanoma need not rise evenly with age, and no single number could stand for "unknown". Ages beyond
    the last knot count as that one. A category becomes a 1 in its place. What is not known is a row of zeros in
    the places of its column: a missing value, "unknown", or a category that was not there in fitting.

    Parameters
    ----------
    X : DataFrame
        Columns that it lacks are unknown.
    learned : dict
        As from `learn_metadata`.

    Returns
    -------
    ndarray of float32, shape (n_images, n_features)
        Values in 0–1.

    Raises
    ------
    ValueError
        If a column holds something else; the message names column, row and value.

    Examples
    --------
    >>> import pandas as pd
    >>> from skinclf.estimator._metadata import encode_metadata
    >>> table = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "sex": ["male", "unknown"], "age": [50, 85]})
    >>> encode_metadata(table, {"age": [0.0, 40.0, 60.0], "sex": ["female", "male"]})
    array([[0. , 0.5, 0.5, 0. , 1. ],
           [0. , 0. , 1. , 0. , 0. ]], dtype=float32)
    """
    columns = _columns(X)
    parts = []
    for name, places in learned.items():
        if name not in columns:
            parts.append(np.zeros((len(X), len(places))))
        elif name == "age":
            ages = _ages(columns[name])
            hats = np.stack([np.interp(ages, places, hat) for hat in np.eye(len(places))], axis=1)
            parts.append(np.where(np.isnan(ages)[:, None], 0.0, hats))
        else:
            values = np.array(_names(columns[name], name), dtype=object)
            parts.append(values[:, None] == np.array(places, dtype=object))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def n_metadata_features(learned: dict[str, Any]) -> int:
    """Return the width of a row of `encode_metadata`."""
    return sum(len(places) for places in learned.values())


def check_learned(learned: Any) -> None:
    """Refuse a state that `learn_metadata` cannot have made, such as one out of a file.

    Raises
    ------
    ValueError
        The message says what is wrong.
    """
    if learned is None:
        return
    if not isinstance(learned, dict) or not learned or not {*learned} <= {*COLUMNS}:
        raise ValueError(f"metadata must be known of {COLUMNS} or some of them, not of {learned!r}")
    for name, places in learned.items():
        kind = float if name == "age" else str
        if not isinstance(places, list) or not places or not all(type(place) is kind for place in places):
            raise ValueError(f"metadata of {name!r} must be a list of {kind.__name__}, not {places!r}")
        if sorted({*places}) != places or (name == "age" and not np.isfinite(places).all()):
            raise ValueError(f"metadata of {name!r} must be in order, each once, not {places!r}")


def metadata_for_fit(classifier: Any, X: Any, *, reset: bool) -> Features | None:
    """Return the metadata that a classifier is trained on.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Its attribute ``metadata_`` is set (``reset=True``), or says what the network knows.
    X : the image contract
        Paths or pixels; what is no table with a column ``image`` has no metadata.
    reset : bool
        Whether the network is a new one.

    Returns
    -------
    ndarray of float32, shape (n_images, n_features), or None
        None where the network takes images alone, and where nothing is known of any image.

    Raises
    ------
    ValueError
        If a column holds something else than it says.

    Warns
    -----
    UserWarning
        If a network that goes on lacks columns that it knows, or knows nothing of columns that are there.
    """
    if reset:
        classifier.metadata_ = learn_metadata(X) if classifier.metadata == "auto" else None
    elif classifier.metadata == "auto" and _learned(classifier) is None and learn_metadata(X) is not None:
        warnings.warn(
            f"The classifier goes on with a network that was trained without metadata: {_quoted(_columns(X))} of "
            "X are not used. A new classifier, or warm_start=False, can use them.",
            UserWarning,
            stacklevel=4,
        )
    return _encoded(classifier, X)


def metadata_for_prediction(classifier: Any, X: Any) -> Features | None:
    """Return the metadata of images to predict.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Fitted.
    X : the image contract
        Paths or pixels; what is no table with a column ``image`` has no metadata.

    Returns
    -------
    ndarray of float32, shape (n_images, n_features), or None
        None where the network takes images alone, and where nothing is known of any image.

    Raises
    ------
    ValueError
        If a column holds something else than it says.

    Warns
    -----
    UserWarning
        If ``X`` lacks columns that the network knows.
    """
    return _encoded(classifier, X)


def _learned(classifier: Any) -> dict[str, Any] | None:
    """Return ``metadata_``; a file from before there was one has none."""
    learned: dict[str, Any] | None = getattr(classifier, "metadata_", None)
    return learned


def _encoded(classifier: Any, X: Any) -> Features | None:
    known, columns = _learned(classifier), _columns(X)
    if known is None:
        return None
    missing = [name for name in known if name not in columns]
    if missing:
        warnings.warn(
            f"The classifier was fitted with the metadata {_quoted(known)}, and X has no column "
            f"{_quoted(missing)}: unknown for all of its images. Pass a DataFrame with the columns 'image', "
            f"{_quoted(known)}.",
            UserWarning,
            stacklevel=5,
        )
    return encode_metadata(X, known) if len(missing) < len(known) else None


def fused(network: nn.Module, classifier: Any, seeds: FitSeeds) -> nn.Module:
    """Put the metadata of a classifier beside its image network; the network itself if there are none.

    Parameters
    ----------
    network : torch.nn.Module
        Takes images.
    classifier : LesionCNNClassifier
        Whose ``metadata_`` and ``classes_`` count.
    seeds : FitSeeds
        Of the fit. The image network gets the weights that it gets without metadata.

    Returns
    -------
    torch.nn.Module
        `skinclf.models.FusedNetwork`, or `network`.
    """
    learned = _learned(classifier)
    if learned is None:
        return network
    generator = torch_generator(spawn_seeds(seeds.weights, 1)[0])
    return FusedNetwork(network, n_metadata_features(learned), len(classifier.classes_), generator=generator)


def _columns(X: Any) -> dict[str, NDArray[Any]]:
    """Return the columns that may enter, as arrays of objects."""
    if not isinstance(X, pd.DataFrame) or "image" not in X.columns:
        return {}  # a table of numbers holds flattened images, whatever its columns are called
    twice = [name for name in COLUMNS if (X.columns == name).sum() > 1]
    if twice:
        raise ValueError(f"X has more than one column {_quoted(twice)}. Leave out all but one.")
    return {name: X[name].to_numpy(dtype=object) for name in COLUMNS if name in X.columns}


def _ages(column: NDArray[Any]) -> NDArray[np.float64]:
    """Return years, NaN where they are unknown."""
    years = [_years(value, is_missing) for value, is_missing in zip(column, pd.isna(column), strict=True)]
    _refuse(column, "age", [age is None for age in years], f"years from 0 to {_OLDEST}, NaN where it is unknown")
    return np.array(years, dtype=np.float64)


def _years(value: Any, is_missing: bool) -> float | None:
    """Return an age, NaN for an unknown one, None for what is none."""
    if is_missing or (isinstance(value, str) and _normalized(value) == ""):
        return np.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | int | float | np.number):
        return None
    try:
        age = float(value)
    except ValueError:
        return None
    return age if 0 <= age <= _OLDEST else None


def _names(column: NDArray[Any], name: str) -> list[str]:
    """Return categories, "" where they are unknown."""
    values = np.where(pd.isna(column), "", column).tolist()
    is_wrong = [not isinstance(value, str) for value in values]
    _refuse(column, name, is_wrong, "strings, NaN or 'unknown' where it is unknown")
    return [_normalized(value) for value in values]


def _normalized(value: str) -> str:
    """Return a category without case and surrounding blanks, "" for an unknown one."""
    plain = value.strip().casefold()
    return "" if plain in _UNKNOWN else plain


def _refuse(column: NDArray[Any], name: str, is_wrong: list[bool], expected: str) -> None:
    rows = np.flatnonzero(is_wrong)
    if rows.size:
        shown = ", ".join(f"row {row}: {column[row]!r}" for row in rows[:_SHOWN])
        raise ValueError(
            f"The column {name!r} of X must hold {expected}; {rows.size} of {len(column)} rows do not ({shown}). "
            "Correct them, rename the column, or set metadata=None."
        )


def _quoted(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
