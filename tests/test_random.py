"""One `random_state`, many independent generators, and a global state that nobody touches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skinclf._random import spawn_seeds, torch_generator


def test_same_integer_same_seeds_whatever_kind_of_integer():
    assert spawn_seeds(7, 4) == spawn_seeds(np.int64(7), 4) == spawn_seeds(np.uint8(7), 4)


def test_seeds_differ_from_each_other_and_between_states():
    seeds = [seed for state in range(200) for seed in spawn_seeds(state, 5)]
    assert len(set(seeds)) == 1000
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    # 1000 values that were uniform would leave none of eight equal intervals to itself.
    counts = np.bincount([seed >> 60 for seed in seeds], minlength=8)
    assert counts.min() > 80


def test_a_further_use_leaves_the_earlier_seeds_alone():
    many = spawn_seeds(3, 10)
    assert all(spawn_seeds(3, n) == many[:n] for n in range(10))


def test_streams_of_neighbouring_states_are_not_correlated():
    streams = [
        torch.rand(4000, generator=torch_generator(seed)).numpy()
        for state in range(5)
        for seed in spawn_seeds(state, 2)
    ]
    correlations = np.corrcoef(streams)[np.triu_indices(10, 1)]
    # The standard error of one correlation is 1 / sqrt(4000) = 0.016.
    assert np.abs(correlations).max() < 0.07


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng], ids=["RandomState", "Generator"])
def test_generator_objects_are_drawn_from(make):
    state = make(0)
    first, second = spawn_seeds(state, 3), spawn_seeds(state, 3)
    assert first != second
    again = make(0)
    assert [spawn_seeds(again, 3), spawn_seeds(again, 3)] == [first, second]


def test_none_takes_fresh_entropy_each_time():
    assert spawn_seeds(None, 2) != spawn_seeds(None, 2)


@pytest.mark.usefixtures("no_global_randomness")
@pytest.mark.parametrize("state", [None, 0, 2**40])
def test_global_generators_are_neither_read_nor_changed(state):
    before = np.random.get_state()  # noqa: NPY002
    torch.rand(3, generator=torch_generator(spawn_seeds(state, 1)[0]))
    # A draw that does not use up the block of 624 numbers moves the position in it only.
    assert np.random.get_state()[2:] == before[2:]  # noqa: NPY002


def test_global_seed_does_not_matter():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = torch.rand(3, generator=torch_generator(5))
        torch.manual_seed(2)
        assert torch.equal(first, torch.rand(3, generator=torch_generator(5)))


def test_largest_seed_is_one_that_torch_takes():
    assert torch_generator(2**63 - 1).initial_seed() == 2**63 - 1


@pytest.mark.parametrize("wrong", [-1, 1.5, "0", np.random, [0]], ids=["-1", "1.5", "str", "module", "list"])
def test_anything_else_is_refused_by_name(wrong):
    with pytest.raises(
        ValueError, match="random_state must be None, an integer >= 0, a numpy RandomState"
    ) as caught:
        spawn_seeds(wrong, 1)
    assert f"got {wrong!r}." in str(caught.value)
