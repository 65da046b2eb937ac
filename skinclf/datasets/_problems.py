"""Collect everything that is wrong with a data set, and say it in one message."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping


class Problems:
    """What is wrong with a table and its images, sorted by kind.

    A loader goes through all of its checks before it complains, so that a user with three mistakes reads one
    message instead of running three times.

    Attributes
    ----------
    lines : dict of int to list of str
        The table lines that take part in a problem, each with the kinds of its problems.
    """

    def __init__(self) -> None:
        self.lines: dict[int, list[str]] = {}
        self._details: dict[str, list[str]] = {}

    def add(self, kind: str, detail: str, lines: Iterable[int] = ()) -> None:
        """Note one problem.

        Parameters
        ----------
        kind : str
            What kind of problem it is, in the singular, as in ``"image without a file"``.
        detail : str
            Which one: an id, a path, or a line with its value.
        lines : iterable of int, optional
            The lines of the table that cannot be used because of it.
        """
        self._details.setdefault(kind, []).append(detail)
        for line in lines:
            self.lines.setdefault(line, []).append(kind)

    def __bool__(self) -> bool:
        return bool(self._details)

    def kinds(self) -> set[str]:
        """Return the kinds of problems that were noted."""
        return set(self._details)

    def message(self, opening: str, remedies: Iterable[str] = (), *, shown: int | None = 5) -> str:
        """Return all problems as text: an opening sentence, a line for each kind, then the remedies.

        Parameters
        ----------
        opening : str
            The first line; it should name the folder or the table.
        remedies : iterable of str
            What the reader can do about it, a line each.
        shown : int or None, default=5
            How many problems of a kind are spelled out; None spells out all.

        Returns
        -------
        str
            Several lines.

        Examples
        --------
        >>> from skinclf.datasets._problems import Problems
        >>> problems = Problems()
        >>> for image_id in ("ISIC_0024306", "ISIC_0024307", "ISIC_0024308"):
        ...     problems.add("image without a file", image_id)
        >>> print(problems.message("The folder is not complete.", shown=2))
        The folder is not complete.
          - image without a file (3): ISIC_0024306; ISIC_0024307; and 1 more
        """
        lines = [opening]
        for kind, details in self._details.items():
            listed = details[:shown]
            if len(details) > len(listed):
                listed = [*listed, f"and {len(details) - len(listed):,} more"]
            lines.append(f"  - {kind} ({len(details):,}): {'; '.join(listed)}")
        return "\n".join([*lines, *remedies])


def quoted(text: str) -> str:
    """Return a cell in quotation marks, with its middle left out if it is long.

    Examples
    --------
    >>> from skinclf.datasets._problems import quoted
    >>> quoted("nv ")
    "'nv '"
    """
    shortener = reprlib.Repr()
    shortener.maxstring = 60
    return shortener.repr(text)


def nearest(value: str, meanings: Mapping[str, str]) -> str | None:
    """Return what a value that nobody knows was probably meant to be.

    Parameters
    ----------
    value : str
        What was written.
    meanings : mapping of str to str
        What may be written, each with what it stands for.

    Returns
    -------
    str or None
        The meaning of the entry that is the same but for blanks and case, else of the most similar one; None
        if nothing is similar.

    Examples
    --------
    >>> from skinclf.datasets._problems import nearest
    >>> nearest(" NV", {"nv": "nv", "mel": "mel", "melanoma": "mel"})
    'nv'
    >>> nearest("melanom", {"nv": "nv", "mel": "mel", "melanoma": "mel"})
    'mel'
    """
    folded = {spelling.casefold(): meaning for spelling, meaning in meanings.items()}
    wanted = value.strip().casefold()
    if wanted in folded:
        return folded[wanted]
    similar = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.5)
    return folded[similar[0]] if similar else None
