"""A saved classifier is the classifier: the same bits, on any machine."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from saved_models import (
    assert_same_classifier,
    edited,
    linear_network,
    load,
)
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter
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


# The round trip


def test_a_loaded_classifier_is_the_saved_one(fitted, lesions, tmp_path):
    save_classifier(fitted, tmp_path / "model.safetensors")

    loaded = load(tmp_path / "model.safetensors")

    assert type(loaded) is LesionCNNClassifier
    assert not loaded.net_.module_.training
    assert_same_classifier(loaded, fitted, lesions.images)
    save_classifier(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


LABELS = {
    "str": np.array(["nv", "melanoma"]),
    "object": np.array(["nv", "melanoma"], dtype=object),
    "unicode": np.array(["nævus", "μ黑"]),
    "gaps": np.array([3, 7]),
    "int32": np.array([-1, 1], dtype=np.int32),
    "uint8": np.array([0, 200], dtype=np.uint8),
    "bool": np.array([False, True]),
    "float": np.array([0.0, 2.0]),
    "float32": np.array([1.0, 2.0], dtype=np.float32),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_keep_their_type(kind, lesions, tmp_path):
    y = LABELS[kind][(lesions.target == "mel").astype(int)]
    classifier = Quick(max_epochs=1).fit(lesions.images, y)

    save_classifier(classifier, tmp_path / "model")

    loaded = load(tmp_path / "model")
    assert_same_classifier(loaded, classifier, lesions.images)
    assert [type(label) for label in loaded.classes_.tolist()] == [type(label) for label in LABELS[kind].tolist()]


def test_categories_and_pandas_strings_come_back(lesions, tmp_path):
    for y in (pd.Series(lesions.target, dtype="category"), pd.Series(lesions.target, dtype="string")):
        classifier = Quick(max_epochs=1).fit(lesions.images, y)
        save_classifier(classifier, tmp_path / "model", overwrite=True)
        assert_same_classifier(load(tmp_path / "model"), classifier, lesions.images)


@pytest.mark.parametrize("form", ["grey", "float", "standardised", "rows", "named rows"])
def test_every_form_of_images_comes_back(form, lesions, tmp_path):
    grey = lesions.images.mean(axis=3, keepdims=True).astype(np.uint8)
    images = {
        "grey": grey,
        "float": lesions.images / 255,
        "standardised": ((lesions.images - 127.0) / 40).astype(np.float32),
        "rows": grey.reshape(len(grey), -1),
        "named rows": pd.DataFrame(grey.reshape(len(grey), -1) / 255).add_prefix("pixel_"),
    }[form]
    classifier = Quick(max_epochs=1).fit(images, lesions.target)

    save_classifier(classifier, tmp_path / "model")

    loaded = load(tmp_path / "model")
    assert_same_classifier(loaded, classifier, images)
    assert hasattr(loaded, "feature_names_in_") == (form == "named rows")


def test_a_classifier_of_files_reads_them_as_before(lesion_files, lesions, tmp_path):
    classifier = Quick(image_size=16).fit(lesion_files, lesions.target)

    save_classifier(classifier, tmp_path / "model")

    assert_same_classifier(load(tmp_path / "model"), classifier, lesion_files)


def test_parameters_of_every_kind_come_back(lesions, tmp_path):
    augmenter = LesionAugmenter(rotation=5, flip=False, random_state=3)
    classifier = Quick(
        augmentation=augmenter, optimizer=torch.optim.RAdam, lr=np.float64(0.01), lr_schedule=None, n_jobs=2,
        class_weight={"mel": 3.0, np.str_("nv"): np.float32(0.5)}, cache_dir=tmp_path / "cache",
        image_shape=(16, 16, 3), random_state=np.int64(7), early_stopping=False,
        architecture_params={"width": 8, "depth": 1, "dropout": 0.5},
    )  # fmt: skip
    classifier.fit(lesions.images, lesions.target)

    save_classifier(classifier, tmp_path / "model")

    loaded = load(tmp_path / "model")
    assert_same_classifier(loaded, classifier, lesions.images)
    assert loaded.augmentation.get_params() == augmenter.get_params()
    assert loaded.optimizer is torch.optim.RAdam
    assert [type(label) for label in loaded.class_weight] == [str, np.str_]


def test_another_process_predicts_the_same_bits(fitted, lesions, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    np.save(tmp_path / "images.npy", lesions.images)
    program = (
        "import sys, torch, numpy as np; torch.set_num_threads(1)\n"
        "from skinclf import LesionCNNClassifier\n"
        "from skinclf.estimator._model_file import load_classifier\n"
        "classifier = load_classifier(LesionCNNClassifier, sys.argv[1] + '/model')\n"
        "np.save(sys.argv[1] + '/p.npy', classifier.predict_proba(np.load(sys.argv[1] + '/images.npy')))\n"
    )

    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)

    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), fitted.predict_proba(lesions.images))


def test_a_loaded_classifier_can_be_cloned_and_fitted_anew(fitted, lesions, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    loaded = load(tmp_path / "model")

    with pytest.raises(NotFittedError):
        clone(loaded).predict(lesions.images)
    for classifier in (clone(loaded), loaded):
        classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
        np.testing.assert_array_equal(
            classifier.predict_proba(lesions.images), fitted.predict_proba(lesions.images)
        )


def test_a_loaded_classifier_goes_on_as_the_saved_one_would(fitted, lesions, tmp_path):
    save_classifier(fitted, tmp_path / "model")
    loaded, kept = load(tmp_path / "model"), copy.deepcopy(fitted)

    for classifier in (loaded, kept):
        classifier.set_params(warm_start=True).fit(lesions.images, lesions.target, groups=lesions.groups)

    np.testing.assert_array_equal(loaded.predict_proba(lesions.images), kept.predict_proba(lesions.images))
    assert loaded.history_["epoch"].tolist() == [1, 2, 3, 4]
    timeless = [frame.drop(columns="seconds") for frame in (loaded.history_, kept.history_)]
    pd.testing.assert_frame_equal(*timeless, check_exact=True)
    assert loaded.best_epoch_ == kept.best_epoch_
    loaded.partial_fit(lesions.images, lesions.target)
    assert loaded.n_epochs_ == 5


@pytest.mark.usefixtures("no_global_randomness")
def test_saving_and_loading_leave_global_randomness_alone(own, tmp_path):
    save_classifier(own, tmp_path / "model")
    load(tmp_path / "model", architecture=linear_network)


# Devices


@pytest.mark.fault(69)
def test_a_gpu_that_is_not_here_is_a_warning(fitted, lesions, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    save_classifier(fitted, tmp_path / "model")
    edited(tmp_path / "model", params={"device": "cuda:99", "mixed_precision": True})

    with pytest.warns(UserWarning, match="which this machine cannot do") as caught:
        loaded = load(tmp_path / "model")

    path = tmp_path / "model"
    assert [str(warning.message) for warning in caught] == [
        f"{path} was saved with device='cuda:99', which this machine cannot do; device is 'auto' now, here cpu.",
        f"{path} was saved with mixed_precision=True, which this machine cannot do; mixed_precision is 'auto' "
        "now, here float32.",
    ]
    assert (loaded.device, loaded.mixed_precision) == ("auto", "auto")
    np.testing.assert_array_equal(loaded.predict_proba(lesions.images), fitted.predict_proba(lesions.images))
    loaded.fit(lesions.images, lesions.target)


def test_the_device_can_be_chosen(fitted, tmp_path):
    save_classifier(fitted, tmp_path / "model")

    assert load(tmp_path / "model").device == "auto"
    assert load(tmp_path / "model", device="cpu").device == "cpu"
    with pytest.raises(ValueError, match="device='cuda:99' cannot be used on this machine"):
        load(tmp_path / "model", device="cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_saved_on_a_gpu_it_loads_on_a_cpu_and_back(lesions, tmp_path):
    classifier = Quick(device="cuda", mixed_precision=False).fit(lesions.images, lesions.target)
    save_classifier(classifier, tmp_path / "model")

    on_gpu, on_cpu = load(tmp_path / "model"), load(tmp_path / "model", device="cpu")

    assert next(on_gpu.net_.module_.parameters()).device.type == "cuda"
    assert next(on_cpu.net_.module_.parameters()).device.type == "cpu"
    assert_same_classifier(on_gpu, classifier, lesions.images)
    np.testing.assert_allclose(
        on_cpu.predict_proba(lesions.images), classifier.predict_proba(lesions.images), atol=1e-4
    )


# pickle and joblib


@pytest.mark.parametrize("how", ["pickle", "joblib", "deepcopy"])
@pytest.mark.parametrize("network", ["lesion_cnn", "own"])
def test_pickled_classifiers_are_the_same(how, network, fitted, own, lesions, tmp_path):
    classifier = {"lesion_cnn": fitted, "own": own}[network]
    if how == "pickle":
        result = pickle.loads(pickle.dumps(classifier))
    elif how == "joblib":
        joblib.dump(classifier, tmp_path / "model.joblib", compress=3)
        result = joblib.load(tmp_path / "model.joblib")
    else:
        result = copy.deepcopy(classifier)

    assert_same_classifier(result, classifier, lesions.images)
    again = pickle.loads(pickle.dumps(result))  # and once more
    np.testing.assert_array_equal(again.predict_proba(lesions.images), classifier.predict_proba(lesions.images))


def test_neither_file_nor_pickle_holds_the_training_images(lesions, tmp_path):
    sizes = []
    for images, target in ((lesions.images[:84], lesions.target[:84]), (lesions.images, lesions.target)):
        classifier = Quick().fit(images, target)
        save_classifier(classifier, tmp_path / "model", overwrite=True)
        sizes.append((len(pickle.dumps(classifier)), (tmp_path / "model").stat().st_size))
    weights = sum(value.nbytes for value in classifier.net_.module_.state_dict().values())

    (few, small), (many, large) = sizes
    images_between = lesions.images[84:].nbytes
    assert images_between > 60_000
    assert abs(many - few) < 4_000
    assert abs(large - small) < 1_000
    assert large < weights + 16_000
    # Beside the weights a pickle has those of the optimiser, two for each, and what skorch notes.
    assert many < 4 * weights + 100_000
