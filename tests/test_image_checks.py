"""Our image checks of every public estimator; and that the checks find what they are there for."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_checks import image_checks
from public_estimators import (
    ESTIMATORS,
    EXPECTED_FAILURES,
    EXPECTED_IMAGE_FAILURES,
    FOR_ANY_ROWS,
    reason_to_fail,
)
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

import skinclf
from skinclf import LesionCNNClassifier
from skinclf.preprocessing import ImageStandardizer


def make_cases():
    for estimator in ESTIMATORS:
        for name, check in image_checks(estimator):
            reason = reason_to_fail(EXPECTED_IMAGE_FAILURES, estimator, name)
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            yield pytest.param(estimator, check, id=f"{type(estimator).__name__}-{name}", marks=marks)


@pytest.mark.parametrize(("estimator", "check"), list(make_cases()))
def test_image_checks(estimator, check):
    check(estimator)


def test_every_public_estimator_is_checked():
    packages = [
        importlib.import_module(f"skinclf.{module.name}") for module in pkgutil.iter_modules(skinclf.__path__)
    ]
    public = {getattr(package, name) for package in packages for name in getattr(package, "__all__", ())}
    estimators = {item for item in public if inspect.isclass(item) and issubclass(item, BaseEstimator)}
    estimators = {item for item in estimators if hasattr(item, "predict") or hasattr(item, "transform")}
    assert len(estimators) >= 5
    assert {item.__name__ for item in estimators} == {
        type(item).__name__ for item in ESTIMATORS
    } | FOR_ANY_ROWS.keys()


@pytest.mark.parametrize(("name", "tests"), FOR_ANY_ROWS.items(), ids=FOR_ANY_ROWS)
def test_what_takes_any_rows_has_the_checks_of_scikit_learn(name, tests):
    source = (Path(__file__).parents[1] / tests).read_text(encoding="utf-8")
    checked = source[source.index("@parametrize_with_checks(") :]
    assert f"{name}(" in checked[: checked.index("\ndef ")]


def test_an_estimator_has_two_declared_exceptions_at_most():
    for declared in (EXPECTED_FAILURES, EXPECTED_IMAGE_FAILURES):
        assert set(declared) <= {type(estimator).__name__ for estimator in ESTIMATORS}
        for name, reasons in declared.items():
            assert len(reasons) <= 2, name
            assert all(len(reason.split()) >= 5 for reason in reasons.values()), name


def test_every_exception_names_a_check():
    names = {type(estimator).__name__: [name for name, _ in image_checks(estimator)] for estimator in ESTIMATORS}
    for estimator, reasons in EXPECTED_IMAGE_FAILURES.items():
        assert set(reasons) <= {*names[estimator], *(name.partition("[")[0] for name in names[estimator])}


def test_there_is_nothing_for_what_neither_classifies_nor_transforms():
    with pytest.raises(TypeError, match="image checks of classifiers and transformers; got LinearRegression"):
        list(image_checks(LinearRegression()))


# --- checks can fail ------------------------------------------------------------------------------------
#
# A method is replaced by one that gets the estimator, X, and the right method, to be called with X or another X.


def replace(base, name, function):
    def method(self, X, *args, **kwargs):
        return function(self, X, lambda X=X: getattr(base, name)(self, X, *args, **kwargs))

    return type(base.__name__, (base,), {name: method})()


def warn(self, X, right):
    warnings.warn("by the way", UserWarning, stacklevel=2)
    return right()


def write_into(self, X, right):
    if isinstance(X, np.ndarray):
        X.reshape(-1)[:1] //= 2
    return right()


def draw(self, X, right):
    return right() + np.random.default_rng().random()


def draw_globally(self, X, right):
    return right() + np.random.random()  # noqa: NPY002


def centre_the_batch(self, X, right):
    return right() - right().mean(axis=0)


def number_the_images(self, X, right):
    return right() + np.arange(len(right())).reshape(-1, *[1] * (right().ndim - 1))


def double_rows(self, X, right):
    return right() * (2 if np.ndim(X) == 2 else 1)


def read_memory_in_order(self, X, right):
    return right() + np.ravel(X, order="K")[5]


def count_fits(self, X, right):
    n_fits = getattr(self, "n_fits_", 0) + 1
    right()
    self.n_fits_ = n_fits
    self.mean_ = self.mean_ * n_fits
    return self


def depend_on_the_object(self, X, right):
    return right() + id(self) % 2**20


def drift_on_errors(self, X, right):
    try:
        return right()
    except (ValueError, TypeError):
        self.mean_ = self.mean_ + 1
        raise


def forget_before_checking(self, X, right):
    self.mean_ = np.zeros(3)
    return right()


def refer_to_classes_by_number(self, X, right):
    return np.searchsorted(self.classes_, right())


def make_classes_text(self, X, right):
    right()
    self.classes_ = self.classes_.astype(str)
    return self


TRANSFORMER_FAULTS = {
    "check_fit_returns_the_estimator_itself[uint8]": ("fit", lambda self, X, right: copy.copy(right())),
    "check_nothing_warns[flat]": ("transform", warn),
    "check_what_is_passed_is_left_alone[uint8]": ("transform", write_into),
    "check_the_same_seed_gives_the_same_bits[uint8]": ("transform", draw),
    "check_global_random_states_are_neither_read_nor_changed[uint8]": ("transform", draw_globally),
    "check_one_image_alone_is_treated_as_among_others[uint8]": ("transform", centre_the_batch),
    "check_some_of_the_images_are_treated_as_among_all[uint8]": ("transform", centre_the_batch),
    "check_the_size_of_batches_does_not_matter[uint8]": ("transform", centre_the_batch),
    "check_the_order_of_images_does_not_matter[uint8]": ("transform", number_the_images),
    "check_the_form_does_not_matter[flat]": ("transform", double_rows),
    "check_fitted_on_one_form_it_takes_another[flat_frame]": ("transform", double_rows),
    "check_the_layout_in_memory_does_not_matter[uint8]": ("transform", read_memory_in_order),
    "check_read_only_arrays_are_taken[uint8]": ("transform", write_into),
    "check_read_only_memory_maps_are_taken[flat]": ("transform", write_into),
    "check_a_second_fit_forgets_the_first[uint8]": ("fit", count_fits),
    "check_a_deep_copy_stands_on_its_own[uint8]": ("transform", depend_on_the_object),
    "check_a_clone_is_not_fitted_and_learns_the_same[uint8]": ("transform", depend_on_the_object),
    "check_an_error_leaves_a_fitted_estimator_as_it_was[uint8]": ("transform", drift_on_errors),
    "check_after_a_fit_that_failed_it_responds_as_before_or_not_at_all[uint8]": ("fit", forget_before_checking),
    "check_images_of_another_number_of_channels_are_refused[uint8]": (
        "transform",
        lambda self, X, right: right(np.repeat(X, 3, axis=3)[..., :3]),
    ),
    "check_numbers_that_are_not_finite_are_refused[float]": (
        "transform",
        lambda self, X, right: right(np.nan_to_num(X, posinf=0, neginf=0)),
    ),
    "check_integers_of_any_type_are_uint8[uint8]": ("transform", lambda self, X, right: right() * X.itemsize),
    "check_sizes_and_channels[float]": (
        "transform",
        lambda self, X, right: right() if X.shape[1] == X.shape[2] else right() * np.nan,
    ),
}
CLASSIFIER_FAULTS = {
    "check_probabilities_are_probabilities[uint8]": ("predict", refer_to_classes_by_number),
    "check_probabilities_are_probabilities[frame]": ("predict_proba", lambda self, X, right: right() * 0.99),
    "check_columns_of_probabilities_are_in_the_order_of_classes": (
        "predict_proba",
        lambda self, X, right: right()[:, ::-1],
    ),
    "check_labels_come_back_as_from_scikit_learn[gaps]": ("predict", refer_to_classes_by_number),
    "check_labels_come_back_as_from_scikit_learn[bool]": ("fit", make_classes_text),
    "check_a_label_that_training_never_saw_is_an_error_of_prediction": ("score", lambda self, X, right: 0.5),
    "check_the_form_does_not_matter[flat]": ("predict_proba", double_rows),
}


@pytest.mark.parametrize(
    ("base", "name", "method", "function"),
    [
        *((ImageStandardizer, name, *fault) for name, fault in TRANSFORMER_FAULTS.items()),
        *((LesionCNNClassifier, name, *fault) for name, fault in CLASSIFIER_FAULTS.items()),
    ],
    ids=[*TRANSFORMER_FAULTS, *CLASSIFIER_FAULTS],
)
def test_a_check_finds_what_it_is_there_for(base, name, method, function):
    check = dict(image_checks(base()))[name]
    check(base())
    with pytest.raises(
        (AssertionError, UserWarning, ValueError),
        match=r"expected|equal|another|global|refused|not finite|by the way|read-only",
    ):
        check(replace(base, method, function))
