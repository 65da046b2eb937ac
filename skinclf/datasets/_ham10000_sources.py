"""Who publishes HAM10000 on the network, and how to ask them which files there are.

Neither lengths nor checksums are written down here: each source is asked for its own when something is
downloaded.

References
----------
.. [1] The Dataverse Project, API guide: https://guides.dataverse.org/en/latest/api/native-api.html and
   https://guides.dataverse.org/en/latest/api/dataaccess.html
.. [2] Amazon Web Services, S3 API reference, common response headers:
   https://docs.aws.amazon.com/AmazonS3/latest/API/RESTCommonResponseHeaders.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import PurePosixPath
from typing import Any

from skinclf.datasets import _ham10000_catalogue as facts
from skinclf.datasets._download import Checksum, RemoteFile
from skinclf.datasets._network import DownloadError, Network, fetch_headers, fetch_json

_PERSISTENT_ID = facts.HOME_PAGE.replace("https://doi.org/", "doi:")
_ALGORITHMS: Mapping[str, str] = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
"""What Dataverse calls them, and what `hashlib` does."""

_MD5 = re.compile(r'"([0-9a-f]{32})"')


@dataclass(frozen=True)
class Source:
    """A place that HAM10000 can be downloaded from.

    Attributes
    ----------
    name : str
        What users call it.
    server : str
        The beginning of its addresses, without a slash at the end.
    page : str
        Where a person can download the files by hand.
    data : tuple of str
        The files that make up the data set, by the names that they get here; tables first.
    masks : str or None
        The archive of lesion masks, if the source has one.
    ask : callable
        ``ask(source, names, network)`` returns a dict of name to RemoteFile.
    """

    name: str
    server: str
    page: str
    data: tuple[str, ...]
    masks: str | None
    ask: Callable[[Source, Sequence[str], Network], dict[str, RemoteFile]]

    def list_files(self, names: Sequence[str], network: Network) -> dict[str, RemoteFile]:
        """Ask the source what it has under these names.

        Parameters
        ----------
        names : sequence of str
            Some of `data` and `masks`.
        network : Network
            How patient to be.

        Returns
        -------
        dict of str to RemoteFile
            All of `names`.

        Raises
        ------
        DownloadError
            If the source cannot be asked, lacks one of the files, or gives an answer that is not understood.
        """
        return self.ask(self, names, network)


def _ask_dataverse(source: Source, names: Sequence[str], network: Network) -> dict[str, RemoteFile]:
    """Read the list of files of the data set's latest version."""
    answer = fetch_json(f"{source.server}/api/datasets/:persistentId/?persistentId={_PERSISTENT_ID}", network)
    try:
        listed = [entry["dataFile"] for entry in answer["data"]["latestVersion"]["files"]]
        by_stem = {PurePosixPath(file["filename"]).stem.casefold(): file for file in listed}
    except (KeyError, TypeError) as error:
        raise DownloadError(f"{source.server} describes {_PERSISTENT_ID} in a form that is not known.") from error
    found = {name: by_stem.get(PurePosixPath(name).stem.casefold()) for name in names}
    lacking = [name for name, file in found.items() if file is None]
    if lacking:
        has = ", ".join(sorted(str(file["filename"]) for file in listed)) or "nothing"
        raise DownloadError(f"{source.server} has no {', '.join(lacking)} in {_PERSISTENT_ID}, but {has}.")
    return {name: _dataverse_file(source, name, file) for name, file in found.items() if file is not None}


def _dataverse_file(source: Source, name: str, file: Mapping[str, Any]) -> RemoteFile:
    """Return one file of the list.

    A table that Dataverse has taken in (``originalFileFormat``) is kept twice: as uploaded, and with tabs. The
    checksum is that of the upload (IQSS/dataverse, comment of 2020-10-19 in issue 7275), so this is asked for.
    """
    ingested = "originalFileFormat" in file
    size = file.get("originalFileSize" if ingested else "filesize")
    checksum = file.get("checksum") or {"type": "MD5", "value": file.get("md5")}
    algorithm = _ALGORITHMS.get(checksum.get("type", ""))
    url = f"{source.server}/api/access/datafile/{file.get('id')}{'?format=original' if ingested else ''}"
    if algorithm is None or not checksum.get("value") or not isinstance(file.get("id"), int):
        raise DownloadError(f"{source.server} lists {name} without an id or without a checksum that is known.")
    return RemoteFile(
        name, url, size if isinstance(size, int) else None, Checksum(algorithm, str(checksum["value"]).lower())
    )


def _ask_isic(source: Source, names: Sequence[str], network: Network) -> dict[str, RemoteFile]:
    """Ask for the headers of each file."""
    files = {}
    for name in names:
        url = f"{source.server}/{name}"
        headers = fetch_headers(url, network)
        length = headers.get("Content-Length", "")
        if not length.isdecimal() or not int(length):
            raise DownloadError(f"{url} has no length.")
        files[name] = RemoteFile(name, url, int(length), _checksum_of_object(headers))
    return files


def _checksum_of_object(headers: Message) -> Checksum | None:
    """Return the MD5 that the ETag of an S3 object is, if it is one.

    It is for objects that were uploaded in one piece, and not encrypted with a key of the KMS; that of an
    upload in several pieces ends with ``-`` and their number [2]_.
    """
    match = _MD5.fullmatch(headers.get("ETag", ""))
    encryption = headers.get("x-amz-server-side-encryption", "AES256")
    return Checksum("md5", match[1]) if match and encryption == "AES256" else None


DATAVERSE = Source(
    name="dataverse",
    server="https://dataverse.harvard.edu",
    page=facts.HOME_PAGE,
    data=("HAM10000_metadata.csv", "HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip"),
    masks="HAM10000_segmentations_lesion_tschandl.zip",
    ask=_ask_dataverse,
)
ISIC = Source(
    name="isic",
    server=facts.LESION_GROUPINGS_URL.rpartition("/")[0],
    page=facts.LESION_GROUPINGS_PAGE,
    data=(
        "ISIC2018_Task3_Training_LesionGroupings.csv",
        "ISIC2018_Task3_Training_GroundTruth.zip",
        "ISIC2018_Task3_Training_Input.zip",
    ),
    masks=None,
    ask=_ask_isic,
)
SOURCES: Mapping[str, Source] = {source.name: source for source in (DATAVERSE, ISIC)}
