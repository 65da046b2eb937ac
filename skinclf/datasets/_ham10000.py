"""Load HAM10000 from a folder, and be sure that it is HAM10000."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.utils import Bunch

from skinclf.datasets import _ham10000_catalogue as facts
from skinclf.datasets._assembly import assemble_frame, feature_columns
from skinclf.datasets._ham10000_catalogue import HAM10000, Catalogue
from skinclf.datasets._ham10000_checks import NO_FILE, NOT_IN_TABLE, NOT_LISTED, check_table, match_files
from skinclf.datasets._ham10000_layouts import has_labels, read_records
from skinclf.datasets._image_files import FolderListing, check_folder, scan_folder
from skinclf.datasets._problems import Problems

ENVIRONMENT_VARIABLE = "SKINCLF_DATA"

_OTHER_ISIC_SETS = re.compile(
    r"isic2018_task(?:1|2|3_(?:validation|test))|isic_?20(?:16|17|19|20|24)", re.IGNORECASE
)
"""Folders of other challenge data; the Dataverse has the test images of ISIC 2018 beside those of HAM10000."""


def load_ham10000(data_home: str | os.PathLike[str] | None = None, *, return_X_y: bool = False) -> Any:
    """Load the HAM10000 data set of dermatoscopic images: 10,015 images of 7,470 lesions in seven classes.

    Nothing is downloaded and no image is opened: the result holds paths. The copy on Kaggle, the one on the
    Harvard Dataverse and the training set of ISIC 2018, Task 3, are recognised by the names of their tables,
    in nested or flat folders. What is found is compared with the published data set: ids, counts of classes
    and lesions, and a checksum over every image's label and lesion. Everything that is missing, double,
    unknown or changed is named in one error.

    Parameters
    ----------
    data_home : str or path-like, optional
        The folder to search, with all folders below it. Where it has a folder ``ham10000`` (in any case) with
        a table of labels, only this is searched. By default the folder that the environment variable
        ``SKINCLF_DATA`` names, else ``~/skinclf_data``.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch. The lesions are in ``data["lesion_id"]``.

    Returns
    -------
    Bunch
        With these attributes; rows are in the order of ``image_id``, and all of them have the same length:

        data : DataFrame of shape (10015, 5)
            ``image`` (str, the absolute path of the file), ``lesion_id`` (str), ``age`` (float64, years in
            steps of 5; NaN where unknown; 0 is kept as published), ``sex`` (``"female"``, ``"male"`` or
            ``"unknown"``) and ``localization`` (str, ``"unknown"`` where it is). ISIC 2018 publishes no age,
            sex and localization: there every value is NaN or ``"unknown"``.
        target : object array of shape (10015,)
            The class as str: one of ``akiec``, ``bcc``, ``bkl``, ``df``, ``mel``, ``nv``, ``vasc``.
        groups : object array of shape (10015,)
            ``lesion_id``: what every split must keep together.
        frame : DataFrame of shape (10015, 8) or wider
            ``image_id``, ``lesion_id``, ``dx``, ``dx_type``, ``age``, ``sex``, ``localization``, further
            columns of the table, and ``image``. ``dx_type`` (how the diagnosis was made; ``"unknown"`` where
            the table does not say) gives the label away, and must never be a feature.
        target_names : list of str
            The seven classes, sorted.
        DESCR : str
            A description, with licence and citation.
        data_home : str
            The folder that was searched.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist, has no table of HAM10000, or has the layout of ISIC 2018 without the
        table of lesion groupings: without it, nobody can split by lesion.
    NotADirectoryError
        If `data_home` is a file, such as an archive that was not unpacked.
    ValueError
        If table or images are not those of HAM10000. A part of the data set is refused as well; `load_isic`
        loads a part knowingly.

    See Also
    --------
    load_isic : Load any folder of images with a table of labels, a part of HAM10000 for instance.
    make_lesions : Draw a data set of the same form without any files.

    Notes
    -----
    Images may have any common suffix, in any case. Hidden files, ``__MACOSX``, segmentation masks (by the
    names of their folders and files), images that are not named by an ISIC id, and the folders of other
    challenges and of other parts of ISIC 2018 (tasks 1 and 2, validation and test images of task 3) are
    passed over. An image found twice, as in the archive on Kaggle, must be the same file: files are compared
    byte by byte up to 64 KiB, larger ones by size and by 16 KiB at their start, middle and end.

    References
    ----------
    .. [1] Tschandl, P., Rosendahl, C. and Kittler, H. The HAM10000 dataset, a large collection of
       multi-source dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161 (2018).
       doi:10.1038/sdata.2018.161
    .. [2] https://doi.org/10.7910/DVN/DBW86T, licence CC BY-NC 4.0.

    Examples
    --------
    >>> from skinclf.datasets import load_ham10000
    >>> ham = load_ham10000("~/skinclf_data")  # doctest: +SKIP
    >>> ham.data.shape, ham.target[:3]  # doctest: +SKIP
    ((10015, 5), array(['nv', 'nv', 'nv'], dtype=object))
    >>> load_ham10000("no/such/folder")
    Traceback (most recent call last):
        ...
    FileNotFoundError: data_home names the folder ...folder, which does not exist. ...
    """
    bunch = load_checked(_find_home(data_home), HAM10000)
    return (bunch.data, bunch.target) if return_X_y else bunch


def _find_home(data_home: str | os.PathLike[str] | None) -> Path:
    remedy = (
        f"Unpack HAM10000 ({facts.HOME_PAGE}) into a folder, and name the folder by data_home or by the "
        f"environment variable {ENVIRONMENT_VARIABLE}."
    )
    if data_home is not None:
        return check_folder(data_home, "data_home", remedy)
    if named := os.environ.get(ENVIRONMENT_VARIABLE, "").strip():
        return check_folder(named, f"The environment variable {ENVIRONMENT_VARIABLE}", remedy)
    default = Path.home() / "skinclf_data"
    return check_folder(
        default, f"data_home was not given, {ENVIRONMENT_VARIABLE} is not set, and the default", remedy
    )


def load_checked(home: Path, catalogue: Catalogue) -> Bunch:
    """Load a data set in a layout of HAM10000, and compare it with a catalogue.

    Parameters
    ----------
    home : Path
        The folder to search.
    catalogue : Catalogue
        What must be there.

    Returns
    -------
    Bunch
        See `load_ham10000`.

    Raises
    ------
    FileNotFoundError, ValueError
        See `load_ham10000`.
    """
    listing = _scan(home)
    problems = Problems()
    records = read_records(listing, problems)
    check_table(records.cells, catalogue, problems)
    paths = match_files(records.cells, listing, catalogue, problems)
    if problems:
        raise ValueError(_explain(records.path, records.cells, paths, listing, catalogue, problems))
    frame = assemble_frame(records.cells, paths, ("dx_type", "sex", "localization"))
    return Bunch(
        data=feature_columns(frame),
        target=frame["dx"].to_numpy(dtype=object),
        groups=frame["lesion_id"].to_numpy(dtype=object),
        frame=frame,
        target_names=sorted(catalogue.class_counts),
        DESCR=facts.describe(catalogue, has_details=records.has_details),
        data_home=str(listing.root),
    )


def _scan(home: Path) -> FolderListing:
    """List the folder ``ham10000`` below `home` if it has the labels, else all of `home`."""
    for folder in sorted(home.iterdir()):
        if folder.name.casefold() == "ham10000" and folder.is_dir():
            listing = scan_folder(folder, passed_over=_OTHER_ISIC_SETS)
            if has_labels(listing):
                return listing
    return scan_folder(home, passed_over=_OTHER_ISIC_SETS)


def _explain(
    table: Path,
    cells: pd.DataFrame,
    paths: dict[str, str],
    listing: FolderListing,
    catalogue: Catalogue,
    problems: Problems,
) -> str:
    ids = catalogue.image_ids()
    listed = set(ids) & set(cells["image_id"])
    n_with_file = len(listed & paths.keys())
    opening = (
        f"The folder {listing.root} does not hold HAM10000 as published. Of its {catalogue.n_images:,} "
        f"images, {len(listed):,} are in {table.name} and {n_with_file:,} of these have a file. "
        f"Lines are those of {table}."
    )
    remedies = listing.hints() if NO_FILE in problems.kinds() else []
    if NOT_LISTED in problems.kinds() and max(paths) > ids[-1]:
        remedies.append(
            f"Images after {ids[-1]} are of other data sets, such as the validation and test images of ISIC "
            "2018: keep them in another folder."
        )
    remedies.append(f"The published files are at {facts.HOME_PAGE}.")
    if problems.kinds() <= {NOT_IN_TABLE, NO_FILE, NOT_LISTED}:
        remedies.append(
            f"To work with a part of the data set knowingly, call load_isic({str(listing.root)!r}), with "
            "on_error='warn' to leave out the rows that have no file."
        )
    return problems.message(opening, remedies)
