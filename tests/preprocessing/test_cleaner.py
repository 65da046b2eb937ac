"""What `ColorConstancy` and `HairRemover` have in common: forms of X, no need of `fit`, batches, messages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skinclf.preprocessing import ColorConstancy, HairRemover, ImageFlattener, _cleaner

pytestmark = pytest.mark.usefixtures("no_global_randomness")

CLEANERS = [ColorConstancy(), HairRemover()]
each_cleaner = pytest.mark.parametrize("cleaner", CLEANERS, ids=lambda cleaner: type(cleaner).__name__)


def reddish_images_with_a_hair(n_images: int = 5, height: int = 40, width: int = 40) -> np.ndarray:
    images = np.random.default_rng(0).integers(-6, 7, (n_images, height, width, 3)) + np.array([200, 150, 130])
    for number, image in enumerate(images):
        image[5 + 4 * number : 7 + 4 * number, 3:-3] -= 90
    return images.astype(np.uint8)


IMAGES = reddish_images_with_a_hair()
EXPECTED = {type(cleaner): clone(cleaner).fit_transform(IMAGES) for cleaner in CLEANERS}


@each_cleaner
def test_images_are_changed_and_the_input_is_not(cleaner):
    before = IMAGES.copy()
    result = clone(cleaner).fit_transform(IMAGES)
    assert result.dtype == np.uint8
    assert result.shape == IMAGES.shape
    assert (result != IMAGES).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(IMAGES, before)


@each_cleaner
def test_transform_needs_no_fit_and_leaves_nothing_behind(cleaner):
    fresh = clone(cleaner)
    before = dict(vars(fresh))
    np.testing.assert_array_equal(fresh.transform(IMAGES), EXPECTED[type(cleaner)])
    assert vars(fresh) == before
    fresh.transform(IMAGES[..., :1])  # and so another form may follow


@each_cleaner
def test_after_fit_the_size_may_differ_and_the_channels_may_not(cleaner):
    fitted = clone(cleaner).fit(IMAGES[:, :20, :30])
    assert fitted.image_shape_ == (20, 30, 3)
    assert fitted.n_features_in_ == 1800
    np.testing.assert_array_equal(fitted.transform(IMAGES), EXPECTED[type(cleaner)])
    with pytest.raises(ValueError, match=r"was fitted on images of shape \(20, 30, 3\); X has images of shape"):
        fitted.transform(IMAGES[..., :1])


@each_cleaner
@pytest.mark.parametrize("n_values", [1, 2 * IMAGES[0].size, 10**9])
def test_batches_make_no_difference(cleaner, n_values, monkeypatch):
    monkeypatch.setattr(_cleaner, "_VALUES_AT_ONCE", n_values)
    np.testing.assert_array_equal(clone(cleaner).transform(IMAGES), EXPECTED[type(cleaner)])
    floats = IMAGES.astype(np.float32) / 255
    alone = np.concatenate([clone(cleaner).transform(floats[row : row + 1]) for row in range(len(floats))])
    np.testing.assert_array_equal(clone(cleaner).transform(floats), alone)


@each_cleaner
def test_an_image_is_cleaned_by_itself(cleaner):
    order = np.random.default_rng(1).permutation(len(IMAGES))
    np.testing.assert_array_equal(clone(cleaner).transform(IMAGES[order]), EXPECTED[type(cleaner)][order])


@each_cleaner
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_keep_their_dtype_and_agree_with_uint8(cleaner, dtype):
    result = clone(cleaner).transform((IMAGES / 255).astype(dtype))
    assert result.dtype == dtype
    assert 0 <= result.min() <= result.max() <= 1
    np.testing.assert_allclose(255 * result, EXPECTED[type(cleaner)], atol=0.5001)


@each_cleaner
@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, np.ndarray.tolist], ids=["array", "frame", "lists"])
def test_rows_equal_images(cleaner, form):
    rows = form(IMAGES.reshape(len(IMAGES), -1))
    result = clone(cleaner).fit_transform(rows)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, EXPECTED[type(cleaner)].reshape(len(IMAGES), -1))
    np.testing.assert_array_equal(clone(cleaner).transform(rows), result)


@each_cleaner
def test_rows_of_another_shape_need_to_be_told(cleaner):
    oblong = IMAGES[:, :30]
    rows = oblong.reshape(len(IMAGES), -1)
    told = clone(cleaner).set_params(image_shape=(30, 40, 3))
    np.testing.assert_array_equal(
        told.fit_transform(rows), clone(cleaner).transform(oblong).reshape(len(IMAGES), -1)
    )
    with pytest.raises(ValueError, match=r"image_shape=\(30, 40, 1\) holds 1200 values"):
        clone(cleaner).set_params(image_shape=(30, 40, 1)).fit(rows)


@each_cleaner
def test_strips_of_features_are_returned_as_they_are_but_not_themselves(cleaner):
    strips = np.random.default_rng(0).normal(0, 50, (6, 7))
    result = clone(cleaner).fit_transform(strips)
    np.testing.assert_array_equal(result, strips)
    assert not np.shares_memory(result, strips)


@each_cleaner
def test_names_and_frames(cleaner):
    frame = pd.DataFrame(IMAGES.reshape(len(IMAGES), -1), index=list("abcde")).add_prefix("pixel")
    result = clone(cleaner).set_output(transform="pandas").fit_transform(frame)
    assert result.index.tolist() == list("abcde")
    assert result.columns.tolist() == frame.columns.tolist()
    assert (result.dtypes == np.uint8).all()


@each_cleaner
def test_a_read_only_memory_map_is_read_and_not_written(cleaner, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(clone(cleaner).transform(mapped), EXPECTED[type(cleaner)])
    backwards = IMAGES[::-1, :, ::-1]
    np.testing.assert_array_equal(
        clone(cleaner).transform(backwards), clone(cleaner).transform(np.ascontiguousarray(backwards))
    )


def test_both_are_steps_of_a_pipeline():
    pipeline = make_pipeline(HairRemover(), ColorConstancy(), ImageFlattener())
    rows = pipeline.fit_transform(IMAGES)
    expected = ColorConstancy().transform(EXPECTED[HairRemover]) / 255
    np.testing.assert_allclose(rows, expected.reshape(len(IMAGES), -1), rtol=1e-6)


@each_cleaner
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (["a.jpg"], "works on pixels, and X holds paths. Put an ImageLoader before it"),
        (IMAGES / 1.0, r"Float images must have values in 0-1; row 0 of X has \d+"),
        (
            IMAGES / 255.0 - 0.7,
            r"Float images must have values in 0-1; row \d of X has -.*before they were standard",
        ),
        (np.where(IMAGES > 100, np.nan, 0.0), "Row 0 of X contains NaN"),
        (IMAGES[0], r"A single image is passed as X\[np.newaxis\]"),
        (IMAGES[..., [0, 1]], "Pass images with 1 .grey. or 3 .RGB. channels"),
    ],
    ids=["paths", "0-255", "standardized", "nan", "one", "two channels"],
)
def test_messages(cleaner, X, message):
    with pytest.raises(ValueError, match=message):
        clone(cleaner).fit(X)
    with pytest.raises(ValueError, match=message):
        clone(cleaner).transform(X)
