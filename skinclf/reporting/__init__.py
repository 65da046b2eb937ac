"""Results on a page: displays that hold numbers and draw them, and the evaluation report."""

from skinclf.reporting._confusion_display import LesionConfusionDisplay
from skinclf.reporting._report import NOTICE, EvaluationReport
from skinclf.reporting._training_history import TrainingHistoryDisplay

__all__ = ["NOTICE", "EvaluationReport", "LesionConfusionDisplay", "TrainingHistoryDisplay"]
