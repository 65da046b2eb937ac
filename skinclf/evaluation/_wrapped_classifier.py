"""What the classifiers that wrap another one share: checks, labels, tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import assert_all_finite, column_or_1d, get_tags, indexable
from sklearn.utils._param_validation import HasMethods, InvalidParameterError, validate_parameter_constraints
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import as_labels
from skinclf.evaluation._cross_validation import CrossValidationResult, cross_validate

NEEDS_PROBABILITIES: list[Any] = [HasMethods(["fit", "predict_proba"])]
"""Constraint of the parameter `estimator`, in scikit-learn's notation."""


class WrappedClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Base of classifiers that wrap another one, and have its probabilities as ``predict_proba``."""

    _parameter_constraints: Mapping[str, list[Any]]
    estimator: Any
    estimator_: Any
    classes_: NDArray[Any]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images, in any form that the estimator takes.

        Returns
        -------
        ndarray of float, shape (n_images, n_classes)
            0–1; a row sums to 1. Columns are in the order of ``classes_``.
        """
        check_is_fitted(self)
        proba: NDArray[np.float64] = self.estimator_.predict_proba(X)
        return proba

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable class.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images, in any form that the estimator takes.

        Returns
        -------
        ndarray of shape (n_images,)
            Labels; of equally probable classes the first.
        """
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    def _check_fit(self, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
        """Check the parameters and the labels; return what can be indexed by row, and the labels as an array."""
        name = type(self).__name__
        try:
            validate_parameter_constraints(self._parameter_constraints, self.get_params(deep=False), name)
        except InvalidParameterError as error:
            raise ValueError(str(error)) from error
        if y is None:
            raise ValueError(f"{name} requires y to be passed, but the target y is None.")
        labels: NDArray[Any] = column_or_1d(y, warn=True)
        if labels.dtype.kind == "f":
            assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        known = np.unique(as_labels(labels, "y"))
        if known.size < 2:
            raise ValueError(f"y holds one class only ({known[0].item()!r}); {name} needs at least two classes.")
        (images,) = indexable(X)
        return images, labels

    def _hold_out(
        self,
        X: Any,
        labels: NDArray[Any],
        groups: Any,
        cv: Any,
        fit_params: Mapping[str, Any],
        random_state: RandomStateLike,
    ) -> tuple[CrossValidationResult, NDArray[np.float64]]:
        """Fit clones of the estimator; return what they predict of the rows that they were not fitted on."""
        result = cross_validate(
            self.estimator,
            X,
            labels,
            groups=groups,
            cv=cv,
            scoring="accuracy",
            params=fit_params,
            random_state=random_state,
        )
        if result.y_proba is None:
            raise TypeError(f"estimator must have predict_proba once it is fitted; {self.estimator!r} has not.")
        return result, result.y_proba

    def _take_over(self, fitted: Any, classes: NDArray[Any]) -> None:
        """Keep a fitted estimator, and what it says of itself."""
        self.estimator_ = fitted
        self.classes_ = classes
        self._take_features_of(fitted)

    def _take_features_of(self, fitted: Any) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))
            elif hasattr(self, name):  # of an earlier fit
                delattr(self, name)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        return tags


def is_frozen(estimator: Any) -> bool:
    """Whether the estimator was fitted before, and is not to be fitted again."""
    return isinstance(estimator, FrozenEstimator)


def predict_frozen(estimator: Any, X: Any, labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return probabilities and classes of a frozen estimator; refuse a label that it does not know."""
    classes = np.asarray(estimator.classes_)
    unknown = sorted(set(labels.tolist()) - set(classes.tolist()))
    if unknown:
        raise ValueError(
            f"y holds the label(s) {unknown}, which the frozen estimator was not trained on; it knows "
            f"{classes.tolist()}. Leave these rows out."
        )
    return np.asarray(estimator.predict_proba(X), dtype=np.float64), classes
