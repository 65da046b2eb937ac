"""scikit-learn's and imbalanced-learn's own tools around the classifier, on painted files and on real ones."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline as ImbalancedPipeline
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import Bunch

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter
from skinclf.evaluation import LeakageError
from skinclf.evaluation import cross_validate as lesion_cross_validate
from skinclf.preprocessing import ImageFlattener, ImageLoader, ImageStandardizer

Quick = functools.partial(
    LesionCNNClassifier, max_epochs=2, architecture_params={"width": 8, "depth": 2}, random_state=0
)
FOLDS = StratifiedGroupKFold(3, shuffle=True, random_state=0)


@pytest.fixture(params=["painted", pytest.param("real", marks=pytest.mark.real_data)])
def collection(request):
    """168 painted images, and some 200 real ones: a frame with paths, the images at 16 pixels, labels, lesions."""
    if request.param == "painted":
        lesions = request.getfixturevalue("lesions")
        data, target, groups = request.getfixturevalue("lesion_files"), lesions.target, lesions.groups
    else:
        subset = request.getfixturevalue("ham10000_subset")
        few = (
            pd.Series(subset.groups).groupby(subset.target).transform(lambda lesion: pd.factorize(lesion)[0] < 20)
        )
        data, target, groups = subset.data[few.to_numpy()], subset.target[few], subset.groups[few]
    return Bunch(data=data, images=ImageLoader(16).transform(data), target=target, groups=groups)


def check_inner_splits(scores, lesion):
    """No test lesion is in training, and no lesion of an inner validation split in its training part."""
    for fold, classifier in enumerate(scores["estimator"]):
        train, test = scores["indices"]["train"][fold], scores["indices"]["test"][fold]
        held_out = train[classifier.validation_indices_]
        assert len(held_out) > 0
        assert not set(lesion[train]) & set(lesion[test])
        assert not set(lesion[held_out]) & set(lesion[np.setdiff1d(train, held_out)])


def test_cross_validate_with_stratified_group_k_fold(collection):
    scores = cross_validate(
        Quick(image_size=16),
        collection.data,
        collection.target,
        groups=collection.groups,
        cv=FOLDS,
        scoring=["balanced_accuracy", "accuracy", "roc_auc_ovr"],
        return_estimator=True,
        return_indices=True,
    )

    assert np.isfinite(scores["test_roc_auc_ovr"]).all()
    check_inner_splits(scores, collection.groups)


@pytest.mark.usefixtures("no_global_randomness")
def test_two_runs_agree_bit_for_bit_alone_and_in_cross_validation(collection):
    def run():
        return cross_val_predict(
            Quick(),
            collection.images,
            collection.target,
            groups=collection.groups,
            cv=FOLDS,
            method="predict_proba",
            params={"groups": collection.groups},
        )

    first = run()
    np.testing.assert_array_equal(first, run())
    train, test = next(iter(FOLDS.split(collection.images, collection.target, collection.groups)))
    alone = Quick().fit(collection.images[train], collection.target[train], groups=collection.groups[train])
    np.testing.assert_array_equal(alone.predict_proba(collection.images[test]), first[test])


@pytest.mark.filterwarnings("ignore:Early stopping looks at photos of lesions")
def test_loader_standardizer_and_classifier_in_a_pipeline(collection):
    pipeline = Pipeline(
        [("load", ImageLoader(16)), ("standardize", ImageStandardizer()), ("classify", Quick(augmentation=None))]
    )

    predicted = cross_val_predict(pipeline, collection.data, collection.target, groups=collection.groups, cv=FOLDS)

    report = classification_report(collection.target, predicted, output_dict=True, zero_division=0)
    assert set(report) > set(collection.target)
    display = ConfusionMatrixDisplay.from_predictions(collection.target, predicted)
    assert display.confusion_matrix.sum() == len(collection.target)


def test_an_augmenter_in_a_pipeline_changes_training_images_only(collection):
    steps = [("augment", LesionAugmenter(random_state=0)), ("classify", Quick(augmentation=None))]

    pipeline = Pipeline(steps).fit(collection.images, collection.target, classify__groups=collection.groups)

    np.testing.assert_array_equal(
        pipeline.predict_proba(collection.images), pipeline[-1].predict_proba(collection.images)
    )
    plain = Quick(augmentation=None).fit(collection.images, collection.target, groups=collection.groups)
    assert not np.array_equal(plain.predict_proba(collection.images), pipeline.predict_proba(collection.images))


@pytest.mark.filterwarnings("ignore:Early stopping looks at photos of lesions")
def test_grid_search_over_classifier_and_augmentation_parameters(collection):
    pipeline = make_pipeline(ImageLoader(16), Quick(augmentation=LesionAugmenter()))
    grid = {
        "lesioncnnclassifier__lr": [0.001, 0.01],
        "lesioncnnclassifier__augmentation__rotation": [0, 45],
        "imageloader__crop": ["center", None],
    }
    search = GridSearchCV(pipeline, grid, cv=FOLDS, scoring="balanced_accuracy", error_score="raise")

    search.fit(collection.data, collection.target, groups=collection.groups)

    assert len(search.cv_results_["params"]) == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(collection.data).shape == collection.target.shape


def test_imbalanced_learn_oversamples_paths_inside_the_fold(collection):
    rare = np.flatnonzero((collection.target != "mel") | (np.cumsum(collection.target == "mel") <= 8))
    frame, y, lesion = collection.data.iloc[rare], collection.target[rare], collection.groups[rare]
    pipeline = ImbalancedPipeline(
        [("oversample", RandomOverSampler(random_state=0)), ("classify", Quick(image_size=16, class_weight=None))]
    )

    scores = cross_validate(
        pipeline,
        frame,
        y,
        groups=lesion,
        cv=FOLDS,
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )

    for fold, fitted in enumerate(scores["estimator"]):
        train = scores["indices"]["train"][fold]
        drawn = train[fitted["oversample"].sample_indices_]
        counts = np.unique(y[drawn], return_counts=True)[1]
        assert (counts == counts.max()).all()
        held_out = drawn[fitted["classify"].validation_indices_]
        in_training = np.delete(drawn, fitted["classify"].validation_indices_)
        assert not set(lesion[held_out]) & set(lesion[in_training])


def test_a_support_vector_machine_through_the_same_loader(collection):
    machine = make_pipeline(ImageLoader(16), ImageFlattener(), StandardScaler(), SVC(class_weight="balanced"))

    scores = cross_validate(
        machine, collection.data, collection.target, groups=collection.groups, cv=FOLDS, error_score="raise"
    )

    assert scores["test_score"].mean() > 1 / 7


def test_a_search_inside_a_cross_validation_must_split_by_lesion_too(lesion_files, lesions):
    grid = {"lr": [0.001, 0.01]}
    by_image = GridSearchCV(Quick(image_size=16, max_epochs=1), grid, cv=2)
    with pytest.raises(
        LeakageError, match=r"GridSearchCV inside draws .* StratifiedKFold.*StratifiedGroupKFold\(2\)"
    ):
        lesion_cross_validate(by_image, lesion_files, lesions.target, cv=2)

    by_lesion = GridSearchCV(Quick(image_size=16, max_epochs=1), grid, cv=StratifiedGroupKFold(2))
    assert lesion_cross_validate(by_lesion, lesion_files, lesions.target, cv=2).scores.shape == (2, 2)


def test_a_wrong_parameter_is_named_with_the_class_that_has_it(lesion_files, lesions):
    with pytest.raises(ValueError, match="'max_epochs' parameter of LesionCNNClassifier"):
        lesion_cross_validate(Quick(max_epochs=0), lesion_files, lesions.target, cv=2)


@pytest.mark.real_data
def test_the_main_job_on_real_images(ham10000_subset):
    """Two folds over some 700 real images by lesion: everything finite, nothing crosses, better than a guess."""
    data, y, lesion = ham10000_subset.data, ham10000_subset.target, ham10000_subset.groups
    scores = cross_validate(
        LesionCNNClassifier(image_size=32, max_epochs=6, architecture_params={"width": 16}, random_state=0),
        data,
        y,
        groups=lesion,
        cv=StratifiedGroupKFold(2, shuffle=True, random_state=0),
        scoring="balanced_accuracy",
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )

    check_inner_splits(scores, lesion)
    assert scores["test_score"].mean() > 0.25


@pytest.mark.real_data
def test_the_inner_split_of_every_fold_of_all_real_images_is_by_lesion(ham10000):
    """All 10,015 rows and five folds, without training: the split is what is asked about."""
    from skinclf.estimator._holdout import lesion_holdout

    y, lesion = np.unique(ham10000.target, return_inverse=True)[1], ham10000.groups
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(y, y, lesion)
    for train, test in folds:
        inner_train, held_out = lesion_holdout(y[train], lesion[train], 0.1, seed=0)
        assert not set(lesion[train][held_out]) & set(lesion[train][inner_train])
        assert not set(lesion[test]) & set(lesion[train])
        np.testing.assert_allclose(
            np.bincount(y[train][held_out], minlength=7) / np.bincount(y[train]), 0.1, atol=0.03
        )


@pytest.mark.real_data
def test_two_fits_on_real_images_agree_bit_for_bit(ham10000_subset):
    def fit():
        classifier = Quick(image_size=32)
        classifier.fit(ham10000_subset.data, ham10000_subset.target)
        return classifier.predict_proba(ham10000_subset.data)

    np.testing.assert_array_equal(fit(), fit())
