"""Risk and coverage: by hand, against the plain definition, with ties, and by lesion."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinclf.evaluation import risk_coverage


def _two_classes(confidence: Any, right: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities of images that are answered 0 with these confidences."""
    p = np.asarray(confidence, dtype=float)
    return np.where(np.asarray(right, dtype=bool), 0, 1), np.c_[p, 1 - p]


def _simulate(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = 1.5 * generator.normal(size=(n, 4))
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (proba.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1), proba


def test_four_images_by_hand() -> None:
    y, proba = _two_classes([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    found = risk_coverage(y, proba, coverages=(1.0, 0.75, 0.5, 0.25), n_draws=10)
    assert found.at["error"].tolist() == pytest.approx([2 / 4, 1 / 3, 1 / 2, 0])
    assert found.at["threshold"].tolist() == [0.6, 0.7, 0.8, 0.9]
    assert found.at["n_answered"].tolist() == [4, 3, 2, 1]
    assert found.at["balanced_accuracy"].tolist() == [0.5, 0.5, 0.5, 1.0]
    area = (0 + 1 / 2 + 1 / 3 + 2 / 4) / 4
    ideal = (0 + 0 + 1 / 3 + 2 / 4) / 4  # both wrong images last
    assert found.summary["estimate"].tolist() == pytest.approx([area, ideal, area - ideal])
    assert found.summary.index.tolist() == ["aurc", "ideal_aurc", "excess_aurc"]
    assert found.classes.loc[(0.5, 0)].tolist() == [1, 0.5, 1.0]
    assert found.classes.loc[(0.5, 1)].tolist() == [1, 0.5, 0.0]


def test_the_area_is_the_mean_of_all_errors() -> None:
    y, proba = _simulate(500)
    wrong = (proba.argmax(axis=1) != y)[np.argsort(-proba.max(axis=1))]
    found = risk_coverage(y, proba, n_draws=10)
    place = np.arange(1, 501)
    assert found.summary.loc["aurc", "estimate"] == pytest.approx((wrong.cumsum() / place).mean())
    assert found.summary.loc["ideal_aurc", "estimate"] == pytest.approx((np.sort(wrong).cumsum() / place).mean())
    curve = found.curve.set_index("coverage")
    for coverage in (0.1, 0.5, 0.85, 1.0):
        n = round(500 * coverage)
        assert curve.loc[coverage, "error"] == pytest.approx(wrong[:n].mean())
        assert curve.loc[coverage, "ideal"] == pytest.approx(np.sort(wrong)[:n].mean())


def test_equal_confidence_is_answered_in_random_order() -> None:
    confidence, right = [0.9, 0.9, 0.7, 0.7, 0.7], np.array([True, False, True, True, False])
    found = risk_coverage(*_two_classes(confidence, right), coverages=(1.0, 0.6), n_draws=10)
    generator = np.random.default_rng(0)
    areas = []
    for _ in range(4000):
        order = np.lexsort((generator.random(5), -np.array(confidence)))
        areas.append(((~right[order]).cumsum() / np.arange(1, 6)).mean())
    assert found.summary.loc["aurc", "estimate"] == pytest.approx(np.mean(areas), abs=0.005)
    # Three of five: both of 0.9, one wrong, and one of 0.7, a third of it wrong. All five reach the threshold.
    assert found.at.loc[0.6, "error"] == pytest.approx((1 + 1 / 3) / 3)
    assert found.at.loc[0.6, ["threshold", "n_answered"]].tolist() == [0.7, 5]


def test_limits() -> None:
    perfect = risk_coverage([0, 1] * 10, np.tile([[0.9, 0.1], [0.2, 0.8]], (10, 1)), n_draws=10)
    assert perfect.summary.to_numpy().tolist() == [[0, 0, 0]] * 3
    hopeless = risk_coverage([1, 0] * 10, np.tile([[0.9, 0.1], [0.2, 0.8]], (10, 1)), n_draws=10)
    assert hopeless.summary["estimate"].tolist() == pytest.approx([1, 1, 0])
    # An order that says nothing has the error of all images everywhere, and so as its area.
    generator = np.random.default_rng(0)
    y, proba = _two_classes(generator.uniform(0.5, 1, 20_000), generator.random(20_000) < 0.7)
    assert risk_coverage(y, proba, n_draws=1).summary.loc["aurc", "estimate"] == pytest.approx(0.3, abs=0.02)


def test_intervals_are_those_of_a_plain_bootstrap_of_lesions() -> None:
    y, proba = _simulate(240)
    lesion = np.repeat(np.arange(80), 3)
    found = risk_coverage(y, proba, groups=lesion, coverages=(0.8,), n_draws=1500)
    generator = np.random.default_rng(5)
    draws = []
    for _ in range(1500):
        rows = (3 * generator.integers(0, 80, 80)[:, None] + np.arange(3)).ravel()
        wrong = (proba[rows].argmax(axis=1) != y[rows])[np.argsort(-proba[rows].max(axis=1), kind="stable")]
        draws.append((wrong[:192].mean(), (wrong.cumsum() / np.arange(1, 241)).mean()))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    assert found.at.loc[0.8, ["low", "high"]].tolist() == pytest.approx([low[0], high[0]], abs=0.012)
    assert found.summary.loc["aurc", ["low", "high"]].tolist() == pytest.approx([low[1], high[1]], abs=0.012)


def test_photos_of_the_same_lesions_do_not_narrow_the_intervals() -> None:
    y, proba = _simulate(200)
    four = np.repeat(np.arange(200), 4)
    once = risk_coverage(y, proba, n_draws=400).at
    by_lesion = risk_coverage(y[four], proba[four], groups=four, n_draws=400).at
    by_image = risk_coverage(y[four], proba[four], n_draws=400).at
    np.testing.assert_allclose(by_lesion[["error", "low", "high"]], once[["error", "low", "high"]], atol=0.01)
    width = (by_image["high"] - by_image["low"]) / (once["high"] - once["low"])
    assert width.between(0.4, 0.6).all()


def test_the_order_of_rows_does_not_matter() -> None:
    y, proba = _simulate(150)
    order = np.random.default_rng(0).permutation(150)
    first, second = risk_coverage(y, proba, n_draws=50), risk_coverage(y[order], proba[order], n_draws=50)
    pd.testing.assert_frame_equal(first.curve, second.curve)
    pd.testing.assert_frame_equal(first.classes, second.classes)


def test_a_class_that_is_never_answered_is_seen() -> None:
    y = np.array(["mel"] * 10 + ["nv"] * 90)
    p_nv = np.r_[np.linspace(0.4, 0.6, 10), np.linspace(0.7, 1.0, 90)]
    found = risk_coverage(y, np.c_[1 - p_nv, p_nv], coverages=(0.9,), n_draws=10)
    assert found.at.loc[0.9, "error"] == 0
    assert found.classes.loc[(0.9, "mel"), "answered"] == 0
    assert np.isnan(found.classes.loc[(0.9, "mel"), "sensitivity"])


def test_in_words() -> None:
    y, proba = _simulate(300)
    found = risk_coverage(y, proba)
    row = found.at.loc[0.8] * 100
    assert found.sentence(0.8) == (
        f"Answers 80 % of the images at {row['error']:.1f} % error (95 % CI {row['low']:.1f}–{row['high']:.1f} %)"
    )
    with pytest.raises(ValueError, match=r"coverage must be one of \[1.0, 0.9, 0.8, 0.7, 0.5\]; got 0.85"):
        found.sentence(0.85)
    assert repr(found).startswith("RiskCoverage(aurc=0.")


def test_eighty_percent_of_ten_is_eight() -> None:
    y, proba = _two_classes(np.linspace(0.55, 0.95, 10), [True] * 10)
    found = risk_coverage(y, proba, coverages=(0.8, 0.7, 0.3, 0.01), labels=[0, 1], n_draws=10)
    assert found.at["n_answered"].tolist() == [8, 7, 3, 1]


def test_ham10000_sized_data_take_seconds() -> None:
    y, proba = _simulate(10_015)
    lesion = np.concatenate([np.arange(7470), np.arange(2545)])
    start = time.process_time()
    risk_coverage(y, proba, groups=lesion, n_draws=500)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coverages": (0.0, 1.0)}, "coverages must be shares of images above 0 and up to 1"),
        ({"coverages": (80,)}, r"coverages must be shares.*got \(80,\)"),
        ({"coverages": ()}, "coverages must be shares"),
        ({"coverages": (0.5, 0.5)}, "coverages names a share twice"),
        ({"groups": [1, 1]}, "one value for each of the 4 images"),
        ({"n_draws": -1}, "n_draws must be at least 1"),
    ],
)
def test_messages(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        risk_coverage([0, 1, 0, 1], [[0.6, 0.4]] * 4, **arguments)
