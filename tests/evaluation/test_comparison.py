"""Two models on the same images: what pairing is worth, how often it cries wolf, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skinclf.evaluation import bootstrap_ci, compare_models


def _models(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth and two models that fail on mostly the same images; the second on some more."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(["mel", "nv"], [n // 4, n - n // 4])
    other = np.where(truth == "mel", "nv", "mel")
    hard = generator.random(n) < 0.3
    a = np.where(hard, other, truth)
    return truth, a, np.where(generator.random(n) < 0.04, other, a)


def test_by_hand() -> None:
    comparison = compare_models(["mel", "mel", "nv", "nv"], ["mel", "nv", "nv", "nv"], ["nv", "nv", "nv", "mel"])
    assert (comparison.a, comparison.b, comparison.difference) == (0.75, 0.25, 0.5)
    assert (comparison.metric, comparison.n_images, comparison.n_groups) == ("balanced_accuracy", 4, 4)
    assert not comparison.by_group


def test_pairing_narrows_the_interval() -> None:
    truth, a, b = _models()
    comparison = compare_models(truth, a, b)
    alone = [bootstrap_ci(truth, prediction) for prediction in (a, b)]
    assert (comparison.a, comparison.b) == pytest.approx((alone[0].estimate, alone[1].estimate))
    unpaired = np.hypot(*(interval.high - interval.low for interval in alone))
    assert comparison.high - comparison.low < 0.6 * unpaired
    assert alone[0].low < alone[1].high  # the two intervals overlap, and yet
    assert comparison.low > 0
    assert comparison.p_value < 0.05


def test_matches_a_plain_paired_bootstrap() -> None:
    truth, a, b = _models(200, 1)
    lesion = np.arange(200) // 2
    comparison = compare_models(truth, a, b, groups=lesion, metric="accuracy")
    generator = np.random.default_rng(0)
    advantage = ((a == truth).astype(int) - (b == truth)).reshape(100, 2).sum(axis=1)
    draws = advantage[generator.integers(0, 100, (4000, 100))].sum(axis=1) / 200
    np.testing.assert_allclose([comparison.low, comparison.high], np.quantile(draws, [0.025, 0.975]), atol=0.006)
    assert comparison.p_value == pytest.approx(2 * min((draws <= 0).mean(), (draws >= 0).mean()), abs=0.02)
    assert comparison.by_group


def test_swapping_the_models_swaps_the_sign() -> None:
    truth, a, b = _models()
    one, other = compare_models(truth, a, b), compare_models(truth, b, a)
    assert other.difference == -one.difference
    np.testing.assert_allclose([other.low, other.high], [-one.high, -one.low], atol=0.01)


def test_the_same_model_twice_is_no_difference() -> None:
    truth, a, _ = _models()
    comparison = compare_models(truth, a, a.copy())
    assert (comparison.difference, comparison.p_value, comparison.method) == (0, 1, "no difference")


def test_equally_good_models_differ_significantly_once_in_twenty() -> None:
    generator = np.random.default_rng(11)
    significant, by_image = 0, 0
    for _ in range(300):
        lesion = np.repeat(np.arange(100), 2)
        truth = lesion % 2
        # Each model is right on 75 % of the lesions, and on both photos or on none.
        a, b = (np.where(generator.random(100)[lesion] < 0.75, truth, 1 - truth) for _ in range(2))
        settings = {"metric": "accuracy", "n_draws": 200}
        significant += compare_models(truth, a, b, groups=lesion, **settings).p_value < 0.05
        by_image += compare_models(truth, a, b, **settings).p_value < 0.05
    assert 0.015 < significant / 300 < 0.085
    assert by_image / 300 > 0.1


def test_probabilities() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat(["mel", "nv"], [50, 150])
    logit = np.where(truth == "mel", 1.0, -1.0)
    a, b = (1 / (1 + np.exp(-generator.normal(logit * strength))) for strength in (2, 1))
    proba_a, proba_b = (np.column_stack([mel, 1 - mel]) for mel in (a, b))
    ranked = compare_models(truth, proba_a, proba_b, metric="roc_auc:mel")
    assert ranked.a > ranked.b
    assert ranked.low > 0
    decided = compare_models(truth, proba_a, proba_b)
    labels = compare_models(truth, np.where(a > 0.5, "mel", "nv"), np.where(b > 0.5, "mel", "nv"))
    assert (decided.a, decided.b) == (labels.a, labels.b)
    tied = np.full((200, 2), 0.5)
    assert compare_models(truth, proba_a, tied).b == 0


def test_order_of_rows_does_not_matter() -> None:
    truth, a, b = _models(200)
    lesion = np.arange(200) // 2
    order = np.random.default_rng(0).permutation(200)
    comparison = compare_models(truth, a, b, groups=lesion)
    assert compare_models(truth[order], a[order], b[order], groups=lesion[order]) == comparison


def test_figures_of_a_class_and_own_functions() -> None:
    truth, a, b = _models()
    sensitivity = compare_models(truth, a, b, metric="sensitivity:mel")

    def found(matrices: np.ndarray) -> np.ndarray:
        return matrices[:, 0, 0] / matrices[:, 0].sum(axis=1)

    own = compare_models(truth, a, b, metric=found)
    assert own.metric == "found"
    assert (own.difference, own.low, own.p_value) == (
        sensitivity.difference,
        sensitivity.low,
        sensitivity.p_value,
    )


def test_undefined() -> None:
    comparison = compare_models(["mel", "nv"] * 4, ["nv"] * 8, ["nv"] * 8, metric="ppv:mel", n_draws=20)
    assert np.isnan([comparison.difference, comparison.low, comparison.p_value]).all()
    assert (comparison.method, comparison.n_undefined) == ("undefined", 20)


def test_str() -> None:
    truth, a, b = _models()
    text = str(compare_models(truth, a, b, metric="accuracy"))
    assert text.startswith("accuracy: 0.")
    assert "95 % CI +0.0" in text
    assert "p = 0.0" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"b": ["mel"] * 3}, "must be of the same images, row by row; they have 4, 4 and 3 rows"),
        ({"b": np.full((4, 2), 0.5)}, r"both be labels, or both probabilities; got shapes \(4,\) and \(4, 2\)"),
        (
            {"a": pd.Series(["mel"] * 4, index=list("pqrs")), "b": pd.Series(["mel"] * 4, index=list("pqsr"))},
            r"a and b must be of the same images in the same order; in row 2.* 'r' .*'s'.*b\.reindex\(a\.index\)",
        ),
        ({"metric": "roc_auc:mel"}, "need y_proba"),
        ({"n_draws": 0}, "n_draws must be at least 1"),
        ({"groups": [1] * 4}, "groups must name at least two lesions"),
    ],
)
def test_messages(arguments: dict[str, object], message: str) -> None:
    given = {"y_true": ["mel", "mel", "nv", "nv"], "a": ["mel"] * 4, "b": ["nv"] * 4} | arguments
    with pytest.raises(ValueError, match=message):
        compare_models(given.pop("y_true"), given.pop("a"), given.pop("b"), **given)
