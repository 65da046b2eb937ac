"""The guard of the classifier: what it says, when it is silent, and what becomes of what it knows.

Warnings are errors in this project's tests: where a prediction has to be silent, it fails if it is not.
"""

from __future__ import annotations

import functools
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from _leak_programs import HONEST, WAYS_TO_LEAK, paint_lesions, what_is_said
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

from skinclf import LesionCNNClassifier
from skinclf._leakage import image_fingerprints, lesion_fingerprints
from skinclf.augmentation import LesionAugmenter
from skinclf.estimator import ModelFileError, _model_file
from skinclf.estimator._guard import FingerprintedFiles, LeakGuard
from skinclf.evaluation import LeakageError, LeakageWarning
from skinclf.evaluation import cross_validate as lesion_cross_validate
from skinclf.preprocessing import ImageLoader, ImageStandardizer
from skinclf.preprocessing._file_images import FileImages

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=1, image_size=16, architecture_params={"width": 8, "depth": 1}, random_state=0
)


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    return paint_lesions(tmp_path_factory.mktemp("painted"), n_lesions=84, size=16, classifier=Quick())


@pytest.fixture(scope="module")
def lesion_files(painted):
    return painted.frame


@pytest.fixture(scope="module")
def lesions(painted):
    """168 photos; both of a lesion stand one after the other."""
    return Bunch(
        images=painted.images, target=painted.y, groups=painted.groups, target_names=sorted(set(painted.y))
    )


@pytest.fixture
def half(lesions):
    """A classifier that knows the first 100 of 168 images, which are of the first 50 of 84 lesions."""
    return Quick().fit(lesions.images[:100], lesions.target[:100], groups=lesions.groups[:100])


# --- whole programs


@pytest.mark.parametrize("program", WAYS_TO_LEAK, ids=lambda program: program.__name__)
def test_a_leak_is_noticed(painted, program):
    said = what_is_said(program, painted)

    assert said
    if program.__name__ != "copies_under_other_names":
        assert all("were in the training" in message or "Early stopping looks" in message for message in said)


@pytest.mark.parametrize("program", HONEST, ids=lambda program: program.__name__)
def test_an_honest_evaluation_is_left_in_peace(painted, program):
    assert what_is_said(program, painted) == []


def test_there_are_ten_of_each_and_the_table_of_the_documentation_shows_them():
    assert len(set(WAYS_TO_LEAK)) == len(set(HONEST)) == 10
    content = json.loads((Path(__file__).parents[2] / "docs" / "results" / "leak_guard.json").read_text("utf-8"))
    shown = {row["program"]: (row["kind"], row["caught"]) for row in content["rows"]}
    expected = {program.__doc__: ("leak", "yes") for program in WAYS_TO_LEAK}
    assert shown == expected | {program.__doc__: ("honest", "no") for program in HONEST}
    assert all(row["cost_percent"] < 1 for row in content["rows"])


# --- what is said


def test_the_message_counts_and_names_rows_and_remedy(half, lesions):
    with pytest.warns(LeakageWarning) as caught:
        half.predict(lesions.images[[0, 120, 5, 130]])

    message = str(caught[0].message)
    assert message.startswith(
        "2 of 4 rows to predict (50.0 %) were in the training, 2 as the same image; the first are rows 0, 2. "
    )
    assert "StratifiedGroupKFold" in message
    assert "leakage='ignore'" in message
    assert caught[0].filename == __file__


def test_lesions_and_images_are_counted_apart(lesions, lesion_files):
    rows = np.arange(0, 100)
    fitted = Quick().fit(lesion_files.iloc[rows[rows % 4 != 1]], lesions.target[rows[rows % 4 != 1]])

    with pytest.warns(
        LeakageWarning, match=r"^3 of 4 rows .*75\.0 %.*1 as the same image and 2 as another photo of "
    ):
        fitted.predict(lesion_files.iloc[[0, 1, 5, 120]])


