"""Checks of parameters: what is set is read, also inside of other estimators; a wrong one is named."""

from __future__ import annotations

import inspect
from typing import Any

from image_forms import equal, fit, forms_of, make_X, quick, refused
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skinclf.augmentation import LesionAugmenter


def check_parameters_are_set_and_read(estimator: Any) -> None:
    signature = inspect.signature(type(estimator)).parameters
    defaults = {name: parameter.default for name, parameter in signature.items()}
    equal(type(estimator)().get_params(deep=False), defaults, "parameters of an estimator that is given none")
    changed = quick(estimator)
    before = changed.get_params(deep=False)
    assert changed.set_params(**before) is changed, "set_params returned something else"
    for name, value in before.items():
        assert changed.get_params(deep=False)[name] is value, f"{name} is another after it was set"
    pipeline = Pipeline([("step", changed)])
    for name in before:
        mark = object()
        pipeline.set_params(**{f"step__{name}": mark})
        assert pipeline.get_params()[f"step__{name}"] is mark, f"{name}, read from the pipeline"
        assert changed.get_params(deep=False)[name] is mark, f"{name}, set by the pipeline"
    with refused(ValueError, "no_such_parameter"):
        quick(estimator).set_params(no_such_parameter=1)


def check_nested_parameters_are_set_and_read(estimator: Any) -> None:
    """Parameters of a parameter: the augmentation of a classifier, and anything else that is an estimator."""
    outer = quick(estimator)
    if "augmentation" in outer.get_params(deep=False):
        outer.set_params(augmentation=LesionAugmenter())
    inner = {name: value for name, value in outer.get_params(deep=False).items() if hasattr(value, "get_params")}
    for name, value in inner.items():
        for inner_name in value.get_params():
            mark = object()
            outer.set_params(**{f"{name}__{inner_name}": mark})
            assert outer.get_params(deep=True)[f"{name}__{inner_name}"] is mark, f"{name}__{inner_name}, read"
            assert getattr(value, inner_name) is mark, f"{name}__{inner_name}, set"
        with refused(ValueError, "no_such"):
            outer.set_params(**{f"{name}__no_such": 1})
    for name in inner:
        cloned = clone(quick(estimator).set_params(**{name: clone(quick(inner[name]))}))
        assert cloned.get_params(deep=False)[name] is not inner[name], f"{name} is not cloned"


def check_wrong_parameters_are_named_in_fit(estimator: Any) -> None:
    """Nothing is checked in ``__init__`` or ``set_params``, and everything in ``fit``, whatever ``X`` is."""
    X = make_X(forms_of(estimator)[0])
    for name in estimator.get_params(deep=False):
        wrong = quick(estimator).set_params(**{name: object()})
        with refused(ValueError, name, type(estimator).__name__):
            fit(wrong, X)
