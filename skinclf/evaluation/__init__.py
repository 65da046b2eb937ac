"""Honest evaluation of any scikit-learn classifier: splits by lesion, clinical metrics, intervals."""

from skinclf.evaluation._baselines import null_models
from skinclf.evaluation._cross_validation import CrossValidationResult, cross_validate
from skinclf.evaluation._intervals import BootstrapInterval, bootstrap_ci
from skinclf.evaluation._leakage import LeakageError, LeakageWarning
from skinclf.evaluation._metrics import ClassificationMetrics, classification_metrics

__all__ = [
    "BootstrapInterval",
    "ClassificationMetrics",
    "CrossValidationResult",
    "LeakageError",
    "LeakageWarning",
    "bootstrap_ci",
    "classification_metrics",
    "cross_validate",
    "null_models",
]
