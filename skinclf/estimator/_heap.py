"""Memory of the C library that a training keeps between its batches instead of asking the system for it again."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
"""Names of settings, from glibc's ``malloc.h``."""

_NAMES = ("trim_threshold", "top_pad", "mmap_threshold", "mmap_max")
"""The same in environment variables."""

_MEBIBYTE = 2**20
_IN_TRAINING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * _MEBIBYTE}
_AFTERWARDS = {
    _MMAP_MAX: 65536,
    _MMAP_THRESHOLD: 32 * _MEBIBYTE,
    _TRIM_THRESHOLD: 64 * _MEBIBYTE,
    _TOP_PAD: 0,
}
"""What glibc would have come to by itself: its thresholds follow the blocks that are freed, up to these."""

_lock = threading.Lock()
_trainings = 0


@contextmanager
def kept_heap(device: str) -> Iterator[None]:
    """Let freed memory stay with the process inside the block, and give it back to the system at its end.

    Each batch needs the same large blocks as the one before. By default glibc maps a large block anew every time,
    and the system fills each of its pages with zeros on first use, which takes a third to a half of the time of a
    fine-tuning (``benchmarks/bench_fit.py``). The price is that the peak is higher by what lies between blocks.

    Nothing is done where the network is not on the CPU, where the C library is not glibc, and where the user has
    set glibc's allocator by an environment variable. Trainings in several threads share one setting, which ends
    with the last of them.

    Parameters
    ----------
    device : str
        Where the network is trained.
    """
    glibc = _glibc() if device == "cpu" and not _set_by_user() else None
    if glibc is None:
        yield
        return
    _enter(glibc)
    try:
        yield
    finally:
        _leave(glibc)


def _enter(glibc: ctypes.CDLL) -> None:
    global _trainings
    with _lock:
        _trainings += 1
        if _trainings == 1:
            _set(glibc.mallopt, _IN_TRAINING)


def _leave(glibc: ctypes.CDLL) -> None:
    global _trainings
    with _lock:
        _trainings -= 1
        if _trainings == 0:
            _set(glibc.mallopt, _AFTERWARDS)
            glibc.malloc_trim(0)


def _set(mallopt: Callable[[int, int], int], settings: dict[int, int]) -> None:
    for name, value in settings.items():
        mallopt(name, value)


def _set_by_user() -> bool:
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(f"glibc.malloc.{name}=" in tunables or f"MALLOC_{name.upper()}_" in os.environ for name in _NAMES)


@cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library of this process if it is glibc; musl, macOS and Windows have no such settings."""
    try:
        library = ctypes.CDLL(None)
        _ = library.gnu_get_libc_version, library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return library
