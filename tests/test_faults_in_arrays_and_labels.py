"""Faults of arrays, labels and groups, as a user meets them: in ``fit``, ``predict`` and `cross_validate`.

The parts that refuse them have tests of their own (tests/test_validation.py, tests/estimator, tests/evaluation).
"""

from __future__ import annotations

import functools
import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold

from skinclf import LesionCNNClassifier
from skinclf.evaluation import LeakageError, classification_metrics, cross_validate

Quick = functools.partial(
    LesionCNNClassifier,
    max_epochs=2,
    image_size=16,
    architecture_params={"width": 8, "depth": 1},
    random_state=0,
)


@pytest.fixture(scope="module")
def fitted(lesions):
    return Quick().fit(lesions.images, lesions.target, groups=lesions.groups)


@pytest.fixture(params=["fit", "predict", "cross_validate"])
def use(request, fitted, lesions):
    """Each way to hand images to the library, as a function of them."""

    def cross_validate_twofold(X):
        return cross_validate(Quick(), X, lesions.target, groups=lesions.groups, cv=2)

    return {
        "fit": lambda X: Quick().fit(X, lesions.target, groups=lesions.groups),
        "predict": fitted.predict,
        "cross_validate": cross_validate_twofold,
    }[request.param]


def refuses(kind, message):
    return pytest.raises(kind, match=re.escape(message))


# --- arrays --------------------------------------------------------------------------------------------


@pytest.mark.fault(26)
@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("form", ["images", "rows"])
def test_numbers_that_are_not_finite(use, lesions, value, name, form):
    X = lesions.images / 255
    X[0, 4, 5, 1] = value
    if form == "images":
        with refuses(ValueError, f"Row 0 of X contains {name}. Images must be finite."):
            use(X)
    else:
        with refuses(ValueError, f"Input X contains {name}"):
            use(X.reshape(len(X), -1))


@pytest.mark.fault(27)
def test_floats_in_0_to_255(use, lesions):
    with refuses(ValueError, 'row 0 of X has 255.0. Pass X.astype("uint8") for values in 0-255, or X / 255.'):
        use(np.full(lesions.images.shape, 255.0))


@pytest.mark.fault(27)
def test_integers_of_more_than_8_bits(use, lesions):
    with refuses(ValueError, "Integer images must have values in 0-255; X has dtype uint16 and values from"):
        use(lesions.images.astype(np.uint16) * 256)


@pytest.mark.fault(27)
def test_rows_on_another_scale_than_at_fit(lesions):
    rows = lesions.images.reshape(len(lesions.images), -1)
    by_uint8 = Quick(max_epochs=1).fit(rows, lesions.target)
    by_floats = Quick(max_epochs=1).fit(rows.astype(np.float32), lesions.target)

    with refuses(ValueError, "fitted on uint8 images or floats in 0-1; X has float values from"):
        by_uint8.predict(rows.astype(np.float32))
    with refuses(ValueError, "fitted on float images with values from"):
        by_floats.predict(rows)


@pytest.mark.fault(28)
@pytest.mark.parametrize("dtype", [object, complex, bool, "datetime64[s]"])
def test_types_that_are_no_pixels(use, lesions, dtype):
    with refuses(TypeError, f"X must be uint8 in 0-255 or float in 0-1; got dtype {np.dtype(dtype)}."):
        use(lesions.images.astype(dtype))


@pytest.mark.fault(28)
def test_complex_rows(use, lesions):
    with refuses(ValueError, "Complex data not supported"):
        use(lesions.images.reshape(len(lesions.images), -1).astype(complex))


@pytest.mark.fault(28, 35)
def test_an_object_array_of_images_of_mixed_sizes(fitted, lesions):
    mixed = np.empty(2, dtype=object)
    mixed[:] = [lesions.images[0], lesions.images[1][:8]]
    with refuses(ValueError, "row 0 has (16, 16, 3) and row 1 has (8, 16, 3). Resize them first"):
        fitted.predict(mixed)


@pytest.mark.fault(29)
def test_channels_first(use, lesions):
    with refuses(ValueError, "The channels come first here: pass np.moveaxis(X, 1, -1)."):
        use(np.moveaxis(lesions.images, -1, 1))


@pytest.mark.fault(30)
def test_grey_images_without_a_channel_axis(use, lesions):
    with refuses(ValueError, "Images of one channel are passed as X[..., np.newaxis]."):
        use(lesions.images[..., 0])


