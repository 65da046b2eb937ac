"""What a scikit-learn user may expect of LesionCNNClassifier."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import balanced_accuracy_score

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter
from skinclf.datasets import make_lesions
from skinclf.preprocessing import ImageFlattener, ImageLoader, ImageStandardizer

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=2, architecture_params={"width": 8, "depth": 2}, random_state=0
)


def weights(classifier):
    return {name: value.clone() for name, value in classifier.net_.module_.state_dict().items()}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture(scope="module")
def fitted(lesions):
    return Quick().fit(lesions.images, lesions.target, groups=lesions.groups)


def test_it_learns_lesions_that_it_has_never_seen():
    """More than chance by far, on lesions of their own, in seconds; ``skinclf demo`` passes 0.9."""
    train = make_lesions(n_lesions=210, image_size=32, random_state=0)
    test = make_lesions(n_lesions=70, image_size=32, random_state=1)
    classifier = LesionCNNClassifier(
        max_epochs=15, batch_size=16, architecture_params={"width": 16}, random_state=0
    )

    classifier.fit(train.images, train.target, groups=train.groups)

    assert balanced_accuracy_score(test.target, classifier.predict(test.images)) > 0.5


def test_fitted_attributes(fitted, lesions):
    assert fitted.classes_.tolist() == lesions.target_names
    assert fitted.image_shape_ == (16, 16, 3)
    assert fitted.n_features_in_ == 16 * 16 * 3
    assert fitted.n_epochs_ == len(fitted.history_) == 2
    assert fitted.history_["epoch"].tolist() == [1, 2]
    assert list(fitted.history_)[:7] == [
        "epoch", "train_loss", "valid_loss", "valid_accuracy", "valid_balanced_accuracy", "lr", "seconds"
    ]  # fmt: skip
    assert fitted.history_.notna().all(axis=None)
    assert 1 <= fitted.best_epoch_ <= 2


def test_probabilities_are_probabilities_in_the_order_of_the_classes(fitted, lesions):
    probabilities = fitted.predict_proba(lesions.images)

    assert probabilities.shape == (168, 7)
    assert probabilities.dtype == np.float64
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(fitted.predict(lesions.images), fitted.classes_[probabilities.argmax(axis=1)])


@pytest.mark.parametrize(
    "make_labels",
    [
        lambda codes: np.array(list("abcdefg"))[codes],
        lambda codes: np.array(["a", "bb", "ccc", "d", "e", "f", "g"], dtype=object)[codes],
        lambda codes: codes > 3,
        lambda codes: np.where(codes > 3, 7, 3),
        lambda codes: (codes * 10).astype(np.int32),
        lambda codes: (codes - 3).astype(np.float64),
        lambda codes: pd.Series(pd.Categorical(np.array(list("abcdefg"))[codes])),
        lambda codes: np.array(list("abcdefg"))[codes].tolist(),
    ],
    ids=["str", "object", "bool", "gaps", "int32", "float", "categorical", "list"],
)
def test_labels_of_any_type_come_back_as_they_were(lesions, make_labels):
    y = make_labels(np.unique(lesions.target, return_inverse=True)[1])

    classifier = Quick(max_epochs=1).fit(lesions.images, y, groups=lesions.groups)

    np.testing.assert_array_equal(classifier.classes_, np.unique(np.asarray(y)))
    assert set(classifier.predict(lesions.images)) <= set(y)
    assert 0 <= classifier.score(lesions.images, y) <= 1


def test_the_weights_of_the_best_epoch_are_restored(lesions):
    classifier = Quick(max_epochs=6, lr=0.02, validation_fraction=0.3, monitor="valid_balanced_accuracy")
    classifier.fit(lesions.images, lesions.target, groups=lesions.groups)
    rows = classifier.validation_indices_

    score = balanced_accuracy_score(lesions.target[rows], classifier.predict(lesions.images[rows]))

    history = classifier.history_.set_index("epoch")["valid_balanced_accuracy"]
    assert score == pytest.approx(history[classifier.best_epoch_], abs=1e-9)
    assert history[classifier.best_epoch_] == history.max()


def test_training_stops_after_patience_epochs_without_improvement(lesions):
    classifier = Quick(max_epochs=50, patience=2, lr=1e-9, lr_schedule=None)  # too slow to ever improve
    classifier.fit(lesions.images, lesions.target, groups=lesions.groups)

    assert classifier.n_epochs_ == classifier.best_epoch_ + 2 < 50


@pytest.mark.parametrize("how", ["groups", "column", "copies"])
def test_no_lesion_is_in_both_parts_of_the_inner_split(lesions, lesion_files, how):
    classifier = Quick(max_epochs=1, validation_fraction=0.3, image_size=16)
    if how == "groups":
        lesion = lesions.groups
        classifier.fit(lesions.images, lesions.target, groups=lesion)
    elif how == "column":
        lesion = lesions.groups
        classifier.fit(lesion_files, lesions.target)
    else:
        lesion = np.tile(np.arange(168), 2)
        classifier.fit(np.tile(lesions.images, (2, 1, 1, 1)), np.tile(lesions.target, 2))
    held_out = classifier.validation_indices_
    training = np.setdiff1d(np.arange(len(lesion)), held_out)

    assert len(held_out) > 20
    assert not set(lesion[held_out]) & set(lesion[training])


def test_groups_go_before_the_column(lesions, lesion_files):
    pairs = np.arange(168) // 8

    classifier = Quick(max_epochs=1, validation_fraction=0.3, image_size=16)
    classifier.fit(lesion_files, np.array(lesions.target_names)[pairs % 7], groups=pairs)

    held_out = classifier.validation_indices_
    assert not set(pairs[held_out]) & set(np.delete(pairs, held_out))


def test_paths_and_pixels_give_the_same_network_and_the_same_predictions(lesions, lesion_files):
    by_pixels = Quick().fit(lesions.images, lesions.target, groups=lesions.groups)
    by_paths = Quick(image_size=16).fit(lesion_files, lesions.target)

    assert_same_bits(weights(by_pixels), weights(by_paths))
    np.testing.assert_array_equal(by_pixels.predict_proba(lesion_files), by_paths.predict_proba(lesions.images))
    np.testing.assert_array_equal(
        by_paths.predict_proba(lesion_files), by_paths.predict_proba(lesion_files["image"].tolist())
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda images: (images / 255).astype(np.float32),
        lambda images: images / 255,
        lambda images: images.astype(np.int64),
        lambda images: images.reshape(len(images), -1),
        lambda images: np.asfortranarray(images),
        lambda images: images.tolist(),
    ],
    ids=["float32", "float64", "int64", "flat", "fortran", "list"],
)
def test_the_form_of_the_pixels_does_not_matter(fitted, lesions, change):
    expected = fitted.predict_proba(lesions.images[:20])

    np.testing.assert_allclose(fitted.predict_proba(change(lesions.images[:20])), expected, atol=2e-6)


@pytest.mark.usefixtures("no_global_randomness")
def test_the_seed_decides_every_bit_and_global_generators_are_left_alone(lesions):
    def fit(seed):
        return weights(Quick(random_state=seed).fit(lesions.images, lesions.target, groups=lesions.groups))

    first = fit(0)
    torch.rand(0)
    assert_same_bits(first, fit(0))
    other = fit(1)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_random_state_instance_moves_on(lesions):
    def fit(random_state):
        return weights(Quick(random_state=random_state, max_epochs=1).fit(lesions.images, lesions.target))

    state = np.random.RandomState(0)
    first, second = fit(state), fit(state)

    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert_same_bits(first, fit(np.random.RandomState(0)))


def test_augmentation_is_on_by_default_and_its_parameters_are_searchable(lesions):
    def fit(**params):
        classifier = Quick(max_epochs=1).set_params(**params)
        return weights(classifier.fit(lesions.images, lesions.target, groups=lesions.groups))

    default = fit()
    assert_same_bits(default, fit(augmentation=LesionAugmenter()))
    for other in [{"augmentation": None}, {"augmentation": "light"}, {"augmentation": "strong"}]:
        changed = fit(**other)
        assert any(not torch.equal(default[name], changed[name]) for name in default), other
    nested = fit(augmentation=LesionAugmenter(), augmentation__rotation=90)
    assert any(not torch.equal(default[name], nested[name]) for name in default)


def test_a_class_of_weight_zero_is_not_learnt(lesions):
    images, y, groups = lesions.images, lesions.target, lesions.groups

    without_nv = Quick(max_epochs=4, monitor="valid_loss", class_weight={"nv": 0.0})
    without_nv.fit(images, y, groups=groups)
    only_nv = Quick(max_epochs=4, monitor="valid_loss", class_weight=None, lr=0.01)
    only_nv.fit(images, y, groups=groups, sample_weight=np.where(y == "nv", 1.0, 1e-4))

    with_nv = Quick(max_epochs=4, monitor="valid_loss").fit(images, y, groups=groups)
    assert without_nv.predict_proba(images)[:, 5].mean() < with_nv.predict_proba(images)[:, 5].mean() - 0.01
    assert (only_nv.predict(images) == "nv").mean() > 0.9


def test_balanced_weights_undo_the_imbalance():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [180, 20])
    noise = rng.integers(0, 256, size=(200, 8, 8, 1), dtype=np.uint8)  # nothing to learn but the prior
    plain, balanced = (
        LesionCNNClassifier(class_weight=weight, sampler=None, max_epochs=3, early_stopping=False, random_state=0)
        .fit(noise, y)
        .predict_proba(noise)[:, 1]
        .mean()
        for weight in (None, "balanced")
    )

    assert plain < 0.25 < 0.35 < balanced


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "plateau", None])
def test_learning_rate_schedules(lesions, schedule):
    classifier = Quick(lr=0.01, lr_schedule=schedule, max_epochs=6, patience=6, batch_size=32)
    rates = classifier.fit(lesions.images, lesions.target, groups=lesions.groups).history_["lr"].to_numpy()

    assert rates.max() <= 0.01
    if schedule == "onecycle":
        assert rates[0] < 0.001
        assert rates.argmax() in (1, 2)
        assert rates[-1] < 0.004
    elif schedule == "cosine":
        assert (np.diff(rates) < 0).all()
    else:
        assert rates[0] == 0.01
        assert (rates == 0.01).all() or schedule == "plateau"


@pytest.mark.parametrize("optimizer", ["sgd", torch.optim.RMSprop])
def test_optimizers(lesions, optimizer):
    classifier = Quick(optimizer=optimizer, lr=0.001).fit(lesions.images, lesions.target)

    assert type(classifier.net_.optimizer_).__name__ == {"sgd": "SGD"}.get(optimizer, "RMSprop")


def test_without_early_stopping_every_image_is_trained_on(lesions):
    classifier = Quick(early_stopping=False).fit(lesions.images, lesions.target)

    assert classifier.validation_indices_.tolist() == []
    assert "valid_loss" not in classifier.history_
    assert classifier.best_epoch_ == classifier.n_epochs_ == 2


def test_no_lesion_to_spare_is_said_and_training_goes_on():
    images = np.random.default_rng(0).integers(0, 256, size=(8, 8, 8, 3), dtype=np.uint8)

    with pytest.warns(UserWarning, match="No lesion can be put aside for early stopping.*one lesion only"):
        classifier = Quick(max_epochs=1).fit(images, [0, 0, 0, 0, 1, 1, 1, 1], groups=["a"] * 4 + ["b"] * 4)

    assert classifier.n_epochs_ == 1


def a_small_network(image_shape, n_classes, hidden=4):
    height, width, channels = image_shape
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(height * width * channels, hidden),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(hidden, n_classes),
    )


@pytest.mark.usefixtures("no_global_randomness")
def test_an_own_network_is_seeded_too(lesions):
    def fit():
        classifier = Quick(architecture=a_small_network, architecture_params={"hidden": 5})
        return classifier.fit(lesions.images, lesions.target)

    first = fit()
    assert first.net_.module_.network[1].out_features == 5
    assert_same_bits(weights(first), weights(fit()))


def test_pickle_gives_the_same_predictions_and_carries_no_training_image(lesions):
    images = np.tile(lesions.images, (20, 1, 1, 1))
    classifier = Quick(max_epochs=1, batch_size=512).fit(images, np.tile(lesions.target, 20))
    before = classifier.predict_proba(lesions.images)

    stored = pickle.dumps(classifier)

    assert len(stored) < images.nbytes / 5
    np.testing.assert_array_equal(pickle.loads(stored).predict_proba(lesions.images), before)


def test_a_clone_is_unfitted_and_a_second_fit_forgets_the_first(lesions):
    classifier = Quick(max_epochs=1).fit(lesions.images, lesions.target)
    with pytest.raises(NotFittedError):
        clone(classifier).predict(lesions.images)

    classifier.fit(lesions.images[:, :8, :8, :1], lesions.target == "nv")

    assert classifier.image_shape_ == (8, 8, 1)
    assert classifier.classes_.tolist() == [False, True]


def test_one_image_and_the_order_of_images_do_not_matter(fitted, lesions):
    together = fitted.predict_proba(lesions.images[:70])

    np.testing.assert_allclose(fitted.predict_proba(lesions.images[33:34])[0], together[33], atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(lesions.images[:70][::-1])[::-1], together, atol=1e-6)


def test_pixels_of_a_pipeline_standardised_before(lesions):
    standardized = ImageStandardizer().fit_transform(lesions.images)

    classifier = Quick().fit(standardized, lesions.target, groups=lesions.groups)

    assert classifier.value_range_[0] < 0
    assert classifier.predict(standardized).shape == (168,)
    with pytest.raises(ValueError, match=r"fitted on float images with values from .* X is uint8"):
        classifier.predict(lesions.images)


@pytest.mark.parametrize(
    ("make_input", "message"),
    [
        (lambda x: x[:, :8, :8], r"fitted on images of shape \(16, 16, 3\); X has images of shape \(8, 8, 3\)"),
        (lambda x: x[..., :1], r"fitted on images of shape \(16, 16, 3\); X has images of shape \(16, 16, 1\)"),
        (lambda x: x.astype(float), "Float images must have values in 0-1; row 0 of X has"),
        (lambda x: x / 255 - 0.5, "fitted on uint8 images or floats in 0-1; X has float values from -0.5"),
        (lambda x: np.moveaxis(x, 3, 1), "The channels come first here"),
        (lambda x: x[0], r"A single image is passed as X\[np.newaxis\]"),
        (lambda x: x[:0], "X holds no images"),
        (lambda x: x.reshape(len(x), -1)[:, :100], "100 features, but LesionCNNClassifier is expecting 768"),
        (lambda x: ["no_such_file.jpg"], "no_such_file.jpg: no such file"),
    ],
    ids=["size", "channels", "0-255", "scale", "channels-first", "single", "empty", "flat", "missing"],
)
def test_other_images_than_at_fit_are_refused(fitted, lesions, make_input, message):
    with pytest.raises(ValueError, match=message):
        fitted.predict(make_input(lesions.images))


def test_files_for_a_classifier_of_strips_are_refused(lesion_files):
    rows = np.random.default_rng(0).normal(size=(20, 5))
    classifier = Quick(max_epochs=1).fit(rows, np.repeat([0, 1], 10))

    with pytest.raises(ValueError, match=r"fitted on images of shape \(1, 5, 1\).*Pass arrays of that shape"):
        classifier.predict(lesion_files)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lr": 0}, "'lr' parameter of LesionCNNClassifier must be a float in the range"),
        ({"batch_size": 1}, "'batch_size' parameter"),
        ({"monitor": "loss"}, "'monitor' parameter of LesionCNNClassifier must be a str among .*Got 'loss'"),
        ({"augmentation": "heavy"}, "'augmentation' parameter .* instance of .*LesionAugmenter.*Got 'heavy'"),
        ({"augmentation": LesionAugmenter(zoom=-1)}, "'zoom' parameter of LesionAugmenter"),
        ({"class_weight": {"nevus": 2}}, r"class_weight names \['nevus'\], but the classes of y are \['akiec'"),
        (
            {"class_weight": {"mel": -1.0}},
            r"weights of class_weight must be 0 or more; those of \['mel'\] are not",
        ),
        ({"random_state": "seed"}, "'random_state' parameter"),
        ({"device": "abacus"}, "device='abacus' cannot be used on this machine"),
        ({"mixed_precision": True, "device": "cpu"}, "mixed_precision=True needs a GPU with bfloat16"),
        ({"image_shape": (4, 4, 3)}, "image_shape=.* holds 48 values, but the rows of X have 768"),
        ({"architecture_params": {"dropout": 1.5}}, r"dropout of lesion_cnn must be in \[0, 1\); got 1.5"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_parameters_are_named(lesions, params, message):
    X = lesions.images.reshape(168, -1) if "image_shape" in params else lesions.images
    with pytest.raises(ValueError, match=message):
        Quick().set_params(**params).fit(X, lesions.target)


def test_wrong_architecture_params_and_networks_are_named(lesions):
    with pytest.raises(TypeError, match="do not fit lesion_cnn, which takes width, depth and dropout"):
        Quick(architecture_params={"layers": 3}).fit(lesions.images, lesions.target)
    with pytest.raises(TypeError, match=r"architecture must return a torch.nn.Module"):
        Quick(architecture=lambda shape, n_classes: "network", architecture_params=None).fit(
            lesions.images, lesions.target
        )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"y": None}, "requires y to be passed, but the target y is None"),
        ({"y": ["nv"] * 168}, r"one class only \(.*nv.*\); a classifier needs at least two classes"),
        ({"y": ["nv", "mel"] * 50}, r"inconsistent numbers of samples: \[168, 100\]"),
        ({"y": ["nv", None, "mel", np.nan] * 42}, r"a label for every image; it is missing in rows \[1, 3, 5, 7"),
        ({"y": np.linspace(0, 1, 168)}, "Unknown label type: continuous"),
        ({"groups": ["a"] * 5}, r"groups must have one value for each of the 168 images of X; got shape \(5,\)"),
        ({"groups": [None] * 168}, "groups must name a lesion for every image; 168 of 168 are missing"),
        ({"sample_weight": np.zeros(168)}, "zero"),
        ({"sample_weight": -np.ones(168)}, "Negative values in data passed to `sample_weight`"),
        ({"sample_weight": np.ones(5)}, r"sample_weight.shape == \(5,\), expected \(168,\)"),
    ],
)
def test_wrong_labels_groups_and_weights_are_named(lesions, kwargs, message):
    with pytest.raises(ValueError, match=message):
        Quick().fit(**{"X": lesions.images, "y": lesions.target} | kwargs)


def test_every_unreadable_file_is_listed_in_one_message(lesion_files, lesions, tmp_path):
    (tmp_path / "empty.jpg").touch()
    frame = lesion_files.copy()
    frame.loc[3, "image"] = str(tmp_path / "empty.jpg")
    frame.loc[5, "image"] = str(tmp_path / "missing.jpg")

    with pytest.raises(ValueError, match=r"(?s)2 of 168 .*row 3: .*empty.jpg: an empty file.*row 5: .*missing"):
        Quick(image_size=16).fit(frame, lesions.target)


def test_before_fit_predicting_is_refused(lesions):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        Quick().predict(lesions.images)


def test_the_loader_in_a_pipeline_sees_the_pixels_that_the_classifier_sees(lesion_files, fitted):
    images = ImageLoader(16).transform(lesion_files)

    np.testing.assert_array_equal(fitted.predict_proba(images), fitted.predict_proba(lesion_files))
    np.testing.assert_allclose(
        fitted.predict_proba(ImageFlattener().fit_transform(images)), fitted.predict_proba(images), atol=2e-6
    )
