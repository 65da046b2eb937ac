"""Sets of classes that hold the true one as often as they promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skinclf._random import RandomStateLike
from skinclf.evaluation._confusion import FloatArray, divide
from skinclf.evaluation._cross_fitting import check_folds
from skinclf.evaluation._groups import resolve_groups
from skinclf.evaluation._lesion_intervals import clustered_proportion
from skinclf.evaluation._probabilities import Predictions, check_distributions, check_predictions
from skinclf.evaluation._splits import make_splits
from skinclf.evaluation._wrapped_classifier import (
    NEEDS_PROBABILITIES,
    WrappedClassifier,
    is_frozen,
    predict_frozen,
)

Method: TypeAlias = Literal["lac", "aps"]


def _score_lac(proba: FloatArray) -> FloatArray:
    return 1 - proba


def _score_aps(proba: FloatArray) -> FloatArray:
    """Sum the probabilities above that of each class: 0 for the most probable, which so is in every set."""
    above = proba[:, None, :] > proba[:, :, None]  # [image, class, other class]
    sums: FloatArray = (above * proba[:, None, :]).sum(axis=2)
    return sums


_SCORES: dict[str, Callable[[FloatArray], FloatArray]] = {"lac": _score_lac, "aps": _score_aps}
"""How strange each class would be as the true one, shape (n_images, n_classes), by the name of the method."""


def conformal_quantile(scores: FloatArray, lesion: NDArray[np.int64], coverage: float) -> float:
    """Find the score that a random image of a new lesion stays at or below with a probability of `coverage`.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_images,)
        Of calibration images.
    lesion : ndarray of int64, shape (n_images,)
        The lesion of each.
    coverage : float
        Between 0 and 1.

    Returns
    -------
    float
        Infinity where there are fewer than coverage / (1 - coverage) lesions.

    Notes
    -----
    Every lesion has a weight of 1 / (n + 1), which its images share, and the rest is that of the new lesion, at
    infinity [1]_. With one image of each lesion it is split conformal prediction as usual: the score of rank
    ceil((n + 1) * coverage).

    References
    ----------
    .. [1] Y. Lee, R. F. Barber, R. Willett. Distribution-free inference with hierarchical data.
       arXiv:2306.06342, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation._conformal import conformal_quantile
    >>> scores = np.arange(1.0, 10.0)  # nine lesions: rank ceil(10 * 0.8) = 8
    >>> conformal_quantile(scores, np.arange(9), 0.8)
    8.0
    """
    _, codes, photos = np.unique(lesion, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum(1 / photos[codes[order]]) / (photos.size + 1)
    enough = mass >= coverage - 1e-12  # sums of thirds and tenths are not exact
    return float(scores[order[np.argmax(enough)]]) if enough.any() else float("inf")


def _find_thresholds(
    data: Predictions, rows: NDArray[np.bool_], coverage: float, method: Method, class_conditional: bool
) -> FloatArray:
    """Return the largest score with which each class is in a set, shape (n_classes,)."""
    truth, lesion = data.truth[rows], data.lesion[rows]
    scores = _SCORES[method](data.proba[rows])[np.arange(truth.size), truth]
    n_classes = data.classes.size
    if not class_conditional:
        return np.full(n_classes, conformal_quantile(scores, lesion, coverage))
    of_class = [truth == k for k in range(n_classes)]
    return np.array([conformal_quantile(scores[k], lesion[k], coverage) if k.any() else np.inf for k in of_class])


@dataclass(frozen=True, eq=False, repr=False)
class ConformalResult:
    """Prediction sets of images, and how often they hold the truth; see `conformal_sets`, which makes it.

    Attributes
    ----------
    sets : ndarray of bool, shape (n_images, n_classes)
        Which classes are in the set of each image.
    table : DataFrame
        Row ``"all"``, and one for each class, of the images of that class: ``n_images``, ``n_lesions``;
        ``coverage``, the share of images whose set holds the true class, with the interval ``low``, ``high`` over
        lesions; ``lesion_coverage``, ``lesion_low``, ``lesion_high``, the same with equal weight for every lesion,
        which is what is promised; ``mean_size`` of the sets; ``single`` and ``empty``, the shares of sets with one
        class and with none.
    sizes : Series
        Share of images by the number of classes in their set.
    thresholds : ndarray of float64, shape (n_folds, n_classes)
        The largest score with which a class is in a set; infinite where there were too few lesions to say.
    target : float
        The coverage that was asked for.
    method : {"lac", "aps"}
        The score.
    class_conditional : bool
        Whether it was asked for in each class.
    labels : ndarray of shape (n_classes,)
        The classes.
    confidence : float
        Of the intervals.
    """

    sets: NDArray[np.bool_]
    table: pd.DataFrame
    sizes: pd.Series
    thresholds: FloatArray
    target: float
    method: Method
    class_conditional: bool
    labels: NDArray[Any]
    confidence: float

    def sentence(self) -> str:
        """Say in words how often the sets hold the truth, and how large they are.

        Returns
        -------
        str
            Such as "Sets made for 90 % coverage hold the true class for 90.1 % of the lesions (95 % CI 89.4–90.8
            %), their photos taken together, and for 87.9 % of the images, with 3.2 classes on average and a single
            one for 17 % of the images".
        """
        row = self.table.loc["all"]
        low, high = row["lesion_low"] * 100, row["lesion_high"] * 100
        return (
            f"Sets made for {self.target * 100:g} % coverage hold the true class for "
            f"{row['lesion_coverage'] * 100:.1f} % of the lesions "
            f"({self.confidence * 100:g} % CI {low:.1f}–{high:.1f} %), their photos taken together, and for "
            f"{row['coverage'] * 100:.1f} % of the images, with {row['mean_size']:.1f} classes on average and a "
            f"single one for {row['single'] * 100:.0f} % of the images"
        )

    def __repr__(self) -> str:
        row = self.table.loc["all"]
        return (
            f"ConformalResult(coverage={row['coverage']:.3f} for {self.target:g}, "
            f"mean_size={row['mean_size']:.2f}, method={self.method!r}, "
            f"class_conditional={self.class_conditional})"
        )


def conformal_sets(
    y_true: Any,
    y_proba: Any,
    *,
    fold: Any = None,
    coverage: float = 0.9,
    method: Method = "lac",
    class_conditional: bool = False,
    labels: Any = None,
    groups: Any = None,
    confidence: float = 0.95,
    random_state: RandomStateLike = 0,
) -> ConformalResult:
    """Turn out-of-fold probabilities into sets of classes, and count how often these hold the truth.

    The sets of each fold are calibrated on the lesions of all others, so that what is counted is what a user of
    new lesions would see.

    Parameters
    ----------
    y_true : array-like of shape (n_images,)
        The true labels.
    y_proba : array-like of float, shape (n_images, n_classes)
        Out-of-fold probabilities.
    fold : array-like of int, shape (n_images,), default=None
        The fold of each image, such as ``result.fold``. None: five folds, by lesion where `groups` are given.
    coverage : float, default=0.9
        How often the sets are to hold the true class, between 0 and 1.
    method : {"lac", "aps"}, default="lac"
        ``"lac"`` [1]_ takes every class whose probability is large enough: the smallest sets on average, some of
        them empty. ``"aps"`` [2]_ takes the most probable classes until they add up to enough: never empty, larger
        where the model is unsure.
    class_conditional : bool, default=False
        Whether the coverage is to hold in each class, and not only on average, where rare classes may pay for
        frequent ones. Sets are larger.
    labels : array-like of shape (n_classes,), default=None
        The classes in the order of the columns, such as ``result.classes``. None: all that occur in `y_true`,
        sorted.
    groups : array-like of shape (n_images,), default=None
        The lesion of every image. None: every image counts as a lesion of its own.
    confidence : float, default=0.95
        Of the intervals, between 0 and 1.
    random_state : int, RandomState, Generator or None, default=0
        Draws the folds if none are given.

    Returns
    -------
    ConformalResult
        ``sets``, ``table``, ``sizes``.

    Raises
    ------
    ValueError
        If arguments are missing, do not match or are out of range.
    LeakageError
        If a lesion is in more than one fold.

    See Also
    --------
    ConformalClassifier : Sets of new images.

    Notes
    -----
    The promise holds for a random image of a new lesion if new lesions come from where the calibration lesions
    came from: if their order could be shuffled without anybody noticing (*exchangeability*). Photos of one lesion
    are alike, and cannot be shuffled with others, so that every lesion counts once here, however many photos it
    has [3]_: ``lesion_coverage`` is what is promised, on average over calibration sets. It says nothing of a
    single image, of other hospitals, cameras or skin; and nothing of single classes unless
    ``class_conditional=True``.

    The set of an image depends on nothing but its probabilities: unlike in the paper, no random number decides
    whether ``"aps"`` takes a last class, and the most probable one is always taken. Where the model is right more
    often than `coverage` asks for, these sets hold the truth more often than promised.

    Here the models differ from fold to fold, and the promise holds to the extent that their probabilities are
    alike; with `ConformalClassifier` there is one model, and it holds exactly.

    References
    ----------
    .. [1] M. Sadinle, J. Lei, L. Wasserman. Least Ambiguous Set-Valued Classifiers with Bounded Error Levels.
       Journal of the American Statistical Association 114, 223–234, 2019.
    .. [2] Y. Romano, M. Sesia, E. J. Candès. Classification with Valid and Adaptive Coverage. NeurIPS 2020.
    .. [3] Y. Lee, R. F. Barber, R. Willett. Distribution-free inference with hierarchical data.
       arXiv:2306.06342, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.evaluation import conformal_sets
    >>> p_mel = np.random.default_rng(0).random(500)
    >>> y_true = np.where(np.random.default_rng(1).random(500) < p_mel, "mel", "nv")
    >>> result = conformal_sets(y_true, np.c_[p_mel, 1 - p_mel])
    >>> result
    ConformalResult(coverage=0.902 for 0.9, mean_size=1.35, method='lac', class_conditional=False)
    >>> result.sets[:2]
    array([[ True,  True],
           [False,  True]])
    """
    data = check_predictions(y_true, y_proba, labels, groups)
    _check_settings(coverage, method, confidence)
    folds = check_folds(fold, data, groups, random_state)
    thresholds = np.stack(
        [
            _find_thresholds(data, folds != number, coverage, method, class_conditional)
            for number in range(folds.max() + 1)
        ]
    )
    sets = _SCORES[method](data.proba) <= thresholds[folds]
    size = sets.sum(axis=1)
    shares = np.bincount(size, minlength=data.classes.size + 1) / data.n_images
    return ConformalResult(
        sets=sets,
        table=_describe(data, sets, confidence),
        sizes=pd.Series(shares, index=pd.RangeIndex(shares.size, name="size"), name="share"),
        thresholds=thresholds,
        target=coverage,
        method=method,
        class_conditional=class_conditional,
        labels=data.classes,
        confidence=confidence,
    )


def _describe(data: Predictions, sets: NDArray[np.bool_], confidence: float) -> pd.DataFrame:
    members = np.column_stack([np.ones(data.n_images), data.truth[:, None] == np.arange(data.classes.size)])
    covered = sets[np.arange(data.n_images), data.truth]
    size = sets.sum(axis=1)
    hits, counts = data.sum_by_lesion(members * covered[:, None]), data.sum_by_lesion(members)
    coverage, low, high = clustered_proportion(hits, counts, confidence)
    by_lesion = clustered_proportion(
        np.nan_to_num(divide(hits, counts)), (counts > 0).astype(np.float64), confidence
    )
    n_images, n_lesions = counts.sum(axis=0), (counts > 0).sum(axis=0)
    return pd.DataFrame(
        {
            "n_images": n_images.astype(np.int64),
            "n_lesions": n_lesions,
            "coverage": coverage,
            "low": low,
            "high": high,
            "lesion_coverage": by_lesion[0],
            "lesion_low": by_lesion[1],
            "lesion_high": by_lesion[2],
            "mean_size": divide(size @ members, n_images),
            "single": divide((size == 1) @ members, n_images),
            "empty": divide((size == 0) @ members, n_images),
        },
        index=pd.Index(["all", *data.classes.tolist()], dtype=object),
    )


def _check_settings(coverage: Any, method: str, confidence: Any) -> None:
    for name, value in (("coverage", coverage), ("confidence", confidence)):
        if not isinstance(value, float | np.floating) or not 0 < value < 1:
            raise ValueError(f"{name} must be between 0 and 1, such as 0.9; got {value!r}.")
    if method not in _SCORES:
        raise ValueError(f"method must be one of {[*_SCORES]}; got {method!r}.")


class ConformalClassifier(WrappedClassifier):
    """A classifier that also answers with a set of classes, which holds the true one as often as it promises.

    Parameters
    ----------
    estimator : classifier with predict_proba
        Any scikit-learn classifier, Pipeline or search. A ``FrozenEstimator`` of scikit-learn is not fitted again:
        all rows that ``fit`` gets are for calibration, and must be of other lesions than its training.
    coverage : float, default=0.9
        How often the sets are to hold the true class, between 0 and 1.
    method : {"lac", "aps"}, default="lac"
        See `conformal_sets`.
    class_conditional : bool, default=False
        Whether the coverage is to hold in each class, and not only on average.
    cv : int, splitter or iterable of (train, test), default=5
        An integer n puts one n-th of the lesions aside for calibration, of the same mix of classes as the rest.
        Else the test part of the first split is for calibration.
    random_state : int, RandomState, Generator or None, default=0
        Chooses these lesions if `cv` is an integer. It does not reach the estimator.

    Attributes
    ----------
    thresholds_ : ndarray of float64, shape (n_classes,)
        The largest score with which a class is in a set; infinite where there were too few lesions to say, so that
        the class is in every set.
    estimator_ : classifier
        The fitted estimator.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    calibration_indices_ : ndarray of intp
        The rows that were put aside.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Those of ``estimator_``, if it has them.

    See Also
    --------
    conformal_sets : Whether the promise is kept, class by class.

    Notes
    -----
    What is promised, and under which condition, is said in the Notes of `conformal_sets`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinclf.evaluation import ConformalClassifier
    >>> generator = np.random.default_rng(0)
    >>> lesion = np.repeat(np.arange(200), 2)
    >>> y = np.where(lesion % 2 == 0, "mel", "nv")
    >>> X = generator.normal(size=(400, 3)) + (y == "mel")[:, None]
    >>> model = ConformalClassifier(LogisticRegression(), coverage=0.95).fit(X, y, groups=lesion)
    >>> model.predict_set(np.array([[2, 2, 2], [0.5, 0.5, 0.5]]))
    array([[ True, False],
           [ True,  True]])
    """

    _parameter_constraints = {  # noqa: RUF012
        "estimator": NEEDS_PROBABILITIES,
        "coverage": [Interval(Real, 0, 1, closed="neither")],
        "method": [StrOptions(set(_SCORES))],
        "class_conditional": ["boolean"],
        "cv": [Integral, "cv_object"],
        "random_state": ["random_state", np.random.Generator],
    }
    thresholds_: FloatArray
    calibration_indices_: NDArray[np.intp]

    def __init__(
        self,
        estimator: Any,
        *,
        coverage: float = 0.9,
        method: Method = "lac",
        class_conditional: bool = False,
        cv: Any = 5,
        random_state: RandomStateLike = 0,
    ) -> None:
        self.estimator = estimator
        self.coverage = coverage
        self.method = method
        self.class_conditional = class_conditional
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None, **fit_params: Any) -> ConformalClassifier:
        """Fit the estimator on one part of the lesions, and calibrate the sets on the other.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images.
        y : array-like of shape (n_images,)
            Their labels.
        groups : array-like of shape (n_images,), default=None
            The lesion of every image. None: the column ``lesion_id`` of `X`, if it is a DataFrame that has one.
        **fit_params : dict
            Passed to ``fit`` of the estimator; those with a value for each row are sliced.

        Returns
        -------
        ConformalClassifier
            Itself.

        Raises
        ------
        ValueError
            If a parameter, a label or a group cannot be used.
        LeakageError
            If `cv` puts a lesion in both parts.
        """
        X, labels = self._check_fit(X, y)
        lesions = resolve_groups(X, groups)
        if is_frozen(self.estimator):
            fitted = self.estimator
            proba, classes = predict_frozen(fitted, X, labels)
            rows = np.arange(len(labels))
        else:
            splits, _ = make_splits(self.cv, X, labels, lesions, random_state=self.random_state)
            result, proba = self._hold_out(X, labels, groups, splits[:1], fit_params, self.random_state)
            (fitted,) = result.estimators or ()
            classes, rows = result.classes, result.test_indices[0]
        values = None if lesions is None else lesions.values[rows]
        data = check_predictions(labels[rows], proba[rows], classes, values)
        every = np.ones(rows.size, dtype=bool)
        self.thresholds_ = _find_thresholds(data, every, self.coverage, self.method, self.class_conditional)
        self.calibration_indices_ = rows
        self._take_over(fitted, classes)
        return self

    def predict_set(self, X: Any) -> NDArray[np.bool_]:
        """Predict the set of classes of each image.

        Parameters
        ----------
        X : DataFrame, array or list of n_images rows
            The images, in any form that the estimator takes.

        Returns
        -------
        ndarray of bool, shape (n_images, n_classes)
            Which classes are in the set. Columns are in the order of ``classes_``.
        """
        check_is_fitted(self)
        proba = check_distributions(self.predict_proba(X), self.classes_)
        sets: NDArray[np.bool_] = _SCORES[self.method](proba) <= self.thresholds_
        return sets
