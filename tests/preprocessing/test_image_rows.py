"""`ImageRows`: as an array, but read-only, and nothing is copied before it is indexed."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from skinclf.preprocessing._image_rows import ImageRows

ROWS = [4, 0, 4, 2]


@pytest.fixture
def base():
    return np.random.default_rng(0).integers(0, 256, (5, 3, 4, 3), dtype=np.uint8)


@pytest.fixture
def images(base):
    return ImageRows(base, ROWS)


def test_it_looks_like_the_array_that_it_stands_for(base, images):
    array = base[ROWS]
    for name in ("shape", "ndim", "dtype", "nbytes"):
        assert getattr(images, name) == getattr(array, name)
    assert len(images) == 4
    np.testing.assert_array_equal(np.asarray(images), array)
    np.testing.assert_array_equal(np.asarray(images, dtype=np.float32), array.astype(np.float32))
    np.testing.assert_array_equal(np.stack(list(images)), array)
    assert repr(images) == "ImageRows(shape=(4, 3, 4, 3), dtype=uint8)"


@pytest.mark.parametrize(
    "index",
    [
        0, -1, np.int64(2), slice(None), slice(1, 3), slice(None, None, -2), [3, 0, 3], [], np.array([1, -1]),
        np.array([True, False, True, True]),
    ],
    ids=repr,
)  # fmt: skip
def test_an_index_copies_what_the_array_would_give(base, images, index):
    part = images[np.array(index, dtype=np.intp) if isinstance(index, list) else index]
    np.testing.assert_array_equal(part, base[ROWS][np.array(index, int) if isinstance(index, list) else index])
    assert not np.shares_memory(part, base)
    assert part.flags.writeable


def test_nothing_can_be_written(base, images):
    with pytest.raises(TypeError, match="does not support item assignment"):
        images[0] = 0
    for image in images:
        assert np.shares_memory(image, base)
        assert not image.flags.writeable
    assert base.flags.writeable  # of the caller's array nothing changes


@pytest.mark.parametrize("index", [4, -5, [0, 4]])
def test_an_index_out_of_range(images, index):
    with pytest.raises(IndexError, match="is out of bounds for axis 0 with size 4"):
        images[index]


def test_an_index_of_pixels_is_refused(images):
    with pytest.raises(TypeError, match=re.escape("select pixels afterwards: images[rows][:, top:bottom, left")):
        images[:, 0, 0]


@pytest.mark.parametrize("rows", [[5], [-1], [[0, 1]], 3])
def test_rows_that_are_not_in_the_base(base, rows):
    with pytest.raises(IndexError, match=re.escape(f"from 0 to 4, one for each image; got {rows!r}.")):
        ImageRows(base, rows)


def test_take_selects_among_the_selected(base, images):
    np.testing.assert_array_equal(images.take([3, 0, 3]), base[[2, 4, 2]])
    assert len(images.take([])) == 0
    np.testing.assert_array_equal(ImageRows(base), base)


def test_an_array_of_it_is_always_a_copy(images):
    with pytest.raises(ValueError, match="an array of them is a copy"):
        np.asarray(images, copy=False)


def test_a_pickle_holds_the_selected_pixels_and_not_the_base():
    base = np.zeros((1000, 8, 8, 3), dtype=np.uint8)
    base[7] = 7
    content = pickle.dumps(ImageRows(base, [7, 3]))
    assert len(content) < 1000
    copy = pickle.loads(content)
    assert isinstance(copy, ImageRows)
    np.testing.assert_array_equal(copy, base[[7, 3]])
