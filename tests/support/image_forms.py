"""Tiny lesions in every form that ``X`` may have, and the steps that the image checks are made of."""

from __future__ import annotations

import atexit
import functools
import hashlib
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from skinclf.datasets import make_lesions

SIDE = 8
"""Pixels of a side: the least for which rows are taken as square images and images are augmented."""

QUICK: dict[str, Any] = {
    "size": SIDE,
    "image_size": SIDE,
    "max_epochs": 2,
    "batch_size": 16,
    "architecture_params": {"width": 8, "depth": 1},
    "random_state": 0,
}
"""Parameters with which a fit takes some 25 ms; an estimator gets those that it has."""


@functools.cache
def lesions() -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
    """56 painted images of 8 pixels, their labels and their lesions: 7 classes, 4 lesions each, 2 photos each."""
    bunch = make_lesions(n_lesions=28, images_per_lesion=2, image_size=2 * SIDE, random_state=0)
    arrays = np.ascontiguousarray(bunch.images[:, ::2, ::2]), bunch.target, bunch.groups
    for array in arrays:
        array.flags.writeable = False  # shared by all checks: each gets copies
    return arrays


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="image-checks-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def write_files(images: NDArray[np.uint8]) -> list[str]:
    """Return the path of a PNG file for each image; equal images share one."""
    paths = []
    for image in np.ascontiguousarray(images):
        digest = hashlib.blake2b(image.tobytes() + str(image.shape).encode(), digest_size=8).hexdigest()
        path = _folder() / f"{digest}.png"
        if not path.exists():
            Image.fromarray(image).save(path)
        paths.append(str(path))
    return paths


def _as_flat_frame(images: NDArray[np.uint8], groups: Any) -> pd.DataFrame:
    rows = images.reshape(len(images), -1) / 255
    columns = [f"pixel_{i}" for i in range(rows.shape[1])]
    return pd.DataFrame(rows, columns=columns, index=_odd_index(len(rows)))


def _as_frame(images: NDArray[np.uint8], groups: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"age": 50.0, "image": write_files(images)}, index=_odd_index(len(images)))
    return frame if groups is None else frame.assign(lesion_id=groups)


def _odd_index(n_rows: int) -> NDArray[np.intp]:
    """Labels of rows that are not their positions, so that a mix-up of the two is found."""
    return np.arange(n_rows)[::-1] + 1000


Form = Callable[[NDArray[np.uint8], Any], Any]
"""From images and their lesions, or None, to ``X``."""

PIXEL_FORMS: dict[str, Form] = {
    "uint8": lambda images, groups: images.copy(),
    "float": lambda images, groups: images / 255,
    "flat": lambda images, groups: images.reshape(len(images), -1).copy(),
    "flat_frame": _as_flat_frame,
}
PATH_FORMS: dict[str, Form] = {
    "paths": lambda images, groups: write_files(images),
    "path_array": lambda images, groups: np.array(write_files(images)),
    "path_series": lambda images, groups: pd.Series(write_files(images), index=_odd_index(len(images))),
    "frame": _as_frame,
}
FORMS = PIXEL_FORMS | PATH_FORMS
ROUNDED_FORMS = {"float", "flat_frame"}
"""Their values divided by 255, and so not to the last bit what the uint8 images give."""


def takes_pixels(estimator: Any) -> bool:
    """Whether the estimator says that it takes arrays of pixels."""
    return bool(get_tags(estimator).input_tags.two_d_array)


def takes_paths(estimator: Any) -> bool:
    """Whether the estimator says that it takes paths."""
    return bool(get_tags(estimator).input_tags.string)


def forms_of(estimator: Any) -> list[str]:
    """Return the names of the forms that the tags of an estimator promise; the first is the plainest one."""
    pixels = list(PIXEL_FORMS) if takes_pixels(estimator) else []
    return pixels + (list(PATH_FORMS) if takes_paths(estimator) else [])


def make_X(form: str, images: NDArray[np.uint8] | None = None, groups: Any = None) -> Any:  # noqa: N802
    """Return images in a form; all lesions by default."""
    if images is None:
        images, _, groups = lesions()
    return FORMS[form](images, groups)


def quick(estimator: Any) -> Any:
    """Return a clone whose fit takes milliseconds, as scikit-learn's own suite makes them."""
    estimator = clone(estimator)
    known = estimator.get_params(deep=False)
    return estimator.set_params(**{name: value for name, value in QUICK.items() if name in known})


def fit(estimator: Any, X: Any, y: Any = None, groups: Any = None, **params: Any) -> Any:
    """Fit a classifier with its lesions, or a transformer; return what ``fit`` returns."""
    y = lesions()[1] if y is None and is_classifier(estimator) else y
    in_column = isinstance(X, pd.DataFrame) and "lesion_id" in X.columns
    if groups is not None and not in_column and has_fit_parameter(estimator, "groups"):
        params["groups"] = groups
    return estimator.fit(X, y, **params)


def trained(estimator: Any, form: str) -> Any:
    """Return a quick clone that is fitted on all lesions in a form."""
    return fit(quick(estimator), make_X(form), groups=lesions()[2])


@functools.cache
def shared(estimator: Any, form: str) -> Any:
    """Return a fitted clone that checks share: they must not change it."""
    return trained(estimator, form)


def respond(estimator: Any, X: Any) -> Any:
    """Return what a fitted estimator makes of ``X``: probabilities, or transformed images."""
    return estimator.predict_proba(X) if is_classifier(estimator) else estimator.transform(X)


def equal(actual: Any, expected: Any, what: str) -> None:
    """Assert equality, and show both."""
    assert actual == expected, f"{what}: {actual!r}, expected {expected!r}"


def same_bits(actual: Any, expected: Any, what: str) -> None:
    """Assert equality of type, shape and every bit."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    equal(actual.dtype, expected.dtype, f"{what}, dtype")
    equal(actual.shape, expected.shape, f"{what}, shape")
    np.testing.assert_array_equal(actual, expected, err_msg=what)


def same_response(estimator: Any, actual: Any, expected: Any, what: str) -> None:
    """Assert equality as far as it can be had: in every bit of pixels, to 1e-6 in what a network computes.

    The same image in a batch of another size is multiplied in another order.
    """
    if hasattr(estimator, "network_"):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6, err_msg=what)
    elif is_classifier(estimator):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6, err_msg=what)
        same_bits(np.argmax(actual, axis=1), np.argmax(expected, axis=1), what)
    else:
        same_bits(actual, expected, what)


@contextmanager
def refused(kind: type[Exception] | tuple[type[Exception], ...], *parts: str) -> Iterator[None]:
    """Assert that what follows raises, with a message that has all these parts."""
    try:
        yield
    except kind as error:
        message = str(error)
    else:
        raise AssertionError("not refused")
    missing = [part for part in parts if part not in message]
    assert not missing, f"the message does not say {missing}: {message}"


@contextmanager
def kept_global_states() -> Iterator[None]:
    """Give the global generators of Python, NumPy and torch back their states at the end."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.random.set_rng_state(states[2])


def global_states() -> list[Any]:
    """Return the states of the global generators of Python, NumPy and torch, to be compared."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return [
        random.getstate(),
        *(np.asarray(part).tolist() for part in numpy_state),
        torch.get_rng_state().tolist(),
    ]


def seed_globally(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
