"""Checks of what an estimator remembers: copies, refits, errors, and how it shows itself, in every form."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from image_forms import (
    equal,
    fit,
    forms_of,
    lesions,
    make_X,
    quick,
    refused,
    respond,
    same_bits,
    shared,
    takes_pixels,
    trained,
)
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

ASKED = ("predict", "predict_proba", "transform", "inverse_transform", "get_feature_names_out")
"""Methods that need a fit, as far as an estimator has them."""


def check_pickled_it_responds_with_the_same_bits(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    expected = respond(fitted, X)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(fitted, protocol))
        same_bits(respond(loaded, X), expected, f"protocol {protocol}")
        equal(vars(loaded).keys(), vars(fitted).keys(), "attributes")


def check_pickled_before_fit_it_learns_the_same(estimator: Any, form: str) -> None:
    loaded = pickle.loads(pickle.dumps(quick(estimator)))
    learnt = respond(fit(loaded, make_X(form), groups=lesions()[2]), make_X(form))
    same_bits(learnt, respond(shared(estimator, form), make_X(form)), "fitted after the pickle")


def check_dumped_by_joblib_it_responds_with_the_same_bits(estimator: Any, form: str) -> None:
    fitted, file = shared(estimator, form), io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    same_bits(respond(joblib.load(file), make_X(form)), respond(fitted, make_X(form)), "joblib")


def check_a_deep_copy_stands_on_its_own(estimator: Any, form: str) -> None:
    fitted, X = trained(estimator, form), make_X(form)
    expected, copied = respond(fitted, X), copy.deepcopy(fitted)
    same_bits(respond(copied, X), expected, "the copy")
    few = slice(0, 28)
    fit(copied, X[few] if not hasattr(X, "iloc") else X.iloc[few], lesions()[1][few] == "nv")
    same_bits(respond(fitted, X), expected, "the original, after the copy was fitted anew")


def check_a_clone_is_not_fitted_and_learns_the_same(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    cloned = clone(fitted)
    assert vars(cloned).keys() == vars(quick(estimator)).keys(), "the clone has fitted attributes"
    equal(repr(cloned), repr(fitted), "repr")
    if get_tags(fitted).requires_fit:
        with refused(NotFittedError, type(fitted).__name__):
            respond(cloned, X)
    same_bits(respond(fit(cloned, X, groups=lesions()[2]), X), respond(fitted, X), "the fitted clone")


def check_before_fit_every_question_is_refused(estimator: Any, form: str) -> None:
    estimator, X = quick(estimator), make_X(form)
    asked = [name for name in ASKED if hasattr(estimator, name)]
    assert asked, "nothing to ask it"
    for name in asked:
        call = getattr(estimator, name)
        arguments = () if name == "get_feature_names_out" else (X,)
        with refused(NotFittedError, "not fitted yet"):
            call(*arguments)


def _unfit(form: str) -> list[Any]:
    """Return what no estimator can be fitted on."""
    images = np.zeros((20, 16, 16, 3))
    images[3] = np.nan
    if form in ("uint8", "float"):
        return [images, np.zeros((8, 8, 3), np.uint8), np.zeros((20, 3, 8, 8)), object()]
    if form == "flat":
        return [images.reshape(20, -1), np.zeros(7), None]
    if form == "flat_frame":
        return [pd.DataFrame(images.reshape(20, -1)), pd.DataFrame({"path": ["a.png", "b.png"]})]
    return [["a.png", None], [""], "a.png", 3.0]


def _nonsense(form: str) -> list[Any]:
    """Return what no fitted estimator can respond to."""
    return [*_unfit(form), ["no such file.png"], np.zeros((2, 7)), np.zeros((2, 8, 8, 5))]


def check_an_error_leaves_a_fitted_estimator_as_it_was(estimator: Any, form: str) -> None:
    fitted, X = trained(estimator, form), make_X(form)
    expected, attributes = respond(fitted, X), set(vars(fitted))
    for wrong in _nonsense(form):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            with refused((ValueError, TypeError)):
                respond(fitted, wrong)
    equal(set(vars(fitted)), attributes, "attributes")
    same_bits(respond(fitted, X), expected, "after errors")


def check_after_a_fit_that_failed_it_responds_as_before_or_not_at_all(estimator: Any, form: str) -> None:
    X, expected = make_X(form), respond(shared(estimator, form), make_X(form))
    wrong_fits: list[tuple[Any, Any]] = [(wrong, None) for wrong in _unfit(form)]
    if is_classifier(estimator):
        images, y, _ = lesions()
        larger = images[:20].repeat(2, axis=1).repeat(2, axis=2)
        wrong_fits += [(make_X(form, larger), y[:19]), (make_X(form, images[:20]), np.repeat("nv", 20))]
    for wrong, y in wrong_fits:
        fitted = trained(estimator, form)
        with refused((ValueError, TypeError)):
            fit(fitted, wrong, y)
        with warnings.catch_warnings(), contextlib.suppress(NotFittedError, ValueError):
            warnings.filterwarnings("ignore", "X has feature names, but", UserWarning)
            same_bits(respond(fitted, X), expected, "after a fit that failed")


def check_a_second_fit_forgets_the_first(estimator: Any, form: str) -> None:
    images, y, groups = lesions()
    plainest = forms_of(estimator)[0]
    larger = images[:40].repeat(2, axis=1).repeat(2, axis=2)
    for second_form in {form, plainest}:
        first, fresh = trained(estimator, form), quick(estimator)
        X, is_nevus = make_X(second_form, larger, groups[:40]), y[:40] == "nv"
        for fitted in (first, fresh):
            fit(fitted, X, is_nevus, groups[:40])
        assert vars(first).keys() == vars(fresh).keys(), f"left over: {vars(first).keys() ^ vars(fresh).keys()}"
        same_bits(respond(first, X), respond(fresh, X), f"fitted on {form}, then on {second_form}")
        if is_classifier(first):
            same_bits(first.classes_, np.array([False, True]), "classes_")
        if takes_pixels(estimator):
            equal(first.n_features_in_, fresh.n_features_in_, "n_features_in_")


def check_feature_names_in_are_those_of_columns_of_pixels(estimator: Any, form: str) -> None:
    fitted, X = shared(estimator, form), make_X(form)
    if form != "flat_frame":
        assert not hasattr(fitted, "feature_names_in_"), "there are no features with names"
        return
    same_bits(fitted.feature_names_in_, np.array(X.columns, dtype=object), "feature_names_in_")
    with refused(ValueError, "feature names should match"):
        respond(fitted, X[X.columns[::-1]])
    with refused(ValueError, "feature names should match"):
        respond(fitted, X.add_prefix("other_"))


def check_it_shows_itself_as_text_and_html(estimator: Any, form: str) -> None:
    name = type(estimator).__name__
    steps = Pipeline([("step", quick(estimator))])
    fitted_steps = Pipeline([("step", shared(estimator, form))])
    for shown in (quick(estimator), shared(estimator, form), steps, fitted_steps):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text, page = repr(shown), shown._repr_html_()
        assert f"{name}(" in text, text
        assert name in page, "the HTML page does not name it"
        assert "<div" in page, "not an HTML page"
        equal(sorted(shown._repr_mimebundle_()), ["text/html", "text/plain"], "what notebooks are given")
    equal(repr(shared(estimator, form)), repr(quick(estimator)), "repr after fit")


def check_in_a_pipeline_it_does_the_same(estimator: Any, form: str) -> None:
    X, expected = make_X(form), respond(shared(estimator, form), make_X(form))
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            step = quick(estimator)
            params = {}
            if is_classifier(step):
                params["groups" if routing else "step__groups"] = lesions()[2]
                step = step.set_fit_request(groups=True) if routing else step
            pipeline = Pipeline([("step", step)]).fit(X, lesions()[1], **params)
            same_bits(respond(pipeline, X), expected, f"in a pipeline, with metadata routing {routing}")
