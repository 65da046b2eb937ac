"""Out of memory: what torch and NumPy raise in many forms becomes one error that says what to change."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from skinclf._validation import ImageShape

_SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""What the RuntimeErrors say that torch raises for want of memory: of its CPU allocator on Linux and macOS, and on
Windows; of CUDA, HIP and MPS; and of cuBLAS and cuDNN."""


@contextmanager
def explain_out_of_memory(doing: str, *, device: str, batch_size: int, image_shape: ImageShape) -> Iterator[None]:
    """Turn every form of "out of memory" inside the block into a MemoryError that says what to change.

    The frames that the error came through let go of their variables: a notebook keeps the last error, and needs
    the memory for the next try.

    Parameters
    ----------
    doing : str
        What is done in the block, such as ``"training"``.
    device : str
        The torch device.
    batch_size : int
        Images in a batch.
    image_shape : tuple of int
        ``(height, width, channels)``.

    Raises
    ------
    MemoryError
        If memory ran out; the first line of the original message is in it. Other errors pass as they are.

    Examples
    --------
    >>> from skinclf.estimator._memory import explain_out_of_memory
    >>> with explain_out_of_memory("training", device="cuda", batch_size=256, image_shape=(224, 224, 3)):
    ...     raise RuntimeError("CUDA error: out of memory")
    Traceback (most recent call last):
    ...
    MemoryError: Out of memory while training on device 'cuda' with batch_size=256 and images of
    224 x 224 x 3 (height, width, channels). ...
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        message = out_of_memory_message(
            doing, device=device, batch_size=batch_size, image_shape=image_shape, cause=error
        )
        raise MemoryError(message) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the processor or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def out_of_memory_message(
    doing: str, *, device: str, batch_size: int, image_shape: ImageShape, cause: BaseException
) -> str:
    """Say what needed too much memory, what to change, and what the original error was.

    Parameters
    ----------
    doing, device, batch_size, image_shape
        As `explain_out_of_memory` takes them.
    cause : BaseException
        The original error.

    Returns
    -------
    str
        One line.
    """
    height, width, channels = image_shape
    processes = "fewer processes at a time (n_jobs of a search or cross-validation), each of which needs as much"
    last = f"{processes}" if device == "cpu" else f"{processes} of the GPU; or device='cpu'"
    original = next(iter(str(cause).splitlines()), "")
    return (
        f"Out of memory while {doing} on device {device!r} with batch_size={batch_size} and images of "
        f"{height} x {width} x {channels} (height, width, channels). Try a smaller batch_size; smaller images "
        f"(image_size) or a smaller network (architecture_params); {last}. "
        f"The cause: {type(cause).__name__}: {original}"
    )
