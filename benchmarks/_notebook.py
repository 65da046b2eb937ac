"""The network of the public notebooks that HAM10000 is usually met with, for comparison."""

from __future__ import annotations

from torch import nn

from skinclf._validation import ImageShape


def notebook_network(image_shape: ImageShape, n_classes: int) -> nn.Module:
    """Two convolutions of 32 channels at full size, two of 64 at half, then dense layers.

    The layers are those of a widely copied Keras notebook on Kaggle ("Step wise approach: CNN model"): 3 × 3
    kernels, ReLU, max-pooling by two, dropout 0.25, 0.4 and 0.5, 128 hidden units.
    """
    height, width, channels = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.4),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, n_classes),
    )
