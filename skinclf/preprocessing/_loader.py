"""`ImageLoader`: paths in, one uint8 array out."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_even_slices
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from skinclf._validation import read_input
from skinclf.preprocessing._decode import Crop, ImageReadError, decode_image

_FILES_IN_A_MESSAGE = 10


class ImageLoader(TransformerMixin, BaseEstimator):
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

    See Also
    --------
    ImageStandardizer : Standardise the channels of the result.
    ImageFlattener : Turn the result into rows, for classical models.

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
    }

    def __init__(
        self, size: int = 64, *, crop: Crop = "center", on_error: str = "raise", n_jobs: int | None = None
    ) -> None:
        self.size = size
        self.crop = crop
        self.on_error = on_error
        self.n_jobs = n_jobs

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
        """
        paths = self._paths(X)
        images = np.zeros((len(paths), self.size, self.size, 3), dtype=np.uint8)
        n_threads = effective_n_jobs(self.n_jobs)
        # Threads, whatever backend the caller chose: processes would fill copies of `images`.
        causes = Parallel(n_jobs=n_threads, require="sharedmem")(
            delayed(_decode_slice)(paths, images, rows, self.size, self.crop)
            for rows in gen_even_slices(len(paths), min(len(paths), 4 * n_threads))
        )
        failed = {row: cause for part in causes for row, cause in part.items()}
        if not failed:
            return images, np.arange(len(paths))
        message = _list_failures(paths, failed)
        if self.on_error == "raise" or len(failed) == len(paths):
            raise ImageReadError(message)
        warnings.warn(message + "\nThey are left out.", UserWarning, stacklevel=3)
        kept = np.setdiff1d(np.arange(len(paths)), list(failed))
        return images[kept], kept

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


def _list_failures(paths: NDArray[Any], failed: dict[int, str]) -> str:
    lines = [f"  row {row}: {paths[row]}: {failed[row]}" for row in sorted(failed)[:_FILES_IN_A_MESSAGE]]
    if len(failed) > _FILES_IN_A_MESSAGE:
        lines.append(f"  and {len(failed) - _FILES_IN_A_MESSAGE} more")
    return f"{len(failed)} of {len(paths)} images could not be read:\n" + "\n".join(lines)
