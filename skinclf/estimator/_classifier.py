"""`LesionCNNClassifier`: scikit-learn outside, a network trained by skorch inside."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted

from skinclf._random import RandomStateLike
from skinclf._validation import ImageShape, check_groups, read_input
from skinclf.augmentation import LesionAugmenter
from skinclf.estimator._batches import ImageDataset
from skinclf.estimator._holdout import image_fingerprints, lesion_holdout
from skinclf.estimator._targets import encode_labels, image_weights
from skinclf.estimator._training import (
    FitSeeds,
    build_net,
    build_network,
    choose_device,
    choose_precision,
    history_frame,
    release_after_training,
    seeded_torch,
    train,
)
from skinclf.models import StandardizedNetwork
from skinclf.preprocessing import ImageLoader
from skinclf.preprocessing._pixels import read_pixels
from skinclf.preprocessing._standardizer import channel_statistics

_AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "standard": {},
    "light": {
        "rotation": 0, "zoom": 0, "shift": 0, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0
    },
    "strong": {
        "rotation": 45, "zoom": 0.3, "shift": 0.1, "brightness": 0.25, "contrast": 0.25, "saturation": 0.25,
        "hue": 0.03, "erasing": 0.25,
    },
}  # fmt: skip


class LesionCNNClassifier(ClassifierMixin, BaseEstimator):
    """Classify dermatoscopic images with a convolutional network.

    ``fit`` reads the images (paths or pixels), puts a share of the lesions aside for early stopping, standardises
    and augments batch by batch, trains, and restores the weights of the best epoch. The validation split is by
    lesion: `groups`, else the column ``lesion_id`` of ``X``, else exact copies of an image are kept together.

    This is a research tool, not a medical device.

    Parameters
    ----------
    architecture : "lesion_cnn" or callable, default="lesion_cnn"
        The network. A callable gets ``(image_shape, n_classes, **architecture_params)`` and returns a
        ``torch.nn.Module`` that takes standardised float32 images ``(n_images, channels, height, width)`` and
        returns logits ``(n_images, n_classes)``.
    architecture_params : dict, default=None
        For `architecture`: ``lesion_cnn`` takes ``width``, ``depth`` and ``dropout``, see
        `skinclf.models.lesion_cnn`.
    image_size : int, default=64
        Side in pixels of images that are read from paths. Arrays are used in the size that they have.
    crop : {"center", None}, default="center"
        How files are made square, as in `skinclf.preprocessing.ImageLoader`.
    image_shape : tuple of int (height, width, channels), default=None
        How the rows of a 2-D ``X`` are to be read. None takes rows of ``3 * s * s`` or ``s * s`` values
        (``s >= 8``) as square images and others as strips of one channel.
    augmentation : {"standard", "light", "strong"}, LesionAugmenter or None, default="standard"
        What is drawn anew for each training image in every epoch. ``"standard"`` is ``LesionAugmenter()``,
        ``"light"`` its flips and quarter turns only, ``"strong"`` wider ranges and erasing.
    class_weight : "balanced", dict or None, default="balanced"
        Weight of each class in the loss. ``"balanced"`` gives every class the same total weight, as in
        scikit-learn; a dict has a weight, 0 or more, for each label that is not to weigh 1.
    optimizer : {"adamw", "sgd"} or torch.optim.Optimizer class, default="adamw"
        ``"sgd"`` has a Nesterov momentum of 0.9.
    lr : float, default=0.002
        Learning rate; with ``lr_schedule="onecycle"`` the highest one.
    weight_decay : float, default=0.01
        Decay of the weights in each step, as the optimiser defines it.
    lr_schedule : {"onecycle", "cosine", "plateau"} or None, default="onecycle"
        How the rate changes: up and down once over `max_epochs` (Smith and Topin), down along a cosine, or by a
        tenth after a third of `patience` without improvement.
    label_smoothing : float, default=0.0
        Share of each target that is spread evenly over all classes, in [0, 1).
    batch_size : int, default=64
        Images in a batch.
    max_epochs : int, default=50
        Epochs at most.
    early_stopping : bool, default=True
        Whether to put a validation set aside, to stop when it no longer improves and to restore the weights of
        the best epoch.
    patience : int, default=10
        Epochs without improvement after which training stops.
    monitor : {"valid_loss", "valid_balanced_accuracy", "valid_accuracy"}, default="valid_loss"
        What is to improve. The loss has the weights of the classes in it, and is far less noisy than a mean of
        recalls when a rare class has a handful of images in the validation set.
    validation_fraction : float, default=0.1
        Share of the images, class by class, that is put aside; whole lesions only.
    callbacks : list of skorch callbacks, default=None
        Instances, or tuples of name and instance. They are copied for every fit.
    device : str, default="auto"
        A torch device; ``"auto"`` takes a CUDA GPU if there is one, else the CPU.
    mixed_precision : bool or "auto", default="auto"
        Whether to compute in bfloat16; ``"auto"`` does so on a GPU that can.
    n_jobs : int, default=None
        Threads that decode files, as in `skinclf.preprocessing.ImageLoader`.
    random_state : int, RandomState, Generator or None, default=None
        With an integer, the same data, build, device and number of threads give the same weights, bit for bit.
        Global random states are neither read nor changed.
    verbose : int, default=0
        1 shows a progress bar over the epochs.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The labels, sorted.
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the images that the network sees.
    n_features_in_ : int
        ``height * width * channels``.
    value_range_ : tuple of float
        The scale of the images: ``(0, 1)`` for uint8 and for floats in 0–1, else lowest and highest value.
    net_ : skorch.NeuralNetClassifier
        The trained net; ``net_.module_`` is the torch module.
    history_ : DataFrame
        A row an epoch: ``epoch`` (from 1), ``train_loss``, ``valid_loss``, ``valid_accuracy``,
        ``valid_balanced_accuracy`` (means of the validation set; absent without one), ``lr``, ``seconds``.
    best_epoch_ : int
        The epoch, from 1, whose weights the network has.
    n_epochs_ : int
        Epochs that were trained.
    validation_indices_ : ndarray of int
        The rows of ``X`` that were put aside; empty without early stopping.

    References
    ----------
    He et al., "Delving deep into rectifiers", ICCV 2015 (initial weights). Loshchilov and Hutter, "Decoupled
    weight decay regularization", ICLR 2019 (AdamW). Smith and Topin, "Super-convergence", 2019 (one cycle).

    Examples
    --------
    >>> from skinclf import LesionCNNClassifier
    >>> from skinclf.datasets import make_lesions
    >>> lesions = make_lesions(n_lesions=42, image_size=16, random_state=0)
    >>> classifier = LesionCNNClassifier(max_epochs=2, random_state=0)
    >>> classifier.fit(lesions.images, lesions.target, groups=lesions.groups).n_epochs_
    2
    >>> classifier.predict_proba(lesions.images).shape
    (84, 7)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "architecture": [StrOptions({"lesion_cnn"}), callable],
        "architecture_params": [dict, None],
        "image_size": [Interval(Integral, 8, None, closed="left")],
        "crop": [StrOptions({"center"}), None],
        "image_shape": [tuple, list, None],
        "augmentation": [StrOptions(set(_AUGMENTATIONS)), LesionAugmenter, None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "optimizer": [StrOptions({"adamw", "sgd"}), callable],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "lr_schedule": [StrOptions({"onecycle", "cosine", "plateau"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "monitor": [StrOptions({"valid_balanced_accuracy", "valid_loss", "valid_accuracy"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "callbacks": [list, tuple, None],
        "device": [str],
        "mixed_precision": ["boolean", StrOptions({"auto"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state", np.random.Generator],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        architecture: str | Callable[..., torch.nn.Module] = "lesion_cnn",
        *,
        architecture_params: dict[str, Any] | None = None,
        image_size: int = 64,
        crop: Literal["center"] | None = "center",
        image_shape: ImageShape | None = None,
        augmentation: str | LesionAugmenter | None = "standard",
        class_weight: str | dict[Any, float] | None = "balanced",
        optimizer: str | type[torch.optim.Optimizer] = "adamw",
        lr: float = 0.002,
        weight_decay: float = 0.01,
        lr_schedule: str | None = "onecycle",
        label_smoothing: float = 0.0,
        batch_size: int = 64,
        max_epochs: int = 50,
        early_stopping: bool = True,
        patience: int = 10,
        monitor: str = "valid_loss",
        validation_fraction: float = 0.1,
        callbacks: list[Any] | None = None,
        device: str = "auto",
        mixed_precision: bool | str = "auto",
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.architecture_params = architecture_params
        self.image_size = image_size
        self.crop = crop
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.label_smoothing = label_smoothing
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.monitor = monitor
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.mixed_precision = mixed_precision
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : DataFrame with a column ``image``, paths, or array of images
            The image contract: paths as a DataFrame (with ``lesion_id``, if known), list, Series or array; pixels
            as ``(n_images, height, width, channels)`` or ``(n_images, n_features)``, uint8 in 0–255 or float in
            0–1. Standardised floats are taken too, and rows of floats on any scale.
        y : array-like of shape (n_images,)
            Labels of any type that scikit-learn accepts.
        groups : array-like of shape (n_images,), default=None
            The lesion of each image; None takes the column ``lesion_id`` of ``X``, if it has one.
        sample_weight : array-like of shape (n_images,), default=None
            Weight of each image in the loss, times the weight of its class.

        Returns
        -------
        LesionCNNClassifier
            The fitted classifier.

        Raises
        ------
        ValueError, TypeError
            If a parameter, ``X``, ``y``, `groups` or `sample_weight` is wrong; the message says which, and how.
        FloatingPointError
            If the loss becomes NaN or infinite.
        KeyboardInterrupt
            On Ctrl-C; the classifier is not fitted then.
        """
        if hasattr(self, "net_"):
            del self.net_  # an interrupted fit leaves no classifier that looks fitted
        self._check_parameters()
        images, lesion_id = self._read(X, reset=True)
        self.classes_, labels = encode_labels(y, len(images))
        lesions = groups if groups is not None else lesion_id
        lesions = image_fingerprints(images) if lesions is None else check_groups(lesions, len(images))
        seeds = FitSeeds.spawn(self.random_state)
        training, validation = self._split(labels, lesions, seeds.holdout)
        weight = image_weights(
            labels, training, classes=self.classes_, class_weight=self.class_weight, sample_weight=sample_weight
        )
        with seeded_torch(seeds.torch):
            net = self._make_net(images, labels, weight, training, validation, seeds)
            train(net, ImageDataset(images, training, labels, weight))
        self._keep(net, validation)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        X : as for `fit`
            Images of the shape that the classifier was trained on, or paths.

        Returns
        -------
        ndarray of float64, shape (n_images, n_classes)
            Rows that add up to 1, in the order of ``classes_``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError, TypeError
            If ``X`` breaks the image contract or has another shape than at `fit`.
        """
        check_is_fitted(self)
        images, _ = self._read(X, reset=False)
        dataset = ImageDataset(images)
        logits = [batch.double() for batch in self.net_.forward_iter(dataset, training=False)]
        probabilities: NDArray[np.float64] = torch.softmax(torch.cat(logits), dim=1).numpy()
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each image.

        Parameters
        ----------
        X : as for `fit`
            Images of the shape that the classifier was trained on, or paths.

        Returns
        -------
        ndarray, shape (n_images,)
            Values of ``classes_``; of equal probabilities the first class wins.
        """
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def _check_parameters(self) -> None:
        try:
            validate_parameter_constraints(
                self._parameter_constraints, self.get_params(deep=False), "LesionCNNClassifier"
            )
        except InvalidParameterError as error:
            # scikit-learn's functions would put their own name into a message of this type.
            raise ValueError(str(error)) from error
        if isinstance(self.augmentation, LesionAugmenter):
            self.augmentation.check_parameters()

    def _read(self, X: Any, *, reset: bool) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the images of ``X``, and the lesions that it names."""
        given = read_input(X)
        if given.paths is None:
            images = read_pixels(self, X, image_shape=self.image_shape, reset=reset, same_size=True)
        else:
            size = self.image_size if reset else self._square_side()
            images = ImageLoader(size, crop=self.crop, n_jobs=self.n_jobs).transform(given.paths)
            images = read_pixels(self, images, reset=reset, same_size=True)
        if reset:
            self.value_range_ = _value_range(images)
        else:
            self._check_scale(images)
        return images, given.lesion_id

    def _square_side(self) -> int:
        height: int
        height, width, channels = self.image_shape_
        if height != width or channels != 3:
            raise ValueError(
                f"The classifier was fitted on images of shape {self.image_shape_} (height, width, channels), and "
                "files are read as square RGB images. Pass arrays of that shape."
            )
        return height

    def _check_scale(self, images: NDArray[Any]) -> None:
        """Refuse images on another scale than the training images, which would be classified without a word."""
        if self.value_range_ != (0.0, 1.0) and images.dtype == np.uint8:
            raise ValueError(
                "The classifier was fitted on float images with values from "
                f"{self.value_range_[0]:.3g} to {self.value_range_[1]:.3g}; X is uint8. Pass X through the same "
                "steps as the training images."
            )
        if self.value_range_ == (0.0, 1.0) and images.dtype != np.uint8 and self.image_shape_[0] > 1:
            low, high = float(images.min()), float(images.max())
            if low < 0 or high > 1:
                raise ValueError(
                    "The classifier was fitted on uint8 images or floats in 0-1; X has float values from "
                    f"{low:.3g} to {high:.3g}. Pass X through the same steps as the training images."
                )

    def _split(
        self, labels: NDArray[np.intp], lesions: NDArray[Any], seed: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        everything, nothing = np.arange(len(labels)), np.array([], dtype=np.intp)
        if not self.early_stopping:
            return everything, nothing
        training, validation = lesion_holdout(labels, lesions, self.validation_fraction, seed)
        if len(validation) == 0:
            warnings.warn(
                "No lesion can be put aside for early stopping, since every class has images of one lesion only: "
                f"training goes on for all {self.max_epochs} epochs.",
                UserWarning,
                stacklevel=3,
            )
        return training, validation

    def _augmenter(self) -> LesionAugmenter | None:
        if isinstance(self.augmentation, str):
            return LesionAugmenter(**_AUGMENTATIONS[self.augmentation])
        return self.augmentation

    def _make_net(
        self,
        images: NDArray[Any],
        labels: NDArray[np.intp],
        weight: NDArray[np.float64],
        training: NDArray[np.intp],
        validation: NDArray[np.intp],
        seeds: FitSeeds,
    ) -> Any:
        if len(training) < 2:
            raise ValueError(f"At least 2 images must be left to train on; got n_samples = {len(labels)}.")
        device = choose_device(self.device)
        params = self.architecture_params or {}
        network = build_network(self.architecture, params, self.image_shape_, len(self.classes_), seeds)
        mean, scale = channel_statistics(images, training)
        module = StandardizedNetwork(
            network,
            mean=mean.tolist(),
            scale=scale.tolist(),
            autocast_dtype=choose_precision(self.mixed_precision, device),
        )
        valid_set = ImageDataset(images, validation, labels, weight) if len(validation) else None
        return build_net(
            module,
            classifier=self,
            n_classes=len(self.classes_),
            n_training_images=len(training),
            valid_set=valid_set,
            augmenter=self._augmenter(),
            value_range=self.value_range_,
            seeds=seeds,
            device=device,
        )

    def _keep(self, net: Any, validation: NDArray[np.intp]) -> None:
        """Set the fitted attributes; the net lets go of the training images."""
        release_after_training(net)
        self.history_ = history_frame(net)
        self.n_epochs_ = len(self.history_)
        stopping = dict(net.callbacks_).get("early_stopping")
        self.best_epoch_ = int(stopping.best_epoch_) if stopping is not None else self.n_epochs_
        self.validation_indices_ = validation
        self.net_ = net

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        tags.input_tags.string = True
        tags.non_deterministic = self.random_state is None
        return tags


def _value_range(images: NDArray[Any]) -> tuple[float, float]:
    """Return (0, 1) for uint8 and for floats within it, else the lowest and the highest value."""
    if images.dtype == np.uint8:
        return (0.0, 1.0)
    low, high = float(images.min()), float(images.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))
