"""`tta`: a prediction is the mean over all positions of an image."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
from sklearn.base import clone

from skinclf import LesionCNNClassifier

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=2, architecture_params={"width": 8, "depth": 1}, random_state=0
)


def positions(images):
    """Eight arrays with NumPy: four quarter turns, each as it is and mirrored."""
    turned = [np.rot90(images, k, axes=(1, 2)) for k in range(4)]
    return [np.ascontiguousarray(x) for one in turned for x in (one, one[:, :, ::-1])]


@pytest.fixture(scope="module")
def fitted(lesions):
    return Quick().fit(lesions.images, lesions.target)


def with_tta(classifier):
    return copy.deepcopy(classifier).set_params(tta=True)


def test_the_probabilities_are_the_mean_over_eight_positions(lesions, fitted):
    expected = np.mean([fitted.predict_proba(x) for x in positions(lesions.images)], axis=0)
    voted = with_tta(fitted).predict_proba(lesions.images)
    np.testing.assert_allclose(voted, expected, atol=1e-6)
    np.testing.assert_allclose(voted.sum(axis=1), 1, atol=1e-12)
    assert np.abs(voted - fitted.predict_proba(lesions.images)).max() > 1e-3


def test_the_answer_does_not_depend_on_the_position(lesions, fitted):
    classifier = with_tta(fitted)
    answers = [classifier.predict_proba(x) for x in positions(lesions.images)]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-6)


def test_images_that_are_not_square_have_four_positions(lesions):
    images = lesions.images[:, :12]
    classifier = Quick().fit(images, lesions.target)
    four = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]
    expected = np.mean([classifier.predict_proba(np.ascontiguousarray(x)) for x in four], axis=0)
    np.testing.assert_allclose(with_tta(classifier).predict_proba(images), expected, atol=1e-6)


def test_rows_of_features_and_small_batches_are_taken_too(lesions, fitted):
    classifier = with_tta(fitted)
    expected = classifier.predict_proba(lesions.images)
    rows = lesions.images.reshape(len(lesions.images), -1)
    np.testing.assert_allclose(classifier.predict_proba(rows), expected, atol=1e-6)
    classifier.net_.batch_size = 3
    np.testing.assert_allclose(classifier.predict_proba(lesions.images), expected, atol=1e-6)


def test_the_training_does_not_depend_on_it(lesions, fitted):
    voting = clone(fitted).set_params(tta=True).fit(lesions.images, lesions.target)
    assert np.array_equal(
        voting.set_params(tta=False).predict_proba(lesions.images), fitted.predict_proba(lesions.images)
    )


def test_auto_votes_where_the_network_is_fine_tuned(lesions, fitted, tmp_path):
    images = lesions.images
    assert fitted.tta == "auto"
    assert np.array_equal(
        fitted.predict_proba(images), copy.deepcopy(fitted).set_params(tta=False).predict_proba(images)
    )
    fitted.save(tmp_path / "weights.safetensors")
    tuned = Quick(weights=tmp_path / "weights.safetensors").fit(images, lesions.target)
    voted = tuned.predict_proba(images)
    assert np.array_equal(voted, with_tta(tuned).predict_proba(images))
    assert np.abs(voted - tuned.set_params(tta=False).predict_proba(images)).max() > 1e-3


def test_metadata_go_with_every_position(lesions, lesion_files):
    classifier = Quick(image_size=16, metadata="auto").fit(lesion_files, lesions.target)
    before = classifier.predict_proba(lesion_files)
    voted = classifier.set_params(tta=True).predict_proba(lesion_files)
    assert 0.001 < np.abs(voted - before).max() < 0.9


def test_a_saved_and_an_exported_classifier_vote_as_well(lesions, fitted, tmp_path):
    classifier = with_tta(fitted)
    expected = classifier.predict_proba(lesions.images)
    classifier.save(tmp_path / "voting.safetensors")
    loaded = LesionCNNClassifier.load(tmp_path / "voting.safetensors")
    assert np.array_equal(loaded.predict_proba(lesions.images), expected)
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    classifier.to_onnx(tmp_path / "voting.onnx")
    session = runtime.InferenceSession(tmp_path / "voting.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"images": lesions.images[:20]})
    np.testing.assert_allclose(found, expected[:20], atol=1e-5)
