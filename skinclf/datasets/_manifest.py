"""Remember what was downloaded and unpacked, so that a later call needs no network to see that all is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from skinclf.datasets import _ham10000_catalogue as facts
from skinclf.datasets._archive import Member, is_whole
from skinclf.datasets._download import RemoteFile, file_digests, replace_file

_NAME = "skinclf_manifest.json"
_FORMAT = 1
_CLOCK = 2
"""Seconds by which times of files may differ after a copy: FAT stores every second one only, tar whole ones."""

_logger = logging.getLogger(__name__)


@dataclass
class Record:
    """What is known of a file that was downloaded.

    Attributes
    ----------
    source : str
        Who published it.
    url : str
        Where it came from.
    published : str or None
        The checksum that the source publishes, as ``algorithm:digest``.
    size : int
        Its length in bytes, as received.
    sha256 : str
        Its SHA-256, as received.
    members : dict of str to list of int, or None
        For an archive that was unpacked: path below its folder -> length in bytes, CRC-32, and the second of
        the last change. None for a table, and for an archive that is not unpacked yet.
    """

    source: str
    url: str
    published: str | None
    size: int
    sha256: str
    members: dict[str, list[int]] | None = None


@dataclass
class Manifest:
    """The records of the files in a folder; a file of JSON beside them.

    Attributes
    ----------
    folder : Path
        The folder.
    records : dict of str to Record
        Name of the downloaded file -> what is known of it.
    """

    folder: Path
    records: dict[str, Record] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file that holds the records."""
        return self.folder / _NAME

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the records of a folder; none if there are none, or they cannot be read.

        Parameters
        ----------
        folder : Path
            It need not exist.

        Returns
        -------
        Manifest
            Without records, everything is looked at and downloaded anew: a broken file costs time only.
        """
        manifest = cls(folder)
        if not manifest.path.exists():
            return manifest
        try:
            content = json.loads(manifest.path.read_text("utf-8"))
            if content["format"] == _FORMAT:
                manifest.records = {name: Record(**record) for name, record in content["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _logger.warning("%s is not read, as it is damaged (%s).", manifest.path, error)
        return manifest

    def write(self) -> None:
        """Write the records, all or none."""
        content = {
            "format": _FORMAT,
            "data_set": "HAM10000",
            "home_page": facts.HOME_PAGE,
            "licence": facts.LICENCE,
            "citation": facts.CITATION.replace("\n", " "),
            "files": {name: asdict(record) for name, record in self.records.items()},
        }
        replace_file(self.path, json.dumps(content))

    def add(self, source: str, remote: RemoteFile, sha256: str) -> None:
        """Note that a file was downloaded and checked.

        Parameters
        ----------
        source : str
            Who published it.
        remote : RemoteFile
            What the source said of it.
        sha256 : str
            Its SHA-256 as received.
        """
        checksum = remote.checksum
        published = None if checksum is None else f"{checksum.algorithm}:{checksum.digest}"
        size = (self.folder / remote.name).stat().st_size
        self.records[remote.name] = Record(source, remote.url, published, size, sha256)
        self.write()

    def add_members(self, name: str, members: Iterable[Member]) -> None:
        """Note that an archive was unpacked.

        Parameters
        ----------
        name : str
            The archive.
        members : iterable of Member
            What it holds.
        """
        folder = self.unpacked(name)
        self.records[name].members = {
            member.name: [member.size, member.crc, int((folder / member.name).stat().st_mtime)]
            for member in members
        }
        self.write()

    def forget(self, name: str) -> None:
        """Remove a file that is not what it should be, and its record."""
        (self.folder / name).unlink(missing_ok=True)
        if self.records.pop(name, None) is not None:
            self.write()

    def unpacked(self, name: str) -> Path:
        """Return the folder that an archive is unpacked to."""
        return self.folder / Path(name).stem

    def has_file(self, name: str) -> bool:
        """Return whether the file itself is there as it was received; all of it is read."""
        record, path = self.records.get(name), self.folder / name
        if record is None or not path.is_file() or path.stat().st_size != record.size:
            return False
        return file_digests(path)[0] == record.sha256

    def damage(self, name: str) -> str | None:
        """Say what is wrong with what came from a downloaded file, or None if nothing is.

        A table is read and compared. An unpacked file is read and compared only if it was changed after it
        was unpacked, by its time; else its length is enough, and 10,015 images take a tenth of a second.

        Parameters
        ----------
        name : str
            The table, or the archive that was unpacked.

        Returns
        -------
        str or None
            A few words; ``"not downloaded"`` if there is no record.
        """
        record = self.records.get(name)
        if record is None:
            return "not downloaded"
        if not name.endswith(".zip"):
            return None if self.has_file(name) else "missing or changed"
        if record.members is None:
            return "not unpacked"
        folder = self.unpacked(name)
        bad = [member for member, known in record.members.items() if not _is_unchanged(folder / member, *known)]
        if not bad:
            return None
        return f"{len(bad):,} of {len(record.members):,} files missing or changed, such as {bad[0]}"


def _is_unchanged(path: Path, size: int, crc: int, changed: int) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_size == size and abs(status.st_mtime - changed) <= _CLOCK:
        return True
    return is_whole(path, size, crc)
