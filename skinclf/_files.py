"""Write a file whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before any work is done for it.

    Parameters
    ----------
    path : Path
        The file to be written.
    overwrite : bool
        Whether a file that is there already may be replaced.

    Raises
    ------
    FileExistsError
        If there is a file already, and `overwrite` is False.
    IsADirectoryError
        If `path` is a folder.
    FileNotFoundError
        If its folder does not exist.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "This is a folder; name a file in it", str(path))
    if os.path.lexists(path) and not overwrite:
        message = "The file exists already. Pass overwrite=True to replace it, or choose another name"
        raise FileExistsError(errno.EEXIST, message, str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"The folder {path.parent} does not exist; make it first", str(path))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a run that is stopped leaves either the old file or the whole new one.

    Parameters
    ----------
    path : Path
        The file; it is replaced if it exists.
    write : callable
        Gets the open file, and writes everything into it.

    Raises
    ------
    OSError
        If it cannot be written (disk full, no permission, no such folder); the message says what to do.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skinclf._files import write_whole
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "notes.txt"
    ...     write_whole(path, lambda file: file.write(b"whole"))
    ...     path.read_bytes()
    b'whole'
    """
    check_target(path, overwrite=True)
    # In the same folder, as a rename is only atomic within one file system.
    temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        state = "the file that was there is as it was" if path.exists() else "nothing was left behind"
        message = f"Could not write the file ({error.strerror or error}); {state}. {_remedy(error.errno)}"
        raise OSError(error.errno, message, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    # Without this a power cut may bring back the old file, whole; some network folders cannot do it.
    with suppress(OSError):
        _sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it wrote `path` has left; nobody may be writing it now."""
    for temporary in path.parent.glob(f"{_prefix(path)}*.tmp"):
        temporary.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    """Begin the name of a temporary file: short, whatever the length of the file's own name."""
    return f".skinclf-{hashlib.blake2b(path.name.encode(), digest_size=4).hexdigest()}-"


def _remedy(number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space, or choose a folder on another disk"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose a folder that you may write to"
    return "Choose another folder"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
