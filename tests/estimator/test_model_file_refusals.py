"""What is not saved, and what is not loaded, is said."""

from __future__ import annotations

import functools
import re

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from saved_models import (
    Factory,
    activated_network,
    assert_same_classifier,
    edited,
    linear_network,
    load,
    two_class_network,
)
from sklearn.exceptions import NotFittedError
from skorch.callbacks import EpochScoring
from torch import nn

from skinclf import LesionCNNClassifier
from skinclf.estimator._container import ModelFileError, read_container, write_container
from skinclf.estimator._model_file import save_classifier

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=2, architecture_params={"width": 8, "depth": 1}, random_state=0
)


@pytest.fixture(scope="module")
def fitted(lesions) -> LesionCNNClassifier:
    return Quick().fit(lesions.images, lesions.target, groups=lesions.groups)


@pytest.fixture(scope="module")
def own(lesions) -> LesionCNNClassifier:
    return LesionCNNClassifier(linear_network, max_epochs=1, random_state=0).fit(lesions.images, lesions.target)


# What a file cannot hold


class OwnOptimizer(torch.optim.SGD):
    """Not one of torch.optim."""


@pytest.mark.parametrize(
    ("params", "left_out"),
    [
        ({"callbacks": [EpochScoring("accuracy", name="theirs")]}, ["callbacks"]),
        ({"random_state": np.random.RandomState(0)}, ["random_state"]),
        ({"random_state": np.random.default_rng(0), "optimizer": OwnOptimizer}, ["optimizer", "random_state"]),
        ({"optimizer": functools.partial(torch.optim.Adam, eps=1e-6)}, ["optimizer"]),
    ],
    ids=["callbacks", "RandomState", "Generator and own optimiser", "partial"],
)
def test_what_is_left_out_is_said_and_has_its_default_afterwards(params, left_out, lesions, tmp_path):
    classifier = Quick(max_epochs=1).set_params(**params).fit(lesions.images, lesions.target)

    message = f"cannot hold {left_out}. A classifier that is loaded from it predicts the same; before it is fitted"
    with pytest.warns(UserWarning, match=re.escape(message)):
        save_classifier(classifier, tmp_path / "model")

    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(lesions.images), classifier.predict_proba(lesions.images))
    defaults = LesionCNNClassifier().get_params(deep=False)
    assert {name for name in params if loaded.get_params()[name] is defaults[name]} == {*left_out}
    pd.testing.assert_frame_equal(loaded.history_, classifier.history_)


def test_a_parameter_that_holds_code_cannot_be_saved(lesions, tmp_path):
    classifier = LesionCNNClassifier(
        activated_network, architecture_params={"activation": nn.Tanh}, max_epochs=1, random_state=0
    ).fit(lesions.images, lesions.target)

    message = (
        "LesionCNNClassifier cannot be saved: content['params']['architecture_params']['activation'] is a type, "
        "which cannot be saved."
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        save_classifier(classifier, tmp_path / "model")
    assert [*tmp_path.iterdir()] == []


def test_a_classifier_that_is_not_fitted_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError, match="This LesionCNNClassifier instance is not fitted yet"):
        save_classifier(Quick(), tmp_path / "model")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.fault(64)
def test_a_file_that_is_there_is_not_replaced_unasked(fitted, tmp_path):
    path = tmp_path / "model"
    path.write_text("precious")

    message = f"The file exists already. Pass overwrite=True to replace it, or choose another name: '{path}'"
    with pytest.raises(FileExistsError, match=re.escape(message)):
        save_classifier(fitted, path)
    assert path.read_text() == "precious"

    save_classifier(fitted, path, overwrite=True)
    assert load(path).n_epochs_ == 2


# Own networks


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        (linear_network, "linear_network"),
        (functools.partial(functools.partial(linear_network, width=4)), "linear_network"),
        (Factory(), "Factory"),
    ],
    ids=["function", "partial", "object"],
)
def test_an_own_network_is_asked_for_by_name(architecture, name, lesions, tmp_path):
    classifier = LesionCNNClassifier(architecture, max_epochs=1, random_state=0).fit(
        lesions.images, lesions.target
    )
    path = tmp_path / "model"
    save_classifier(classifier, path)

    message = (
        f"{path} was trained with the own network saved_models.{name}, and files hold no code. Import it, and "
        f"pass it: load(path, architecture={name})."
    )
    with pytest.raises(ModelFileError, match=re.escape(message)):
        load(path)

    loaded = load(path, architecture=architecture)
    assert loaded.architecture is architecture
    assert_same_classifier(loaded, classifier, lesions.images)


