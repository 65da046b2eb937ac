"""Load any folder of images with a table of labels."""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skinclf.datasets._assembly import assemble_frame, feature_columns
from skinclf.datasets._image_files import check_folder, first_differing_copy, scan_folder
from skinclf.datasets._isic_tables import find_label_table, read_records
from skinclf.datasets._problems import Problems, quoted
from skinclf.datasets._tables import is_missing, is_unknown, parse_age


def load_isic(
    data_home: str | os.PathLike[str],
    *,
    table: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    label: str | None = None,
    on_error: str = "raise",
    return_X_y: bool = False,
) -> Any:
    r"""Load a folder of images with a table of labels, such as a part of HAM10000 or of the ISIC Archive.

    No image is opened: the result holds paths. The table has a column of image ids and either a column of
    labels or a column of zeros and ones for each class. Which images there are is the table's say: images
    without a row are counted in ``DESCR`` and otherwise passed over. Everything that is wrong with the rows
    is named in one error.

    Parameters
    ----------
    data_home : str or path-like
        The folder to search, with all folders below it.
    table : str or path-like, optional
        The file with the labels: an absolute path, or one below `data_home`. It is needed where the folder
        holds more than one such table.
    images : str or path-like, optional
        The folder that holds the images: an absolute path, or one below `data_home`. It is needed where the
        folder holds the same images in several versions, or keeps them elsewhere.
    label : str, optional
        The column that holds the labels, such as ``"diagnosis_3"`` or ``"benign_malignant"``. By default
        ``dx``, ``diagnosis`` or ``label``, else the one-hot columns.
    on_error : {"raise", "warn"}, default="raise"
        What happens to rows that cannot be used: without a file, with two files that differ, listed twice,
        without a label, without a lesion where others have one, of a lesion with more than one label, and the
        like. With ``"warn"`` they are left out, and a warning names all of them; ``left_out`` has them too.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    Bunch
        With these attributes; rows are in the order of ``image_id``:

        data : DataFrame of shape (n_images, 4) or (n_images, 5)
            ``image`` (str, the absolute path of the file), ``lesion_id`` (str; only where a table has it),
            ``age`` (float64, years, NaN where unknown), ``sex`` and ``localization`` (str, ``"unknown"``
            where they are).
        target : object array of shape (n_images,)
            The label as str, as it is written in the table; the name of the column where the table is
            one-hot.
        groups : object array of shape (n_images,), or None
            ``lesion_id``; None where no table has it. Then nobody can tell whether a split keeps the photos
            of a lesion together.
        frame : DataFrame
            ``image_id``, ``lesion_id`` (where known), ``dx`` (the label), ``age``, ``sex``, ``localization``,
            the further columns of the table as str, and ``image``.
        target_names : list of str
            The labels that occur, sorted.
        DESCR : str
            Where everything was read, and the images and lesions of each class.
        data_home : str
            The folder that was searched.
        left_out : DataFrame
            ``line`` (int, of the table), ``image_id`` and ``reason`` of the rows that were left out.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder, the table or the folder of images does not exist, or no table has labels.
    ValueError
        If several tables have labels, if a table cannot be understood, or if rows cannot be used: any of them,
        or all of them with ``on_error="warn"``.
    TypeError
        If a path is none.

    Warns
    -----
    UserWarning
        With ``on_error="warn"``, if rows were left out.

    See Also
    --------
    load_ham10000 : Load HAM10000, and be sure that it is complete.

    Notes
    -----
    Columns may have these names, in any case, the first one counts: ``image_id``, ``isic_id``, ``image`` or
    ``image_name`` (with or without file suffix); ``lesion_id``; ``age``, ``age_approx`` or
    ``age_approximate``; ``sex``; ``localization``, ``anatom_site_general`` or
    ``anatom_site_general_challenge``. Where the table of labels lacks lesion, age, sex or localization, they
    are taken from other tables of the folder that have a column of image ids, such as the metadata of ISIC 2019
    and the lesion groupings of ISIC 2018.

    Tables may be separated by comma, semicolon, tab or bar, and encoded in UTF-8 (with or without byte-order
    mark), UTF-16 or Windows-1252. Labels that differ in nothing but blanks and case are taken for a mistake.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skinclf.datasets import load_isic
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("mole_1.jpg", "mole_2.jpg"):
    ...         pathlib.Path(folder, name).touch()
    ...     table = "image_id,lesion_id,dx\nmole_1,A,nv\nmole_2,B,mel\n"
    ...     _ = pathlib.Path(folder, "labels.csv").write_text(table)
    ...     moles = load_isic(folder)
    >>> moles.target, moles.groups
    (array(['nv', 'mel'], dtype=object), array(['A', 'B'], dtype=object))
    """
    if on_error not in ("raise", "warn"):
        raise ValueError(f"on_error must be 'raise' or 'warn'; got {on_error!r}.")
    if label is not None and not isinstance(label, str):
        raise TypeError(f"label must be the name of a column; got {label!r} ({type(label).__name__}).")
    home = check_folder(data_home, "data_home")
    listing = scan_folder(home)
    labels = find_label_table(listing, _below(home, table), label)
    shown = listing if images is None else scan_folder(check_folder(_below(home, images), "images"))
    problems = Problems()
    records = read_records(labels, listing, problems)
    _check_rows(records, problems)
    paths = _match_files(records, shown.images, problems)
    path = labels.table.path
    left_out = _left_out(records, problems)
    if problems:
        n_wrong = len(left_out)
        opening = f"{n_wrong:,} of the {len(records):,} rows of {path} cannot be used. Lines are of this table."
        if on_error == "raise" or n_wrong == len(records):
            remedies = [f"No file was found in {shown.root} at all."] if not shown.images else []
            if n_wrong < len(records):
                remedies.append("Mend the table or the folder, or leave these rows out with on_error='warn'.")
            raise ValueError(problems.message(opening, [*shown.hints(), *remedies]))
        warnings.warn(problems.message(f"{opening} They are left out:", shown=None), UserWarning, stacklevel=2)
    frame = assemble_frame(records.drop(index=left_out["line"].tolist()), paths, ("sex", "localization"))
    bunch = _bunch(frame, home, left_out)
    bunch.DESCR = _describe(
        frame, path, shown.root, len(left_out), len(shown.images.keys() - set(records["image_id"]))
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _below(home: Path, path: str | os.PathLike[str] | None) -> Path | None:
    """Return an absolute path, below `home` if it is not one already; it must exist."""
    if path is None:
        return None
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"table and images must be paths; got {path!r} ({type(path).__name__}).")
    absolute = home / Path(path).expanduser()
    if not absolute.exists():
        raise FileNotFoundError(f"{absolute} does not exist. A path that is not absolute is one below {home}.")
    return absolute


