"""`ImageLoader`: order, threads, and what becomes of files that cannot be read."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skinclf.preprocessing import ImageFlattener, ImageLoader, ImageReadError, ImageStandardizer

pytestmark = pytest.mark.usefixtures("no_global_randomness")

SIZES = [(40, 30), (30, 40), (16, 16), (1, 1), (300, 8), (64, 64), (17, 90)]


def color(row):
    return (10 * row + 5, 200 - 9 * row, row)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """21 files of one colour each, of seven sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for row in range(21):
        path = folder / f"picture {row}.png"
        Image.new("RGB", SIZES[row % len(SIZES)], color(row)).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture(params=["without cache", "with cache"])
def options(request, tmp_path):
    """Parameters of a loader: what holds for one without a cache must hold for one with it."""
    return {} if request.param == "without cache" else {"cache_dir": tmp_path / "cache"}


@pytest.fixture
def bad_files(tmp_path):
    """Three files, each of which fails for a reason of its own, and the reasons."""
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>")
    return {
        str(tmp_path / "empty.jpg"): "an empty file",
        str(tmp_path / "page.jpg"): "an HTML page, not an image; the download probably failed",
        str(tmp_path / "none.jpg"): "no such file",
    }


@pytest.mark.fault(25)
def test_every_row_is_its_own_file_whatever_the_sizes(paths, options):
    images = ImageLoader(8, **options).fit_transform(paths)
    assert images.shape == (21, 8, 8, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(
        images, np.array([color(row) for row in range(21)])[:, None, None].repeat(8, 1).repeat(8, 2)
    )


@pytest.mark.parametrize(
    "form",
    [
        np.array,
        pd.Series,
        lambda paths: list(map(Path, paths)),
        lambda paths: np.array(paths)[:, None],
        lambda paths: pd.DataFrame({"image": paths, "age": 40}, index=range(50, 71)),
    ],
    ids=["array", "Series", "Path", "column", "DataFrame"],
)
def test_every_form_of_paths_gives_the_same_images(paths, form, options):
    loader = ImageLoader(8, **options)
    np.testing.assert_array_equal(loader.transform(form(paths)), loader.transform(paths))


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 50, -1])
def test_threads_change_nothing(paths, n_jobs, options):
    images, rows = ImageLoader(12, n_jobs=n_jobs, **options).load(paths)
    np.testing.assert_array_equal(images, ImageLoader(12).transform(paths))
    np.testing.assert_array_equal(rows, np.arange(21))


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_the_callers_choice_of_processes_does_not_empty_the_images(paths, backend, options):
    # Processes would decode into copies of the result, and all images would be black, without a word.
    with joblib.parallel_config(backend=backend, n_jobs=2):
        images = ImageLoader(8, **options).transform(paths)
    np.testing.assert_array_equal(images[:, 0, 0], [color(row) for row in range(21)])


def test_threads_leave_the_filters_of_warnings_alone(paths):
    before = list(warnings.filters)
    for _ in range(5):
        ImageLoader(8, n_jobs=4).transform(paths * 5)
    assert list(warnings.filters) == before


def test_one_image(paths):
    images, rows = ImageLoader(8, n_jobs=2).load(paths[:1])
    assert images.shape == (1, 8, 8, 3)
    assert rows.tolist() == [0]


def test_crop_is_passed_on(tmp_path):
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    Image.fromarray(picture).save(tmp_path / "stripe.png")
    path = [tmp_path / "stripe.png"]
    assert (ImageLoader(10).transform(path) == 255).all()
    assert 70 < ImageLoader(10, crop=None).transform(path).mean() < 100


def test_nothing_is_learnt_and_fit_opens_no_file(paths):
    loader = ImageLoader(8)
    assert loader.fit(["there is no such file.jpg"]) is loader
    np.testing.assert_array_equal(loader.transform(paths), ImageLoader(8).transform(paths))
    copy = pickle.loads(pickle.dumps(clone(loader).set_params(size=9)))
    assert copy.transform(paths[:2]).shape == (2, 9, 9, 3)


