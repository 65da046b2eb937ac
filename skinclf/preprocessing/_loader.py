"""`ImageLoader`: paths in, one uint8 array out."""

from __future__ import annotations

import os
import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
import PIL
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from numpy.typing import NDArray
from PIL import features
from sklearn.base import BaseEstimator
from sklearn.utils import gen_even_slices
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from skinclf._validation import read_input
from skinclf.preprocessing._cache import PixelCache, file_keys
from skinclf.preprocessing._decode import Crop, ImageReadError, decode_image, list_failures
from skinclf.preprocessing._image_rows import ImageRows
from skinclf.preprocessing._output import ImageOutputMixin

_DECODER = "pillow 1"
"""Part of the name of a cache; raise it whenever `decode_image` makes other pixels of a file than before."""


class ImageLoader(ImageOutputMixin, BaseEstimator):
    """Read image files into one uint8 array of square RGB images.

    Nothing is learnt: ``transform`` works without ``fit``, and gives the same pixels at training and at
    prediction. Each image is scaled while it is decoded, one at a time, so that memory holds the result and no
    more.

    Parameters
    ----------
    size : int, default=64
        Side of the images in pixels.
    crop : {"center", None}, default="center"
        ``"center"`` takes the largest centred square first and keeps the proportions; ``None`` stretches the
        whole image, as most published notebooks do.
    on_error : {"raise", "warn"}, default="raise"
        What happens when files cannot be read. Either way all of them are listed in one message, not only the
        first. ``"warn"`` leaves them out; use `load`, which says which rows remain, and select the same rows of
        ``y``.
    n_jobs : int, default=None
        How many threads decode; -1 for one a core, None for 1.
    cache_dir : str or path-like, default=None
        A folder that keeps decoded images, so that each is decoded once, by whatever process needs it first: by
        one worker of a grid search, say. See the notes. None keeps nothing.

    See Also
    --------
    ImageStandardizer : Standardise the channels of the result.
    ImageFlattener : Turn the result into rows, for classical models.

    Notes
    -----
    `cache_dir` may be shared by all loaders: each size, crop and version of the decoder has a folder of its own in
    there, of ``size * size * 3`` bytes an image. An image is known by its absolute path, size in bytes and time of
    the last change, so that a file that was written anew is decoded anew. What is read from the cache is checked
    (CRC-32); what a killed process or a full disk left half-written is decoded again. Files that cannot be read
    are never kept. A cache that cannot be written to serves what it holds. It only grows, as a changed file leaves
    its old pixels behind; the folder may be deleted at any time, also while it is used (not so on Windows), but
    nothing in it may be edited or shortened.

    The cache belongs on a local disk. On a network file system, where locks and memory maps are weaker, the same
    image may be decoded more than once, and a file that is removed by another machine can end the process.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skinclf.preprocessing import ImageLoader
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "lesion.jpg"
    ...     Image.fromarray(np.full((150, 200, 3), 128, np.uint8)).save(path)
    ...     images = ImageLoader(size=32).transform([path])
    >>> images.shape, images.dtype
    ((1, 32, 32, 3), dtype('uint8'))
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "size": [Interval(Integral, 1, None, closed="left")],
        "crop": [StrOptions({"center"}), None],
        "on_error": [StrOptions({"raise", "warn"})],
        "n_jobs": [Integral, None],
        "cache_dir": [str, os.PathLike, None],
    }

    def __init__(
        self,
        size: int = 64,
        *,
        crop: Crop = "center",
        on_error: str = "raise",
        n_jobs: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.size = size
        self.crop = crop
        self.on_error = on_error
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and that ``X`` holds paths; no file is opened.

        Parameters
        ----------
        X : DataFrame with a column ``image``, or list, Series or array of paths
            One path for each image.
        y : ignored
            Present by convention.

        Returns
        -------
        ImageLoader
            The loader itself.
        """
        self._paths(X)
        return self

    def transform(self, X: Any) -> NDArray[np.uint8]:
        """Read the images.

        Parameters
        ----------
        X : DataFrame with a column ``image``, or list, Series or array of paths
            One path for each image.

        Returns
        -------
        ndarray of uint8, shape (n_images, size, size, 3)
            RGB values in 0–255, in the order of ``X``; with ``on_error="warn"`` without the unreadable ones.

        Raises
        ------
        ImageReadError
            With ``on_error="raise"``, if any file cannot be read; the message lists the files and the causes.
        OSError
            If `cache_dir` must be written to and cannot be, or its disk is full.
        TimeoutError
            If another process that decodes into `cache_dir` has come to a halt, after ten minutes.
        """
        return self.load(X)[0]

    def load(self, X: Any) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """Read the images, and say which rows they are.

        Parameters
        ----------
        X : DataFrame with a column ``image``, or list, Series or array of paths
            One path for each image.

        Returns
        -------
        images : ndarray of uint8, shape (n_read, size, size, 3)
            RGB values in 0–255.
        rows : ndarray of int, shape (n_read,)
            The rows of ``X`` that were read: all of them, unless ``on_error="warn"`` left some out.

        Raises
        ------
        ImageReadError
            As `transform`; and in any case if not a single file could be read.
        OSError, TimeoutError
            As `transform`.
        """
        images, rows = self.load_rows(X)
        return np.asarray(images), rows

    def load_rows(self, X: Any) -> tuple[NDArray[np.uint8] | ImageRows, NDArray[np.intp]]:
        """Do what `load` does, but leave the images in the cache.

        Parameters
        ----------
        X : DataFrame with a column ``image``, or list, Series or array of paths
            One path for each image.

        Returns
        -------
        images : ImageRows of uint8, shape (n_read, size, size, 3)
            A read-only view of the memory map, which all processes share; without `cache_dir` an ndarray.
        rows : ndarray of int, shape (n_read,)
            The rows of ``X`` that were read.

        Raises
        ------
        ImageReadError, OSError, TimeoutError
            As `load` does.
        """
        paths = self._paths(X)
        if self.cache_dir is None:
            images, failed = self._decode(paths)
            kept = self._readable(paths, failed)
            return (images[kept] if failed else images), kept
        base, base_rows, failed = self._look_up(paths, self.cache_dir)
        kept = self._readable(paths, failed)
        return ImageRows(base, base_rows[kept]), kept

    def _readable(self, paths: NDArray[Any], failed: dict[int, str]) -> NDArray[np.intp]:
        """Return the rows that were read; raise or warn of the others, as `on_error` says."""
        if not failed:
            return np.arange(len(paths))
        message = list_failures(paths, failed)
        if self.on_error == "raise" or len(failed) == len(paths):
            raise ImageReadError(message)
        # The line that is named is the one that called `load`.
        warnings.warn(message + "\nThey are left out.", UserWarning, stacklevel=4)
        return np.setdiff1d(np.arange(len(paths)), list(failed))

    def _decode(self, paths: NDArray[Any], pool: Any = None) -> tuple[NDArray[np.uint8], dict[int, str]]:
        """Return all images, and the cause for every row that could not be read (and is black)."""
        images = np.zeros((len(paths), self.size, self.size, 3), dtype=np.uint8)
        n_threads = self._n_threads()
        causes = (pool or self._threads())(
            delayed(_decode_slice)(paths, images, rows, self.size, self.crop)
            for rows in gen_even_slices(len(paths), min(len(paths), 4 * n_threads))
        )
        return images, {row: cause for part in causes for row, cause in part.items()}

    def _n_threads(self) -> int:
        with parallel_config("threading"):  # else joblib counts processes, of which a worker process may have none
            n_threads: int = effective_n_jobs(self.n_jobs)
        return n_threads

    def _threads(self) -> Any:
        # Threads, whatever backend the caller chose: processes would fill copies of the images.
        return Parallel(n_jobs=self._n_threads(), require="sharedmem")

    def _look_up(
        self, paths: NDArray[Any], cache_dir: str | os.PathLike[str]
    ) -> tuple[NDArray[np.uint8], NDArray[np.intp], dict[int, str]]:
        """Return all images of the cache, which row each path has there, and the causes as `_decode` does."""
        keys = file_keys(paths)
        name = f"{self.size}px-{self.crop or 'stretched'}"
        cache = PixelCache(cache_dir, name, _decoder_versions(), (self.size, self.size, 3))
        with self._threads() as pool:

            def decode(chunk: NDArray[np.intp]) -> tuple[NDArray[np.uint8], dict[int, str]]:
                images, failed = self._decode(paths[chunk], pool)
                # Pixels of another state of the file must not get this state's key.
                for i in np.flatnonzero(file_keys(paths[chunk]) != keys[chunk]):
                    failed.setdefault(int(i), "it was changed while it was read")
                return images, failed

            return cache.load(keys, decode)

    def _paths(self, X: Any) -> NDArray[Any]:
        validate_parameter_constraints(self._parameter_constraints, self.get_params(deep=False), "ImageLoader")
        paths = read_input(X).paths
        if paths is None:
            raise ValueError(
                "ImageLoader reads files: X must be a DataFrame with a column 'image', or a list, Series or "
                f"array of paths; got {type(X).__name__} of numbers. Arrays of pixels need no loader."
            )
        return paths

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags


def _decode_slice(
    paths: NDArray[Any], images: NDArray[np.uint8], rows: slice, size: int, crop: Crop
) -> dict[int, str]:
    """Decode some rows into `images`; return the cause for every row that could not be read."""
    failed = {}
    for row in range(rows.start, rows.stop):
        try:
            images[row] = decode_image(paths[row], size, crop)
        except ImageReadError as error:
            failed[row] = str(error)
    return failed


def _decoder_versions() -> tuple[str, ...]:
    """Return everything that decides on the pixels of a file."""
    lossy = ("jpg", "libjpeg_turbo", "jpg_2000", "webp", "avif")
    return (_DECODER, PIL.__version__, *(f"{name} {features.version(name)}" for name in lossy))
