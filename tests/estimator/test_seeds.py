"""What is drawn in an epoch depends on its number and the seeds, and on nothing that happened before."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
import torch

from skinclf.estimator._seeds import EpochDraws, FitSeeds, seeded_torch


def draw(draws):
    return (
        draws.order.integers(0, 2**60, 3).tolist(),
        torch.rand(3, generator=draws.augmentation).tolist(),
        torch.rand(3, generator=draws.dropout).tolist(),
        torch.rand(3, generator=draws.mixing).tolist(),
    )


def test_an_epoch_draws_the_same_whatever_was_drawn_before():
    seeds = FitSeeds.spawn(0)
    one_by_one, straight_there = EpochDraws(seeds), EpochDraws(seeds)
    for epoch in (1, 2, 3):
        one_by_one.begin(epoch)
        drawn = draw(one_by_one)
    straight_there.begin(3)
    assert draw(straight_there) == drawn


def test_epochs_and_seeds_differ_in_everything():
    drawn = []
    for seed in (0, 1):
        draws = EpochDraws(FitSeeds.spawn(seed))
        for epoch in (1, 2):
            draws.begin(epoch)
            drawn.append(draw(draws))
    for use in zip(*drawn, strict=True):
        assert len({tuple(values) for values in use}) == 4


def test_dropout_layers_keep_their_generator_through_the_epochs():
    draws = EpochDraws(FitSeeds.spawn(0))
    generator = draws.dropout
    draws.begin(5)
    assert draws.dropout is generator


@pytest.mark.usefixtures("no_global_randomness")
def test_torchs_global_generator_is_seeded_on_demand_and_given_back():
    seeds = FitSeeds.spawn(0)
    values = []
    for _ in range(2):
        with seeded_torch(seeds.torch):
            draws = EpochDraws(seeds, seed_torch=True)
            torch.rand(7)
            draws.begin(2)
            values.append(torch.rand(3).tolist())
    assert values[0] == values[1]
    EpochDraws(seeds).begin(2)


def test_threads_wait_for_torchs_global_generator():
    def work(results):
        with seeded_torch(3):
            results.append([float(torch.rand(())) for _ in range(2000)])

    results: list[list[float]] = []
    threads = [threading.Thread(target=work, args=(results,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results[0], results[1])
    assert len({tuple(values) for values in results}) == 1


def test_draws_survive_pickling():
    draws = EpochDraws(FitSeeds.spawn(0))
    assert draw(pickle.loads(pickle.dumps(draws))) == draw(draws)
