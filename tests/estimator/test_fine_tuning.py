"""Groups of parameters, and the head before the body."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from skinclf.estimator._fine_tuning import HeadFirst, parameter_groups
from skinclf.models import StandardizedNetwork, efficientnet_lite0


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5), nn.Linear(5, 2))


def test_every_trained_parameter_is_in_one_group():
    net = efficientnet_lite0((8, 8, 3), 7)
    net.stem.requires_grad_(False)
    groups = parameter_groups(net, lr=0.1, weight_decay=0.2, head=["output"], lower=0.5)
    seen = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(seen) == len(set(seen))
    assert set(seen) == {id(parameter) for name, parameter in net.named_parameters() if name != "stem.weight"}
    torch.optim.AdamW(groups)


def test_biases_and_norms_are_not_decayed():
    groups = parameter_groups(network(), lr=0.1, weight_decay=0.2)
    for group in groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.2}
    assert {group["weight_decay"] for group in groups} == {0.2, 0.0}


def test_rates_fall_from_the_head_down():
    net = network()
    groups = parameter_groups(net, lr=1.0, weight_decay=0.0, head=["4"], lower=0.5, n_bands=2)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    by_name = {name: rates[id(parameter)] for name, parameter in net.named_parameters()}
    # Six tensors below the head, in two bands.
    assert by_name == {
        "0.weight": 0.25, "0.bias": 0.25, "1.weight": 0.25, "1.bias": 0.5, "3.weight": 0.5, "3.bias": 0.5,
        "4.weight": 1.0, "4.bias": 1.0,
    }  # fmt: skip
    assert [group["lr"] for group in groups] == sorted(group["lr"] for group in groups)
    top = parameter_groups(net, lr=1.0, weight_decay=0.0, lower=0.5, n_bands=2)
    assert {group["lr"] for group in top} == {0.5, 1.0}
    assert {group["lr"] for group in parameter_groups(net, lr=1.0, weight_decay=0.0)} == {1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower": 0}, r"^lower must be in \(0, 1\]; got 0\.$"),
        ({"lower": 1.5}, r"^lower must be in \(0, 1\]; got 1\.5\.$"),
        ({"n_bands": 0}, r"^n_bands must be at least 1; got 0\.$"),
        ({"head": ["fc"]}, r"^The network has no layer 'fc' with parameters to be its head\.$"),
        ({"head": ["2"]}, r"^The network has no layer '2' with parameters"),
    ],
)
def test_messages(changes, message):
    with pytest.raises(ValueError, match=message):
        parameter_groups(network(), lr=0.1, weight_decay=0.1, **changes)


class Epochs:
    """A net in the epoch `number`."""

    def __init__(self, module):
        self.module_ = StandardizedNetwork(module, mean=[0.0] * 3, scale=[1.0] * 3)
        self.number = 1

    @property
    def history(self):
        return {(-1, "epoch"): self.number}


def trained(net):
    return [name for name, parameter in net.named_parameters() if parameter.requires_grad]


def test_the_head_is_trained_first_and_the_body_from_then_on():
    module = network()
    module[0].weight.requires_grad_(False)
    everything = trained(module)
    net, callback = Epochs(module), HeadFirst(["4"], epochs=2)
    callback.on_train_begin(net)
    found = []
    for net.number in (1, 2, 3):
        callback.on_epoch_begin(net)
        net.module_.train()
        found.append((trained(module), module[1].training, module[4].training))
    head = ["4.weight", "4.bias"]
    assert found == [(head, False, True), (head, False, True), (everything, True, True)]
    assert "0.weight" not in everything


def test_an_end_within_the_first_epochs_leaves_nothing_frozen():
    module = network()
    net, callback = Epochs(module), HeadFirst(["4"], epochs=9)
    callback.on_train_begin(net)
    callback.on_epoch_begin(net)
    callback.on_train_end(net)
    assert trained(module) == [name for name, _ in module.named_parameters()]
