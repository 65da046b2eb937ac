"""The folds of a cross-validation: sizes, scores, epochs, seconds, curves, and what was predicted in them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from skinclf.evaluation import CrossValidationResult
from skinclf.reporting._fitted import find_model
from skinclf.reporting._training_history import TrainingHistoryDisplay, collect_histories


def describe_folds(result: CrossValidationResult) -> pd.DataFrame:
    """Return sizes, scores, epochs and seconds of each fold."""
    sizes = pd.DataFrame(
        {
            "train_images": [train.size for train in result.train_indices],
            "test_images": [test.size for test in result.test_indices],
        },
        index=result.scores.index,
    )
    if result.groups is not None:
        sizes["test_lesions"] = [pd.Series(result.groups[test]).nunique() for test in result.test_indices]
    folds = pd.concat([result.scores, sizes], axis=1)
    models = [find_model(estimator).model for estimator in result.estimators or ()]
    for column, attribute in (("best_epoch", "best_epoch_"), ("epochs", "n_epochs_")):
        if models and all(getattr(model, attribute, None) is not None for model in models):
            folds[column] = [int(getattr(model, attribute)) for model in models]
    folds["fit_seconds"] = result.fit_seconds
    folds["score_seconds"] = result.score_seconds
    return folds


def find_history(result: CrossValidationResult) -> TrainingHistoryDisplay | None:
    """Return the curves of training, if all models have one; not drawn yet."""
    estimators = result.estimators or ()
    histories = [getattr(find_model(estimator).model, "history_", None) for estimator in estimators]
    if not histories or not all(isinstance(history, pd.DataFrame) for history in histories):
        return None
    return collect_histories(estimators)


def held_out_rows(result: CrossValidationResult) -> tuple[Any, Any, Any]:
    """Return true labels, probabilities and lesions of the rows that some fold tests."""
    if result.y_proba is None:
        raise ValueError(
            "The result holds no probabilities, so no curves: the classifier has no predict_proba. Cross-validate "
            "one with predict_proba."
        )
    tested = result.tested
    groups = None if result.groups is None else result.groups[tested]
    return result.y_true[tested], result.y_proba[tested], groups
