"""What is said of images that cannot be read: one error, one line for each row, and the cause in words."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray
from PIL import Image

from skinclf._validation import is_bytes

_IMAGES_IN_A_MESSAGE = 10


class ImageReadError(ValueError):
    """One or more images could not be read; the message names each row, where it came from, and the cause."""


def list_failures(sources: NDArray[Any], failed: dict[int, str]) -> str:
    """Say in one message which images cannot be read, and why; by row of ``X``."""
    rows = sorted(failed)
    lines = [f"  row {row}: {describe(sources[row])}: {failed[row]}" for row in rows[:_IMAGES_IN_A_MESSAGE]]
    if len(failed) > _IMAGES_IN_A_MESSAGE:
        lines.append(f"  and {len(failed) - _IMAGES_IN_A_MESSAGE} more")
    return f"{len(failed)} of {len(sources)} images could not be read:\n" + "\n".join(lines)


def describe(source: Any) -> str:
    """Name the source of an image in a message; of bytes only their number is shown.

    Examples
    --------
    >>> import io
    >>> from skinclf.preprocessing._failures import describe
    >>> describe("photos.zip::lesion.jpg"), describe(b"GIF89a"), describe(io.BytesIO())
    ('photos.zip::lesion.jpg', '6 bytes', 'an open file (BytesIO)')
    """
    if isinstance(source, str):
        return source
    if is_bytes(source):
        return f"{memoryview(source).nbytes} bytes"
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "")
        return f"a PIL image ({name or f'{source.mode}, {source.width} x {source.height}'})"
    name = getattr(source, "name", None)  # of a file that was opened by a descriptor, a number
    return f"an open file ({name if isinstance(name, str) and name else type(source).__name__})"


def explain_os_error(path: str | None, error: OSError) -> str:
    """Return the cause of an error of the system, or of one that Pillow raises for a damaged file."""
    if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP:
        return "a symbolic link that leads nowhere" if path and Path(path).is_symlink() else "no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder, not an image file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if error.errno is not None:
        return f"cannot be read: {error.strerror}"
    return f"damaged: {error}"


def explain_unidentified(file: BinaryIO) -> str:
    """Return what a file is that Pillow takes for no image, by its first bytes."""
    file.seek(0)
    head = file.read(64)
    if not head:
        return "an empty file"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page, not an image; the download probably failed"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC image, which Pillow cannot read; convert it to JPEG or PNG"
    return "not an image in a format that Pillow reads"
