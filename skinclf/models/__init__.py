"""Torch modules. Nothing in here knows of scikit-learn or skorch."""

from skinclf.models._architectures import Backbone, build_backbone
from skinclf.models._efficientnet_lite import EfficientNetLite, efficientnet_lite0
from skinclf.models._fusion import FusedNetwork
from skinclf.models._lesion_cnn import LesionCNN, lesion_cnn
from skinclf.models._loss import WeightedCrossEntropy
from skinclf.models._standardized import StandardizedNetwork
from skinclf.models._weights import WeightsReport, load_weights

__all__ = [
    "Backbone",
    "EfficientNetLite",
    "FusedNetwork",
    "LesionCNN",
    "StandardizedNetwork",
    "WeightedCrossEntropy",
    "WeightsReport",
    "build_backbone",
    "efficientnet_lite0",
    "lesion_cnn",
    "load_weights",
]
