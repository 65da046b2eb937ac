"""`LesionCNNClassifier`, a scikit-learn classifier around a network that skorch trains; `LesionFeatures`."""

from skinclf.estimator._classifier import LesionCNNClassifier
from skinclf.estimator._container import ModelFileError
from skinclf.estimator._features import LesionFeatures
from skinclf.estimator._pruning import TrialPruning

__all__ = ["LesionCNNClassifier", "LesionFeatures", "ModelFileError", "TrialPruning"]