def test_a_set_of_other_photos_of_known_lesions_is_no_training_score(lesions, lesion_files):
    """Every lesion of the test set is known, and no image: the worst split there is."""
    fitted = Quick().fit(lesion_files[::2], lesions.target[::2])

    with pytest.warns(LeakageWarning, match=r"^84 of 84 rows .* 84 as another photo of the same lesion"):
        fitted.predict(lesion_files[1::2])


def test_an_error_if_asked_for_every_time(half, lesions):
    half.leakage = "raise"
    for _ in range(2):
        with pytest.raises(LeakageError, match="1 of 2 rows to predict"):
            half.predict_proba(lesions.images[[0, 120]])


def test_scikit_learn_makes_a_failed_score_of_the_error_unless_told_otherwise(lesions, lesion_files):
    strict = Quick(leakage="raise")
    with pytest.raises(LeakageError, match="were in the training"):
        cross_validate(strict, lesion_files, lesions.target, cv=5, error_score="raise")


def test_nothing_is_said_or_kept_with_ignore(lesions, half):
    ignoring = Quick(leakage="ignore").fit(lesions.images[:100], lesions.target[:100])
    ignoring.predict(lesions.images)
    assert ignoring._guard is None
    half.set_params(leakage="ignore").predict(lesions.images)


def test_the_parameter_is_checked(lesions):
    with pytest.raises(ValueError, match=r"'leakage' parameter.*must be a str among.*'quiet'"):
        Quick(leakage="quiet").fit(lesions.images, lesions.target)


def test_one_set_is_told_once_in_a_row(half, lesions):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        half.predict(lesions.images)
        half.predict_proba(lesions.images)
        half.score(lesions.images, lesions.target)
        assert len(caught) == 1
        half.predict(lesions.images[50:])
        half.predict(lesions.images)
    assert len(caught) == 3


