"""Download HAM10000: what is lacking, checked, unpacked, and then loaded like any other copy."""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skinclf.datasets import _ham10000_catalogue as facts
from skinclf.datasets._ham10000 import ENVIRONMENT_VARIABLE, load_checked
from skinclf.datasets._ham10000_catalogue import HAM10000, Catalogue
from skinclf.datasets._ham10000_sources import SOURCES, Source
from skinclf.datasets._manifest import Manifest
from skinclf.datasets._network import DownloadError, Network
from skinclf.datasets._obtain import NotEnoughSpaceError, alone, obtain

_logger = logging.getLogger(__name__)


def fetch_ham10000(
    data_home: str | os.PathLike[str] | None = None,
    *,
    source: str = "dataverse",
    masks: bool = False,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    timeout: float = 30.0,
    verbose: bool = True,
) -> Any:
    """Load HAM10000, and download it first if it is not there: about 2.8 GB.

    While it is unpacked, it takes up to 5.6 GB on the disk. The images are licensed CC BY-NC 4.0: not for
    commercial use, and to be cited as [1]_. The licence is shown on the standard error stream before the first
    download.

    Parameters
    ----------
    data_home : str or path-like, optional
        The folder that holds the data, or is to hold it; it is made if it does not exist. What is downloaded
        goes to the folder ``ham10000`` in it. By default the folder that the environment variable
        ``SKINCLF_DATA`` names, else ``~/skinclf_data``, as for `load_ham10000`.
    source : {"dataverse", "isic"}, default="dataverse"
        Where to download from: the Harvard Dataverse [2]_, whose table has age, sex and localization, or the
        training set of ISIC 2018, Task 3 [3]_, the same images and labels without these. A complete copy that
        is there already is used, wherever it came from.
    masks : bool, default=False
        Whether to have the lesion masks [4]_ too (11 MB; "dataverse" only).
    download_if_missing : bool, default=True
        If False, raise an OSError instead of downloading.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch. The lesions are in ``data["lesion_id"]``.
    n_retries : int, default=3
        How often to try again after failures in a row. An attempt that brings a MiB or more that was not here
        before does not count.
    delay : float, default=1.0
        Seconds before trying again; doubled after each failure in a row, up to a minute.
    timeout : float, default=30.0
        Seconds without a byte from the server after which an attempt has failed.
    verbose : bool, default=True
        Whether to show progress, and the licence, on the standard error stream.

    Returns
    -------
    Bunch
        What `load_ham10000` returns and, if `masks` is True, also:

        masks : object array of shape (10015,)
            The path of each image's lesion mask as str, in the order of the rows: a PNG of the image's size,
            with 255 where the lesion is and 0 elsewhere.

    Raises
    ------
    OSError
        If the data are not there and `download_if_missing` is False; if the download fails, or gives another
        file than the source publishes; if the disk is full or may not be written.
    ValueError
        If an argument is out of range, an archive is damaged or dangerous, or the folder holds something else
        than HAM10000.
    TypeError
        If an argument is of another type.

    See Also
    --------
    load_ham10000 : Load a copy that is there already.

    Notes
    -----
    What is downloaded is checked against the length and the checksum that the source publishes at that time
    (for "isic", a checksum of the two small files only; the images are checked by the CRC-32 of each).
    Connections that break or stall are taken up where they stopped, also by a later call. Before an archive
    is unpacked, all of its members are looked at: paths that lead elsewhere, links, encryption and archive
    bombs are refused.

    ``ham10000/skinclf_manifest.json`` notes the SHA-256 of all that was received, and length, CRC-32 and time
    of each unpacked file. A further call downloads nothing: it reads the tables again and compares their
    SHA-256, and looks at the length and time of each image. An image with another time is read and compared;
    one that is missing or was changed is had again from the archive, which is removed after unpacking to save
    its 2.8 GB, and so must be downloaded again. Where the disk itself changes bits but no times, nothing is
    noticed. Of two processes that call at once, one downloads and the other waits. Proxies are taken from
    the environment, as `urllib.request` does.

    References
    ----------
    .. [1] Tschandl, P., Rosendahl, C. and Kittler, H. The HAM10000 dataset, a large collection of
       multi-source dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161 (2018).
       doi:10.1038/sdata.2018.161
    .. [2] https://doi.org/10.7910/DVN/DBW86T, licence CC BY-NC 4.0.
    .. [3] https://challenge.isic-archive.com/data/#2018
    .. [4] Tschandl, P. et al. Human-computer collaboration for skin cancer recognition. Nature Medicine 26,
       1229-1234 (2020). doi:10.1038/s41591-020-0942-0

    Examples
    --------
    >>> from skinclf.datasets import fetch_ham10000
    >>> ham = fetch_ham10000()  # doctest: +SKIP
    >>> ham.data.shape  # doctest: +SKIP
    (10015, 5)
    >>> fetch_ham10000("no/such/folder", download_if_missing=False)
    Traceback (most recent call last):
        ...
    OSError: HAM10000 is not complete in ...folder, and download_if_missing is False. ...
    """
    if not isinstance(source, str) or source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(map(repr, SOURCES))}; got {source!r}.")
    if masks and SOURCES[source].masks is None:
        raise ValueError(f"masks=True needs source='dataverse': {source!r} has no masks of these images.")
    bunch = fetch_checked(
        _choose_home(data_home),
        SOURCES[source],
        HAM10000,
        _check_network(n_retries, delay, timeout, verbose=verbose),
        masks=masks,
        download_if_missing=download_if_missing,
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _choose_home(data_home: str | os.PathLike[str] | None) -> Path:
    """Return the folder by the rule of `load_ham10000`, whether or not it exists."""
    if data_home is None:
        data_home = os.environ.get(ENVIRONMENT_VARIABLE, "").strip() or Path.home() / "skinclf_data"
    if not isinstance(data_home, str | os.PathLike) or isinstance(os.fspath(data_home), bytes):
        raise TypeError(f"data_home must be the path of a folder; got {data_home!r} ({type(data_home).__name__}).")
    home = Path(data_home).expanduser().absolute()
    if home.exists() and not home.is_dir():
        raise NotADirectoryError(f"data_home must be a folder; {home} is a file.")
    return home


def _check_network(n_retries: object, delay: object, timeout: object, *, verbose: bool) -> Network:
    if isinstance(n_retries, bool) or not isinstance(n_retries, Integral):
        raise TypeError(f"n_retries must be an int; got {n_retries!r} ({type(n_retries).__name__}).")
    if int(n_retries) < 0:
        raise ValueError(f"n_retries must be 0 or more; got {n_retries}.")
    wait, patience = _check_seconds("delay", delay), _check_seconds("timeout", timeout)
    if patience == 0:
        raise ValueError("timeout must be more than 0 seconds; got 0.")
    return Network(int(n_retries), wait, patience, bool(verbose))


def _check_seconds(name: str, seconds: object) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, Real):
        raise TypeError(f"{name} must be a number of seconds; got {seconds!r} ({type(seconds).__name__}).")
    if not 0 <= float(seconds) < math.inf:
        raise ValueError(f"{name} must be a finite number of seconds, 0 or more; got {seconds}.")
    return float(seconds)


