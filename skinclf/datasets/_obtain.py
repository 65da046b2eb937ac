"""Bring the files of HAM10000 into a folder: room, licence, download, unpacking, in this order."""

from __future__ import annotations

import errno
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from skinclf.datasets import _ham10000_catalogue as facts
from skinclf.datasets._archive import inspect_archive, staging_folder, unpack
from skinclf.datasets._download import RemoteFile, download
from skinclf.datasets._ham10000_sources import Source
from skinclf.datasets._manifest import Manifest
from skinclf.datasets._network import Network

_BLOCK = 4096
"""Bytes by which file systems hand out space."""

_logger = logging.getLogger(__name__)


class NotEnoughSpaceError(OSError):
    """The disk has no room for what is about to be written; nothing was begun."""


def obtain(folder: Path, source: Source, lacking: Iterable[str], network: Network) -> None:
    """Download, check and unpack what is lacking, one file after the other.

    Parameters
    ----------
    folder : Path
        Where to put it; it exists, and no other process writes there (see `alone`).
    source : Source
        Where to download from.
    lacking : iterable of str
        Names of files of the source. Those that are here already, as the manifest knows them, are only unpacked.
    network : Network
        How patient to be.

    Raises
    ------
    DownloadError
        If a file cannot be had, or is not as published.
    NotEnoughSpaceError
        If the disk has no room for them.
    OSError
        If a file cannot be written.
    ValueError
        If an archive is refused.
    """
    lacking = list(lacking)
    manifest = Manifest.read(folder)
    to_download = [name for name in lacking if not manifest.has_file(name)]
    remote = source.list_files(to_download, network) if to_download else {}
    if to_download:
        _check_space(folder, remote)
        _show_licence(manifest, source, verbose=network.verbose)
    for name in lacking:
        if name in remote:
            manifest.add(source.name, remote[name], download(remote[name], folder / name, network))
        if name.endswith(".zip"):
            _unpack(manifest, name, verbose=network.verbose)


def _unpack(manifest: Manifest, name: str, *, verbose: bool) -> None:
    """Unpack an archive, note what was in it, and remove it; remove it also if it is refused."""
    archive, target = manifest.folder / name, manifest.unpacked(name)
    try:
        members = inspect_archive(archive)
        here = (target, staging_folder(target))
        lacking = [member for member in members if not any((folder / member.name).is_file() for folder in here)]
        needed = sum(-(-member.size // _BLOCK) * _BLOCK for member in lacking)
        _refuse_if_full(manifest.folder, needed, f"unpack {name}")
        unpack(archive, members, target, verbose=verbose)
    except ValueError as error:
        manifest.forget(name)
        shutil.rmtree(staging_folder(target), ignore_errors=True)
        raise ValueError(f"{error}\nThe archive was removed; the next call downloads it again.") from error
    manifest.add_members(name, members)
    archive.unlink()


def _check_space(folder: Path, remote: Mapping[str, RemoteFile]) -> None:
    """Refuse to begin what the disk has no room for: an archive goes only after its files are there.

    Images do not shrink in an archive, so that what is in it takes its length once more, unless it is there
    already and only mended. When the archive is here, its files are counted.
    """
    held = peak = 0
    for name, file in remote.items():
        size = file.size or 0
        here = max(_size(folder / name), _size(folder / f"{name}.part"))
        is_archive = name.endswith(".zip")
        unpacked = size if is_archive and not (folder / name).with_suffix("").exists() else 0
        peak = max(peak, held + max(size - here, 0) + unpacked)
        held += (unpacked if is_archive else size) - here
    total = sum(file.size or 0 for file in remote.values())
    _refuse_if_full(folder, peak, f"download {_megabytes(total)} and unpack them")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _refuse_if_full(folder: Path, needed: int, purpose: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NotEnoughSpaceError(
            errno.ENOSPC,
            f"To {purpose}, {_megabytes(needed)} are needed and {_megabytes(free)} are free. Free space, or pass "
            "another data_home",
            str(folder),
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _show_licence(manifest: Manifest, source: Source, *, verbose: bool) -> None:
    """Tell the licence once; that it was told is known from the file that carries it from then on."""
    if manifest.path.exists():
        return
    text = (
        f"HAM10000 is licensed {facts.LICENCE}: not for commercial use. Please cite\n{facts.CITATION}\n"
        f"Downloading from {source.server} to {manifest.folder}\n"
    )
    _logger.info("%s", text)
    if verbose:
        sys.stderr.write(text)
    manifest.write()


@contextmanager
def alone(folder: Path, *, verbose: bool) -> Iterator[None]:
    """Wait until no other process downloads to this folder, and keep others out. A lock ends with its process.

    Parameters
    ----------
    folder : Path
        It exists.
    verbose : bool
        Whether to say on the standard error stream that we wait.
    """
    from filelock import FileLock, Timeout  # only those who download pay for the import

    lock = FileLock(folder / ".skinclf_fetch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if verbose:
            sys.stderr.write(f"Another process downloads to {folder}; waiting for it.\n")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
