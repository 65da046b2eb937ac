"""The interval of one figure by a bootstrap over lesions: what it equals, how often it covers the truth."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from skinclf.evaluation import _resampling as resampling
from skinclf.evaluation import bootstrap_ci


def _simulate(generator: np.random.Generator, n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    truth = np.tile([0, 1], n // 2)
    right = generator.random(n) < p
    return truth, np.where(right, truth, 1 - truth)


def test_estimate_is_the_metric_itself() -> None:
    truth, prediction = _simulate(np.random.default_rng(0), 100, 0.8)
    interval = bootstrap_ci(truth, prediction, metric="accuracy", n_draws=200)
    assert interval.estimate == pytest.approx((truth == prediction).mean())
    assert interval.low <= interval.estimate <= interval.high
    assert (interval.n_groups, interval.n_images, interval.by_group) == (100, 100, False)


def test_one_image_a_lesion_is_the_ordinary_bootstrap() -> None:
    truth, prediction = _simulate(np.random.default_rng(0), 100, 0.8)
    by_image = bootstrap_ci(truth, prediction)
    by_lesion = bootstrap_ci(truth, prediction, groups=[f"HAM_{i}" for i in range(100)])
    assert (by_image.low, by_image.high) == (by_lesion.low, by_lesion.high)
    assert by_lesion.by_group


def test_matches_a_plain_bootstrap_that_draws_rows() -> None:
    generator = np.random.default_rng(3)
    lesion = np.repeat(np.arange(150), generator.integers(1, 5, 150))
    truth = (lesion % 3).astype(int)
    prediction = np.where(generator.random(lesion.size) < 0.7, truth, generator.integers(0, 3, lesion.size))
    interval = bootstrap_ci(truth, prediction, groups=lesion, n_draws=4000)
    rows = [np.flatnonzero(lesion == i) for i in range(150)]
    draws = []
    for _ in range(4000):
        drawn = np.concatenate([rows[i] for i in generator.integers(0, 150, 150)])
        right = truth[drawn] == prediction[drawn]
        draws.append(np.mean([right[truth[drawn] == k].mean() for k in range(3)]))
    np.testing.assert_allclose([interval.low, interval.high], np.quantile(draws, [0.025, 0.975]), atol=0.006)


def test_duplicate_photos_do_not_narrow_the_interval() -> None:
    truth, prediction = _simulate(np.random.default_rng(0), 200, 0.8)
    once = bootstrap_ci(truth, prediction, groups=np.arange(200))
    four_photos = np.repeat(np.arange(200), 4)
    by_lesion = bootstrap_ci(truth[four_photos], prediction[four_photos], groups=four_photos)
    by_image = bootstrap_ci(truth[four_photos], prediction[four_photos])
    assert (by_lesion.low, by_lesion.high) == pytest.approx((once.low, once.high), abs=1e-12)
    # Four times the images, none of them new: an interval over images is half as wide, and wrong.
    assert (by_image.high - by_image.low) / (once.high - once.low) == pytest.approx(0.5, abs=0.05)


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    covered, covered_by_image = 0, 0
    for _ in range(300):
        # Photos of a lesion are all right, or all wrong; 75 % of the lesions are right.
        lesion = np.repeat(np.arange(120), generator.integers(1, 4, 120))
        truth = lesion % 2
        prediction = np.where(generator.random(120) < 0.75, np.arange(120) % 2, 1 - np.arange(120) % 2)[lesion]
        by_lesion = bootstrap_ci(truth, prediction, groups=lesion, n_draws=400)
        by_image = bootstrap_ci(truth, prediction, n_draws=400)
        covered += by_lesion.low <= 0.75 <= by_lesion.high
        covered_by_image += by_image.low <= 0.75 <= by_image.high
    assert 0.91 < covered / 300 < 0.98
    assert covered_by_image / 300 < 0.85


def test_order_of_rows_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    truth, prediction = _simulate(generator, 300, 0.7)
    lesion = generator.integers(0, 120, 300)
    interval = bootstrap_ci(truth, prediction, groups=lesion)
    order = generator.permutation(300)
    assert bootstrap_ci(truth[order], prediction[order], groups=lesion[order]) == interval
    monkeypatch.setattr(resampling, "_VALUES_AT_ONCE", 1000)
    assert bootstrap_ci(truth, prediction, groups=lesion) == interval


def test_seed() -> None:
    truth, prediction = _simulate(np.random.default_rng(0), 300, 0.8)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = bootstrap_ci(truth, prediction, random_state=1)
    assert bootstrap_ci(truth, prediction, random_state=1) == first
    assert bootstrap_ci(truth, prediction, random_state=2) != first
    bootstrap_ci(truth, prediction, random_state=None)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_figures_of_one_class_and_own_functions() -> None:
    truth = np.repeat(["mel", "nv"], [40, 160])
    prediction = np.where(np.arange(200) % 4 == 0, "mel", "nv")
    sensitivity = bootstrap_ci(truth, prediction, metric="sensitivity:mel")
    assert sensitivity.estimate == pytest.approx(0.25)
    assert sensitivity.metric == "sensitivity:mel"

    def found(matrices: np.ndarray) -> np.ndarray:
        return matrices[:, 0, 0] / matrices[:, 0].sum(axis=1)

    own = bootstrap_ci(truth, prediction, metric=found)
    assert own.metric == "found"
    assert (own.estimate, own.low, own.high) == (sensitivity.estimate, sensitivity.low, sensitivity.high)


def test_draws_without_a_rare_class_are_counted() -> None:
    truth = np.repeat(["df", "nv"], [1, 9])
    interval = bootstrap_ci(truth, truth, metric="sensitivity:df", n_draws=1000)
    # A draw of 10 misses the one df with probability 0.9 ** 10 = 0.349.
    assert interval.n_undefined / 1000 == pytest.approx(0.349, abs=0.05)
    assert (interval.low, interval.high) == pytest.approx((0.025, 1.0))  # one lesion says next to nothing
    assert (interval.method, interval.n_lesions) == ("clopper-pearson", 1)
    absent = bootstrap_ci(truth, truth, metric="sensitivity:mel", labels=["df", "mel", "nv"])
    assert np.isnan([absent.estimate, absent.low, absent.high]).all()
    assert absent.n_undefined == absent.n_draws
    assert absent.method == "undefined"


def test_ham10000_sized_data_take_less_than_five_seconds_and_little_memory() -> None:
    generator = np.random.default_rng(0)
    lesion = np.concatenate([np.arange(7470), generator.integers(0, 7470, 2545)])
    class_of_lesion = generator.choice(7, 7470, p=[0.03, 0.05, 0.11, 0.01, 0.11, 0.675, 0.015])
    truth = class_of_lesion[lesion]
    prediction = np.where(generator.random(10015) < 0.75, truth, generator.integers(0, 7, 10015))
    tracemalloc.start()
    start = time.perf_counter()
    interval = bootstrap_ci(truth, prediction, groups=lesion, n_draws=2000)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert interval.n_groups == 7470
    assert seconds < 5
    assert peak < 100e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_draws": 0}, "n_draws must be at least 1; got 0"),
        ({"confidence": 95}, "confidence must be between 0 and 1, such as 0.95; got 95"),
        ({"metric": "auc"}, "metric must be a function, one of .*'balanced_accuracy'.*got 'auc'"),
        ({"metric": "roc_auc:1"}, r"got 'roc_auc:1'. \['roc_auc', .*\] need y_proba"),
        (
            {"metric": "sensitivity:df"},
            r"classes \['0', '1'\] or of \['macro', 'weighted'\]; got 'sensitivity:df'\.$",
        ),
        ({"metric": lambda matrices: matrices.sum()}, r"must return one value for each of the \d+"),
        ({"groups": [1] * 10}, "groups must name at least two lesions"),
        ({"groups": [1, None] * 5}, r"5 of 10 are missing \(rows \[1, 3"),
        ({"groups": [1, 2]}, "one value for each of the 10 images"),
    ],
)
def test_messages(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_ci([0, 1] * 5, [0, 1] * 5, **arguments)


def test_str() -> None:
    assert str(bootstrap_ci([0, 1] * 5, [0, 1] * 5, metric="accuracy")) == "1.000 (95 % CI 0.692–1.000)"
