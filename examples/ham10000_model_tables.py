"""
The table of models
===================

What ``ham10000_models.py`` says of the runs that are there: a row for each model, with intervals over lesions;
what one model gains over another on the same lesions; the ablations; and the targets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ham10000_folds import figures_with_intervals
from ham10000_model_runs import ABLATIONS, N_FOLDS, WHOLE_RECIPE, Run
from ham10000_model_store import Store

from skinclf.evaluation import bootstrap_table, compare_models

FIGURES = {
    "balanced_accuracy": "balanced_accuracy",
    "accuracy": "accuracy",
    "macro_auc": "roc_auc:macro",
    "melanoma_sensitivity_at_95_specificity": "sensitivity_at_95_specificity:melanoma",
}
HOLD_OUT = (0,)
ALL_FOLDS = tuple(range(N_FOLDS))


@dataclass(frozen=True)
class Entry:
    """A row of the table: which run it is, on which folds, and whether with test-time augmentation."""

    run: str
    model: str
    folds: tuple[int, ...] = HOLD_OUT
    tta: bool = False


RECIPE_WORDS = "efficientnet_lite0, ImageNet weights"
ENTRIES = {
    "lesion_cnn_5_folds": Entry("lesion_cnn", "lesion_cnn from scratch, defaults", ALL_FOLDS),
    "recipe_5_folds": Entry("recipe", f"{RECIPE_WORDS}, defaults", ALL_FOLDS, tta=True),
    "recipe_without_tta_5_folds": Entry("recipe", "without test-time augmentation", ALL_FOLDS),
    "lesion_cnn_28": Entry("lesion_cnn_28", "lesion_cnn at 28 pixels"),
    "lesion_cnn_64": Entry("lesion_cnn", "lesion_cnn at 64 pixels"),
    "lesion_cnn_96": Entry("lesion_cnn_96", "lesion_cnn at 96 pixels"),
    "small_resnet_64": Entry("small_resnet", "residual network from scratch"),
    "recipe_96": Entry("recipe_96", f"{RECIPE_WORDS}, at 96 pixels without test-time augmentation"),
    "recipe_128": Entry("recipe", f"{RECIPE_WORDS}, at 128 pixels without test-time augmentation"),
    "frozen_features": Entry("frozen_features", "its features, not trained, and logistic regression"),
    "fusion": Entry("fusion", "with age, sex and body site"),
    "tta": Entry("recipe", "with test-time augmentation: the defaults", tta=True),
    "fusion_tta": Entry("fusion", "with both", tta=True),
    "ensemble_tta": Entry("ensemble", "five with test-time augmentation vote"),
    "fusion_ensemble_tta": Entry("fusion_ensemble", "five with both vote"),
}

GAINS = {
    "pixels_28_to_64": ("lesion_cnn_64", "lesion_cnn_28"),
    "pixels_64_to_96": ("lesion_cnn_96", "lesion_cnn_64"),
    "residual_blocks": ("small_resnet_64", "lesion_cnn_64"),
    "imagenet": ("recipe_96", "lesion_cnn_96"),
    "fine_tuning": ("recipe_96", "frozen_features"),
    "pixels_96_to_128": ("recipe_128", "recipe_96"),
    "metadata": ("fusion", "recipe_128"),
    "symmetries": ("recipe_5_folds", "recipe_without_tta_5_folds"),
    "metadata_and_symmetries": ("fusion_tta", "recipe_128"),
    "five_votes": ("ensemble_tta", "tta"),
    "five_votes_with_both": ("fusion_ensemble_tta", "fusion_tta"),
}
"""The first model against the second one."""

TARGETS: list[dict[str, Any]] = [
    {"target": "recipe_minutes", "row": "recipe_5_folds", "figure": "longest_training_minutes", "at_most": 20},
    {"target": "recipe", "row": "recipe_5_folds", "figure": "balanced_accuracy", "at_least": 0.76},
    {"target": "recipe_accuracy", "row": "recipe_5_folds", "figure": "accuracy", "at_least": 0.80},
    {"target": "recipe_macro_auc", "row": "recipe_5_folds", "figure": "macro_auc", "at_least": 0.955},
    {"target": "best_single", "row": "fusion_tta", "figure": "balanced_accuracy", "at_least": 0.79},
    {"target": "best_ensemble", "row": "fusion_ensemble_tta", "figure": "balanced_accuracy", "at_least": 0.80},
    {
        "target": "lesion_cnn_minutes",
        "row": "lesion_cnn_5_folds",
        "figure": "longest_training_minutes",
        "at_most": 20,
    },
    {"target": "lesion_cnn", "row": "lesion_cnn_5_folds", "figure": "balanced_accuracy", "at_least": 0.62},
]

# %%
# Rows
# ----


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was predicted for the test parts of some folds, and what is told of the training."""

    truth: np.ndarray
    lesion: np.ndarray
    proba: np.ndarray
    classes: np.ndarray
    told: list[dict[str, Any]]
    seconds: float  # of the prediction


