"""Download a file so that it ends up whole and checked under its name, or not under its name at all.

What arrives goes to ``NAME.part``, beside a note ``NAME.part.json`` of what it is a part of. A later attempt,
or a later run, goes on where the last one stopped, if the server can say that the file is still the same.
Only a file of the right length and checksum is renamed to ``NAME``.
"""

from __future__ import annotations

import hashlib
import http
import http.client
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from skinclf.datasets._network import (
    AttemptError,
    DownloadError,
    Network,
    network_errors,
    refuse_web_page,
    reply,
    with_retries,
)

_CHUNK = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class Checksum:
    """A checksum as a source publishes it.

    Attributes
    ----------
    algorithm : str
        Its name in `hashlib`.
    digest : str
        In hexadecimal, lower case.
    """

    algorithm: str
    digest: str


@dataclass(frozen=True)
class RemoteFile:
    """What a source says of a file before it is downloaded.

    Attributes
    ----------
    name : str
        The name that it gets here.
    url : str
        Where it is.
    size : int or None
        Its length in bytes; None if the source does not say.
    checksum : Checksum or None
        None if the source publishes none.
    """

    name: str
    url: str
    size: int | None
    checksum: Checksum | None


def download(remote: RemoteFile, path: Path, network: Network) -> str:
    """Download a file, or the rest of it, and check it.

    A file that is there already is kept if the source publishes a checksum and it is right; else it is replaced.

    Parameters
    ----------
    remote : RemoteFile
        What to download.
    path : Path
        Where to put it; the folder exists.
    network : Network
        How patient to be.

    Returns
    -------
    str
        The SHA-256 of the file that now is at `path`.

    Raises
    ------
    DownloadError
        If it cannot be had, or is not what the source says it is. What can be resumed is kept as
        ``NAME.part``; at `path`, nothing has changed.
    OSError
        If it cannot be written.
    """
    if path.is_file() and remote.checksum is not None:
        sha256, published = file_digests(path, remote.checksum.algorithm)
        if published == remote.checksum.digest:
            return sha256
    part = _Part(path.with_name(f"{path.name}.part"), remote)
    with _progress_bar(remote, network) as bar:
        sha256 = with_retries(
            f"Downloading {remote.name} from {remote.url}",
            network,
            lambda: _attempt(part, network, bar),
            part,
        )
    part.path.replace(path)
    part.discard()
    return sha256


class _Part:
    """A file that is not complete yet, and the note of what it is a part of."""

    def __init__(self, path: Path, remote: RemoteFile) -> None:
        self.path = path
        self.note = path.with_name(f"{path.name}.json")
        self.remote = remote

    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def begin(self, size: int, headers: Message) -> None:
        """Note what is about to be received. The old part goes first: note and part must never be of two files."""
        self.discard()
        note = {
            "remote": self._describe(),
            "size": size,
            "etag": headers.get("ETag"),
            "last_modified": headers.get("Last-Modified"),
        }
        replace_file(self.note, json.dumps(note, indent=1))

    def known(self) -> dict[str, Any]:
        """Return the note, if there is a part that can be gone on with; else throw the part away."""
        try:
            note = json.loads(self.note.read_text("utf-8"))
            usable = note["remote"] == self._describe() and 0 < self.length() <= note["size"]
            if usable and (self.validator(note) or self.remote.checksum is not None):
                return dict(note)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # no note, or a damaged one: what the part is of is not known
        self.discard()
        return {}

    def validator(self, note: Mapping[str, Any]) -> str | None:
        """Return what lets a server say whether the file is the same; a weak ETag cannot (RFC 9110, 13.1.5)."""
        etag = note["etag"]
        validator = etag if etag and not etag.startswith("W/") else note["last_modified"]
        return None if validator is None else str(validator)

    def _describe(self) -> list[Any]:
        checksum = self.remote.checksum
        return [self.remote.url, self.remote.size, checksum and f"{checksum.algorithm}:{checksum.digest}"]


def _attempt(part: _Part, network: Network, bar: Any) -> str:
    """Receive what is lacking, and return the SHA-256 of the whole."""
    note = part.known()
    offset = part.length() if note else 0
    if not note or offset < note["size"]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and (validator := part.validator(note)):
            headers["If-Range"] = validator
        with reply(part.remote.url, network, headers) as response:
            refuse_web_page(response)
            offset, size = _where_it_begins(response, part.remote, offset, note)
            if not offset:
                part.begin(size, response.headers)
            bar.total, bar.n = size, offset
            bar.refresh()
            with part.path.open("ab") as file:
                _pour(response, file, size - offset, network, bar)
                os.fsync(file.fileno())
    return _check(part, resumed=offset > 0)