def fetch_checked(
    home: Path,
    source: Source,
    catalogue: Catalogue,
    network: Network,
    *,
    masks: bool,
    download_if_missing: bool,
    sources: Mapping[str, Source] = SOURCES,
) -> Bunch:
    """Have a data set in a layout of HAM10000, from any server.

    Parameters
    ----------
    home : Path
        The folder that is to hold it.
    source : Source
        Where to download from.
    catalogue : Catalogue
        What the data set must be.
    network : Network
        How patient to be.
    masks, download_if_missing : bool
        See `fetch_ham10000`.
    sources : mapping of str to Source
        All places that an earlier call may have downloaded from.

    Returns
    -------
    Bunch
        See `fetch_ham10000`.

    Raises
    ------
    OSError, ValueError
        See `fetch_ham10000`.
    """
    folder = _folder_in(home)
    bunch, lacking = _take_stock(home, source, catalogue, sources, masks=masks)
    if lacking:
        # An archive that is here, and only has to be unpacked, needs no download.
        to_download = [name for name in lacking if not Manifest.read(folder).has_file(name)]
        if to_download and not download_if_missing:
            raise OSError(_explain_lack(home, lacking))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with alone(folder, verbose=network.verbose):
                _, lacking = _take_stock(home, source, catalogue, sources, masks=masks)
                obtain(folder, source, lacking, network)
        except DownloadError as error:
            still = _damaged(Manifest.read(folder), lacking)
            raise DownloadError(f"{error} {_ways_out(source, sources, still)}") from error
        except NotEnoughSpaceError:
            raise
        except OSError as error:
            if told := _explain_disk(error):
                raise OSError(error.errno, told, str(error.filename or folder)) from error
            raise
        bunch = _load_what_came(home, folder, source, catalogue)
    elif bunch is None:
        bunch = load_checked(home, catalogue)
    if masks and source.masks:
        bunch.masks = _mask_paths(Manifest.read(folder), source.masks, bunch)
    return bunch