@pytest.mark.fault(1, 5, 12)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_all_bad_files_are_in_one_message_with_row_and_cause(paths, bad_files, n_jobs, options):
    X = [paths[0], *bad_files, paths[1]]
    lines = [f"  row {row}: {path}: {cause}" for row, (path, cause) in enumerate(bad_files.items(), start=1)]
    message = "3 of 5 images could not be read:\n" + "\n".join(lines)
    for method in ("transform", "fit_transform", "load", "load_rows"):
        with pytest.raises(ImageReadError, match=f"^{re.escape(message)}$"):
            getattr(ImageLoader(8, n_jobs=n_jobs, **options), method)(X)


def test_of_many_bad_files_ten_are_named_and_all_counted(paths, options):
    X = [*paths, *(f"none_{i}.jpg" for i in range(25))]
    with pytest.raises(ImageReadError, match="25 of 46 images could not be read") as caught:
        ImageLoader(8, **options).transform(X)
    lines = str(caught.value).splitlines()
    assert lines[1:11] == [f"  row {row}: none_{row - 21}.jpg: no such file" for row in range(21, 31)]
    assert lines[11:] == ["  and 15 more"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_warn_leaves_them_out_and_says_which_rows_remain(paths, bad_files, n_jobs, options):
    empty, page, none = bad_files
    X = [empty, paths[3], page, paths[4], paths[5], none]
    loader = ImageLoader(8, on_error="warn", n_jobs=n_jobs, **options)
    with pytest.warns(
        UserWarning, match=r"(?s)3 of 6 images .*row 0: .*row 2: .*row 5: .*\nThey are left out\.$"
    ) as caught:
        images, rows = loader.load(X)
    assert caught[0].filename == __file__
    assert rows.tolist() == [1, 3, 4]
    np.testing.assert_array_equal(images, loader.transform(paths[3:6]))
    with pytest.warns(UserWarning, match="They are left out"):
        np.testing.assert_array_equal(loader.transform(X), images)


def test_warn_does_not_warn_of_nothing_and_never_returns_nothing(paths, bad_files, options):
    loader = ImageLoader(8, on_error="warn", **options)
    assert len(loader.transform(paths)) == 21
    with pytest.raises(ImageReadError, match="3 of 3 images could not be read"):
        loader.load(list(bad_files))


def test_an_unreadable_image_is_a_value_error():
    assert issubclass(ImageReadError, ValueError)


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), "ndarray"),
        (np.zeros((2, 192)), "ndarray"),
        ([[1.0, 2.0]], "list"),
        (pd.DataFrame({"a": [1]}), "DataFrame"),
    ],
    ids=["images", "rows", "list", "frame"],
)
@pytest.mark.parametrize("method", ["fit", "transform", "load"])
def test_pixels_need_no_loader(X, kind, method):
    with pytest.raises(
        ValueError, match=f"bytes, open files or PIL images; got {kind} of numbers. Arrays of pixels need no"
    ):
        getattr(ImageLoader(8), method)(X)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("size", 0), ("size", 8.0), ("size", None), ("crop", "middle"), ("on_error", "ignore"), ("n_jobs", 1.5),
        ("cache_dir", 3),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["fit", "transform", "load"])
def test_parameters_out_of_range(paths, parameter, value, method):
    loader = ImageLoader(8).set_params(**{parameter: value})
    message = f"The {parameter!r} parameter of ImageLoader must be .* Got {value!r} instead"
    with pytest.raises(ValueError, match=message):
        getattr(loader, method)(paths)


def test_steps_behind_it_see_its_images(paths):
    pipeline = make_pipeline(ImageLoader(8), ImageStandardizer(), ImageFlattener())
    rows = pipeline.fit_transform(paths)
    assert rows.shape == (21, 192)
    np.testing.assert_array_equal(pipeline.transform(paths[4:6]), rows[4:6])
