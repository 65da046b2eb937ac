"""Tools of scikit-learn around the classifier: each works, by figures got by hand, or has its limit here.

The same limits are listed in the user guide, in "In scikit-learn's tools".
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, make_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    StratifiedGroupKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import Bunch

from skinclf import LesionCNNClassifier
from skinclf.datasets import make_lesions
from skinclf.preprocessing import ImageFlattener, ImageLoader

CLASSES = ["mel", "nv", "vasc"]
Quick = functools.partial(
    LesionCNNClassifier,
    max_epochs=1,
    image_size=16,
    architecture_params={"width": 8, "depth": 1},
    device="cpu",
    random_state=0,
)
FOLDS = StratifiedGroupKFold(2, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """120 photos of 60 lesions of three classes: pixels, rows, a frame with paths, and folds by lesion."""
    lesions = make_lesions(
        60, images_per_lesion=2, image_size=16, class_weights=dict.fromkeys(CLASSES, 1), random_state=1
    )
    folder = tmp_path_factory.mktemp("photos")
    paths = [str(folder / f"{row:03d}.png") for row in range(len(lesions.images))]
    for path, image in zip(paths, lesions.images, strict=True):
        Image.fromarray(image).save(path)
    return Bunch(
        images=lesions.images,
        rows=lesions.images.reshape(len(paths), -1),
        frame=lesions.data.assign(image=paths),
        paths=paths,
        y=lesions.target,
        binary=np.where(lesions.target == "mel", "mel", "other"),
        groups=lesions.groups,
        splits=list(FOLDS.split(paths, lesions.target, lesions.groups)),
    )


@pytest.fixture(params=["images", "frame"])
def X(request, photos):  # noqa: N802
    """The photos as an array of four dimensions, and as a DataFrame of paths."""
    return photos[request.param]


def rows(X, index):
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


# --- calibration


@pytest.fixture(scope="module")
def thirds(photos):
    """Rows to train on, to calibrate on, and to test on; no lesion is in two of them."""
    third = np.unique(photos.groups, return_inverse=True)[1] % 3
    return [np.flatnonzero(third == k) for k in range(3)]


@pytest.fixture(scope="module")
def overfitted(photos, thirds):
    """A network that knows its 40 training images nearly by heart, and is far too sure of others."""
    classifier = Quick(
        max_epochs=20,
        lr=0.01,
        batch_size=16,
        architecture_params={"width": 16, "depth": 2},
        augmentation=None,
        early_stopping=False,
    )
    train = thirds[0]
    return classifier.fit(photos.images[train], photos.y[train], groups=photos.groups[train])


needs_temperature = pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8), reason="scikit-learn 1.8 brought temperature"
)


@pytest.mark.parametrize("method", [pytest.param("temperature", marks=needs_temperature), "sigmoid"])
@pytest.mark.parametrize("form", ["images", "frame"])
def test_calibration_of_a_frozen_classifier_lowers_the_log_loss_on_other_lesions(
    photos, thirds, overfitted, method, form
):
    X, (train, calibration, test) = photos[form], thirds
    assert overfitted.score(rows(X, train), photos.y[train]) > 0.95
    raw = overfitted.predict_proba(rows(X, test))

    calibrated = CalibratedClassifierCV(FrozenEstimator(overfitted), method=method)
    calibrated.fit(rows(X, calibration), photos.y[calibration])
    probability = calibrated.predict_proba(rows(X, test))

    assert calibrated.classes_.tolist() == CLASSES
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert log_loss(photos.y[test], probability) < 0.9 * log_loss(photos.y[test], raw)


@needs_temperature
def test_temperature_keeps_the_order_of_the_classes_of_every_image(photos, thirds, overfitted):
    _, calibration, test = thirds
    calibrated = CalibratedClassifierCV(FrozenEstimator(overfitted), method="temperature")
    calibrated.fit(photos.images[calibration], photos.y[calibration])

    raw, probability = (model.predict_proba(photos.images[test]) for model in (overfitted, calibrated))

    np.testing.assert_array_equal(probability.argmax(axis=1), raw.argmax(axis=1))
    assert (probability.max(axis=1) < raw.max(axis=1)).mean() > 0.9


def test_isotonic_calibration_on_few_images_is_the_limit(photos, thirds, overfitted):
    """It gives exact zeros, of which one on a true class is enough to spoil the log loss."""
    _, calibration, test = thirds
    probability = {
        method: CalibratedClassifierCV(FrozenEstimator(overfitted), method=method)
        .fit(photos.images[calibration], photos.y[calibration])
        .predict_proba(photos.images[test])
        for method in ("isotonic", "sigmoid")
    }

    assert (probability["isotonic"] == 0).any()
    assert (probability["sigmoid"] > 0).all()
    assert log_loss(photos.y[test], probability["isotonic"]) > log_loss(photos.y[test], probability["sigmoid"])


@pytest.mark.filterwarnings("ignore:.* were in the training")  # asked outside the ensemble, as the guard says
@pytest.mark.parametrize(
    ("method", "form"),
    [
        pytest.param("temperature", "images", marks=needs_temperature),
        ("sigmoid", "frame"),
        ("isotonic", "images"),
    ],
)
def test_calibration_that_fits_a_classifier_for_each_fold(photos, method, form):
    X = photos[form]
    calibrated = CalibratedClassifierCV(Quick(), method=method, cv=photos.splits).fit(X, photos.y)

    assert calibrated.classes_.tolist() == CLASSES
    parts = calibrated.calibrated_classifiers_
    np.testing.assert_allclose(calibrated.predict_proba(X), np.mean([p.predict_proba(X) for p in parts], axis=0))
    for part, (train, _) in zip(parts, photos.splits, strict=True):
        by_hand = Quick().fit(rows(X, train), photos.y[train])
        np.testing.assert_array_equal(part.estimator.predict_proba(X), by_hand.predict_proba(X))


def test_without_routing_calibration_cannot_be_given_groups(photos):
    with pytest.raises(ValueError, match="greater than the number of groups"):
        CalibratedClassifierCV(Quick(), cv=FOLDS).fit(photos.images, photos.y, groups=photos.groups)


# --- importances and curves


@pytest.mark.filterwarnings("ignore:.* were in the training")  # a third of the images were, as the guard says
def test_permutation_importance_of_a_frame_with_metadata(photos, overfitted):
    result = permutation_importance(overfitted, photos.frame, photos.y, n_repeats=3, random_state=0)

    importance = dict(zip(photos.frame.columns, result.importances, strict=True))
    assert set(importance) == {"image", "lesion_id", "age", "sex", "localization"}
    assert (importance.pop("image") > 0.1).all()
    for values in importance.values():
        np.testing.assert_array_equal(values, 0)


def test_permutation_importance_takes_no_pixels(photos, overfitted):
    with pytest.raises(ValueError, match=r"dim 4, while dim <= 2 is required"):
        permutation_importance(overfitted, photos.images, photos.y)


def test_a_learning_curve_by_lesion(photos, X):
    sizes, train_scores, test_scores = learning_curve(
        Quick(),
        X,
        photos.y,
        groups=photos.groups,
        cv=FOLDS,
        train_sizes=[0.5, 1.0],
        params={"groups": photos.groups},
        error_score="raise",
    )

    train, test = photos.splits[1]
    some = train[: sizes[0]]
    by_hand = Quick().fit(rows(X, some), photos.y[some], groups=photos.groups[some])
    assert test_scores[0, 1] == by_hand.score(rows(X, test), photos.y[test])
    assert train_scores[0, 1] == by_hand.score(rows(X, some), photos.y[some])
    assert train_scores.shape == test_scores.shape == (2, 2)


def test_a_validation_curve_by_lesion(photos, X):
    train_scores, test_scores = validation_curve(
        Quick(),
        X,
        photos.y,
        param_name="lr",
        param_range=[0.001, 0.02],
        groups=photos.groups,
        cv=FOLDS,
        params={"groups": photos.groups},
        error_score="raise",
    )

    train, test = photos.splits[1]
    by_hand = Quick(lr=0.02).fit(rows(X, train), photos.y[train], groups=photos.groups[train])
    assert test_scores[1, 1] == by_hand.score(rows(X, test), photos.y[test])
    assert train_scores[1, 1] == by_hand.score(rows(X, train), photos.y[train])


def test_out_of_fold_probabilities(photos, X):
    probability = cross_val_predict(
        Quick(),
        X,
        photos.y,
        groups=photos.groups,
        cv=FOLDS,
        method="predict_proba",
        params={"groups": photos.groups},
    )

    for train, test in photos.splits:
        by_hand = Quick().fit(rows(X, train), photos.y[train], groups=photos.groups[train])
        np.testing.assert_array_equal(probability[test], by_hand.predict_proba(rows(X, test)))


# --- ensembles

PAIR = [("slow", Quick(lr=0.001)), ("fast", Quick(lr=0.02))]


def test_soft_and_hard_votes(photos, X):
    soft = VotingClassifier(PAIR, voting="soft").fit(X, photos.y)
    hard = VotingClassifier([*PAIR, ("seed", Quick(random_state=1))], voting="hard").fit(X, photos.y)

    each = [Quick(lr=lr).fit(X, photos.y).predict_proba(X) for lr in (0.001, 0.02)]
    np.testing.assert_allclose(soft.predict_proba(X), np.mean(each, axis=0))
    assert soft.classes_.tolist() == CLASSES
    votes = np.stack([np.bincount(row, minlength=3) for row in hard.transform(X)])
    np.testing.assert_array_equal(hard.predict(X), np.array(CLASSES)[votes.argmax(axis=1)])


def test_stacking_on_out_of_fold_probabilities(photos, X):
    stack = StackingClassifier(PAIR, final_estimator=LogisticRegression(), cv=photos.splits).fit(X, photos.y)

    features = stack.transform(X)
    np.testing.assert_array_equal(features, np.hstack([part.predict_proba(X) for part in stack.estimators_]))
    assert stack.final_estimator_.coef_.shape == (3, 6)
    out_of_fold = [
        cross_val_predict(part, X, photos.y, cv=photos.splits, method="predict_proba") for _, part in PAIR
    ]
    by_hand = LogisticRegression().fit(np.hstack(out_of_fold), photos.y)
    np.testing.assert_allclose(stack.predict_proba(X), by_hand.predict_proba(features), atol=1e-6)


def test_bagging_of_rows_and_of_files_behind_a_loader(photos):
    bagging = BaggingClassifier(Quick(), n_estimators=2, random_state=0)

    probability = bagging.fit(photos.rows, photos.y).predict_proba(photos.rows)

    each = [part.predict_proba(photos.rows) for part in bagging.estimators_]
    np.testing.assert_allclose(probability, np.mean(each, axis=0))
    assert bagging.estimators_[0].image_shape_ == (16, 16, 3)
    pipeline = make_pipeline(ImageLoader(16), ImageFlattener(), clone(bagging)).fit(photos.frame, photos.y)
    np.testing.assert_allclose(pipeline.predict_proba(photos.frame), probability, atol=1e-4)


def test_one_against_the_rest(photos, X):
    model = OneVsRestClassifier(Quick()).fit(X, photos.y)

    each = np.stack([part.predict_proba(X)[:, 1] for part in model.estimators_], axis=1)
    np.testing.assert_allclose(model.predict_proba(X), each / each.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(model.predict(X), np.array(CLASSES)[each.argmax(axis=1)])
    melanoma = Quick().fit(X, (photos.y == "mel").astype(int))
    np.testing.assert_array_equal(each[:, 0], melanoma.predict_proba(X)[:, 1])


# --- thresholds and unlabelled images


def test_a_tuned_threshold_for_melanoma(photos, X):
    scoring = make_scorer(f1_score, pos_label="mel")
    tuned = TunedThresholdClassifierCV(Quick(), scoring=scoring, cv=photos.splits, response_method="predict_proba")

    tuned.fit(X, photos.binary)

    melanoma = tuned.estimator_.predict_proba(X)[:, tuned.classes_.tolist().index("mel")]
    expected = np.where(melanoma >= tuned.best_threshold_, "mel", "other")
    np.testing.assert_array_equal(tuned.predict(X), expected)
    by_hand = Quick().fit(X, photos.binary)
    np.testing.assert_array_equal(tuned.predict_proba(X), by_hand.predict_proba(X))


def test_a_fixed_threshold_on_a_fitted_classifier(photos, X):
    classifier = Quick().fit(X, photos.binary)
    sensitive = FixedThresholdClassifier(FrozenEstimator(classifier), threshold=0.3, pos_label="mel")

    predicted = sensitive.fit(X, photos.binary).predict(X)

    np.testing.assert_array_equal(predicted == "mel", classifier.predict_proba(X)[:, 0] >= 0.3)


def test_self_training_with_unlabelled_rows(photos):
    y = photos.y.astype(object).copy()
    y[1::3] = -1
    model = SelfTrainingClassifier(
        Quick(max_epochs=4, lr=0.01, batch_size=16, ema_decay=None, label_smoothing=0.0), threshold=0.3, max_iter=2
    )

    model.fit(photos.rows, y)

    labelled_later = model.labeled_iter_ > 0
    assert labelled_later.any()
    assert (y[labelled_later] == -1).all()
    assert model.classes_.tolist() == CLASSES
    assert set(model.predict(photos.rows)) <= set(CLASSES)


# --- columns


def test_a_column_transformer_puts_pixels_beside_metadata(photos):
    columns = ColumnTransformer(
        [
            ("pixels", make_pipeline(ImageLoader(16), ImageFlattener()), "image"),
            ("age", StandardScaler(), ["age"]),
            ("sex", OneHotEncoder(), ["sex"]),
        ]
    )

    table = columns.fit_transform(photos.frame)

    assert table.shape == (120, 16 * 16 * 3 + 1 + 2)
    np.testing.assert_allclose(table[:, : 16 * 16 * 3], photos.rows / 255, rtol=1e-6)


def test_a_column_transformer_feeds_the_network_with_pixels_only(photos):
    pixels = ColumnTransformer([("pixels", make_pipeline(ImageLoader(16), ImageFlattener()), "image")])

    model = make_pipeline(pixels, Quick()).fit(photos.frame, photos.y)

    alone = Quick().fit(photos.images, photos.y).predict_proba(photos.images)
    np.testing.assert_allclose(model.predict_proba(photos.frame), alone, atol=1e-4)


# --- limits


@pytest.mark.parametrize(
    ("tool", "form", "message"),
    [
        (BaggingClassifier(Quick(), n_estimators=2), "images", "dim 4, while dim <= 2 is required by Bagging"),
        (BaggingClassifier(Quick(), n_estimators=2), "frame", "could not convert string to float"),
        (SelfTrainingClassifier(Quick()), "images", "dim 4, while dim <= 2 is required by SelfTraining"),
        (SelfTrainingClassifier(Quick()), "frame", "could not convert string to float"),
        (OneVsOneClassifier(Quick()), "images", "dim 4, while dim <= 2 is required by OneVsOne"),
        (
            make_pipeline(ColumnTransformer([("image", ImageLoader(16), "image")]), Quick()),
            "frame",
            "The output of the 'image' transformer should be 2D",
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else str(value),
)
def test_what_takes_rows_only_says_so(photos, tool, form, message):
    with pytest.raises(ValueError, match=message):
        tool.fit(photos[form], photos.y)


@pytest.mark.parametrize(
    "tool",
    [
        VotingClassifier(PAIR),
        StackingClassifier(PAIR, cv=2),
        TunedThresholdClassifierCV(Quick(), cv=2),
    ],
    ids=lambda tool: type(tool).__name__,
)
def test_groups_need_metadata_routing(photos, tool):
    with pytest.raises(ValueError, match="only supported if enable_metadata_routing=True"):
        tool.fit(photos.images, photos.binary, groups=photos.groups)


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda part: VotingClassifier([("a", part), ("b", part)], voting="soft"), "images"),
        (lambda part: CalibratedClassifierCV(part, cv=FOLDS), "images"),
        (lambda part: TunedThresholdClassifierCV(part, cv=FOLDS, scoring="balanced_accuracy"), "images"),
        (lambda part: BaggingClassifier(part, n_estimators=2, random_state=0), "rows"),
        (lambda part: BaggingClassifier(part, n_estimators=2, max_samples=0.5, random_state=0), "rows"),
        (OneVsRestClassifier, "images"),
    ],
    ids=["Voting", "Calibrated", "TunedThreshold", "Bagging", "Bagging of halves", "OneVsRest"],
)
def test_with_routing_groups_reach_every_part(photos, make, form):
    """A split by lesion inside each part: else every image but exact copies would be on its own."""
    GroupsRecorder.torn.clear()
    with sklearn.config_context(enable_metadata_routing=True):
        part = GroupsRecorder().set_fit_request(groups=True)
        make(part).fit(photos[form], photos.binary, groups=photos.groups)

    assert len(GroupsRecorder.torn) >= 1
    assert not any(GroupsRecorder.torn)


def test_with_routing_stacking_passes_groups_on_to_a_final_estimator_that_knows_none(photos):
    with sklearn.config_context(enable_metadata_routing=True):
        stack = StackingClassifier([("part", GroupsRecorder().set_fit_request(groups=True))], cv=FOLDS)
        with pytest.raises(TypeError, match=r"LogisticRegression.fit.* unexpected keyword argument 'groups'"):
            stack.fit(photos.images, photos.binary, groups=photos.groups)


class GroupsRecorder(LesionCNNClassifier):
    """Notes for every fit how many lesions the split for early stopping tears apart."""

    torn: list[int] = []  # noqa: RUF012

    def __init__(self):
        super().__init__(max_epochs=1, architecture_params={"width": 8, "depth": 1}, device="cpu", random_state=0)

    def fit(self, X, y, *, groups=None, sample_weight=None):
        super().fit(X, y, groups=groups, sample_weight=sample_weight)
        aside = self.validation_indices_
        self.torn.append(len(set(groups[aside]) & set(np.delete(groups, aside))))
        return self
