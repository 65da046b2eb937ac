"""The leak guard: what a classifier was trained on, and whether it is asked about some of it."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skinclf._leakage import (
    UNKNOWN_LESION,
    LeakageError,
    LeakageWarning,
    anything_noted,
    hand_over,
    image_fingerprints,
    lesion_fingerprint,
    lesion_fingerprints,
    noted_lesions,
)
from skinclf.preprocessing._file_images import FileImages

Fingerprints = NDArray[np.uint64]

_SHOWN_ROWS = 5
_IMAGES_AT_ONCE = 256

_REMEDY = (
    "A score on such rows says how well the classifier remembers, not how well it does on new lesions. Split by "
    "lesion before anything is copied or trained: StratifiedGroupKFold with the lesions as groups does, and "
    "skinclf.evaluation.cross_validate by itself; resample inside the training part only. Where this is meant, "
    "set leakage='ignore'."
)
_INNER_SPLIT = (
    "Early stopping looks at photos of lesions that are also trained on: the table that an ImageLoader read names "
    "the lesions, but of a Pipeline only pixels get to the classifier. Pass them by the name of its step, such as "
    "pipeline.fit(X, y, lesioncnnclassifier__groups=X['lesion_id']), or leave out the ImageLoader: the classifier "
    "reads files itself. skinclf.evaluation.cross_validate hands the lesions on."
)


class FingerprintedFiles(FileImages):
    """`FileImages` that notes the fingerprint of each image that is read: no file is decoded for it alone.

    Parameters
    ----------
    files : FileImages
        Whose place it takes.

    Attributes
    ----------
    is_read : ndarray of bool, shape (n_images,)
        Which images were decoded so far.
    prints : ndarray of uint64, shape (n_images,)
        Their fingerprints.
    """

    def __init__(self, files: FileImages) -> None:
        vars(self).update(vars(files))
        self.prints: Fingerprints = np.zeros(len(files), dtype=np.uint64)
        self.is_read: NDArray[np.bool_] = np.zeros(len(files), dtype=bool)

    def read(self, parts: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.uint8]]:
        """Yield images as `FileImages.read` does.

        Parameters
        ----------
        parts : iterable of ndarray of int
            Rows.

        Yields
        ------
        ndarray of uint8, shape (n_rows, size, size, 3)
            RGB values in 0–255.
        """
        asked: deque[NDArray[np.intp]] = deque()

        def noted() -> Iterator[NDArray[np.intp]]:
            for rows in parts:
                asked.append(rows)
                yield rows

        for images in super().read(noted()):
            rows = asked.popleft()
            if not self.is_read[rows].all():
                self.prints[rows] = image_fingerprints(images)
                self.is_read[rows] = True
            yield images

    def read_all(self) -> Fingerprints:
        """Return the fingerprints of all images; those that nobody has read yet are read."""
        rest = np.flatnonzero(~self.is_read)
        for _ in self.read(rest[i : i + _IMAGES_AT_ONCE] for i in range(0, len(rest), _IMAGES_AT_ONCE)):
            pass
        return self.prints


class FingerprintedArray:
    """Images that leave their fingerprints when they are read: in batches, which a processor has at hand then.

    Parameters
    ----------
    images : ndarray or ImageRows, shape (n_images, height, width, channels)
        In memory, or mapped.

    Attributes
    ----------
    prints : ndarray of uint64, shape (n_images,)
        Of the images that were read; 0 for others.
    """

    def __init__(self, images: Any) -> None:
        self._images = images
        self.prints: Fingerprints = np.zeros(len(images), dtype=np.uint64)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return some images, and note what they are."""
        images: NDArray[Any] = self._images[rows]
        self.prints[rows] = image_fingerprints(images)
        return images


def watched_in_fit(classifier: Any, images: Any) -> Any:
    """Return files such that reading them leaves their fingerprints, if the guard is on; arrays as they are."""
    if classifier.leakage == "ignore" or not isinstance(images, FileImages):
        return images
    return FingerprintedFiles(images)


