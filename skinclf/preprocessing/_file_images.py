"""`FileImages`: images that are decoded when they are asked for, where all of them would not fit into memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray

from skinclf.preprocessing._decode import Crop, decode_image
from skinclf.preprocessing._failures import ImageReadError, list_failures
from skinclf.preprocessing._sources import Sources

_IMAGES_AT_ONCE = 256


def reading(images: Any) -> AbstractContextManager[None]:
    """Keep the threads of `FileImages` through a block, and none after it; other images need none."""
    return images.threads() if isinstance(images, FileImages) else nullcontext()


class FileImages:
    """An array of images, as far as it is indexed by rows; nothing is kept.

    Parameters
    ----------
    paths : ndarray of object, shape (n_images,)
        Whatever `skinclf.preprocessing.ImageLoader` reads. All of it is read once in every epoch, and an open file
        that cannot be sought only in the first.
    size : int
        Side in pixels.
    crop : {"center", None}
        As in `skinclf.preprocessing.ImageLoader`.
    n_jobs : int or None
        Threads that decode; they read ahead while a network computes.

    Examples
    --------
    >>> import numpy as np
    >>> from skinclf.preprocessing._file_images import FileImages
    >>> images = FileImages(np.array(["a.jpg", "b.jpg"]), 64, "center", None)
    >>> images.shape, images.dtype, images.nbytes
    ((2, 64, 64, 3), dtype('uint8'), 24576)
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, paths: NDArray[Any], size: int, crop: Crop, n_jobs: int | None) -> None:
        self.paths = paths
        self.size = size
        self.crop = crop
        self.n_jobs = n_jobs
        self._pool: ThreadPoolExecutor | None = None
        self._sources: Sources | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(n_images, size, size, 3)``."""
        return (len(self.paths), self.size, self.size, 3)

    @property
    def nbytes(self) -> int:
        """Bytes that all images would take."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Decode the images of some rows.

        Raises
        ------
        ImageReadError
            If one of them cannot be read; the message lists all files, of these and other rows, that cannot.
        """
        (images,) = self.read([np.asarray(rows)])
        return images

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield one image after the other."""
        starts = range(0, len(self), _IMAGES_AT_ONCE)
        parts = (np.arange(start, min(start + _IMAGES_AT_ONCE, len(self))) for start in starts)
        for images in self.read(parts):
            yield from images

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Keep the threads, and archives open, between calls of `read`; none is left after the block."""
        n_threads = effective_n_jobs(self.n_jobs)
        with Sources() as sources, ThreadPoolExecutor(n_threads, "skinclf-decode") as pool:
            self._pool, self._sources = pool, sources
            try:
                yield
            finally:
                self._pool = self._sources = None
                pool.shutdown(cancel_futures=True)

    def read(self, parts: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.uint8]]:
        """Yield the images of one array of rows after the other; the next ones are decoded meanwhile.

        Parameters
        ----------
        parts : iterable of ndarray of int
            Rows; all parts that are being read lie in memory, two and one for each thread.

        Yields
        ------
        ndarray of uint8, shape (n_rows, size, size, 3)
            RGB values in 0–255.

        Raises
        ------
        ImageReadError
            As for indexing.
        """
        if self._pool is None:
            with self.threads():
                yield from self.read(parts)
            return
        ahead: deque[Future[NDArray[np.uint8]]] = deque()
        n_ahead = 1 + effective_n_jobs(self.n_jobs)
        for rows in parts:
            ahead.append(self._pool.submit(self._decode, rows, self._sources))
            if len(ahead) > n_ahead:
                yield self._result(ahead.popleft())
        while ahead:
            yield self._result(ahead.popleft())

    def check(self, rows: NDArray[np.intp]) -> None:
        """Decode the images of some rows for nothing but the error that a damaged file raises."""
        for _ in self.read(
            rows[start : start + _IMAGES_AT_ONCE] for start in range(0, len(rows), _IMAGES_AT_ONCE)
        ):
            pass

    def _decode(self, rows: NDArray[np.intp], sources: Sources | None) -> NDArray[np.uint8]:
        return np.stack([decode_image(path, self.size, self.crop, sources=sources) for path in self.paths[rows]])

    def _result(self, future: Future[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        try:
            return future.result()
        except ImageReadError as error:
            raise ImageReadError(list_failures(self.paths, dict(self._failures()))) from error

    def _failures(self) -> Iterator[tuple[int, str]]:
        """Look at every file: a user who mends the first one that was met should not meet the next one then."""
        with Sources() as sources:
            for row, path in enumerate(self.paths):
                try:
                    decode_image(path, self.size, self.crop, sources=sources)
                except ImageReadError as error:
                    yield row, str(error)
