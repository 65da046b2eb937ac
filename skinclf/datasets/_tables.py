"""Read a table of labels as people keep it: any delimiter, any encoding, one column of labels or one-hot."""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from skinclf.datasets._problems import quoted

_DELIMITERS = (",", ";", "\t", "|")
_PEEK_BYTES = 65536
_ONE = frozenset({"1", "1.0", "1,0"})
_ZERO = frozenset({"0", "0.0", "0,0"})
_MISSING_WORDS = frozenset({"", "nan", "na", "n/a", "none", "null"})
_OLDEST = 120
"""Years; a larger number in a column of ages is a mistake."""


@dataclass(frozen=True)
class TextTable:
    """A table as it was written: nothing converted, nothing stripped but the names of the columns.

    Attributes
    ----------
    path : Path
        The file.
    cells : DataFrame of str
        One row a record; its index is the line of the file on which the record begins, and its columns are
        those that have a name.
    ragged : dict of int to str
        Lines with another number of cells than the header has, and how many.
    """

    path: Path
    cells: pd.DataFrame
    ragged: dict[int, str] = field(default_factory=dict)

    def find(self, names: Iterable[str]) -> str | None:
        """Return the column with the first of these names that the table has, in any case."""
        columns = {str(column).casefold(): str(column) for column in self.cells.columns}
        return next((columns[name.casefold()] for name in names if name.casefold() in columns), None)

    def column(self, name: str) -> list[str]:
        """Return the cells of a column, from top to bottom."""
        return [str(cell) for cell in self.cells[name]]


def read_table(path: Path) -> TextTable:
    r"""Read a table of text.

    The delimiter (comma, semicolon, tab or bar) is the one that cuts the header into most columns; UTF-8 with
    or without byte-order mark, UTF-16 with one, and Windows-1252 are told apart. Blank lines and columns
    without a name are passed over.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    TextTable
        All cells as they were written.

    Raises
    ------
    ValueError
        If the file is empty, a workbook, an archive or a web page, in another encoding, has one column name
        twice, or is not a table for another reason. The message names the file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from skinclf.datasets._tables import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels.csv")
    ...     _ = path.write_bytes(b"\xef\xbb\xbfimage_id;dx\nISIC_0024306;nv\n")
    ...     read_table(path).cells
             image_id  dx
    line
    2    ISIC_0024306  nv
    """
    return _parse(path, _decode(path, path.read_bytes()))


def peek_table(path: Path) -> TextTable | None:
    """Read the first record of a file that may be a table, without reading all of it.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    TextTable or None
        The header and at most one record; None if the file is no table, or its header is longer than 64 KiB.
    """
    with path.open("rb") as file:
        start = file.read(_PEEK_BYTES)
    if len(start) == _PEEK_BYTES and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        start = start[: start.rfind(b"\n") + 1]
    try:
        return _parse(path, _decode(path, start), n_records=1)
    except ValueError:
        return None


def _decode(path: Path, raw: bytes) -> str:
    if raw.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path} is a workbook or an archive, not a table of text. Save it as CSV.")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = _decode_utf16(path, raw)
    else:
        text = _decode_bytes(path, raw)
    if not text.strip():
        raise ValueError(f"{path} is empty.")
    if "\0" in text:
        raise ValueError(f"{path} is not a table of text: it holds null characters.")
    if text.lstrip().startswith("<"):
        raise ValueError(f"{path} is a web page, not a table. Download it again.")
    return text


def _decode_utf16(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-16")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} begins like UTF-16 and is not: {error.reason}. Save it in UTF-8.") from error


