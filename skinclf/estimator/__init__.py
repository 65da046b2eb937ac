"""`LesionCNNClassifier`, a scikit-learn classifier around a network that skorch trains."""

from skinclf.estimator._classifier import LesionCNNClassifier

__all__ = ["LesionCNNClassifier"]
