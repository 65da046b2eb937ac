"""A small table of lesions."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes, 60 lesions with one to three photos, 3 features."""
    generator = np.random.default_rng(0)
    lesion = np.repeat(np.arange(60), generator.integers(1, 4, 60))
    y = np.array(["bkl", "mel", "nv"])[lesion % 3]
    X = generator.normal(size=(lesion.size, 3)) + np.eye(3)[lesion % 3]
    return X, y, np.array([f"HAM_{i:04d}" for i in lesion])
