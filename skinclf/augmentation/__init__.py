"""Random changes of training images: drawn for each image, then applied to a batch at once."""

from skinclf.augmentation import _fork  # noqa: F401  (a forked child is told to compute on one thread)
from skinclf.augmentation._augmenter import LesionAugmenter
from skinclf.augmentation._mixing import BatchMixer
from skinclf.augmentation._over_sampler import AugmentedOverSampler

__all__ = ["AugmentedOverSampler", "BatchMixer", "LesionAugmenter"]
