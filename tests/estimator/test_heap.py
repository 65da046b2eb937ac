"""A training keeps the memory of its batches, and gives it back when it ends."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading

import pytest
from skorch.callbacks import EpochScoring

from skinclf import LesionCNNClassifier
from skinclf.datasets import make_lesions
from skinclf.estimator import _heap

ON_GLIBC = platform.libc_ver()[0] == "glibc"

FAULTS_OF_BLOCKS = """
import resource
import numpy as np
from skinclf.estimator._heap import kept_heap

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(5_000_000)  # 40 MB, more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

with kept_heap("cpu"):
    np.ones(5_000_000)
    inside, kept = faults(), resident()
print(inside, faults(), kept - resident())
"""


class Recorder:
    """Stands for the C library, and remembers what was set."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}
        self.trimmed = 0

    def mallopt(self, name: int, value: int) -> int:
        self.settings[name] = value
        return 1

    def malloc_trim(self, _: int) -> int:
        self.trimmed += 1
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(_heap, "_glibc", lambda: recorder)
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    return recorder


@pytest.mark.skipif(not ON_GLIBC, reason="the allocator of glibc")
def test_large_blocks_are_mapped_once_inside_and_given_back_at_the_end() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    run = subprocess.run(
        [sys.executable, "-c", FAULTS_OF_BLOCKS], capture_output=True, text=True, check=True, env=environment
    )
    inside, outside, given_back = map(int, run.stdout.split())
    assert inside < outside / 10
    assert given_back > 35_000_000


def test_only_a_training_on_the_cpu_changes_anything(library: Recorder) -> None:
    with _heap.kept_heap("cuda"):
        assert library.settings == {}
    with _heap.kept_heap("cpu"):
        assert library.settings[_heap._MMAP_MAX] == 0
    assert library.settings[_heap._MMAP_MAX] > 0
    assert library.trimmed == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=3:glibc.malloc.check=0")],
)
def test_what_the_user_has_set_stays(
    library: Recorder, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with _heap.kept_heap("cpu"):
        assert library.settings == {}
    assert not library.trimmed


def test_huge_pages_of_the_user_are_no_reason_to_map_blocks_anew(
    library: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    with _heap.kept_heap("cpu"):
        assert library.settings[_heap._MMAP_MAX] == 0


def test_the_last_of_several_trainings_in_threads_ends_it(library: Recorder) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with _heap.kept_heap("cpu"):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with _heap.kept_heap("cpu"):
        thread.start()
        assert entered.wait(10)
    assert library.settings[_heap._MMAP_MAX] == 0
    leave.set()
    thread.join()
    assert library.settings[_heap._MMAP_MAX] > 0
    assert library.trimmed == 1


def test_a_training_that_fails_gives_back_too(library: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    lesions = make_lesions(n_lesions=14, image_size=16, random_state=0)

    def score(*_: object) -> float:
        assert library.settings[_heap._MMAP_MAX] == 0
        raise OSError("on purpose")

    classifier = LesionCNNClassifier(
        image_size=16, max_epochs=1, callbacks=[("fails", EpochScoring(score))], random_state=0
    )
    with pytest.raises(Exception, match="on purpose"):
        classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
    assert library.settings[_heap._MMAP_MAX] > 0


def test_other_c_libraries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Musl:
        pass

    monkeypatch.setattr(_heap.ctypes, "CDLL", lambda _: Musl())
    assert _heap._glibc.__wrapped__() is None
    monkeypatch.setattr(_heap, "_glibc", lambda: None)
    with _heap.kept_heap("cpu"):
        pass
