"""A number that stands for every bit of a fitted classifier; usable as a scorer, so that workers can report it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def bits(classifier: Any, X: Any, y: Any = None) -> int:
    """Return 48 bits of a hash over all weights and buffers, and over the probabilities of `X`.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Fitted.
    X : as for ``predict_proba``
        Images.
    y : ignored
        scikit-learn passes it to a scorer.

    Returns
    -------
    int
        Below ``2**48``, so that the float that a search makes of a score holds it exactly.
    """
    # In this order: in a forked child it is the library that must make torch safe, not this function.
    digest = hashlib.sha256(np.ascontiguousarray(classifier.predict_proba(X)).tobytes())
    for name, value in sorted(classifier.net_.module_.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return int.from_bytes(digest.digest()[:6], "little")
