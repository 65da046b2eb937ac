"""How a result was obtained, in words, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinclf.evaluation import BootstrapInterval, CrossValidationResult
from skinclf.reporting._fitted import find_model

NO_LESIONS_WARNING = (
    "The lesions are not known, so that several photos of one lesion count as independent evidence. If there are "
    "any, figures may be too high and intervals are too narrow."
)


@dataclass(frozen=True)
class Protocol:
    """Sentences for a reader.

    Attributes
    ----------
    sentences : tuple of str
        What was done, in order.
    warnings : tuple of str
        What a reader must know before believing the figures; empty if all is well.
    """

    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _InnerValidation:
    """The part of a fold's training rows that early stopping looked at."""

    n_images: int
    shares_lesions: bool | None  # None: could not be checked


def describe_size(n_images: int, n_lesions: int | None) -> str:
    """Return words such as ``"10,015 images of 7,470 lesions"``."""
    of_lesions = "" if n_lesions is None else f" of {n_lesions:,} lesions"
    return f"{n_images:,} images{of_lesions}"


def describe_predictions(size: str, interval: BootstrapInterval) -> Protocol:
    """Describe figures that were computed from given predictions."""
    sentences = (
        f"The predictions of {size} were handed in; how the model was trained and the test images were chosen is "
        "not known here.",
        _describe_interval(interval),
    )
    return Protocol(sentences, () if interval.by_group else (NO_LESIONS_WARNING,))


def describe_cross_validation(result: CrossValidationResult, size: str, interval: BootstrapInterval) -> Protocol:
    """Describe a cross-validation, its inner validation parts included."""
    warnings = []
    sentences = [
        f"Cross-validation of {size} with {result.n_folds} folds: each model was trained on one part of the "
        "images and tested on another. The figures are those of all test images together. Splitter: "
        f"{result.splitter}.",
    ]
    untested = int(np.sum(~result.tested))
    if untested:
        sentences.append(f"{untested:,} images are in no test part and do not count.")
    if len(result.leaks):
        leaking, tested = int(result.leaks["n_leaking"].sum()), int(np.sum(result.tested))
        warnings.append(
            f"These folds leak: {leaking:,} of {tested:,} test images ({100 * leaking / tested:.1f} %) are of a "
            "lesion that the model was also trained on. The figures overstate how well it does on new lesions."
        )
    elif result.groups is not None:
        sentences.append("No lesion is in the training part and in the test part of a fold; this was checked.")
    if result.groups is None:
        warnings.append(NO_LESIONS_WARNING)
    inner = _find_inner_validation(result)
    if inner:
        sentences.append(_describe_inner_validation(inner))
        if any(part.shares_lesions for part in inner):
            warnings.append(
                "Photos of one lesion are in the validation part and in the part that is trained on, inside a "
                "fold: early stopping was misled. The test parts are not concerned."
            )
    sentences.append(_describe_interval(interval))
    return Protocol(tuple(sentences), tuple(warnings))


def _describe_interval(interval: BootstrapInterval) -> str:
    unit = "lesions" if interval.by_group else "images"
    return (
        f"Intervals hold {interval.confidence * 100:g} % of {interval.n_draws:,} bootstrap draws of "
        f"{interval.n_groups:,} {unit}. They answer for the choice of test {unit}, not for another training."
    )


def _find_inner_validation(result: CrossValidationResult) -> list[_InnerValidation]:
    parts = []
    for estimator, train in zip(result.estimators or (), result.train_indices, strict=False):
        fitted = find_model(estimator)
        indices = getattr(fitted.model, "validation_indices_", None)
        rows = np.asarray([] if indices is None else indices, dtype=np.intp)
        if rows.size == 0:
            continue
        shares = None
        if result.groups is not None and fitted.has_same_rows:
            is_validation = np.zeros(train.size, dtype=bool)
            is_validation[rows] = True
            lesions = result.groups[train]
            shares = bool(np.isin(lesions[is_validation], lesions[~is_validation]).any())
        parts.append(_InnerValidation(rows.size, shares))
    return parts


def _describe_inner_validation(parts: list[_InnerValidation]) -> str:
    sizes = [part.n_images for part in parts]
    n_images = f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
    checked = all(part.shares_lesions is False for part in parts)
    by_lesion = ", and shares no lesion with the rest of it (checked)" if checked else ""
    return (
        f"Early stopping looked at a validation part of {n_images} images, which is taken from the training part "
        f"of each fold{by_lesion}. The test part had no say in it."
    )
