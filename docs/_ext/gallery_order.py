"""The order of the gallery."""

from __future__ import annotations

from sphinx_gallery.sorting import FileNameSortKey


class RealDataLast(FileNameSortKey):
    """Put the scripts that are shown without being run behind those that anybody can run."""

    def __call__(self, filename: str) -> tuple[bool, str]:
        """Return the key of a file."""
        return (not filename.startswith("plot_"), filename)
