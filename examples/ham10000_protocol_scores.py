"""
The scores of the protocols
===========================

What ``ham10000_protocols.py`` says of the predictions of a protocol: figures with intervals over lesions, how many
of the test rows were in training, what the model scores on the others, and what a lookup table scores on all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ham10000_folds import figures_with_intervals
from sklearn.dummy import DummyClassifier

from skinclf import LesionCNNClassifier
from skinclf.evaluation import (
    LeakageWarning,
    LookupClassifier,
    bootstrap_table,
    classification_metrics,
    cross_validate,
)

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "macro_auc": "roc_auc:macro",
    "melanoma_sensitivity": "sensitivity:mel",
}


# %%
# What the library says of it
# ---------------------------
# The leaks are meant here, so that its warnings are caught; they are part of the result.


def ask_guards(ham: Any, rows: np.ndarray, folds: list[Any], cache_dir: Path) -> dict[str, str]:
    """Return what `cross_validate` says of the folds, and what a classifier says that is trained on the first."""
    image, (train, test) = rows, folds[0]
    # What the classifier notices does not depend on how well it is trained.
    classifier = LesionCNNClassifier(
        architecture_params={"width": 2, "depth": 1},
        image_size=16,
        crop=None,
        augmentation=None,
        max_epochs=1,
        early_stopping=False,
        cache_dir=cache_dir,
        random_state=0,
    )
    classifier.fit(ham.data.iloc[image[train]], ham.target[image[train]])
    return {
        "cross_validate": _heard(
            lambda: cross_validate(
                DummyClassifier(),
                image[:, None],
                ham.target[image],
                groups=ham.groups[image],
                cv=folds,
                on_leakage="warn",
            )
        ),
        "classifier": _heard(lambda: classifier.predict(ham.data.iloc[image[test]])),
    }


def _heard(call: Callable[[], Any]) -> str:
    """Return the warnings of leakage that a call gives; others are errors."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", LeakageWarning)
        call()
    return " ".join(str(warning.message) for warning in caught) or "Nothing."


# %%
# What it is worth
# ----------------


def look_up(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return what a table answers that knows some keys; repeats in training teach a table nothing new."""
    first = np.unique(known, return_index=True)[1]
    return LookupClassifier().fit(known[first, None], labels[first]).predict(asked[:, None])


def score_protocol(
    name: str, settings: dict[str, Any], ham: Any, rows: np.ndarray, folds: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the row of the table, and what is told beside it."""
    tested = np.concatenate([fold["test"] for fold in folds])
    image = rows[tested]
    truth, lesion = ham.target[image], ham.groups[image]
    predicted = np.concatenate([fold["predicted"] for fold in folds])
    scores = np.concatenate([fold["scores"] for fold in folds])
    copied, sibling, table, lesion_table = (
        np.concatenate(parts)
        for parts in zip(
            *(_recognised(ham, rows[fold["test"]], fold["train_images"]) for fold in folds), strict=True
        )
    )
    right = predicted == truth
    intervals = bootstrap_table(truth, predicted, y_proba=scores, groups=lesion, tasks={})
    row = {
        "protocol": name,
        "model": settings["model"],
        **figures_with_intervals(intervals, FIGURES),
        "null_accuracy": round(float((table == truth).mean()), 6),
        "share_with_copy": round(float(copied.mean()), 6),
        "share_with_lesion": round(float(sibling.mean()), 6),
        "n": int(tested.size),
        "minutes": round(sum(fold["told"]["minutes"] for fold in folds), 1),
    }
    return {
        "row": row,
        "core_minutes": round(sum(fold["told"]["core_minutes"] for fold in folds), 1),
        "n_images": int(np.unique(image).size),
        "n_lesions": int(np.unique(lesion).size),
        "always_nv_accuracy": round(float((truth == "nv").mean()), 6),
        "lesion_table_accuracy": round(float((lesion_table == truth).mean()), 6),
        "with_copy": _subset(copied, truth, right),
        "without_copy": _subset(~copied, truth, right),
        "with_lesion": _subset(sibling, truth, right),
        "without_lesion": _subset(~sibling, truth, right),
        "classes": _classes(image, truth, predicted, copied, sibling),
        "confusion": classification_metrics(truth, predicted).confusion.tolist(),
        "folds": [fold["told"] for fold in folds],
    }


def _recognised(ham: Any, test: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return which test images, and which of their lesions, were in training, and what two tables answer."""
    return (
        np.isin(test, train),
        np.isin(ham.groups[test], ham.groups[train]),
        look_up(train, ham.target[train], test),
        look_up(ham.groups[train], ham.target[train], ham.groups[test]),
    )


def _subset(chosen: np.ndarray, truth: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Return the figures of some rows; None where there are none. Balanced accuracy: of the classes that occur."""
    melanoma = chosen & (truth == "mel")
    classes = np.unique(truth[chosen])
    recalls = [right[chosen & (truth == label)].mean() for label in classes]
    return {
        "n": int(chosen.sum()),
        "n_classes": int(classes.size),
        "accuracy": round(float(right[chosen].mean()), 6) if chosen.any() else None,
        "balanced_accuracy": round(float(np.mean(recalls)), 6) if chosen.any() else None,
        "n_melanoma": int(melanoma.sum()),
        "melanoma_sensitivity": round(float(right[melanoma].mean()), 6) if melanoma.any() else None,
    }


def _classes(
    image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, copied: np.ndarray, sibling: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Return of each class how many rows there are, how many were known, and the sensitivity."""
    return {
        str(label): {
            "images": int(np.unique(image[truth == label]).size),
            "test_rows": int((truth == label).sum()),
            "with_copy": int(copied[truth == label].sum()),
            "with_lesion": int(sibling[truth == label].sum()),
            "sensitivity": round(float((predicted == label)[truth == label].mean()), 6),
        }
        for label in np.unique(truth)
    }
