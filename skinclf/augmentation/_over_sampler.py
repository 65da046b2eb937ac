"""`AugmentedOverSampler`: more rows of rare classes, in the form of imbalanced-learn."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints
from sklearn.utils.multiclass import check_classification_targets

from skinclf._random import RandomStateLike, spawn_seeds, torch_generator
from skinclf._validation import read_input
from skinclf.augmentation._augmenter import LesionAugmenter, augment_array, read_training_images
from skinclf.augmentation._sampling import draw_in_cycles, rows_to_add

_IMAGES_AT_ONCE = 256


class AugmentedOverSampler(BaseEstimator):
    """Add rows of rare classes to a training set: repeated paths, or augmented copies of pixels.

    It has the form of imbalanced-learn's samplers and works as a step of `imblearn.pipeline.Pipeline`, which calls
    it in ``fit`` only; so validation and test images are never resampled. imbalanced-learn need not be installed.
    Resample after the split, never before it: copies on both sides of a split are a leak.

    Paths are repeated as they are, no image is read or copied, and every column of a table, such as ``lesion_id``,
    goes with its row; `LesionCNNClassifier` draws other changes for each repetition. An array of pixels is copied
    as a whole: the result holds the original images, bit for bit and in their order, and after them an augmented
    copy for each row that was added.

    Parameters
    ----------
    sampling_strategy : str, float or dict, default="auto"
        ``"auto"``, the same as ``"not majority"`` or ``"all"``: all classes get as many rows as the largest has.
        ``"minority"``: the smallest class alone does. ``"not minority"``: all others do. A float in (0, 1]: no
        class is left with less than this share of the largest. A dict: the number of rows in the end, for each
        label that it names.
    augmenter : LesionAugmenter, default=None
        What is drawn for each added image; None is ``LesionAugmenter()``. Not used for paths.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the rows that are drawn, and of the augmentation; the augmenter's own does not count here.

    Attributes
    ----------
    sampling_strategy_ : dict
        How many rows were added, for each class that got any.
    sample_indices_ : ndarray of int, shape (n_rows_after,)
        Which row of ``X`` each row of the result is, or is a copy of. ``groups[sampler.sample_indices_]`` are the
        lesions of the result.

    Notes
    -----
    Within a class every row is added once, in random order, before any is added once more.

    Early stopping inside `LesionCNNClassifier` puts whole lesions aside. It knows those of a table with a column
    ``lesion_id`` after the resampling too; those of a pixel array it cannot know, and copies of one image may then
    be trained on and stopped on. For arrays, fit on the result by hand with the groups above, or switch early
    stopping off.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skinclf.augmentation import AugmentedOverSampler
    >>> X = pd.DataFrame({"image": ["a.jpg", "b.jpg", "c.jpg"], "lesion_id": ["L1", "L1", "L2"]})
    >>> sampler = AugmentedOverSampler(random_state=0)
    >>> more, labels = sampler.fit_resample(X, ["nv", "nv", "mel"])
    >>> more["lesion_id"].tolist(), labels
    (['L1', 'L1', 'L2', 'L2'], ['nv', 'nv', 'mel', 'mel'])

    Pixels are augmented:

    >>> images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    >>> more, labels = sampler.fit_resample(images, np.array(["nv", "nv", "mel"]))
    >>> more.shape, sampler.sample_indices_, sampler.sampling_strategy_
    ((4, 16, 16, 3), array([0, 1, 2, 2]), {'mel': 1})
    >>> bool((more[:3] == images).all()), bool((more[3] == images[2]).all())
    (True, False)
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "sampling_strategy": [
            StrOptions({"auto", "all", "not majority", "not minority", "minority"}),
            Interval(Real, 0, 1, closed="right"),
            dict,
        ],
        "augmenter": [LesionAugmenter, None],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        *,
        sampling_strategy: str | float | dict[Any, int] = "auto",
        augmenter: LesionAugmenter | None = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.sampling_strategy = sampling_strategy
        self.augmenter = augmenter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Check the input and count the classes, without drawing anything; `fit_resample` does all of it.

        Parameters
        ----------
        X : DataFrame, list or array
            As for `fit_resample`.
        y : array-like of shape (n_images,)
            Labels.

        Returns
        -------
        AugmentedOverSampler
            With ``sampling_strategy_``.
        """
        self._read(X, y)
        return self

    def fit_resample(self, X: Any, y: Any, **params: Any) -> tuple[Any, Any]:
        """Return the rows of ``X`` and ``y``, and more rows of rare classes after them.

        Parameters
        ----------
        X : DataFrame, list or array
            A table with a column ``image`` of paths, or paths; or pixels of shape
            ``(n_images, height, width, channels)`` or ``(n_images, n_features)``, uint8 in 0–255 or float in 0–1.
        y : array-like of shape (n_images,)
            Labels, of two classes at least.
        **params : dict
            None is known; passing one is an error.

        Returns
        -------
        X_resampled : DataFrame, list or array
            Of the type and dtype of ``X``; tables are numbered anew.
        y_resampled : array-like
            Of the type of ``y``.

        Raises
        ------
        ValueError
            If a parameter is out of its range, ``X`` breaks the image contract, labels are missing or of one class
            only, or the lengths differ.
        TypeError
            If other arguments are passed.
        """
        if params:
            raise TypeError(
                f"AugmentedOverSampler.fit_resample knows no {sorted(params)}. Rows of a DataFrame keep their "
                "lesion_id; for an array take groups[sampler.sample_indices_]."
            )
        images, members = self._read(X, y)
        row_seed, pixel_seed = spawn_seeds(self.random_state, 2)
        rng = np.random.default_rng(row_seed)
        drawn = [draw_in_cycles(members[label], n, rng) for label, n in self.sampling_strategy_.items()]
        originals = np.arange(sum(len(rows) for rows in members.values()))
        added = np.concatenate([originals[:0], *drawn])
        rows = np.concatenate([originals, added])
        resampled = _take(X, rows) if images is None else self._add_copies(X, images, added, pixel_seed)
        self.sample_indices_ = rows
        return resampled, _take(y, rows)

    def _read(self, X: Any, y: Any) -> tuple[NDArray[Any] | None, dict[Any, NDArray[np.intp]]]:
        """Check everything, set ``sampling_strategy_``, return the images, if any, and the rows of each class."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), "AugmentedOverSampler"
        )
        if self.augmenter is not None:
            self.augmenter.check_parameters()
        paths = read_input(X).paths
        images = read_training_images(self, X) if paths is None else None
        labels = _check_labels(y, len(X) if paths is None else len(paths))
        classes, numbers = np.unique(labels, return_inverse=True)
        names = classes.tolist()
        if len(names) < 2:
            raise ValueError(f"y holds one class only ({names[0]!r}); there is no other class to balance it with.")
        sizes = rows_to_add(names, np.bincount(numbers), self.sampling_strategy)
        self.sampling_strategy_ = {name: n for name, n in zip(names, sizes.tolist(), strict=True) if n > 0}
        return images, {name: np.flatnonzero(numbers == number) for number, name in enumerate(names)}

    def _add_copies(self, X: Any, images: NDArray[Any], added: NDArray[np.intp], seed: int) -> Any:
        """Return the images as they came, and after them an augmented copy of each row that is added."""
        augmenter = LesionAugmenter() if self.augmenter is None else self.augmenter
        generator = torch_generator(seed)
        originals = np.asarray(X)
        result = np.empty((len(originals) + len(added), *originals.shape[1:]), dtype=originals.dtype)
        result[: len(originals)] = originals
        copies = result[len(originals) :]
        for start in range(0, len(added), _IMAGES_AT_ONCE):
            part = slice(start, start + _IMAGES_AT_ONCE)
            augmented = augment_array(augmenter, images[added[part]], generator)
            copies[part] = augmented.reshape(copies[part].shape)
        if isinstance(X, pd.DataFrame):
            return pd.DataFrame(result, columns=X.columns).astype(X.dtypes)
        return result.tolist() if isinstance(X, list) else result

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.target_tags.required = True
        tags.non_deterministic = self.random_state is None
        return tags


def _check_labels(y: Any, n_images: int) -> NDArray[Any]:
    if y is None:
        raise ValueError("AugmentedOverSampler requires y to be passed, but the target y is None.")
    labels: NDArray[Any] = column_or_1d(y)
    missing = np.flatnonzero(pd.isna(labels))
    if missing.size:
        raise ValueError(f"y must hold a label for every image; it is missing in rows {missing[:5].tolist()}.")
    check_classification_targets(labels)
    if len(labels) != n_images:
        raise ValueError(f"X and y must have as many rows; X has {n_images}, and y has {len(labels)}.")
    return labels


def _take(values: Any, rows: NDArray[np.intp]) -> Any:
    """Return rows in the type that they came in; an index of pandas is numbered anew."""
    if hasattr(values, "iloc"):
        return values.iloc[rows].reset_index(drop=True)
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
