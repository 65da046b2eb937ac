"""Figures of rankings: by hand, against scikit-learn, and of weights against images that are really repeated."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk_metrics

from skinclf.evaluation._curves import Ranking


def _figures(is_positive: list[int], scores: list[float]) -> dict[str, float]:
    ranking = Ranking(np.array(is_positive, dtype=bool), np.array(scores, dtype=float))
    return {name: values.item() for name, values in ranking.measure(np.ones((len(scores), 1))).figures().items()}


def _area_above(is_positive: np.ndarray, scores: np.ndarray, weight: np.ndarray, floor: float = 0.8) -> float:
    """The challenge's definition, step by step: cut the ROC curve where it first reaches `floor`."""
    fpr, tpr, _ = sk_metrics.roc_curve(is_positive, scores, sample_weight=weight, drop_intermediate=False)
    after = int(np.argmax(tpr >= floor))
    cut = np.interp(floor, tpr[after - 1 : after + 1], fpr[after - 1 : after + 1])
    return float(sk_metrics.auc([cut, *fpr[after:]], [floor, *tpr[after:]]))


def test_by_hand() -> None:
    # In order of score: + + + - + - + - - -. The sensitivity is 0.6 up to a false positive rate of 0.2, 0.8 up to
    # 0.4, and 1 from there on.
    figures = _figures([1, 1, 1, 0, 1, 0, 1, 0, 0, 0], list(range(10, 0, -1)))
    assert figures["roc_auc"] == pytest.approx(0.2 * 0.6 + 0.2 * 0.8 + 0.6 * 1)
    assert figures["average_precision"] == pytest.approx((1 + 1 + 1 + 4 / 5 + 5 / 7) / 5)
    assert figures["auc_above_80"] == pytest.approx(0.2 * 0.8 + 0.6 * 1)  # from 0.2 on, where 0.8 is first reached


def test_by_hand_with_a_tie_across_80_percent() -> None:
    # Scores + 0.9, + and - 0.5, - 0.1: the curve goes (0, 0), (0, 0.5), straight to (0.5, 1), (1, 1).
    figures = _figures([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1])
    assert figures["roc_auc"] == pytest.approx(3.5 / 4)
    assert figures["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # It reaches 0.8 at 0.3; a trapezium from there to 0.5, and a rectangle.
    assert figures["auc_above_80"] == pytest.approx(0.2 * 0.9 + 0.5 * 1)


def test_perfect_chance_and_worst() -> None:
    assert _figures([1, 1, 0, 0], [4, 3, 2, 1]) == pytest.approx(
        {"roc_auc": 1, "average_precision": 1, "auc_above_80": 1}
    )
    assert _figures([1, 0, 0, 0], [5, 5, 5, 5]) == pytest.approx(
        {"roc_auc": 0.5, "average_precision": 0.25, "auc_above_80": (1 - 0.8) * (1 + 0.8) / 2}
    )
    assert _figures([1, 1, 0, 0], [1, 2, 3, 4]) == pytest.approx(
        {"roc_auc": 0, "average_precision": (1 / 3 + 2 / 4) / 2, "auc_above_80": 0}
    )


@pytest.mark.parametrize("side", [0, 1])
def test_one_side_empty_is_undefined(side: int) -> None:
    assert np.isnan(list(_figures([side] * 3, [1, 2, 3]).values())).all()


@pytest.mark.parametrize("decimals", [1, 2, 12], ids=["many ties", "some ties", "no ties"])
def test_agrees_with_scikit_learn_on_weighted_images(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    for _ in range(20):
        n = int(generator.integers(10, 120))
        is_positive = generator.random(n) < 0.4
        is_positive[:2] = True, False
        scores = np.round(generator.random(n) + 0.3 * is_positive, decimals)
        weights = generator.integers(0, 4, (n, 4)).astype(float)
        weights[:2] = 1
        figures = Ranking(is_positive, scores).measure(weights).figures()
        for draw, weight in enumerate(weights.T):
            expected = {
                "roc_auc": sk_metrics.roc_auc_score(is_positive, scores, sample_weight=weight),
                "average_precision": sk_metrics.average_precision_score(is_positive, scores, sample_weight=weight),
                "auc_above_80": _area_above(is_positive, scores, weight),
            }
            assert {name: values[draw] for name, values in figures.items()} == pytest.approx(expected, abs=1e-12)


def test_operating_points_are_the_best_of_all_thresholds() -> None:
    generator = np.random.default_rng(0)
    is_positive = generator.random(200) < 0.3
    scores = np.round(generator.normal(is_positive * 1.5), 1)
    weights = generator.integers(0, 3, (200, 25)).astype(float)
    ranking = Ranking(is_positive, scores)
    sums = ranking.measure(weights)
    sensitivity, place = sums.sensitivity_at(0.95)
    specificity, other_place = sums.specificity_at(0.95)
    for draw, weight in enumerate(weights.T):
        called = scores >= np.array([np.inf, *np.unique(scores)])[:, None]
        sens = (called & is_positive) @ weight / weight[is_positive].sum()
        spec = (~called & ~is_positive) @ weight / weight[~is_positive].sum()
        assert sensitivity[draw] == pytest.approx(sens[spec >= 0.95].max())
        assert specificity[draw] == pytest.approx(spec[sens >= 0.95].max())
        at = scores >= ranking.thresholds[place[draw]]
        assert weight[at & is_positive].sum() / weight[is_positive].sum() == pytest.approx(sensitivity[draw])
        at = scores >= ranking.thresholds[other_place[draw]]
        assert weight[~at & ~is_positive].sum() / weight[~is_positive].sum() == pytest.approx(specificity[draw])


def test_no_threshold_may_keep_the_specificity() -> None:
    sums = Ranking(np.array([True, False]), np.array([1.0, 2.0])).measure(np.ones((2, 1)))
    sensitivity, place = sums.sensitivity_at(0.95)
    assert (sensitivity.item(), place.item()) == (0.0, -1)


def test_large_weights_are_counted_exactly() -> None:
    # 3 * 2**24 + 1 has no float32: with it the one pair in the wrong order would vanish.
    is_positive, scores = np.array([True, True, False]), np.array([2.0, 0.0, 1.0])
    figures = Ranking(is_positive, scores).measure(np.array([[3.0 * 2**24], [1.0], [1.0]])).figures()
    assert figures["roc_auc"].item() == 3 * 2**24 / (3 * 2**24 + 1)
