"""`lesion_cnn`: what it takes, what it returns, and that one seed always gives the same network."""

from __future__ import annotations

import re

import pytest
import torch

from skinclf._random import torch_generator
from skinclf.models import lesion_cnn
from skinclf.models._lesion_cnn import SeededDropout

SIDES = [8, 16, 28, 64, 100, 256]


def network(image_shape=(16, 16, 3), n_classes=4, seed=0, **parameters):
    return lesion_cnn(image_shape, n_classes, generator=torch_generator(seed), **{"width": 8, **parameters})


def noise(n_images, height, width, channels, seed=1):
    return torch.randn((n_images, channels, height, width), generator=torch_generator(seed))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "sides", [*((side, side) for side in SIDES), (1, 1), (1, 2), (1, 10), (1, 1000), (2, 2), (64, 9), (30, 47)]
)
def test_every_size_gives_finite_logits_and_gradients(sides, channels, training):
    net = network((*sides, channels)).train(training)
    logits = net(noise(2, *sides, channels))
    assert logits.shape == (2, 4)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    logits.square().sum().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("side", [8, 64])
def test_a_network_for_one_size_runs_on_others(side):
    net = network((side, side, 3)).eval()
    for other in (8, 33, 64):
        assert net(noise(2, other, other, 3)).shape == (2, 4)


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("sides", [(8, 8), (64, 64), (1, 3)])
def test_every_depth(sides, depth):
    assert network((*sides, 1), depth=depth)(noise(3, *sides, 1)).shape == (3, 4)


def test_width_and_depth_make_it_larger():
    def size(**parameters):
        return sum(parameter.numel() for parameter in network(**parameters).parameters())

    assert size(width=8) < size(width=16) < size(width=16, depth=4)


def test_in_evaluation_an_image_does_not_depend_on_the_others():
    net = network().eval()
    images = noise(6, 16, 16, 3)
    together = net(images)
    alone = torch.cat([net(image[None]) for image in images])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=1e-5)
    assert torch.equal(net(images), together)


def test_new_networks_are_undecided():
    # Untrained, every class must have about the same probability, whatever the image: the loss starts at log(n).
    for side in (8, 64):
        logits = network((side, side, 3), n_classes=7, width=16).eval()(noise(20, side, side, 3))
        probabilities = logits.detach().softmax(1)
        assert float(probabilities.min()) > 0.05
        assert float(probabilities.max()) < 0.35


@pytest.mark.usefixtures("no_global_randomness")
def test_one_seed_one_network_whatever_happened_before():
    first = network().state_dict()
    second = network().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = network(seed=1).state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_training_with_a_generator_of_its_own_leaves_the_global_one_alone():
    before = torch.random.get_rng_state()
    net = network(dropout=0.5).train()
    for module in net.modules():
        if isinstance(module, SeededDropout):
            module.generator = torch_generator(5)
    net(noise(4, 16, 16, 3)).sum().backward()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.usefixtures("no_global_randomness")
def test_every_weight_is_drawn_or_set():
    # The layers are made without memory and filled later; what was forgotten would hold whatever lay there.
    for name, value in network().state_dict().items():
        assert value.isfinite().all(), name
        if value.ndim > 1:
            assert 0.001 < float(value.std()) < 2, name


def test_without_a_generator_the_global_one_counts():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = lesion_cnn((8, 8, 3), 2, width=4).state_dict()
        torch.manual_seed(3)
        second = lesion_cnn((8, 8, 3), 2, width=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_state_can_be_saved_and_loaded():
    source, target = network(), network(seed=9)
    source.train()(noise(8, 16, 16, 3))  # batch statistics are part of the state
    target.load_state_dict(source.state_dict())
    images = noise(3, 16, 16, 3, seed=2)
    assert torch.equal(source.eval()(images), target.eval()(images))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"width": 0}, "width and depth of lesion_cnn must be at least 1; got width=0, depth=3."),
        ({"depth": 0}, "width and depth of lesion_cnn must be at least 1; got width=8, depth=0."),
        ({"dropout": 1}, "dropout of lesion_cnn must be in [0, 1); got 1."),
        ({"dropout": -0.1}, "dropout of lesion_cnn must be in [0, 1); got -0.1."),
        ({"dropout": float("nan")}, "dropout of lesion_cnn must be in [0, 1); got nan."),
    ],
)
def test_messages(parameters, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(**parameters)


class TestSeededDropout:
    def dropout(self, p, seed=0):
        layer = SeededDropout(p)
        layer.generator = torch_generator(seed)
        return layer

    @pytest.mark.usefixtures("no_global_randomness")
    @pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
    def test_share_and_scale(self, p):
        values = torch.full((200, 500), 2.0)
        result = self.dropout(p)(values)
        zero = result == 0
        assert float(zero.float().mean()) == pytest.approx(p, abs=0.01)
        torch.testing.assert_close(result[~zero], torch.full_like(result[~zero], 2 / (1 - p)))
        assert float(result.mean()) == pytest.approx(2, rel=0.03)
        # Neither rows nor columns are dropped as a whole.
        assert float(zero.float().mean(0).std()) < 0.06
        assert float(zero.float().mean(1).std()) < 0.06

    def test_masks_come_from_its_generator_and_differ_from_call_to_call(self):
        values = torch.ones(10, 40)
        layer, same, other = self.dropout(0.5), self.dropout(0.5), self.dropout(0.5, seed=1)
        first, second = layer(values), layer(values)
        assert not torch.equal(first, second)
        assert torch.equal(same(values), first)
        assert torch.equal(same(values), second)
        assert not torch.equal(other(values), first)

    def test_gradients_flow_where_values_do(self):
        values = torch.ones(10, 40, requires_grad=True)
        result = self.dropout(0.5)(values)
        result.sum().backward()
        assert torch.equal(values.grad, result.detach())

    @pytest.mark.parametrize("shape", [(1,), (3, 4), (2, 3, 4, 5)])
    def test_evaluation_and_zero_change_nothing_and_draw_nothing(self, shape):
        values = torch.ones(shape)
        for layer in (self.dropout(0.5).eval(), self.dropout(0.0)):
            before = layer.generator.get_state()
            assert layer(values) is values
            assert torch.equal(layer.generator.get_state(), before)
        assert self.dropout(0.5)(values).shape == shape

    def test_repr_names_the_probability(self):
        assert repr(SeededDropout(0.25)) == "SeededDropout(p=0.25)"
