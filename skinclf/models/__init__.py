"""Torch modules. Nothing in here knows of scikit-learn or skorch."""

from skinclf.models._lesion_cnn import LesionCNN, lesion_cnn
from skinclf.models._loss import WeightedCrossEntropy
from skinclf.models._standardized import StandardizedNetwork

__all__ = ["LesionCNN", "StandardizedNetwork", "WeightedCrossEntropy", "lesion_cnn"]
