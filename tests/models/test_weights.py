"""Files of weights: what is read, what fits, and what is said of the rest."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

from skinclf.models import WeightsReport, load_weights
from skinclf.models._weights import fit_channels, read_weights


def network(n_outputs=3, width=4):
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, width, 3),
            norm=nn.BatchNorm2d(width),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(width, n_outputs),
        )
    )


def filled(value, **parameters):
    return {name: torch.full_like(tensor, value) for name, tensor in network(**parameters).state_dict().items()}


BODY = ("stem.weight", "stem.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
COUNTER = "norm.num_batches_tracked"


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_state_dict_is_read_alone_or_under_a_name(wrap, legacy, tmp_path):
    state = filled(2)
    content = state if wrap is None else {"epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}, wrap: state}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)

    read = read_weights(tmp_path / "x.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_safetensors_are_read(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(filled(2), tmp_path / "x")
    assert read_weights(tmp_path / "x").keys() == filled(2).keys()
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"x is damaged, or no safetensors file: .* Copy it again\.$"):
        read_weights(tmp_path / "x")


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    torch.save(filled(1), tmp_path / "x.pth")
    assert COUNTER in read_weights("~/x.pth")


class Bomb:
    exploded = False

    def __reduce__(self):
        return (setattr, (Bomb, "exploded", True))


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    for name, write in (
        ("torch", lambda path: torch.save({"weight": torch.ones(1), "x": Bomb()}, path)),
        ("pickle", lambda path: path.write_bytes(pickle.dumps({"x": Bomb()}))),
        ("whole", lambda path: torch.save(network(), path)),
    ):
        write(tmp_path / name)
        with pytest.raises(ValueError, match=r"holds more than tensors.*torch\.save\(network\.state_dict"):
            read_weights(tmp_path / name)
    assert not Bomb.exploded


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>not found</html>"], ids=str)
def test_what_is_no_file_of_weights_is_refused_by_name(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'x.pth'} ")):
        read_weights(tmp_path / "x.pth")


def test_what_holds_no_tensors_or_broken_ones_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match=r"empty\.pth holds no tensors by name\. Save the network's state_dict"):
        read_weights(tmp_path / "empty.pth")
    torch.save({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match="has values in b that are not finite"):
        read_weights(tmp_path / "nan.pth")
    with pytest.raises(FileNotFoundError, match=r"missing\.pth"):
        read_weights(tmp_path / "missing.pth")


def test_everything_but_the_head_is_taken_over():
    net = network()
    before = net.fc.weight.clone()
    report = load_weights(net, filled(7, n_outputs=1000), head="fc")

    assert report == WeightsReport("the mapping", (*BODY, COUNTER), left_out=("fc.weight", "fc.bias"))
    assert report.fits
    assert str(report) == "7 of 7 weights come from the mapping; new by design: fc.weight, fc.bias."
    assert torch.equal(net.fc.weight, before)
    for name in BODY:
        assert net.state_dict()[name].unique().tolist() == [7.0], name


def test_what_does_not_fit_is_named():
    state = filled(7)
    state["norm.weight"] = torch.ones(9)
    state["extra.weight"] = torch.ones(2)
    del state["stem.bias"], state[COUNTER]
    net = network()
    bias, weight = net.stem.bias.clone(), net.norm.weight.clone()
    report = load_weights(net, state, head="fc", source="my.pth")

    assert report.missing == ("stem.bias",)
    assert report.unexpected == ("extra.weight",)
    assert report.wrong_shape == ("norm.weight (9,) instead of (4,)",)
    assert not report.fits
    assert str(report) == (
        "4 of 6 weights come from my.pth; missing in the file: stem.bias; not in the network: extra.weight; "
        "of another shape: norm.weight (9,) instead of (4,); new by design: fc.weight, fc.bias."
    )
    assert torch.equal(net.stem.bias, bias)
    assert torch.equal(net.norm.weight, weight)


def test_long_lists_are_cut():
    report = WeightsReport("x", ("a",), missing=tuple(f"layer{i}" for i in range(8)))
    assert "missing in the file: layer0, layer1, layer2, layer3, layer4 and 3 more." in str(report)


def test_weights_of_another_network_are_refused():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"^These are weights of another network: 0 of 6 weights come from a\.pth"
    ):
        load_weights(net, {"fc.weight": torch.ones(3, 4), "else": torch.ones(1)}, head="fc", source="a.pth")
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "backbone.", "a.b.c."])
def test_a_prefix_is_passed_over(prefix):
    state = {prefix + name: value for name, value in filled(5).items()}
    report = load_weights(network(), {**state, "projector.weight": torch.ones(3)}, head="fc")
    assert report.unexpected == ("projector.weight",)
    assert len(report.loaded) == 7


def test_half_precision_becomes_single():
    net = network()
    state = {name: v.half() if v.is_floating_point() else v for name, v in filled(0.5).items()}
    assert load_weights(net, state, head="fc").fits
    assert net.stem.weight.dtype == torch.float32
    assert net.stem.weight.unique().tolist() == [0.5]


def test_channels_keep_the_response_to_grey():
    weight = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    grey = torch.randn(2, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight)

    one = fit_channels(weight, 1)
    torch.testing.assert_close(nn.functional.conv2d(grey, one), expected)
    back = fit_channels(one, 3)
    torch.testing.assert_close(nn.functional.conv2d(grey.expand(-1, 3, -1, -1), back), expected)
    assert fit_channels(weight, 3) is weight
    assert fit_channels(weight, 4) is weight


def test_the_stem_is_fitted_only_where_it_is_named():
    net = network()
    grey = {**filled(1), "stem.weight": torch.full((4, 1, 3, 3), 3.0)}
    assert load_weights(net, grey, head="fc").wrong_shape == ("stem.weight (4, 1, 3, 3) instead of (4, 3, 3, 3)",)
    assert load_weights(net, grey, head="fc", stem="stem").fits
    assert net.stem.weight.unique().tolist() == [1.0]
