"""Checks of arrays of pixels: how they lie in memory, their types, values, channels and sizes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from image_forms import equal, fit, lesions, make_X, quick, refused, respond, same_bits, shared
from numpy.typing import NDArray
from sklearn.base import is_classifier

Array = NDArray[Any]


def _unaligned(X: Array) -> Array:
    """Return the same values at addresses that are no multiple of their size."""
    return np.frombuffer(b"\0" + X.tobytes(), dtype=X.dtype, offset=1).reshape(X.shape)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran order": np.asfortranarray,
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "rows backwards": lambda X: X[::-1].copy()[::-1],
    "every second value": lambda X: np.repeat(X, 2, axis=-1)[..., ::2],
    "values backwards": lambda X: X[..., ::-1].copy()[..., ::-1],
    "last axis first": lambda X: np.moveaxis(np.ascontiguousarray(np.moveaxis(X, -1, 0)), 0, -1),
    "unaligned": _unaligned,
}


def _learns_the_same(estimator: Any, form: str, X: Any, what: str) -> None:
    """Assert that fitting on, and responding to, `X` gives what the plain array in this form gives."""
    fitted, expected = shared(estimator, form), respond(shared(estimator, form), make_X(form))
    same_bits(respond(fitted, X), expected, f"{what}, asked")
    again = fit(quick(estimator), X, groups=lesions()[2])
    same_bits(respond(again, make_X(form)), expected, f"{what}, fitted")
    if hasattr(estimator, "fit_transform"):
        first, second = quick(estimator).fit_transform(make_X(form)), quick(estimator).fit_transform(X)
        same_bits(second, first, f"{what}, fit_transform")


def check_the_layout_in_memory_does_not_matter(estimator: Any, form: str) -> None:
    X = make_X(form)
    for name, change in LAYOUTS.items():
        changed = change(X)
        np.testing.assert_array_equal(changed, X)
        _learns_the_same(estimator, form, changed, name)


def check_read_only_arrays_are_taken(estimator: Any, form: str) -> None:
    X = make_X(form)
    X.flags.writeable = False
    _learns_the_same(estimator, form, X, "read-only")


def check_read_only_memory_maps_are_taken(estimator: Any, form: str) -> None:
    X = make_X(form)
    with tempfile.TemporaryDirectory() as folder:
        for name, array in {"C": np.ascontiguousarray(X), "Fortran": np.asfortranarray(X)}.items():
            path = Path(folder) / f"{name}.npy"
            np.save(path, array)
            mapped = np.load(path, mmap_mode="r")
            _learns_the_same(estimator, form, mapped, f"a memory map in {name} order")
            del mapped  # Windows deletes no file that is mapped


def check_integers_of_any_type_are_uint8(estimator: Any, form: str) -> None:
    X = make_X(form)
    expected = respond(shared(estimator, form), X)
    for dtype in ("u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i2", ">u4", ">i8"):
        same_bits(respond(shared(estimator, form), X.astype(dtype)), expected, f"{dtype}, asked")
        fitted = fit(quick(estimator), X.astype(dtype), groups=lesions()[2])
        same_bits(respond(fitted, X), expected, f"{dtype}, fitted")


def check_floats_of_any_type_are_taken(estimator: Any, form: str) -> None:
    X = make_X(form) if form == "float" else make_X(form) / 255
    expected = None
    for dtype in ("f8", "f4", "f2", np.longdouble, ">f4", ">f8"):
        digits = 5e-3 if dtype == "f2" else 1e-5
        fitted = fit(quick(estimator), X.astype(dtype), groups=lesions()[2])
        result = respond(fitted, X.astype(dtype))
        assert result.dtype.isnative, f"{dtype}: in foreign byte order"
        assert result.dtype in (np.float32, np.float64), f"{dtype}: {result.dtype}"
        expected = result if expected is None else expected
        if is_classifier(fitted):  # the last digits of the images, enlarged by the training
            np.testing.assert_allclose(result, expected, atol=100 * digits, err_msg=str(dtype))
        else:
            np.testing.assert_allclose(result, expected, rtol=digits, atol=10 * digits, err_msg=str(dtype))


def check_other_types_are_refused(estimator: Any, form: str) -> None:
    X = make_X(form)
    wrong = {"bool": X > 100, "Complex": X.astype(complex), "strings": X.astype(str)}
    if form == "uint8":
        wrong = {str(X.dtype): X for X in wrong.values()}
        wrong |= {"object": X.astype(object), "datetime64[s]": X.astype("datetime64[s]"), "|V1": X.view("V1")}
    for said, values in wrong.items():
        with refused((TypeError, ValueError), said):
            fit(quick(estimator), values)
        with refused((TypeError, ValueError), said):
            respond(shared(estimator, form), values)


def check_numbers_that_are_not_finite_are_refused(estimator: Any, form: str) -> None:
    for value, said in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
        X = make_X(form)
        X.reshape(len(X), -1)[3, 10] = value
        with refused(ValueError, "Row 3", said):
            fit(quick(estimator), X)
        with refused(ValueError, "Row 3", said):
            respond(shared(estimator, form), X)


def check_values_outside_of_the_range_are_refused(estimator: Any, form: str) -> None:
    images = lesions()[0].reshape(make_X(form).shape)
    wrong = [
        (images * np.int64(3), "0-255"),
        (images - np.int16(100), "0-255"),
        (images.astype(np.uint16) * 256, "0-255"),
    ]
    if form != "flat":  # rows of floats may be on any scale: features of any kind
        wrong += [(images.astype(np.float32), "0-1"), (images / 128, "0-1")]
    for X, said in wrong:
        with refused(ValueError, said):
            fit(quick(estimator), X)
        with refused(ValueError, said):
            respond(shared(estimator, form), X)


def check_images_without_contrast_are_taken(estimator: Any, form: str) -> None:
    X, groups = make_X(form), lesions()[2]
    highest = 255 if X.dtype == np.uint8 else 1
    for value in (0, highest, highest / 2):
        flat = np.full_like(X, value)
        assert np.isfinite(respond(shared(estimator, form), flat)).all(), f"all {value}"
        assert np.isfinite(respond(fit(quick(estimator), flat, groups=groups), flat)).all(), (
            f"fitted on all {value}"
        )


def check_sizes_and_channels(estimator: Any, form: str) -> None:
    rng, groups = np.random.default_rng(0), lesions()[2]
    for shape in ((8, 8, 1), (8, 12, 3), (12, 8, 1), (9, 11, 3), (13, 13, 1), (3, 5, 3), (1, 10, 1), (1, 1, 3)):
        images = rng.integers(0, 256, size=(56, *shape), dtype=np.uint8)
        X = images if form == "uint8" else images / 255
        fitted = fit(quick(estimator), X, groups=groups)
        result = respond(fitted, X)
        equal(fitted.image_shape_, shape, "image_shape_")
        equal(fitted.n_features_in_, int(np.prod(shape)), "n_features_in_")
        equal(len(result), 56, "images")
        assert np.isfinite(result).all(), f"{shape}: not finite"
        if hasattr(fitted, "fit_transform"):
            equal(fitted.fit_transform(X).shape, result.shape, "shape of fit_transform")
