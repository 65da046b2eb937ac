"""Results on a page: displays that hold numbers and draw them, and the evaluation report."""

from skinclf.reporting._audit_display import LeakageAuditDisplay
from skinclf.reporting._confusion_display import LesionConfusionDisplay
from skinclf.reporting._precision_recall_display import LesionPrecisionRecallDisplay
from skinclf.reporting._reliability_display import ReliabilityDisplay
from skinclf.reporting._report import NOTICE, EvaluationReport
from skinclf.reporting._risk_coverage_display import RiskCoverageDisplay
from skinclf.reporting._roc_display import LesionRocDisplay
from skinclf.reporting._subgroup_display import SubgroupDisplay
from skinclf.reporting._training_history import TrainingHistoryDisplay

__all__ = [
    "NOTICE",
    "EvaluationReport",
    "LeakageAuditDisplay",
    "LesionConfusionDisplay",
    "LesionPrecisionRecallDisplay",
    "LesionRocDisplay",
    "ReliabilityDisplay",
    "RiskCoverageDisplay",
    "SubgroupDisplay",
    "TrainingHistoryDisplay",
]
