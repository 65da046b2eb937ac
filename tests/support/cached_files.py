"""What the tests of the cache of decoded images share: files on disk, and processes that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_FILES, SIZE = 60, 8
ROW_BYTES = SIZE * SIZE * 3
RECORD_BYTES = 32

CHILD = """
import os, time
import numpy as np
from skinclf.preprocessing import ImageLoader, _cache, _loader

decode, log = _loader.decode_image, os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def slow_decode(path, *args):
    os.write(log, f"{path}\\n".encode())
    time.sleep(0.002)
    return decode(path, *args)

def write_in_pieces(file, content):
    rest = memoryview(content).cast("B")
    while len(rest):
        rest = rest[file.write(rest[:50]):]
        time.sleep(0.001)

_loader.decode_image, _cache._CHUNK_IMAGES, _cache._write_all = slow_decode, 4, write_in_pieces
loader = ImageLoader(8, cache_dir=cache_dir, n_jobs=n_jobs)
gate.wait(30)
np.save(result_file, loader.transform(paths))
"""
"""Reads slowly, four images at a time, and logs what it decodes."""


def start_reading(children, paths, *, cache_dir, log_file, gate, result_file, n_jobs=1):
    """Start a process that reads `paths` through the cache as soon as all wait at the gate."""
    names = {"paths": paths, "gate": gate, "n_jobs": n_jobs}
    names |= {"cache_dir": str(cache_dir), "log_file": str(log_file), "result_file": str(result_file)}
    # A string that `exec` runs needs no module of tests that a child could import.
    process = children.Process(target=exec, args=(CHILD, names))
    process.start()
    return process


def files_of(loader):
    """Return the files of pixels and of records of a loader whose cache_dir holds one cache."""
    (folder,) = Path(loader.cache_dir).iterdir()
    return folder / "pixels.u8", folder / "index.bin"


def records_of(loader):
    """Return the index of a loader whose cache_dir holds one cache."""
    return np.fromfile(files_of(loader)[1], dtype=[("key", "S16"), ("row", "<u8"), ("crc", "<u8")])
