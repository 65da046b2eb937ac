"""Checks of transformers: tables and names where they mean something, and images where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import sklearn
from image_forms import PATH_FORMS, equal, lesions, make_X, quick, refused, respond, same_bits, shared, takes_paths
from sklearn.pipeline import make_pipeline

from skinclf.preprocessing import ImageFlattener


def check_fit_transform_is_fit_and_transform(estimator: Any, form: str) -> None:
    X = make_X(form)
    together = quick(estimator).fit_transform(X, lesions()[1])
    same_bits(together, respond(shared(estimator, form), X), "fit_transform")


def check_fit_transform_keeps_type_and_shape(estimator: Any, form: str) -> None:
    together, apart = quick(estimator).fit_transform(make_X(form)), respond(shared(estimator, form), make_X(form))
    equal(together.shape, apart.shape, "shape")
    equal(together.dtype, apart.dtype, "dtype")


def check_feature_names_out_are_those_of_the_columns(estimator: Any, form: str) -> None:
    fitted = shared(estimator, form)
    result = respond(fitted, make_X(form))
    if result.ndim != 2:
        return
    names = fitted.get_feature_names_out()
    equal(names.dtype, np.dtype(object), "dtype")
    equal(len(names), result.shape[1], "names")
    equal(len(set(names)), len(names), "different names")


def check_a_table_is_given_where_rows_are_and_images_stay_an_array(estimator: Any, form: str) -> None:
    X, plain = make_X(form), respond(shared(estimator, form), make_X(form))
    asked = quick(estimator)
    if hasattr(asked, "set_output"):
        asked = asked.set_output(transform="pandas")
    results = {"set_output": asked.fit(X).transform(X)}
    with sklearn.config_context(transform_output="pandas"):
        results["set_config"] = quick(estimator).fit(X).transform(X)
        results["set_config, fit_transform"] = quick(estimator).fit_transform(X)
    for way, result in results.items():
        equal(result.shape, plain.shape, way)
        if plain.ndim != 2:
            assert type(result) is np.ndarray, f"{way}: images in a {type(result).__name__}"
            continue
        assert isinstance(result, pd.DataFrame), f"{way}: rows in a {type(result).__name__}"
        equal(list(result.columns), list(shared(estimator, form).get_feature_names_out()), way)
        if isinstance(X, pd.DataFrame):
            assert result.index.equals(X.index), f"{way}: another index"
    table = results["set_output"]
    same_bits(table if plain.ndim != 2 else table.to_numpy(), plain, "set_output")


def check_a_pipeline_can_be_asked_for_a_table(estimator: Any, form: str) -> None:
    pipeline = make_pipeline(quick(estimator), ImageFlattener()).set_output(transform="pandas")
    table = pipeline.fit_transform(make_X(form), lesions()[1])
    equal(type(table), pd.DataFrame, "what comes out")
    equal(table.shape, (56, 192), "shape")
    equal(table.columns[0], "row0_column0_red", "first column")


def check_inverse_transform_gives_the_images_back(estimator: Any, form: str) -> None:
    fitted = shared(estimator, form)
    if not hasattr(fitted, "inverse_transform"):
        return
    images = lesions()[0]
    back = fitted.inverse_transform(respond(fitted, make_X(form)))
    equal(back.shape, images.shape, "shape")
    np.testing.assert_allclose(back, images / 255, atol=1e-6)
    with refused(ValueError, "7", "192"):
        fitted.inverse_transform(np.zeros((2, 7)))


def check_what_it_does_not_take_is_sent_to_the_right_place(estimator: Any) -> None:
    if takes_paths(estimator):
        for X in (lesions()[0].copy(), make_X("flat"), make_X("flat_frame")):
            with refused(ValueError, type(estimator).__name__, "paths"):
                quick(estimator).fit(X)
            with refused(ValueError, type(estimator).__name__, "paths"):
                quick(estimator).transform(X)
        return
    for form in PATH_FORMS:
        X = make_X(form)
        with refused(ValueError, type(estimator).__name__, "ImageLoader"):
            quick(estimator).fit(X)
        with refused(ValueError, "ImageLoader"):
            shared(estimator, "uint8").transform(X)