@pytest.mark.fault(30)
def test_five_dimensions(fitted, lesions):
    for call in (fitted.predict, lambda X: Quick().fit(X, lesions.target)):
        with refuses(
            ValueError, "must have shape (n_images, height, width, channels); got shape (1, 168, 16, 16, 3)"
        ):
            call(lesions.images[np.newaxis])


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("n_channels", "remedy"),
    [
        (2, "Pass images with 1 (grey) or 3 (RGB) channels."),
        (4, "Drop the alpha channel: pass X[..., :3]."),
        (5, "Pass images with 1 (grey) or 3 (RGB) channels."),
    ],
)
def test_two_four_or_five_channels(use, lesions, n_channels, remedy):
    X = np.concatenate([lesions.images, lesions.images], axis=-1)[..., :n_channels]
    with pytest.raises(
        ValueError, match=rf"with 1 or 3 channels; got shape \(\d+, 16, 16, {n_channels}\)\. "
    ) as caught:
        use(X)
    assert remedy in str(caught.value)


@pytest.mark.fault(32)
def test_no_image_to_fit_on(lesions):
    with refuses(ValueError, "X holds no images: its shape is (0, 16, 16, 3)."):
        Quick().fit(lesions.images[:0], lesions.target[:0])
    with refuses(ValueError, "X holds no images: its shape is (168, 16, 0, 3)."):
        Quick().fit(lesions.images[:, :, :0], lesions.target)
    with refuses(ValueError, "Found array with 0 sample(s)"):
        Quick().fit(lesions.images[:0].reshape(0, 768), lesions.target[:0])
    with refuses(ValueError, "y is empty; at least one label is needed."):
        cross_validate(Quick(), lesions.images[:0], lesions.target[:0])


@pytest.mark.fault(33)
def test_lengths_that_differ_in_fit(lesions, lesion_files):
    with refuses(ValueError, "X and y must have as many rows"):
        Quick().fit(lesions.images[:100], lesions.target)
    with refuses(ValueError, "[100, 168]"):
        Quick().fit(lesion_files.iloc[:100], lesions.target)
    with refuses(ValueError, "groups must have one value for each of the 168 images of X; got shape (168, 2)."):
        Quick().fit(lesions.images, lesions.target, groups=np.stack([lesions.groups, lesions.groups], axis=1))


@pytest.mark.fault(33)
def test_weights_that_are_too_few_in_cross_validation(lesions):
    weights = {"sample_weight": np.ones(9)}
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(9,\), expected \(\d+,\)"):
        cross_validate(Quick(), lesions.images, lesions.target, groups=lesions.groups, cv=2, params=weights)