def _decode_bytes(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass  # Excel writes Windows-1252 where the language of the machine says so
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is neither in UTF-8 nor in Windows-1252 (byte {raw[error.start]:#04x} at position "
            f"{error.start}). Save it in UTF-8."
        ) from error


def _parse(path: Path, text: str, n_records: int | None = None) -> TextTable:
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] = []
    records: list[list[str]] = []
    lines: list[int] = []
    ragged: dict[int, str] = {}
    line = 0
    try:
        for cells in reader:
            begin, line = line + 1, reader.line_num
            if not any(cell.strip() for cell in cells) or (not header and cells[0].startswith("sep=")):
                continue
            if not header:
                header = [name.strip() for name in cells]
                continue
            if len(cells) != len(header):
                ragged[begin] = f"{len(cells)} instead of {len(header)}"
                cells = [*cells, *[""] * len(header)][: len(header)]
            records.append(cells)
            lines.append(begin)
            if len(records) == n_records:
                break
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
    _check_header(path, header)
    table = pd.DataFrame(records, index=pd.Index(lines, name="line"), columns=header, dtype=object)
    return TextTable(path, table.loc[:, [name != "" for name in header]], ragged)


def _delimiter(text: str) -> str:
    """Return the delimiter of the first line with text; Excel may name it in a line ``sep=;``."""
    first = text.lstrip("\r\n ").splitlines()[0]
    if first.startswith("sep=") and len(first) == 5:
        return first[4]
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([first], delimiter=delimiter))))


def _check_header(path: Path, header: Sequence[str]) -> None:
    folded = [name.casefold() for name in header if name]
    twice = sorted({name for name in folded if folded.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one column with the name {twice[0]!r}. Rename one of them.")


def looks_one_hot(cells: Iterable[str]) -> bool:
    """Return whether a row of cells holds nothing but zeros and ones, and at least two of them.

    Examples
    --------
    >>> from skinclf.datasets._tables import looks_one_hot
    >>> looks_one_hot(["0.0", "1.0", "0"]), looks_one_hot(["0.3", "0.7"]), looks_one_hot(["1"])
    (True, False, False)
    """
    stripped = [cell.strip() for cell in cells]
    return len(stripped) >= 2 and all(cell in _ONE or cell in _ZERO for cell in stripped)


def read_one_hot(cells: pd.DataFrame) -> tuple[list[str], dict[int, str]]:
    """Turn columns of zeros and ones into labels.

    Parameters
    ----------
    cells : DataFrame of str, shape (n_images, n_classes)
        One column a class, one row an image, indexed by line.

    Returns
    -------
    labels : list of str
        The name of the column that holds the one; blank where there is not exactly one.
    wrong : dict of int to str
        The lines that do not mark exactly one class, and what they do instead.

    Examples
    --------
    >>> import pandas as pd
    >>> from skinclf.datasets._tables import read_one_hot
    >>> read_one_hot(pd.DataFrame({"MEL": ["1.0", "0"], "NV": ["0.0", "0"]}, index=[2, 3]))
    (['MEL', ''], {3: 'marks no class'})
    """
    names = [str(name) for name in cells.columns]
    labels: list[str] = []
    wrong: dict[int, str] = {}
    for line, row in zip(cells.index.tolist(), cells.to_numpy(dtype=object).tolist(), strict=True):
        values = [cell.strip() for cell in row]
        marked = [name for name, value in zip(names, values, strict=True) if value in _ONE]
        odd = next((i for i, value in enumerate(values) if value not in _ONE and value not in _ZERO), None)
        if odd is not None:
            wrong[line] = f"holds {quoted(row[odd])} under {names[odd]}, not 0 or 1"
        elif len(marked) != 1:
            wrong[line] = f"marks {len(marked)} classes ({', '.join(marked)})" if marked else "marks no class"
        labels.append("" if line in wrong else marked[0])
    return labels, wrong


def is_missing(text: str) -> bool:
    """Return whether a cell is blank, or says NaN, NA, none or null, as programs write a blank."""
    return text.strip().casefold() in _MISSING_WORDS


def is_unknown(text: str) -> bool:
    """Return whether a cell is missing, or says "unknown"."""
    return is_missing(text) or text.strip().casefold() == "unknown"


def parse_age(text: str) -> float | None:
    """Return an age in years as float, NaN where it is unknown, None where the text is no age.

    Examples
    --------
    >>> from skinclf.datasets._tables import parse_age
    >>> parse_age("80.0"), parse_age("80,0"), parse_age("unknown"), parse_age("old")
    (80.0, 80.0, nan, None)
    """
    if is_unknown(text):
        return math.nan
    try:
        age = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return age if 0 <= age <= _OLDEST else None
