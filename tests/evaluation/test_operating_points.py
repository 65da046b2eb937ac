"""Operating points: by hand, with thresholds from the same rows, from other folds and from other images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skinclf.evaluation import operating_points

SENSITIVITY, SPECIFICITY = "sensitivity at 95 % specificity", "specificity at 95 % sensitivity"


def _binary(mel: np.ndarray) -> np.ndarray:
    return np.column_stack([mel, 1 - mel])


def _noise(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that are only a little higher for melanoma."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(["mel", "nv"], [n // 4, n - n // 4])
    return truth, 1 / (1 + np.exp(-generator.normal(np.where(truth == "mel", 0.5, 0))))


def test_by_hand() -> None:
    # 4 melanomas and 20 nevi. Above 0.7 there are 2 melanomas and 1 nevus: specificity 19/20, just kept. To find
    # all 4, the threshold goes down to 0.3, which 5 nevi reach.
    mel = [0.9, 0.75, 0.5, 0.3]
    nevi = [0.8, 0.6, 0.4, 0.35, 0.3, *np.linspace(0.01, 0.2, 15)]
    points = operating_points(
        ["mel"] * 4 + ["nv"] * 20, _binary(np.array(mel + nevi)), labels=["mel", "nv"], n_draws=50
    )
    assert points["task"].tolist() == ["melanoma", "melanoma"]
    assert points["goal"].tolist() == [SENSITIVITY, SPECIFICITY]
    assert points["threshold_from"].tolist() == ["same rows", "same rows"]
    first, second = points.iloc[0], points.iloc[1]
    assert (first["threshold"], first["sensitivity"], first["specificity"]) == (0.75, 2 / 4, 19 / 20)
    assert (second["threshold"], second["sensitivity"], second["specificity"]) == (0.3, 1, 15 / 20)
    assert (first["n_positive"], first["n_negative"]) == (4, 20)
    assert second["sensitivity_method"] == "clopper-pearson"  # in every draw all are found
    assert second["sensitivity_low"] == pytest.approx(0.025 ** (1 / 4))


def test_malignant_is_the_sum_of_its_classes() -> None:
    generator = np.random.default_rng(0)
    labels = ["akiec", "bcc", "bkl", "mel", "nv"]
    truth = generator.choice(labels, 200)
    proba = generator.dirichlet(np.ones(5), 200)
    points = operating_points(truth, proba, labels=labels, n_draws=20)
    assert points["task"].unique().tolist() == ["melanoma", "malignant"]
    row = points[(points["task"] == "malignant") & (points["goal"] == SENSITIVITY)].iloc[0]
    called = proba[:, [0, 1, 3]].sum(axis=1) >= row["threshold"]
    malignant = np.isin(truth, ["akiec", "bcc", "mel"])
    assert row["sensitivity"] == pytest.approx(called[malignant].mean())
    assert row["specificity"] == pytest.approx((~called[~malignant]).mean())
    own = operating_points(truth, proba, labels=labels, tasks={"cancer": ["mel", "bcc", "akiec"]}, n_draws=20)
    columns = ["threshold", "sensitivity", "sensitivity_low", "specificity", "specificity_high"]
    both = points[points["task"] == "malignant"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[columns], both[columns])


def test_a_threshold_from_the_same_rows_keeps_its_promise_and_one_from_other_folds_may_not() -> None:
    missed = []
    for seed in range(20):
        truth, mel = _noise(200, seed)
        points = operating_points(
            truth, _binary(mel), labels=["mel", "nv"], fold=np.arange(200) % 5, n_draws=20
        ).set_index(["goal", "threshold_from"])
        assert points.loc[(SENSITIVITY, "same rows"), "specificity"] >= 0.95
        assert points.loc[(SPECIFICITY, "same rows"), "sensitivity"] >= 0.95
        elsewhere = points.xs("other folds", level="threshold_from")
        promised = elsewhere.loc[SENSITIVITY, "specificity"], elsewhere.loc[SPECIFICITY, "sensitivity"]
        missed.append(np.array(promised) < 0.95)
    assert 0.2 < np.mean(missed) < 0.9


def test_other_folds_by_hand() -> None:
    truth, mel = _noise(60)
    fold = np.arange(60) % 3
    points = operating_points(truth, _binary(mel), labels=["mel", "nv"], fold=fold, n_draws=20)
    row = points[(points["goal"] == SENSITIVITY) & (points["threshold_from"] == "other folds")].iloc[0]
    thresholds, called = [], np.zeros(60, dtype=bool)
    for number in range(3):
        others = fold != number
        chosen = operating_points(
            truth[others], _binary(mel[others]), labels=["mel", "nv"], n_draws=2
        )  # the threshold of the other folds
        thresholds.append(chosen["threshold"][0])
        called[~others] = mel[~others] >= thresholds[-1]
    assert row["threshold"] == np.median(thresholds)
    assert row["sensitivity"] == pytest.approx(called[truth == "mel"].mean())
    assert row["specificity"] == pytest.approx((~called[truth == "nv"]).mean())


def test_given_thresholds_stay() -> None:
    truth, mel = _noise(100, 1)
    validation = operating_points(truth, _binary(mel), labels=["mel", "nv"], n_draws=20)
    test_truth, test_mel = _noise(300, 2)
    points = operating_points(
        test_truth, _binary(test_mel), labels=["mel", "nv"], thresholds=validation, n_draws=500
    )
    given = points[points["threshold_from"] == "given"].reset_index(drop=True)
    assert given["threshold"].tolist() == validation["threshold"].tolist()
    called = test_mel >= validation["threshold"][0]
    assert given["sensitivity"][0] == pytest.approx(called[test_truth == "mel"].mean())
    assert given["specificity"][0] == pytest.approx((~called[test_truth == "nv"]).mean())
    # A share of 225 nevi: the interval of the bootstrap is near that of a binomial.
    share = given["specificity"][0]
    half = 1.96 * np.sqrt(share * (1 - share) / 225)
    assert given["specificity_low"][0] == pytest.approx(share - half, abs=0.015)
    assert given["specificity_high"][0] == pytest.approx(share + half, abs=0.015)


def test_no_threshold_may_keep_the_specificity() -> None:
    points = operating_points(
        ["mel", "mel", "nv", "nv"], _binary(np.array([0.1, 0.2, 0.8, 0.9])), labels=["mel", "nv"], n_draws=20
    )
    row = points.iloc[0]
    assert (row["threshold"], row["sensitivity"], row["specificity"]) == (np.inf, 0, 1)
    assert row["sensitivity_high"] == pytest.approx(1 - 0.025 ** (1 / 2))


def test_same_bits_whatever_the_order_of_rows() -> None:
    truth, mel = _noise(120)
    lesion = np.arange(120) // 2
    settings = {"labels": ["mel", "nv"], "n_draws": 100}
    points = operating_points(truth, _binary(mel), groups=lesion, fold=lesion % 5, **settings)
    order = np.random.default_rng(0).permutation(120)
    shuffled = operating_points(
        truth[order], _binary(mel[order]), groups=lesion[order], fold=lesion[order] % 5, **settings
    )
    pd.testing.assert_frame_equal(shuffled, points, check_exact=True)
    assert points["n_positive"].tolist() == [15] * 4  # lesions, of two photos each


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": 95}, "at must be between 0 and 1, such as 0.95; got 95"),
        ({"labels": ["a", "nv"], "y_true": ["a", "nv"] * 4}, r"tasks must name binary tasks.*\['a', 'nv'\] allow"),
        ({"y_true": ["nv"] * 8}, r"tasks\['melanoma'\] has no positive images in y_true"),
        ({"fold": [0] * 8}, "fold must name at least two folds"),
        ({"fold": [0, 1]}, r"fold must name the fold of each of the 8 images; got shape \(2,\)"),
        ({"fold": [0, 1] * 4, "groups": [1, 1, 2, 2, 3, 3, 4, 4]}, r"fold puts the images of 4 lesion\(s\) into"),
        ({"fold": [0, 1] * 4}, "fold leaves no positive or no negative images of 'melanoma'"),
        (
            {"thresholds": pd.DataFrame({"task": ["x"], "goal": ["y"], "threshold_from": ["same rows"]})},
            "thresholds must have one row with task 'melanoma', goal 'sensitivity at 95 % spec.*got 0 such",
        ),
    ],
)
def test_messages(arguments: dict[str, object], message: str) -> None:
    given = {"y_true": ["mel", "nv"] * 4, "labels": ["mel", "nv"], "n_draws": 5} | arguments
    with pytest.raises(ValueError, match=message):
        operating_points(given.pop("y_true"), _binary(np.linspace(0.1, 0.8, 8)), **given)
