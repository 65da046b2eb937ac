"""The cache of `ImageLoader` never serves a wrong pixel, whatever happens to process, files and disk."""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cached_files import N_FILES, RECORD_BYTES, ROW_BYTES, SIZE, files_of, records_of, start_reading

from skinclf.preprocessing import ImageLoader, _cache, _loader

pytestmark = pytest.mark.usefixtures("no_global_randomness")


# Killed, and what is left


def check_what_is_left(loader, paths, truth):
    """Check that what the cache would serve now is right, and that a load is; return how many images it held."""
    keys = _cache.file_keys(np.array(paths, dtype=object))
    lookup = _cache._Lookup(files_of(loader)[0].parent, (SIZE, SIZE, 3), np.sort(keys))
    lookup.refresh()
    held = lookup.rows >= 0
    np.testing.assert_array_equal(lookup.images[lookup.rows[held]], truth[np.argsort(keys)[held]])
    np.testing.assert_array_equal(loader.transform(paths), truth)
    return int(held.sum())


def wait_until(condition):
    for _ in range(20_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("it took more than 20 seconds")


def size_of(file):
    return file.stat().st_size if file.exists() else 0


def test_ten_kills_at_random_moments_leave_right_pixels(
    noise_files, noise_images, cached_loader, children, decoded, tmp_path
):
    cached_loader.transform(noise_files[:1])
    pixels, index = files_of(cached_loader)
    moments, log, n_torn = random.Random(0), tmp_path / "log", 0
    for kill in range(10):
        gate = children.Barrier(2)
        options = {"cache_dir": cached_loader.cache_dir, "log_file": log, "result_file": tmp_path / "never.npy"}
        process = start_reading(children, noise_files, gate=gate, **options)
        # In turns not before it decodes, not before it writes pixels, and not before it writes records.
        growing = (log, pixels, index)[kill % 3]
        before = size_of(growing)
        gate.wait(30)
        wait_until(lambda growing=growing, before=before: size_of(growing) > before)
        time.sleep(moments.uniform(0, 0.01))
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        n_torn += size_of(pixels) % ROW_BYTES > 0 or size_of(index) % RECORD_BYTES > 0
    assert n_torn > 0  # otherwise no kill met a write, and nothing was shown
    decoded.clear()
    n_held = check_what_is_left(cached_loader, noise_files, noise_images)
    assert 1 < n_held < N_FILES
    assert len(decoded) == N_FILES - n_held


class Killed(BaseException):
    """Ends a write as a SIGKILL would: nothing in the library catches it."""


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("n_writes", range(6))
def test_killed_at_every_write(noise_files, noise_images, cached_loader, decoded, monkeypatch, n_writes, share):
    writes, write = [], _cache._write_all

    def killed_write(file, content):
        writes.append(len(memoryview(content).cast("B")))
        if len(writes) <= n_writes:
            return write(file, content)
        write(file, memoryview(content).cast("B")[: int(share * writes[-1])])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(_cache, "_CHUNK_IMAGES", 4)
        patch.setattr(_cache, "_write_all", killed_write)
        with pytest.raises(Killed):
            cached_loader.transform(noise_files)
    indexed = sum(size // RECORD_BYTES for size in writes[1:n_writes:2])
    if n_writes % 2:  # the last write was one of records
        indexed += int(share * writes[-1]) // RECORD_BYTES
    decoded.clear()
    assert check_what_is_left(cached_loader, noise_files, noise_images) == indexed
    assert len(decoded) == N_FILES - indexed
    assert len(records_of(cached_loader)) == N_FILES


# Damage


@pytest.fixture
def full(cached_loader, noise_files, decoded):
    """A loader whose cache holds everything."""
    cached_loader.transform(noise_files)
    decoded.clear()
    return cached_loader


def flip(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 0x41
    file.write_bytes(content)


@pytest.mark.parametrize("position", [0, 191, 192, 2000, N_FILES * ROW_BYTES - 1])
def test_a_flipped_pixel_costs_one_decoding(noise_files, noise_images, full, decoded, position):
    flip(files_of(full)[0], position)
    np.testing.assert_array_equal(full.transform(noise_files), noise_images)
    assert len(decoded) == 1
    np.testing.assert_array_equal(full.transform(noise_files), noise_images)
    assert len(decoded) == 1


def test_any_flipped_byte_of_a_record_costs_one_decoding(noise_files, noise_images, full, decoded):
    for byte in range(RECORD_BYTES):
        flip(files_of(full)[1], 5 * RECORD_BYTES + byte)
        decoded.clear()
        np.testing.assert_array_equal(full.transform(noise_files), noise_images)
        assert len(decoded) <= 1
        if byte == 0:
            assert len(decoded) == 1
        flip(files_of(full)[1], 5 * RECORD_BYTES + byte)


@pytest.mark.parametrize(("which", "n_decoded"), [(0, N_FILES), (1, N_FILES // 2)], ids=["pixels", "index"])
def test_a_file_that_is_emptied_while_it_is_used(
    noise_files, noise_images, full, decoded, monkeypatch, which, n_decoded
):
    pixels_and_index = files_of(full)
    os.truncate(pixels_and_index[1], N_FILES // 2 * RECORD_BYTES)
    decode = _loader.decode_image

    def decode_and_empty(*args):
        if not decoded:
            os.truncate(pixels_and_index[which], 0)
        return decode(*args)

    monkeypatch.setattr(_cache, "_CHUNK_IMAGES", 4)
    monkeypatch.setattr(_loader, "decode_image", decode_and_empty)
    np.testing.assert_array_equal(full.transform(noise_files), noise_images)
    assert len(decoded) == n_decoded


@pytest.mark.parametrize("fields", [["row"], ["row", "crc"]])
def test_two_records_that_name_each_others_rows_are_both_refused(noise_files, noise_images, full, decoded, fields):
    records = records_of(full)
    for field in fields:
        records[field][[3, 9]] = records[field][[9, 3]]
    records.tofile(files_of(full)[1])
    np.testing.assert_array_equal(full.transform(noise_files), noise_images)
    assert len(decoded) == 2


@pytest.mark.parametrize("which", [0, 1], ids=["pixels", "index"])
@pytest.mark.parametrize("share", [0, 0.3, 0.501, 0.999])
def test_a_file_cut_short(noise_files, noise_images, full, decoded, which, share):
    file, item = files_of(full)[which], (ROW_BYTES, RECORD_BYTES)[which]
    length = int(share * file.stat().st_size)
    os.truncate(file, length)
    for _ in range(2):
        np.testing.assert_array_equal(full.transform(noise_files), noise_images)
        assert len(decoded) == N_FILES - length // item


@pytest.mark.parametrize("which", [0, 1], ids=["pixels", "index"])
@pytest.mark.parametrize(
    "content", [None, b"", bytes(5000), b"\xff" * 5000], ids=["gone", "empty", "zeros", "ones"]
)
def test_a_file_gone_or_replaced(noise_files, noise_images, full, decoded, which, content):
    file = files_of(full)[which]
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    for _ in range(2):
        np.testing.assert_array_equal(full.transform(noise_files), noise_images)
        assert len(decoded) == N_FILES


# The folder


@pytest.mark.parametrize("moment", range(0, N_FILES, 9))
def test_a_folder_that_is_deleted_meanwhile_is_made_anew(
    noise_files, noise_images, cached_loader, monkeypatch, moment
):
    calls, decode = [], _loader.decode_image

    def decode_and_delete(*args):
        calls.append(args)
        if len(calls) == moment + 1:
            shutil.rmtree(cached_loader.cache_dir)
        return decode(*args)

    monkeypatch.setattr(_cache, "_CHUNK_IMAGES", 6)
    monkeypatch.setattr(_loader, "decode_image", decode_and_delete)
    np.testing.assert_array_equal(cached_loader.transform(noise_files), noise_images)
    assert N_FILES <= len(calls) <= N_FILES + moment
    calls.clear()
    np.testing.assert_array_equal(cached_loader.transform(noise_files), noise_images)
    assert calls == []


def test_images_outlive_the_folder(noise_files, noise_images, full, decoded):
    images, _ = full.load_rows(noise_files)
    shutil.rmtree(full.cache_dir)
    np.testing.assert_array_equal(images, noise_images)
    np.testing.assert_array_equal(full.transform(noise_files), noise_images)
    assert len(decoded) == N_FILES


def test_a_cache_that_holds_everything_is_only_read(noise_files, noise_images, full, monkeypatch, tmp_path):
    shutil.rmtree(files_of(full)[0].parent / "locks")
    before = [file.stat().st_mtime_ns for file in files_of(full)]
    new = shutil.copy2(noise_files[0], tmp_path)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(_cache, "FileLock", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    np.testing.assert_array_equal(full.transform(noise_files), noise_images)
    assert [file.stat().st_mtime_ns for file in files_of(full)] == before

    with pytest.raises(OSError, match=r"cache_dir=.* cannot be used \(Read-only file system\)"):
        full.transform([new])


def test_a_folder_that_cannot_be_made(noise_files, tmp_path):
    (tmp_path / "file").touch()
    cached_loader = ImageLoader(SIZE, cache_dir=tmp_path / "file" / "cache")
    message = (
        f"cache_dir='{cached_loader.cache_dir}' cannot be used (Not a directory); what it holds already stays "
        "right. Free space there, or choose a folder that can be written, or pass cache_dir=None to decode "
        "without a cache: "
    )
    with pytest.raises(OSError, match=re.escape(message)) as caught:
        cached_loader.transform(noise_files)
    assert caught.value.errno == errno.ENOTDIR


@contextmanager
def files_limited_to(n_bytes):
    """Writing beyond this size fails half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_bytes", [0, 100, 5 * ROW_BYTES + 7, 39 * ROW_BYTES])
def test_a_full_disk_is_an_error_and_nothing_half_written_is_served(
    noise_files, noise_images, cached_loader, monkeypatch, n_bytes
):
    monkeypatch.setattr(_cache, "_CHUNK_IMAGES", 4)
    message = r"cache_dir=.* cannot be used \(File too large\)"
    with files_limited_to(n_bytes), pytest.raises(OSError, match=message):
        cached_loader.transform(noise_files)
    n_kept = n_bytes // (4 * ROW_BYTES) * 4
    assert size_of(files_of(cached_loader)[0]) == n_kept * ROW_BYTES  # half a chunk has given its space back
    assert check_what_is_left(cached_loader, noise_files, noise_images) == n_kept


def test_an_index_that_cannot_grow(noise_files, tmp_path, decoded):
    truth = ImageLoader(1).transform(noise_files)
    loader = ImageLoader(1, cache_dir=tmp_path / "cache")  # rows of 3 bytes: the index is the larger file
    with files_limited_to(10 * RECORD_BYTES + 5), pytest.raises(OSError, match="cannot be used"):
        loader.transform(noise_files)
    decoded.clear()
    np.testing.assert_array_equal(loader.transform(noise_files), truth)
    assert len(decoded) == N_FILES - 10


def test_a_disk_that_does_not_keep_what_is_written(noise_files, cached_loader, monkeypatch):
    write = _cache._write_all
    monkeypatch.setattr(_cache, "_write_all", lambda file, content: write(file, bytes(memoryview(content).nbytes)))
    with pytest.raises(OSError, match=r"does not keep what is written to it: .* was read again 3 times"):
        cached_loader.transform(noise_files)
