"""Decoded images on disk, shared by every process that reads the same files, so that each is decoded once.

The folder of one way of decoding holds

- ``pixels.u8``: rows of ``height * width * channels`` bytes, only ever appended to;
- ``index.bin``: records of 32 bytes, appended after their pixels: the key of a file's state, the row of its
  pixels, and a CRC-32 of key and pixels;
- ``locks/``: whoever decodes holds the lock of the file's bucket (a 32nd of all keys), so that nobody else decodes
  the same file; ``append.lock`` is held for the milliseconds of writing.

Nothing in there is trusted: a row counts only if its CRC is right. So a process may be killed at any moment, a
disk may lose what it had not written yet, and bytes may flip: what is wrong is decoded again and appended anew.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from skinclf._validation import ImageShape
from skinclf.preprocessing._sources import split_member

Decode = Callable[[NDArray[np.intp]], tuple[NDArray[np.uint8], dict[int, str]]]
"""From positions among the keys to their pixels, and to the cause for each (counted from 0) that has none."""

Report = Callable[[int, int], None]
"""Is told how many of how many images are settled: in the cache, or found to have no pixels."""

_FORMAT = 1
"""Part of the folder's name; raise it when the files below are laid out differently."""

# 32 bytes divide a page, so that no reader sees half a record while another process appends.
_RECORD = np.dtype([("key", "S16"), ("row", "<u8"), ("crc", "<u8")])
_PIXELS, _INDEX = "pixels.u8", "index.bin"

_N_BUCKETS = 32
_CHUNK_IMAGES = 128
_CHUNK_BYTES = 32 * 2**20
_MISSING, _FAILED = -1, -2

_POLL_SECONDS = 0.01
_PATIENCE_SECONDS = 600.0
_MOST_TRIES = 3


def file_keys(paths: NDArray[Any]) -> NDArray[np.bytes_]:
    """Return a key of each file's present state: absolute path, size and time of the last change.

    Parameters
    ----------
    paths : ndarray of str, shape (n_files,)
        Files, which are not opened, or members of zip archives, which change when the archive does.

    Returns
    -------
    ndarray of 16 bytes each, shape (n_files,)
        BLAKE2b digests. A file whose state cannot be read gets a random key, which no other call returns.
    """
    return np.array([_file_key(path) for path in paths], dtype="S16")


def _file_key(path: str) -> bytes:
    file, member = split_member(path) or (path, None)
    try:
        state = os.stat(file)  # noqa: PTH116 (ten thousand paths a second matter more than Path objects)
        content = b"%d:%d:%b" % (state.st_size, state.st_mtime_ns, os.fsencode(os.path.abspath(file)))  # noqa: PTH100
        if member is not None:
            content += b"\0" + os.fsencode(member)  # no path has a null character in it
    except (OSError, ValueError):  # ValueError: a null character in the path
        return secrets.token_bytes(16)
    return hashlib.blake2b(content, digest_size=16).digest()


