"""From what was fitted, a Pipeline or a search perhaps, to the model inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class FittedModel:
    """The model at the end of a fitted estimator.

    Attributes
    ----------
    model : estimator
        The last step of a Pipeline, the best estimator of a search, or the estimator itself.
    has_same_rows : bool
        Whether the model was fitted on the rows that the estimator was fitted on, in their order; a resampling
        step of a Pipeline changes them.
    """

    model: Any
    has_same_rows: bool


def find_model(estimator: Any) -> FittedModel:
    """Unwrap Pipelines and searches, in any nesting."""
    has_same_rows = True
    while True:
        if isinstance(estimator, Pipeline):
            has_same_rows &= not any(hasattr(step, "fit_resample") for _, step in estimator.steps)
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return FittedModel(estimator, has_same_rows)
