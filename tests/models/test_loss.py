"""`WeightedCrossEntropy` equals the sum on paper."""

from __future__ import annotations

import math

import pytest
import torch

from skinclf._random import torch_generator
from skinclf.models import WeightedCrossEntropy

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [-3.0, 1.0, 0.0]])
TARGET = torch.tensor([0, 2, 1])
WEIGHT = torch.tensor([1.0, 0.0, 2.5])


def by_hand(smoothing=0.0):
    """Return the loss of every image, computed with floats."""
    losses = []
    for row, target in zip(LOGITS.tolist(), TARGET.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        log_probability = [value - log_sum for value in row]
        mixed = [(1 - smoothing) * (i == target) + smoothing / 3 for i in range(3)]
        losses.append(-sum(share * value for share, value in zip(mixed, log_probability, strict=True)))
    return losses


@pytest.mark.parametrize("training", [True, False])
def test_weighted_mean_over_the_number_of_images(training):
    loss = WeightedCrossEntropy().train(training)((LOGITS, WEIGHT), TARGET)
    expected = sum(weight * value for weight, value in zip(WEIGHT.tolist(), by_hand(), strict=True)) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_without_weights_it_is_plain_cross_entropy():
    loss = WeightedCrossEntropy()
    assert float(loss(LOGITS, TARGET)) == pytest.approx(sum(by_hand()) / 3, rel=1e-6)
    assert float(loss((LOGITS, torch.ones(3)), TARGET)) == pytest.approx(float(loss(LOGITS, TARGET)))
    assert float(loss(LOGITS, TARGET)) == pytest.approx(float(torch.nn.CrossEntropyLoss()(LOGITS, TARGET)))


def test_labels_are_smoothed_in_training_only():
    loss = WeightedCrossEntropy(label_smoothing=0.3)
    assert float(loss.train()(LOGITS, TARGET)) == pytest.approx(sum(by_hand(0.3)) / 3, rel=1e-6)
    assert float(loss.eval()(LOGITS, TARGET)) == pytest.approx(sum(by_hand()) / 3, rel=1e-6)


def test_the_weight_of_an_image_scales_its_gradient_and_zero_removes_it():
    def gradient(weight):
        logits = LOGITS.clone().requires_grad_()
        WeightedCrossEntropy()((logits, weight), TARGET).backward()
        return logits.grad

    plain, weighted = gradient(torch.ones(3)), gradient(WEIGHT)
    torch.testing.assert_close(weighted, plain * WEIGHT[:, None])
    assert (weighted[1] == 0).all()


def test_the_mean_over_batches_is_the_mean_over_the_set():
    # That is why the sum is not divided by the batch's own weights, as torch's class weights are.
    generator = torch_generator(0)
    logits, weight = torch.randn(60, 3, generator=generator), torch.rand(60, generator=generator)
    target = torch.randint(0, 3, (60,), generator=generator)
    loss = WeightedCrossEntropy()
    batches = [loss((logits[i : i + 10], weight[i : i + 10]), target[i : i + 10]) for i in range(0, 60, 10)]
    torch.testing.assert_close(torch.stack(batches).mean(), loss((logits, weight), target))
    assert loss((logits, weight), target).ndim == 0


def test_soft_targets_are_weighed_by_their_shares():
    one_hot = torch.nn.functional.one_hot(TARGET, 3).float()
    even = torch.full((3, 3), 1 / 3)
    loss = WeightedCrossEntropy()
    torch.testing.assert_close(loss((LOGITS, WEIGHT), one_hot), loss((LOGITS, WEIGHT), TARGET))
    expected = 0.7 * loss(LOGITS, one_hot) + 0.3 * loss(LOGITS, even)
    torch.testing.assert_close(loss(LOGITS, 0.7 * one_hot + 0.3 * even), expected)
