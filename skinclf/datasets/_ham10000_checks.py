"""Compare what was found on a disk with what HAM10000 is known to be.

Each check adds what it finds to one `Problems`, and none of them stops the others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd

from skinclf.datasets import _ham10000_catalogue as facts
from skinclf.datasets._ham10000_catalogue import Catalogue
from skinclf.datasets._image_files import FolderListing, first_differing_copy
from skinclf.datasets._problems import Problems, nearest, quoted
from skinclf.datasets._tables import is_unknown, parse_age

NOT_IN_TABLE = "image that the table lacks"
NO_FILE = "image without a file"
NOT_LISTED = "file that the table does not list"


def check_table(cells: pd.DataFrame, catalogue: Catalogue, problems: Problems) -> None:
    """Check ids, labels, lesions, vocabularies, counts and checksum.

    Parameters
    ----------
    cells : DataFrame of str
        The table in the common form, indexed by line.
    catalogue : Catalogue
        What it should hold.
    problems : Problems
        What is wrong is added to it.
    """
    lines = cells.index.tolist()
    image_ids, lesion_ids, labels = (cells[name].tolist() for name in ("image_id", "lesion_id", "dx"))
    known = set(catalogue.image_ids())
    _check_image_ids(lines, image_ids, known, problems)
    _check_labels(lines, image_ids, labels, problems)
    _check_lesions(lines, lesion_ids, labels, problems)
    for column, vocabulary in (
        ("dx_type", (*facts.DX_TYPES, "unknown")),
        ("sex", facts.SEXES),
        ("localization", facts.LOCALIZATIONS),
    ):
        _check_words(cells, column, vocabulary, problems)
    for line, age in zip(lines, cells["age"].tolist(), strict=True):
        if parse_age(age) is None:
            problems.add("age that is no number of years", f"line {line}: {quoted(age)}", [line])
    for image_id in sorted(known - set(image_ids)):
        problems.add(NOT_IN_TABLE, image_id)
    if not problems:
        _check_counts(image_ids, lesion_ids, labels, catalogue, problems)


def _check_image_ids(lines: list[int], image_ids: list[str], known: set[str], problems: Problems) -> None:
    seen: dict[str, int] = {}
    for line, image_id in zip(lines, image_ids, strict=True):
        if image_id in seen:
            problems.add("image listed twice", f"{image_id}: lines {seen[image_id]} and {line}", [line])
        seen.setdefault(image_id, line)
        if image_id not in known:
            meant = image_id.strip().upper().partition(".")[0]
            hint = f", meant as {meant!r}?" if meant in known else ""
            problems.add("image_id that HAM10000 does not have", f"line {line}: {quoted(image_id)}{hint}", [line])


def _check_labels(lines: list[int], image_ids: list[str], labels: list[str], problems: Problems) -> None:
    for line, image_id, label in zip(lines, image_ids, labels, strict=True):
        if label in facts.CLASS_NAMES:
            continue
        if not label.strip():
            if line not in problems.lines:  # otherwise the layout has said already why there is no label
                problems.add("blank label", f"line {line} ({image_id})", [line])
            continue
        meanings = {code: code for code in facts.CLASS_NAMES}
        meanings |= {name: code for code, name in facts.CLASS_NAMES.items()}
        meant = nearest(label, meanings)
        hint = f", meant as {meant!r}?" if meant else ""
        detail = f"line {line} ({image_id}): {quoted(label)}{hint}"
        problems.add("label that HAM10000 does not have", detail, [line])


def _check_lesions(lines: list[int], lesion_ids: list[str], labels: list[str], problems: Problems) -> None:
    labels_of: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for line, lesion_id, label in zip(lines, lesion_ids, labels, strict=True):
        if is_unknown(lesion_id):
            problems.add("image without a lesion_id", f"line {line}", [line])
        elif not facts.LESION_ID.fullmatch(lesion_id):
            problems.add("value that is no lesion_id", f"line {line}: {quoted(lesion_id)}", [line])
        elif label in facts.CLASS_NAMES:
            labels_of[lesion_id].setdefault(label, line)
    for lesion_id, first_lines in labels_of.items():
        if len(first_lines) > 1:
            said = ", ".join(f"{label} in line {line}" for label, line in first_lines.items())
            problems.add("lesion with more than one label", f"{lesion_id}: {said}", first_lines.values())


def _check_words(cells: pd.DataFrame, column: str, vocabulary: Sequence[str], problems: Problems) -> None:
    allowed = set(vocabulary)
    for line, word in zip(cells.index.tolist(), cells[column].tolist(), strict=True):
        if word in allowed or is_unknown(word):
            continue
        meant = nearest(word, {known: known for known in vocabulary})
        hint = f", meant as {meant!r}?" if meant else ""
        problems.add(f"{column} that HAM10000 does not have", f"line {line}: {quoted(word)}{hint}", [line])


def _check_counts(
    image_ids: list[str], lesion_ids: list[str], labels: list[str], catalogue: Catalogue, problems: Problems
) -> None:
    """Check the sums, and then the checksum, of a table in which every line is plausible."""
    counts = Counter(labels)
    for label, expected in catalogue.class_counts.items():
        if counts[label] != expected:
            problems.add(
                "class with a wrong count", f"{label} has {counts[label]:,} images instead of {expected:,}"
            )
    n_lesions = len(set(lesion_ids))
    if n_lesions != catalogue.n_lesions:
        problems.add("wrong number of lesions", f"{n_lesions:,} instead of {catalogue.n_lesions:,}")
    if problems:
        return
    checksum = facts.label_checksum(zip(image_ids, lesion_ids, labels, strict=True))
    if checksum != catalogue.checksum:
        problems.add(
            "changed table",
            "ids and counts are as published, but the SHA-256 of image_id, lesion_id and dx is "
            f"{checksum[:12]}… instead of {catalogue.checksum[:12]}…: labels or lesions were exchanged",
        )


def match_files(
    cells: pd.DataFrame, listing: FolderListing, catalogue: Catalogue, problems: Problems
) -> dict[str, str]:
    """Find the file of every image.

    Parameters
    ----------
    cells : DataFrame of str
        The table in the common form.
    listing : FolderListing
        The files.
    catalogue : Catalogue
        Which images there are.
    problems : Problems
        Images without a file, files that differ under one id, and files without a row are added to it.

    Returns
    -------
    dict of str to str
        image_id -> absolute path.
    """
    files = _files_by_id(listing.images)
    lines = dict(zip(cells["image_id"].tolist(), cells.index.tolist(), strict=True))
    known = set(catalogue.image_ids())
    for image_id in sorted(lines.keys() & known):
        paths = files.get(image_id)
        if paths is None:
            problems.add(NO_FILE, image_id, [lines[image_id]])
        elif len(paths) > 1 and (other := first_differing_copy(paths)):
            problems.add("image with two different files", f"{paths[0]} and {other}", [lines[image_id]])
    for image_id in sorted(files.keys() - lines.keys()):
        problems.add(NOT_LISTED, files[image_id][0])
    return {image_id: paths[0] for image_id, paths in files.items()}


def _files_by_id(images: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the files that are named by an ISIC id, in upper or lower case."""
    files: dict[str, list[str]] = {}
    for stem, paths in images.items():
        image_id = stem.upper()
        if facts.IMAGE_ID.fullmatch(image_id):
            files[image_id] = sorted([*files.get(image_id, []), *paths])
    return files