def watched_in_prediction(classifier: Any, images: Any, lesion_id: Any) -> Any:
    """Return images such that reading them leaves their fingerprints; as they are if nothing can come of it."""
    guard: LeakGuard | None = getattr(classifier, "_guard", None)
    if guard is None or classifier.leakage == "ignore" or (len(images) == 1 and guard.is_quiet_on_one(lesion_id)):
        return images
    return FingerprintedFiles(images) if isinstance(images, FileImages) else FingerprintedArray(images)


def all_fingerprints(images: Any) -> Fingerprints:
    """Return the fingerprint of every image; files that were not read yet are decoded for it."""
    if isinstance(images, FileImages):
        return (images if isinstance(images, FingerprintedFiles) else FingerprintedFiles(images)).read_all()
    return image_fingerprints(images)


class LeakGuard:
    """Fingerprints of the images and lesions of a training, those of its inner validation split included.

    Parameters
    ----------
    images, lesions : array-like of uint64
        In any order; repetitions are welcome.
    believes_notes : bool, default=True
        Whether lesions that were noted of images in this process (`skinclf._leakage.note_lesions`) may be compared
        with these. Not so where groups were passed with images of which nothing was noted: a step before the
        classifier has changed them, an augmentation perhaps, and does not change what is predicted.

    Attributes
    ----------
    images, lesions : ndarray of uint64
        Sorted, each once.
    believes_notes : bool

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.estimator._guard import LeakGuard
    >>> guard = LeakGuard(images=[3, 1, 2], lesions=[7])
    >>> new, old = np.array([[4, 5], [2, 1]], dtype=np.uint64)
    >>> guard.judge(new, None), guard.judge(old, None)  # the second is a training score
    (None, None)
    >>> guard.judge(np.array([4, 2, 5], np.uint64), np.array([7, 7, 8], np.uint64)).tolist()
    [True, True, False]
    """

    def __init__(self, images: Any, lesions: Any, believes_notes: bool = True) -> None:
        self.images: Fingerprints = np.unique(np.asarray(images, dtype=np.uint64))
        known = np.unique(np.asarray(lesions, dtype=np.uint64))
        self.lesions: Fingerprints = known[known != UNKNOWN_LESION]
        self.believes_notes = believes_notes
        self._last_told: tuple[int, int] | None = None

    def __reduce__(self) -> tuple[type[LeakGuard], tuple[Fingerprints, Fingerprints, bool]]:
        return type(self), (self.images, self.lesions, self.believes_notes)

    def united(self, earlier: LeakGuard | None) -> LeakGuard:
        """Return the guard of a training that went on from an earlier one."""
        if earlier is None:
            return self
        return LeakGuard(
            np.concatenate([self.images, earlier.images]),
            np.concatenate([self.lesions, earlier.lesions]),
            self.believes_notes and earlier.believes_notes,
        )

    def lesions_of(self, images: Fingerprints, lesion_id: Any) -> Fingerprints | None:
        """Return the fingerprints of the lesions to be judged: those of the column, else those that were noted."""
        if self.lesions.size == 0:
            return None
        if lesion_id is not None:
            return lesion_fingerprints(lesion_id)
        return noted_lesions(images) if self.believes_notes else None

    def judge(self, images: Fingerprints, lesions: Fingerprints | None) -> NDArray[np.bool_] | None:
        """Say which rows were in the training, if only some were.

        Parameters
        ----------
        images : ndarray of uint64, shape (n_images,)
            Fingerprints.
        lesions : ndarray of uint64, shape (n_images,), or None
            Where they are known.

        Returns
        -------
        ndarray of bool, shape (n_images,), or None
            The rows of which the image, or another photo of the lesion, was trained on. None if there are none,
            and if every image was: that is a training score. A set of other photos of training lesions only is
            none, and all of its rows are returned.
        """
        same = _is_among(images, self.images)
        if lesions is None:
            return same if same.any() and not same.all() else None
        if same.all():
            return None
        known = same | _is_among(lesions, self.lesions)
        return known if known.any() else None

    def is_quiet_on_one(self, lesion_id: Any) -> bool:
        """Whether a single image gives nothing to say, whatever its pixels are: it is not "some" of a set.

        Only the photo of a lesion that was trained on does.
        """
        if self.lesions.size == 0:
            return True
        if lesion_id is None:
            return not (self.believes_notes and anything_noted())
        lesion = lesion_fingerprint(lesion_id[0])
        place = int(self.lesions.searchsorted(lesion))
        return place == self.lesions.size or bool(self.lesions[place] != lesion)

    def has_told(self, images: Fingerprints) -> bool:
        """Whether the last warning was of this very set: ``predict`` and ``predict_proba`` of it warn once."""
        told = len(images), int(images.sum())
        is_repeated = told == self._last_told
        self._last_told = told
        return is_repeated


