"""Checks of what ``fit``, ``predict`` and ``transform`` do with the images, in every form that an estimator takes.

Each takes a public estimator and the name of a form, works on clones, and raises an AssertionError.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pandas as pd
from image_forms import (
    ROUNDED_FORMS,
    equal,
    fit,
    forms_of,
    global_states,
    kept_global_states,
    lesions,
    make_X,
    quick,
    refused,
    respond,
    same_bits,
    same_response,
    seed_globally,
    shared,
    takes_pixels,
    trained,
)
from sklearn.base import is_classifier
from sklearn.utils import _safe_indexing


def check_fit_returns_the_estimator_itself(estimator: Any, form: str) -> None:
    estimator = quick(estimator)
    result = fit(estimator, make_X(form), groups=lesions()[2])
    assert result is estimator, f"fit returned another {type(result).__name__}"


def check_nothing_warns(estimator: Any, form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = trained(estimator, form)
        respond(fitted, make_X(form))
        if is_classifier(fitted):
            fitted.score(make_X(form), lesions()[1])


def check_what_is_passed_is_left_alone(estimator: Any, form: str) -> None:
    _, y, groups = (array.copy() for array in lesions())
    passed = {"X": make_X(form), "y": y, "groups": groups, "sample_weight": np.linspace(0.5, 1.5, len(y))}
    before = copy.deepcopy(passed)
    weights = {"sample_weight": passed["sample_weight"]} if is_classifier(estimator) else {}

    fitted = fit(quick(estimator), passed["X"], passed["y"], passed["groups"], **weights)
    respond(fitted, passed["X"])
    if hasattr(estimator, "fit_transform"):
        quick(estimator).fit_transform(passed["X"], passed["y"])

    for name, value in passed.items():
        equal(type(value), type(before[name]), name)
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, before[name], obj=name)
        elif isinstance(value, pd.Series):
            pd.testing.assert_series_equal(value, before[name], obj=name)
        else:
            same_bits(value, before[name], name)


def check_the_same_seed_gives_the_same_bits(estimator: Any, form: str) -> None:
    first, second = (respond(trained(estimator, form), make_X(form)) for _ in range(2))
    same_bits(second, first, "a second fit")
    if hasattr(estimator, "fit_transform"):
        first, second = (quick(estimator).fit_transform(make_X(form)) for _ in range(2))
        same_bits(second, first, "a second fit_transform")


def check_global_random_states_are_neither_read_nor_changed(estimator: Any, form: str) -> None:
    responses = []
    with kept_global_states():
        for seed in (1, 2):
            seed_globally(seed)
            before = global_states()
            found = [respond(trained(estimator, form), make_X(form))]
            if hasattr(estimator, "fit_transform"):
                found.append(quick(estimator).fit_transform(make_X(form)))
            assert global_states() == before, "a global random state was changed"
            if "random_state" in estimator.get_params(deep=False):
                fit(quick(estimator).set_params(random_state=None), make_X(form))
                assert global_states() == before, "a global random state was changed, with random_state=None"
            responses.append(found)
    for first, second in zip(*responses, strict=True):
        same_bits(second, first, "with another global seed")


def check_one_image_alone_is_treated_as_among_others(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    together = respond(fitted, X)
    for row in (0, 17, len(together) - 1):
        alone = respond(fitted, _safe_indexing(X, [row]))
        same_response(fitted, alone, together[row : row + 1], f"row {row} alone")


def check_the_order_of_images_does_not_matter(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    together = respond(fitted, X)
    order = np.random.default_rng(0).permutation(len(together))
    same_response(fitted, respond(fitted, _safe_indexing(X, order)), together[order], "in another order")


def check_some_of_the_images_are_treated_as_among_all(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    together = respond(fitted, X)
    for rows in (np.arange(5), np.arange(3, 50, 7), np.array([4, 4, 9])):
        same_response(fitted, respond(fitted, _safe_indexing(X, rows)), together[rows], f"rows {rows}")


def check_the_size_of_batches_does_not_matter(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    together = respond(fitted, X)
    for size in (1, 3, 16, 55):  # 55 leaves a last batch of one
        rows = [np.arange(start, min(start + size, len(together))) for start in range(0, len(together), size)]
        parts = np.concatenate([respond(fitted, _safe_indexing(X, part)) for part in rows])
        same_response(fitted, parts, together, f"{size} at a time")


def check_the_form_does_not_matter(estimator: Any, form: str) -> None:
    plainest = forms_of(estimator)[0]
    expected = respond(shared(estimator, plainest), make_X(plainest))
    actual = respond(shared(estimator, form), make_X(form))
    # Two epochs of training enlarge the last digits of the images.
    _same_but_for_rounding(actual, expected, form, digits=1e-3 if is_classifier(estimator) else 1e-5)


def check_fitted_on_one_form_it_takes_another(estimator: Any, form: str) -> None:
    plainest = forms_of(estimator)[0]
    fitted = shared(estimator, plainest)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X has feature names, but", UserWarning)
        actual = respond(fitted, make_X(form))
    _same_but_for_rounding(actual, respond(fitted, make_X(plainest)), form, digits=1e-5)


def _same_but_for_rounding(actual: Any, expected: Any, form: str, digits: float) -> None:
    """Assert equality with what the uint8 images give; uint8 results are rounded to whole numbers."""
    actual = actual.reshape(expected.shape)
    if form not in ROUNDED_FORMS:
        same_bits(actual, expected, f"{form} instead of the plainest form")
    elif expected.dtype == np.uint8:
        np.testing.assert_allclose(actual * 255, expected, rtol=0, atol=0.501)
    else:
        np.testing.assert_allclose(actual, expected, rtol=digits, atol=digits)


def check_probabilities_are_probabilities(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    probabilities, y = fitted.predict_proba(X), lesions()[1]
    equal(probabilities.shape, (len(y), len(np.unique(y))), "shape")
    equal(probabilities.dtype, np.float64, "dtype")
    assert np.all(probabilities >= 0), "a negative probability"
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    same_bits(fitted.classes_, np.unique(y), "classes_")
    same_bits(fitted.predict(X), fitted.classes_[probabilities.argmax(axis=1)], "predict")
    equal(fitted.score(X, y), np.mean(fitted.predict(X) == y), "score")


def check_no_image_at_all_is_refused(estimator: Any, form: str) -> None:
    none = _safe_indexing(make_X(form), np.array([], dtype=np.intp))
    said = "0 sample(s)"
    with refused(ValueError, said):
        fit(quick(estimator), none, np.array([], dtype=str))
    with refused(ValueError, said):
        respond(shared(estimator, form), none)


def check_n_features_in_counts_pixels(estimator: Any, form: str) -> None:
    fitted, images = shared(estimator, form), lesions()[0]
    if takes_pixels(estimator):
        equal(fitted.n_features_in_, int(np.prod(images.shape[1:])), "n_features_in_")
        equal(fitted.image_shape_, images.shape[1:], "image_shape_")
    else:
        assert not hasattr(fitted, "n_features_in_"), "paths have no features"


def check_images_of_another_size_are_refused_or_keep_it(estimator: Any, form: str) -> None:
    fitted, images = shared(estimator, form), lesions()[0]
    narrow = images[:, :, :6]
    X = make_X(form, narrow)
    if form.startswith("flat"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            with refused(ValueError):
                respond(fitted, X)
            with refused(ValueError, "144 features", "192 features"):
                respond(fitted, np.asarray(X))
    elif is_classifier(fitted) or not _takes(fitted, X):
        with refused(ValueError, "(8, 8, 3)", "(8, 6, 3)"):
            respond(fitted, X)
    else:
        equal(respond(fitted, X).shape, X.shape, "images of another size")


def _takes(fitted: Any, X: Any) -> bool:
    try:
        respond(fitted, X)
    except ValueError:
        return False
    return True


def check_images_of_another_number_of_channels_are_refused(estimator: Any, form: str) -> None:
    X = make_X(form)[..., :1]
    with refused(ValueError, "(8, 8, 3)", "(8, 8, 1)"):
        respond(shared(estimator, form), X)
