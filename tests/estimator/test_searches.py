"""Searches of scikit-learn over the classifier: what they can be asked, what they hold, and how they fail."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import pickle
import threading
import weakref

import joblib
import numpy as np
import psutil
import pytest
from fitted_bits import bits
from joblib.externals.loky.process_executor import TerminatedWorkerError
from own_networks import KilledWhile
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedGroupKFold,
)
from sklearn.pipeline import Pipeline

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter
from skinclf.preprocessing import ImageLoader, ImageReadError

Quick = functools.partial(
    LesionCNNClassifier,
    max_epochs=1,
    image_size=16,
    architecture_params={"width": 8, "depth": 1},
    device="cpu",
    random_state=0,
)
FOLDS = StratifiedGroupKFold(2, shuffle=True, random_state=0)
LR = {"lr": [0.001, 0.01]}


@pytest.fixture(params=["array", "frame"])
def X(request, lesions, lesion_files):  # noqa: N802
    """The painted lesions as pixels, and as a DataFrame of paths."""
    return lesions.images if request.param == "array" else lesion_files


# --- what can be asked


def test_a_grid_search_with_several_scores(X, lesions):
    scoring = ["balanced_accuracy", "roc_auc_ovr", "neg_log_loss", "f1_macro"]
    search = GridSearchCV(Quick(), LR, cv=FOLDS, scoring=scoring, refit="roc_auc_ovr", error_score="raise")

    search.fit(X, lesions.target, groups=lesions.groups)

    for name in scoring:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()
    assert search.best_params_["lr"] == LR["lr"][search.cv_results_["mean_test_roc_auc_ovr"].argmax()]
    assert search.predict_proba(X).shape == (168, 7)
    assert search.classes_.tolist() == lesions.target_names


def test_a_randomized_search(X, lesions):
    search = RandomizedSearchCV(Quick(), {"lr": [0.001, 0.01, 0.1]}, n_iter=2, cv=FOLDS, random_state=0)

    search.fit(X, lesions.target, groups=lesions.groups)

    assert len(search.cv_results_["params"]) == 2
    assert search.best_estimator_.lr == search.best_params_["lr"]


def test_successive_halving_over_epochs(X, lesions):
    search = HalvingRandomSearchCV(
        Quick(early_stopping=False),
        {"lr": [0.001, 0.01, 0.1, 0.2]},
        resource="max_epochs",
        min_resources=1,
        max_resources=4,
        factor=2,
        cv=FOLDS,
        random_state=0,
        error_score="raise",
    )

    search.fit(X, lesions.target, groups=lesions.groups)

    assert search.n_resources_ == [1, 2, 4]
    assert search.n_candidates_ == [4, 2, 1]
    assert search.best_estimator_.n_epochs_ == search.best_estimator_.max_epochs == 4


def test_successive_halving_over_images(X, lesions):
    search = HalvingRandomSearchCV(
        Quick(),
        {"lr": [0.001, 0.01, 0.1]},
        resource="n_samples",
        min_resources=84,
        factor=2,
        cv=FOLDS,
        random_state=0,
        error_score="raise",
    )

    search.fit(X, lesions.target, groups=lesions.groups)

    assert search.n_resources_ == [84, 168]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.filterwarnings("ignore:Early stopping looks at photos of lesions")
def test_a_search_over_a_pipeline_of_loader_and_classifier(lesion_files, lesions):
    steps = [("load", ImageLoader(16)), ("classify", Quick(augmentation=LesionAugmenter()))]
    grid = {"load__size": [16, 24], "classify__augmentation__rotation": [0, 45]}
    search = GridSearchCV(Pipeline(steps), grid, cv=FOLDS, scoring="balanced_accuracy", error_score="raise")

    search.fit(lesion_files, lesions.target, groups=lesions.groups)

    fitted = search.best_estimator_[-1]
    assert len(search.cv_results_["params"]) == 4
    assert fitted.image_shape_ == (search.best_params_["load__size"],) * 2 + (3,)
    assert fitted.augmentation.rotation == search.best_params_["classify__augmentation__rotation"]


def test_augmentation_parameters_reach_the_network(lesions):
    grid = {"augmentation__rotation": [0, 90], "augmentation__erasing": [0.0, 1.0]}
    search = GridSearchCV(Quick(augmentation=LesionAugmenter()), grid, cv=FOLDS, scoring="neg_log_loss")

    search.fit(lesions.images, lesions.target, groups=lesions.groups)

    assert len(set(search.cv_results_["mean_test_score"])) == 4


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "augmentation__rotation",
            [0, 45],
            r"'augmentation__rotation' cannot be set: augmentation is 'auto'.*=LesionAugmenter\(\)",
        ),
        (
            "architecture_params__width",
            [8, 16],
            r"'architecture_params__width' cannot be set: .*as a whole, such as architecture_params={'width': ",
        ),
        ("lr__rate", [1, 2], r"'lr__rate' cannot be set: lr is 'auto', which has no parameters"),
    ],
    ids=["augmentation", "architecture_params", "lr"],
)
def test_a_parameter_of_what_has_none_is_explained(lesions, name, values, message):
    with pytest.raises(ValueError, match=message):
        GridSearchCV(Quick(), {name: values}, cv=FOLDS).fit(lesions.images, lesions.target, groups=lesions.groups)


def test_an_unknown_parameter_is_named(lesions):
    with pytest.raises(ValueError, match="Invalid parameter 'rotation' for estimator LesionCNNClassifier"):
        GridSearchCV(Quick(), {"rotation": [0]}, cv=FOLDS).fit(
            lesions.images, lesions.target, groups=lesions.groups
        )


# --- what a search holds


def test_a_fitted_search_holds_no_training_image(lesions):
    def size(n_times):
        images = np.concatenate([lesions.images] * n_times)
        held = weakref.ref(images)
        search = GridSearchCV(Quick(lr_schedule=None), LR, cv=FOLDS)
        search.fit(images, np.tile(lesions.target, n_times), groups=np.tile(lesions.groups, n_times))
        del images
        gc.collect()
        assert held() is None
        return len(pickle.dumps(search))

    assert abs(size(4) - size(1)) < lesions.images.nbytes / 20


# --- threads and processes


@contextlib.contextmanager
def nothing_left_over():
    """Fail if a thread or a process that the block has started is alive at its end."""
    threads, processes = set(threading.enumerate()), set(psutil.Process().children(recursive=True))
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=1)  # it was told to end, and may be about to
        assert not thread.is_alive(), thread
    assert set(psutil.Process().children(recursive=True)) <= processes


@pytest.mark.fault(74)
def test_threads_that_decode_do_not_outlive_fit_and_predict(lesion_files, lesions):
    with nothing_left_over():
        Quick(n_jobs=2).fit(lesion_files, lesions.target).predict(lesion_files)


@pytest.mark.fault(74)
def test_the_progress_bar_leaves_no_thread(lesions):
    with nothing_left_over():
        Quick(verbose=1).fit(lesions.images, lesions.target)


@pytest.mark.fault(74)
def test_threads_that_decode_do_not_outlive_an_error(lesion_files, lesions, tmp_path):
    (tmp_path / "empty.png").touch()
    broken = lesion_files.assign(image=[str(tmp_path / "empty.png"), *lesion_files["image"][1:]])
    classifier = Quick(n_jobs=2)

    with nothing_left_over():
        with pytest.raises(ImageReadError, match="empty file"):
            classifier.fit(broken, lesions.target)
        with pytest.raises(ImageReadError, match="empty file"):
            classifier.fit(lesion_files, lesions.target).predict(broken)
        with pytest.raises(FloatingPointError):
            classifier.set_params(optimizer="sgd", lr=1e30, lr_schedule=None, max_epochs=3).fit(
                lesion_files, lesions.target
            )


# --- a worker that is killed; last, since it takes the pool of workers with it


@pytest.mark.fault(67)
def test_a_search_whose_worker_was_killed_ends_with_an_error_and_goes_on_where_it_was(lesions, tmp_path):
    """Two candidates, two folds, three epochs of three batches: the second start needs fewer than an uncut one."""
    flag = tmp_path / "flag"
    network = {"flag": str(flag), "spare": os.getpid()}

    def run(folder, n_jobs):
        KilledWhile.n_batches = 0
        classifier = Quick(
            KilledWhile,
            architecture_params=network,
            checkpoint_dir=tmp_path / folder,
            max_epochs=3,
            batch_size=32,
        )
        search = GridSearchCV(classifier, LR, cv=FOLDS, scoring=bits, refit=False, n_jobs=n_jobs)
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            search.fit(lesions.images, lesions.target, groups=lesions.groups)
        return search.cv_results_["mean_test_score"], KilledWhile.n_batches

    flag.touch()
    with pytest.raises(TerminatedWorkerError, match=r"terminated.*(memory|SIGKILL)"):
        run("cut", n_jobs=2)
    flag.unlink()

    score, n_batches = run("cut", n_jobs=1)
    uncut, n_batches_uncut = run("uncut", n_jobs=1)

    np.testing.assert_array_equal(score, uncut)
    assert n_batches < n_batches_uncut == 4 * 3 * 3
