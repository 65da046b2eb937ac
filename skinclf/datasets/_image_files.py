"""Find the tables and images of a data set in a folder, whatever the archive it came from looks like."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_TABLE_SUFFIXES = frozenset({".csv", ".tab", ".tsv", ".txt"})
_ARCHIVE_SUFFIXES = frozenset({".zip", ".7z", ".tar", ".tgz", ".gz", ".rar"})
_TABLE_WITHOUT_SUFFIX = re.compile(r"metadata|ground_?truth", re.IGNORECASE)
_MASK_FOLDER = re.compile(r"segmentation|(?:^|[_ -])masks?(?:$|[_ -])", re.IGNORECASE)
_MASK_STEM = re.compile(r".+_(?:segmentation|mask|superpixels|attribute_\w+)", re.IGNORECASE)
_WHOLE_COMPARISON = 65536
_SAMPLED_BLOCK = 16384


@dataclass
class FolderListing:
    """What lies in a folder and the folders below it.

    Attributes
    ----------
    root : Path
        The folder.
    images : dict of str to list of str
        File name without suffix -> absolute paths, sorted.
    tables : list of Path
        Files that may hold a table, sorted.
    archives : list of Path
        Archives that were not unpacked, sorted.
    mask_folders : list of Path
        Folders passed over because their names say that they hold segmentation masks.
    broken_links : list of Path
        Links to images that lead nowhere.
    """

    root: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)
    archives: list[Path] = field(default_factory=list)
    mask_folders: list[Path] = field(default_factory=list)
    broken_links: list[Path] = field(default_factory=list)

    def hints(self) -> list[str]:
        """Return sentences on why an image may not have been found, a line each."""
        hints = []
        if self.archives:
            hints.append(f"Not unpacked: {_names(self.archives)}. Unpack archives first.")
        if self.mask_folders:
            hints.append(f"Taken for segmentation masks, and passed over: {_names(self.mask_folders)}.")
        if self.broken_links:
            hints.append(f"Links that lead nowhere: {_names(self.broken_links)}.")
        return hints


def _names(paths: Sequence[Path], shown: int = 5) -> str:
    more = f" and {len(paths) - shown:,} more" if len(paths) > shown else ""
    return ", ".join(str(path) for path in paths[:shown]) + more


def check_folder(folder: Any, said_by: str, remedy: str = "") -> Path:
    """Return a folder as an absolute path.

    Parameters
    ----------
    folder : str or path-like
        What was given; a leading ``~`` stands for the home directory.
    said_by : str
        The argument or variable that it came from, for the message.
    remedy : str, optional
        A sentence to end the message with.

    Returns
    -------
    Path
        The folder, not resolved: links stay as they are.

    Raises
    ------
    TypeError
        If it is no path.
    FileNotFoundError
        If there is nothing.
    NotADirectoryError
        If it is a file.
    """
    if not isinstance(folder, str | os.PathLike) or isinstance(os.fspath(folder), bytes):
        raise TypeError(f"{said_by} must be the path of a folder; got {folder!r} ({type(folder).__name__}).")
    path = Path(folder).expanduser().absolute()
    if path.is_dir():
        return path
    end = f" {remedy}" if remedy else ""
    if path.exists():
        raise NotADirectoryError(f"{said_by} must be a folder; {path} is a file. Pass its folder, unpacked.{end}")
    raise FileNotFoundError(f"{said_by} names the folder {path}, which does not exist.{end}")


def scan_folder(root: Path, *, passed_over: re.Pattern[str] | None = None) -> FolderListing:
    """List the images and tables in a folder and the folders below it, in one pass that opens no file.

    Hidden files and folders, ``__MACOSX`` (what a Mac adds to an archive), folders and files of segmentation
    masks, and folders that were seen already, as in a loop of links, are passed over.

    Parameters
    ----------
    root : Path
        Where to begin. It is listed whatever its own name is.
    passed_over : re.Pattern, optional
        Folders below `root` with a name in which this is found are passed over too.

    Returns
    -------
    FolderListing
        The absolute paths, if `root` is one.

    Raises
    ------
    PermissionError
        If a folder may not be read.
    """
    listing = FolderListing(root)
    waiting = [root]
    seen: set[tuple[int, int]] = set()
    while waiting:
        folder = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        below = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if _is_folder(entry):
                    below.append(Path(entry.path))
                else:
                    _list_file(entry, listing)
        for path in sorted(below, reverse=True):
            if _MASK_FOLDER.search(path.name):
                listing.mask_folders.append(path)
            elif passed_over is None or not passed_over.search(path.name):
                waiting.append(path)
    for paths in listing.images.values():
        paths.sort()
    for found in (listing.tables, listing.archives, listing.mask_folders, listing.broken_links):
        found.sort()
    return listing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # DirEntry.is_dir raises for a link that leads to itself; Path.is_dir says no.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _list_file(entry: os.DirEntry[str], listing: FolderListing) -> None:
    stem, dot, suffix = entry.name.rpartition(".")
    suffix = f".{suffix.lower()}" if dot else ""
    if suffix in IMAGE_SUFFIXES:
        if _MASK_STEM.fullmatch(stem):
            return
        if entry.is_symlink() and not Path(entry.path).exists():
            listing.broken_links.append(Path(entry.path))
            return
        listing.images.setdefault(image_key(stem), []).append(entry.path)
    elif suffix in _TABLE_SUFFIXES or (not dot and _TABLE_WITHOUT_SUFFIX.search(entry.name)):
        listing.tables.append(Path(entry.path))
    elif suffix in _ARCHIVE_SUFFIXES:
        listing.archives.append(Path(entry.path))


def image_key(name: str) -> str:
    """Return an image's id from a table's cell or a file's name: without image suffix, in one Unicode form.

    Examples
    --------
    >>> from skinclf.datasets._image_files import image_key
    >>> image_key("ISIC_0024306.jpg"), image_key("ISIC_0024306"), image_key("lesion 1.5 mm")
    ('ISIC_0024306', 'ISIC_0024306', 'lesion 1.5 mm')
    """
    stem, dot, suffix = name.rpartition(".")
    if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES:
        name = stem
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def first_differing_copy(paths: Sequence[str]) -> str | None:
    """Return the first of several files that is no copy of the one at the front, or None.

    Files are compared byte by byte up to 64 KiB. Of larger ones, the size and three blocks of 16 KiB at the
    start, the middle and the end are: the archive on Kaggle holds every one of its 10,015 images twice, and
    reading all of its 5.5 GB at each call would take longer than a user waits.
    """
    return next((other for other in paths[1:] if not _same_content(Path(paths[0]), Path(other))), None)


def _same_content(one: Path, other: Path) -> bool:
    status, other_status = one.stat(), other.stat()
    if (status.st_dev, status.st_ino) == (other_status.st_dev, other_status.st_ino):
        return True
    size = status.st_size
    if size != other_status.st_size:
        return False
    if size <= _WHOLE_COMPARISON:
        return one.read_bytes() == other.read_bytes()
    with one.open("rb") as file, other.open("rb") as other_file:
        for offset in (0, (size - _SAMPLED_BLOCK) // 2, size - _SAMPLED_BLOCK):
            file.seek(offset)
            other_file.seek(offset)
            if file.read(_SAMPLED_BLOCK) != other_file.read(_SAMPLED_BLOCK):
                return False
    return True
