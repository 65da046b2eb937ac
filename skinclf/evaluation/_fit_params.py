"""How groups reach ``fit``, so that a split that a model makes inside ``fit`` is by lesion too."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from numpy.typing import NDArray
from sklearn import get_config
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from skinclf._leakage import LeakageError, LeakageWarning
from skinclf.evaluation._groups import Groups
from skinclf.evaluation._leakage import OnLeakage, find_leaks


def add_groups(params: Mapping[str, Any] | None, estimator: Any, groups: Groups | None) -> dict[str, Any]:
    """Add the groups to the parameters of ``fit``, if the estimator has a use for them.

    They go to an estimator whose ``fit`` has a parameter `groups`, to the last step of a Pipeline if that is
    one, and to the splitter of a grid search. They do not go

    - to an estimator that receives a DataFrame and finds the column ``lesion_id`` in it by itself;
    - through a Pipeline with a resampling step (imbalanced-learn), after which rows and groups no longer
      match.

    Parameters
    ----------
    params : mapping or None
        What the caller passes to ``fit``; an entry for the groups in it is left alone.
    estimator : classifier
        Not fitted.
    groups : Groups or None
        The lesions.

    Returns
    -------
    dict
        A new dictionary.

    Raises
    ------
    ValueError
        If metadata routing is enabled and the estimator has not said whether it wants the groups.
    """
    added = dict(params or {})
    if groups is None:
        return added
    final, prefix = last_step(estimator)
    is_search = isinstance(final, BaseSearchCV)
    if final is None or not (is_search or has_fit_parameter(final, "groups")):
        return added
    if get_config()["enable_metadata_routing"]:
        if _requests_groups(estimator, final, is_search):
            added.setdefault("groups", groups.values)
    elif is_search or prefix or groups.source == "groups":
        added.setdefault(f"{prefix}groups", groups.values)
    return added


def check_search(estimator: Any, labels: NDArray[Any], groups: Groups | None, on_leakage: OnLeakage) -> None:
    """Refuse a grid search whose own folds are by image: it would choose parameters by a leaky score.

    Parameters
    ----------
    estimator : classifier
        Not fitted. Nothing happens unless it is a search, or a Pipeline that ends in one.
    labels : ndarray of shape (n_rows,)
        What the folds are stratified by.
    groups : Groups or None
        The lesions; nothing can be said without them.
    on_leakage : {"raise", "warn"}
        What to do.

    Raises
    ------
    LeakageError
        If lesions straddle the folds of the search, and `on_leakage` is ``"raise"``.

    Warns
    -----
    LeakageWarning
        The same, with ``"warn"``.
    """
    search, _ = last_step(estimator)
    if groups is None or not isinstance(search, BaseSearchCV):
        return
    if not hasattr(search.cv, "split") and not isinstance(search.cv, Integral | None):
        return  # row numbers of one training part, which mean nothing for another
    splitter = copy.deepcopy(check_cv(search.cv, labels, classifier=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "the groups parameter is ignored": that is the question
        splits = list(splitter.split(labels, labels, groups.codes))
    leaks = find_leaks(splits, groups, labels.size)
    if not leaks:
        return
    message = (
        f"The {type(search).__name__} inside draws its own folds with {type(splitter).__name__}, which tears "
        f"{leaks[0].n_groups:,} lesions apart in its first fold, so that it would choose parameters by a "
        f"flattered score. Give it cv=StratifiedGroupKFold({len(splits)})"
    )
    if on_leakage == "raise":
        raise LeakageError(f"{message}, or pass on_leakage='warn'.")
    warnings.warn(f"{message}.", LeakageWarning, stacklevel=3)


def check_groups_inside(estimator: Any, X: Any, groups: Groups | None) -> None:
    """Say so if a search keeps the lesions from a classifier that makes a split of its own.

    Without metadata routing a search hands groups to its splitter and to nobody else.

    Parameters
    ----------
    estimator : classifier
        Not fitted. Nothing happens unless it is a search, or a Pipeline that ends in one.
    X : the images
        A column ``lesion_id`` gets through a search, though not through a Pipeline.
    groups : Groups or None
        The lesions.

    Warns
    -----
    LeakageWarning
        If the classifier inside would put images aside without knowing their lesions.
    """
    search, prefix = last_step(estimator)
    if groups is None or not isinstance(search, BaseSearchCV) or get_config()["enable_metadata_routing"]:
        return
    inner, inner_prefix = last_step(search.estimator)
    if inner is None or not has_fit_parameter(inner, "groups") or not getattr(inner, "early_stopping", True):
        return
    if not (prefix or inner_prefix) and "lesion_id" in getattr(X, "columns", ()):
        return
    warnings.warn(
        f"A {type(search).__name__} hands groups to its splitter only: the {type(inner).__name__} inside does not "
        "get them, and its split for early stopping is not by lesion. Pass a DataFrame with 'lesion_id' to the "
        "search directly, or enable metadata routing and call set_fit_request(groups=True) on the classifier.",
        LeakageWarning,
        stacklevel=3,
    )


def last_step(estimator: Any) -> tuple[Any, str]:
    """Return the last step of a Pipeline and the prefix of its parameters of ``fit``.

    Anything else is its own last step. The step is None if the rows that it is fitted on need not be the rows
    that the Pipeline is given, or if there is nothing to fit.
    """
    prefix = ""
    while isinstance(estimator, Pipeline):
        if any(hasattr(step, "fit_resample") for _, step in estimator.steps):
            return None, prefix
        name, estimator = estimator.steps[-1]
        prefix += f"{name}__"
    return (estimator if hasattr(estimator, "fit") else None), prefix


def _requests_groups(estimator: Any, final: Any, is_search: bool) -> bool:
    if not is_search and get_routing_for_object(final).fit.requests.get("groups") is None:
        name = type(final).__name__
        raise ValueError(
            f"Metadata routing is enabled, and {name}.fit takes groups, but nobody has said whether it should get "
            f"them: call set_fit_request(groups=True) on the {name} (recommended: its inner split is then by "
            "lesion), or set_fit_request(groups=False)."
        )
    return bool(get_routing_for_object(estimator).consumes(method="fit", params=["groups"]))
