"""The lookup table: what counts as a copy, what it answers, and the arithmetic of oversampling before a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinclf.evaluation import LookupClassifier, classification_metrics, null_models


@parametrize_with_checks([LookupClassifier()])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def _images(n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


def _as(form: str, images: np.ndarray) -> Any:
    names = [f"ISIC_{int(image.sum())}.jpg" for image in images]
    return {
        "pixels": images,
        "floats": images / np.float32(255),
        "rows": images.reshape(len(images), -1),
        "paths": names,
        "table": pd.DataFrame({"image": names}),
    }[form]


@pytest.mark.parametrize("form", ["pixels", "floats", "rows", "paths", "table"])
def test_answers_what_it_has_seen_and_the_most_frequent_class_otherwise(form: str) -> None:
    images = _images()
    lookup = LookupClassifier().fit(_as(form, images[[0, 1, 2, 3]]), ["nv", "nv", "mel", "df"])
    asked = _as(form, images[[2, 4, 0, 3, 5]])
    assert lookup.predict(asked).tolist() == ["mel", "nv", "nv", "df", "nv"]
    assert lookup.seen_in_training(asked).tolist() == [True, False, True, True, False]
    assert lookup.classes_.tolist() == ["df", "mel", "nv"]
    np.testing.assert_allclose(lookup.predict_proba(asked)[:2], [[0, 1, 0], [0.25, 0.25, 0.5]])


def test_one_different_value_is_no_copy() -> None:
    images = _images(2)
    lookup = LookupClassifier().fit(images, ["mel", "nv"])
    changed = images.copy()
    changed[0, 7, 7, 2] ^= 1
    assert lookup.seen_in_training(changed).tolist() == [False, True]
    assert not lookup.seen_in_training(np.swapaxes(images, 1, 2)).any()


def test_flat_rows_are_copies_of_their_images_and_float64_of_float32() -> None:
    images = _images()
    lookup = LookupClassifier().fit(images, [0, 1] * 3)
    assert lookup.seen_in_training(images.reshape(6, -1)).all()
    floats = (images / 255).astype(np.float32)
    assert LookupClassifier().fit(floats, [0, 1] * 3).seen_in_training(floats.astype(np.float64)).all()
    rows = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert LookupClassifier().fit(rows, [0, 1]).seen_in_training([[-0.0, 1.0]]).all()


def test_copies_count_once_for_what_is_most_frequent() -> None:
    # Oversampling makes mel as frequent as nv, and even more so; three different nevi are still more than one mel.
    lookup = LookupClassifier().fit(np.array([[0], [1], [2], [9], [9], [9], [9]]), ["nv"] * 3 + ["mel"] * 4)
    assert lookup.n_different_ == 4
    np.testing.assert_allclose(lookup.class_prior_, [0.25, 0.75])
    assert lookup.predict([[7]]).tolist() == ["nv"]


def test_copies_with_several_labels_get_the_most_frequent() -> None:
    lookup = LookupClassifier().fit(np.array([[1], [1], [1], [2], [2]]), ["nv", "mel", "nv", "nv", "mel"])
    np.testing.assert_allclose(lookup.predict_proba([[1], [2]]), [[1 / 3, 2 / 3], [0.5, 0.5]])
    assert lookup.predict([[1], [2]]).tolist() == ["nv", "mel"]


def test_a_second_fit_forgets_the_first() -> None:
    lookup = LookupClassifier().fit(_images(), [0, 1] * 3)
    lookup.fit(["a.jpg", "b.jpg"], ["mel", "nv"])
    fresh = LookupClassifier().fit(["a.jpg", "b.jpg"], ["mel", "nv"])
    assert vars(lookup).keys() == vars(fresh).keys()
    assert lookup.predict(["b.jpg", "c.jpg"]).tolist() == ["nv", "mel"]


def test_a_fit_that_fails_leaves_nothing_to_look_up() -> None:
    lookup = LookupClassifier().fit(_images(), [0, 1] * 3)
    with pytest.raises(ValueError, match="as many rows"):
        lookup.fit(["a.jpg", "b.jpg"], ["mel"])
    with pytest.raises(NotFittedError):
        lookup.predict(["a.jpg"])


def test_messages() -> None:
    with pytest.raises(NotFittedError):
        LookupClassifier().predict(_images())
    lookup = LookupClassifier().fit(_images(), [0, 1] * 3)
    with pytest.raises(ValueError, match="X must hold pixels, as that which LookupClassifier was fitted on does"):
        lookup.predict(["a.jpg"])
    with pytest.raises(ValueError, match=r"fitted on images of shape \(8, 8, 3\)"):
        lookup.predict(np.zeros((1, 9, 9, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"y must hold a label for every image; it is missing in rows \[1\]"):
        clone(lookup).fit(_images(2), ["mel", None])
    with pytest.raises(ValueError, match=r"X and y must have as many rows.*\[2, 3\]"):
        clone(lookup).fit(_images(2), ["mel", "nv", "nv"])


def _oversample_then_split(target: np.ndarray, seed: int) -> tuple[float, float, pd.DataFrame]:
    """Return the share of test rows with a copy in training, the accuracy, and the null models."""
    rows = np.arange(target.size)[:, None]
    X, y = RandomOverSampler(random_state=seed).fit_resample(rows, target)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=seed)
    lookup = LookupClassifier().fit(X_train, y_train)
    answers = lookup.predict(X_test)
    accuracy = classification_metrics(y_test, answers).accuracy
    return float(lookup.seen_in_training(X_test).mean()), accuracy, null_models(y_test, lookup=answers)


def test_oversampling_before_a_split_by_hand() -> None:
    # 500 nevi once each, and 5 melanomas 100 times each: every melanoma of the test part has a copy in training,
    # no nevus has, and "nv" is right for these.
    seen, accuracy, nulls = _oversample_then_split(np.repeat(["mel", "nv"], [5, 500]), 0)
    assert seen == pytest.approx(0.5, abs=0.07)
    assert accuracy == 1.0
    assert nulls.loc["lookup table", "accuracy"] == 1.0
    assert nulls.loc["stratified guess", "accuracy"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.real_data
def test_oversampling_ham10000_before_a_split(ham10000: Bunch) -> None:
    runs = [_oversample_then_split(ham10000.target, seed)[:2] for seed in range(3)]
    seen, accuracy = np.mean(runs, axis=0)
    # 46,935 rows, 6,705 of each class: all but nv have copies nearly always, and 6 / 7 is 85.7 %.
    assert seen == pytest.approx(0.856, abs=0.003)
    assert accuracy == pytest.approx(0.998, abs=0.001)


@pytest.mark.real_data
def test_without_copies_the_lookup_table_is_always_nv(ham10000: Bunch) -> None:
    rows = np.arange(ham10000.target.size)[:, None]
    X_train, X_test, y_train, _ = train_test_split(rows, ham10000.target, test_size=0.2, random_state=0)
    lookup = LookupClassifier().fit(X_train, y_train)
    assert not lookup.seen_in_training(X_test).any()
    assert set(lookup.predict(X_test)) == {"nv"}
