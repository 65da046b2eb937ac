"""Averaged weights: the formula, and what training, validation and the end of a fit see of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from skinclf.estimator._weight_average import WeightAverage


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5), nn.Linear(5, 2))


def filled(module, value):
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)
    return module


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_is_that_of_the_formula(decay):
    module = filled(network(), 0)
    average = WeightAverage(module, decay)
    expected = 0.0
    for n, value in enumerate([1.0, 3.0, -2.0, 5.0], start=1):
        average.update(filled(module, value))
        kept = min(decay, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * value
    average.copy_to(module)
    np.testing.assert_allclose(module[0].weight.detach(), expected, rtol=1e-6)
    np.testing.assert_allclose(module[1].running_mean, expected, rtol=1e-6)
    assert module[1].num_batches_tracked == 5  # a count is copied


def test_a_resumed_average_goes_on():
    def updated(average, values):
        for value in values:
            average.update(filled(network(), value))
        return average

    whole = updated(WeightAverage(filled(network(), 0)), [1, 2, 3])
    first = updated(WeightAverage(filled(network(), 0)), [1, 2])
    resumed = WeightAverage(network())
    resumed.load_state_dict(first.state_dict())
    updated(resumed, [3])
    ours, theirs = whole.state_dict(), resumed.state_dict()
    assert ours["n_updates"] == theirs["n_updates"] == 3
    assert all(torch.equal(ours["average"][name], theirs["average"][name]) for name in ours["average"])


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_the_decay_is_a_share(decay):
    with pytest.raises(ValueError, match=r"^decay must be in \[0, 1\); got"):
        WeightAverage(network(), decay)
