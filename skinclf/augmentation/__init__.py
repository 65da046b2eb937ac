"""Random changes of training images: drawn for each image, then applied to a batch at once."""

from skinclf.augmentation._augmenter import LesionAugmenter

__all__ = ["LesionAugmenter"]