def _check_rows(records: pd.DataFrame, problems: Problems) -> None:
    """Check ids, labels, lesions and ages."""
    lines = records.index.tolist()
    labels = records["dx"].tolist()
    lines_of = _lines_of(records, "image_id")
    for image_id, its_lines in lines_of.items():
        if not image_id:
            for line in its_lines:
                problems.add("row without an image id", f"line {line}", [line])
        elif len(its_lines) > 1:
            problems.add("image listed twice", f"{image_id}: lines {_join(its_lines)}", its_lines)
    for line, label in zip(lines, labels, strict=True):
        if is_missing(label) and line not in problems.lines:  # a one-hot row has been named already
            problems.add("row without a label", f"line {line}", [line])
    _check_spellings(lines, labels, problems)
    if "lesion_id" in records:
        _check_lesions(records, problems)
    for line, age in zip(lines, records["age"].tolist(), strict=True):
        if parse_age(age) is None:
            problems.add("age that is no number of years", f"line {line}: {quoted(age)}", [line])


def _lines_of(records: pd.DataFrame, column: str) -> dict[str, list[int]]:
    """Return value -> lines."""
    lines: defaultdict[str, list[int]] = defaultdict(list)
    for line, value in zip(records.index.tolist(), records[column].tolist(), strict=True):
        lines[value].append(line)
    return dict(lines)


def _join(lines: list[int]) -> str:
    return f"{', '.join(str(line) for line in lines[:-1])} and {lines[-1]}"


