"""Fixtures of the tests of `ImageLoader`: files for its cache, and images in every form."""

from __future__ import annotations

import io
import multiprocessing
import zipfile

import numpy as np
import pytest
from cached_files import N_FILES, SIZE
from PIL import Image

from skinclf.preprocessing import ImageLoader, _loader


@pytest.fixture(scope="module")
def noise_files(tmp_path_factory):
    """60 files of random pixels, no two alike."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    paths = [str(folder / f"{row}.png") for row in range(N_FILES)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture(scope="module")
def noise_images(noise_files):
    """The same files, decoded without a cache."""
    return ImageLoader(SIZE).transform(noise_files)


@pytest.fixture
def cached_loader(tmp_path):
    """A loader whose cache is empty yet."""
    return ImageLoader(SIZE, cache_dir=tmp_path / "cache")


@pytest.fixture
def decoded(monkeypatch):
    """The paths that this process decodes, in order."""
    calls, decode = [], _loader.decode_image

    def counted(path, *args):
        calls.append(path)
        return decode(path, *args)

    monkeypatch.setattr(_loader, "decode_image", counted)
    return calls


@pytest.fixture(scope="module")
def children():
    """Processes that start in milliseconds, forked from one that has imported the library and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skinclf.preprocessing"])
    return context


def _encoded(row):
    """Noise of its own for every row, as PNG, JPEG or TIFF, upright or not."""
    picture = np.random.default_rng(row).integers(0, 256, (30 + row, 50 - row, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = 1 + row % 8
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, ("PNG", "JPEG", "TIFF")[row % 3], exif=exif)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def contents():
    """The bytes of twelve images."""
    return [_encoded(row) for row in range(12)]


@pytest.fixture(scope="module")
def content_files(contents, tmp_path_factory):
    """The same as files."""
    folder = tmp_path_factory.mktemp("images")
    for row, content in enumerate(contents):
        (folder / f"{row}.jpg").write_bytes(content)
    return [str(folder / f"{row}.jpg") for row in range(12)]


@pytest.fixture(scope="module")
def members(contents, tmp_path_factory):
    """The same in two archives, stored and deflated."""
    archives = [tmp_path_factory.mktemp("archives") / name for name in ("first.zip", "Second.ZIP")]
    ways = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    for number, archive in enumerate(archives):
        with zipfile.ZipFile(archive, "w") as file:
            for row in range(number, 12, 2):
                file.writestr(f"part {number}/Läsion {row}.jpg", contents[row], ways[row // 2 % 2])
    return [f"{archives[row % 2]}::part {row % 2}/Läsion {row}.jpg" for row in range(12)]


@pytest.fixture(scope="module")
def content_images(content_files):
    """The pixels of the same, 10 × 10."""
    return ImageLoader(10).transform(content_files)
