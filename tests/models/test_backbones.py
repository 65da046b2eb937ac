"""`build_backbone`: names, callables, classes and instances become networks that fit the images and classes."""

from __future__ import annotations

import functools
import re
import sys

import pytest
import torch
from torch import nn

from skinclf._random import torch_generator
from skinclf.models import build_backbone, lesion_cnn
from skinclf.models._architectures import architecture_name, check_architecture, weights_digest
from skinclf.models._probe import probe
from skinclf.models._published import resized_positions


class Told(nn.Module):
    """Takes what the constructor names."""

    def __init__(self, num_classes: int, in_channels: int = 3, width: int = 4) -> None:
        super().__init__()
        self.told = (num_classes, in_channels, width)
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.body(x))


class Positional(Told):
    """The two arguments of a factory, by other names."""

    def __init__(self, shape, k, *, width=4):
        super().__init__(k, shape[2], width)


class Untold(nn.Module):
    """Knows nothing of images and classes, and defines its head first."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.head = nn.Linear(width, 10)
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.head(self.norm(self.stem(x)).mean(dim=(2, 3)))


def returns(value):
    class Returning(nn.Module):
        def __init__(self, image_shape, n_classes):
            super().__init__()

        def forward(self, x):
            return value(x)

    return Returning


SHAPE = (16, 12, 3)


def logits(network, image_shape=SHAPE):
    images = torch.randn((2, image_shape[2], *image_shape[:2]), generator=torch_generator(3))
    return network.eval()(images)


def test_names_of_skinclf_draw_from_the_generator():
    for name in ("lesion_cnn", "efficientnet_lite0"):
        one, same = (build_backbone(name, SHAPE, 7, generator=torch_generator(4)) for _ in range(2))
        assert torch.equal(logits(one.network), logits(same.network))
        assert (one.mean, one.std, one.report) == (None, None, None)
    expected = lesion_cnn(SHAPE, 7, width=8, generator=torch_generator(4)).state_dict()
    found = build_backbone("lesion_cnn", SHAPE, 7, params={"width": 8}, generator=torch_generator(4)).network
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())


@pytest.mark.parametrize(
    ("name", "takes"),
    [("lesion_cnn", "width, depth and dropout"), ("efficientnet_lite0", "dropout and stochastic_depth")],
)
def test_params_that_a_name_does_not_take(name, takes):
    with pytest.raises(
        TypeError, match=rf"architecture_params=\{{'layers': 3\}} do not fit {name}, which takes {takes}"
    ):
        build_backbone(name, SHAPE, 7, params={"layers": 3})


def test_a_class_gets_what_its_constructor_names():
    assert build_backbone(Told, (16, 12, 1), 7, params={"width": 6}).network.told == (7, 1, 6)
    assert build_backbone(Positional, (16, 12, 1), 7, params={"width": 6}).network.told == (7, 1, 6)
    assert build_backbone(Told, SHAPE, 7, params={"in_channels": 3}).network.told == (7, 3, 4)


def test_a_class_that_is_not_told_the_classes_gets_a_new_head():
    network = build_backbone(Untold, SHAPE, 7, params={"width": 6}).network
    assert (network.head.in_features, network.head.out_features) == (6, 7)
    assert logits(network).shape == (2, 7)


def test_a_class_that_needs_more_is_refused_by_name():
    class Needs(nn.Module):
        def __init__(self, n_classes, depth, heads):
            super().__init__()

    with pytest.raises(
        TypeError, match=r"Needs cannot be built: .* Its constructor is given those of image_shape"
    ):
        build_backbone(Needs, SHAPE, 7)
    with pytest.raises(TypeError, match=r"Told cannot be built: got an unexpected keyword argument 'layers'"):
        build_backbone(Told, SHAPE, 7, params={"layers": 3})


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_instance_is_copied_and_its_ends_are_fitted(channels, n_classes):
    mine = Untold()
    mine.norm.eval()
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    network = build_backbone(mine, (16, 12, channels), n_classes).network

    assert logits(network, (16, 12, channels)).shape == (2, n_classes)
    assert network.stem.in_channels == network.stem.weight.shape[1] == channels
    assert all(torch.equal(value, before[name]) for name, value in mine.state_dict().items())
    assert mine.training
    assert not mine.norm.training
    kept = torch.equal(network.head.weight, mine.head.weight) if n_classes == 10 else None
    assert kept in (True, None)
    grey = torch.randn((2, 1, 16, 12), generator=torch_generator(0))
    body = mine.stem(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(network.stem(grey.expand(-1, channels, -1, -1)), body)


def test_frozen_parts_of_an_instance_stay_frozen_but_for_a_new_head():
    mine = Untold().requires_grad_(False)
    network = build_backbone(mine, (16, 12, 1), 7).network
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert trained == ["head.weight", "head.bias"]


def test_a_convolution_may_be_the_head():
    mine = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = build_backbone(mine, SHAPE, 7).network
    assert network[2].out_channels == 7
    assert logits(network).shape == (2, 7)


def test_an_instance_takes_no_params():
    with pytest.raises(TypeError, match=r"architecture_params=\{'width': 3\} have no effect on .*Untold"):
        build_backbone(Untold(), SHAPE, 7, params={"width": 3})


def test_the_normalisation_that_a_network_names_is_applied():
    mine = Untold()
    mine.pretrained_cfg = {"mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3)}
    backbone = build_backbone(mine, SHAPE, 7)
    assert (backbone.mean, backbone.std) == ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    grey = build_backbone(mine, (16, 12, 1), 7)
    assert (grey.mean, grey.std) == (pytest.approx((0.5,)), pytest.approx((0.2,)))
    assert build_backbone(Untold(), SHAPE, 7).mean is None


@pytest.mark.parametrize(
    ("value", "returned"),
    [
        (lambda x: x.new_zeros(2, 5), "shape (2, 5)"),
        (lambda x: x.new_zeros(2), "shape (2,)"),
        (lambda x: x.new_zeros(2, 7, 1, 1), "shape (2, 7, 1, 1)"),
        (lambda x: x.new_zeros(1, 7), "shape (1, 7)"),
        (lambda x: (x.new_zeros(2, 7),), "tuple"),
        (lambda x: {"logits": x}, "dict"),
    ],
    ids=["width", "vector", "maps", "images", "tuple", "dict"],
)
def test_outputs_that_are_no_logits_are_refused(value, returned):
    message = (
        f"must return logits of shape (n_images, 7), one for each class; for 2 images it returned {returned}."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        build_backbone(returns(value), SHAPE, 7)
    build_backbone(returns(value), SHAPE, 7, checked=False)


def test_images_that_a_network_does_not_take_are_named():
    def deep(image_shape, n_classes):
        return nn.Sequential(nn.Conv2d(3, 4, 20), nn.Flatten(), nn.LazyLinear(n_classes))

    with pytest.raises(
        ValueError,
        match=r"deep does not take images of 16 x 12 x 3 \(height, width, channels\): RuntimeError: .*"
        r"Kernel size can't be greater than actual input size\. If they are too small, raise image_size",
    ):
        build_backbone(deep, SHAPE, 7)


def test_a_want_of_memory_is_not_called_a_wrong_size():
    def hungry(x):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match=r"^DefaultCPUAllocator"):
        build_backbone(returns(hungry), SHAPE, 7)


def test_factories_that_cannot_be_called_so():
    with pytest.raises(
        TypeError, match=r"must be callable as .*<lambda>\(image_shape, n_classes, \*\*architecture"
    ):
        build_backbone(lambda n_classes: Told(n_classes), SHAPE, 7)
    with pytest.raises(
        TypeError, match=r"^architecture must return a torch\.nn\.Module; .* returned <class 'str'>"
    ):
        build_backbone(lambda image_shape, n_classes: "network", SHAPE, 7)


def test_a_probe_leaves_no_trace():
    mine = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(560, 5))
    generator = torch.random.get_rng_state()
    mine[1].eval()
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    seen = probe(mine, SHAPE)
    assert (seen.stem, seen.head, seen.n_outputs, seen.error) == ("0", "4", 5, None)
    assert all(torch.equal(value, before[name]) for name, value in mine.state_dict().items())
    assert [part.training for part in mine] == [True, False, True, True, True]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in mine)
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_names_for_messages():
    assert architecture_name("resnet18") == "resnet18"
    assert architecture_name(functools.partial(lesion_cnn, width=8)) == "skinclf.models._lesion_cnn.lesion_cnn"
    assert architecture_name(nn.Flatten()) == architecture_name(nn.Flatten) == "torch.nn.modules.flatten.Flatten"


# Weights


@pytest.mark.parametrize("architecture", ["lesion_cnn", Untold, lesion_cnn])
def test_imagenet_weights_that_do_not_exist(architecture):
    with pytest.raises(
        ValueError, match=r"^weights='imagenet' are not there for .*(lesion_cnn|Untold)\. Pass weights"
    ):
        check_architecture(architecture, "imagenet")


def test_a_file_that_does_not_exist():
    with pytest.raises(
        FileNotFoundError, match=r"^weights must be None, 'imagenet' or a file; there is no file 'nowhere'"
    ):
        check_architecture("lesion_cnn", "nowhere")


@pytest.mark.parametrize(
    "make", [lambda: Untold(), lambda: Untold, lambda: Untold_factory], ids=["instance", "class", "f"]
)
def test_weights_from_a_file_go_into_networks_of_ones_own(make, tmp_path):
    source = Untold()
    torch.save(source.state_dict(), tmp_path / "x.pth")
    backbone = build_backbone(make(), (16, 12, 1), 7, weights=tmp_path / "x.pth")
    torch.testing.assert_close(backbone.network.stem.weight, source.stem.weight.sum(dim=1, keepdim=True))
    assert backbone.report.left_out == ("head.weight", "head.bias")
    assert backbone.report.source == str(tmp_path / "x.pth")
    assert backbone.report.fits


def Untold_factory(image_shape, n_classes):  # noqa: N802
    network = Untold()
    network.stem = nn.Conv2d(image_shape[2], 4, 3, bias=False)
    network.head = nn.Linear(4, n_classes)
    return network


def test_the_digest_of_weights_is_that_of_their_content(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one")
    (tmp_path / "c").write_bytes(b"two")
    a, b, c = (weights_digest(tmp_path / name).tolist() for name in "abc")
    assert a == b != c
    assert weights_digest(None) is None
    assert weights_digest("imagenet") is None


# torchvision and timm


def test_without_torchvision_and_timm_the_message_names_the_extra(monkeypatch):
    for library in ("torchvision", "timm"):
        monkeypatch.setattr("skinclf.models._published.is_installed", lambda name: False)
        with pytest.raises(
            ImportError, match=rf"need {library}, which is not .*pip install \"skinclf\[backbones\]\""
        ):
            check_architecture(f"{library}:resnet18", None)
    with pytest.raises(
        ImportError, match=r"'lesion_cnn' and 'efficientnet_lite0'; others need torchvision or timm"
    ):
        check_architecture("resnet18", None)


def test_a_misspelled_name_is_told_its_neighbours():
    pytest.importorskip("torchvision")
    with pytest.raises(
        ValueError, match=r"^architecture='resnet_18' is no network that skinclf or .* Near are .*'resnet18'"
    ):
        check_architecture("resnet_18", None)
    with pytest.raises(ValueError, match=r"Near are .*'lesion_cnn'"):
        check_architecture("lesoin_cnn", None)
    with pytest.raises(ValueError, match=r"names the library 'keras'\. There are 'torchvision:\.\.\.' and 'timm:"):
        check_architecture("keras:resnet18", None)


@pytest.mark.parametrize("name", ["mnasnet0_5", "squeezenet1_1", "torchvision:shufflenet_v2_x0_5"])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_of_torchvision(name, channels):
    pytest.importorskip("torchvision")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_backbone(name, (48, 48, channels), 7).network
    assert logits(network, (48, 48, channels)).shape == (2, 7)
    assert sum(value.shape[0] == 1000 for value in network.state_dict().values() if value.ndim) == 0


def test_a_minimum_size_is_a_clear_error():
    pytest.importorskip("torchvision")
    with pytest.raises(ValueError, match=r"squeezenet1_1 does not take images of 8 x 8 x 3 .* raise image_size"):
        build_backbone("squeezenet1_1", (8, 8, 3), 7)


def test_params_go_to_torchvision():
    pytest.importorskip("torchvision")
    network = build_backbone("mnasnet0_5", (48, 48, 3), 7, params={"dropout": 0.7}).network
    assert network.classifier[0].p == 0.7
    with pytest.raises(
        TypeError, match=r"architecture_params=\{'layers': 3\} do not fit torchvision's mnasnet0_5"
    ):
        build_backbone("mnasnet0_5", (48, 48, 3), 7, params={"layers": 3})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch, and no network."""

    def refuse(*args, **kwargs):
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_imagenet_weights_of_torchvision_come_from_its_cache_and_nowhere_else(hub):
    torchvision = pytest.importorskip("torchvision")
    weights = torchvision.models.MNASNet0_5_Weights.DEFAULT
    file = hub / weights.url.rpartition("/")[2]
    message = (
        f"The ImageNet weights are not at {file}, and skinclf downloads nothing by itself. Download {weights.url}"
    )
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        build_backbone("mnasnet0_5", (48, 48, 3), 7, weights="imagenet")

    published = torchvision.models.mnasnet0_5()
    torch.save(published.state_dict(), file)
    backbone = build_backbone("mnasnet0_5", (48, 48, 3), 7, weights="imagenet")
    assert backbone.report.fits
    assert backbone.report.left_out == ("classifier.1.weight", "classifier.1.bias")
    assert (backbone.mean, backbone.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert torch.equal(backbone.network.layers[0].weight, published.layers[0].weight)
    grey = build_backbone("mnasnet0_5", (48, 48, 1), 7, weights="imagenet")
    torch.testing.assert_close(grey.network.layers[0].weight, published.layers[0].weight.sum(1, keepdim=True))


def test_auxiliary_classifiers_are_not_missed(hub):
    torchvision = pytest.importorskip("torchvision")
    weights = torchvision.models.GoogLeNet_Weights.DEFAULT
    published = torchvision.models.googlenet(init_weights=False, aux_logits=True)
    torch.save(published.state_dict(), hub / weights.url.rpartition("/")[2])
    backbone = build_backbone("googlenet", (48, 48, 3), 7, weights="imagenet")
    assert backbone.report.fits
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    assert logits(backbone.network.train(), (48, 48, 3)).shape == (2, 7)


def test_positions_of_a_vision_transformer_are_resized():
    pytest.importorskip("torchvision")
    from torchvision.models.vision_transformer import VisionTransformer

    small = {"patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 7}
    source, target = VisionTransformer(image_size=64, **small), VisionTransformer(image_size=32, **small)
    target.load_state_dict(resized_positions(target, source.state_dict()))
    assert logits(target, (32, 32, 3)).shape == (2, 7)
    assert torch.equal(target.encoder.pos_embedding[:, 0], source.encoder.pos_embedding[:, 0])
    assert resized_positions(target, {"other": torch.ones(1)}).keys() == {"other"}
    with pytest.raises(ValueError, match=r"torchvision's vit_b_16 cannot be built for images of 50 x 50 pixels"):
        build_backbone("vit_b_16", (50, 50, 3), 7)


def test_networks_of_timm():
    pytest.importorskip("timm")
    for channels in (1, 3):
        network = build_backbone("timm:resnet10t", (48, 48, channels), 7).network
        assert logits(network, (48, 48, channels)).shape == (2, 7)
    assert build_backbone("resnet10t", (48, 48, 3), 7).network.num_classes == 7  # torchvision has no such one


def test_imagenet_weights_of_timm_come_from_its_cache_and_nowhere_else(hub, monkeypatch):
    timm = pytest.importorskip("timm")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: None)
    with pytest.raises(FileNotFoundError, match=r"The ImageNet weights are not at .* downloads nothing by itself"):
        build_backbone("timm:tf_efficientnet_lite0", (48, 48, 3), 7, weights="imagenet")
    source = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    torch.save(source.state_dict(), hub / "mine.bin")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda repository, name: (
            str(hub / "mine.bin") if repository == "timm/tf_efficientnet_lite0.in1k" else None
        ),
    )
    backbone = build_backbone("timm:tf_efficientnet_lite0", (48, 48, 3), 7, weights="imagenet")
    assert backbone.report.fits
    assert backbone.mean == (0.5, 0.5, 0.5)
    assert "timm" in sys.modules