def _is_among(prints: Fingerprints, known: Fingerprints) -> NDArray[np.bool_]:
    """Return ``np.isin(prints, known)``; `known` is sorted, so that few prints are looked up in microseconds."""
    if known.size == 0:
        return np.zeros(len(prints), dtype=bool)
    place = known.searchsorted(prints)
    place[place == known.size] = 0
    found: NDArray[np.bool_] = known[place] == prints
    return found


def remember(classifier: Any, images: Any, *, groups: Any, lesion_id: Any, goes_on: bool) -> None:
    """Set the guard of a classifier that was just trained.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Its attribute ``_guard`` is set; to None with ``leakage="ignore"``, and for rows of a table.
    images : ndarray, ImageRows or FingerprintedFiles
        All images of ``X``. Files that no pass of the training has read are not counted: nothing was learnt of
        them.
    groups, lesion_id : array-like of shape (n_images,), or None
        The lesions as passed, and the column of that name, which goes first: it is what ``predict`` can see.
    goes_on : bool
        Whether the weights come from an earlier training, so that its images count too.
    """
    earlier = getattr(classifier, "_guard", None) if goes_on else None
    classifier._guard = None
    if classifier.leakage == "ignore" or classifier.image_shape_[0] == 1:
        return  # strips are rows of a table, of which two may well be the same
    if isinstance(images, FingerprintedFiles):
        prints = images.prints[images.is_read]
    else:
        prints = image_fingerprints(images)
    noted, named = noted_lesions(prints), groups if lesion_id is None else lesion_id
    lesions = noted if named is None else lesion_fingerprints(named)
    guard = LeakGuard(prints, lesions, believes_notes=lesion_id is not None or bool(noted.any()))
    classifier._guard = guard.united(earlier)


def check_prediction(classifier: Any, images: Any, lesion_id: Any) -> None:
    """Warn, or raise, if some of what is predicted was in the training; see `LeakGuard.judge`.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Fitted.
    images : FingerprintedArray or FingerprintedFiles
        The images that were predicted, each of which was read. There is nothing to say of others, see
        `watched_in_prediction`.
    lesion_id : array-like of shape (n_images,), or None
        The column of that name.

    Raises
    ------
    LeakageError
        With ``leakage="raise"``.

    Warns
    -----
    LeakageWarning
        With ``leakage="warn"``, once for several predictions of one set after the other.
    """
    if not isinstance(images, FingerprintedArray | FingerprintedFiles):
        return
    guard: LeakGuard = classifier._guard
    prints = images.prints
    if hand_over([(classifier, prints, lesion_id)]):
        return
    known = guard.judge(prints, guard.lesions_of(prints, lesion_id))
    if known is None or _is_training_score_of_an_ensemble(guard, prints):
        return
    message = _describe(known, _is_among(prints, guard.images))
    if classifier.leakage == "raise":
        raise LeakageError(message)
    if not guard.has_told(prints):
        warnings.warn(message, LeakageWarning, stacklevel=4)


