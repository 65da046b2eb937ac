"""What a model scores that never looks at an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skinclf.evaluation._confusion import as_labels
from skinclf.evaluation._metrics import classification_metrics


def null_models(y_true: Any, *, lookup: Any = None) -> pd.DataFrame:
    """Score the answers that need no model, to be shown beside every score.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    lookup : array-like of shape (n_images,), default=None
        What a `LookupClassifier`, trained as the model was, predicts for the same images. None: it is left out.

    Returns
    -------
    DataFrame
        A row for each null model, indexed by what it does: ``"always nv"`` (the most frequent class),
        ``"stratified guess"`` (a class drawn with its frequency here; what it scores on average) and, with
        `lookup`, ``"lookup table"``. Columns ``balanced_accuracy`` and ``accuracy``, float64, 0–1.

    Raises
    ------
    ValueError
        If `y_true` is empty or misses a label, or `lookup` has another length.

    Notes
    -----
    Always answering one of k classes has a balanced accuracy of 1 / k, whatever their frequencies, and so has
    any guess that does not look. Of the 10,015 images of HAM10000 6,705 are ``nv``: "always nv" is 66.9 %
    accurate, and 14.3 % balanced-accurate. The accuracy of a stratified guess is the sum of the squared
    frequencies, 47.7 %.

    Examples
    --------
    >>> from skinclf.evaluation import null_models
    >>> null_models(["nv", "nv", "nv", "mel"])
                      balanced_accuracy  accuracy
    always nv                       0.5     0.750
    stratified guess                0.5     0.625
    """
    truth = as_labels(y_true, "y_true")
    labels, counts = np.unique(truth, return_counts=True)
    most = int(np.argmax(counts))
    shares = counts / counts.sum()
    rows = {
        f"always {labels[most]!s}": (1 / labels.size, shares[most]),
        "stratified guess": (1 / labels.size, float(np.sum(shares**2))),
    }
    if lookup is not None:
        scored = classification_metrics(truth, lookup)
        rows["lookup table"] = (scored.balanced_accuracy, scored.accuracy)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["balanced_accuracy", "accuracy"])
