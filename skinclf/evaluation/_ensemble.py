"""`LesionEnsemble`: the models of a cross-validation as one classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skinclf._leakage import LeakageError, asked_together
from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import FloatArray
from skinclf.evaluation._cross_validation import CrossValidationResult, cross_validate
from skinclf.evaluation._temperature import apply_temperature, fit_temperature
from skinclf.evaluation._wrapped_classifier import NEEDS_PROBABILITIES, WrappedClassifier

_DESCRIBED = ("classes", "temperature", "n_calibration_images", "calibrate", "cv", "random_state")


class LesionEnsemble(WrappedClassifier):
    """The models of a cross-validation by lesion, as one classifier that takes the mean of their probabilities.

    A cross-validation trains as many models as it has folds, and usually they are thrown away. Together they are
    better than each of them, at the price of as many passes at prediction, and their out-of-fold predictions, each
    of a lesion that the model had not seen, calibrate them.

    This is a research tool, not a medical device.

    Parameters
    ----------
    estimator : classifier with predict_proba, default=None
        Any scikit-learn classifier, Pipeline or search. None is
        ``LesionCNNClassifier(random_state=random_state)``.
    cv : int, splitter or iterable of (train, test), default=5
        The folds, as in `cross_validate`: by lesion where lesions are known.
    calibrate : bool, default=True
        Whether the probabilities of each member are scaled by a temperature before the mean is taken.
    n_jobs : int, default=None
        Folds that are trained at the same time, in processes of their own, as in `cross_validate`.
    random_state : int, RandomState, Generator or None, default=0
        Shuffles the folds if `cv` is an integer. It reaches the estimator only where that is None.

    Attributes
    ----------
    estimators_ : list of classifiers
        The member of each fold, fitted.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    temperature_ : float
        Above 1 if the members were too sure of themselves; 1 without `calibrate`.
    n_calibration_images_ : int
        Rows that the temperature was fitted on; 0 without `calibrate`.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Those of the members, if they have them.

    See Also
    --------
    cross_validate : Estimates how good a member is.
    TemperatureScaling : One model with a temperature.
    sklearn.ensemble.VotingClassifier : The mean of different models, all of them fitted on all rows.

    Notes
    -----
    *How good is it?* The scores of the cross-validation are those of single members, of four fifths of the lesions
    each. The ensemble can be judged on other lesions only, since each lesion of `fit` was in the training of all
    members but one: hold some out, or cross-validate the ensemble itself, which trains ``n * n`` models.

    *Calibration.* Out-of-fold predictions come from one member each, so that the temperature that fits them is
    right for a member. It is therefore applied to the members, and the mean is taken afterwards. Where calibrated
    members disagree their mean is less sure than each of them, and more often right: it ends up a little under-
    confident. That costs less than the alternatives. The mean of members that are not calibrated has, where they
    are too sure, a larger log loss than the mean of those that are; a temperature on the mean instead makes an
    already less confident mean still less confident; a temperature for each member, from the rows of its fold
    alone, gains nothing over the common one, which has five times as many rows to be fitted on. Which temperature
    would be right for the mean itself cannot be known without lesions that no member has seen; where there are
    such, ``TemperatureScaling(FrozenEstimator(ensemble)).fit(...)`` fits it on them.

    *Leaks.* The guards of `skinclf.LesionCNNClassifier` members judge together, as that of one model that was
    trained on all that its members were trained on: silent for its training set as a whole and for new lesions,
    one `LeakageWarning` for a mixture.

    References
    ----------
    Krogh and Vedelsby, "Neural network ensembles, cross validation, and active learning", NIPS 1994.
    Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", NIPS
    2017. Rahaman and Thiery, "Uncertainty quantification and deep ensembles", NeurIPS 2021 (the mean of calibrated
    members is under-confident).

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skinclf import LesionEnsemble
    >>> from skinclf.datasets import make_lesions
    >>> from skinclf.preprocessing import ImageFlattener
    >>> lesions = make_lesions(70, images_per_lesion=2, image_size=8, random_state=0)
    >>> model = make_pipeline(ImageFlattener(), LogisticRegression(max_iter=1000))
    >>> ensemble = LesionEnsemble(model).fit(lesions.images, lesions.target, groups=lesions.groups)
    >>> len(ensemble.estimators_), ensemble.predict_proba(lesions.images).shape
    (5, (140, 7))
    """

    _parameter_constraints = {  # noqa: RUF012
        "estimator": [*NEEDS_PROBABILITIES, None],
        "cv": [Integral, "cv_object"],
        "calibrate": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state", np.random.Generator],
    }
    estimators_: list[Any]
    temperature_: float
    n_calibration_images_: int

    def __init__(
        self,
        estimator: Any = None,
        *,
        cv: Any = 5,
        calibrate: bool = True,
        n_jobs: int | None = None,
        random_state: RandomStateLike = 0,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.calibrate = calibrate
        self.n_jobs = n_jobs
        self.random_state = random_state

    @classmethod
    def from_cross_validation(cls, result: CrossValidationResult, *, calibrate: bool = True) -> Self:
        """Return the ensemble of a cross-validation that has been run already.

        Parameters
        ----------
        result : CrossValidationResult
            From `cross_validate`, with its estimators. These are shared, not copied.
        calibrate : bool, default=True
            As in the constructor.

        Returns
        -------
        LesionEnsemble
            Fitted. Its `estimator` is that of the cross-validation, and its `cv` the number of folds.

        Raises
        ------
        TypeError
            If `result` is something else, or its models have no ``predict_proba``.
        ValueError
            If the cross-validation did not keep its models.
        LeakageError
            If lesions that it tested were trained on, unless ``calibrate=False``.

        Examples
        --------
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from skinclf import LesionEnsemble
        >>> from skinclf.datasets import make_lesions
        >>> from skinclf.evaluation import cross_validate
        >>> from skinclf.preprocessing import ImageFlattener
        >>> lesions = make_lesions(70, images_per_lesion=2, image_size=8, random_state=0)
        >>> model = make_pipeline(ImageFlattener(), LogisticRegression(max_iter=1000))
        >>> result = cross_validate(model, lesions.images, lesions.target, groups=lesions.groups)
        >>> ensemble = LesionEnsemble.from_cross_validation(result)
        >>> ensemble.temperature_ > 1  # hundreds of pixels, of few lesions
        True
        """
        if not isinstance(result, CrossValidationResult):
            raise TypeError(
                "result must be what skinclf.evaluation.cross_validate returns, which has the rows of each fold; "
                f"got {type(result).__name__}."
            )
        if result.estimators is None:
            raise ValueError(
                "result has no models: it was made with return_estimator=False. Cross-validate with "
                "return_estimator=True, or fit a LesionEnsemble."
            )
        if calibrate and len(result.leaks):
            raise LeakageError(
                f"{len(result.leaks)} of {result.n_folds} folds tested what they trained on, and a temperature "
                "that is fitted on such predictions leaves the members too sure of themselves. Cross-validate by "
                "lesion, or pass calibrate=False."
            )
        ensemble = cls(result.estimator, cv=result.n_folds, calibrate=calibrate)
        ensemble._take_members(result)
        return ensemble

    def fit(self, X: Any, y: Any, groups: Any = None, **fit_params: Any) -> Self:
        """Cross-validate the estimator, and keep the model of every fold.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images.
        y : array-like of shape (n_images,)
            Their labels.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image. None: the column ``lesion_id`` of `X`, if it is a DataFrame that has one.
        **fit_params : dict
            Passed to ``fit`` of the estimator; those with a value for each row are sliced for each fold.

        Returns
        -------
        LesionEnsemble
            Itself.

        Raises
        ------
        ValueError
            If a parameter, a label or a group cannot be used, or a class has fewer lesions than there are folds.
        LeakageError
            If `cv` puts a lesion in both parts of a fold.
        """
        X, labels = self._check_fit(X, y)
        result = cross_validate(
            self._default_classifier() if self.estimator is None else self.estimator,
            X,
            labels,
            groups=groups,
            cv=self.cv,
            scoring="accuracy",
            n_jobs=self.n_jobs,
            params=fit_params,
            random_state=self.random_state,
        )
        self._take_members(result)
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Predict the probability of each class: the mean of the members' calibrated ones.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images, in any form that the estimator takes.

        Returns
        -------
        ndarray of float64, shape (n_images, n_classes)
            0–1; a row sums to 1. Columns are in the order of ``classes_``.
        """
        return self._vote(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the class of the largest mean probability.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images, in any form that the estimator takes.

        Returns
        -------
        ndarray of shape (n_images,)
            Labels; of equally probable classes the first.
        """
        proba = self._vote(X)
        labels: NDArray[Any] = self.classes_[proba.argmax(axis=1)]
        return labels

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted ensemble into one file that holds no code.

        The file is as that of ``LesionCNNClassifier.save``, for all members: safetensors, with SHA-256 over all of
        it. A splitter as `cv` is left out, and the number of members takes its place.

        Parameters
        ----------
        path : str or path
            The file; its folder must exist.
        overwrite : bool, default=False
            Whether to replace a file that is there. It is replaced whole, or not at all.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        TypeError
            If a member is no `skinclf.LesionCNNClassifier`: a Pipeline is code, too.
        FileExistsError
            If the file is there and `overwrite` is False.
        OSError
            If it cannot be written.
        """
        check_is_fitted(self)
        from skinclf.estimator._ensemble_file import save_members  # only who saves members needs torch

        seed = self.random_state
        described = {
            "classes": self.classes_,
            "temperature": self.temperature_,
            "n_calibration_images": self.n_calibration_images_,
            "calibrate": self.calibrate,
            "cv": int(self.cv) if isinstance(self.cv, Integral) else len(self.estimators_),
            "random_state": int(seed) if isinstance(seed, Integral) else None,
        }
        save_members(path, self.estimators_, described, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, architecture: Any = None, device: str = "auto") -> Self:
        """Read an ensemble that `save` wrote; nothing in the file is executed.

        Parameters
        ----------
        path : str or path
            The file.
        architecture : callable, or torch.nn.Module class or instance, default=None
            The network of your own that the members were trained with, if they were.
        device : str, default="auto"
            Where the members are to compute, as in `skinclf.LesionCNNClassifier`.

        Returns
        -------
        LesionEnsemble
            Fitted; it predicts as the one that was saved.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ModelFileError
            If it is damaged, cut short, of another kind or of a later version, or does not fit `architecture`.
        ValueError
            If the device does not exist here.
        """
        from skinclf.estimator._ensemble_file import load_members

        members, estimator, described = load_members(path, {*_DESCRIBED}, architecture=architecture, device=device)
        ensemble = cls(
            estimator,
            cv=described["cv"],
            calibrate=described["calibrate"],
            random_state=described["random_state"],
        )
        ensemble._set_members(members, described["classes"])
        ensemble.temperature_ = described["temperature"]
        ensemble.n_calibration_images_ = described["n_calibration_images"]
        return ensemble

    def _default_classifier(self) -> Any:
        from skinclf.estimator import LesionCNNClassifier  # who brings a classifier may do without torch

        return LesionCNNClassifier(random_state=self.random_state)

    def _take_members(self, result: CrossValidationResult) -> None:
        """Keep the models of a cross-validation, and the temperature that its predictions ask for."""
        if result.y_proba is None:
            raise TypeError(f"estimator must have predict_proba once it is fitted; {result.estimator!r} has not.")
        temperature, n_images = 1.0, 0
        if self.calibrate:
            tested = result.tested
            temperature = fit_temperature(result.y_true[tested], result.y_proba[tested], labels=result.classes)
            n_images = int(tested.sum())
        self._set_members(result.estimators or (), result.classes)
        self.temperature_, self.n_calibration_images_ = temperature, n_images

    def _set_members(self, members: Sequence[Any], classes: NDArray[Any]) -> None:
        self.estimators_ = list(members)
        self.classes_ = classes
        self._take_features_of(self.estimators_[0])

    def _vote(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        with asked_together() as asked:
            votes = [self._vote_of(member, X) for member in self.estimators_]
        if asked:
            from skinclf.estimator._guard import check_together  # there are guards: torch has been imported

            check_together(asked, self)
        mean = np.mean(votes, axis=0)
        normalized: FloatArray = mean / mean.sum(axis=1, keepdims=True)  # float32 sums to 1 but for 1e-7
        return normalized

    def _vote_of(self, member: Any, X: Any) -> FloatArray:
        """Return the calibrated probabilities of a member; a class that it was not trained on has 0."""
        proba = member.predict_proba(X)
        if self.temperature_ != 1:
            proba = apply_temperature(proba, self.temperature_)
        aligned = np.zeros((len(proba), self.classes_.size))
        aligned[:, np.searchsorted(self.classes_, member.classes_)] = proba
        return aligned

    def __sklearn_tags__(self) -> Any:
        tags = super(WrappedClassifier, self).__sklearn_tags__()  # which would ask the tags of None
        inner = get_tags(self._default_classifier()) if self.estimator is None else get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        return tags
