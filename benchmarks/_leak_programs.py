"""Ten ways to leak and ten honest evaluations, as a user of scikit-learn would write them.

`bench_leak_guard.py` measures what the guard says of each, and at what cost; the tests run the same programs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_resampling_pipeline
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.model_selection import (
    GridSearchCV,
    GroupShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.pipeline import make_pipeline

from skinclf.datasets import make_lesions
from skinclf.evaluation import LeakageWarning, audit_leakage
from skinclf.preprocessing import ImageLoader


@dataclass(frozen=True)
class Lesions:
    """Two photos of each lesion, as files and as pixels, and a classifier that is not fitted."""

    frame: pd.DataFrame
    images: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    folder: Path
    classifier: Any

    @property
    def size(self) -> int:
        return self.images.shape[1]

    def by_lesion(self) -> tuple[np.ndarray, np.ndarray]:
        split = GroupShuffleSplit(1, test_size=0.25, random_state=0)
        return next(split.split(self.images, self.y, self.groups))


def paint_lesions(folder: Path, *, n_lesions: int, size: int, classifier: Any) -> Lesions:
    """Paint lesions, and write them as files."""
    weights = {"akiec": 1, "bcc": 1, "bkl": 1, "df": 1, "mel": 1, "nv": 4, "vasc": 1}
    lesions = make_lesions(n_lesions, images_per_lesion=2, image_size=size, class_weights=weights, random_state=0)
    order = np.argsort(lesions.groups, kind="stable")  # both photos of a lesion one after the other
    images = lesions.images[order]
    paths = [str(folder / f"{row:05d}.png") for row in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    frame = lesions.data.iloc[order].reset_index(drop=True).assign(image=paths)
    return Lesions(frame, images, lesions.target[order], lesions.groups[order], folder, classifier)


FOLDS_BY_LESION = StratifiedGroupKFold(3, shuffle=True, random_state=0)
FOLDS_BY_IMAGE = StratifiedKFold(5, shuffle=True, random_state=0)


# --- ways to leak


def oversample_pixels_then_split(d: Lesions) -> None:
    """RandomOverSampler on rows of pixels, then train_test_split"""
    rows, y = RandomOverSampler(random_state=0).fit_resample(d.images.reshape(len(d.y), -1), d.y)
    train, test, y_train, y_test = train_test_split(rows, y, random_state=0)
    clone(d.classifier).fit(train, y_train).score(test, y_test)


def oversample_files_then_split(d: Lesions) -> None:
    """RandomOverSampler on a list of paths, then train_test_split"""
    paths, y = RandomOverSampler(random_state=0).fit_resample(d.frame[["image"]], d.y)
    train, test, y_train, y_test = train_test_split(paths["image"].tolist(), y, random_state=0)
    clone(d.classifier).fit(train, y_train).score(test, y_test)


def cross_validate_by_image(d: Lesions) -> None:
    """cross_validate(classifier, frame, y, cv=5)"""
    cross_validate(d.classifier, d.frame, d.y, cv=FOLDS_BY_IMAGE, error_score="raise")


def pipeline_by_image(d: Lesions) -> None:
    """cross_validate of a Pipeline with an ImageLoader, cv=5"""
    pipeline = make_pipeline(ImageLoader(d.size), clone(d.classifier).set_params(early_stopping=False))
    cross_validate(pipeline, d.frame, d.y, cv=FOLDS_BY_IMAGE, error_score="raise")


def load_then_split(d: Lesions) -> None:
    """ImageLoader().transform(frame), then train_test_split of the pixels"""
    images = ImageLoader(d.size).transform(d.frame)
    train, test, y_train, y_test = train_test_split(images, d.y, random_state=0)
    clone(d.classifier).set_params(early_stopping=False).fit(train, y_train).score(test, y_test)


def split_by_hand(d: Lesions) -> None:
    """The first three quarters of the rows against the rest, one lesion on both sides"""
    cut = 3 * len(d.y) // 4 | 1  # between two photos of a lesion
    clone(d.classifier).fit(d.frame[:cut], d.y[:cut]).score(d.frame[cut:], d.y[cut:])


def search_by_image(d: Lesions) -> None:
    """GridSearchCV on a frame, cv=StratifiedKFold(3, shuffle=True)"""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    GridSearchCV(d.classifier, {"lr": [0.001, 0.01]}, cv=folds, error_score="raise").fit(d.frame, d.y)


def score_everything(d: Lesions) -> None:
    """Training on a part by lesion, scoring on all images"""
    train, _ = d.by_lesion()
    clone(d.classifier).fit(d.images[train], d.y[train], groups=d.groups[train]).score(d.images, d.y)


def score_on_another_split(d: Lesions) -> None:
    """A model that was saved and loaded, on the test part of another split by lesion"""
    train, _ = d.by_lesion()
    fitted = clone(d.classifier).fit(d.images[train], d.y[train], groups=d.groups[train])
    fitted.save(d.folder / "model", overwrite=True)
    other = GroupShuffleSplit(1, test_size=0.25, random_state=1)
    _, test = next(other.split(d.images, d.y, d.groups))
    type(fitted).load(d.folder / "model").score(d.images[test], d.y[test])


def copies_under_other_names(d: Lesions) -> None:
    """Turned, flipped and re-encoded copies under other names, then a split by image"""
    originals = make_lesions(42, images_per_lesion=1, image_size=64, random_state=1)
    paths = [str(d.folder / f"photo_{i:03d}.jpg") for i in range(84)]
    for i, pixels in enumerate(originals.images):
        image = Image.fromarray(pixels)
        image.save(paths[i], quality=95)
        image.transpose(Image.Transpose(i % 7)).save(paths[42 + i], quality=60)
    rows, y = np.arange(84), np.tile(originals.target, 2)
    train, test = train_test_split(rows, random_state=0)
    clone(d.classifier).fit([paths[i] for i in train], y[train]).score([paths[i] for i in test], y[test])
    audit = audit_leakage(paths, y, splits=[(train, test)])
    twins = np.isin(test % 42, train % 42)
    if int(audit.folds["near_duplicate"].sum()) == twins.sum():
        warnings.warn(f"audit_leakage: {audit!r}", LeakageWarning, stacklevel=2)


# --- honest evaluations


def training_score(d: Lesions) -> None:
    """The score on the training set, and on a part of it"""
    fitted = clone(d.classifier).fit(d.frame, d.y)
    fitted.score(d.frame, d.y)
    fitted.score(d.images[:20], d.y[:20])


def hold_out_by_lesion(d: Lesions) -> None:
    """GroupShuffleSplit; predict and predict_proba"""
    train, test = d.by_lesion()
    fitted = clone(d.classifier).fit(d.frame.iloc[train], d.y[train])
    fitted.predict(d.frame.iloc[test])
    fitted.predict_proba(d.frame.iloc[test])


def cross_validate_by_lesion(d: Lesions) -> None:
    """cross_validate by lesion, with training scores"""
    cross_validate(
        d.classifier,
        d.images,
        d.y,
        groups=d.groups,
        cv=FOLDS_BY_LESION,
        params={"groups": d.groups},
        return_train_score=True,
        error_score="raise",
    )


def pipeline_by_lesion(d: Lesions) -> None:
    """cross_validate by lesion of a Pipeline with an ImageLoader"""
    pipeline = make_pipeline(ImageLoader(d.size), d.classifier)
    cross_validate(
        pipeline,
        d.frame,
        d.y,
        groups=d.groups,
        cv=FOLDS_BY_LESION,
        params={"lesioncnnclassifier__groups": d.groups},
        error_score="raise",
    )


def search_by_lesion(d: Lesions) -> None:
    """GridSearchCV by lesion on a frame, then its score on other lesions"""
    train, test = d.by_lesion()
    search = GridSearchCV(
        d.classifier, {"lr": [0.001, 0.01]}, cv=FOLDS_BY_LESION, return_train_score=True, error_score="raise"
    )
    search.fit(d.frame.iloc[train], d.y[train], groups=d.groups[train]).score(d.frame.iloc[test], d.y[test])


def learning_curve_by_lesion(d: Lesions) -> None:
    """learning_curve by lesion"""
    learning_curve(
        d.classifier,
        d.frame,
        d.y,
        groups=d.groups,
        cv=FOLDS_BY_LESION,
        train_sizes=[0.5, 1.0],
        shuffle=True,
        random_state=0,
        error_score="raise",
    )


def calibration_by_lesion(d: Lesions) -> None:
    """CalibratedClassifierCV with folds by lesion, scored on other lesions and on its training set"""
    train, test = d.by_lesion()
    splits = list(FOLDS_BY_LESION.split(train, d.y[train], d.groups[train]))
    calibrated = CalibratedClassifierCV(d.classifier, cv=splits).fit(d.frame.iloc[train], d.y[train])
    calibrated.score(d.frame.iloc[test], d.y[test])
    calibrated.score(d.frame.iloc[train], d.y[train])


def stacking_by_lesion(d: Lesions) -> None:
    """StackingClassifier with folds by lesion"""
    train, test = d.by_lesion()
    splits = list(FOLDS_BY_LESION.split(train, d.y[train], d.groups[train]))
    stack = StackingClassifier([("network", d.classifier)], cv=splits).fit(d.frame.iloc[train], d.y[train])
    stack.score(d.frame.iloc[test], d.y[test])


def oversample_inside_the_folds(d: Lesions) -> None:
    """RandomOverSampler as a step of imbalanced-learn's pipeline, folds by lesion"""
    pipeline = make_resampling_pipeline(RandomOverSampler(random_state=0), d.classifier)
    cross_validate(pipeline, d.frame, d.y, groups=d.groups, cv=FOLDS_BY_LESION, error_score="raise")


