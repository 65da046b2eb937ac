"""`StandardizedNetwork`: uint8 and floats in, standardised floats to the network, float32 logits out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from skinclf._random import torch_generator
from skinclf.models import StandardizedNetwork, lesion_cnn

MEAN, SCALE = [0.7, 0.5, 0.4], [0.1, 0.2, 0.05]
IMAGES = torch.randint(0, 256, (5, 3, 8, 9), generator=torch_generator(0), dtype=torch.uint8)


class Look(nn.Module):
    """A network that returns the channel means of what it was given, and remembers it."""

    def forward(self, x):
        self.seen = x
        return x.mean(dim=(2, 3))


def looking(**options):
    return StandardizedNetwork(Look(), mean=MEAN, scale=SCALE, **options)


def test_the_network_sees_standardized_channels():
    module = looking()
    module(IMAGES)
    expected = (IMAGES / 255 - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(SCALE).reshape(3, 1, 1)
    torch.testing.assert_close(module.network.seen, expected)
    assert module.network.seen.dtype == torch.float32
    assert module.network.seen.is_contiguous(memory_format=torch.channels_last)


def test_uint8_and_floats_are_the_same_images():
    module = looking()
    torch.testing.assert_close(module(IMAGES / 255), module(IMAGES))
    images = IMAGES.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as they come from an array
    assert torch.equal(module(images), module(IMAGES))


def test_one_channel():
    module = StandardizedNetwork(Look(), mean=[0.5], scale=[0.25])
    assert module(torch.full((1, 1, 8, 8), 0.75)).item() == pytest.approx(1)


def test_weights_are_handed_on_and_change_nothing():
    module = looking()
    weight = torch.tensor([1.0, 2, 3, 4, 5])
    logits, handed_on = module(IMAGES, weight)
    assert handed_on is weight
    assert torch.equal(logits, module(IMAGES))


def test_mean_and_scale_are_state_but_nothing_to_train():
    module = looking()
    assert not list(module.parameters())
    state = module.state_dict()
    assert state["mean"].flatten().tolist() == pytest.approx(MEAN)
    assert state["scale"].flatten().tolist() == pytest.approx(SCALE)
    other = StandardizedNetwork(Look(), mean=[0, 0, 0], scale=[1, 1, 1])
    other.load_state_dict(state)
    assert torch.equal(other(IMAGES), module(IMAGES))


def test_logits_are_float32_at_lower_precision_too():
    network = lesion_cnn((16, 16, 3), 2, width=4, generator=torch_generator(0))
    images = torch.randint(0, 256, (4, 3, 16, 16), generator=torch_generator(1), dtype=torch.uint8)
    exact = StandardizedNetwork(network, mean=MEAN, scale=SCALE).eval()(images)
    rough = StandardizedNetwork(network, mean=MEAN, scale=SCALE, autocast_dtype=torch.bfloat16).eval()(images)
    assert exact.dtype == rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.1)
