"""An exported classifier gives the same probabilities in onnxruntime, from the pixels on."""

from __future__ import annotations

import errno
import functools
import importlib.util
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn

from skinclf import LesionCNNClassifier, __version__
from skinclf.datasets import make_lesions
from skinclf.estimator._onnx import export_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=1, architecture_params={"width": 8, "depth": 2}, random_state=0
)


class PatchNetwork(nn.Module):
    """What own networks are made of: batch norm, dropout, attention, pooling, and a branch on train or eval."""

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(image_shape[2], 16, 4, stride=4)
        self.norm = nn.BatchNorm2d(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True, dropout=0.3)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Sequential(nn.LayerNorm(64), nn.GELU(), nn.Dropout(0.5), nn.Linear(64, n_classes))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.patches(images))
        tokens = maps.flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        maps = maps + mixed.transpose(1, 2).reshape(maps.shape)
        logits = self.head(self.pool(maps).flatten(1))
        return logits + torch.randn_like(logits) if self.training else logits


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(["probabilities"], {"images": images})
    return result


def data(size: int, channels: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    lesions = make_lesions(n_lesions=35, images_per_lesion=1, image_size=size, random_state=1)
    images = lesions.images if channels == 3 else lesions.images[..., :1]
    return images, lesions.target if n_classes == 7 else lesions.target == "nv"


@pytest.mark.parametrize(
    ("size", "channels", "n_classes", "architecture"),
    [
        (16, 3, 7, "lesion_cnn"), (48, 1, 2, "lesion_cnn"), (64, 3, 2, "lesion_cnn"),
        (16, 3, 7, PatchNetwork), (48, 1, 2, PatchNetwork),
    ],
)  # fmt: skip
def test_probabilities_agree_for_any_number_of_images(size, channels, n_classes, architecture, tmp_path):
    images, target = data(size, channels, n_classes)
    params = {"architecture": architecture, "architecture_params": None} if architecture is PatchNetwork else {}
    classifier = Quick(**params).fit(images, target)

    export_onnx(classifier, tmp_path / "model.onnx")

    wanted = classifier.predict_proba(images)
    assert np.ptp(wanted, axis=0).max() > 1e-3  # or agreement would say nothing
    for n_images in (1, 2, 33):
        probabilities = run(tmp_path / "model.onnx", images[:n_images])
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, wanted[:n_images], rtol=0, atol=1e-5)


def test_a_file_says_what_it_takes_and_gives(tmp_path):
    images, target = data(16, 3, 7)
    classifier = Quick().fit(images, target)

    export_onnx(classifier, tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["n_images", 16, 16, 3])
    assert (result.name, result.type, result.shape) == ("probabilities", "tensor(float)", ["n_images", 7])
    assert session.get_modelmeta().custom_metadata_map == {
        "classes": '["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]',
        "skinclf": __version__,
        "notice": "Research tool, not a medical device.",
    }
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version) == ("skinclf", __version__)
    assert [*tmp_path.iterdir()] == [tmp_path / "model.onnx"]  # weights and all


def test_a_file_holds_no_paths_of_this_machine_and_is_the_same_every_time(tmp_path):
    images, target = data(16, 3, 7)
    classifier = Quick(architecture=PatchNetwork, architecture_params=None).fit(images, target)

    for name in ("first", "second"):
        export_onnx(classifier, tmp_path / name)

    first = (tmp_path / "first").read_bytes()
    assert first == (tmp_path / "second").read_bytes()
    for secret in (__file__, "forward", "PatchNetwork", ".py", str(Path.cwd()), sys.prefix):
        assert secret.encode() not in first


@pytest.mark.parametrize("form", ["unit floats", "standardised", "rows of floats"])
def test_other_forms_of_images(form, tmp_path):
    images, target = data(16, 3, 7)
    rows = np.random.default_rng(0).normal(size=(35, 10))
    standardised = ((images - 127.0) / 40).astype(np.float32)
    X = {"unit floats": images / 255, "standardised": standardised, "rows of floats": rows}[form]
    classifier = Quick().fit(X, target)

    export_onnx(classifier, tmp_path / "model.onnx")

    given = {
        "unit floats": images,  # in 0-1 at fit, so that the file takes the same images as uint8
        "standardised": standardised,
        "rows of floats": rows.astype(np.float32).reshape(35, 1, 10, 1),
    }[form]
    np.testing.assert_allclose(run(tmp_path / "model.onnx", given), classifier.predict_proba(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "stored"),
    [
        (np.array([False, True]), [False, True]),
        (np.array(["μ黑", "nævus"], dtype=object), ["nævus", "μ黑"]),
    ],
    ids=str,
)
def test_labels_are_stored_as_json(labels, stored, tmp_path):
    images, target = data(16, 1, 2)
    classifier = Quick(architecture_params={"width": 8, "depth": 1}).fit(images, labels[target.astype(int)])

    export_onnx(classifier, tmp_path / "model.onnx")

    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(metadata["classes"]) == stored == classifier.classes_.tolist()


