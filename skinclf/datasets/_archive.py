"""Unpack zip archives that nobody vouches for: every member is looked at before a byte is written."""

from __future__ import annotations

import re
import shutil
import stat
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinclf.datasets._problems import Problems, quoted

_BLOCK = 1 << 20
_LEFT_BY_SYSTEMS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flag bits: encrypted, strongly encrypted, central directory encrypted (APPNOTE.TXT of PKWARE, 4.4.4)."""

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


@dataclass(frozen=True)
class Limits:
    """How much an archive may unpack to; beyond it, it is taken for a bomb.

    The archives of HAM10000 have at most 10,015 images of some 300 kB each, 2.8 GB in all. JPEG and PNG do
    not shrink further; a table of zeros and ones shrinks to a twentieth, and nothing honest here to a
    hundredth. Deflate itself reaches 1,032.

    Attributes
    ----------
    n_members : int
        Files in the archive.
    member : int
        Bytes of a file.
    total : int
        Bytes of all files.
    ratio : float
        Bytes of a file over its bytes in the archive.
    """

    n_members: int = 100_000
    member: int = 64 << 20
    total: int = 8 << 30
    ratio: float = 100.0


@dataclass(frozen=True)
class Member:
    """A file in an archive that may be unpacked.

    Attributes
    ----------
    name : str
        Its path below the folder that it is unpacked to, with slashes.
    size : int
        Its length in bytes.
    crc : int
        Its CRC-32.
    entry : ZipInfo
        How to read it.
    """

    name: str
    size: int
    crc: int
    entry: zipfile.ZipInfo


def inspect_archive(path: Path, limits: Limits | None = None) -> list[Member]:
    """List the files of a zip archive, or refuse the archive; nothing is unpacked.

    What a Mac or a Windows puts beside the files (``__MACOSX``, ``._NAME``, ``.DS_Store``, ``Thumbs.db``) is
    left out. If everything lies in a folder that is named like the archive, this folder is left off the names.

    Parameters
    ----------
    path : Path
        The archive.
    limits : Limits, optional
        By default those of `Limits`.

    Returns
    -------
    list of Member
        In the order of the archive.

    Raises
    ------
    ValueError
        If the file is no zip archive, is damaged, holds nothing, or has a member with a path that is absolute
        or leads elsewhere, a link, a device, an encrypted file, two files with one name, or more bytes than
        the limits allow. All of it is named.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from zipfile import ZipFile
    >>> from skinclf.datasets._archive import inspect_archive
    >>> with TemporaryDirectory() as folder:
    ...     with ZipFile(Path(folder, "part_1.zip"), "w") as archive:
    ...         archive.writestr("part_1/ISIC_0024306.jpg", b"pixels")
    ...         archive.writestr("__MACOSX/part_1/._ISIC_0024306.jpg", b"nothing")
    ...     [(member.name, member.size) for member in inspect_archive(Path(folder, "part_1.zip"))]
    [('ISIC_0024306.jpg', 6)]
    """
    limits = limits or Limits()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a zip archive, or a damaged one ({error}).") from error
    problems = Problems()
    for entry in entries:
        for kind in _wrong_with_entry(entry):
            problems.add(kind, quoted(entry.orig_filename))
    files = [entry for entry in entries if _is_wanted(entry.filename)]
    _check_amounts(files, path, limits, problems)
    _check_names(files, problems)
    if not files:
        problems.add("nothing to unpack", path.name)
    if problems:
        raise ValueError(problems.message(f"The archive {path} is refused; nothing of it was unpacked."))
    prefix = f"{path.stem}/" if all(entry.filename.startswith(f"{path.stem}/") for entry in files) else ""
    return [Member(entry.filename.removeprefix(prefix), entry.file_size, entry.CRC, entry) for entry in files]


def _wrong_with_entry(entry: zipfile.ZipInfo) -> Iterator[str]:
    """Say what is wrong with one entry, whatever the others are."""
    name = entry.orig_filename  # as in the archive; ZipInfo.filename is cut at a null character
    parts = name.removesuffix("/").split("/")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        yield "absolute path"
    elif ".." in re.split(r"[/\\]", name):
        yield "path that leads out of the folder"
    elif any(
        part in ("", ".") or part != part.rstrip(" .") or _RESERVED.fullmatch(part) for part in parts
    ) or re.search(r'[\\:*?"<>|\x00-\x1f\x7f]', name):
        yield "name that not every system can hold"
    if kind := _KINDS.get(stat.S_IFMT(entry.external_attr >> 16)):
        yield f"{kind}, not a file"
    if entry.flag_bits & _ENCRYPTED:
        yield "encrypted file"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield "file packed in a way other than deflate"


def _is_wanted(name: str) -> bool:
    """Return whether this is a file, and none that a system left there by itself."""
    *folders, last = name.split("/")
    left = "__MACOSX" in folders or last.startswith("._") or last.casefold() in _LEFT_BY_SYSTEMS
    return last != "" and not left


def _check_amounts(files: Sequence[zipfile.ZipInfo], path: Path, limits: Limits, problems: Problems) -> None:
    if len(files) > limits.n_members:
        problems.add("too many files", f"{len(files):,}; the limit is {limits.n_members:,}")
    length = path.stat().st_size
    total, packed = sum(entry.file_size for entry in files), sum(entry.compress_size for entry in files)
    if total > limits.total:
        problems.add("too much to unpack", f"{total:,} bytes; the limit is {limits.total:,}")
    if packed > length:
        problems.add("files that share their bytes", f"{packed:,} bytes in an archive of {length:,}")
    for entry in files:
        detail = f"{quoted(entry.filename)}: {entry.file_size:,} bytes out of {entry.compress_size:,}"
        if not 0 <= entry.header_offset < length:
            problems.add("file that lies outside of the archive", quoted(entry.filename))
        if entry.file_size > limits.member:
            problems.add(f"file of more than {limits.member:,} bytes", detail)
        if entry.file_size > limits.ratio * max(entry.compress_size, 1):
            problems.add(f"file that unpacks to more than {limits.ratio:g} times its size", detail)


def _check_names(files: Sequence[zipfile.ZipInfo], problems: Problems) -> None:
    """Refuse names that are one name on a system that ignores case or the form of accents."""
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for entry in files:
        name = _folded(entry.filename)
        if name in seen:
            problems.add("name that is there twice", f"{quoted(seen[name])} and {quoted(entry.filename)}")
        seen.setdefault(name, entry.filename)
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    for name in sorted(folders & seen.keys()):
        problems.add("name of a file and of a folder", quoted(seen[name]))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def unpack(path: Path, members: Sequence[Member], folder: Path, *, verbose: bool = False) -> None:
    """Unpack members of an archive; what is there whole already is left as it is.

    The files appear in a hidden folder beside `folder`, which becomes `folder` when all are there: nobody
    ever sees half an archive. A run that is stopped leaves the hidden folder, and the next one goes on.

    Parameters
    ----------
    path : Path
        The archive.
    members : sequence of Member
        As `inspect_archive` returned them for this archive.
    folder : Path
        Where to unpack to. It need not exist, but the folder that it is in does.
    verbose : bool, default=False
        Whether to show a progress bar on the standard error stream.

    Raises
    ------
    ValueError
        If a member is damaged, or is not what `inspect_archive` saw.
    OSError
        If a file cannot be written.
    """
    staging = staging_folder(folder)
    lacking = [member for member in members if not is_whole(folder / member.name, member.size, member.crc)]
    with zipfile.ZipFile(path) as archive:
        for member in _with_progress(lacking, path, verbose=verbose):
            target = staging / member.name
            if not is_whole(target, member.size, member.crc):
                target.parent.mkdir(parents=True, exist_ok=True)
                _write_member(archive, member, target, path)
    if lacking and not folder.exists():
        _remove_others(staging, lacking)
        staging.rename(folder)
        return
    for member in lacking:
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / member.name).replace(target)
    if staging.exists():
        shutil.rmtree(staging)


def _remove_others(staging: Path, members: Sequence[Member]) -> None:
    """Remove what an earlier run unpacked from another version of the archive."""
    expected = {staging / member.name for member in members}
    for path in sorted(staging.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in expected:
            path.unlink()


def staging_folder(folder: Path) -> Path:
    """Return the hidden folder in which the files of `folder` are unpacked; the loaders pass hidden ones over."""
    return folder.with_name(f".{folder.name}.unpacking")


def _write_member(archive: zipfile.ZipFile, member: Member, target: Path, path: Path) -> None:
    lacking = member.size
    try:
        with archive.open(member.entry) as source, target.open("wb") as file:
            while block := source.read(min(_BLOCK, lacking + 1)):  # one more, to see that it ends there
                file.write(block)
                lacking -= len(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeDecodeError) as error:
        target.unlink(missing_ok=True)
        raise ValueError(f"{member.entry.filename} in {path} is damaged ({error}).") from error
    if lacking:
        target.unlink()
        raise ValueError(f"{member.entry.filename} in {path} is damaged: it has not the length that it states.")


def is_whole(path: Path, size: int, crc: int) -> bool:
    """Return whether a file is there, with this length in bytes and this CRC-32.

    Examples
    --------
    >>> from pathlib import Path
    >>> from skinclf.datasets._archive import is_whole
    >>> is_whole(Path("no/such/file"), 6, 0)
    False
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    found = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return found == crc


def _with_progress(members: Sequence[Member], path: Path, *, verbose: bool) -> Iterator[Member]:
    from tqdm import tqdm  # only those who unpack pay for the import

    label = f"unpacking {path.name}"
    with tqdm(members, desc=label, unit="file", disable=not verbose, file=sys.stderr, dynamic_ncols=True) as bar:
        yield from bar
