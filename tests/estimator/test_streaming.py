"""`memory_limit`: files that are decoded batch by batch give the same bits as files that are decoded at once."""

from __future__ import annotations

import functools
import threading
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from skinclf import LesionCNNClassifier
from skinclf.preprocessing import ImageLoader, ImageReadError
from skinclf.preprocessing._file_images import FileImages, reading

Quick = functools.partial(
    LesionCNNClassifier,
    image_size=16,
    max_epochs=2,
    batch_size=32,
    architecture_params={"width": 8, "depth": 1},
    random_state=0,
)


def paths_of(frame):
    return frame["image"].to_numpy(dtype=object)


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("columns", [["image"], ["image", "lesion_id"]], ids=["paths", "with lesions"])
def test_streaming_changes_not_a_bit(lesions, lesion_files, columns, n_jobs):
    X = lesion_files[columns]
    at_once = Quick(memory_limit=None).fit(X, lesions.target)
    streamed = Quick(memory_limit=0, n_jobs=n_jobs).fit(X, lesions.target)

    for (name, ours), theirs in zip(
        streamed.net_.module_.state_dict().items(), at_once.net_.module_.state_dict().values(), strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=name)
    np.testing.assert_array_equal(streamed.predict_proba(X), at_once.predict_proba(X))
    np.testing.assert_array_equal(streamed.validation_indices_, at_once.validation_indices_)


def test_the_limit_decides(lesions, lesion_files, monkeypatch):
    made = []
    monkeypatch.setattr(
        "skinclf.estimator._images.FileImages", lambda *args: made.append(args) or FileImages(*args)
    )
    n_bytes = lesions.images.nbytes
    for limit, streams in [("auto", False), (None, False), (n_bytes, False), (n_bytes - 1, True)]:
        made.clear()
        Quick(memory_limit=limit, max_epochs=1).fit(lesion_files, lesions.target)
        assert bool(made) == streams, limit


def test_with_a_cache_nothing_is_decoded_twice(lesions, lesion_files, tmp_path, monkeypatch):
    monkeypatch.setattr("skinclf.estimator._images.FileImages", None)  # not to be called
    classifier = Quick(memory_limit=0, cache_dir=tmp_path, max_epochs=1).fit(lesion_files, lesions.target)
    plain = Quick(max_epochs=1).fit(lesion_files, lesions.target)
    np.testing.assert_array_equal(classifier.predict_proba(lesion_files), plain.predict_proba(lesion_files))


@pytest.fixture
def some_damaged(lesion_files, tmp_path):
    """The files, two of which are none."""
    frame = lesion_files.copy()
    for row in (5, 77):
        path = tmp_path / f"damaged {row}.png"
        path.write_bytes(b"not an image")
        frame.loc[row, "image"] = str(path)
    return frame


def test_all_damaged_files_are_listed_before_anything_is_trained(lesions, lesion_files, some_damaged):
    classifier = Quick(memory_limit=0).fit(lesion_files, lesions.target)
    before = classifier.predict_proba(lesion_files)

    with pytest.raises(ImageReadError, match=r"(?s)2 of 168 images .*row 5: .*damaged 5.*row 77: .*damaged 77"):
        classifier.fit(some_damaged, lesions.target)
    with pytest.raises(ImageReadError, match=r"(?s)2 of 168 images .*row 5: .*damaged 5.*row 77: .*damaged 77"):
        classifier.predict(some_damaged)

    np.testing.assert_array_equal(classifier.predict_proba(lesion_files), before)


def test_a_damaged_file_of_the_validation_set_is_found_before_anything_is_trained(lesions, lesion_files, tmp_path):
    classifier = Quick(memory_limit=0).fit(lesion_files, lesions.target)
    row = int(classifier.validation_indices_[0])
    frame = lesion_files.copy()
    frame.loc[row, "image"] = str(tmp_path / "missing.png")

    with pytest.raises(ImageReadError, match=rf"1 of 168 images could not be read:\n  row {row}: .*no such file"):
        classifier.fit(frame, lesions.target)
    assert classifier.predict(lesion_files).shape == (168,)  # still fitted


@pytest.mark.fault(74)
def test_no_thread_outlives_a_fit_or_its_failure(lesions, lesion_files, some_damaged):
    before = set(threading.enumerate())
    classifier = Quick(memory_limit=0, n_jobs=2).fit(lesion_files, lesions.target)
    classifier.predict(lesion_files)
    assert set(threading.enumerate()) == before

    with pytest.raises(ImageReadError) as caught:
        classifier.fit(some_damaged, lesions.target)
    assert set(threading.enumerate()) == before
    assert caught.value.__traceback__ is not None  # whose frames could have kept the threads


def test_memory_holds_some_batches_and_not_all_images(tmp_path):
    paths = []
    for row in range(400):
        paths.append(str(tmp_path / f"{row}.png"))
        Image.fromarray(np.full((64, 64, 3), row % 251, np.uint8)).save(paths[-1])
    images = FileImages(np.array(paths, dtype=object), 64, "center", 1)

    tracemalloc.start()
    with reading(images):
        total = sum(int(part[:, 0, 0, 0].sum()) for part in images.read(np.arange(400).reshape(-1, 16)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total == sum(row % 251 for row in range(400))
    assert peak < images.nbytes / 4


def test_rows_come_in_their_order_and_as_the_loader_reads_them(lesion_files):
    paths = paths_of(lesion_files)
    images = FileImages(paths, 24, None, 2)
    rows = np.array([7, 3, 3, 160])
    np.testing.assert_array_equal(images[rows], ImageLoader(24, crop=None).transform(paths[rows]))
    np.testing.assert_array_equal(np.stack(list(images)), ImageLoader(24, crop=None).transform(paths))
    assert images.nbytes == 168 * 24 * 24 * 3
