"""One kind of file for models and for checkpoints: safetensors with a tree of plain values, and no code.

A file is valid safetensors: 8 bytes that say how long the header is, the header (JSON), the tensors. The header's
``__metadata__`` has one key, ``skinclf``: a JSON string with the format, its version, the SHA-256 of the file and
the tree, which names the tensors. The SHA-256 is that of all bytes, with zeros in place of its own digits.

Reading a file builds plain values, arrays and tensors, and runs no code from it.

References
----------
The format: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from skinclf import __version__
from skinclf._files import write_whole
from skinclf.estimator._tree import TreeDecoder, TreeEncoder

FORMAT_VERSION = 1
"""Raised when a reader of the version before would misread the file."""

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors library
_DIGEST_MARK = rb"\"sha256\":\""  # quotes are escaped, since the JSON is a string within JSON
_NO_DIGEST = b"0" * 64

_KINDS = {
    "model": ("a saved model", "Load it with LesionCNNClassifier.load(path)."),
    "ensemble": ("a saved ensemble", "Load it with skinclf.LesionEnsemble.load(path)."),
    "checkpoint": ("a training checkpoint", "It is continued by fit, with its folder as checkpoint_dir."),
}
_RUNS_CODE = "loading one could run code that is hidden in it"
_FOREIGN = {
    f"a pickle; {_RUNS_CODE}": (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    f"a zip archive, as torch.save writes; {_RUNS_CODE}": (b"PK\x03\x04",),
    f"a compressed file, as joblib.dump writes; {_RUNS_CODE}": (
        b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"BZh", b"\xfd7zXZ", b"]\x00\x00", b"\x04\x22M\x18",
    ),
    "an HDF5 file, as Keras writes": (b"\x89HDF",),
    "the stand-in that Git LFS keeps for a file; run 'git lfs pull'": (b"version https://git-lfs",),
    "an HTML or XML page; perhaps the download went wrong": (b"<",),
    "a JSON file": (b"{", b"["),
}  # fmt: skip
"""What other files begin with: pickle from protocol 2 on; gzip, zlib, bzip2, xz, lzma and lz4; HDF5."""

_COPY_AGAIN = "Copy or download it again."


class ModelFileError(ValueError):
    """A file that cannot be used as a model or as a checkpoint; the message says why."""


def write_container(path: str | os.PathLike[str], kind: str, content: Any) -> None:
    """Write a tree of plain values, arrays and tensors; a file that is there already is replaced.

    Parameters
    ----------
    path : str or PathLike
        The file; its folder exists.
    kind : {"model", "ensemble", "checkpoint"}
        What the file is for; `read_container` asks for it again.
    content : dict, list, tuple, str, int, float, bool, None, Tensor, ndarray or NumPy scalar
        And any nesting of these; see `skinclf.estimator._tree.TreeEncoder`.

    Raises
    ------
    TypeError
        If something else is in `content`; the message says where.
    OSError
        If the file cannot be written. The old file, if there is one, is then as it was.
    """
    encoder = TreeEncoder()
    inner = {
        "format": "skinclf",
        "version": FORMAT_VERSION,
        "sha256": _NO_DIGEST.decode(),  # before the tree, so that nothing in the tree is found in its place
        "kind": kind,
        "skinclf": __version__,
        "content": encoder.encode(content),
    }
    entries, blocks = encoder.layout()
    header = _compact({"__metadata__": {"skinclf": _compact(inner)}, **entries}).encode("ascii")
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8
    head = len(header).to_bytes(_LENGTH_BYTES, "little") + header

    def write(file: BinaryIO) -> None:
        digest = hashlib.sha256()
        for block in [memoryview(head), *blocks]:
            digest.update(block)
            file.write(block)
        file.seek(head.index(_DIGEST_MARK) + len(_DIGEST_MARK))
        file.write(digest.hexdigest().encode("ascii"))

    write_whole(Path(path), write)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def read_container(path: str | os.PathLike[str], kind: str) -> Any:
    """Read what `write_container` wrote, and refuse anything that is not exactly that.

    Parameters
    ----------
    path : str or PathLike
        The file.
    kind : {"model", "ensemble", "checkpoint"}
        What the file must be.

    Returns
    -------
    dict, list, tuple, str, int, float, bool, None, Tensor, ndarray or NumPy scalar
        Values of the types that were written; tensors are on the CPU.

    Raises
    ------
    ModelFileError
        If the file is cut short, damaged, of another kind, of a later version, or something else altogether.
    FileNotFoundError, OSError
        If it is missing or cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(path, file, size)
        buffer = bytearray(size - _LENGTH_BYTES - len(header))
        if file.readinto(buffer) != len(buffer):
            raise ModelFileError(f"{path} became shorter while it was read. Read it when it is complete.")
    entries = _parse_header(path, header, size)
    inner = _verified(path, entries.pop("__metadata__", None), header, buffer)
    _check_version_and_kind(path, inner, kind)
    try:
        return TreeDecoder(entries, buffer).decode(inner["content"])
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise ModelFileError(
            f"{path} has a valid checksum, but its contents are not as skinclf writes them ({error!r}). "
            "Save the model again."
        ) from error


