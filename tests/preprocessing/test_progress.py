"""The progress bar of `ImageLoader`: on standard error, counting images, and only where it is asked for."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

from skinclf.preprocessing import ImageLoader, ImageReadError, _progress

N = 30


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Thirty images."""
    folder = tmp_path_factory.mktemp("images")
    for row in range(N):
        Image.new("RGB", (9, 9), (row, 0, 0)).save(folder / f"{row}.png")
    return [str(folder / f"{row}.png") for row in range(N)]


@pytest.fixture(params=[False, True], ids=["without cache", "with cache"])
def cache(request, tmp_path):
    """Parameters of a loader, the same in all calls of a test."""
    return {"cache_dir": tmp_path / "cache"} if request.param else {}


@pytest.fixture
def counts(monkeypatch):
    """Every count that a bar gets to, and its total."""
    counts = []

    class Bar(_progress._Bar):
        def update(self, n=1):
            super().update(n)
            counts.append((self.n, self.total))

    monkeypatch.setattr(_progress, "_Bar", Bar)
    return counts


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_nothing_is_printed_unless_it_is_asked_for(paths, capfd, n_jobs, cache):
    ImageLoader(8, n_jobs=n_jobs, **cache).transform(paths)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_a_bar_on_standard_error(paths, capfd, n_jobs, cache):
    images = ImageLoader(8, n_jobs=n_jobs, verbose=1, **cache).transform(paths)
    out, err = capfd.readouterr()
    assert out == ""
    assert re.search(rf"Reading images: 100%\|.*\| {N}/{N} \[.*image/s\]\n$", err)
    np.testing.assert_array_equal(images[:, 0, 0, 0], range(N))


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_it_counts_every_image(paths, counts, n_jobs):
    ImageLoader(8, n_jobs=n_jobs, verbose=1).transform(paths)
    assert counts == [(n, N) for n in range(1, N + 1)]


def test_what_lies_in_the_cache_is_there_at_once(paths, counts, cache, monkeypatch, tmp_path):
    from skinclf.preprocessing import _cache

    monkeypatch.setattr(_cache, "_CHUNK_IMAGES", 8)
    loader = ImageLoader(8, verbose=1, cache_dir=tmp_path / "cache")
    loader.transform(paths[:10])
    counts.clear()
    loader.transform(paths + paths)  # each once
    assert counts[0] == (10, N)
    assert counts[-1] == (N, N)
    assert counts == sorted(counts)
    assert 3 <= len({n for n, _ in counts}) <= N - 10
    counts.clear()
    loader.transform(paths)
    assert set(counts) == {(N, N)}


def test_images_that_cannot_be_read_are_counted_too(paths, counts, cache):
    with pytest.raises(ImageReadError):
        ImageLoader(8, verbose=1, **cache).transform([*paths, "none.jpg"])
    assert counts[-1] == (N + 1, N + 1)


def test_no_thread_is_left(paths, cache):
    before = set(threading.enumerate())
    ImageLoader(8, n_jobs=3, verbose=1, **cache).transform(paths)
    assert not [thread for thread in set(threading.enumerate()) - before if "tqdm" in type(thread).__module__]
    assert not list(getattr(tqdm, "_instances", []))


@pytest.mark.parametrize("verbose", [-1, 1.5, None, "yes"])
def test_what_verbose_may_be(verbose):
    with pytest.raises(ValueError, match="'verbose' parameter of ImageLoader must be"):
        ImageLoader(8, verbose=verbose).fit(["a.jpg"])