def one_image_after_the_other(d: Lesions) -> None:
    """New images, one at a time"""
    train, test = d.by_lesion()
    fitted = clone(d.classifier).fit(d.frame.iloc[train], d.y[train])
    for row in test[:20]:
        fitted.predict_proba(d.frame.iloc[[row]])
        fitted.predict(d.images[[row]])


Program = Callable[[Lesions], None]

WAYS_TO_LEAK: list[Program] = [
    oversample_pixels_then_split,
    oversample_files_then_split,
    cross_validate_by_image,
    pipeline_by_image,
    load_then_split,
    split_by_hand,
    search_by_image,
    score_everything,
    score_on_another_split,
    copies_under_other_names,
]

HONEST: list[Program] = [
    training_score,
    hold_out_by_lesion,
    cross_validate_by_lesion,
    pipeline_by_lesion,
    search_by_lesion,
    learning_curve_by_lesion,
    calibration_by_lesion,
    stacking_by_lesion,
    oversample_inside_the_folds,
    one_image_after_the_other,
]


def what_is_said(program: Program, lesions: Lesions) -> list[str]:
    """Run a program; return the leakage warnings that its user would read."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program(lesions)
    others = [w for w in caught if not issubclass(w.category, LeakageWarning)]
    if others:
        raise RuntimeError(f"{program.__name__} warned of something else: {others[0].message}")
    return [str(warning.message) for warning in caught]
