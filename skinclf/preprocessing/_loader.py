"""`ImageLoader`: image files in, one uint8 array out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
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

from skinclf._leakage import note_lesions
from skinclf._validation import read_input
from skinclf.preprocessing._cache import PixelCache, file_keys
from skinclf.preprocessing._decode import Crop, Decoder, decode_image
from skinclf.preprocessing._failures import ImageReadError, list_failures
from skinclf.preprocessing._image_rows import ImageRows
from skinclf.preprocessing._output import ImageOutputMixin
from skinclf.preprocessing._sources import Sources

_DECODER = "pillow 1"
"""Part of the name of a cache; raise it whenever `decode_image` makes other pixels of a file than before."""


class ImageLoader(ImageOutputMixin, BaseEstimator):
    """Read image files into one uint8 array of square RGB images.

    Nothing is learnt: ``transform`` works without ``fit``, and gives the same pixels at training and at
    prediction. Each image is scaled while it is decoded, one at a time, so that memory holds the result and no
    more.

    An image is given by its path; by ``archive.zip::name``, a member of a zip archive, which is not unpacked to
    the disk; or, where it has no path, by its bytes, an open binary file or a PIL image.

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
    decoder : {"pillow", "simplejpeg"}, default="pillow"
        What decodes JPEG files. ``"simplejpeg"``, a package that ``pip install "skinclf[fast]"`` brings, takes
        less time and gives the same pixels; see the notes. It is never chosen unless it is asked for.
    verbose : int, default=0
        1 shows a progress bar on standard error, which counts images.

    See Also
    --------
    ImageStandardizer : Standardise the channels of the result.
    ImageFlattener : Turn the result into rows, for classical models.

    Notes
    -----
    Both decoders wrap the library libjpeg-turbo, each a copy of its own. Their pixels were the same, bit for bit,
    wherever they were compared; as the versions of the copies may differ, what is promised is a difference of at
    most 1 in 255. simplejpeg is asked for sound JPEG files in grey or colour only. Everything else, also what is
    damaged, is left to Pillow, so that the errors are the same too.

    A member of an archive, and what is left of an open file, may have 256 MiB. An open file is read from where it
    stands, and stands there again afterwards, if it can be sought. A PIL image is loaded, if it was not yet, in
    the frame that it stands at, and otherwise left as it is. It is scaled from its full size, and so differs a
    little from its JPEG file, which is scaled while it is decoded.

    `cache_dir` may be shared by all loaders: each size, crop and version of the decoder has a folder of its own in
    there, of ``size * size * 3`` bytes an image. An image is known by its absolute path, size in bytes and time of
    the last change (those of the archive for its members), so that a file that was written anew is decoded anew.
    Images without a path are not kept: where ``X`` holds one, the call does without the cache. What is read from
    the cache is checked (CRC-32); what a killed process or a full disk left half-written is decoded again. Files
    that cannot be read are never kept. A cache that cannot be written to serves what it holds. It only grows, as a
    changed file leaves its old pixels behind; the folder may be deleted at any time, also while it is used (not so
    on Windows), but nothing in it may be edited or shortened.

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
        "decoder": [StrOptions({"pillow", "simplejpeg"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        size: int = 64,
        *,
        crop: Crop = "center",
        on_error: str = "raise",
        n_jobs: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        decoder: Decoder = "pillow",
        verbose: int = 0,
    ) -> None:
        self.size = size
        self.crop = crop
        self.on_error = on_error
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir
        self.decoder = decoder
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and that ``X`` holds files; none is opened.

        Parameters
        ----------
        X : DataFrame with a column ``image``, or list, Series or array
            For each image a path, ``archive.zip::name``, bytes, an open binary file or a PIL image.
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
        X : DataFrame with a column ``image``, or list, Series or array
            For each image a path, ``archive.zip::name``, bytes, an open binary file or a PIL image.

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
        ImportError
            If `decoder` is not installed.
        TimeoutError
            If another process that decodes into `cache_dir` has come to a halt, after ten minutes.
        """
        return self.load(X)[0]

    def load(self, X: Any) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """Read the images, and say which rows they are.

        Parameters
        ----------
        X : DataFrame with a column ``image``, or list, Series or array
            For each image a path, ``archive.zip::name``, bytes, an open binary file or a PIL image.

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
        OSError, ImportError, TimeoutError
            As `transform`.
        """
        images, rows = self.load_rows(X)
        pixels = np.asarray(images)
        note_lesions(pixels, X, rows)
        return pixels, rows

    def load_rows(self, X: Any) -> tuple[NDArray[np.uint8] | ImageRows, NDArray[np.intp]]:
        """Do what `load` does, but leave the images in the cache.

        Parameters
        ----------
        X : DataFrame with a column ``image``, or list, Series or array
            For each image a path, ``archive.zip::name``, bytes, an open binary file or a PIL image.

        Returns
        -------
        images : ImageRows of uint8, shape (n_read, size, size, 3)
            A read-only view of the memory map, which all processes share; without `cache_dir` an ndarray.
        rows : ndarray of int, shape (n_read,)
            The rows of ``X`` that were read.

        Raises
        ------
        ImageReadError, OSError, ImportError, TimeoutError
            As `load` does.
        """
        paths = self._paths(X)
        if self.cache_dir is None or not all(isinstance(path, str) for path in paths):
            with Sources() as sources, self._progress(len(paths)) as progress:
                images, failed = self._decode(paths, sources, count=progress and progress.advance)
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

    def _decode(
        self, paths: NDArray[Any], sources: Sources, *, pool: Any = None, count: Callable[[], None] | None = None
    ) -> tuple[NDArray[np.uint8], dict[int, str]]:
        """Return all images, and the cause for every row that could not be read (and is black)."""
        images = np.zeros((len(paths), self.size, self.size, 3), dtype=np.uint8)
        n_threads = self._n_threads()

        def decode_slice(rows: slice) -> dict[int, str]:
            failed = {}
            for row in range(rows.start, rows.stop):
                try:
                    images[row] = decode_image(paths[row], self.size, self.crop, self.decoder, sources)
                except ImageReadError as error:
                    failed[row] = str(error)
                if count is not None:
                    count()
            return failed

        causes = (pool or self._threads())(
            delayed(decode_slice)(rows) for rows in gen_even_slices(len(paths), min(len(paths), 4 * n_threads))
        )
        return images, {row: cause for part in causes for row, cause in part.items()}

    @contextmanager
    def _progress(self, n_images: int) -> Iterator[Any]:
        """Show a progress bar through the block, if `verbose` asks for one; None stands for no bar."""
        if not self.verbose:
            yield None
            return
        from skinclf.preprocessing._progress import ImageProgress  # only those who see it pay for the import

        progress = ImageProgress(n_images)
        try:
            yield progress
        finally:
            progress.close()

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
        cache = PixelCache(cache_dir, name, _decoder_versions(self.decoder), (self.size, self.size, 3))
        with Sources() as sources, self._threads() as pool, self._progress(len(paths)) as progress:

            def decode(chunk: NDArray[np.intp]) -> tuple[NDArray[np.uint8], dict[int, str]]:
                images, failed = self._decode(paths[chunk], sources, pool=pool)
                # Pixels of another state of the file must not get this state's key.
                for i in np.flatnonzero(file_keys(paths[chunk]) != keys[chunk]):
                    failed.setdefault(int(i), "it was changed while it was read")
                return images, failed

            return cache.load(keys, decode, progress and progress.show)

    def _paths(self, X: Any) -> NDArray[Any]:
        validate_parameter_constraints(self._parameter_constraints, self.get_params(deep=False), "ImageLoader")
        if self.decoder == "simplejpeg" and find_spec("simplejpeg") is None:
            raise ImportError(
                "decoder='simplejpeg' needs the package simplejpeg: pip install \"skinclf[fast]\". Or pass "
                "decoder='pillow', which gives the same pixels and takes longer."
            )
        paths = read_input(X).paths
        if paths is None:
            raise ValueError(
                "ImageLoader reads files: X must be a DataFrame with a column 'image', or a list, Series or array "
                f"of paths, bytes, open files or PIL images; got {type(X).__name__} of numbers. Arrays of pixels "
                "need no loader."
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


def _decoder_versions(decoder: Decoder) -> tuple[str, ...]:
    """Return everything that decides on the pixels of a file."""
    lossy = ("jpg", "libjpeg_turbo", "jpg_2000", "webp", "avif")
    versions = (_DECODER, PIL.__version__, *(f"{name} {features.version(name)}" for name in lossy))
    return versions if decoder == "pillow" else (*versions, f"{decoder} {metadata.version(decoder)}")
