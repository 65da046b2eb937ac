"""`ImageStandardizer` does what numpy's mean and std say, whatever form the same images have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skinclf.preprocessing import ImageStandardizer
from skinclf.preprocessing._standardizer import channel_statistics

pytestmark = pytest.mark.usefixtures("no_global_randomness")

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 10, 12, 3), dtype=np.uint8) // np.array(
    [1, 2, 5], np.uint8
)
UNIT = IMAGES / 255
SQUARE = IMAGES[:, :8, :8]


def test_equals_numpy_over_all_images_and_pixels():
    # 300 images are more than one chunk of 256.
    standardizer = ImageStandardizer().fit(IMAGES)
    np.testing.assert_allclose(standardizer.mean_, UNIT.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(standardizer.scale_, UNIT.std(axis=(0, 1, 2)), rtol=1e-12)
    expected = (UNIT - UNIT.mean(axis=(0, 1, 2))) / UNIT.std(axis=(0, 1, 2))
    result = standardizer.transform(IMAGES)
    assert result.dtype == np.float32
    assert result.shape == IMAGES.shape
    np.testing.assert_allclose(result, expected, atol=1e-6)
    np.testing.assert_allclose(result.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_uint8_and_the_same_images_as_floats_are_interchangeable(dtype):
    floats = UNIT.astype(dtype)
    on_uint8, on_floats = ImageStandardizer().fit(IMAGES), ImageStandardizer().fit(floats)
    np.testing.assert_allclose(on_floats.mean_, on_uint8.mean_, rtol=1e-6)
    np.testing.assert_allclose(on_floats.scale_, on_uint8.scale_, rtol=1e-6)
    np.testing.assert_allclose(on_uint8.transform(floats), on_floats.transform(IMAGES), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint32])
def test_any_integer_type_is_uint8_in_four_dimensions_and_in_two(dtype):
    expected = ImageStandardizer().fit(SQUARE)
    for X in (SQUARE.astype(dtype), SQUARE.astype(dtype).reshape(300, -1)):
        standardizer = ImageStandardizer().fit(X)
        np.testing.assert_array_equal(standardizer.mean_, expected.mean_)
        np.testing.assert_array_equal(expected.transform(X).reshape(SQUARE.shape), expected.transform(SQUARE))


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, np.ndarray.tolist], ids=["array", "frame", "lists"])
def test_rows_equal_images(form):
    rows = form(SQUARE.reshape(300, -1))
    standardizer = ImageStandardizer().fit(rows)
    assert standardizer.image_shape_ == (8, 8, 3)
    assert standardizer.n_features_in_ == 192
    images = ImageStandardizer().fit_transform(SQUARE)
    np.testing.assert_array_equal(standardizer.transform(rows), images.reshape(300, -1))
    np.testing.assert_array_equal(ImageStandardizer().fit(SQUARE).transform(rows), images.reshape(300, -1))


def test_rows_of_another_shape_need_to_be_told():
    rows = IMAGES.reshape(300, -1)
    standardizer = ImageStandardizer(image_shape=(10, 12, 3)).fit(rows)
    np.testing.assert_array_equal(standardizer.mean_, ImageStandardizer().fit(IMAGES).mean_)
    assert ImageStandardizer().fit(rows).image_shape_ == (1, 360, 1)
    with pytest.raises(ValueError, match=r"image_shape=\(9, 12, 3\) holds 324 values, but the rows of X have 360"):
        ImageStandardizer(image_shape=(9, 12, 3)).fit(rows)


def test_a_strip_is_standardized_as_one_channel():
    strips = np.random.default_rng(0).normal(5, 3, (50, 7))
    result = ImageStandardizer().fit_transform(strips)
    np.testing.assert_allclose(result, (strips - strips.mean()) / strips.std(), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("value", [0, 0.2, 1])
def test_a_constant_channel_becomes_zero_and_blows_nothing_up(dtype, value):
    images = IMAGES.copy() if dtype == np.uint8 else UNIT.astype(dtype)
    images[..., 1] = value * 255 if dtype == np.uint8 else value
    standardizer = ImageStandardizer().fit(images)
    assert standardizer.scale_[1] == 1
    result = standardizer.transform(images)
    np.testing.assert_allclose(result[..., 1], 0, atol=1e-6)
    np.testing.assert_allclose(result[..., [0, 2]].std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-5)


def test_one_grey_image():
    image = IMAGES[:1, ..., :1]
    result = ImageStandardizer().fit_transform(image)
    assert result.shape == (1, 10, 12, 1)
    np.testing.assert_allclose([result.mean(), result.std()], [0, 1], atol=1e-5)


def test_another_size_may_be_transformed_but_not_another_number_of_channels():
    standardizer = ImageStandardizer().fit(IMAGES)
    np.testing.assert_array_equal(standardizer.transform(SQUARE), standardizer.transform(IMAGES)[:, :8, :8])
    with pytest.raises(
        ValueError,
        match=r"was fitted on images of shape \(10, 12, 3\); X has images of shape \(10, 12, 1\)",
    ):
        standardizer.transform(IMAGES[..., :1])
    with pytest.raises(ValueError, match="X has 64 features, but ImageStandardizer is expecting 360 features"):
        standardizer.transform(np.zeros((2, 64)))


def test_standardized_images_may_be_standardized_again():
    once = ImageStandardizer().fit_transform(IMAGES)
    np.testing.assert_allclose(ImageStandardizer().fit_transform(once), once, atol=1e-4)


def test_fitting_again_forgets_names_of_columns():
    frame = pd.DataFrame(SQUARE.reshape(300, -1)).add_prefix("pixel")
    standardizer = ImageStandardizer().fit(frame)
    assert standardizer.get_feature_names_out()[5] == "pixel5"
    assert not hasattr(standardizer.fit(SQUARE), "feature_names_in_")


def test_a_read_only_memory_map_is_read_and_not_written(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        ImageStandardizer().fit_transform(mapped), ImageStandardizer().fit_transform(IMAGES)
    )
    reversed_images = IMAGES[::-1, :, ::-1]
    assert ImageStandardizer().fit(reversed_images).mean_ == pytest.approx(ImageStandardizer().fit(IMAGES).mean_)


def test_statistics_of_some_rows_alone():
    rows = np.array([5, 299, 5, 0])
    mean, scale = channel_statistics(IMAGES, rows)
    np.testing.assert_allclose(mean, UNIT[rows].mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(scale, UNIT[rows].std(axis=(0, 1, 2)), rtol=1e-12)


def test_messages():
    with pytest.raises(NotFittedError, match="ImageStandardizer instance is not fitted yet"):
        ImageStandardizer().transform(IMAGES)
    with pytest.raises(
        ValueError, match=r"ImageStandardizer works on pixels, and X holds paths\. Put an ImageLoader"
    ):
        ImageStandardizer().fit(["a.jpg"])
    with pytest.raises(ValueError, match="Row 7 of X contains NaN"):
        ImageStandardizer().fit(np.where(np.arange(300)[:, None, None, None] == 7, np.nan, UNIT))
    with pytest.raises(
        ValueError, match="Integer images must have values in 0-255; X has dtype int64 and values from"
    ):
        ImageStandardizer().fit(SQUARE.reshape(300, -1).astype(int) * 2)
