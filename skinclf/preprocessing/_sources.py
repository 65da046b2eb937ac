"""Where the bytes of an image come from: a file, a member of a zip archive, memory, a file that is open."""

from __future__ import annotations

import re
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO, Self

from skinclf._validation import is_bytes
from skinclf.preprocessing._failures import ImageReadError, explain_os_error

MAX_BYTES = 256 * 2**20
"""Of a member of an archive, and of an open file: as much as 89 million pixels of 3 bytes take, Pillow's limit."""

_BLOCK = 2**20
_MOST_ARCHIVES = 64
"""Kept open at a time; many systems allow a process 256 open files."""

_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flag bits: encrypted, strongly encrypted, central directory encrypted (APPNOTE.TXT of PKWARE, 4.4.4)."""

_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstandard"}
"""Ways to compress that have a name (APPNOTE.TXT, 4.4.5), but for deflate."""

_MEMBER = re.compile(r"(.+?\.zip)::(.*)", re.IGNORECASE | re.DOTALL)


def split_member(path: str) -> tuple[str, str] | None:
    """Return archive and name of a path that leads into a zip archive, None for that of a file.

    Examples
    --------
    >>> from skinclf.preprocessing._sources import split_member
    >>> split_member("photos.zip::part 1/lesion.jpg"), split_member("nine::thirty.jpg")
    (('photos.zip', 'part 1/lesion.jpg'), None)
    """
    found = _MEMBER.fullmatch(path) if "::" in path else None
    return None if found is None else (found[1], found[2])


class Sources:
    """Opens images for any number of threads; archives stay open until the end of the block.

    Attributes
    ----------
    lock : Lock
        Held while an object of the caller, an open file or a PIL image, is read: several of them may read one
        file below, as the members of a tar archive do.

    Examples
    --------
    >>> from skinclf.preprocessing._sources import Sources
    >>> with Sources() as sources, sources.open(b"GIF89a") as file:
    ...     file.read(3)
    b'GIF'
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._archive_lock = threading.Lock()
        self._archives: dict[str, zipfile.ZipFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._archive_lock:
            while self._archives:
                self._archives.popitem()[1].close()

    @contextmanager
    def open(self, source: Any) -> Iterator[BinaryIO]:
        """Give the bytes of an image as a file that can be sought.

        Parameters
        ----------
        source : str, bytes-like or open file
            A path, ``archive.zip::member``, the bytes, or a file that is read from where it stands, and then
            stands there again.

        Yields
        ------
        file
            At its start; closed after the block, unlike the file that was passed.

        Raises
        ------
        ImageReadError
            With the cause as message.
        OSError
            If a file cannot be opened.
        """
        if not isinstance(source, str):
            yield BytesIO(source if is_bytes(source) else self._read_on(source))
        elif (member := split_member(source)) is not None:
            yield BytesIO(self._read_member(*member))
        else:
            with open(source, "rb") as file:  # noqa: PTH123 (a Path for each of ten thousand images takes time)
                yield file

    def _read_on(self, file: Any) -> bytes:
        try:
            with self.lock:
                return _rest_of(file)
        except ImageReadError:
            raise
        except ValueError as error:
            cause = "a closed file" if getattr(file, "closed", False) else f"cannot be read: {error}"
            raise ImageReadError(cause) from error

    def _read_member(self, archive: str, name: str) -> bytes:
        try:
            with self._archive_lock:  # opening and closing count references, which is not safe among threads
                entry = self._opened(archive).getinfo(name)
                _check_entry(entry)
                file = self._archives[archive].open(entry)
            try:
                # To the end, where the checksum is compared. A wrong size in the entry is no way around the limit.
                return file.read(entry.file_size + 1)
            finally:
                with self._archive_lock:
                    file.close()
        except KeyError as error:
            raise ImageReadError("the archive has no such member") from error
        except NotImplementedError as error:
            raise ImageReadError(f"packed in a way that Python cannot undo: {error}") from error
        except EOFError as error:
            raise ImageReadError("damaged in the archive: its end is missing") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise ImageReadError(f"damaged in the archive: {error}") from error

    def _opened(self, path: str) -> zipfile.ZipFile:
        if path in self._archives:
            return self._archives[path]
        try:
            archive = zipfile.ZipFile(path)
        except OSError as error:
            cause = "it is a folder" if isinstance(error, IsADirectoryError) else explain_os_error(path, error)
            raise ImageReadError(f"the archive cannot be opened: {cause}") from error
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise ImageReadError(f"the archive is no zip file, or a damaged one ({error})") from error
        if len(self._archives) == _MOST_ARCHIVES:
            self._archives.pop(
                next(iter(self._archives))
            ).close()  # members that are being read keep its file open
        self._archives[path] = archive
        return archive


def _check_entry(entry: zipfile.ZipInfo) -> None:
    if entry.is_dir():
        raise ImageReadError("a folder, not an image file")
    if entry.flag_bits & _ENCRYPTED:
        raise ImageReadError("encrypted; unpack the archive with its password, and pass the files")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks the others whole, whatever they unpack to: there would be no limit to the memory.
        name = _METHODS.get(entry.compress_type, f"method {entry.compress_type}")
        raise ImageReadError(
            f"compressed by {name}, and only stored and deflated members are read; pack them anew"
        )
    if entry.file_size > MAX_BYTES:
        raise ImageReadError(f"{entry.file_size} bytes when unpacked, and at most {MAX_BYTES} are read")


def _rest_of(file: Any) -> bytes:
    """Read a file to its end, and set it back to where it was, if it can be."""
    start = file.tell() if hasattr(file, "seekable") and file.seekable() else None
    parts, n_bytes = [], 0
    try:
        while part := file.read(_BLOCK):
            if not is_bytes(part):
                raise ImageReadError("opened as text; open it with mode 'rb'")
            n_bytes += len(part)
            if n_bytes > MAX_BYTES:
                raise ImageReadError(f"longer than the {MAX_BYTES} bytes that are read at most")
            parts.append(part)
    finally:
        if start is not None:
            file.seek(start)
    return b"".join(parts)
