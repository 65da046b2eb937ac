"""Honest evaluation of any scikit-learn classifier: splits by lesion, clinical metrics, intervals."""

from skinclf._leakage import LeakageError, LeakageWarning
from skinclf.evaluation._abstention import RiskCoverage, risk_coverage
from skinclf.evaluation._audit import LeakageAudit, audit_leakage
from skinclf.evaluation._baselines import null_models
from skinclf.evaluation._calibration import CalibrationMetrics, calibration_metrics
from skinclf.evaluation._challenge import isic_challenge_scores
from skinclf.evaluation._comparison import ModelComparison, compare_models
from skinclf.evaluation._conformal import ConformalClassifier, ConformalResult, conformal_sets
from skinclf.evaluation._cross_validation import CrossValidationResult, cross_validate
from skinclf.evaluation._ensemble import LesionEnsemble
from skinclf.evaluation._intervals import BootstrapInterval, bootstrap_ci, bootstrap_table
from skinclf.evaluation._lookup import LookupClassifier
from skinclf.evaluation._metrics import ClassificationMetrics, classification_metrics
from skinclf.evaluation._operating_points import operating_points
from skinclf.evaluation._subgroups import SubgroupMetrics, subgroup_metrics
from skinclf.evaluation._temperature import (
    CrossFittedTemperature,
    TemperatureScaling,
    apply_temperature,
    cross_fit_temperature,
    fit_temperature,
)

__all__ = [
    "BootstrapInterval",
    "CalibrationMetrics",
    "ClassificationMetrics",
    "ConformalClassifier",
    "ConformalResult",
    "CrossFittedTemperature",
    "CrossValidationResult",
    "LeakageAudit",
    "LeakageError",
    "LeakageWarning",
    "LesionEnsemble",
    "LookupClassifier",
    "ModelComparison",
    "RiskCoverage",
    "SubgroupMetrics",
    "TemperatureScaling",
    "apply_temperature",
    "audit_leakage",
    "bootstrap_ci",
    "bootstrap_table",
    "calibration_metrics",
    "classification_metrics",
    "compare_models",
    "conformal_sets",
    "cross_fit_temperature",
    "cross_validate",
    "fit_temperature",
    "isic_challenge_scores",
    "null_models",
    "operating_points",
    "risk_coverage",
    "subgroup_metrics",
]