def _check_spellings(lines: list[int], labels: list[str], problems: Problems) -> None:
    """Find labels that differ from a more frequent one in nothing but blanks and case."""
    counts = Counter(labels)
    usual: dict[str, str] = {}
    for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0] != item[0].strip(), item[0])):
        usual.setdefault(label.strip().casefold(), label)
    for line, label in zip(lines, labels, strict=True):
        meant = usual[label.strip().casefold()]
        if label != meant and not is_missing(label):
            detail = f"line {line}: {quoted(label)}, meant as {meant!r} ({counts[meant]:,} rows)?"
            problems.add("label spelled in two ways", detail, [line])


def _check_lesions(records: pd.DataFrame, problems: Problems) -> None:
    label_at = dict(zip(records.index.tolist(), records["dx"].tolist(), strict=True))
    for lesion_id, its_lines in _lines_of(records, "lesion_id").items():
        if is_unknown(lesion_id):
            for line in its_lines:
                problems.add("row without a lesion_id, which others have", f"line {line}", [line])
            continue
        labels = sorted({label_at[line] for line in its_lines if not is_missing(label_at[line])})
        if len({label.strip().casefold() for label in labels}) > 1:
            said = ", ".join(repr(label) for label in labels)
            problems.add(
                "lesion with more than one label",
                f"{lesion_id}: {said} (lines {_join(its_lines)})",
                its_lines,
            )


def _match_files(records: pd.DataFrame, images: dict[str, list[str]], problems: Problems) -> dict[str, str]:
    """Return image_id -> path, and note what has no file or two that differ."""
    paths: dict[str, str] = {}
    for image_id, its_lines in _lines_of(records, "image_id").items():
        found = images.get(image_id)
        if found is None:
            if image_id:
                problems.add("image without a file", f"{image_id} (line {its_lines[0]})", its_lines)
            continue
        paths[image_id] = found[0]
        if len(found) > 1 and (other := first_differing_copy(found)):
            problems.add("image with two different files", f"{found[0]} and {other}", its_lines)
    return paths


def _left_out(records: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    lines = sorted(problems.lines)
    return pd.DataFrame(
        {
            "line": np.array(lines, dtype=np.int64),
            "image_id": records["image_id"].loc[lines].tolist(),
            "reason": ["; ".join(dict.fromkeys(problems.lines[line])) for line in lines],
        }
    )


def _bunch(frame: pd.DataFrame, home: Path, left_out: pd.DataFrame) -> Bunch:
    return Bunch(
        data=feature_columns(frame),
        target=frame["dx"].to_numpy(dtype=object),
        groups=frame["lesion_id"].to_numpy(dtype=object) if "lesion_id" in frame else None,
        frame=frame,
        target_names=sorted(set(frame["dx"])),
        data_home=str(home),
        left_out=left_out,
    )


def _describe(frame: pd.DataFrame, table: Path, images: Path, n_left_out: int, n_unlisted: int) -> str:
    has_lesions = "lesion_id" in frame
    width = max(len(label) for label in frame["dx"])
    lines = [
        f"{len(frame):,} images of {frame['dx'].nunique():,} classes",
        "",
        f"Labels  {table}",
        f"Images  {images}",
        "",
    ]
    for label, rows in frame.groupby("dx"):
        lesions = f" of {rows['lesion_id'].nunique():,} lesions" if has_lesions else ""
        lines.append(f"    {label!s:<{width}}  {len(rows):>6,} images{lesions}")
    lines.append("")
    if has_lesions:
        lines.append("groups holds the lesion of each image: keep the images of a lesion together in every split.")
    else:
        lines.append(
            "No table says which images show the same lesion (there is no column lesion_id), and groups is "
            "None: a split may put photos of one lesion on both sides, and its score may be too good."
        )
        if "patient_id" in frame:
            lines.append("frame['patient_id'] can serve as groups.")
    if n_left_out:
        lines.append(f"{n_left_out:,} rows of the table could not be used and were left out; see left_out.")
    if n_unlisted:
        lines.append(f"{n_unlisted:,} images of the folder are not in the table and were passed over.")
    return "\n".join(lines) + "\n"
