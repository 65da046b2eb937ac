"""What a model scores that never looks at an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skinclf.evaluation._confusion import as_labels


def null_models(y_true: Any) -> pd.DataFrame:
    """Score the answers that need no model, to be shown beside every score.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.

    Returns
    -------
    DataFrame
        A row for each null model, indexed by what it does, such as ``"always nv"`` (the most frequent class);
        columns ``balanced_accuracy`` and ``accuracy``, float64, 0–1.

    Raises
    ------
    ValueError
        If `y_true` is empty or misses a label.

    Notes
    -----
    Always answering one of k classes has a balanced accuracy of 1 / k, whatever their frequencies. Of the
    10,015 images of HAM10000 6,705 are ``nv``: "always nv" is 66.9 % accurate, and 14.3 % balanced-accurate.

    Examples
    --------
    >>> from skinclf.evaluation import null_models
    >>> null_models(["nv", "nv", "nv", "mel"])
               balanced_accuracy  accuracy
    always nv                0.5      0.75
    """
    labels, counts = np.unique(as_labels(y_true, "y_true"), return_counts=True)
    most = int(np.argmax(counts))
    return pd.DataFrame(
        {"balanced_accuracy": [1 / labels.size], "accuracy": [counts[most] / counts.sum()]},
        index=pd.Index([f"always {labels[most]!s}"]),
    )
