"""`FusedNetwork`: at first the image network alone, then its logits plus what the metadata say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from skinclf._random import torch_generator
from skinclf.models import FusedNetwork, StandardizedNetwork, lesion_cnn
from skinclf.models._fusion import MetadataDropout

IMAGES = torch.rand((6, 3, 8, 8), generator=torch_generator(0))
METADATA = torch.rand((6, 4), generator=torch_generator(1))


class Mean(nn.Module):
    """Logits that are the means of the channels."""

    def forward(self, images):
        return images.mean(dim=(2, 3))


def network(n_features=4, n_classes=3, *, image_network=None, seed=0, **params):
    return FusedNetwork(image_network or Mean(), n_features, n_classes, generator=torch_generator(seed), **params)


def trained(**params):
    """A fused network whose last layer is no longer zero."""
    fused = network(**params).eval()
    nn.init.normal_(fused.perceptron.output.weight, generator=torch_generator(3))
    nn.init.normal_(fused.perceptron.output.bias, generator=torch_generator(4))
    return fused


@pytest.mark.parametrize("is_training", [True, False])
def test_before_any_training_it_is_the_image_network(is_training):
    image_network = lesion_cnn((8, 8, 3), 3, width=8, depth=1, dropout=0.0, generator=torch_generator(0))
    fused = network(image_network=image_network).train(is_training)
    assert torch.equal(fused(IMAGES, METADATA), image_network(IMAGES))


def test_the_logits_are_a_sum_that_can_be_computed_by_hand():
    fused = network(n_features=2, hidden=2).eval()
    first, last = fused.perceptron.hidden, fused.perceptron.output
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        last.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        last.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))
    offsets = fused(IMAGES[:2], torch.tensor([[3.0, 7.0], [0.0, 0.0]])) - fused.network(IMAGES[:2])
    torch.testing.assert_close(offsets, torch.tensor([[6.0, 0.0, 5.0], [0.0, 0.0, 5.0]]))


def test_metadata_that_nobody_knows_add_one_constant_to_every_image():
    fused = trained()
    offsets = fused(IMAGES) - fused.network(IMAGES)
    torch.testing.assert_close(offsets, offsets[:1].expand(6, 3))
    assert offsets.abs().min() > 0
    assert torch.equal(fused(IMAGES), fused(IMAGES, torch.zeros(6, 4)))


def test_images_and_metadata_are_of_the_same_row():
    fused, order = trained(), torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(fused(IMAGES[order], METADATA[order]), fused(IMAGES, METADATA)[order])
    assert not torch.allclose(fused(IMAGES, METADATA[order]), fused(IMAGES, METADATA))


def test_weights_come_from_the_generator_alone(no_global_randomness):
    one, same, other = network().perceptron, network().perceptron, network(seed=1).perceptron
    assert torch.equal(one.hidden.weight, same.hidden.weight)
    assert not torch.equal(one.hidden.weight, other.hidden.weight)
    assert all(not value.any() for value in (one.hidden.bias, one.output.weight, one.output.bias))
    wide = network(n_features=8, hidden=2000).perceptron.hidden.weight
    assert wide.std().item() == pytest.approx(0.5, rel=0.05)  # sqrt(2 / 8)


def test_both_parts_learn():
    fused = FusedNetwork(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), 4, 3, generator=torch_generator(0))
    optimizer = torch.optim.SGD(fused.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in fused.named_parameters()}
    for _ in range(2):  # the zeros of the last layer keep the first one still in the first step
        nn.functional.cross_entropy(fused(IMAGES, METADATA), torch.arange(6) % 3).backward()
        optimizer.step()
    assert [name for name, value in fused.named_parameters() if torch.equal(value, before[name])] == []


def test_metadata_are_forgotten_as_a_whole_at_the_share_that_was_asked_for(no_global_randomness):
    dropout = MetadataDropout(0.2)
    dropout.generator = torch_generator(0)
    rows = torch.full((10_000, 5), 0.7)
    left = dropout(rows)
    is_kept = left.ne(0).all(dim=1)
    assert torch.equal(left[is_kept], rows[is_kept])  # not rescaled
    assert not left[~is_kept].any()
    assert 1 - is_kept.float().mean().item() == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 10_000) ** 0.5)
    dropout.generator = torch_generator(0)
    assert torch.equal(dropout(rows), left)


@pytest.mark.parametrize(("p", "is_training"), [(0.5, False), (0.0, True)])
def test_nothing_is_forgotten_in_evaluation_or_at_a_share_of_zero(p, is_training, no_global_randomness):
    assert MetadataDropout(p).train(is_training)(METADATA) is METADATA


def test_a_standardized_network_hands_metadata_and_weights_on():
    fused = trained()
    module = StandardizedNetwork(fused, mean=[0.5] * 3, scale=[0.25] * 3).eval()
    weight = torch.arange(6.0)
    logits, handed_on = module(IMAGES, weight=weight, metadata=METADATA)
    assert handed_on is weight
    torch.testing.assert_close(logits, fused((IMAGES - 0.5) / 0.25, METADATA))
    torch.testing.assert_close(module(IMAGES), fused((IMAGES - 0.5) / 0.25, torch.zeros(6, 4)))


def test_half_precision_of_the_network_gives_float32_logits():
    module = StandardizedNetwork(trained(), mean=[0.5] * 3, scale=[0.25] * 3).eval()
    exact = module(IMAGES, metadata=METADATA)
    module.autocast_dtype = torch.bfloat16
    rough = module(IMAGES, metadata=METADATA)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_features": 0}, r"^n_features, n_classes and hidden must be at least 1; got 0, 3, 32\.$"),
        ({"hidden": 0}, r"^n_features, n_classes and hidden must be at least 1; got 4, 3, 0\.$"),
        ({"dropout": 1.0}, r"^dropout must be in \[0, 1\); got 1\.0\.$"),
    ],
    ids=["features", "hidden", "dropout"],
)
def test_wrong_sizes_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        network(**params)