def test_what_a_cross_validation_has_said_is_not_said_again(lesions, lesion_files):
    by_image = StratifiedKFold(2, shuffle=True, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = lesion_cross_validate(Quick(), lesion_files, lesions.target, cv=by_image, on_leakage="warn")
    assert len(result.leaks) == 2
    (warning,) = caught
    assert str(warning.message).startswith("The splits leak")


# --- when it is silent


def test_the_validation_images_count_as_training(lesions):
    fitted = Quick().fit(lesions.images, lesions.target, groups=lesions.groups)
    assert len(fitted.validation_indices_) > 0
    fitted.score(lesions.images, lesions.target)
    with pytest.warns(LeakageWarning, match="1 of 2 rows"):
        fitted.predict(np.stack([lesions.images[fitted.validation_indices_[0]], np.zeros((16, 16, 3), np.uint8)]))


def test_rows_of_a_table_are_not_guarded():
    """Two rows of few features may well be equal, as two of the iris data are."""
    X = np.random.default_rng(0).integers(0, 3, (60, 5)).astype(float)
    fitted = Quick().fit(X[:40], np.arange(40) % 2)
    fitted.predict(X)
    assert fitted._guard is None


def test_an_ensemble_may_be_asked_about_its_own_training_set(lesions):
    images, y = lesions.images[:120], lesions.target[:120]
    splits = list(StratifiedGroupKFold(2).split(images, y, lesions.groups[:120]))
    ensemble = CalibratedClassifierCV(Quick(), cv=splits).fit(images, y)
    ensemble.score(images, y)
    with pytest.warns(LeakageWarning, match="of 120 rows to predict"):
        ensemble.calibrated_classifiers_[0].estimator.predict(images)
    with pytest.warns(LeakageWarning, match="of 100 rows to predict"):
        ensemble.predict(lesions.images[68:])


# --- what is recognised


@pytest.mark.parametrize("fit_on", ["frame", "paths", "pixels", "rows", "streamed"])
@pytest.mark.parametrize("predict_on", ["frame", "paths", "pixels", "rows", "streamed"])
def test_a_path_and_its_pixels_are_the_same_image(lesions, lesion_files, fit_on, predict_on):
    forms = {
        "frame": lesion_files,
        "paths": lesion_files["image"].tolist(),
        "pixels": lesions.images,
        "rows": lesions.images.reshape(168, -1),
        "streamed": lesion_files["image"].tolist(),
    }
    fitted = Quick(memory_limit=0 if fit_on == "streamed" else None)
    fitted.fit(forms[fit_on][:100], lesions.target[:100], groups=lesions.groups[:100])
    fitted.memory_limit = 0 if predict_on == "streamed" else None

    with pytest.warns(LeakageWarning, match=r"^30 of 68 rows .* the first are rows 0, 1, 2, 3, 4, \.\.\."):
        fitted.predict(forms[predict_on][70:138])
    fitted.predict(forms[predict_on][100:])
    fitted.predict(forms[predict_on][:100])


def test_float_images_are_compared_as_the_network_sees_them(lesions):
    images = lesions.images / 255
    fitted = Quick().fit(images[:100], lesions.target[:100], groups=lesions.groups[:100])
    with pytest.warns(LeakageWarning, match="100 of 168 rows"):
        fitted.predict(images.astype(np.float32))


def test_lesions_are_recognised_through_loader_and_standardizer(lesions, lesion_files):
    pipeline = make_pipeline(ImageLoader(16), ImageStandardizer(), Quick(early_stopping=False))
    pipeline.fit(lesion_files[::2], lesions.target[::2])
    with pytest.warns(LeakageWarning, match="84 as another photo of the same lesion"):
        pipeline.predict(lesion_files[1::2])
    pipeline.predict(lesion_files[::2])


def test_a_training_score_behind_an_augmentation_is_silent(lesions, lesion_files):
    """The classifier has seen other pixels than those that it is asked about, of the same lesions."""
    images = ImageLoader(16).transform(lesion_files)
    pipeline = make_pipeline(LesionAugmenter(random_state=0), Quick(augmentation=None))
    pipeline.fit(images, lesions.target, lesioncnnclassifier__groups=lesions.groups)
    pipeline.score(images, lesions.target)


def test_without_a_table_lesions_cannot_be_known(lesions, lesion_files):
    """The limit: other photos of a lesion, as plain arrays or paths, are images like any other."""
    fitted = Quick().fit(lesions.images[::2], lesions.target[::2], groups=lesions.groups[::2])
    fitted.predict(lesions.images[1::2])
    fitted.predict(lesion_files["image"].tolist()[1::2])


def test_a_row_whose_lesion_is_missing_is_known_by_its_image(lesions, lesion_files):
    fitted = Quick().fit(lesion_files[:100], lesions.target[:100])
    unnamed = lesion_files.iloc[[1, 120]].assign(lesion_id=[None, "NEW"])
    with pytest.warns(LeakageWarning, match="1 of 2 rows .* 1 as the same image"):
        fitted.predict(unnamed)


# --- the split for early stopping


def test_a_pipeline_that_loses_the_lesions_says_so(lesions, lesion_files):
    pipeline = make_pipeline(ImageLoader(16), Quick(validation_fraction=0.3))
    with pytest.warns(
        LeakageWarning, match=r"Early stopping looks at photos of lesions.*lesioncnnclassifier__groups"
    ):
        pipeline.fit(lesion_files, lesions.target)


@pytest.mark.parametrize("how", ["groups", "no early stopping", "ignore"])
def test_a_pipeline_with_nothing_to_lose_is_silent(lesions, lesion_files, how):
    fit_params = {"lesioncnnclassifier__groups": lesions.groups} if how == "groups" else {}
    params = {"no early stopping": {"early_stopping": False}, "ignore": {"leakage": "ignore"}}.get(how, {})
    make_pipeline(ImageLoader(16), Quick(**params)).fit(lesion_files, lesions.target, **fit_params)


def test_what_was_noted_never_changes_what_is_trained(lesions, lesion_files):
    plain = Quick().fit(lesions.images, lesions.target)
    images = ImageLoader(16).transform(lesion_files)  # which notes the lesions
    with pytest.warns(LeakageWarning, match="Early stopping"):
        again = Quick().fit(images, lesions.target)
    np.testing.assert_array_equal(again.validation_indices_, plain.validation_indices_)
    np.testing.assert_array_equal(again.predict_proba(images), plain.predict_proba(images))


# --- what becomes of it


def test_clone_forgets_and_pickle_remembers(half, lesions):
    clone(half).fit(lesions.images[100:], lesions.target[100:]).predict(lesions.images[100:])
    with pytest.warns(LeakageWarning, match="100 of 168"):
        pickle.loads(pickle.dumps(half)).predict(lesions.images)


def test_a_model_file_remembers_and_holds_no_name(lesions, lesion_files, tmp_path):
    fitted = Quick().fit(lesion_files[:100], lesions.target[:100])
    fitted.save(tmp_path / "model")
    content = (tmp_path / "model").read_bytes()

    loaded = LesionCNNClassifier.load(tmp_path / "model")

    with pytest.warns(LeakageWarning, match="100 of 168"):
        loaded.predict(lesion_files)
    loaded.predict(lesion_files[100:])
    for name in {*lesion_files["lesion_id"], *lesion_files["image"]}:
        assert name.encode() not in content


def test_a_model_file_without_fingerprints_is_silent(half, lesions, tmp_path, monkeypatch):
    half.set_params(leakage="ignore").save(tmp_path / "ignoring")
    monkeypatch.setattr(_model_file, "_guard_content", lambda _: None)
    half.set_params(leakage="warn").save(tmp_path / "old")
    for name in ("ignoring", "old"):
        loaded = LesionCNNClassifier.load(tmp_path / name)
        loaded.set_params(leakage="warn").predict(lesions.images)


def test_a_model_file_from_before_the_guard_is_read(half, lesions, tmp_path, monkeypatch):
    write = _model_file.write_container

    def write_old(path, kind, content):
        del content["guard"], content["params"]["leakage"]
        write(path, kind, content)

    monkeypatch.setattr(_model_file, "write_container", write_old)
    half.save(tmp_path / "old")
    loaded = LesionCNNClassifier.load(tmp_path / "old")
    assert loaded.leakage == "warn"
    np.testing.assert_array_equal(
        loaded.predict(lesions.images),
        half.predict(lesions.images[:100]).tolist() + loaded.predict(lesions.images[100:]).tolist(),
    )


@pytest.mark.parametrize("guard", [{"images": np.zeros(3), "lesions": np.zeros(3, np.uint64)}, [1], {"images": 3}])
def test_strange_fingerprints_in_a_file_are_refused(half, tmp_path, monkeypatch, guard):
    monkeypatch.setattr(_model_file, "_guard_content", lambda _: guard)
    half.save(tmp_path / "strange")
    with pytest.raises(
        ModelFileError, match="holds fingerprints of the training in a form that is not known here"
    ):
        LesionCNNClassifier.load(tmp_path / "strange")


def test_going_on_adds_what_is_new(half, lesions):
    more = slice(30, 130)
    half.set_params(warm_start=True)
    half.fit(lesions.images[more], lesions.target[more], groups=lesions.groups[more])
    half.predict(lesions.images[:130])
    with pytest.warns(LeakageWarning, match="130 of 168"):
        half.predict(lesions.images)
    half.partial_fit(lesions.images[130:], lesions.target[130:])
    half.predict(lesions.images)


def test_a_new_fit_begins_anew(half, lesions):
    half.fit(lesions.images[100:], lesions.target[100:], groups=lesions.groups[100:])
    half.predict(lesions.images[:100])
    with pytest.warns(LeakageWarning, match="68 of 168 rows"):
        half.predict(lesions.images)


def test_partial_fit_knows_the_lesions_of_a_frame(lesions, lesion_files):
    fitted = Quick().partial_fit(lesion_files[::2], lesions.target[::2], classes=lesions.target_names)
    with pytest.warns(LeakageWarning, match="84 as another photo"):
        fitted.predict(lesion_files[1::2])


def test_no_file_is_decoded_for_the_guard_alone(lesions, lesion_files, monkeypatch):
    def n_decoded(classifier):
        decoded = []
        monkeypatch.setattr(
            FileImages, "_decode", lambda self, rows, *args: decoded.extend(rows) or decode(self, rows, *args)
        )
        classifier.fit(lesion_files, lesions.target).predict(lesion_files)
        monkeypatch.undo()
        return len(decoded)

    decode = FileImages._decode
    watched, plain = (n_decoded(Quick(memory_limit=0, leakage=leakage)) for leakage in ("warn", "ignore"))
    assert watched == plain > 168


def test_streamed_images_leave_their_fingerprints(lesions, lesion_files):
    paths = lesion_files["image"].to_numpy(dtype=object)
    files = FingerprintedFiles(FileImages(paths, 16, "center", None))
    assert not files.is_read.any()
    files[np.array([3, 1])]
    assert np.flatnonzero(files.is_read).tolist() == [1, 3]
    np.testing.assert_array_equal(files.read_all(), image_fingerprints(lesions.images))


# --- fingerprints


def test_fingerprints_are_the_same_in_every_version():
    """They are written into files of models."""
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(1, 8, 8, 3)
    assert image_fingerprints(image).tolist() == [2198948625051693264]
    assert (
        image_fingerprints(image / 255).tolist() == image_fingerprints((image / 255).astype(np.float32)).tolist()
    )
    assert lesion_fingerprints(["HAM_0000118", 5, "5", None, float("nan"), ""]).tolist() == [
        18318676878567533681, 11572436773515056267, 11572436773515056267, 0, 0, 0
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 7, 1), (1, 5, 1), (64, 64, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_changed_value_changes_a_fingerprint(shape, dtype):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (1, *shape)).astype(dtype)
    changed = np.repeat(image, 50, axis=0)
    places = generator.integers(0, image.size, 50)
    changed.reshape(50, -1)[np.arange(50), places] += 1

    prints = image_fingerprints(np.concatenate([image, changed]))

    assert (prints[1:] != prints[0]).all()
    many = generator.integers(0, 255, (3000, *shape)).astype(dtype)
    np.testing.assert_array_equal(image_fingerprints(many)[2990:], image_fingerprints(many[2990:]))


@pytest.mark.parametrize("seed", range(20))
def test_the_guard_agrees_with_sets(seed):
    generator = np.random.default_rng(seed)
    images, lesions = (generator.integers(1, 30, 15).astype(np.uint64) for _ in range(2))
    guard = LeakGuard(images, lesions)
    new, named = (generator.integers(0, 40, generator.integers(1, 6)).astype(np.uint64) for _ in range(2))
    named = np.resize(named, len(new))

    same = [i in set(images.tolist()) for i in new.tolist()]
    known = [s or (n in set(lesions.tolist()) and n != 0) for s, n in zip(same, named.tolist(), strict=True)]

    judged = guard.judge(new, named)
    assert (None if judged is None else judged.tolist()) == (known if any(known) and not all(same) else None)
    judged = guard.judge(new, None)
    assert (None if judged is None else judged.tolist()) == (same if any(same) and not all(same) else None)


@pytest.mark.real_data
def test_ham10000_by_image_is_noticed_from_the_table_alone(ham10000_subset):
    data, y = ham10000_subset.data, ham10000_subset.target
    with pytest.warns(LeakageWarning, match="another photo of the same lesion"):
        cross_validate(Quick(), data, y, cv=2, error_score="raise")


def test_a_copied_file_is_the_same_image(half, lesions, tmp_path):
    Image.fromarray(lesions.images[3]).save(tmp_path / "copy.png")
    with pytest.warns(LeakageWarning, match="1 of 2 rows"):
        half.set_params(image_size=16).predict(np.stack([lesions.images[3], lesions.images[120]]))
    half.predict([str(tmp_path / "copy.png")])