def _read_header(path: Path, file: BinaryIO, size: int) -> bytes:
    """Return the header of what looks like safetensors, and say what anything else looks like."""
    start = file.read(32)
    if size == 0:
        raise ModelFileError(f"{path} is empty. {_COPY_AGAIN}")
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if start[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{" or length > _LONGEST_HEADER:
        raise ModelFileError(f"{path} is no file that skinclf wrote: it is {_appearance(start)}.")
    if _LENGTH_BYTES + length > size:
        raise ModelFileError(
            f"{path} is cut short: it has {size:,} of at least {_LENGTH_BYTES + length:,} bytes. {_COPY_AGAIN}"
        )
    file.seek(_LENGTH_BYTES)
    return file.read(length)


def _appearance(start: bytes) -> str:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for name, marks in _FOREIGN.items():
        if start.startswith(marks) or text.startswith(marks):
            return name
    if len(start) <= _LENGTH_BYTES:
        return f"cut short, or something else; it has only {len(start)} bytes"
    return "damaged at its beginning, or something else"


def _parse_header(path: Path, header: bytes, size: int) -> dict[str, Any]:
    try:
        entries = json.loads(header)
        ends = [int(entry["data_offsets"][1]) for name, entry in entries.items() if name != "__metadata__"]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: its header cannot be read. {_COPY_AGAIN}") from error
    expected = _LENGTH_BYTES + len(header) + max(ends, default=0)
    if size < expected:
        raise ModelFileError(f"{path} is cut short: it has {size:,} of {expected:,} bytes. {_COPY_AGAIN}")
    if size > expected:
        raise ModelFileError(f"{path} is damaged: it has {size:,} bytes instead of {expected:,}. {_COPY_AGAIN}")
    tensors: dict[str, Any] = entries
    return tensors


def _verified(path: Path, metadata: Any, header: bytes, buffer: bytearray) -> dict[str, Any]:
    """Return skinclf's own part of the metadata, once the checksum of all bytes of the file is right."""
    if _DIGEST_MARK not in header:
        raise ModelFileError(
            f"{path} is a safetensors file that skinclf did not write. It may hold weights, but not how "
            "images are prepared and what the classes are. Only files of LesionCNNClassifier.save can be loaded."
        )
    start = header.find(_DIGEST_MARK) + len(_DIGEST_MARK)
    stop = start + len(_NO_DIGEST)
    digest = hashlib.sha256(len(header).to_bytes(_LENGTH_BYTES, "little"))
    for block in (header[:start], _NO_DIGEST, header[stop:], buffer):
        digest.update(block)
    if header[start:stop] != digest.hexdigest().encode("ascii"):
        raise ModelFileError(
            f"{path} is damaged: its SHA-256 is not the one that was written into it. {_COPY_AGAIN}"
        )
    try:
        inner = json.loads(metadata["skinclf"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(f"{path} has a valid checksum, but no content that skinclf wrote.") from error
    if not isinstance(inner, dict) or inner.get("format") != "skinclf":
        raise ModelFileError(f"{path} has a valid checksum, but no content that skinclf wrote.")
    return inner


def _check_version_and_kind(path: Path, inner: dict[str, Any], kind: str) -> None:
    version, found = inner.get("version"), inner.get("kind")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path} was written by skinclf {inner.get('skinclf')} in format {version}; this is skinclf "
            f"{__version__}, which reads formats up to {FORMAT_VERSION}. Upgrade skinclf."
        )
    if found != kind:
        what, remedy = _KINDS.get(str(found), (f"a file of the kind {found!r}", ""))
        raise ModelFileError(f"{path} is {what}, not {_KINDS[kind][0]}. {remedy}".rstrip())
