"""From one ``random_state`` to independent, explicit generators; no global random state is read or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

RandomStateLike: TypeAlias = int | np.integer | np.random.RandomState | np.random.Generator | None


def spawn_seeds(random_state: RandomStateLike, n_seeds: int) -> list[int]:
    """Derive independent seeds for the separate uses of randomness in one fit.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        An integer always gives the same seeds. A ``RandomState`` or ``Generator`` is drawn from once, so that
        a second call gives other seeds, as everywhere in scikit-learn. ``None`` takes fresh entropy from the
        operating system; unlike scikit-learn's ``check_random_state`` it leaves ``numpy.random`` alone.
    n_seeds : int
        How many seeds.

    Returns
    -------
    list of int
        Seeds in ``[0, 2**63)``.

    Raises
    ------
    ValueError
        If ``random_state`` is none of the above.

    Examples
    --------
    >>> from skinclf._random import spawn_seeds
    >>> spawn_seeds(0, 2) == spawn_seeds(0, 2)
    True
    >>> spawn_seeds(0, 3)[:2] == spawn_seeds(0, 2)  # a new use does not disturb the others
    True
    """
    if random_state is None:
        sequence = np.random.SeedSequence()
    elif isinstance(random_state, np.random.RandomState):
        sequence = np.random.SeedSequence(int(random_state.randint(0, 2**31 - 1)))
    elif isinstance(random_state, np.random.Generator):
        sequence = np.random.SeedSequence(int(random_state.integers(0, 2**31 - 1)))
    elif isinstance(random_state, int | np.integer) and random_state >= 0:
        sequence = np.random.SeedSequence(int(random_state))
    else:
        raise ValueError(
            "random_state must be None, an integer >= 0, a numpy RandomState or a numpy Generator; "
            f"got {random_state!r}."
        )
    return [int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)) for child in sequence.spawn(n_seeds)]


def torch_generator(seed: int) -> torch.Generator:
    """Return a CPU torch generator with this seed.

    Everything random is drawn on the CPU and then moved, so that a GPU run draws what a CPU run draws.
    """
    import torch

    generator = torch.Generator(device="cpu")
    generator.manual_seed(seed)
    return generator
