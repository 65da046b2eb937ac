"""Find the table of labels in a folder, and what other tables say of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skinclf.datasets._image_files import FolderListing, image_key
from skinclf.datasets._problems import Problems
from skinclf.datasets._tables import (
    TextTable,
    is_unknown,
    looks_one_hot,
    parse_age,
    peek_table,
    read_one_hot,
    read_table,
)

IMAGE_NAMES = ("image_id", "isic_id", "image", "image_name")
LABEL_NAMES = ("dx", "diagnosis", "label")
DETAIL_NAMES = {
    "lesion_id": ("lesion_id",),
    "age": ("age", "age_approx", "age_approximate"),
    "sex": ("sex",),
    "localization": ("localization", "anatom_site_general", "anatom_site_general_challenge"),
}
"""What a column is called here, and what it is called elsewhere, the preferred name first."""

_NO_CLASSES = frozenset({"score_weight", "validation_weight"})
"""Columns of one-hot tables that mark no class: ISIC 2019's test set says with them what is scored."""


@dataclass(frozen=True)
class LabelTable:
    """A table of labels, and how its columns are to be read.

    Attributes
    ----------
    table : TextTable
        All of it.
    image : str
        The column of image ids.
    label : str or None
        The column of labels; None if the table is one-hot.
    classes : list of str
        The one-hot columns; empty if there is a column of labels.
    """

    table: TextTable
    image: str
    label: str | None
    classes: list[str]


def find_label_table(listing: FolderListing, table: Path | None, label: str | None) -> LabelTable:
    """Find the one table of labels.

    Parameters
    ----------
    listing : FolderListing
        Where to look.
    table : Path, optional
        The file, where the user named it.
    label : str, optional
        The column of labels, where the user named it.

    Returns
    -------
    LabelTable
        The table, read as a whole.

    Raises
    ------
    FileNotFoundError
        If there is no table of labels.
    ValueError
        If there are several, or what is to be read as the label is not clear.
    """
    if table is not None:
        return _understand(read_table(table), label)
    found = [path for path in listing.tables if _holds_labels(path, label)]
    if not found:
        raise FileNotFoundError(_no_labels(listing, label))
    different = [path for path in found[1:] if path.read_bytes() != found[0].read_bytes()]
    if different:
        names = ", ".join(str(path) for path in [found[0], *different])
        raise ValueError(
            f"{listing.root} holds {len(different) + 1} tables of labels: {names}. Pick one with "
            f"table={str(found[0])!r}."
        )
    return _understand(read_table(found[0]), label)


def _holds_labels(path: Path, label: str | None) -> bool:
    head = peek_table(path)
    if head is None or head.find(IMAGE_NAMES) is None:
        return False
    if label is not None:
        return head.find([label]) is not None
    return head.find(LABEL_NAMES) is not None or bool(_one_hot_columns(head))


def _one_hot_columns(table: TextTable) -> list[str]:
    """Return the columns beside ids and details, if the first record has only zeros and ones there."""
    ids_and_details = [*IMAGE_NAMES, *(name for names in DETAIL_NAMES.values() for name in names)]
    passed_over = {*ids_and_details, *_NO_CLASSES}
    columns = [str(name) for name in table.cells.columns if str(name).casefold() not in passed_over]
    if table.cells.empty or not looks_one_hot(str(cell) for cell in table.cells.iloc[0][columns]):
        return []
    return columns


def _no_labels(listing: FolderListing, label: str | None) -> str:
    wanted = f"with a column {label!r}" if label else f"with a column {_either(LABEL_NAMES)}, or one-hot"
    lines = [f"{listing.root} holds no table {wanted}, and with a column {_either(IMAGE_NAMES)} of image ids."]
    for path in listing.tables[:5]:
        head = peek_table(path)
        columns = "no table" if head is None else f"columns {_columns(head)}"
        lines.append(f"  - {path}: {columns}")
    if not label and listing.tables:
        lines.append("Name the column that holds the labels with label=..., and a table elsewhere with table=....")
    return "\n".join([*lines, *listing.hints()])


