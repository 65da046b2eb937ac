"""Checks of classifiers: labels, classes, batches of one, and what is passed along with the images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from image_forms import equal, fit, lesions, make_X, quick, refused, same_bits, shared
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning, UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict, cross_validate
from sklearn.pipeline import Pipeline

NAMES = np.array(["mel", "bkl", "nv", "akiec", "vasc", "df", "bcc"])
LABELS: dict[str, Callable[[NDArray[np.intp]], Any]] = {
    "str": lambda codes: NAMES[codes],
    "object": lambda codes: NAMES.astype(object)[codes],
    "list": lambda codes: NAMES[codes].tolist(),
    "bool": lambda codes: codes > 3,
    "gaps": lambda codes: np.where(codes > 3, 7, 3),
    "int8": lambda codes: codes.astype(np.int8),
    "int32": lambda codes: codes.astype(np.int32),
    "uint16": lambda codes: codes.astype(np.uint16),
    "big-endian": lambda codes: codes.astype(">i4"),
    "negative": lambda codes: 10 * codes - 30,
    "float integers": lambda codes: codes.astype(np.float64),
    "float32 integers": lambda codes: codes.astype(np.float32),
    "Series": lambda codes: pd.Series(NAMES[codes], index=codes + 100),
    "Categorical": lambda codes: pd.Categorical(NAMES[codes], categories=[*NAMES, "never seen"]),
    "Categorical Series": lambda codes: pd.Series(codes * 5, dtype="category"),
    "nullable string": lambda codes: pd.Series(NAMES[codes], dtype="string"),
    "nullable integer": lambda codes: pd.Series(codes, dtype="Int64"),
    "nullable boolean": lambda codes: pd.Series(codes > 3, dtype="boolean"),
    "timestamps": lambda codes: np.array(["2020-01-01", "2021-01-01"], "datetime64[s]")[codes % 2],
}
"""From the numbers of seven classes to labels."""


def _codes() -> NDArray[np.intp]:
    return np.unique(lesions()[1], return_inverse=True)[1]


def check_labels_come_back_as_from_scikit_learn(estimator: Any, kind: str) -> None:
    y, X = LABELS[kind](_codes()), make_X("flat")
    reference = LogisticRegression(C=0.01, max_iter=5000, tol=0.1).fit(X / 255, y)

    fitted = fit(quick(estimator), make_X("uint8"), y, lesions()[2])

    same_bits(fitted.classes_, reference.classes_, "classes_")
    predicted = fitted.predict(make_X("uint8"))
    equal(predicted.dtype, reference.predict(X / 255).dtype, "dtype of the predictions")
    equal(predicted.shape, (56,), "shape of the predictions")
    equal(set(predicted) - set(fitted.classes_), set(), "predictions that are no class")
    equal(fitted.predict_proba(make_X("uint8")).shape, (56, len(reference.classes_)), "shape of the probabilities")
    equal(fitted.score(make_X("uint8"), y), np.mean(predicted == np.asarray(y)), "score")


def check_a_column_of_labels_warns_and_is_taken(estimator: Any) -> None:
    y = lesions()[1]
    for column in (y.reshape(-1, 1), pd.DataFrame({"dx": y})):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = fit(quick(estimator), make_X("uint8"), column, lesions()[2])
        equal([warning.category for warning in caught], [DataConversionWarning], "warnings")
        same_bits(
            fitted.predict_proba(make_X("uint8")),
            shared(estimator, "uint8").predict_proba(make_X("uint8")),
            "a column",
        )


def check_labels_that_are_none_are_refused(estimator: Any) -> None:
    codes = _codes()
    wrong: list[tuple[Any, str]] = [
        (codes + 0.5, "Unknown label type: continuous"),
        (np.eye(7)[codes], "1d array"),
        (np.where(codes == 2, np.nan, codes), "missing"),
        (np.where(codes == 2, np.array(None), NAMES[codes]), "missing"),
        (np.array([1, "a"], dtype=object)[codes % 2], "Unknown label type"),
        (NAMES[codes].astype("S"), "bytes"),
        (np.full(56, "nv"), "one class"),
        (codes[:55], "[56, 55]"),
        (None, "y"),
    ]
    for y, said in wrong:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with refused((ValueError, TypeError), said):
                quick(estimator).fit(make_X("uint8"), y)


def check_columns_of_probabilities_are_in_the_order_of_classes(estimator: Any) -> None:
    """Dark, middle and bright images, whose labels sort in another order, are told apart for certain."""
    rng = np.random.default_rng(0)
    brightness = np.repeat([20, 120, 220], 20)
    images = brightness[:, None, None, None] + rng.integers(-15, 15, size=(60, 8, 8, 3))
    y = np.array(["zebra", "ant", "mole"])[np.repeat([0, 1, 2], 20)]
    estimator = quick(estimator)
    learns = {"max_epochs": 15, "lr": 0.02, "augmentation": None}
    known = estimator.get_params(deep=False)
    estimator.set_params(**{name: value for name, value in learns.items() if name in known})

    fitted = estimator.fit(images.astype(np.uint8), y)

    probabilities = pd.DataFrame(fitted.predict_proba(images.astype(np.uint8)), columns=fitted.classes_)
    most_probable = probabilities.groupby(y).mean().idxmax(axis=1).to_dict()
    equal(most_probable, {label: label for label in ("ant", "mole", "zebra")}, "most probable of each class")
    assert fitted.score(images.astype(np.uint8), y) > 0.9, "an easy task was not learnt"


def check_a_class_that_cannot_be_put_aside_is_learnt(estimator: Any) -> None:
    images, y, groups = (array.copy() for array in lesions())
    rare = np.flatnonzero(groups == groups[0])
    y[rare] = "one lesion"  # its images stay together, and in training

    fitted = fit(quick(estimator), images, y, groups)

    if len(getattr(fitted, "validation_indices_", [])):
        equal(set(rare) & set(fitted.validation_indices_.tolist()), set(), "images of the class in validation")
        assert np.isfinite(fitted.history_["valid_loss"]).all(), "the validation loss is not finite"
    equal(fitted.classes_.tolist(), np.unique(y).tolist(), "classes_")
    equal(fitted.predict_proba(images).shape, (56, len(np.unique(y))), "shape of the probabilities")


def check_a_label_that_training_never_saw_is_an_error_of_prediction(estimator: Any) -> None:
    images = lesions()[0]
    fitted = shared(estimator, "uint8")
    predicted = fitted.predict(images)
    other = np.where(np.arange(56) < 20, "never seen", predicted)
    equal(fitted.score(images, other), 36 / 56, "score, with 20 labels of another class")


def check_batches_of_one_in_training(estimator: Any) -> None:
    """33 images in batches of 16, or 3 in batches of 2: the last batch would hold one image."""
    rng = np.random.default_rng(0)
    for n_images, batch_size in ((33, 16), (3, 2), (2, 2), (17, 2)):
        images = rng.integers(0, 256, size=(n_images, 8, 8, 3), dtype=np.uint8)
        y = np.arange(n_images) % 2
        classifier = quick(estimator)
        known = classifier.get_params(deep=False)
        chosen = {"batch_size": batch_size, "early_stopping": False}
        classifier.set_params(**{name: value for name, value in chosen.items() if name in known})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            probabilities = classifier.fit(images, y).predict_proba(images)
        assert np.isfinite(probabilities).all(), f"{n_images} images in batches of {batch_size}"


def check_batches_of_one_in_validation(estimator: Any) -> None:
    classifier = quick(estimator)
    if "validation_fraction" not in classifier.get_params(deep=False):
        return
    images, y, groups = lesions()
    classifier.set_params(validation_fraction=0.5, batch_size=9)
    fitted = fit(classifier, images.copy(), y, groups)
    equal(len(fitted.validation_indices_) % 9, 1, "images in the last validation batch")
    assert np.isfinite(fitted.history_["valid_loss"]).all(), "the validation loss is not finite"


def _passed() -> tuple[Any, Any, dict[str, Any]]:
    images, y, groups = lesions()
    return images.copy(), y, {"groups": groups, "sample_weight": np.where(y == "nv", 0.2, 1.0)}


def check_groups_and_weights_reach_a_step_of_a_pipeline(estimator: Any) -> None:
    X, y, passed = _passed()
    direct = quick(estimator).fit(X, y, **passed).predict_proba(X)
    plain = quick(estimator).fit(X, y).predict_proba(X)
    assert not np.array_equal(direct, plain), "weights and groups changed nothing"

    old_way = Pipeline([("step", quick(estimator))])
    old_way.fit(X, y, **{f"step__{name}": value for name, value in passed.items()})
    same_bits(old_way.predict_proba(X), direct, "without metadata routing")
    with sklearn.config_context(enable_metadata_routing=True):
        wants = quick(estimator).set_fit_request(groups=True, sample_weight=True)
        same_bits(
            Pipeline([("step", wants)]).fit(X, y, **passed).predict_proba(X), direct, "with metadata routing"
        )
        declines = quick(estimator).set_fit_request(groups=False, sample_weight=False)
        with refused(TypeError, "unexpected argument"):
            Pipeline([("step", declines)]).fit(X, y, **passed)
        mute = Pipeline([("step", quick(estimator))])
        with refused(UnsetMetadataPassedError, "set_fit_request"):
            mute.fit(X, y, **passed)


def check_groups_and_weights_reach_each_fold(estimator: Any) -> None:
    X, y, passed = _passed()
    folds = StratifiedGroupKFold(2, shuffle=True, random_state=0)
    expected = np.empty((56, 7))
    for train, test in folds.split(X, y, passed["groups"]):
        fold_params = {name: value[train] for name, value in passed.items()}
        expected[test] = quick(estimator).fit(X[train], y[train], **fold_params).predict_proba(X[test])

    found = cross_val_predict(
        quick(estimator), X, y, cv=folds, groups=passed["groups"], params=passed, method="predict_proba"
    )
    same_bits(found, expected, "without metadata routing")
    with sklearn.config_context(enable_metadata_routing=True):
        wants = quick(estimator).set_fit_request(groups=True, sample_weight=True)
        pipeline = Pipeline([("step", wants)])
        found = cross_val_predict(pipeline, X, y, cv=folds, params=passed, method="predict_proba")
        same_bits(found, expected, "with metadata routing, in a pipeline")
        wants = wants.set_score_request(sample_weight=True)
        scores = cross_validate(wants, X, y, cv=folds, params=passed, error_score="raise")["test_score"]
        assert np.isfinite(scores).all(), f"scores {scores}"
        search = GridSearchCV(wants, {"class_weight": [None]}, cv=folds, error_score="raise").fit(X, y, **passed)
        direct = quick(estimator).set_params(class_weight=None).fit(X, y, **passed)
        same_bits(search.predict_proba(X), direct.predict_proba(X), "refitted by a search")
