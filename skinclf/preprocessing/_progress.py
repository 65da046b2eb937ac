"""A progress bar over images; only those who want to see one import this module, and tqdm with it."""

from __future__ import annotations

import sys
import threading

from tqdm import tqdm


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar that is not watched: tqdm's thread for that outlives every call, and ends in no fork."""

    monitor_interval = 0


class ImageProgress:
    """Counts images on standard error, for any number of threads.

    Parameters
    ----------
    n_images : int
        How many there will be.
    """

    def __init__(self, n_images: int) -> None:
        self._bar = _Bar(total=n_images, desc="Reading images", unit="image", file=sys.stderr, dynamic_ncols=True)
        self._lock = threading.Lock()

    def advance(self) -> None:
        """Count one more image."""
        with self._lock:
            self._bar.update()

    def show(self, n_done: int, n_images: int) -> None:
        """Say how many of how many images are there now."""
        with self._lock:
            self._bar.total = n_images
            self._bar.update(n_done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
