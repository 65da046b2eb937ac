"""The cache of `ImageLoader`: each image is decoded once, by whatever process needs it first."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL
import pytest
from cached_files import N_FILES, RECORD_BYTES, ROW_BYTES, SIZE, files_of, records_of, start_reading
from filelock import FileLock
from PIL import Image

from skinclf.preprocessing import ImageLoader, ImageReadError, _cache, _loader
from skinclf.preprocessing._image_rows import ImageRows

pytestmark = pytest.mark.usefixtures("no_global_randomness")


# What it is for


def test_the_second_loader_decodes_nothing_and_gives_the_same(noise_files, noise_images, cached_loader, decoded):
    np.testing.assert_array_equal(cached_loader.transform(noise_files), noise_images)
    assert decoded == sorted(decoded, key=noise_files.index)
    assert len(decoded) == N_FILES

    second = ImageLoader(SIZE, cache_dir=str(cached_loader.cache_dir), n_jobs=2)
    np.testing.assert_array_equal(second.transform(noise_files[::-3]), noise_images[::-3])
    assert len(decoded) == N_FILES


def test_only_what_is_missing_is_decoded_and_only_once_an_image(noise_files, noise_images, cached_loader, decoded):
    cached_loader.transform(noise_files[:10])
    rows = [3, 12, 3, 30, 12, 12]
    np.testing.assert_array_equal(cached_loader.transform([noise_files[row] for row in rows]), noise_images[rows])
    assert decoded[10:] == [noise_files[12], noise_files[30]]


def test_what_is_on_disk(noise_files, noise_images, cached_loader):
    cached_loader.transform(noise_files)
    pixels, index = files_of(cached_loader)
    records = records_of(cached_loader)

    assert pixels.stat().st_size == N_FILES * ROW_BYTES
    assert index.stat().st_size == N_FILES * RECORD_BYTES
    assert sorted(records["row"]) == list(range(N_FILES))
    row_of = dict(zip(records["key"], records["row"].tolist(), strict=True))
    stored = np.fromfile(pixels, np.uint8).reshape(N_FILES, SIZE, SIZE, 3)
    keys = _cache.file_keys(np.array(noise_files, dtype=object))
    np.testing.assert_array_equal(stored[[row_of[key] for key in keys]], noise_images)


def test_load_rows_shares_one_map_and_load_copies(noise_files, noise_images, cached_loader):
    images, rows = cached_loader.load_rows(noise_files)
    assert isinstance(images, ImageRows)
    assert rows.tolist() == list(range(N_FILES))
    base = images._base
    while not isinstance(base, np.memmap):
        base = base.base
    assert base.mode == "r"

    copy, _ = cached_loader.load(noise_files)
    assert type(copy) is np.ndarray
    copy[:] = 0
    np.testing.assert_array_equal(images, noise_images)
    assert type(ImageLoader(SIZE).load_rows(noise_files)[0]) is np.ndarray


def test_loaders_of_other_settings_share_a_folder_and_nothing_else(noise_files, tmp_path):
    settings = [(8, "center"), (8, None), (12, "center"), (7, "center")]
    for _ in range(2):
        for size, crop in settings:
            cached = ImageLoader(size, crop=crop, cache_dir=tmp_path).transform(noise_files)
            np.testing.assert_array_equal(cached, ImageLoader(size, crop=crop).transform(noise_files))
    names = sorted(folder.name.rsplit("-", 1)[0] for folder in tmp_path.iterdir())
    assert names == ["12px-center", "7px-center", "8px-center", "8px-stretched"]


def test_another_version_of_pillow_decodes_anew(noise_files, cached_loader, decoded, monkeypatch):
    cached_loader.transform(noise_files)
    monkeypatch.setattr(PIL, "__version__", "99.0")
    cached_loader.transform(noise_files)
    assert Counter(decoded) == dict.fromkeys(noise_files, 2)
    assert len(list(Path(cached_loader.cache_dir).iterdir())) == 2


def test_a_file_is_known_by_its_absolute_path(noise_files, noise_images, cached_loader, decoded, monkeypatch):
    cached_loader.transform(noise_files)
    folder = Path(noise_files[0]).parent
    monkeypatch.chdir(folder)
    names = [Path(path).name for path in noise_files]
    np.testing.assert_array_equal(cached_loader.transform(names), noise_images)
    np.testing.assert_array_equal(
        cached_loader.transform([f"../{folder.name}/{name}" for name in names]), noise_images
    )
    assert len(decoded) == N_FILES


@pytest.mark.parametrize("change", ["time", "pixels"])
def test_a_changed_file_is_decoded_anew(noise_files, noise_images, cached_loader, decoded, tmp_path, change):
    copies = [shutil.copy2(path, tmp_path) for path in noise_files[:3]]
    cached_loader.transform(copies)
    if change == "time":
        state = Path(copies[1]).stat()
        os.utime(copies[1], ns=(state.st_atime_ns, state.st_mtime_ns + 1000))
    else:
        Image.new("RGB", (9, 9), (1, 2, 3)).save(copies[1])
    images = cached_loader.transform(copies)
    assert decoded == [*copies, copies[1]]
    np.testing.assert_array_equal(images[[0, 2]], noise_images[[0, 2]])
    np.testing.assert_array_equal(
        images[1], noise_images[1] if change == "time" else np.full_like(noise_images[1], (1, 2, 3))
    )


def test_a_file_that_changes_while_it_is_read_is_no_image(noise_files, cached_loader, monkeypatch, tmp_path):
    path, decode = shutil.copy2(noise_files[0], tmp_path), _loader.decode_image

    def decode_slowly(*args):
        image = decode(*args)
        Image.new("RGB", (9, 9)).save(path)
        return image

    with monkeypatch.context() as patch:
        patch.setattr(_loader, "decode_image", decode_slowly)
        with pytest.raises(ImageReadError, match=re.escape(f"row 0: {path}: it was changed while it was read")):
            cached_loader.transform([path])
    assert (cached_loader.transform([path]) == 0).all()


def test_what_cannot_be_read_is_never_kept(noise_files, noise_images, cached_loader, decoded, tmp_path):
    bad, link = tmp_path / "bad.png", tmp_path / "link.png"
    link.symlink_to("nowhere.png")
    X = [noise_files[0], bad, link, noise_files[1], bad]
    for attempt in range(2):
        if attempt:
            bad.touch()
        cause = "an empty file" if attempt else "no such file"
        causes = rf"row 1: \S+: {cause}\n  row 2: \S+: a symbolic link that leads nowhere\n  row 4: \S+: {cause}$"
        with pytest.raises(ImageReadError, match=rf"^3 of 5 images could not be read:\n  {causes}"):
            cached_loader.transform(X)
    with pytest.warns(UserWarning, match="3 of 5 images could not be read"):
        images, rows = clone_with(cached_loader, on_error="warn").load_rows(X)
    assert rows.tolist() == [0, 3]
    np.testing.assert_array_equal(images, noise_images[:2])
    with pytest.raises(ImageReadError, match="1 of 1 images could not be read"):
        clone_with(cached_loader, on_error="warn").load_rows([bad])
    assert decoded.count(noise_files[0]) == decoded.count(noise_files[1]) == 1

    shutil.copy2(noise_files[2], bad)
    np.testing.assert_array_equal(cached_loader.transform([bad]), noise_images[[2]])


def clone_with(cached_loader, **params):
    return ImageLoader(**cached_loader.get_params()).set_params(**params)


# Several at once


def test_four_processes_decode_each_image_once(noise_files, noise_images, cached_loader, children, tmp_path):
    subsets = [slice(0, 45), slice(15, 60), slice(None, None, -1), slice(0, 60, 2)]
    log, gate = tmp_path / "log", children.Barrier(4)
    options = {"cache_dir": cached_loader.cache_dir, "log_file": log, "gate": gate}
    results = [tmp_path / f"{i}.npy" for i in range(4)]
    processes = [
        start_reading(children, noise_files[subset], result_file=result, n_jobs=1 + i % 2, **options)
        for i, (subset, result) in enumerate(zip(subsets, results, strict=True))
    ]
    for process, subset, result in zip(processes, subsets, results, strict=True):
        process.join(60)
        assert process.exitcode == 0
        np.testing.assert_array_equal(np.load(result), noise_images[subset])
    assert Counter(log.read_text().splitlines()) == dict.fromkeys(noise_files, 1)


def test_one_decodes_while_another_is_still_decoding(noise_files, noise_images, cached_loader, monkeypatch):
    first_is_at_it, second_is_at_it, decode = threading.Event(), threading.Event(), _loader.decode_image

    def decode_in_company(*args):
        if first_is_at_it.is_set():
            second_is_at_it.set()
        else:
            first_is_at_it.set()
            assert second_is_at_it.wait(20), "the second had to wait until the first had finished"
        return decode(*args)

    monkeypatch.setattr(_loader, "decode_image", decode_in_company)
    monkeypatch.setattr(_cache, "_CHUNK_IMAGES", 4)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached_loader.transform, noise_files)
        assert first_is_at_it.wait(20)
        second = pool.submit(cached_loader.transform, noise_files)
        for images in (first.result(60), second.result(60)):
            np.testing.assert_array_equal(images, noise_images)
    assert len(records_of(cached_loader)) == N_FILES


def test_many_threads_decode_each_image_once(noise_files, noise_images, cached_loader, decoded, monkeypatch):
    monkeypatch.setattr(_cache, "_CHUNK_IMAGES", 3)
    with ThreadPoolExecutor(6) as pool:
        for images in pool.map(cached_loader.transform, [noise_files] * 6):
            np.testing.assert_array_equal(images, noise_images)
    assert Counter(decoded) == dict.fromkeys(noise_files, 1)


@contextmanager
def held_elsewhere(*files):
    """Locks that another thread holds until the block ends."""
    ready, done = threading.Event(), threading.Event()

    def hold():
        locks = [FileLock(file) for file in files]
        for lock in locks:
            lock.acquire()
        ready.set()
        done.wait(30)
        for lock in locks:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(10)
    try:
        yield done
    finally:
        done.set()
        thread.join()


def lock_files(cached_loader, *names):
    locks = next(Path(cached_loader.cache_dir).iterdir()) / "locks"
    return [locks / f"{name}.lock" for name in names or [f"{bucket:02}" for bucket in range(32)]]


@pytest.mark.parametrize("names", [(), ("append",)], ids=["buckets", "append"])
def test_a_process_that_hangs_is_waited_for_and_then_named(
    noise_files, noise_images, cached_loader, monkeypatch, names
):
    cached_loader.transform(noise_files[:1])
    files = lock_files(cached_loader, *names)
    monkeypatch.setattr(_cache, "_PATIENCE_SECONDS", 0.2)
    with held_elsewhere(*files), pytest.raises(TimeoutError) as caught:
        cached_loader.transform(noise_files)
    assert re.fullmatch(
        rf"Another process holds .*\.lock, to decode images into cache_dir='{cached_loader.cache_dir}', and has "
        r"added none for 0\.2 seconds\. End that process, or pass another cache_dir\.",
        str(caught.value),
    )
    assert any(str(file) in str(caught.value) for file in files)
    np.testing.assert_array_equal(cached_loader.transform(noise_files), noise_images)


def test_a_process_that_goes_on_is_waited_for(noise_files, noise_images, cached_loader, monkeypatch):
    cached_loader.transform(noise_files[:1])
    monkeypatch.setattr(_cache, "_PATIENCE_SECONDS", 0.3)
    _, index = files_of(cached_loader)
    with held_elsewhere(*lock_files(cached_loader)) as done, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cached_loader.transform, noise_files)
        for _ in range(10):  # images that nobody here asks for, over 1 second
            time.sleep(0.1)
            with index.open("ab") as file:
                file.write(bytes(RECORD_BYTES))
        assert not waiting.done()
        done.set()
        np.testing.assert_array_equal(waiting.result(30), noise_images)
