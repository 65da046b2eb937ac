"""`LesionFeatures`: images to the features of a network that is not trained any further."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, InvalidParameterError, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skinclf._random import RandomStateLike, torch_generator
from skinclf._validation import ImageShape
from skinclf.estimator._batches import ImageDataset, compute_logits
from skinclf.estimator._classifier import LesionCNNClassifier
from skinclf.estimator._device import choose_device, choose_precision
from skinclf.estimator._guard import all_fingerprints
from skinclf.estimator._images import read_images
from skinclf.estimator._memory import explain_out_of_memory
from skinclf.estimator._parameters import CONSTRAINTS, unchanged_on_error
from skinclf.estimator._seeds import FitSeeds, seeded_torch
from skinclf.estimator._standardization import channel_scaling, warn_of_misfits
from skinclf.models import FusedNetwork, StandardizedNetwork, build_backbone
from skinclf.models._architectures import architecture_name, check_architecture
from skinclf.models._head_input import find_head_input
from skinclf.models._symmetries import SymmetryMean
from skinclf.preprocessing._cache import PixelCache
from skinclf.preprocessing._file_images import reading

_N_CLASSES = 2
"""Of the output layer, which is built and not used."""

_LIKE_THE_CLASSIFIERS = (
    "architecture", "architecture_params", "weights", "crop", "image_shape", "batch_size", "device",
    "mixed_precision", "n_jobs", "memory_limit", "cache_dir", "random_state",
)  # fmt: skip
_TAKEN_OVER = (
    "crop", "image_shape", "batch_size", "device", "mixed_precision", "n_jobs", "memory_limit", "cache_dir",
)  # fmt: skip


class LesionFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into the features of a network whose weights stay as they are.

    The features are what goes into the output layer of the network. A linear classifier on those of an ImageNet
    network is trained in seconds, and ``make_pipeline(LesionFeatures(), StandardScaler(), LogisticRegression())``
    is a scikit-learn classifier of images.

    This is a research tool, not a medical device.

    Parameters
    ----------
    architecture : str, callable, or torch.nn.Module class or instance, default="efficientnet_lite0"
        The network, as in `LesionCNNClassifier`, with its output layer: a linear layer or a convolution. A
        `skinclf.models.StandardizedNetwork`, such as ``classifier.net_.module_``, brings its own mean and
        deviation; `from_classifier` does the same.
    architecture_params : dict, default=None
        For `architecture`.
    weights : None, "imagenet" or path, default="imagenet"
        What is in the network: ``"imagenet"``, which for ``efficientnet_lite0`` come with the extra
        ``pretrained``; a file, such as ``LesionCNNClassifier.save`` writes; or None. Images are standardised as
        the weights expect it. None stands for the weights that `architecture` brings, where it is a network;
        otherwise they are random, and their features are worth little.
    image_size : int, default=96
        Side in pixels of images that are read from paths. Arrays are used in the size that they have.
    crop : {"center", None}, default="center"
        How files are made square, as in `skinclf.preprocessing.ImageLoader`.
    image_shape : tuple of int (height, width, channels), default=None
        How the rows of a 2-D ``X`` are to be read, as in `LesionCNNClassifier`.
    tta : bool, default=False
        Whether to average the features over the eight symmetries of the square (four of images that are not
        square), in eight times the time.
    batch_size : int, default=64
        Images in a batch.
    device : str, default="auto"
        A torch device; ``"auto"`` takes a CUDA GPU if there is one, else the CPU.
    mixed_precision : bool or "auto", default="auto"
        Whether to compute in bfloat16; ``"auto"`` does so on a GPU that can.
    n_jobs : int, default=None
        Threads that decode files, as in `skinclf.preprocessing.ImageLoader`.
    memory_limit : int, "auto" or None, default="auto"
        Bytes that decoded files may take, as in `LesionCNNClassifier`.
    cache_dir : str or path, default=None
        Folder in which decoded files and features are kept: an image is decoded and goes through the network once,
        whatever folds and searches it is in, and in whatever process. Features are known by the pixels of the
        image, the weights and the layers of the network, and the version of torch; not by the code of a network
        of your own. ``Pipeline(memory=...)`` keeps those of whole training sets instead.
    random_state : int, RandomState, Generator or None, default=None
        Draws the weights if there are none.

    Attributes
    ----------
    network_ : skinclf.models.StandardizedNetwork
        The network up to its output layer, on the CPU, with mean and deviation of the images.
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the images that the network sees.
    n_features_in_ : int
        ``height * width * channels``.
    value_range_ : tuple of float
        The scale of the images: ``(0, 1)`` for uint8 and for floats in 0–1, else lowest and highest value.

    See Also
    --------
    LesionCNNClassifier : Trains the network, too.

    Notes
    -----
    ``fit`` learns the shape of the images, and where the network expects nothing else their mean and deviation; no
    label is looked at. So features of ImageNet weights cannot leak, whatever split follows. A network that was
    trained on lesions knows their labels: what is fitted on its features must be judged on lesions that neither
    has seen, and cross-validating it on the training lesions of the network would flatter it.

    References
    ----------
    Donahue et al., "DeCAF: a deep convolutional activation feature for generic visual recognition", ICML 2014.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinclf import LesionFeatures
    >>> from skinclf.datasets import make_lesions
    >>> lesions = make_lesions(n_lesions=42, image_size=16, random_state=0)
    >>> features = LesionFeatures("lesion_cnn", weights=None, random_state=0)  # random; "imagenet" are better
    >>> features.fit_transform(lesions.images).shape
    (84, 96)
    >>> model = make_pipeline(features, StandardScaler(), LogisticRegression())
    >>> model.fit(lesions.images, lesions.target).predict_proba(lesions.images).shape
    (84, 7)
    """

    _parameter_constraints: dict[str, list[Any]] = {name: CONSTRAINTS[name] for name in _LIKE_THE_CLASSIFIERS} | {
        "image_size": [Interval(Integral, 8, None, closed="left")],
        "tta": ["boolean"],
    }

    def __init__(
        self,
        architecture: str | Callable[..., nn.Module] | nn.Module = "efficientnet_lite0",
        *,
        architecture_params: dict[str, Any] | None = None,
        weights: str | os.PathLike[str] | None = "imagenet",
        image_size: int = 96,
        crop: Literal["center"] | None = "center",
        image_shape: ImageShape | None = None,
        tta: bool = False,
        batch_size: int = 64,
        device: str = "auto",
        mixed_precision: bool | str = "auto",
        n_jobs: int | None = None,
        memory_limit: int | str | None = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.architecture = architecture
        self.architecture_params = architecture_params
        self.weights = weights
        self.image_size = image_size
        self.crop = crop
        self.image_shape = image_shape
        self.tta = tta
        self.batch_size = batch_size
        self.device = device
        self.mixed_precision = mixed_precision
        self.n_jobs = n_jobs
        self.memory_limit = memory_limit
        self.cache_dir = cache_dir
        self.random_state = random_state

    @classmethod
    def from_classifier(cls, classifier: Any) -> Self:
        """Return the features that a fitted classifier has learnt.

        Parameters
        ----------
        classifier : LesionCNNClassifier
            Fitted. Its network is copied. Where it takes metadata, the features are those of the image alone.

        Returns
        -------
        LesionFeatures
            Fitted; it takes images of the shape and scale that the classifier takes. `batch_size`, `cache_dir` and
            whatever says how images are read are those of the classifier.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        TypeError
            If it is no `LesionCNNClassifier`.

        Examples
        --------
        >>> from skinclf import LesionCNNClassifier, LesionFeatures
        >>> from skinclf.datasets import make_lesions
        >>> lesions = make_lesions(n_lesions=21, image_size=16, random_state=0)
        >>> trained = LesionCNNClassifier(max_epochs=1, random_state=0).fit(lesions.images, lesions.target)
        >>> LesionFeatures.from_classifier(trained).transform(lesions.images).shape
        (42, 96)
        """
        if not isinstance(classifier, LesionCNNClassifier):
            raise TypeError(
                f"classifier must be a fitted LesionCNNClassifier; got {type(classifier).__name__}. Of a Pipeline "
                "or a search pass the classifier inside, such as pipeline[-1] or search.best_estimator_."
            )
        check_is_fitted(classifier)
        params = {name: getattr(classifier, name) for name in _TAKEN_OVER}
        height, width, channels = classifier.image_shape_
        if height == width and channels == 3 and height >= 8:
            params["image_size"] = height
        features = cls(copy.deepcopy(classifier.net_.module_).cpu(), weights=None, **params)
        for name in ("image_shape_", "n_features_in_", "value_range_", "feature_names_in_"):
            if hasattr(classifier, name):
                setattr(features, name, getattr(classifier, name))
        features._build(None)
        return features

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the shape of the images, and make the network ready for it.

        Parameters
        ----------
        X : DataFrame with a column ``image``, paths, or array of images
            As `LesionCNNClassifier` takes them.
        y : ignored
            Present by convention.

        Returns
        -------
        LesionFeatures
            The fitted transformer.

        Raises
        ------
        ValueError, TypeError
            If a parameter or ``X`` is wrong, or the network does not take the images or has no output layer.
        ImportError, FileNotFoundError
            If the weights are not on this machine.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """Do what `fit` and `transform` do, and read the images once.

        Parameters
        ----------
        X : as for `fit`
            Images or paths.
        y : ignored
            Present by convention.

        Returns
        -------
        ndarray of float32, shape (n_images, n_features)
            The features.
        """
        return self._compute(self._fit(X))

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the features of images.

        Parameters
        ----------
        X : as for `fit`
            Images of the shape that it was fitted on, or paths.

        Returns
        -------
        ndarray of float32, shape (n_images, n_features)
            The same for an image alone and among others, up to rounding.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError, TypeError
            If ``X`` breaks the image contract or has another shape or scale than at `fit`.
        """
        check_is_fitted(self)
        images, _ = read_images(self, X, reset=False)
        return self._compute(images)

    def _fit(self, X: Any) -> Any:
        """Fit, and return the images."""
        self._check_parameters()
        with unchanged_on_error(self):
            images, _ = read_images(self, X, reset=True)
            with reading(images):
                self._build(images)
        return images

    def _check_parameters(self) -> None:
        try:
            validate_parameter_constraints(
                self._parameter_constraints, self.get_params(deep=False), type(self).__name__
            )
        except InvalidParameterError as error:
            raise ValueError(str(error)) from error
        choose_precision(self.mixed_precision, choose_device(self.device))
        check_architecture(self.architecture, self.weights)

    def _build(self, images: Any) -> None:
        """Make the network; `images` are needed where it expects no mean and deviation of its own."""
        given = self.architecture if isinstance(self.architecture, StandardizedNetwork) else None
        network = self.architecture if given is None else given.network
        seeds = FitSeeds.spawn(self.random_state)
        with seeded_torch(seeds.torch):  # a network of the user's own may draw from the global generators
            backbone = build_backbone(
                network.network if isinstance(network, FusedNetwork) else network,
                self.image_shape_,
                _N_CLASSES,
                params=self.architecture_params,
                weights=self.weights,
                generator=torch_generator(seeds.weights),
            )
            warn_of_misfits(backbone, stacklevel=4)
            name = architecture_name(self.architecture)
            features, n_features = find_head_input(backbone.network.cpu(), self.image_shape_, name)
        if given is not None and self.weights is None:
            self._check_scale_of(given)
            mean, scale = given.mean.flatten().tolist(), given.scale.flatten().tolist()
        else:
            mean, scale = channel_scaling(
                backbone, images, np.arange(len(images)), value_range=self.value_range_, stacklevel=4
            )
        module = StandardizedNetwork(features, mean=mean, scale=scale)
        self.network_ = module.eval().requires_grad_(False)
        self._n_features_out = n_features

    def _check_scale_of(self, given: StandardizedNetwork) -> None:
        if given.mean.numel() != self.image_shape_[2]:
            raise ValueError(
                f"architecture standardises images of {given.mean.numel()} channel(s); X has images of "
                f"{self.image_shape_[2]}."
            )
        low, high = float(given.mean.min()), float(given.mean.max())
        if self.value_range_ == (0.0, 1.0) and (low < 0 or high > 1):
            raise ValueError(
                f"architecture was trained on images whose channels have means from {low:.3g} to {high:.3g}, and "
                "X is uint8 or in 0-1. Pass X through the same steps as its training images."
            )

    def _compute(self, images: Any) -> NDArray[np.float32]:
        device = choose_device(self.device)
        # A copy goes to another device, so that a pickle can be read where there is none.
        network = self.network_ if device == "cpu" else copy.deepcopy(self.network_).to(device)
        network.autocast_dtype = choose_precision(self.mixed_precision, device)
        module = SymmetryMean(network) if self.tta else network

        def features_of(rows: NDArray[np.intp]) -> NDArray[np.float32]:
            computed = compute_logits(module, ImageDataset(images, rows), self.batch_size, device)
            return computed.float().numpy()

        with (
            explain_out_of_memory(
                "computing features", device=device, batch_size=self.batch_size, image_shape=self.image_shape_
            ),
            reading(images),
        ):
            if self.cache_dir is None:
                return features_of(np.arange(len(images)))
            return self._cached(images, features_of, str(network.autocast_dtype))

    def _cached(
        self, images: Any, features_of: Callable[[NDArray[np.intp]], NDArray[np.float32]], precision: str
    ) -> NDArray[np.float32]:
        """Look features up in the folder, and compute those that nobody has computed yet."""
        n_bytes = 4 * self._n_features_out
        made_by = (_network_digest(self.network_), str(self.tta), precision, torch.__version__)
        cache = PixelCache(self.cache_dir, "features", made_by, (n_bytes,))  # type: ignore[arg-type]
        form = repr((images.dtype.kind, tuple(images.shape[1:]))).encode()
        prints = all_fingerprints(images)
        keys = np.array(
            [hashlib.blake2b(p.tobytes() + form, digest_size=16).digest() for p in prints], dtype="S16"
        )
        kept, rows, _ = cache.load(keys, lambda rows: (features_of(rows).view(np.uint8), {}))
        return np.asarray(kept[rows]).view(np.float32)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # always float32
        is_drawn = self.weights is None and not isinstance(self.architecture, nn.Module)
        tags.non_deterministic = is_drawn and self.random_state is None
        return tags


def _network_digest(network: nn.Module) -> str:
    """Return what tells networks apart: their layers and their weights."""
    digest = hashlib.blake2b(repr(network).encode(), digest_size=16)
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