@pytest.mark.usefixtures("no_global_randomness")
def test_the_classifier_stays_as_it_is_and_nothing_is_printed(tmp_path, capfd):
    images, target = data(16, 3, 7)
    classifier = Quick(architecture=PatchNetwork, architecture_params=None).fit(images, target)
    module = classifier.net_.module_
    module.train()  # as skorch leaves it after training
    module.network.head.eval()
    flags = {name: part.training for name, part in module.named_modules()}
    state = {name: value.clone() for name, value in module.state_dict().items()}
    wanted = classifier.predict_proba(images)
    module.train()
    module.network.head.eval()
    capfd.readouterr()

    export_onnx(classifier, tmp_path / "model.onnx")

    assert capfd.readouterr() == ("", "")
    assert {name: part.training for name, part in module.named_modules()} == flags
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())
    np.testing.assert_array_equal(classifier.predict_proba(images), wanted)
    np.testing.assert_allclose(run(tmp_path / "model.onnx", images), wanted, rtol=0, atol=1e-5)


class DecidesByValue(nn.Module):
    def __init__(self, image_shape: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(image_shape), n_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images.flatten(1))
        return logits if images.mean() > 0 else -logits


class FixedBatch(DecidesByValue):
    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images.flatten(1))
        return logits * 2 if images.shape[0] == 2 else logits


@pytest.mark.parametrize("architecture", [DecidesByValue, FixedBatch])
def test_a_network_that_onnx_cannot_express_is_refused(architecture, tmp_path, capfd):
    images, target = data(16, 3, 7)
    classifier = LesionCNNClassifier(architecture, max_epochs=1, random_state=0).fit(images, target)

    message = (
        "The network cannot be exported to ONNX. Its forward must treat any number of images alike, must not "
        "decide by the values of tensors, and use operations that ONNX has. "
    )
    with pytest.raises(ValueError, match=re.escape(message) + r"\w+: .+"):
        export_onnx(classifier, tmp_path / "model.onnx")

    assert capfd.readouterr().out == ""
    assert [*tmp_path.iterdir()] == []


@pytest.fixture(scope="module")
def fitted() -> LesionCNNClassifier:
    images, target = data(16, 1, 2)
    return Quick(architecture_params={"width": 8, "depth": 1}).fit(images, target)


@pytest.mark.parametrize(
    ("missing", "named"), [({"onnx", "onnxscript"}, "onnx and onnxscript"), ({"onnx"}, "onnx")]
)
def test_without_the_extra_the_message_says_what_to_install(missing, named, fitted, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name))

    message = f'ONNX export needs {named}: pip install "skinclf[onnx]".'
    with pytest.raises(ImportError, match=re.escape(message)):
        export_onnx(fitted, tmp_path / "model.onnx")


def test_an_unfitted_classifier_an_existing_file_and_a_missing_folder_are_refused_first(fitted, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(NotFittedError, match="This LesionCNNClassifier instance is not fitted yet"):
        export_onnx(Quick(), path)
    with pytest.raises(
        FileNotFoundError, match=re.escape(f"The folder {tmp_path / 'no'} does not exist; make it")
    ):
        export_onnx(fitted, tmp_path / "no" / "model.onnx")
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"The file exists already\. Pass overwrite=True to replace it"):
        export_onnx(fitted, path)
    assert path.read_text() == "precious"

    export_onnx(fitted, path, overwrite=True)

    onnx.checker.check_model(path)


def test_a_full_disk_leaves_the_old_file(fitted, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_text("precious")

    def fail(descriptor: int) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device.*the file that was there is as it was"):
        export_onnx(fitted, path, overwrite=True)

    assert path.read_text() == "precious"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_classifier_on_a_gpu_is_exported_and_stays_there(tmp_path):
    images, target = data(16, 3, 7)
    classifier = Quick(device="cuda").fit(images, target)

    export_onnx(classifier, tmp_path / "model.onnx")

    assert next(classifier.net_.module_.parameters()).device.type == "cuda"
    atol = 1e-4 if classifier.net_.module_.autocast_dtype is None else 0.05
    np.testing.assert_allclose(
        run(tmp_path / "model.onnx", images), classifier.predict_proba(images), rtol=0, atol=atol
    )