@pytest.mark.fault(62)
def test_another_network_is_refused_with_what_differs(fitted, own, tmp_path):
    save_classifier(own, tmp_path / "own")
    save_classifier(fitted, tmp_path / "fitted")

    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "own", architecture="lesion_cnn")
    message = str(caught.value)
    assert message.startswith(
        f"{tmp_path / 'own'} holds other weights than lesion_cnn has for 7 classes and images of"
    )
    assert "shape (16, 16, 3): the file lacks network.stem.weight, " in message
    assert re.search(r"; the network lacks (network\.\d\.\w+, ){4}network\.\d\.\w+ and 4 more\. Pass", message)

    with pytest.raises(ModelFileError, match=re.escape("than saved_models.linear_network has for 7 classes")):
        load(edited(tmp_path / "fitted", params={"architecture_params": None}), architecture=linear_network)


def test_another_width_is_refused_with_both_shapes(own, tmp_path):
    save_classifier(own, tmp_path / "own")

    message = (
        "the file has network.0.weight (8, 3, 3, 3) instead of (4, 3, 3, 3), network.0.bias (8,) instead of (4,), "
        "network.1.weight (8,) instead of (4,), network.1.bias (8,) instead of (4,), network.1.running_mean (8,) "
        "instead of (4,) and 2 more. Pass the architecture that it was trained with."
    )
    with pytest.raises(ModelFileError, match=re.escape(message)):
        load(tmp_path / "own", architecture=functools.partial(linear_network, width=4))


@pytest.mark.fault(62)
def test_another_class_count_is_refused(own, fitted, tmp_path):
    save_classifier(own, tmp_path / "own")
    with pytest.raises(
        ModelFileError, match=r"the file has network\.5\.weight \(7, 2048\) instead of \(2, 2048\), "
    ):
        load(tmp_path / "own", architecture=two_class_network)

    save_classifier(fitted, tmp_path / "fitted")
    edited(tmp_path / "fitted", fitted={"classes_": np.array(["mel", "nv"])})
    with pytest.raises(
        ModelFileError, match=r"lesion_cnn has for 2 classes .* network\.output\.weight \(7, 32\) instead"
    ):
        load(tmp_path / "fitted")


# Other versions, damage, disguise


@pytest.mark.fault(61)
def test_a_parameter_of_a_later_version_is_refused(fitted, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    edited(tmp_path / "model", params={"horizon": "far", "ema": 0.99})

    message = (
        f"{tmp_path / 'model'} has parameters that LesionCNNClassifier does not have in this version of skinclf: "
        "['ema', 'horizon']. It was saved by a later version; upgrade skinclf."
    )
    with pytest.raises(ModelFileError, match=re.escape(message)):
        load(tmp_path / "model")


def test_a_parameter_of_a_later_augmenter_is_refused(fitted, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    edited(tmp_path / "model", objects={"augmentation": ("LesionAugmenter", {"shear": 1})})

    with pytest.raises(
        ModelFileError, match=re.escape("parameters that LesionAugmenter does not have in this version")
    ):
        load(tmp_path / "model")


@pytest.mark.fault(61)
def test_a_parameter_that_an_earlier_version_lacked_has_its_default(fitted, lesions, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    content = read_container(tmp_path / "model", "model")
    for name in ("warm_start", "checkpoint_dir", "patience"):
        del content["params"][name]
    write_container(tmp_path / "model", "model", content)

    assert_same_classifier(load(tmp_path / "model"), fitted, lesions.images)


@pytest.mark.parametrize(
    "objects",
    [
        {"optimizer": ("torch.optim", "load")},
        {"optimizer": ("torch.optim", "Optimizer.__subclasses__")},
        {"optimizer": ("os", "system")},
    ],
    ids=str,
)
def test_a_forged_object_is_refused(objects, fitted, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    edited(tmp_path / "model", objects=objects)

    with pytest.raises(ModelFileError, match=r"has the parameter optimizer from .*, which is not known here\."):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    "changes",
    [
        {"params": None},
        {"history": None},
        {"fitted": None},
        {"fitted": {"predict": 1}},
        {"fitted": {"__class__": 1}},
    ],
    ids=str,
)
def test_other_contents_are_refused(changes, fitted, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    edited(tmp_path / "model", **changes)

    with pytest.raises(ModelFileError, match="holds no classifier as this version of skinclf saves it"):
        load(tmp_path / "model")


@pytest.mark.fault(58, 59, 60)
def test_damage_disguise_and_absence_reach_the_user(fitted, tmp_path):
    path = tmp_path / "model"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        load(path)
    save_classifier(fitted, path)
    intact = path.read_bytes()

    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.raises(ModelFileError, match="is damaged: its SHA-256 is not the one"):
        load(path)
    path.write_bytes(intact[:-100])
    with pytest.raises(
        ModelFileError, match=f"is cut short: it has {len(intact) - 100:,} of {len(intact):,} bytes"
    ):
        load(path)
    joblib.dump(fitted, path)
    with pytest.raises(ModelFileError, match="it is a pickle; loading one could run code"):
        load(path)
    write_container(path, "checkpoint", {})
    with pytest.raises(ModelFileError, match="is a training checkpoint, not a saved model"):
        load(path)