def _understand(table: TextTable, label: str | None) -> LabelTable:
    image = table.find(IMAGE_NAMES)
    if image is None:
        raise ValueError(
            f"{table.path} lacks a column of image ids, called {_either(IMAGE_NAMES)}. It has {_columns(table)}."
        )
    if table.cells.empty:
        raise ValueError(f"{table.path} has a header and no rows.")
    if label is not None:
        column = table.find([label])
        if column is None:
            raise ValueError(f"{table.path} lacks the column label={label!r}. It has {_columns(table)}.")
        return LabelTable(table, image, column, [])
    columns = [column for name in LABEL_NAMES if (column := table.find([name]))]
    if len(columns) > 1:
        raise ValueError(
            f"{table.path} has {len(columns)} columns that may be the label: {', '.join(columns)}. "
            f"Pick one with label={columns[0]!r}."
        )
    if columns:
        return LabelTable(table, image, columns[0], [])
    classes = _one_hot_columns(table)
    if not classes:
        raise ValueError(
            f"{table.path} has no column of labels, called {_either(LABEL_NAMES)}, and is not one-hot. "
            f"It has {_columns(table)}. Name the column with label=...."
        )
    return LabelTable(table, image, None, classes)


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _columns(table: TextTable) -> str:
    return ", ".join(str(name)[:40] for name in table.cells.columns[:12])


def read_records(labels: LabelTable, listing: FolderListing, problems: Problems) -> pd.DataFrame:
    """Bring a table of labels into one form, and complete it from other tables of the folder.

    Parameters
    ----------
    labels : LabelTable
        The table.
    listing : FolderListing
        Other tables that have a column of image ids, such as ISIC 2019's metadata or ISIC 2018's lesion
        groupings, fill in lesion, age, sex and localization where the table of labels has no such column.
    problems : Problems
        Lines that cannot be read are added to it.

    Returns
    -------
    DataFrame of str
        Indexed by line: ``image_id``, ``lesion_id`` (where any table has it), ``dx``, ``age``, ``sex``,
        ``localization``, and the further columns of the table of labels.
    """
    table = labels.table
    for line, count in table.ragged.items():
        problems.add("line with a wrong number of cells", f"line {line}: {count}", [line])
    image_ids = [image_key(text.strip()) for text in table.column(labels.image)]
    if labels.label is not None:
        dx = table.column(labels.label)
    else:
        dx, wrong = read_one_hot(table.cells[labels.classes])
        for line, what in wrong.items():
            problems.add("line without exactly one class", f"line {line}: {what}", [line])
    found = {name: column for name, names in DETAIL_NAMES.items() if (column := table.find(names))}
    details = {name: table.column(column) for name, column in found.items()}
    if all(is_unknown(lesion_id) for lesion_id in details.get("lesion_id", [])):
        details.pop("lesion_id", None)  # a column without a single lesion is as good as none
    lacking = [name for name in DETAIL_NAMES if name not in details]
    columns = {"image_id": image_ids, "dx": dx, **details}
    columns |= _details_elsewhere(lacking, image_ids, table, listing, problems)
    order = [name for name in ("image_id", "lesion_id", "dx", "age", "sex", "localization") if name in columns]
    used = {labels.image, labels.label, *labels.classes, *found.values(), *order, "image"}
    others = [str(name) for name in table.cells.columns if str(name) not in used]
    records = pd.DataFrame(columns, index=table.cells.index, dtype=object)
    return pd.concat([records[order], table.cells[others]], axis=1)


def _details_elsewhere(
    lacking: Sequence[str],
    image_ids: list[str],
    labels: TextTable,
    listing: FolderListing,
    problems: Problems,
) -> dict[str, list[str]]:
    """Return the columns that the table of labels lacks; lesion_id only if any table has it."""
    known: dict[str, dict[str, tuple[str, Path]]] = {name: {} for name in lacking}
    wanted = dict(zip(image_ids, labels.cells.index.tolist(), strict=True))
    for table in _detail_tables(lacking, labels.path, listing):
        ids = [image_key(text.strip()) for text in table.column(str(table.find(IMAGE_NAMES)))]
        for name in lacking:
            column = table.find(DETAIL_NAMES[name])
            for image_id, text in zip(ids, table.column(column) if column else [], strict=bool(column)):
                if image_id not in wanted or is_unknown(text):
                    continue
                before, path = known[name].setdefault(image_id, (text, table.path))
                if before != text and (name != "age" or parse_age(before) != parse_age(text)):
                    where = f"{before!r} in {path.name}, {text!r} in {table.path.name}"
                    problems.add(f"image with two values of {name}", f"{image_id}: {where}", [wanted[image_id]])
    empty = ("", labels.path)
    return {
        name: [values.get(image_id, empty)[0] for image_id in image_ids]
        for name, values in known.items()
        if values or name != "lesion_id"
    }


def _detail_tables(lacking: Sequence[str], labels: Path, listing: FolderListing) -> list[TextTable]:
    tables = []
    for path in listing.tables:
        if path == labels:
            continue
        head = peek_table(path)
        if head is None or head.find(IMAGE_NAMES) is None:
            continue
        if any(head.find(DETAIL_NAMES[name]) for name in lacking):
            tables.append(read_table(path))
    return tables
