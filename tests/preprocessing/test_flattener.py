"""`ImageFlattener`: the same values in rows, and back."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skinclf.preprocessing import ImageFlattener

pytestmark = pytest.mark.usefixtures("no_global_randomness")

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip_of_floats_is_exact(channels, dtype):
    images = (IMAGES[..., :channels] / 255).astype(dtype)
    flattener = ImageFlattener()
    rows = flattener.fit_transform(images)
    assert rows.shape == (6, 80 * channels)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(flattener.inverse_transform(rows), images)


def test_round_trip_of_uint8_is_exact_after_rounding():
    flattener = ImageFlattener()
    rows = flattener.fit_transform(IMAGES)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, IMAGES.reshape(6, -1) / 255, rtol=1e-6)
    assert 0 <= rows.min() <= rows.max() <= 1
    np.testing.assert_array_equal(np.rint(flattener.inverse_transform(rows) * 255), IMAGES)


def test_names_say_where_a_value_comes_from():
    flattener = ImageFlattener().fit(IMAGES)
    names = flattener.get_feature_names_out()
    assert len(set(names)) == 240
    marked = np.zeros((1, 8, 10, 3))
    marked[0, 3, 7, 0] = 1
    assert names[flattener.transform(marked).argmax()] == "row3_column7_red"
    assert names[[0, 1, 2, -1]].tolist() == [
        "row0_column0_red",
        "row0_column0_green",
        "row0_column0_blue",
        "row7_column9_blue",
    ]
    grey = ImageFlattener().fit(IMAGES[..., :1]).get_feature_names_out()
    assert grey[[0, -1]].tolist() == ["row0_column0_grey", "row7_column9_grey"]
    frame = ImageFlattener().set_output(transform="pandas").fit_transform(IMAGES)
    assert frame.columns.tolist() == names.tolist()


def test_flat_rows_keep_their_shape_and_their_scale():
    square = IMAGES[:, :, :8]
    rows = ImageFlattener().fit_transform(square.reshape(6, -1))
    np.testing.assert_array_equal(rows, ImageFlattener().fit_transform(square))
    np.testing.assert_array_equal(rows, ImageFlattener().fit_transform(square.reshape(6, -1).astype(np.int64)))
    strips = np.random.default_rng(0).normal(size=(6, 5))
    np.testing.assert_array_equal(ImageFlattener().fit_transform(strips), strips)


def test_not_contiguous_and_read_only_images(tmp_path):
    turned = IMAGES.transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(
        ImageFlattener().fit_transform(turned), ImageFlattener().fit_transform(turned.copy())
    )
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(ImageFlattener().fit_transform(mapped), ImageFlattener().fit_transform(IMAGES))


def test_a_classical_model_follows():
    y = np.array([0, 1, 0, 1, 0, 1])
    model = make_pipeline(ImageFlattener(), LogisticRegression()).fit(IMAGES, y)
    assert model.score(IMAGES, y) == 1


def test_messages():
    with pytest.raises(NotFittedError, match="ImageFlattener instance is not fitted yet"):
        ImageFlattener().transform(IMAGES)
    flattener = ImageFlattener().fit(IMAGES)
    with pytest.raises(
        ValueError, match=r"fitted on images of shape \(8, 10, 3\); X has images of shape \(8, 8, 3\)"
    ):
        flattener.transform(IMAGES[:, :, :8])
    with pytest.raises(ValueError, match="X has 64 features, but ImageFlattener is expecting 240 features"):
        flattener.transform(np.zeros((1, 64)))
    with pytest.raises(ValueError, match=r"X has 64 features, but images of shape \(8, 10, 3\) have 240"):
        flattener.inverse_transform(np.zeros((1, 64)))
    with pytest.raises(ValueError, match="ImageFlattener works on pixels, and X holds paths"):
        flattener.transform(["a.jpg"])
