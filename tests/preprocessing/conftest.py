"""Fixtures of the tests of the cache of decoded images."""

from __future__ import annotations

import multiprocessing

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

    def counted(path, size, crop):
        calls.append(path)
        return decode(path, size, crop)

    monkeypatch.setattr(_loader, "decode_image", counted)
    return calls


@pytest.fixture(scope="module")
def children():
    """Processes that start in milliseconds, forked from one that has imported the library and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skinclf.preprocessing"])
    return context
