"""Write a file whole, or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, text: str, *, overwrite: bool) -> None:
    """Write text so that a run that is stopped leaves either the old file or the whole new one.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    text : str
        Written as UTF-8.
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
    OSError
        If it cannot be written (disk full, no permission); the old file is then as it was.
    """
    check_target(path, overwrite=overwrite)
    # In the same folder, as a rename is only atomic within one file system.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        state = "the file that was there is as it was" if path.exists() else "nothing was left behind"
        message = f"Could not write the file ({error.strerror}); {state}. Free space, or choose another folder"
        raise OSError(error.errno, message, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that `write_whole` would refuse, before any work is done for it."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it.")
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists already. Pass overwrite=True to replace it, or choose another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} does not exist; make it first.")
