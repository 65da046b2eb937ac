"""One number that makes probabilities less, or more, sure of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import FloatArray
from skinclf.evaluation._cross_fitting import check_folds
from skinclf.evaluation._fit_params import add_groups
from skinclf.evaluation._groups import resolve_groups
from skinclf.evaluation._probabilities import SMALLEST, Predictions, check_predictions
from skinclf.evaluation._wrapped_classifier import (
    NEEDS_PROBABILITIES,
    WrappedClassifier,
    is_frozen,
    predict_frozen,
)

LIMITS = (0.01, 100.0)
"""Temperatures outside are not looked for: at 100 probabilities are all but equal, at 0.01 they are 0 or 1."""

_HALVINGS = 60
"""Of the range of the logarithm, 9.2: far below the last digit of a float."""


def fit_temperature(y_true: Any, y_proba: Any, *, labels: Any = None) -> float:
    """Find the temperature that makes probabilities fit the truth best.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_proba : array-like of float, shape (n_images, n_classes)
        Probabilities of images, and lesions, that the model was not trained on, such as out-of-fold predictions.
    labels : array-like of shape (n_classes,), default=None
        The classes in the order of the columns, such as ``classes_``. None: all that occur in `y_true`, sorted.

    Returns
    -------
    float
        Between 0.01 and 100. Above 1, the model was too sure of itself.

    Raises
    ------
    ValueError
        If labels or probabilities are missing, do not match or are no distribution.

    See Also
    --------
    apply_temperature : What the temperature does to probabilities.
    cross_fit_temperature : Probabilities that no temperature was fitted on.
    TemperatureScaling : A classifier that does both.

    Notes
    -----
    It is the temperature with the least log loss [1]_. The logarithms of the probabilities stand for the logits,
    from which they differ by a constant in each row only. If the right class has the largest probability in every
    row, the least log loss is that of a temperature of 0; the rows then count as if there were one more, of which
    each class is right by an equal part.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger. On Calibration of Modern Neural Networks. ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import fit_temperature
    >>> y_true = ["mel"] * 3 + ["nv"]
    >>> y_proba = np.tile([0.9, 0.1], (4, 1))  # 0.9 was said, and three of four are right
    >>> round(fit_temperature(y_true, y_proba), 6)  # log(0.9 / 0.1) / log(0.75 / 0.25)
    2.0
    """
    return _fit(check_predictions(y_true, y_proba, labels))


def _fit(data: Predictions, rows: NDArray[Any] | slice = slice(None)) -> float:
    logits = np.log(np.maximum(data.proba[rows], SMALLEST))
    of_truth = logits[np.arange(len(logits)), data.truth[rows]]
    target = float(of_truth.mean())
    if (of_truth >= logits.max(axis=1)).all():
        n = len(logits)
        target = (n * target + float(logits.mean())) / (n + 1)

    def slope(temperature: float) -> float:
        """Return the derivative of the log loss by 1 / T; it grows with 1 / T, as the log loss is convex in it."""
        weight = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
        expected = (weight * logits).sum(axis=1) / weight.sum(axis=1)
        return float(expected.mean()) - target

    cold, hot = np.log(LIMITS)
    for _ in range(_HALVINGS):
        middle = (cold + hot) / 2
        if slope(float(np.exp(middle))) > 0:
            cold = middle
        else:
            hot = middle
    return float(np.exp((cold + hot) / 2))


def apply_temperature(y_proba: Any, temperature: Any) -> FloatArray:
    """Divide logits by a temperature: raise probabilities to the power of 1 / temperature, and normalise them.

    Parameters
    ----------
    y_proba : array-like of float, shape (n_images, n_classes)
        Probabilities.
    temperature : float
        Above 0. Above 1 it brings probabilities closer together, below 1 it drives them apart, and never changes
        their order.

    Returns
    -------
    ndarray of float64, shape (n_images, n_classes)
        0–1; a row sums to 1.

    Raises
    ------
    ValueError
        If `temperature` is not a positive number.

    Examples
    --------
    >>> from skinclf.evaluation import apply_temperature
    >>> apply_temperature([[0.9, 0.1]], 2.0)
    array([[0.75, 0.25]])
    """
    if not isinstance(temperature, int | float | np.integer | np.floating) or not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be a positive number, such as 1.5; got {temperature!r}.")
    proba = np.asarray(y_proba, dtype=np.float64)
    powers = (proba / proba.max(axis=1, keepdims=True)) ** (1 / float(temperature))
    scaled: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return scaled


@dataclass(frozen=True, eq=False, repr=False)
class CrossFittedTemperature:
    """Scaled probabilities that can be judged; see `cross_fit_temperature`, which makes it.

    Attributes
    ----------
    y_proba : ndarray of float64, shape (n_images, n_classes)
        Each row scaled by the temperature that was fitted on the rows of the other folds.
    temperatures : ndarray of float64, shape (n_folds,)
        These temperatures.
    temperature : float
        That of all rows together: the one to use on new images.
    fold : ndarray of int64, shape (n_images,)
        The fold of each row.
    labels : ndarray of shape (n_classes,)
        The classes.
    """

    y_proba: FloatArray
    temperatures: FloatArray
    temperature: float
    fold: NDArray[np.int64]
    labels: NDArray[Any]

    def __repr__(self) -> str:
        low, high = self.temperatures.min(), self.temperatures.max()
        return f"CrossFittedTemperature(temperature={self.temperature:.3f}, {low:.3f}–{high:.3f} without one fold)"


def cross_fit_temperature(
    y_true: Any,
    y_proba: Any,
    *,
    fold: Any = None,
    labels: Any = None,
    groups: Any = None,
    random_state: RandomStateLike = 0,
) -> CrossFittedTemperature:
    """Scale out-of-fold probabilities by temperatures that were fitted on other lesions.

    A temperature that is judged on the rows that it was fitted on looks better than it is. Here the rows of each
    fold are scaled by the temperature of all others.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_proba : array-like of float, shape (n_images, n_classes)
        Out-of-fold probabilities.
    fold : array-like of int, shape (n_images,), default=None
        The fold of each image, such as ``result.fold``. None: five folds, by lesion where `groups` are given.
    labels : array-like of shape (n_classes,), default=None
        The classes in the order of the columns, such as ``result.classes``. None: all that occur in `y_true`,
        sorted.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image; with `fold`, they are only checked to be in one fold each.
    random_state : int, RandomState, Generator or None, default=0
        Draws the folds if none are given.

    Returns
    -------
    CrossFittedTemperature
        ``y_proba``, ``temperatures``, ``temperature``.

    Raises
    ------
    ValueError
        If arguments are missing, do not match, or there is one fold only.
    LeakageError
        If a lesion is in more than one fold.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import cross_fit_temperature
    >>> y_true = np.tile(["mel", "mel", "mel", "nv"], 20)
    >>> y_proba = np.tile([0.9, 0.1], (80, 1))
    >>> scaled = cross_fit_temperature(y_true, y_proba, fold=np.arange(80) // 16)
    >>> scaled
    CrossFittedTemperature(temperature=2.000, 2.000–2.000 without one fold)
    >>> scaled.y_proba[0]
    array([0.75, 0.25])
    """
    data = check_predictions(y_true, y_proba, labels, groups)
    folds = check_folds(fold, data, groups, random_state)
    temperatures = np.array([_fit(data, folds != number) for number in range(folds.max() + 1)])
    scaled = np.empty_like(data.proba)
    for number, temperature in enumerate(temperatures.tolist()):
        scaled[folds == number] = apply_temperature(data.proba[folds == number], temperature)
    return CrossFittedTemperature(scaled, temperatures, _fit(data), folds, data.classes)


class TemperatureScaling(WrappedClassifier):
    """A classifier with a temperature, fitted on lesions that it was not trained on.

    Parameters
    ----------
    estimator : classifier with predict_proba
        Any scikit-learn classifier, Pipeline or search. A ``FrozenEstimator`` of scikit-learn is not fitted again:
        all rows that ``fit`` gets are for the temperature, and must be of other lesions than its training.
    cv : int, splitter or iterable of (train, test), default=5
        The folds, as in `cross_validate`: by lesion where lesions are known. The temperature is fitted on all rows
        that are tested.
    refit : bool, default=True
        Whether the estimator is at last fitted on all rows. False keeps the one of the only fold, which saves time
        where `cv` gives one split, such as ``GroupShuffleSplit(1, test_size=0.2)``.
    random_state : int, RandomState, Generator or None, default=0
        Shuffles the folds if `cv` is an integer. It does not reach the estimator.

    Attributes
    ----------
    temperature_ : float
        Above 1 if the estimator was too sure of itself.
    estimator_ : classifier
        The fitted estimator.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_calibration_images_ : int
        Rows that the temperature was fitted on.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Those of ``estimator_``, if it has them.

    See Also
    --------
    cross_fit_temperature : The same for out-of-fold probabilities that are there already.
    calibration_metrics : Whether it helped.

    Notes
    -----
    scikit-learn's ``CalibratedClassifierCV(method="temperature")``, from version 1.8 on, does the same arithmetic;
    it splits by row, hands no lesions on to ``fit``, and fits what ``decision_function`` returns where there is
    one. A temperature leaves the order of the classes, and so all predictions, as they are.

    Cross-validate it like any classifier, with groups: the temperature is then fitted inside the training part of
    each fold, and judged on the test part.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from skinclf.evaluation import TemperatureScaling
    >>> generator = np.random.default_rng(0)
    >>> lesion = np.repeat(np.arange(100), 2)
    >>> y = np.where(lesion % 2 == 0, "mel", "nv")
    >>> X = np.repeat(generator.normal(size=(200, 1)) + (y == "mel")[:, None], 6, axis=1)  # one feature, six times
    >>> model = TemperatureScaling(GaussianNB()).fit(X, y, groups=lesion)
    >>> 4 < model.temperature_ < 8  # naive Bayes takes it for six pieces of evidence
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        "estimator": NEEDS_PROBABILITIES,
        "cv": [Integral, "cv_object"],
        "refit": ["boolean"],
        "random_state": ["random_state", np.random.Generator],
    }
    temperature_: float
    n_calibration_images_: int

    def __init__(
        self, estimator: Any, *, cv: Any = 5, refit: bool = True, random_state: RandomStateLike = 0
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.refit = refit
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None, **fit_params: Any) -> TemperatureScaling:
        """Fit the temperature on rows that the estimator was not trained on, and the estimator on all.

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
        TemperatureScaling
            Itself.

        Raises
        ------
        ValueError
            If a parameter, a label or a group cannot be used, or ``refit=False`` comes with several folds.
        LeakageError
            If `cv` puts a lesion in both parts of a fold.
        """
        X, labels = self._check_fit(X, y)
        if is_frozen(self.estimator):
            proba, classes = predict_frozen(self.estimator, X, labels)
            self.temperature_ = fit_temperature(labels, proba, labels=classes)
            self.n_calibration_images_ = len(labels)
            self._take_over(self.estimator, classes)
            return self
        result, proba = self._hold_out(X, labels, groups, self.cv, fit_params, self.random_state)
        if not self.refit and result.n_folds > 1:
            raise ValueError(
                f"refit=False keeps the estimator of the only fold, but cv gives {result.n_folds}. Pass a cv of "
                "one split, such as GroupShuffleSplit(1, test_size=0.2), or refit=True."
            )
        tested = result.tested
        temperature = fit_temperature(labels[tested], proba[tested], labels=result.classes)
        if self.refit or result.estimators is None:
            params = add_groups(fit_params, self.estimator, resolve_groups(X, groups))
            fitted = clone(self.estimator).fit(X, labels, **params)
        else:
            (fitted,) = result.estimators
        self.temperature_ = temperature
        self.n_calibration_images_ = int(tested.sum())
        self._take_over(fitted, result.classes)
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Predict the probability of each class, scaled by the temperature.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images, in any form that the estimator takes.

        Returns
        -------
        ndarray of float64, shape (n_images, n_classes)
            0–1; a row sums to 1. Columns are in the order of ``classes_``.
        """
        return apply_temperature(super().predict_proba(X), self.temperature_)