def check_together(asked: list[tuple[Any, Fingerprints, Any]], ensemble: Any) -> None:
    """Do what `check_prediction` does for members that were asked about the same rows, as for one model.

    The training of that model is what any of its members was trained on.

    Parameters
    ----------
    asked : list of (LesionCNNClassifier, ndarray of uint64, array-like or None)
        For each member the fingerprints of the images as it was given them, and their lesions.
    ensemble : object
        Who has asked them.

    Raises
    ------
    LeakageError
        If a member has ``leakage="raise"``.

    Warns
    -----
    LeakageWarning
        Otherwise, once.
    """
    if not asked or hand_over(asked):
        return
    same = np.zeros(len(asked[0][1]), dtype=bool)
    known = same.copy()
    for classifier, prints, lesion_id in asked:
        guard: LeakGuard = classifier._guard
        same |= _is_among(prints, guard.images)
        lesions = guard.lesions_of(prints, lesion_id)
        if lesions is not None:
            known |= _is_among(lesions, guard.lesions)
    known |= same
    if same.all() or not known.any():
        return
    if all(_is_training_score_of_an_ensemble(c._guard, prints, ensemble) for c, prints, _ in asked):
        return
    message = _describe(known, same)
    if any(classifier.leakage == "raise" for classifier, _, _ in asked):
        raise LeakageError(message)
    classifier, prints, _ = asked[0]
    if not classifier._guard.has_told(prints):
        warnings.warn(message, LeakageWarning, stacklevel=4)


def _describe(known: NDArray[np.bool_], same: NDArray[np.bool_]) -> str:
    n_rows, n_known, n_same = len(known), int(known.sum()), int(same.sum())
    kinds = [
        f"{n:,} as {what}"
        for n, what in ((n_same, "the same image"), (n_known - n_same, "another photo of the same lesion"))
        if n
    ]
    rows = ", ".join(str(row) for row in np.flatnonzero(known)[:_SHOWN_ROWS])
    more = ", ..." if n_known > _SHOWN_ROWS else ""
    return (
        f"{n_known:,} of {n_rows:,} rows to predict ({100 * n_known / n_rows:.1f} %) were in the training, "
        f"{' and '.join(kinds)}; the first are rows {rows}{more}. {_REMEDY}"
    )


def _is_training_score_of_an_ensemble(guard: LeakGuard, prints: Fingerprints, asker: Any = None) -> bool:
    """Whether an ensemble asks a member about everything that it was trained on, and more.

    Members of a bagging or of a calibration with folds know a part of the training set of the whole: asked about
    all of it, they see what looks like a leak, and is a training score. `asker` is itself the member.
    """
    if not _is_among(guard.images, np.unique(prints)).all():
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if caller is not asker and (hasattr(caller, "estimators_") or hasattr(caller, "calibrated_classifiers_")):
            return True
        frame = frame.f_back
    return False


def check_inner_split(
    classifier: Any, prints: Fingerprints, training: NDArray[np.intp], validation: NDArray[np.intp]
) -> None:
    """Say so if early stopping looks at lesions that are trained on, where only a loader knew of them.

    Parameters
    ----------
    classifier : LesionCNNClassifier
        Being fitted, without lesions.
    prints : ndarray of uint64, shape (n_images,)
        Fingerprints of all images of ``X``.
    training, validation : ndarray of int
        Row numbers.

    Warns
    -----
    LeakageWarning
        Without counts, so that the many fits of a search are heard once.
    """
    if classifier.leakage == "ignore" or len(validation) == 0:
        return
    lesions = noted_lesions(prints)
    put_aside = lesions[validation]
    if np.isin(put_aside[put_aside != UNKNOWN_LESION], lesions[training]).any():
        warnings.warn(_INNER_SPLIT, LeakageWarning, stacklevel=4)
