"""The members of an ensemble in one file without code, as `_model_file` describes each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.base import clone

from skinclf._files import check_target
from skinclf.estimator._classifier import LesionCNNClassifier
from skinclf.estimator._container import ModelFileError, read_container
from skinclf.estimator._fit import check_network
from skinclf.estimator._model_file import (
    classifier_content,
    restored_classifier,
    warn_of_left_out,
    write_content,
)


def save_members(
    path: str | os.PathLike[str], members: Sequence[Any], described: dict[str, Any], *, overwrite: bool
) -> None:
    """Write fitted classifiers, and what is known of them together.

    Parameters
    ----------
    path : str or PathLike
        The file; its folder exists.
    members : sequence of LesionCNNClassifier
        Fitted.
    described : dict
        Plain values and arrays by name.
    overwrite : bool
        Whether a file that is there already may be replaced.

    Raises
    ------
    TypeError
        If a member is something else, or has a parameter that the file cannot hold.
    ValueError, FileExistsError, OSError
        As `LesionCNNClassifier.save`.

    Warns
    -----
    UserWarning
        If parameters are left out, as `LesionCNNClassifier.save` does.
    """
    for member in members:
        if not isinstance(member, LesionCNNClassifier):
            raise TypeError(
                f"A file of an ensemble holds LesionCNNClassifier members, and no code; a member is a "
                f"{type(member).__name__}. Write the ensemble with joblib.dump or skops.io.dump, and load such a "
                "file only if you trust who wrote it."
            )
        check_network(member, "save it")
    check_target(Path(path), overwrite=overwrite)
    contents = [classifier_content(member) for member in members]
    left_out = sorted({name for content in contents for name in content["left_out"]})
    warn_of_left_out(path, left_out, "An ensemble", stacklevel=3)
    write_content(path, "ensemble", {"members": contents, "described": described}, "LesionEnsemble")


def load_members(
    path: str | os.PathLike[str], names: set[str], *, architecture: Any, device: str
) -> tuple[list[Any], Any, dict[str, Any]]:
    """Read what `save_members` wrote.

    Parameters
    ----------
    path : str or PathLike
        The file.
    names : set of str
        What must be described in it.
    architecture, device
        As `LesionCNNClassifier.load` takes them.

    Returns
    -------
    members : list of LesionCNNClassifier
        Fitted.
    estimator : LesionCNNClassifier
        With their parameters, and not fitted.
    described : dict
        As it was written.

    Raises
    ------
    ModelFileError, FileNotFoundError, OSError, ValueError
        As `LesionCNNClassifier.load`.
    """
    content = read_container(path, "ensemble")
    contents, described = (
        (content.get("members"), content.get("described")) if isinstance(content, dict) else (None, None)
    )
    if not (isinstance(contents, list) and contents and isinstance(described, dict) and names <= {*described}):
        raise ModelFileError(f"{path} holds no ensemble as this version of skinclf saves it. Save it again.")
    members = [
        restored_classifier(LesionCNNClassifier, path, each, architecture=architecture, device=device)
        for each in contents
    ]
    return members, clone(members[0]), described