def _where_it_begins(
    response: http.client.HTTPResponse, remote: RemoteFile, asked: int, note: Mapping[str, Any]
) -> tuple[int, int]:
    """Return from which byte on the answer holds the file, and how long the whole file is.

    Raises AttemptError if the answer contradicts the source, or is another part than the one asked for.
    """
    length = response.headers.get("Content-Length", "")
    announced = int(length) if length.isdecimal() else None
    begin, size = 0, announced
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        if not asked or not _is_the_part(response, asked, note):
            raise AttemptError("the server sent another part than the one asked for", start_anew=True)
        begin, size = asked, note["size"]
        if announced is not None and announced != size - begin:
            raise AttemptError(
                f"the server announces {announced:,} bytes where {size - begin:,} are lacking", start_anew=True
            )
    elif response.status != http.HTTPStatus.OK:
        raise AttemptError(f"the server answers with status {response.status} instead of the file")
    if size is None:
        size = remote.size
    if not size:
        raise AttemptError("neither the source nor the server says how long the file is")
    if remote.size not in (None, size):
        raise AttemptError(
            f"the server announces {size:,} bytes; by its list the file has {remote.size:,}", start_anew=True
        )
    return begin, size


def _is_the_part(response: http.client.HTTPResponse, asked: int, note: Mapping[str, Any]) -> bool:
    """Return whether an answer is the part from this byte on, of the file that the part here is of."""
    sent = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if sent is None or int(sent[1]) != asked or sent[3] not in ("*", str(note["size"])):
        return False
    etag = response.headers.get("ETag")
    return etag is None or note["etag"] in (None, etag)


def _pour(response: http.client.HTTPResponse, file: IO[bytes], lacking: int, network: Network, bar: Any) -> None:
    """Write so many bytes of the answer to the file; what arrives is written even if the rest does not."""
    while lacking:
        with network_errors(network):
            block = response.read1(min(_CHUNK, lacking))
        if not block:
            raise AttemptError(f"the connection ended {lacking:,} bytes before the file did")
        file.write(block)
        file.flush()  # so that a process that is killed leaves what it had
        lacking -= len(block)
        bar.update(len(block))
    if response.headers.get("Content-Length") is None:
        with network_errors(network):
            more = response.read1(1)
        if more:
            raise AttemptError("the server sends more bytes than the file has", start_anew=True)


def _check(part: _Part, *, resumed: bool) -> str:
    """Return the SHA-256 of the complete file; remove it if its checksum is wrong."""
    checksum = part.remote.checksum
    sha256, found = file_digests(part.path, checksum.algorithm if checksum else "sha256")
    if checksum is None or found == checksum.digest:
        return sha256
    part.discard()
    told = f"its {checksum.algorithm.upper()} is {found}, and the source publishes {checksum.digest}"
    if resumed:
        # Either piece may be the wrong one. A whole file from one answer is worth an attempt.
        raise AttemptError(f"the pieces do not make the file: {told}")
    raise DownloadError(f"{part.remote.name} from {part.remote.url} is not as published: {told}. It was removed.")


def file_digests(path: Path, algorithm: str = "sha256") -> tuple[str, str]:
    """Return the SHA-256 of a file and, from the same reading, another digest of it.

    Parameters
    ----------
    path : Path
        The file.
    algorithm : str, default="sha256"
        The other one, by its name in `hashlib`.

    Returns
    -------
    sha256, other : str
        In hexadecimal.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from pathlib import Path
    >>> from skinclf.datasets._download import file_digests
    >>> with TemporaryDirectory() as folder:
    ...     size = Path(folder, "a").write_bytes(b"abc")
    ...     file_digests(Path(folder, "a"), "md5")[1]
    '900150983cd24fb0d6963f7d28e17f72'
    """
    sha256 = hashlib.sha256()
    other = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            sha256.update(block)
            other.update(block)
    return sha256.hexdigest(), other.hexdigest()


def replace_file(path: Path, text: str) -> None:
    """Write a small file so that a run that is stopped leaves either the old one or the whole new one.

    Parameters
    ----------
    path : Path
        The file; its folder exists, and nobody else writes it at the same time.
    text : str
        Written as UTF-8.

    Raises
    ------
    OSError
        If it cannot be written; the old file is then as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _progress_bar(remote: RemoteFile, network: Network) -> Any:
    from tqdm import tqdm  # only those who download pay for the import

    return tqdm(
        total=remote.size,
        unit="B",
        unit_scale=True,
        desc=remote.name,
        disable=not network.verbose,
        file=sys.stderr,
        dynamic_ncols=True,
    )
