"""The image contract: every form of ``X`` that is taken, and what is said of every other (faults 26–35 and 48)."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import sparse

from skinclf._validation import check_groups, check_images, check_paths, infer_image_shape, read_input

PATHS = ["a.jpg", "b c.png", "é/д.JPG"]


def images(*shape, dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).random(shape)
    return (values * 255).astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype)


PATH_FORMS = {
    "list of str": PATHS,
    "tuple of Path": tuple(map(Path, PATHS)),
    "mixed str and Path": [PATHS[0], Path(PATHS[1]), PATHS[2]],
    "array of str": np.array(PATHS),
    "object array of Path": np.array(list(map(Path, PATHS)), dtype=object),
    "StringDtype array": np.array(PATHS, dtype=np.dtypes.StringDType()),
    "one column of str": np.array(PATHS).reshape(-1, 1),
    "one column of objects": np.array(PATHS, dtype=object).reshape(-1, 1),
    "list of lists": [[path] for path in PATHS],
    "Series": pd.Series(PATHS, index=[5, 3, 9]),
    "object Series": pd.Series(PATHS, dtype=object),
    "pandas string array": pd.array(PATHS, dtype="string"),
    "Index": pd.Index(PATHS),
    "categorical Series": pd.Series(PATHS, dtype="category"),
    "DataFrame": pd.DataFrame({"age": [1, 2, 3], "image": PATHS}, index=[5, 3, 9]),
    "DataFrame of Path": pd.DataFrame({"image": list(map(Path, PATHS))}),
}


@pytest.mark.parametrize("X", PATH_FORMS.values(), ids=PATH_FORMS)
def test_every_form_of_paths_is_read_as_the_same_str(X):
    given = read_input(X)
    assert given.paths.tolist() == PATHS
    assert given.paths.dtype == object
    assert all(type(path) is str for path in given.paths)
    assert given.images is None
    assert given.rows is None


OPEN_IMAGES = [b"\0a\0", bytearray(b"b\0"), memoryview(b"c"), io.BytesIO(b"d"), Image.new("RGB", (2, 3))]


@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "beside a path"])
@pytest.mark.parametrize("container", [list, tuple, pd.Series, lambda values: pd.DataFrame({"image": values})])
def test_images_without_a_path_come_as_they_are(container, mixed):
    for value in OPEN_IMAGES:
        X = container([value, Path("a.jpg")] if mixed else [value, value])
        given = read_input(X)
        assert given.paths[0] is value
        assert given.paths[1] == "a.jpg" if mixed else given.paths[1] is value
        assert given.images is None
        assert given.rows is None


@pytest.mark.parametrize("single", OPEN_IMAGES, ids=lambda single: type(single).__name__)
def test_a_single_image_without_a_path_is_refused(single):
    with pytest.raises(TypeError, match=rf"got a single {type(single).__name__}\. Pass \[file\]\."):
        read_input(single)


def test_arrays_that_can_be_read_are_pixels_still():
    class Stored:
        """As of a library for files of arrays."""

        shape = PIXELS.shape

        def read(self):
            return PIXELS

        def __array__(self, dtype=None, copy=None):
            return PIXELS

    np.testing.assert_array_equal(read_input(Stored()).images, PIXELS)


def test_lesions_come_along_where_the_frame_has_them():
    frame = pd.DataFrame({"image": PATHS, "lesion_id": ["x", None, "x"]})
    lesion_id = read_input(frame).lesion_id
    assert lesion_id.dtype == object
    assert lesion_id[0] == lesion_id[2] == "x"
    assert pd.isna(lesion_id[1])
    assert read_input(frame[["image"]]).lesion_id is None


PIXELS = images(2, 8, 9, 3)
PIXEL_FORMS = {
    "array": PIXELS,
    "nested lists": PIXELS.tolist(),
    "list of arrays": list(PIXELS),
    "torch tensor": torch.from_numpy(PIXELS),
    "not contiguous": np.asfortranarray(PIXELS),
    "sliced": np.repeat(PIXELS, 2, axis=0)[::2],
}


@pytest.mark.parametrize("X", PIXEL_FORMS.values(), ids=PIXEL_FORMS)
def test_every_form_of_pixels_is_read_as_images(X):
    given = read_input(X)
    np.testing.assert_array_equal(check_images(given.images), PIXELS)
    assert given.paths is None
    assert given.rows is None


@pytest.mark.parametrize(
    "X",
    [
        np.ones((3, 4)),
        [[1, 2], [3, 4]],
        pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0]}),
        pd.DataFrame({"a": [1, 2], "b": [3, 4]}, dtype=object),
        np.ones((2, 1), dtype=object),
        np.ones(5),
        sparse.csr_array(np.eye(3)),
    ],
    ids=["array", "lists", "frame", "frame of objects", "object column", "1-D", "sparse"],
)
def test_rows_are_left_to_scikit_learn_to_check(X):
    given = read_input(X)
    assert given.rows is not None
    assert given.paths is None
    assert given.images is None


def test_an_array_is_not_copied():
    assert read_input(PIXELS).images is PIXELS
    assert check_images(PIXELS) is PIXELS
    floats = PIXELS / 255
    assert check_images(floats) is floats


@pytest.mark.fault(34)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_read_only_memory_map_is_taken_as_it_is(tmp_path, dtype):
    np.save(tmp_path / "images.npy", images(2, 8, 8, 3, dtype=dtype))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.shares_memory(check_images(read_input(mapped).images), mapped)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint16, ">i4"])
def test_integers_in_0_to_255_become_uint8(dtype):
    whole = np.arange(8 * 8 * 3).reshape(1, 8, 8, 3) % 128
    checked = check_images(whole.astype(dtype))
    assert checked.dtype == np.uint8
    np.testing.assert_array_equal(checked, whole)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.longdouble, np.float64),
        (">f4", np.float32),
        (">f8", np.float64),
    ],
)
def test_floats_become_what_torch_takes(dtype, expected):
    given = images(2, 8, 8, 1, dtype=dtype)
    checked = check_images(given)
    assert checked.dtype == np.dtype(expected)
    assert checked.dtype.isnative
    np.testing.assert_array_equal(checked, given.astype(expected))
    torch.from_numpy(checked)


def test_standardized_floats_are_welcome_unless_said_otherwise():
    standardized = images(2, 8, 8, 3, dtype=np.float32) * 4 - 2
    assert check_images(standardized) is standardized
    row = int(standardized.min(axis=(1, 2, 3)).argmin())
    with pytest.raises(ValueError, match=rf"values in 0-1; row {row} of X has -1\.\d+\. Pass them as they were"):
        check_images(standardized, standardized=False)


def with_value(value, *, dtype=np.float32, row=2):
    X = images(3, 8, 8, 3, dtype=dtype)
    X[row, 4, 5, 1] = value
    return X


REFUSED_IMAGES = {
    "NaN": (with_value(np.nan), ValueError, "Row 2 of X contains NaN. Images must be finite."),
    "infinity": (with_value(np.inf), ValueError, "Row 2 of X contains infinity. Images must be finite."),
    "-infinity": (with_value(-np.inf, row=0), ValueError, "Row 0 of X contains infinity."),
    "float 0-255": (
        np.stack([np.full((8, 8, 3), 1.0), np.full((8, 8, 3), 200.0)]),
        ValueError,
        'row 1 of X has 200.0. Pass X.astype("uint8") for values in 0-255, or X / 255.',
    ),
    "16 bit": (
        np.full((1, 8, 8, 3), 60000, np.uint16),
        ValueError,
        "Integer images must have values in 0-255; X has dtype uint16 and values from 60000 to 60000.",
    ),
    "negative integers": (np.full((1, 8, 8, 3), -1), ValueError, "dtype int64 and values from -1 to -1."),
    "objects": (PIXELS.astype(object), TypeError, "must be uint8 in 0-255 or float in 0-1; got dtype object."),
    "complex": (PIXELS.astype(complex), TypeError, "got dtype complex128."),
    "bool": (PIXELS > 9, TypeError, "got dtype bool."),
    "str": (PIXELS.astype(str), TypeError, "got dtype <U3."),
    "channels first": (
        np.zeros((2, 3, 8, 8), np.uint8),
        ValueError,
        "got shape (2, 3, 8, 8). The channels come first here: pass np.moveaxis(X, 1, -1).",
    ),
    "2 channels": (
        np.zeros((1, 8, 8, 2), np.uint8),
        ValueError,
        "(1, 8, 8, 2). Pass images with 1 (grey) or 3 (RGB)",
    ),
    "4 channels": (np.zeros((1, 8, 8, 4), np.uint8), ValueError, "Drop the alpha channel: pass X[..., :3]."),
    "5 channels": (np.zeros((1, 8, 8, 5), np.uint8), ValueError, "Pass images with 1 (grey) or 3 (RGB) channels."),
    "no image": (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "X holds no images: its shape is (0, 8, 8, 3)."),
    "no pixel": (np.zeros((2, 0, 8, 3), np.uint8), ValueError, "X holds no images: its shape is (2, 0, 8, 3)."),
}


@pytest.mark.fault(26, 27, 28, 29, 31, 32)
@pytest.mark.parametrize(("X", "kind", "message"), REFUSED_IMAGES.values(), ids=REFUSED_IMAGES)
def test_refused_images_and_why(X, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        check_images(read_input(X).images)


def test_the_first_row_that_is_not_finite_is_named_with_its_own_trouble():
    X = with_value(np.inf, row=1)
    X[2, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"Row 1 of X contains infinity"):
        check_images(X)


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((8, 8, 3), "A single image is passed as X[np.newaxis]."),
        ((5, 8, 8), "Images of one channel are passed as X[..., np.newaxis]."),
        ((2, 2, 8, 8, 3), "got shape (2, 2, 8, 8, 3)."),
    ],
)
def test_wrong_number_of_dimensions(shape, remedy):
    with pytest.raises(ValueError, match=re.escape(remedy)):
        read_input(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"must have shape \(n_images, height, width, channels\)"):
        check_images(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("second", [(9, 9, 3), (8, 9, 3), (8, 8, 1), (8, 8)])
def test_images_of_mixed_sizes_name_the_first_other_row(second):
    X = [np.zeros((8, 8, 3)), np.zeros((8, 8, 3)), np.zeros(second)]
    message = f"row 0 has (8, 8, 3) and row 2 has {second}. Resize them first: ImageLoader does it"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_input(X)


@pytest.mark.parametrize("path", ["a.jpg", Path("a.jpg")])
def test_a_single_path_is_not_a_set_of_images(path):
    with pytest.raises(TypeError, match=re.escape("got the single path 'a.jpg'. Pass [path].")):
        read_input(path)


NOT_PATHS = {
    "missing": (["a.jpg", None, "c.jpg"], "1 of 3 rows do not (row 1: None)"),
    "NaN": (pd.Series(["a.jpg", np.nan], dtype=object), "1 of 2 rows do not (row 1: nan)"),
    "pandas NA": (pd.Series(["a.jpg", pd.NA], dtype="string"), "1 of 2 rows do not (row 1: <NA>)"),
    "blank": (["a.jpg", "", " \t"], r"2 of 3 rows do not (row 1: '', row 2: ' \t')"),
    "number": (np.array(["a.jpg", 3], dtype=object), "1 of 2 rows do not (row 1: 3)"),
    "much": (["a.jpg", {"of": "a" * 9999}], "row 1: {'of': 'aaaaaaaaaaaa...aaaaaaaaaaaaa'})"),
    "numbers in the column": (pd.DataFrame({"image": [1, 2]}), "2 of 2 rows do not (row 0: 1, row 1: 2)"),
    "frame": (pd.DataFrame({"image": ["a.jpg", None]}), "1 of 2 rows do not (row 1:"),
}


@pytest.mark.parametrize(("X", "message"), NOT_PATHS.values(), ids=NOT_PATHS)
def test_rows_without_a_path_are_named(X, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_input(X)
    assert "Leave these rows out, or fill in the path." in str(caught.value)


def test_many_rows_without_a_path_are_counted_and_five_named():
    with pytest.raises(ValueError, match=r"99 of 100 rows do not \(row 1: None, .*row 5: None\)\."):
        read_input(["a.jpg"] + 99 * [None])


@pytest.mark.parametrize(
    "X",
    [pd.DataFrame({"image": []}), pd.Series([], dtype=str), np.array([], dtype=str)],
    ids=["frame", "Series", "array"],
)
def test_no_paths_at_all(X):
    with pytest.raises(ValueError, match=r"X holds no images: Found array with 0 sample\(s\)"):
        read_input(X)
    with pytest.raises(ValueError, match="X holds no images"):
        check_paths(np.array([], dtype=object))


@pytest.mark.parametrize("dtype", ["str", object, "category"])
def test_a_frame_of_text_without_image_column_says_which_columns_it_has(dtype):
    frame = pd.DataFrame({"path": ["a.jpg"], "sex": ["male"], "age": [40]}).astype({"path": dtype, "sex": dtype})
    with pytest.raises(ValueError, match="without a column 'image'") as caught:
        read_input(frame)
    assert "['path', 'sex'] are not numbers" in str(caught.value)
    assert "Its columns are ['path', 'sex', 'age']." in str(caught.value)
    with pytest.raises(ValueError, match="without a column 'image'"):
        read_input(frame[["path", "sex"]])


@pytest.mark.parametrize(
    ("n_features", "expected"),
    [
        (3 * 8 * 8, (8, 8, 3)),
        (3 * 28 * 28, (28, 28, 3)),
        (28 * 28, (28, 28, 1)),
        (8 * 8, (8, 8, 1)),
        (3 * 7 * 7, (1, 147, 1)),
        (7 * 7, (1, 49, 1)),
        (1, (1, 1, 1)),
        (65, (1, 65, 1)),
        (3 * 8 * 8 + 1, (1, 193, 1)),
    ],
)
def test_shape_of_a_row(n_features, expected):
    assert infer_image_shape(n_features) == expected


def test_no_row_is_both_a_square_rgb_and_a_square_grey_image():
    # 3 * s**2 is never a square, so that the order in which the two are tried does not matter.
    assert not {3 * s * s for s in range(8, 600)} & {s * s for s in range(8, 2000)}


@pytest.mark.parametrize("given", [(6, 8, 1), [6, 8, 1], (np.int64(6), 8, 1)])
def test_a_given_shape_counts(given):
    shape = infer_image_shape(48, given)
    assert shape == (6, 8, 1)
    assert all(type(side) is int for side in shape)
    assert infer_image_shape(64, (1, 64, 1)) == (1, 64, 1)


@pytest.mark.parametrize(
    "wrong", [(28, 28), (28, 28, 2), (0, 28, 3), (28.5, 28, 3), 28, "28x28", ("a", 1, 3)], ids=repr
)
def test_a_shape_that_is_none_is_refused(wrong):
    message = f"image_shape must be (height, width, channels) with 1 or 3 channels; got {wrong!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        infer_image_shape(28 * 28 * 3, wrong)


def test_a_shape_that_does_not_hold_the_row_is_refused():
    message = "image_shape=(28, 28, 3) holds 2352 values, but the rows of X have 784."
    with pytest.raises(ValueError, match=re.escape(message)):
        infer_image_shape(784, (28, 28, 3))


@pytest.mark.parametrize(
    "groups",
    [
        ["x", "y", "x"],
        np.array([1, 2, 1]),
        pd.Series(["x", "y", "x"], index=[7, 7, 7]),
        [("x", 1), ("y", 2), ("x", 1)],
    ],
    ids=["list", "array", "Series", "tuples"],
)
def test_groups_are_any_hashable_values(groups):
    checked = check_groups(groups, 3)
    assert checked.dtype == object
    assert checked.shape == (3,)
    assert checked[0] == checked[2] != checked[1]


@pytest.mark.fault(48)
@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, ""], ids=repr)
def test_missing_groups_are_counted_and_named(missing):
    message = "groups must name a lesion for every image; 2 of 4 are missing (rows [1, 3])."
    with pytest.raises(ValueError, match=re.escape(message)):
        check_groups(["x", missing, "x", missing], 4)


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    ("groups", "shape"),
    [(["x", "y"], (2,)), ([], (0,)), (np.ones((3, 1)), (3, 1)), (pd.DataFrame({"lesion_id": [1, 2, 3]}), (3, 1))],
    ids=["short", "empty", "column", "frame"],
)
def test_groups_of_another_shape(groups, shape):
    message = f"groups must have one value for each of the 3 images of X; got shape {shape}."
    with pytest.raises(ValueError, match=re.escape(message)):
        check_groups(groups, 3)
