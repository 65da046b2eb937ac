"""`LesionCNNClassifier`: scikit-learn outside, a network trained by skorch inside."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skinclf._random import RandomStateLike
from skinclf._validation import ImageShape
from skinclf.augmentation import BatchMixer, LesionAugmenter
from skinclf.estimator import _fit
from skinclf.estimator._batches import ImageDataset, compute_logits
from skinclf.estimator._guard import check_prediction, watched_in_prediction
from skinclf.estimator._images import read_images
from skinclf.estimator._memory import explain_out_of_memory
from skinclf.estimator._metadata import metadata_for_prediction
from skinclf.estimator._parameters import check_nested
from skinclf.estimator._persistence import PersistenceMixin
from skinclf.estimator._recipe import setting
from skinclf.estimator._user_callbacks import copy_callbacks
from skinclf.models._symmetries import SymmetryVote
from skinclf.preprocessing._file_images import reading


class LesionCNNClassifier(PersistenceMixin, ClassifierMixin, BaseEstimator):
    """Classify dermatoscopic images with a convolutional network.

    ``fit`` reads the images (paths or pixels), puts a share of the lesions aside for early stopping, standardises
    and augments batch by batch, trains, and restores the weights of the best epoch. The validation split is by
    lesion: `groups`, else the column ``lesion_id`` of ``X``, else exact copies of an image are kept together.

    This is a research tool, not a medical device.

    Parameters
    ----------
    architecture : str, callable, or torch.nn.Module class or instance, default="lesion_cnn"
        The network: ``"lesion_cnn"``, ``"efficientnet_lite0"``, or the name of a network of torchvision or timm
        (``"resnet18"``, ``"timm:convnext_nano"``; the extra ``backbones``). Or one of your own, which takes
        standardised float32 images ``(n_images, channels, height, width)`` and returns logits ``(n_images,
        n_classes)``: a callable gets ``(image_shape, n_classes, **architecture_params)`` and returns it; a class
        gets those of ``image_shape``, ``n_classes`` or ``num_classes``, and ``in_channels`` that its constructor
        names; an instance is copied, and its output layer replaced where it has not one output for each class.
    architecture_params : dict, default=None
        For `architecture`: ``lesion_cnn`` takes ``width``, ``depth`` and ``dropout``, see
        `skinclf.models.lesion_cnn`; ``efficientnet_lite0`` ``dropout`` and ``stochastic_depth``.
    image_size : int or "auto", default="auto"
        Side in pixels of images that are read from paths. Arrays are used in the size that they have. For all that
        is ``"auto"`` there are two recipes: networks without `weights` are trained from scratch (here 64), those
        with `weights` fine-tuned (128).
    crop : {"center", None}, default="center"
        How files are made square, as in `skinclf.preprocessing.ImageLoader`.
    image_shape : tuple of int (height, width, channels), default=None
        How the rows of a 2-D ``X`` are to be read. None takes rows of ``3 * s * s`` or ``s * s`` values
        (``s >= 8``) as square images and others as strips of one channel.
    weights : None, "imagenet" or path, default=None
        What the network begins with, but for its output layer. ``"imagenet"`` are those that were published with
        the network; they must be on this machine, since nothing is downloaded: those of ``efficientnet_lite0``
        come with the extra ``pretrained``. A file is safetensors, such as `save` writes, or a state dict. Images
        are then standardised as the weights expect it, and by the training images otherwise. A warning names
        weights that did not fit.
    metadata : {"auto", None}, default=None
        ``"auto"``: the columns ``age``, ``sex`` and ``localization`` of a table enter beside the image, those of
        them that it has in `fit`; unknown values are welcome, and other columns never enter. See
        :doc:`/user_guide/metadata`. None: images alone.
    augmentation : {"auto", "standard", "light", "strong"}, LesionAugmenter or None, default="auto"
        What is drawn anew for each training image in every epoch. ``"standard"`` is ``LesionAugmenter()``,
        ``"light"`` its flips and quarter turns only, ``"strong"`` wider ranges and erasing. From scratch
        ``"standard"``, fine-tuning ``"strong"``.
    mixer : BatchMixer, default=None
        Mixup and CutMix of the augmented images of a batch, and of their targets.
    sampler : {"balanced", "sqrt", None}, default="sqrt"
        Which images an epoch has, which always are as many as there are to train on. ``"balanced"``: every class
        equally often; ``"sqrt"``: in proportion to the square root of its size; None: each image once. Images are
        repeated, and others left out, by number: none is copied. Every repetition is augmented anew.
    class_weight : {"balanced", "sqrt"}, dict or None, default="sqrt"
        Weight of each class in the loss. ``"balanced"`` gives every class the same total weight over an epoch, as
        in scikit-learn, so that it has nothing left to do beside ``sampler="balanced"``; ``"sqrt"`` goes half of
        the way that the sampler has left; a dict has a weight, 0 or more, for each label that is not to weigh 1.
    optimizer : {"adamw", "sgd"} or torch.optim.Optimizer class, default="adamw"
        ``"sgd"`` has a Nesterov momentum of 0.9.
    lr : float or "auto", default="auto"
        Learning rate of the output layer; with ``lr_schedule="onecycle"`` the highest one. From scratch 0.002,
        fine-tuning 0.001.
    weight_decay : float, default=0.05
        Decay of matrices and kernels in each step, as the optimiser defines it; biases and norms have none.
    lr_schedule : {"onecycle", "cosine", "plateau"} or None, default="onecycle"
        How the rate changes: up and down once over `max_epochs` (Smith and Topin), down along a cosine, or by a
        tenth after a third of `patience` without improvement.
    label_smoothing : float, default=0.05
        Share of each target that is spread evenly over all classes, in [0, 1).
    batch_size : int, default=64
        Images in a batch.
    max_epochs : int or "auto", default="auto"
        Epochs at most. From scratch 50, fine-tuning 8.
    head_epochs : int or "auto", default="auto"
        First epochs in which the output layer alone is trained, so that its random weights do not disturb what the
        other layers know. From scratch 0, fine-tuning 1.
    layer_decay : float or "auto", default="auto"
        By how much the learning rate falls from the output layer to the third of the layers below it, and from
        third to third; in (0, 1]. From scratch 1, fine-tuning 1.
    ema_decay : float or None, default=0.995
        Share that the moving average of the weights keeps in a step, in [0, 1); early on it keeps less. The
        average is what is validated and kept. None keeps the weights of the best epoch as they are.
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
        Instances, tuples of a name and an instance, or names of classes in ``skorch.callbacks`` that need no
        argument. Every fit works with copies, found in ``net_.callbacks_``; runs and writers of loggers are
        shared.
    tta : bool or "auto", default="auto"
        Test-time augmentation: whether a prediction is the mean over the eight positions of an image, mirrored and
        in quarter turns (four for images that are not square). Takes eight times as long. ``"auto"`` does so for a
        network that was fine-tuned, and not for one from scratch. May be changed after `fit`.
    device : str, default="auto"
        A torch device; ``"auto"`` takes a CUDA GPU if there is one, else the CPU.
    mixed_precision : bool or "auto", default="auto"
        Whether to compute in bfloat16; ``"auto"`` does so on a GPU that can.
    n_jobs : int, default=None
        Threads that decode files, as in `skinclf.preprocessing.ImageLoader`.
    memory_limit : int, "auto" or None, default="auto"
        Bytes that decoded files may take. Where they would take more, files are decoded again in every epoch,
        while the network computes; the weights are the same, bit for bit. ``"auto"`` is half of the machine's
        memory, None is no limit. With `cache_dir` nothing needs to be decoded again.
    cache_dir : str or path, default=None
        Folder in which decoded files are kept, as in `skinclf.preprocessing.ImageLoader`: the folds and processes
        of a search then decode each file once, and share its pixels.
    checkpoint_dir : str or path, default=None
        Folder in which `fit` keeps one file a run, written anew after every epoch. A run that was cut off goes on
        there when `fit` is called again with the same parameters and data, and ends with the weights that it would
        have had anyway; one that was finished is read, unless ``random_state=None``. Folds and candidates of a
        search may share the folder. Callbacks whose state is more than numbers and tensors begin anew.
    leakage : {"warn", "raise", "ignore"}, default="warn"
        What happens when some, but not all, images to predict were in the training, as the same image or as
        another photo of the same lesion: a `skinclf.evaluation.LeakageWarning`, a `LeakageError`, or nothing.
        `fit` keeps 64-bit fingerprints for it; with ``"ignore"`` it keeps none. See :doc:`/user_guide/leakage`.
    warm_start : bool, default=False
        Whether another `fit` goes on with the weights that there are, for `max_epochs` more, with a new optimiser
        and schedule. The labels must be the same, and the validation split has the same seed.
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
    metadata_ : dict or None
        What is known of ``age``, ``sex`` and ``localization``: knots and categories; None for images alone.
    value_range_ : tuple of float
        The scale of the images: ``(0, 1)`` for uint8 and for floats in 0–1, else lowest and highest value.
    net_ : skorch.NeuralNetClassifier
        The trained net; ``net_.module_`` is the torch module.
    recipe_ : dict
        What the parameters that are ``"auto"`` stood for in this fit.
    history_ : DataFrame
        A row an epoch: ``epoch`` (from 1), ``train_loss``, ``valid_loss``, ``valid_accuracy``,
        ``valid_balanced_accuracy`` (means of the validation set; absent without one), ``lr``, ``seconds``.
    best_epoch_ : int
        The epoch, from 1, whose weights the network has.
    n_epochs_ : int
        Epochs that were trained.
    validation_indices_ : ndarray of int
        The rows of ``X`` that were put aside; empty without early stopping and after `partial_fit`.

    References
    ----------
    He et al., "Delving deep into rectifiers", ICCV 2015 (initial weights). Loshchilov and Hutter, "Decoupled
    weight decay regularization", ICLR 2019 (AdamW). Smith and Topin, "Super-convergence", 2019 (one cycle).
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992 (averaged weights).

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

    def __init__(
        self,
        architecture: str | Callable[..., torch.nn.Module] | torch.nn.Module = "lesion_cnn",
        *,
        architecture_params: dict[str, Any] | None = None,
        image_size: int | str = "auto",
        crop: Literal["center"] | None = "center",
        image_shape: ImageShape | None = None,
        weights: str | os.PathLike[str] | None = None,
        metadata: str | None = None,
        augmentation: str | LesionAugmenter | None = "auto",
        mixer: BatchMixer | None = None,
        sampler: str | None = "sqrt",
        class_weight: str | dict[Any, float] | None = "sqrt",
        optimizer: str | type[torch.optim.Optimizer] = "adamw",
        lr: float | str = "auto",
        weight_decay: float = 0.05,
        lr_schedule: str | None = "onecycle",
        label_smoothing: float = 0.05,
        batch_size: int = 64,
        max_epochs: int | str = "auto",
        head_epochs: int | str = "auto",
        layer_decay: float | str = "auto",
        ema_decay: float | None = 0.995,
        early_stopping: bool = True,
        patience: int = 10,
        monitor: str = "valid_loss",
        validation_fraction: float = 0.1,
        callbacks: list[Any] | None = None,
        tta: bool | str = "auto",
        device: str = "auto",
        mixed_precision: bool | str = "auto",
        n_jobs: int | None = None,
        memory_limit: int | str | None = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        leakage: str = "warn",
        warm_start: bool = False,
        random_state: RandomStateLike = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.architecture_params = architecture_params
        self.image_size = image_size
        self.crop = crop
        self.image_shape = image_shape
        self.weights = weights
        self.metadata = metadata
        self.augmentation = augmentation
        self.mixer = mixer
        self.sampler = sampler
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.label_smoothing = label_smoothing
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.head_epochs = head_epochs
        self.layer_decay = layer_decay
        self.ema_decay = ema_decay
        self.early_stopping = early_stopping
        self.patience = patience
        self.monitor = monitor
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.tta = tta
        self.device = device
        self.mixed_precision = mixed_precision
        self.n_jobs = n_jobs
        self.memory_limit = memory_limit
        self.cache_dir = cache_dir
        self.checkpoint_dir = checkpoint_dir
        self.leakage = leakage
        self.warm_start = warm_start
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
        _fit.fit(self, X, y, groups=groups, sample_weight=sample_weight)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, *, sample_weight: Any = None) -> Self:
        """Train for one epoch on these images, from the weights that there are.

        For data that comes in parts. Nothing is put aside, the learning rate is `lr` all along, and the optimiser
        goes on from call to call. ``class_weight="balanced"`` counts the images of each call. Mean and deviation
        of the channels are those of the first call. `checkpoint_dir` is not used.

        Parameters
        ----------
        X : as for `fit`
            Images of one shape in all calls.
        y : array-like of shape (n_images,)
            Their labels; one label is enough.
        classes : array-like, default=None
            All labels that will ever come; needed in the first call, unless the classifier is fitted.
        sample_weight : array-like of shape (n_images,), default=None
            Weight of each image in the loss, times the weight of its class; scaled to a mean of 1 in each call.

        Returns
        -------
        LesionCNNClassifier
            The classifier itself.

        Raises
        ------
        ValueError, TypeError
            As for `fit`; and if `classes` is missing, differs from before, or lacks a label of ``y``.
        """
        _fit.partial_fit(self, X, y, classes, sample_weight=sample_weight)
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
        LeakageError
            With ``leakage="raise"``, if some of ``X`` was in the training; ``leakage="warn"`` warns of it.
        """
        return self._probabilities(X)

    def _probabilities(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        metadata = metadata_for_prediction(self, X)
        images, lesion_id = read_images(self, X, reset=False)
        images = watched_in_prediction(self, images, lesion_id)
        dataset = ImageDataset(images, metadata=metadata)
        with (
            explain_out_of_memory(
                "predicting", device=self.net_.device, batch_size=self.batch_size, image_shape=self.image_shape_
            ),
            reading(images),
        ):
            module, batch_size = self.net_.module_, self.net_.batch_size
            if setting(self, "tta"):
                module, batch_size = SymmetryVote(module), max(batch_size // SymmetryVote.N_POSITIONS, 1)
            logits = compute_logits(module, dataset, batch_size, self.net_.device)
            check_prediction(self, images, lesion_id)
        probabilities: NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
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
        probabilities = self._probabilities(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also those of the augmenter as ``augmentation__rotation`` and the like.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        LesionCNNClassifier
            The classifier itself.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        check_nested(self, [name for name in params if name.partition("__")[0] not in params])
        super().set_params(**params)
        return self

    def __sklearn_clone__(self) -> Self:
        bare = copy.copy(self)
        bare.callbacks = None  # scikit-learn would copy the run of a logger too, or fail
        cloned: Self = super(LesionCNNClassifier, bare).__sklearn_clone__()
        cloned.callbacks = copy_callbacks(self.callbacks)
        return cloned

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        tags.input_tags.string = True
        tags.non_deterministic = self.random_state is None
        return tags
