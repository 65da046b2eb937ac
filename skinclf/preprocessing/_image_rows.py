"""`ImageRows`: some rows of an array of images, without a copy of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


class ImageRows:
    """A read-only selection of images that is only copied where it is indexed.

    It stands between a memory map of everything that was ever decoded and a fit that needs some of it, in an order
    of its own: batches are cut out of the map one by one, and all processes share the pages of the map.

    A pickle holds the selected pixels themselves, and no reference to the map: the file may be gone by then. Pass
    paths between processes, not pixels.

    Parameters
    ----------
    base : ndarray, shape (n_base, height, width, channels)
        All images; never written to.
    rows : array-like of int, shape (n_images,), default=None
        Which images of `base`, in which order, from 0; repetitions are welcome. None takes all of them.

    Raises
    ------
    IndexError
        If `rows` holds anything that is no row of `base`.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.preprocessing._image_rows import ImageRows
    >>> base = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
    >>> images = ImageRows(base, [3, 1, 3])
    >>> images.shape, images.nbytes
    ((3, 1, 1, 1), 3)
    >>> images[1:].ravel().tolist(), images[0].item()
    ([1, 3], 3)
    """

    def __init__(self, base: NDArray[Any], rows: ArrayLike | None = None) -> None:
        self._base = base.view()
        self._base.flags.writeable = False
        selected = np.arange(len(base)) if rows is None else np.array(rows, dtype=np.intp)
        if selected.ndim != 1 or (selected.size and (selected.min() < 0 or selected.max() >= len(base))):
            raise IndexError(
                f"rows must be a list of numbers from 0 to {len(base) - 1}, one for each image; got {rows!r}."
            )
        self._rows = selected

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n_images, height, width, channels)``."""
        return (len(self._rows), *self._base.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._base.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._base.dtype

    @property
    def nbytes(self) -> int:
        """Bytes that a copy of the selected images takes."""
        return int(np.prod(self.shape)) * self._base.itemsize

    def take(self, rows: ArrayLike) -> Self:
        """Select among the selected images, again without a copy.

        Parameters
        ----------
        rows : array-like of int
            Rows of this selection.

        Returns
        -------
        ImageRows
            The smaller selection, of the same base.
        """
        return type(self)(self._base, self._rows[np.asarray(rows, dtype=np.intp)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Copy images: one for a number, several for a slice, a list or an array of numbers or of bools."""
        if isinstance(index, tuple):
            raise TypeError(
                "ImageRows takes one index, which selects whole images; select pixels afterwards: "
                "images[rows][:, top:bottom, left:right]."
            )
        rows = self._rows[index]
        return self._base[rows] if isinstance(rows, np.ndarray) else self._base[rows].copy()

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield one image after the other, as read-only views."""
        return (self._base[row] for row in self._rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("The images of ImageRows lie scattered in its base: an array of them is a copy.")
        images = self._base[self._rows]
        return images if dtype is None else images.astype(dtype, copy=False)

    def __reduce__(self) -> tuple[type[Self], tuple[NDArray[Any]]]:
        return type(self), (self._base[self._rows],)

    def __repr__(self) -> str:
        return f"ImageRows(shape={self.shape}, dtype={self.dtype})"
