"""The same seed gives the same bits, wherever and in whatever company a classifier is fitted."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from fitted_bits import bits
from own_networks import dropout_network
from PIL import Image
from sklearn import model_selection
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

from skinclf import LesionCNNClassifier
from skinclf.evaluation import cross_validate as lesion_cross_validate

Quick = functools.partial(LesionCNNClassifier, max_epochs=2, device="cpu", random_state=0)
NETWORKS = {
    "lesion_cnn": {"architecture": "lesion_cnn", "architecture_params": {"width": 8, "depth": 1, "dropout": 0.2}},
    "own": {"architecture": dropout_network, "architecture_params": None},
}
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
FOLDS = StratifiedGroupKFold(3, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def data(lesions):
    """Half of the painted lesions: images, labels, lesion of each image."""
    rows = np.flatnonzero(np.isin(lesions.groups, np.unique(lesions.groups)[::2]))
    return lesions.images[rows], lesions.target[rows], lesions.groups[rows]


@pytest.fixture(scope="module")
def alone(data):
    """The bits of each network, fitted on all of the data by itself."""
    X, y, groups = data
    return {name: bits(Quick(**network).fit(X, y, groups=groups), X) for name, network in NETWORKS.items()}


def global_states():
    """Return the states of all global generators, in a form that can be compared."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (name, keys.tobytes(), *rest), torch.random.get_rng_state().numpy().tobytes()


def seed_globals(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


@pytest.fixture
def globals_kept():
    """Put the global generators back after a test that seeds them."""
    python, numpy, torchs = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.random.set_rng_state(torchs)


# --- alone


@pytest.mark.parametrize("name", NETWORKS)
def test_a_second_fit_another_estimator_and_a_clone_have_the_same_bits(data, alone, name):
    X, y, groups = data
    classifier = Quick(**NETWORKS[name])

    first = bits(classifier.fit(X, y, groups=groups), X)
    again = bits(classifier.fit(X, y, groups=groups), X)
    copy = bits(clone(classifier).fit(X, y, groups=groups), X)
    other_seed = bits(clone(classifier).set_params(random_state=1).fit(X, y, groups=groups), X)

    assert {first, again, copy} == {alone[name]}
    assert other_seed != alone[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_after_a_fit_that_failed_the_next_one_has_the_same_bits(data, alone, name):
    X, y, groups = data
    classifier = Quick(**NETWORKS[name]).set_params(lr=1e30, lr_schedule=None, optimizer="sgd")
    with pytest.raises(FloatingPointError):
        classifier.fit(X, y, groups=groups)

    classifier.set_params(lr=0.002, lr_schedule="onecycle", optimizer="adamw")

    assert bits(classifier.fit(X, y, groups=groups), X) == alone[name]


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng], ids=["RandomState", "Generator"])
def test_a_generator_draws_on_and_repeats_from_its_start(data, make):
    X, y, groups = data

    def two_fits():
        classifier = Quick(**NETWORKS["own"]).set_params(random_state=make(5))
        copy = clone(classifier)  # has a generator of its own, in the same state
        return [bits(fit.fit(X, y, groups=groups), X) for fit in (classifier, classifier, copy)]

    first, second, of_copy = two_fits()

    assert first != second
    assert first == of_copy
    assert two_fits() == [first, second, of_copy]


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from fitted_bits import bits
from own_networks import dropout_network
from skinclf import LesionCNNClassifier
from skinclf.datasets import make_lesions
lesions = make_lesions(n_lesions=84, images_per_lesion=2, image_size=16, random_state=0)
ours = {"architecture_params": {"width": 8, "depth": 1, "dropout": 0.2}}
for network in (ours, {"architecture": dropout_network}):
    classifier = LesionCNNClassifier(**network, max_epochs=2, device="cpu", random_state=0)
    print(bits(classifier.fit(lesions.images, lesions.target, groups=lesions.groups), lesions.images))
"""


def run_python(*arguments, timeout):
    """Run an interpreter that finds what this one finds, with other hashes; stop it and its children in time."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "123"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
    assert process.returncode == 0, output
    return output.splitlines()


def test_another_process_has_the_same_bits(lesions):
    here = [
        bits(Quick(**network).fit(lesions.images, lesions.target, groups=lesions.groups), lesions.images)
        for network in NETWORKS.values()
    ]

    assert [int(line) for line in run_python("-c", SCRIPT, timeout=120)] == here


# --- global generators


@pytest.mark.usefixtures("globals_kept")
@pytest.mark.parametrize("name", NETWORKS)
def test_global_generators_are_neither_read_nor_changed(data, alone, name):
    X, y, groups = data
    for seed in (1, 2):
        seed_globals(seed)
        before = global_states()

        found = bits(Quick(**NETWORKS[name]).fit(X, y, groups=groups), X)

        assert found == alone[name]
        assert global_states() == before


def raises(image_shape, n_classes):
    torch.rand(7)
    raise RuntimeError("An own network that fails after a draw")