@pytest.mark.fault(34)
def test_a_read_only_memory_map_in_cross_validation(lesions, tmp_path):
    np.save(tmp_path / "images.npy", lesions.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")

    from_map, from_memory = (
        cross_validate(Quick(), X, lesions.target, groups=lesions.groups, cv=2) for X in (mapped, lesions.images)
    )

    np.testing.assert_array_equal(from_map.y_proba, from_memory.y_proba)


@pytest.mark.fault(35)
def test_files_of_any_size_become_the_size_of_fit(fitted, lesions, tmp_path):
    from PIL import Image

    Image.fromarray(np.kron(lesions.images[0], np.ones((2, 2, 1), np.uint8))).save(tmp_path / "larger.png")

    larger = fitted.predict_proba([tmp_path / "larger.png"])

    np.testing.assert_allclose(larger, fitted.predict_proba(lesions.images[:1]), atol=0.05)


@pytest.mark.fault(35)
def test_rows_of_another_length_than_at_fit(fitted, lesions):
    with refuses(ValueError, "X has 192 features, but LesionCNNClassifier is expecting 768 features as input."):
        fitted.predict(lesions.images[:, :8, :8].reshape(len(lesions.images), -1))


@pytest.mark.fault(26)
def test_a_row_that_is_named_in_cross_validation_is_a_row_of_all_images(lesions):
    X = lesions.images / 255
    X[101] = np.nan
    with pytest.raises(ValueError, match="contains NaN") as caught:
        cross_validate(Quick(), X, lesions.target, groups=lesions.groups, cv=2)
    words = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert re.search(r"[Rr]ow 101\b", words) or "fold" in words


# --- labels --------------------------------------------------------------------------------------------


@pytest.mark.fault(45)
def test_one_class_is_left_in_the_training_part_of_a_fold(lesions):
    is_mel = lesions.target == "mel"
    others, mel_and_few = np.flatnonzero(~is_mel), np.flatnonzero(is_mel)
    with refuses(ValueError, "y holds one class only (False); a classifier needs at least two classes."):
        cross_validate(Quick(), lesions.images, is_mel, groups=lesions.groups, cv=[(others, mel_and_few)])


@pytest.mark.fault(46)
def test_a_class_smaller_than_the_number_of_folds(lesions):
    with pytest.raises(
        ValueError, match=r"cv=20 needs at least 20 lesions.*class akiec has 12 .*Use cv=12, merge it"
    ):
        cross_validate(Quick(), lesions.images, lesions.target, groups=lesions.groups, cv=20)


@pytest.mark.fault(47)
def test_a_class_of_one_lesion_is_trained_on_and_never_put_aside(lesions):
    y = np.where(lesions.groups == lesions.groups[0], "one lesion", lesions.target)

    classifier = Quick(validation_fraction=0.4).fit(lesions.images, y, groups=lesions.groups)

    held_out = classifier.validation_indices_
    assert len(held_out) > 20
    assert "one lesion" not in y[held_out]
    assert "one lesion" in classifier.classes_
    assert np.isfinite(classifier.history_["valid_loss"]).all()
    with refuses(ValueError, "A class of one can be trained on or tested, not both: leave it out"):
        cross_validate(Quick(), lesions.images, y, groups=lesions.groups, cv=2)


@pytest.mark.fault(48)
def test_a_missing_lesion_in_the_column(lesions, lesion_files):
    frame = lesion_files.assign(lesion_id=lesion_files["lesion_id"].astype(object))
    frame.iloc[[3, 17], frame.columns.get_loc("lesion_id")] = None, ""
    message = "groups must name a lesion for every image; 2 of 168 are missing (rows [3, 17])"
    with refuses(ValueError, message):
        Quick().fit(frame, lesions.target)
    with refuses(ValueError, f"The column 'lesion_id' of X, which is used as no groups were passed: {message}"):
        cross_validate(Quick(), frame, lesions.target, cv=2)


@pytest.mark.fault(48)
def test_a_missing_lesion_does_not_matter_to_predictions_or_where_groups_are_given(fitted, lesions, lesion_files):
    frame = lesion_files.assign(lesion_id=None)
    np.testing.assert_array_equal(fitted.predict_proba(frame), fitted.predict_proba(lesion_files))
    again = Quick().fit(frame, lesions.target, groups=lesions.groups)
    np.testing.assert_array_equal(again.predict_proba(lesions.images), fitted.predict_proba(lesions.images))


@pytest.mark.fault(49)
def test_a_lesion_of_the_column_on_both_sides_of_a_split(lesions, lesion_files):
    by_image = StratifiedKFold(2, shuffle=True, random_state=0)
    with pytest.raises(
        LeakageError, match=r"test rows are of a group \(lesion\) that is also trained on"
    ) as caught:
        cross_validate(Quick(), lesion_files, lesions.target, cv=by_image)
    named = re.search(r"test row (\d+) and training row (\d+) are both '(\S+)'", str(caught.value))
    assert lesions.groups[int(named[1])] == lesions.groups[int(named[2])] == named[3]


@pytest.mark.fault(50)
def test_fewer_lesions_of_the_column_than_folds(lesions, lesion_files):
    frame = lesion_files.assign(lesion_id=np.where(lesions.target == "nv", "one", "other"))
    with refuses(ValueError, "cv=3 needs at least 3 lesions (groups); there are 2. Use fewer folds."):
        cross_validate(Quick(), frame, lesions.target, cv=3)


@pytest.fixture(scope="module")
def without_mel_in_one_fold(lesions):
    """Two folds by lesion; all melanomas are tested in the second, and so never trained on there."""
    second_half = np.isin(lesions.groups, np.unique(lesions.groups)[::2]) | (lesions.target == "mel")
    first, second = np.flatnonzero(~second_half), np.flatnonzero(second_half)
    return [(second, first), (first, second)]


@pytest.mark.fault(51)
def test_a_class_absent_from_a_fold(lesions, without_mel_in_one_fold):
    result = cross_validate(
        Quick(), lesions.images, lesions.target, groups=lesions.groups, cv=without_mel_in_one_fold
    )

    mel = result.classes.tolist().index("mel")
    assert [("mel" in fitted.classes_) for fitted in result.estimators] == [True, False]
    (_, with_mel), (_, without_mel) = without_mel_in_one_fold
    assert (result.y_proba[with_mel, mel] > 0).all()
    assert (result.y_proba[without_mel, mel] == 0).all()
    np.testing.assert_allclose(result.y_proba.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(result.classes[result.y_proba.argmax(axis=1)], result.y_pred)
    metrics = classification_metrics(result.y_true, result.y_pred, y_proba=result.y_proba, labels=result.classes)
    assert metrics.per_class["roc_auc"].notna().all()  # over all folds, every class is there
    assert np.isfinite(result.scores).all(axis=None)


@pytest.mark.fault(51)
def test_an_area_that_a_fold_cannot_have_is_never_nan_without_a_word(lesions, without_mel_in_one_fold):
    arguments = {"X": lesions.images, "groups": lesions.groups, "cv": without_mel_in_one_fold}
    with refuses(ValueError, "Number of classes in y_true not equal to the number of columns in 'y_score'"):
        cross_validate(Quick(), y=lesions.target, scoring="roc_auc_ovr", **arguments)
    arguments["cv"] = without_mel_in_one_fold[:1]
    with pytest.warns(UndefinedMetricWarning, match="Only one class is present in y_true"):
        result = cross_validate(Quick(), y=lesions.target == "mel", scoring="roc_auc", **arguments)
    assert np.isnan(result.scores["roc_auc"]).all()


@pytest.mark.fault(52)
@pytest.mark.filterwarnings("ignore:.* were in the training")  # and the melanomas were not
def test_a_class_that_training_never_saw(lesions):
    X, y = lesions.images, lesions.target
    known = y != "mel"
    classifier = Quick().fit(X[known], y[known])

    predicted, probabilities = classifier.predict(X), classifier.predict_proba(X)

    assert "mel" not in predicted
    assert probabilities.shape == (168, 6)
    assert classifier.score(X, y) == np.mean(predicted == y)  # each melanoma is an error
    assert classification_metrics(y, predicted).per_class.loc["mel", "sensitivity"] == 0
    with refuses(ValueError, "y_true holds 'mel' in row"):
        classification_metrics(y, predicted, y_proba=probabilities, labels=classifier.classes_)
    with refuses(ValueError, "a column for each of the 7 classes"):
        classification_metrics(y, predicted, y_proba=probabilities)
    with refuses(ValueError, "Number of classes in y_true not equal to the number of columns in 'y_score'"):
        get_scorer("roc_auc_ovr")(classifier, X, y)


# --- running -------------------------------------------------------------------------------------------


def normalized_network(image_shape, n_classes):
    """Batch normalisation of single values, which torch refuses for a batch of one."""
    height, width, channels = image_shape
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(height * width * channels, 4),
        torch.nn.BatchNorm1d(4),
        torch.nn.Linear(4, n_classes),
    )


@pytest.mark.fault(71)
@pytest.mark.parametrize(("n_images", "batch_size"), [(33, 16), (33, 32), (3, 2), (17, 2)])
@pytest.mark.parametrize("architecture", ["lesion_cnn", normalized_network])
def test_a_last_batch_of_one(lesions, architecture, n_images, batch_size):
    classifier = Quick(architecture=architecture, batch_size=batch_size, early_stopping=False)
    if architecture is normalized_network:
        classifier.set_params(architecture_params=None)
        module = normalized_network((16, 16, 3), 2)
        with refuses(ValueError, "Expected more than 1 value per channel when training"):
            module(torch.zeros(1, 3, 16, 16))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.fit(lesions.images[:n_images], np.arange(n_images) % 2)

    assert np.isfinite(classifier.predict_proba(lesions.images[:n_images])).all()
    assert np.isfinite(classifier.history_["train_loss"]).all()


@pytest.mark.fault(73)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_before_fit_every_question_is_refused(lesions, lesion_files, method):
    for X in (lesions.images, lesion_files, lesions.images.reshape(168, -1)):
        arguments = (X, lesions.target) if method == "score" else (X,)
        with refuses(NotFittedError, "This LesionCNNClassifier instance is not fitted yet. Call 'fit'"):
            getattr(Quick(), method)(*arguments)


@pytest.mark.fault(73)
def test_after_wrong_arguments_of_fit_the_classifier_is_as_before(lesions):
    classifier = Quick(max_epochs=1).fit(lesions.images, lesions.target)
    before = classifier.predict_proba(lesions.images)

    with refuses(ValueError, "one class only"):
        classifier.fit(lesions.images[:, :8, :8], ["nv"] * 168)
    with refuses(ValueError, "groups must have one value"):
        classifier.fit(lesions.images[:, :8, :8], lesions.target == "nv", groups=lesions.groups[:5])

    assert classifier.image_shape_ == (16, 16, 3)
    assert len(classifier.classes_) == 7
    np.testing.assert_array_equal(classifier.predict_proba(lesions.images), before)