def collect(store: Store, run: Run, folds: tuple[int, ...], *, tta: bool = False) -> Predictions | None:
    """Read the folds of a run; None unless all of them are there."""
    stored = store.read(run, folds)
    if stored is None:
        return None
    form = "proba_tta" if tta else "proba"
    classes = stored[0]["classes"]
    if any(not np.array_equal(fold["classes"], classes) for fold in stored):
        raise ValueError(f"The folds of {run.name} have learnt different classes.")
    return Predictions(
        *(np.concatenate([fold[name] for fold in stored]) for name in ("truth", "lesion", form)),
        classes=classes,
        told=[fold["told"] for fold in stored],
        seconds=sum(fold["told"][f"{form}_seconds"] for fold in stored),
    )


def score(found: Predictions) -> dict[str, Any]:
    """Return figures with intervals, and what they rest on."""
    table = bootstrap_table(
        found.truth,
        y_proba=found.proba,
        groups=found.lesion,
        labels=found.classes,
        tasks={"melanoma": ["mel"]},
    )
    return {
        **figures_with_intervals(table, FIGURES),
        "n_images": int(found.truth.size),
        "n_lesions": int(np.unique(found.lesion).size),
    }


def cost(found: Predictions) -> dict[str, Any]:
    """Return time and size; the time is that of one model, and of all members of an ensemble."""
    minutes = [told["train_seconds"] / 60 for told in found.told]
    epochs = [told["epochs"] for told in found.told if told["epochs"] is not None]
    return {
        "training_minutes": round_mean(minutes),
        "longest_training_minutes": round_mean([max(minutes)]),
        "images_a_second": round(found.truth.size / found.seconds),
        "parameters": found.told[0]["parameters"],
        "epochs": round_mean(epochs) if epochs else None,
        "threads": sorted({told["threads"] for told in found.told}),
        "code": sorted({told["code"] for told in found.told}),
    }


def round_mean(values: list[float]) -> float | int:
    """Return a mean with one digit after the point; a whole number where that is 0, or the mean small."""
    mean = round(float(np.mean(values)), 1)
    return round(mean) if mean <= 1 or mean.is_integer() else mean


def model_rows(found: dict[str, Predictions]) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    return [
        {
            "row": name,
            "model": ENTRIES[name].model,
            "protocol": f"{N_FOLDS} folds" if ENTRIES[name].folds == ALL_FOLDS else "hold-out",
            **score(predictions),
            **cost(predictions),
        }
        for name, predictions in found.items()
    ]


# %%
# Differences
# -----------


def difference(a: Predictions, b: Predictions) -> dict[str, Any]:
    """Return how much better a is than b on the same images, with intervals over lesions."""
    if not (np.array_equal(a.truth, b.truth) and np.array_equal(a.lesion, b.lesion)):
        raise ValueError("The two models were not tested on the same images.")
    row: dict[str, Any] = {}
    for prefix, metric in (("", "balanced_accuracy"), ("macro_auc_", "roc_auc:macro")):
        found = compare_models(a.truth, a.proba, b.proba, groups=a.lesion, metric=metric, labels=a.classes)
        row[f"{prefix}difference"] = round(found.difference, 6)
        row |= {f"{prefix}{name}": round(getattr(found, name), 6) for name in ("low", "high", "p_value")}
    return row


def gain_rows(found: dict[str, Predictions]) -> list[dict[str, Any]]:
    """Return what one model gains over another."""
    return [
        {"gain": name, "of": a, "over": b, **difference(found[a], found[b])}
        for name, (a, b) in GAINS.items()
        if a in found and b in found
    ]


def ablation_rows(store: Store, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return a row for the whole recipe, and one for each change of it; none before the whole one is there."""
    found = {run.name: collect(store, run, HOLD_OUT) for run in runs}
    whole = found.get(WHOLE_RECIPE)
    if whole is None:
        return []
    rows = []
    for name, predictions in found.items():
        if predictions is not None:
            is_whole = name == WHOLE_RECIPE
            row = {"row": name, "change": "none" if is_whole else ABLATIONS[name][0], **score(predictions)}
            compared = difference(predictions, whole)
            rows.append(row | (dict.fromkeys(compared) if is_whole else compared) | cost(predictions))
    return rows


# %%
# Targets
# -------


def target_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was to be reached, and what was; targets of rows that are missing are left out."""
    by_name = {row["row"]: row for row in rows}
    reached = []
    for target in TARGETS:
        if target["row"] in by_name:
            measured = by_name[target["row"]][target["figure"]]
            limits = {name: target.get(name) for name in ("at_least", "at_most")}
            met = all(
                (
                    limits["at_least"] is None or measured >= limits["at_least"],
                    limits["at_most"] is None or measured <= limits["at_most"],
                )
            )
            reached.append({**target, **limits, "measured": measured, "met": "yes" if met else "no"})
    return reached