class Raising(torch.nn.Module):
    """Fails in its second batch, after a draw in each."""

    def __init__(self, image_shape, n_classes):
        super().__init__()
        self.linear = torch.nn.Linear(int(np.prod(image_shape)), n_classes)
        self.batches = 0

    def forward(self, images):
        self.batches += 1
        torch.rand(7)
        if self.batches == 2:
            raise RuntimeError("An own network that fails in a batch")
        return self.linear(images.flatten(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1e30, "lr_schedule": None, "optimizer": "sgd"}, "loss became"),
        ({"architecture": raises, "architecture_params": None}, "fails after a draw"),
        ({"architecture": Raising, "architecture_params": None}, "fails in a batch"),
        ({"lr": -1}, "lr"),
    ],
    ids=["loss", "building", "training", "parameter"],
)
def test_an_exception_in_fit_changes_no_global_generator(data, change, message):
    X, y, _ = data
    before = global_states()

    with pytest.raises(Exception, match=message):
        Quick(**NETWORKS["lesion_cnn"]).set_params(**change).fit(X, y)

    assert global_states() == before


# --- folds


@each_network
def test_folds_by_hand_in_any_order_have_the_bits_of_both_cross_validations(data, network):
    X, y, groups = data
    splits = list(FOLDS.split(X, y, groups))
    by_hand = [0] * len(splits)
    for fold in (2, 0, 1):
        train, test = splits[fold]
        by_hand[fold] = bits(Quick(**network).fit(X[train], y[train], groups=groups[train]), X[test])

    theirs = model_selection.cross_validate(
        Quick(**network), X, y, groups=groups, cv=FOLDS, params={"groups": groups}, return_estimator=True
    )["estimator"]
    ours = lesion_cross_validate(Quick(**network), X, y, groups=groups, cv=splits[::-1]).estimators[::-1]

    assert len(set(by_hand)) == len(splits)
    for estimators in (theirs, ours):
        assert [bits(e, X[test]) for e, (_, test) in zip(estimators, splits, strict=True)] == by_hand


# --- searches and backends

CANDIDATES = [{key: [value] for key, value in {**network, "lr": 0.01}.items()} for network in NETWORKS.values()]


def search_bits(data, n_jobs, backend):
    """Return the bits of every candidate in every fold, as the workers report them."""
    X, y, groups = data
    search = GridSearchCV(Quick(), CANDIDATES, cv=FOLDS, scoring=bits, refit=False, n_jobs=n_jobs)
    # Workers of loky would take as many threads as there are processors to spare.
    threads = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with joblib.parallel_config(backend, **threads):
        search.fit(X, y, groups=groups)
    return np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(3)])


@pytest.fixture(scope="module")
def searched_alone(data):
    """The bits of the same fits, one after the other by hand; a search hands groups to its splitter only."""
    X, y, groups = data
    found = np.empty((3, len(CANDIDATES)))
    for fold, (train, test) in enumerate(FOLDS.split(X, y, groups)):
        for candidate, network in enumerate(NETWORKS.values()):
            found[fold, candidate] = bits(Quick(**network, lr=0.01).fit(X[train], y[train]), X[test])
    return found


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("n_jobs", "backend"),
    [(1, "loky"), (2, "loky"), (2, "threading"), (2, "multiprocessing")],
)
def test_a_search_has_the_same_bits_with_any_workers(data, searched_alone, n_jobs, backend):
    before = global_states()

    np.testing.assert_array_equal(search_bits(data, n_jobs, backend), searched_alone)

    assert global_states() == before


class Meeting:
    """Builds a network that draws from torch's global generator when two threads have come here, if they can."""

    def __init__(self):
        self.barrier = threading.Barrier(2)

    def __call__(self, image_shape, n_classes):
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barrier.wait(timeout=0.5)  # a thread that holds a lock waits for nobody
        return dropout_network(image_shape, n_classes)

    def __deepcopy__(self, memo):
        return self  # what `clone` makes of it: both threads meet at the same one


def test_two_fits_in_two_threads_do_not_share_a_generator(data, alone):
    """Without a lock both would draw their weights from one sequence, in turns."""
    X, y, groups = data
    before = global_states()
    network = Meeting()

    fits = [joblib.delayed(Quick(network).fit)(X, y, groups=groups) for _ in range(2)]
    found = [bits(fitted, X) for fitted in joblib.Parallel(n_jobs=2, backend="threading")(fits)]

    assert found == [alone["own"]] * 2
    assert global_states() == before


# --- forks


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no fork here, or no list of threads")
def test_no_fork_of_a_process_that_holds_threads_hangs(data, tmp_path):
    """OpenMP's threads do not exist in a forked child, whose first parallel loop would wait for them for ever."""
    for row, image in enumerate(data[0][:8]):
        Image.fromarray(image).save(tmp_path / f"{row}.png")

    lines = run_python("-W", "ignore::DeprecationWarning", "-m", "fork_with_threads", str(tmp_path), timeout=200)

    alone = ["fit", "predict", "fit_partially", "save", "load", "augment", "decode"]
    assert lines == [f"{what} ok" for what in [*alone, "while decoding", "joblib", "Pool"]]
