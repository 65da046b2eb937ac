"""Everything random in a fit: one seed for each use, and generators that depend on the number of the epoch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from skinclf._random import spawn_seeds, torch_generator


@dataclass(frozen=True)
class FitSeeds:
    """One seed for each use of randomness in a fit, so that none of them disturbs another."""

    holdout: int
    weights: int
    dropout: int
    shuffle: int
    augmentation: int
    torch: int
    mixing: int

    @classmethod
    def spawn(cls, random_state: Any) -> FitSeeds:
        """Derive the seeds from ``random_state``."""
        return cls(*spawn_seeds(random_state, len(fields(cls))))


class EpochDraws(Callback):
    """The generators of the current epoch; as a skorch callback it moves on with every epoch.

    Those of each epoch depend on its number and on the seeds of the fit, and on nothing that was drawn before: a
    run that is resumed after epoch 7 draws for epoch 8 what it would have drawn anyway.

    Parameters
    ----------
    seeds : FitSeeds
        Of the fit.
    seed_torch : bool, default=False
        Whether torch's global generators are to be seeded too, for a network that draws from them. To be used
        inside `seeded_torch`.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    order : numpy.random.Generator
        For the order of the images.
    augmentation : torch.Generator
        For what is drawn for each image.
    mixing : torch.Generator
        For how the images of a batch are mixed.
    dropout : torch.Generator
        For `skinclf.models.SeededDropout`; the same object in every epoch.
    """

    def __init__(self, seeds: FitSeeds, *, seed_torch: bool = False) -> None:
        self.seeds = seeds
        self.seed_torch = seed_torch
        self.dropout = torch_generator(seeds.dropout)
        self.begin(1)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Go to the epoch that skorch begins."""
        self.begin(net.history[-1, "epoch"])

    def begin(self, epoch: int) -> None:
        """Go to the beginning of an epoch, counted from 1."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seeds.shuffle, epoch])
        self.augmentation = torch_generator(_of_epoch(self.seeds.augmentation, epoch))
        self.mixing = torch_generator(_of_epoch(self.seeds.mixing, epoch))
        self.dropout.manual_seed(_of_epoch(self.seeds.dropout, epoch))
        if self.seed_torch:
            torch.manual_seed(_of_epoch(self.seeds.torch, epoch))


def _of_epoch(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


_torch_lock = threading.RLock()


def _unlock_after_fork() -> None:
    """Give a forked child a lock of its own: the thread that holds its parent's does not exist in it."""
    global _torch_lock
    _torch_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Give torch's global generators a seed, and their old state back afterwards.

    Our own parts draw from generators of their own; this is for what a user's module draws by itself. The global
    generators are one for all threads, so that a second thread waits here.
    """
    with _torch_lock, torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
