"""A classifier with the fitted attributes of a trained network, and a cross-validation of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinclf.evaluation import cross_validate
from skinclf.reporting import EvaluationReport


class FakeNetwork(ClassifierMixin, BaseEstimator):
    """Nearest mean, with a made-up history; its inner validation part is by group, or not if told so."""

    def __init__(self, max_epochs: int = 6, by_group: bool = True, cache_dir: Any = None) -> None:
        self.max_epochs = max_epochs
        self.by_group = by_group
        self.cache_dir = cache_dir

    def fit(self, X: Any, y: Any, groups: Any = None) -> FakeNetwork:
        self.classes_ = np.unique(y)
        self.means_ = np.stack([np.asarray(X)[y == label].mean(axis=0) for label in self.classes_])
        if self.by_group and groups is not None:
            self.validation_indices_ = np.flatnonzero(np.isin(groups, pd.unique(groups)[:8]))
        else:
            self.validation_indices_ = np.arange(0, len(X), 5)
        epoch = np.arange(1, self.max_epochs + 1)
        self.n_epochs_, self.best_epoch_ = self.max_epochs, self.max_epochs - 2
        self.history_ = pd.DataFrame(
            {
                "epoch": epoch,
                "train_loss": 2.0 / epoch,
                "valid_loss": 1.5 / epoch + 0.5,
                "valid_balanced_accuracy": 1 - 0.8 / epoch,
                "lr": 1e-3,
                "seconds": 0.5,
            }
        )
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        distance = ((np.asarray(X)[:, None] - self.means_) ** 2).sum(axis=2)
        weight = np.exp(-distance)
        return weight / weight.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.fixture(scope="session")
def fake_network() -> type[FakeNetwork]:
    return FakeNetwork


@pytest.fixture(scope="session")
def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes, 60 lesions with one to three photos: X, y, lesion of every row."""
    generator = np.random.default_rng(0)
    lesion = np.repeat(np.arange(60), generator.integers(1, 4, 60))
    y = np.array(["bkl", "mel", "nv"])[np.minimum(lesion % 5, 2)]
    X = generator.normal(size=(lesion.size, 3)) + np.eye(3)[np.minimum(lesion % 5, 2)]
    return X, y, np.array([f"HAM_{i:04d}" for i in lesion])


@pytest.fixture(scope="session")
def result(table: Any) -> Any:
    X, y, lesion = table
    pipeline = make_pipeline(StandardScaler(), FakeNetwork(cache_dir="/home/somebody/cache"))
    return cross_validate(pipeline, X, y, groups=lesion, cv=4)


CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


@pytest.fixture(scope="session")
def full_table() -> tuple[np.ndarray, pd.DataFrame]:
    """Seven classes, 280 lesions with one or two photos, and all that HAM10000 tells of a photo: X, the table."""
    generator = np.random.default_rng(1)
    lesion = np.repeat(np.arange(280), generator.integers(1, 3, 280))
    dx = np.where(lesion % 3 == 0, 5, lesion % 7)  # a third and more are nv
    X = generator.normal(size=(lesion.size, 7)) + 1.2 * np.eye(7)[dx]
    frame = pd.DataFrame(
        {
            "image_id": [f"ISIC_{number:07d}" for number in range(lesion.size)],
            "lesion_id": [f"HAM_{number:07d}" for number in lesion],
            "dx": np.array(CODES)[dx],
            "dx_type": np.array(["histo", "follow_up", "consensus"])[lesion % 3],
            "age": np.where(lesion % 11 == 0, np.nan, 25.0 + 5 * (lesion % 13)),
            "sex": np.array(["female", "male", "unknown"])[np.minimum(lesion % 9, 2) % 3],
            "localization": np.array(["back", "face", "lower extremity"])[lesion % 3],
        }
    )
    return X, frame


@pytest.fixture(scope="session")
def full_result(full_table: Any) -> Any:
    X, frame = full_table
    return cross_validate(FakeNetwork(), X, frame["dx"], groups=frame["lesion_id"], cv=3)


@pytest.fixture(scope="session")
def full_report(full_result: Any, full_table: Any) -> EvaluationReport:
    """A report with every section."""
    return EvaluationReport.from_cross_validation(
        full_result, frame=full_table[1], title="Seven classes", description="All sections.", n_draws=100
    )


@pytest.fixture(scope="session")
def full_html(full_report: EvaluationReport) -> str:
    return full_report.to_html()


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    import matplotlib.pyplot as plt

    yield
    plt.close("all")
