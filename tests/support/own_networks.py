"""Networks as a user may write them. They live here so that worker processes can load them by name."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import torch
from torch import Tensor, nn


def dropout_network(image_shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """Draw everything from torch's global generator: the first weights, and dropout in every batch."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(image_shape), 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, n_classes)
    )


class OutOfMemory(nn.Module):
    """A network for which there is no memory.

    Parameters
    ----------
    kind : {"cpu", "gpu"}
        ``"cpu"`` asks for 2**48 bytes, which no address space of today holds; ``"gpu"`` raises what torch raises
        when the memory of a GPU is used up.
    """

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, kind: str) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(image_shape), n_classes)
        self.kind = kind

    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "gpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has 11.6 GiB.")
        return self.linear(images.flatten(1)) + torch.empty(2**46).sum()


class KilledWhile(nn.Module):
    """Die in the fifth training batch, in any process but `spare`, while the file `flag` exists.

    It is how the kernel ends a process when memory is short.
    """

    n_batches = 0
    """Training batches in this process, of all networks."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, *, flag: str, spare: int) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(image_shape), n_classes)
        self.flag, self.spare, self.n_own = Path(flag), spare, 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            KilledWhile.n_batches += 1
            self.n_own += 1
            if self.n_own == 5 and os.getpid() != self.spare and self.flag.exists():
                os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(images.flatten(1))
