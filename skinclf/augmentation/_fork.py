"""A forked process computes on one thread: those of its parent do not exist in it, whatever OpenMP believes."""

from __future__ import annotations

import os

import torch


def compute_on_one_thread() -> None:
    """Tell torch in a forked child; its first parallel loop would wait for its parent's threads for ever.

    The data-loading workers of torch do the same.
    """
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=compute_on_one_thread)
