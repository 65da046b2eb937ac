"""`metadata="auto"`: age, sex and body site enter beside the image, nothing else does, and unknown is welcome."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
import torch
from fitted_bits import bits
from PIL import Image
from saved_models import assert_same_classifier, edited
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from torch import nn

from skinclf import LesionCNNClassifier
from skinclf.augmentation import BatchMixer
from skinclf.estimator import ModelFileError
from skinclf.estimator._batches import ImageDataset, OrderedBatches, ShuffledBatches
from skinclf.estimator._metadata import COLUMNS, encode_metadata, learn_metadata
from skinclf.estimator._seeds import EpochDraws, FitSeeds
from skinclf.evaluation import LeakageWarning, cross_validate
from skinclf.preprocessing import ImageReadError

Fused = functools.partial(
    LesionCNNClassifier,
    metadata="auto",
    image_size=16,
    max_epochs=2,
    batch_size=32,
    architecture_params={"width": 8, "depth": 1},
    augmentation=None,
    random_state=0,
)


@pytest.fixture(scope="session")
def grey(lesions, tmp_path_factory):
    """The table of the painted lesions; every image is the same grey square."""
    path = tmp_path_factory.mktemp("grey") / "grey.png"
    Image.new("RGB", (16, 16), (128, 128, 128)).save(path)
    return lesions.data.assign(image=str(path))


@pytest.fixture(scope="session")
def fitted(lesion_files, lesions):
    """Not to be fitted again: tests share it."""
    return Fused().fit(lesion_files, lesions.target)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_classifier_learns_what_metadata_alone_give_away(grey, column):
    low = grey[column] < sorted(grey[column])[len(grey) // 2]
    y = np.where(low, "a", "b")
    assert 0.2 < np.mean(y == "a") < 0.8
    fit = functools.partial(Fused, max_epochs=20, lr=0.01, early_stopping=False)

    assert fit().fit(grey, y).score(grey, y) == 1
    blind = fit(metadata=None).fit(grey, y).predict(grey)
    assert len(set(blind)) == 1


def test_images_still_count_and_unknown_metadata_do_not_make_a_classifier_useless(lesion_files, lesions):
    sure = Fused(max_epochs=30, lr=0.01, architecture_params={"width": 16, "depth": 2}, early_stopping=False)
    sure.fit(lesion_files, lesions.target)
    unknown = lesion_files.assign(age=np.nan, sex=None, localization="unknown")
    assert sure.score(lesion_files, lesions.target) > 0.9
    assert sure.score(unknown, lesions.target) > 0.7


def test_dx_type_never_enters(lesion_files, lesions, fitted):
    betrayed = lesion_files.assign(dx_type=lesions.target, dx=lesions.target)
    other = Fused().fit(betrayed, lesions.target)
    assert bits(other, betrayed) == bits(fitted, lesion_files)
    assert other.metadata_ == fitted.metadata_
    assert (*fitted.metadata_,) == COLUMNS


def test_the_order_of_the_columns_does_not_matter(lesion_files, lesions, fitted):
    turned = lesion_files[lesion_files.columns[::-1]]
    assert bits(Fused().fit(turned, lesions.target), lesion_files) == bits(fitted, turned)


@pytest.mark.parametrize("form", ["array", "paths", "other columns"])
def test_auto_without_metadata_is_none_bit_for_bit(lesion_files, lesions, form, no_global_randomness):
    X = {
        "array": lesions.images,
        "paths": lesion_files["image"],
        "other columns": lesion_files[["image", "lesion_id"]],
    }
    groups = None if form == "other columns" else lesions.groups
    auto = Fused().fit(X[form], lesions.target, groups=groups)
    none = Fused(metadata=None).fit(X[form], lesions.target, groups=groups)
    assert auto.metadata_ is None
    assert none.metadata_ is None
    assert bits(auto, X[form]) == bits(none, X[form])


def test_with_none_columns_change_nothing(lesion_files, lesions):
    bare = Fused(metadata=None).fit(lesion_files[["image", "lesion_id"]], lesions.target)
    full = Fused(metadata=None).fit(lesion_files.assign(age="old"), lesions.target)
    assert full.metadata_ is None
    assert bits(bare, lesion_files) == bits(full, lesion_files)


def test_the_image_network_begins_with_the_weights_that_it_has_without_metadata(lesion_files, lesions):
    slow = {"lr": 1e-12, "weight_decay": 0, "max_epochs": 1, "lr_schedule": None}
    with_metadata = Fused(**slow).fit(lesion_files, lesions.target).net_.module_.network.network
    without = Fused(**slow, metadata=None).fit(lesion_files, lesions.target).net_.module_.network
    for (name, one), (_, other) in zip(with_metadata.named_parameters(), without.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9, msg=name)


def test_fits_repeat_and_leave_global_generators_alone(lesion_files, lesions, fitted, no_global_randomness):
    assert bits(Fused().fit(lesion_files, lesions.target), lesion_files) == bits(fitted, lesion_files)
    other = Fused(random_state=1).fit(lesion_files, lesions.target)
    assert not torch.equal(*(c.net_.module_.network.perceptron.hidden.weight for c in (fitted, other)))


def test_only_columns_of_the_fit_are_asked_for(lesion_files, lesions):
    classifier = Fused().fit(lesion_files[["image", "lesion_id", "sex"]], lesions.target)
    assert classifier.metadata_ == {"sex": ["female", "male"]}
    expected = classifier.predict_proba(lesion_files[["image", "sex"]])
    np.testing.assert_array_equal(classifier.predict_proba(lesion_files.assign(age="old")), expected)


def test_metadata_change_what_is_predicted(fitted, lesion_files):
    turned = lesion_files.assign(sex=np.where(lesion_files["sex"] == "male", "female", "male"))
    assert np.abs(fitted.predict_proba(turned) - fitted.predict_proba(lesion_files)).max() > 1e-6


@pytest.mark.parametrize("form", ["paths", "array", "frame"])
def test_columns_that_are_missing_in_prediction_are_unknown_and_one_warning_says_so(
    fitted, lesion_files, lesions, form
):
    X = {
        "paths": list(lesion_files["image"]),
        "array": lesions.images,
        "frame": lesion_files[["image", "lesion_id"]],
    }
    expected = fitted.predict_proba(lesion_files.assign(age=np.nan, sex="unknown", localization=None))
    for method in (fitted.predict_proba, fitted.predict):
        with pytest.warns(UserWarning) as caught:  # noqa: PT030
            result = method(X[form])
        (warning,) = caught
        assert str(warning.message) == (
            "The classifier was fitted with the metadata 'age', 'sex', 'localization', and X has no column 'age', "
            "'sex', 'localization': unknown for all of its images. Pass a DataFrame with the columns 'image', "
            "'age', 'sex', 'localization'."
        )
        assert warning.filename == __file__
        if result.ndim == 2:
            np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_one_missing_column_is_named_and_the_others_count(fitted, lesion_files):
    with pytest.warns(UserWarning, match=r"and X has no column 'sex': unknown"):
        result = fitted.predict_proba(lesion_files.drop(columns="sex"))
    np.testing.assert_array_equal(result, fitted.predict_proba(lesion_files.assign(sex=None)))


def test_wrong_columns_are_refused_before_any_image_is_read_and_lose_no_model(lesion_files, lesions):
    classifier = Fused().fit(lesion_files, lesions.target)
    before = bits(classifier, lesion_files)
    wrong = lesion_files.assign(image="missing.png", age=[*lesion_files["age"][:-1], 300])
    message = r"The column 'age' of X must .* 1 of 168 rows do not \(row 167: 300\.0\)"
    for call in (classifier.fit, classifier.partial_fit, lambda X, _: classifier.predict(X)):
        with pytest.raises(ValueError, match=message):
            call(wrong, lesions.target)
    with pytest.raises(ImageReadError, match=r"missing\.png"):
        classifier.fit(lesion_files.assign(image="missing.png", sex="x"), lesions.target)
    assert classifier.metadata_["sex"] == ["female", "male"]
    assert bits(classifier, lesion_files) == before


@pytest.mark.parametrize("value", ["all", True, ["age"]])
def test_the_parameter_is_checked(lesions, value):
    with pytest.raises(
        ValueError, match=r"The 'metadata' parameter of LesionCNNClassifier must be .*'auto'.* None"
    ):
        Fused(metadata=value).fit(lesions.images, lesions.target)


def test_a_network_of_ones_own_takes_metadata_too(grey):
    class Own(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.linear = nn.Linear(3, n_classes)

        def forward(self, x):
            return self.linear(x.mean(dim=(2, 3)))

    y = np.where(grey["sex"] == "male", "m", "f")
    params = {"architecture": Own, "architecture_params": None, "early_stopping": False, "lr": 0.01}
    assert Fused(max_epochs=20, **params).fit(grey, y).score(grey, y) == 1


def test_files_that_are_read_again_in_every_epoch_give_the_same_weights(lesion_files, lesions, fitted):
    streamed = Fused(memory_limit=0).fit(lesion_files, lesions.target)
    assert bits(streamed, lesion_files) == bits(fitted, lesion_files)


def test_save_and_load(fitted, lesion_files, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = LesionCNNClassifier.load(tmp_path / "model")
    assert loaded.metadata_ == fitted.metadata_
    assert_same_classifier(fitted, loaded, lesion_files)
    assert bits(loaded, lesion_files) == bits(fitted, lesion_files)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metadata_": {"age": [0.0, 9.0], "dx_type": ["histo"]}},
            "has metadata_ in a form that is not known here",
        ),
        ({"metadata_": None}, "holds other weights"),
        ({"metadata_": {"sex": ["female", "male"]}}, "holds other weights"),
    ],
    ids=["foreign", "none", "fewer"],
)
def test_a_file_whose_metadata_do_not_fit_is_refused(fitted, tmp_path, changes, message):
    fitted.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=message):
        LesionCNNClassifier.load(edited(tmp_path / "model", fitted=changes))


def test_a_file_from_before_there_were_metadata_is_read(lesion_files, lesions, tmp_path):
    from skinclf.estimator._container import read_container, write_container

    classifier = Fused(metadata=None).fit(lesion_files, lesions.target)
    classifier.save(tmp_path / "model")
    content = read_container(tmp_path / "model", "model")
    del content["fitted"]["metadata_"], content["params"]["metadata"]
    write_container(tmp_path / "model", "model", content)
    old = LesionCNNClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(old.predict_proba(lesion_files), classifier.predict_proba(lesion_files))


def test_pickle_and_clone(fitted, lesion_files, lesions):
    copied = pickle.loads(pickle.dumps(fitted))
    assert_same_classifier(fitted, copied, lesion_files)
    bare = clone(fitted)
    assert not hasattr(bare, "metadata_")
    assert bits(bare.fit(lesion_files, lesions.target), lesion_files) == bits(fitted, lesion_files)


def cut_off(classifier, X, y, epoch):
    """Fit, and press Ctrl-C in the middle of an epoch."""
    batches = ShuffledBatches.__iter__

    def interrupted(self):
        for number, batch in enumerate(batches(self)):
            if number == 1 and self.draws.epoch == epoch:
                raise KeyboardInterrupt
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShuffledBatches, "__iter__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            classifier.fit(X, y)


def test_a_run_that_was_cut_off_goes_on_and_other_metadata_are_another_run(lesion_files, lesions, tmp_path):
    undisturbed = Fused(max_epochs=4).fit(lesion_files, lesions.target)
    cut_off(Fused(max_epochs=4, checkpoint_dir=tmp_path), lesion_files, lesions.target, epoch=3)
    resumed = Fused(max_epochs=4, checkpoint_dir=tmp_path).fit(lesion_files, lesions.target)
    assert bits(resumed, lesion_files) == bits(undisturbed, lesion_files)
    assert len([*tmp_path.glob("*.safetensors")]) == 1

    other = lesion_files.assign(age=lesion_files["age"][::-1].to_numpy())
    fresh = Fused(max_epochs=4).fit(other, lesions.target)
    kept = Fused(max_epochs=4, checkpoint_dir=tmp_path).fit(other, lesions.target)
    assert len([*tmp_path.glob("*.safetensors")]) == 2
    assert bits(kept, other) == bits(fresh, other) != bits(undisturbed, lesion_files)


def test_a_warm_start_keeps_what_was_learnt_and_goes_on(lesion_files, lesions):
    def twice():
        classifier = Fused(warm_start=True).fit(lesion_files, lesions.target)
        learned = classifier.metadata_
        classifier.fit(lesion_files.assign(localization="knee"), lesions.target)
        assert classifier.metadata_ is learned
        assert classifier.n_epochs_ == 4
        return bits(classifier, lesion_files)

    assert twice() == twice()


def test_partial_fit_keeps_what_the_first_part_had(grey):
    y = np.where(grey["sex"] == "male", "m", "f")
    classifier = Fused(lr=0.01)
    for _ in range(15):
        for part in (slice(None, None, 2), slice(1, None, 2)):
            classifier.partial_fit(grey[part], y[part], ["f", "m"])
    assert classifier.metadata_ == learn_metadata(grey[::2])
    assert classifier.score(grey, y) == 1
    with pytest.warns(UserWarning, match="X has no column 'age', 'localization': unknown"):
        classifier.partial_fit(grey[["image", "sex"]], y)


def test_a_saved_classifier_goes_on(fitted, lesion_files, lesions, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = LesionCNNClassifier.load(tmp_path / "model").partial_fit(lesion_files, lesions.target)
    assert loaded.n_epochs_ == fitted.n_epochs_ + 1
    assert loaded.metadata_ == fitted.metadata_


def test_a_network_without_metadata_that_goes_on_says_that_columns_are_not_used(lesion_files, lesions):
    classifier = Fused(warm_start=True).fit(lesion_files[["image", "lesion_id"]], lesions.target)
    with pytest.warns(
        UserWarning, match="was trained without metadata: 'age', 'sex', 'localization' of X are not"
    ):
        classifier.fit(lesion_files, lesions.target)
    assert classifier.metadata_ is None


@pytest.mark.parametrize(
    "call",
    [
        lambda classifier, X, y, _: classifier.fit(X, y),
        lambda classifier, X, y, _: classifier.partial_fit(X, y),
        lambda classifier, X, y, folder: classifier.save(folder / "model"),
    ],
    ids=["fit", "partial_fit", "save"],
)
def test_the_parameter_cannot_change_under_a_network(lesion_files, lesions, tmp_path, call):
    classifier = Fused(warm_start=True).fit(lesion_files, lesions.target)
    before = classifier.predict_proba(lesion_files)
    classifier.set_params(metadata=None)
    np.testing.assert_array_equal(classifier.predict_proba(lesion_files), before)
    with pytest.raises(ValueError, match=r"^metadata was changed after the classifier was fitted.*Set it back to"):
        call(classifier, lesion_files, lesions.target, tmp_path)
    assert classifier.set_params(warm_start=False).fit(lesion_files, lesions.target).metadata_ is None


def test_onnx_says_what_to_do_and_leaves_no_file(fitted, tmp_path):
    pytest.importorskip("onnxscript")
    with pytest.raises(ValueError, match=r"metadata \['age', 'sex', 'localization'\].*Fit with metadata=None"):
        fitted.to_onnx(tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]


def test_batches_keep_images_and_metadata_together():
    images = np.arange(33, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    metadata = np.arange(33, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    dataset = ImageDataset(images, np.arange(3, 33), metadata=metadata)
    params = {"augmenter": None, "value_range": (0, 1), "device": "cpu"}
    shuffled = ShuffledBatches(dataset, 8, draws=EpochDraws(FitSeeds.spawn(0)), **params)
    for batches in (OrderedBatches(dataset, 8), shuffled):
        for inputs, _ in batches:
            assert inputs["metadata"].dtype == torch.float32
            assert torch.equal(inputs["metadata"][:, 1], inputs["images"][:, 0, 0, 0].float())


@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 1.5, 16)], ids=["plain", "weighted"])
def test_mixed_images_have_metadata_in_the_same_shares(weight):
    values = np.linspace(0, 1, 16, dtype=np.float32)
    images = values[:, None, None, None] * np.ones((1, 8, 8, 3), np.float32)
    dataset = ImageDataset(images, y=np.arange(16) % 3, weight=weight, metadata=values[:, None])
    params = {"augmenter": None, "value_range": (0, 1), "device": "cpu", "n_classes": 3}
    for mixer in (BatchMixer(mixup=1.0), BatchMixer(cutmix=1.0)):
        batches = ShuffledBatches(dataset, 16, draws=EpochDraws(FitSeeds.spawn(0)), mixer=mixer, **params)
        ((inputs, targets),) = batches
        assert targets.shape == (16, 3)
        torch.testing.assert_close(inputs["metadata"][:, 0], inputs["images"].mean(dim=(1, 2, 3)))
        assert (inputs["metadata"][:, 0].sort().values - torch.from_numpy(values)).abs().max() > 1e-3


def test_mixer_and_sampler_train_with_metadata(lesion_files, lesions):
    classifier = Fused(mixer=BatchMixer(mixup=0.4, cutmix=1.0), sampler="balanced", class_weight=None)
    once, again = (bits(clone(classifier).fit(lesion_files, lesions.target), lesion_files) for _ in range(2))
    assert once == again


def test_the_leak_guard_sees_images_whatever_their_metadata(lesion_files, lesions):
    half = lesion_files.iloc[:84]
    classifier = Fused().fit(half, lesions.target[:84])
    blind = Fused(metadata=None).fit(half, lesions.target[:84])
    messages = []
    for one in (classifier, blind):
        with pytest.warns(LeakageWarning) as caught:
            one.predict(lesion_files.assign(age=np.nan, sex="male"))
        messages.append([str(warning.message) for warning in caught])
    assert messages[0] == messages[1]


def test_cross_validation_and_search_over_tables(lesion_files, lesions):
    fit = functools.partial(Fused, max_epochs=12, lr=0.01)
    y = np.where(lesion_files["sex"] == "male", "m", "f")
    result = cross_validate(fit(), lesion_files, y, groups=lesions.groups, cv=2)
    assert np.mean(result.y_pred == y) > 0.95

    search = GridSearchCV(fit(), {"metadata": [None, "auto"]}, cv=StratifiedGroupKFold(2), scoring="accuracy")
    search.fit(lesion_files, y, groups=lesions.groups)
    assert search.best_params_ == {"metadata": "auto"}
    assert search.best_estimator_.metadata_["sex"] == ["female", "male"]


@pytest.mark.real_data
def test_the_real_table_has_these_categories_and_fits(ham10000, ham10000_subset):
    learned = learn_metadata(ham10000.data)
    assert learned["sex"] == ["female", "male"]
    assert len(learned["localization"]) == 14
    assert "unknown" not in learned["localization"]
    encoded = encode_metadata(ham10000.data, learned)
    assert encoded.shape == (10_015, 21)
    assert (encoded[:, :5].sum(axis=1) == 0).sum() == ham10000.data["age"].isna().sum() == 57

    data, target = ham10000_subset.data[::5], ham10000_subset.target[::5]
    classifier = Fused().fit(data, target)
    assert classifier.predict_proba(data).shape == (len(data), 7)