class PixelCache:
    """Images of one shape, decoded in one way, under one folder.

    Parameters
    ----------
    cache_dir : str or path-like
        May be shared by caches of other shapes and ways of decoding; made if need be.
    name : str
        How the images were decoded, in words: the first part of the folder's name.
    made_by : tuple of str
        Versions of everything that decides on the pixels; another tuple gets another folder.
    image_shape : tuple of int
        ``(height, width, channels)``.
    """

    def __init__(
        self, cache_dir: str | os.PathLike[str], name: str, made_by: tuple[str, ...], image_shape: ImageShape
    ) -> None:
        content = repr((_FORMAT, image_shape, made_by)).encode()
        self.cache_dir = os.fspath(cache_dir)
        version = hashlib.blake2b(content, digest_size=4).hexdigest()
        self.folder = Path(cache_dir).expanduser() / f"{name}-{version}"
        self.image_shape = image_shape
        self.row_bytes = int(np.prod(image_shape))
        self.chunk = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // self.row_bytes))
        # Processes that begin together begin with other buckets.
        self._next_bucket = secrets.randbelow(_N_BUCKETS)

    def load(
        self, keys: NDArray[np.bytes_], decode: Decode, report: Report | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.intp], dict[int, str]]:
        """Look images up, and decode those that nobody has decoded yet.

        Parameters
        ----------
        keys : ndarray of 16 bytes each, shape (n,)
            From `file_keys`.
        decode : callable
            Makes the pixels of the positions that it is given, at most `chunk` at a time.
        report : callable, optional
            Is called from time to time; the images of equal keys count once.

        Returns
        -------
        images : ndarray of uint8, shape (n_base, height, width, channels)
            All that the cache holds, as a read-only memory map.
        rows : ndarray of int, shape (n,)
            The row of `images` for each key; negative where `decode` had no pixels.
        failed : dict of int to str
            What `decode` said for these.

        Raises
        ------
        OSError
            If the folder cannot be read or written, or the disk is full; the message names ``cache_dir``.
        TimeoutError
            If another process holds a lock and adds nothing for ten minutes.
        """
        wanted, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        lookup = _Lookup(self.folder, self.image_shape, wanted, report)
        failed: dict[int, str] = {}

        def decode_chunk(chunk: NDArray[np.intp]) -> None:
            pixels, causes = decode(first[chunk])
            failed.update((int(chunk[i]), cause) for i, cause in causes.items())
            lookup.rows[chunk[list(causes)]] = _FAILED
            good = np.setdiff1d(np.arange(len(chunk)), list(causes))
            if good.size:
                self._append(wanted[chunk[good]], pixels[good])

        with self._explained():
            lookup.refresh()
            while (missing := np.flatnonzero(lookup.rows == _MISSING)).size:
                self._fill(lookup, missing, first, decode_chunk)
        causes = {i: failed[j] for i, j in enumerate(inverse.tolist()) if j in failed} if failed else {}
        return lookup.images, lookup.rows[inverse], causes

    def _fill(
        self,
        lookup: _Lookup,
        missing: NDArray[np.intp],
        order: NDArray[np.intp],
        decode_chunk: Callable[[NDArray[np.intp]], None],
    ) -> None:
        """Decode and append, chunk by chunk, in turns with other processes that do the same."""
        bucket_of = lookup.keys.view(np.uint8)[::16] % _N_BUCKETS
        todo = {int(k): missing[bucket_of[missing] == k] for k in np.unique(bucket_of[missing])}
        tries = np.zeros(len(lookup.keys), dtype=np.uint8)
        last_seen, waiting_since = -1, 0.0
        while todo:
            with ExitStack() as locks:
                mine = self._take_buckets(locks, {bucket: len(rows) for bucket, rows in todo.items()})
                # Only now is it certain that nobody else decodes what is still missing in these buckets.
                lookup.refresh()
                chunk = np.concatenate([np.array([], dtype=np.intp), *(todo[bucket] for bucket in mine)])
                chunk = chunk[lookup.rows[chunk] == _MISSING]
                chunk = chunk[np.argsort(order[chunk])][: self.chunk]
                if chunk.size:
                    decode_chunk(chunk)
                    tries[chunk] += 1
                    lookup.refresh()
                    self._check_tries(tries[chunk[lookup.rows[chunk] == _MISSING]])
            for bucket in mine or list(todo):
                todo[bucket] = todo[bucket][lookup.rows[todo[bucket]] == _MISSING]
                if len(todo[bucket]) == 0:
                    del todo[bucket]
            if mine or lookup.n_records != last_seen:
                last_seen, waiting_since = lookup.n_records, time.monotonic()
            elif todo and time.monotonic() - waiting_since > _PATIENCE_SECONDS:
                raise self._waited_in_vain(f"{min(todo):02}")
            else:
                time.sleep(_POLL_SECONDS)

    def _take_buckets(self, locks: ExitStack, n_missing: dict[int, int]) -> list[int]:
        """Lock buckets that nobody else holds, enough for a chunk, without waiting for any."""
        self._lock_folder.mkdir(parents=True, exist_ok=True)
        taken: list[int] = []
        for bucket in sorted(n_missing, key=lambda bucket: (bucket - self._next_bucket) % _N_BUCKETS):
            if sum(n_missing[other] for other in taken) >= self.chunk:
                break
            lock = FileLock(self._lock_folder / f"{bucket:02}.lock")
            with suppress(Timeout):
                lock.acquire(timeout=0)
                locks.callback(lock.release)
                taken.append(bucket)
        self._next_bucket = taken[-1] + 1 if taken else self._next_bucket
        return taken

    def _append(self, keys: NDArray[np.bytes_], pixels: NDArray[np.uint8]) -> None:
        """Write pixels, then the records that say where they are: a record without pixels can never be."""
        self._lock_folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock_folder / "append.lock")
        try:
            lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=_POLL_SECONDS)
        except Timeout as error:
            raise self._waited_in_vain("append") from error
        try:
            with (self.folder / _PIXELS).open("ab", buffering=0) as file:
                start = _cut_to_whole(file, self.row_bytes)
                try:
                    _write_all(file, np.ascontiguousarray(pixels).data)
                except OSError:
                    # No record names these rows, so nobody can be reading them; a full disk gets its space back.
                    with suppress(OSError):
                        file.truncate(start * self.row_bytes)
                    raise
            records = np.zeros(len(keys), dtype=_RECORD)
            records["key"], records["row"] = keys, np.arange(start, start + len(keys))
            records["crc"] = [_checksum(key, image) for key, image in zip(_raw(keys), pixels, strict=True)]
            with (self.folder / _INDEX).open("ab", buffering=0) as file:
                _cut_to_whole(file, _RECORD.itemsize)
                _write_all(file, records.tobytes())
        finally:
            lock.release()

    @property
    def _lock_folder(self) -> Path:
        return self.folder / "locks"

    def _check_tries(self, tries: NDArray[np.uint8]) -> None:
        if tries.size and tries.max() >= _MOST_TRIES:
            raise OSError(
                f"cache_dir={self.cache_dir!r} does not keep what is written to it: {self.folder} was read again "
                f"{_MOST_TRIES} times, and the pixels were not those that had been written. Choose a folder on "
                "another disk, or pass cache_dir=None to decode without a cache."
            )

    def _waited_in_vain(self, lock: str) -> TimeoutError:
        return TimeoutError(
            f"Another process holds {self._lock_folder / f'{lock}.lock'}, to decode images into cache_dir="
            f"{self.cache_dir!r}, and has added none for {_PATIENCE_SECONDS:g} seconds. End that process, or pass "
            "another cache_dir."
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno is None:  # ours, or without anything to explain
                raise
            message = (
                f"cache_dir={self.cache_dir!r} cannot be used ({error.strerror}); what it holds already stays "
                "right. Free space there, or choose a folder that can be written, or pass cache_dir=None to "
                "decode without a cache"
            )
            raise OSError(error.errno, message, str(error.filename or self.folder)) from error


class _Lookup:
    """Where the images of some keys lie, as far as is known.

    Attributes
    ----------
    keys : ndarray of 16 bytes each
        Sorted, without repetitions.
    rows : ndarray of int
        The row of each key, or `_MISSING`, or `_FAILED`.
    images : ndarray of uint8
        The memory map that `rows` refers to.
    n_records : int
        Records of the index that were read.
    """

    def __init__(
        self, folder: Path, image_shape: ImageShape, keys: NDArray[np.bytes_], report: Report | None = None
    ) -> None:
        self.keys = keys
        self.rows = np.full(len(keys), _MISSING, dtype=np.intp)
        self.images: NDArray[np.uint8] = np.empty((0, *image_shape), dtype=np.uint8)
        self.n_records = 0
        self._folder = folder
        self._files: list[tuple[int, int]] = []
        self._report = report

    def refresh(self) -> None:
        """Read the records that were appended meanwhile; start over if the files are others, or shorter."""
        try:
            with (self._folder / _INDEX).open("rb") as index, (self._folder / _PIXELS).open("rb") as pixels:
                files = [_identity(index), _identity(pixels)]
                if files != self._files or _n_rows(pixels, self.images.shape[1:]) < len(self.images):
                    self._forget()
                records = self._new_records(index)
                self._files, self.images = files, _map(pixels, self.images.shape[1:])
        except FileNotFoundError:  # not made yet, or deleted
            self._forget()
        else:
            self._find(records)
        if self._report is not None:
            self._report(int(np.count_nonzero(self.rows != _MISSING)), len(self.rows))

    def _forget(self) -> None:
        self.images = np.empty((0, *self.images.shape[1:]), dtype=np.uint8)
        self.rows[self.rows != _FAILED] = _MISSING
        self.n_records, self._files = 0, []

    def _new_records(self, index: BinaryIO) -> NDArray[Any]:
        if os.fstat(index.fileno()).st_size < self.n_records * _RECORD.itemsize:
            self.n_records = 0
        index.seek(self.n_records * _RECORD.itemsize)
        content = index.read()
        records = np.frombuffer(content, dtype=_RECORD, count=len(content) // _RECORD.itemsize)
        self.n_records += len(records)
        return records

    def _find(self, records: NDArray[Any]) -> None:
        """Take over the rows of keys that are missing, if their pixels are right."""
        if len(self.keys) == 0 or len(records) == 0:
            return
        position = np.searchsorted(self.keys, records["key"])
        position[position == len(self.keys)] = 0
        use = (self.keys[position] == records["key"]) & (self.rows[position] == _MISSING)
        use &= records["row"] < len(self.images)
        # Of several records of a key the last one counts, which was written because the others were wrong.
        found, last = np.unique(position[use][::-1], return_index=True)
        records = records[use][::-1][last]
        on_disk = np.argsort(records["row"])
        found, records = found[on_disk], records[on_disk]
        rows, crcs = records["row"].tolist(), records["crc"].tolist()
        for i, row, crc, key in zip(found.tolist(), rows, crcs, _raw(self.keys[found]), strict=True):
            if _checksum(key, self.images[row]) == crc:
                self.rows[i] = row


def _identity(file: BinaryIO) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_dev, state.st_ino


def _n_rows(pixels: BinaryIO, image_shape: tuple[int, ...]) -> int:
    return os.fstat(pixels.fileno()).st_size // int(np.prod(image_shape))


def _map(pixels: BinaryIO, image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    n_rows = _n_rows(pixels, image_shape)
    if n_rows == 0:  # an empty file cannot be mapped
        return np.empty((0, *image_shape), dtype=np.uint8)
    # A plain view of the map: indexing a np.memmap itself is several times slower.
    return np.asarray(np.memmap(pixels, dtype=np.uint8, mode="r", shape=(n_rows, *image_shape)))


def _cut_to_whole(file: FileIO, item_bytes: int) -> int:
    """Return how many whole items a file holds; part of one, left by a killed process, is cut off."""
    size = os.fstat(file.fileno()).st_size
    if size % item_bytes:
        file.truncate(size - size % item_bytes)
    return size // item_bytes


def _write_all(file: FileIO, content: bytes | memoryview) -> None:
    rest = memoryview(content).cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


def _raw(keys: NDArray[np.bytes_]) -> list[bytes]:
    """Return keys as bytes; NumPy's own conversion drops zeros at their ends."""
    content = keys.tobytes()
    return [content[start : start + 16] for start in range(0, len(content), 16)]


def _checksum(key: bytes, image: NDArray[np.uint8]) -> int:
    # With the key in it, a row that another image has taken is never mistaken for this one.
    return zlib.crc32(image.data, zlib.crc32(key))
