"""Where and how precisely a network computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose_device(device: str) -> str:
    """Return the device that ``"auto"`` stands for here, or check the one that was asked for.

    Raises
    ------
    ValueError
        If the device does not exist on this machine.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} cannot be used on this machine: {error}") from error
    return device


def choose_precision(mixed_precision: bool | str, device: str) -> torch.dtype | None:
    """Return bfloat16 where the device multiplies it fast, else None for float32.

    A CPU without native bfloat16 is over 50 times slower in it, so that "auto" means a GPU only.

    Raises
    ------
    ValueError
        If mixed precision was asked for where it does not exist.
    """
    supported = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    if mixed_precision is True and not supported:
        raise ValueError(f"mixed_precision=True needs a GPU with bfloat16; the device is {device!r}. Use 'auto'.")
    return torch.bfloat16 if mixed_precision and supported else None


@contextmanager
def repeatable_kernels(device: str) -> Iterator[None]:
    """Let cuDNN take only kernels that give the same bits every time; what was set before comes back afterwards.

    The fastest kernels of a convolution's gradient add in the order in which threads happen to finish. On a
    processor there is nothing to set.
    """
    if not device.startswith("cuda"):
        yield
        return
    with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        yield
