"""Find the tables of HAM10000 in each layout that it is handed on in, and bring them into one form.

The form is a DataFrame of str, indexed by the line of the file that holds the labels, with the columns
`COLUMNS` and then whatever else the file has (``dataset``, in the file on Dataverse).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skinclf.datasets import _ham10000_catalogue as catalogue
from skinclf.datasets._image_files import FolderListing
from skinclf.datasets._problems import Problems
from skinclf.datasets._tables import TextTable, parse_age, read_one_hot, read_table

COLUMNS = ("image_id", "lesion_id", "dx", "dx_type", "age", "sex", "localization")

_METADATA = "ham10000_metadata"
_TRUTH = "isic2018_task3_training_groundtruth"
_GROUPINGS = "isic2018_task3_training_lesiongroupings"


@dataclass(frozen=True)
class Records:
    """A table of HAM10000 in the common form.

    Attributes
    ----------
    path : Path
        The file that holds the labels.
    cells : DataFrame of str
        See the first lines of the module.
    has_details : bool
        Whether the layout says anything of age, sex and localization.
    """

    path: Path
    cells: pd.DataFrame
    has_details: bool


def has_labels(listing: FolderListing) -> bool:
    """Return whether a folder holds a table of HAM10000 labels in any layout."""
    return bool(_named(listing, _METADATA) or _named(listing, _TRUTH))


def read_records(listing: FolderListing, problems: Problems) -> Records:
    """Read the table of HAM10000, whatever its layout.

    Where a folder holds both ``HAM10000_metadata`` and the tables of ISIC 2018, the former is read: it knows
    more.

    Parameters
    ----------
    listing : FolderListing
        Where to look.
    problems : Problems
        Lines that cannot be read are added to it.

    Returns
    -------
    Records
        One row an image, in the order of the file.

    Raises
    ------
    FileNotFoundError
        If there is no table, or no table of the lesions.
    ValueError
        If a table lacks a column, or there are two that differ.
    """
    if metadata := _named(listing, _METADATA):
        tables = [read_table(path) for path in metadata]
        return Records(metadata[0], _read_metadata(_the_one(tables), problems), has_details=True)
    if truth := _named(listing, _TRUTH):
        labels = _the_one([read_table(path) for path in truth])
        if groupings := _named(listing, _GROUPINGS):
            lesions = _the_one([read_table(path) for path in groupings])
            return Records(truth[0], _read_isic_2018(labels, lesions, problems), has_details=False)
        raise FileNotFoundError(
            f"{truth[0]} has no lesions: the file ISIC2018_Task3_Training_LesionGroupings.csv is not in "
            f"{listing.root}. Without it nobody can tell which images show the same lesion, and a split by "
            f"lesion is impossible. Download it from {catalogue.LESION_GROUPINGS_URL} (500 kB; the page is "
            f"{catalogue.LESION_GROUPINGS_PAGE}) and put it beside the ground truth."
        )
    raise FileNotFoundError(_no_table(listing))


def _named(listing: FolderListing, name: str) -> list[Path]:
    return [path for path in listing.tables if path.stem.casefold() == name]


def _no_table(listing: FolderListing) -> str:
    lines = [
        f"There is no table of HAM10000 in {listing.root}: neither HAM10000_metadata.csv (Kaggle), nor "
        "HAM10000_metadata or HAM10000_metadata.tab (Dataverse), nor ISIC2018_Task3_Training_GroundTruth.csv "
        "(ISIC 2018)."
    ]
    if listing.tables:
        lines.append(f"It has {', '.join(path.name for path in listing.tables[:5])}.")
    elif not listing.images:
        lines.append("It has no images either.")
    return "\n".join(
        [
            *lines,
            *listing.hints(),
            f"HAM10000 is published at {catalogue.HOME_PAGE}; load_isic loads other data sets.",
        ]
    )


def _the_one(tables: list[TextTable]) -> TextTable:
    """Return the first of several copies of a table; refuse tables that differ."""
    first = tables[0]
    for other in tables[1:]:
        difference = _first_difference(first, other)
        if difference:
            raise ValueError(
                f"{first.path} and {other.path} are the same table by name, and differ: {difference}. "
                "Remove or rename one of them."
            )
    return first


def _first_difference(one: TextTable, other: TextTable) -> str | None:
    """Say how two tables differ in what both have columns for, order of rows and 80 for 80.0 aside."""
    folded = {str(column).casefold(): str(column) for column in other.cells.columns}
    shared = [str(column) for column in one.cells.columns if str(column).casefold() in folded]
    if len(one.cells) != len(other.cells):
        return f"they have {len(one.cells):,} and {len(other.cells):,} rows"
    rows = _sorted_rows(one, shared)
    for row, other_row in zip(
        rows, _sorted_rows(other, [folded[name.casefold()] for name in shared]), strict=True
    ):
        if row != other_row:
            return f"one has {', '.join(row)}, the other {', '.join(other_row)}"
    return None


def _sorted_rows(table: TextTable, columns: list[str]) -> list[tuple[str, ...]]:
    values = [
        [str(parse_age(cell)) for cell in table.column(column)]
        if column.casefold() == "age"
        else table.column(column)
        for column in columns
    ]
    return sorted(zip(*values, strict=True))


def _columns(table: TextTable, names: tuple[str, ...]) -> dict[str, str]:
    """Return the columns with these names, in whatever case; refuse a table that lacks one."""
    found = {name: table.find([name]) for name in names}
    lacking = [name for name, column in found.items() if column is None]
    if lacking:
        raise ValueError(
            f"{table.path} lacks the column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}. "
            f"It has {', '.join(str(column)[:40] for column in table.cells.columns[:12])}."
        )
    return {name: str(column) for name, column in found.items()}


def _note_ragged(table: TextTable, problems: Problems) -> None:
    for line, count in table.ragged.items():
        problems.add("line with a wrong number of cells", f"{table.path.name}, line {line}: {count}", [line])


def _read_metadata(table: TextTable, problems: Problems) -> pd.DataFrame:
    columns = _columns(table, COLUMNS)
    _note_ragged(table, problems)
    cells = table.cells.rename(columns={column: name for name, column in columns.items()})
    others = [str(column) for column in cells.columns if column not in COLUMNS and column != "image"]
    return cells[[*COLUMNS, *others]]


def _read_isic_2018(truth: TextTable, groupings: TextTable, problems: Problems) -> pd.DataFrame:
    codes = list(catalogue.CLASS_NAMES)
    columns = _columns(truth, ("image", *(code.upper() for code in codes)))
    _note_ragged(truth, problems)
    code_of = {columns[code.upper()]: code for code in codes}
    marked, wrong = read_one_hot(truth.cells[list(code_of)])
    for line, what in wrong.items():
        problems.add("line without exactly one class", f"line {line}: {what}", [line])
    lesions = _read_groupings(groupings, problems)
    image_ids = truth.column(columns["image"])
    for image_id in sorted(lesions.keys() - set(image_ids)):
        problems.add("image of the lesion groupings that the ground truth lacks", image_id)
    known = [lesions.get(image_id, ("", "unknown")) for image_id in image_ids]
    return pd.DataFrame(
        {
            "image_id": image_ids,
            "lesion_id": [lesion_id for lesion_id, _ in known],
            "dx": [code_of.get(column, "") for column in marked],
            "dx_type": [dx_type for _, dx_type in known],
            "age": "",
            "sex": "unknown",
            "localization": "unknown",
        },
        index=truth.cells.index,
        dtype=object,
    )


def _read_groupings(table: TextTable, problems: Problems) -> dict[str, tuple[str, str]]:
    """Return image_id -> (lesion_id, dx_type)."""
    columns = _columns(table, ("image", "lesion_id"))
    confirmation = table.find(["diagnosis_confirm_type"])
    lines = table.cells.index.tolist()
    dx_types = ["unknown"] * len(lines)
    if confirmation is not None:
        named = catalogue.DX_TYPE_OF_CONFIRMATION
        dx_types = [named.get(text, text) for text in table.column(confirmation)]
    lesions: dict[str, tuple[str, str]] = {}
    image_ids, lesion_ids = table.column(columns["image"]), table.column(columns["lesion_id"])
    for line, image_id, lesion_id, dx_type in zip(lines, image_ids, lesion_ids, dx_types, strict=True):
        if image_id in lesions:
            problems.add("image twice in the lesion groupings", f"{table.path.name}, line {line}: {image_id}")
        lesions.setdefault(image_id, (lesion_id, dx_type))
    return lesions