def _folder_in(home: Path) -> Path:
    """Return the folder that `load_ham10000` looks into first: there may be one in another case."""
    if home.is_dir():
        for folder in sorted(home.iterdir()):
            if folder.name.casefold() == "ham10000" and folder.is_dir():
                return folder
    return home / "ham10000"


def _take_stock(
    home: Path, source: Source, catalogue: Catalogue, sources: Mapping[str, Source], *, masks: bool
) -> tuple[Bunch | None, dict[str, str]]:
    """Find out what is lacking. Nothing is written, so that a shared folder may be read-only.

    Returns
    -------
    bunch : Bunch or None
        The data set, if it had to be loaded to find out.
    lacking : dict of str to str
        File to download or unpack -> what is wrong with it.
    """
    manifest = Manifest.read(_folder_in(home))
    bunch = None
    other = next(
        (one for one in sources.values() if one.name != source.name and _has_records(manifest, one)), None
    )
    if other is not None and not _has_records(manifest, source):
        damaged = _damaged(manifest, other.data)
        if damaged:
            raise ValueError(
                f"{manifest.folder} holds a part of HAM10000 from {other.name!r}, and that is not complete "
                f"({'; '.join(f'{name}: {what}' for name, what in damaged.items())}). Two copies in one folder "
                f"would be mixed up: pass source={other.name!r} to complete it, or remove the folder."
            )
        lacking = {}
    elif _has_records(manifest, source) or not home.is_dir():
        lacking = _damaged(manifest, source.data)
    else:
        try:
            bunch, lacking = load_checked(home, catalogue), {}
        except (FileNotFoundError, ValueError) as error:
            _logger.info("There is no complete copy in %s: %s", home, error)
            lacking = _damaged(manifest, source.data)
    if masks and source.masks:
        lacking |= _damaged(manifest, [source.masks])
    return bunch, lacking


def _has_records(manifest: Manifest, source: Source) -> bool:
    return any(name in manifest.records for name in source.data)


def _damaged(manifest: Manifest, names: Iterable[str]) -> dict[str, str]:
    found = {name: manifest.damage(name) for name in names}
    return {name: what for name, what in found.items() if what is not None}


def _load_what_came(home: Path, folder: Path, source: Source, catalogue: Catalogue) -> Bunch:
    """Load the data set; what came without a checksum is only trusted if it makes the data set."""
    try:
        return load_checked(home, catalogue)
    except ValueError as error:
        manifest = Manifest.read(folder)
        doubtful = [
            name
            for name in source.data
            if name in manifest.records and manifest.records[name].published is None and not name.endswith(".zip")
        ]
        for name in doubtful:
            manifest.forget(name)
        told = f"Remove {folder} to download all of it again."
        if doubtful:
            told = f"{', '.join(doubtful)} came without a checksum and was removed; call again."
        raise ValueError(f"{error}\n{told}") from error


def _mask_paths(manifest: Manifest, name: str, bunch: Bunch) -> NDArray[np.object_]:
    """Return the path of each image's mask, in the order of the rows."""
    folder = manifest.unpacked(name)
    members = manifest.records[name].members or {}
    ids = {member: facts.IMAGE_ID.match(PurePosixPath(member).name) for member in members}
    paths = {found[0]: str(folder / member) for member, found in ids.items() if found}
    image_ids = bunch.frame["image_id"].tolist()
    lacking = [image_id for image_id in image_ids if image_id not in paths]
    if lacking:
        raise ValueError(f"{name} has no mask of {len(lacking):,} images, such as {lacking[0]}.")
    return np.array([paths[image_id] for image_id in image_ids], dtype=object)


def _explain_lack(home: Path, lacking: Mapping[str, str]) -> str:
    told = "; ".join(f"{name}: {what}" for name, what in lacking.items())
    return (
        f"HAM10000 is not complete in {home}, and download_if_missing is False. Lacking are {told}. Pass "
        "download_if_missing=True, or name a folder that has it by data_home or by the environment variable "
        f"{ENVIRONMENT_VARIABLE}."
    )


def _ways_out(source: Source, sources: Mapping[str, Source], lacking: Iterable[str]) -> str:
    others = ""
    if set(lacking) & set(source.data):
        others = "".join(f"pass source={name!r}, or " for name in sources if name != source.name)
    return (
        f"Call again to go on, or {others}download {', '.join(lacking)} by hand from {source.page}, unpack what "
        "is an archive, and call load_ham10000."
    )


def _explain_disk(error: OSError) -> str | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. What was received is kept; free space, and call again to go on"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "It may not be written. Pass another data_home"
    return None
