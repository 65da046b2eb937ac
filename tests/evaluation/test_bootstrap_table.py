"""All figures with intervals: against images that are really drawn, bounds where no draw moves, coverage."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk_metrics

from skinclf.evaluation import bootstrap_ci, bootstrap_table, classification_metrics, operating_points
from skinclf.evaluation._bounds import area_above_bound, clopper_pearson, f1_bound, precision_bound
from skinclf.evaluation._cases import read_cases
from skinclf.evaluation._figures import Figures, list_figures
from skinclf.evaluation._intervals import contents_of
from skinclf.evaluation._resampling import draw_weights, sort_into_patterns
from skinclf.evaluation._tasks import read_tasks

LABELS = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


def _simulate(n_lesions: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and lesions of one to three photos."""
    generator = np.random.default_rng(seed)
    lesion = np.repeat(np.arange(n_lesions), generator.integers(1, 4, n_lesions))
    kind = generator.choice(7, n_lesions, p=[0.08, 0.08, 0.14, 0.06, 0.16, 0.4, 0.08])
    kind[:14] = np.tile(np.arange(7), 2)
    logits = generator.normal(size=(lesion.size, 7)) + 1.5 * np.eye(7)[kind[lesion]]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.array(LABELS)[kind[lesion]], proba, lesion


def test_each_draw_scores_what_its_images_score() -> None:
    truth, proba, lesion = _simulate(70)
    cases = read_cases(truth, None, proba, LABELS)
    tasks = read_tasks(None, cases.classes)
    lesions = sort_into_patterns(contents_of(cases), lesion)
    weights = next(draw_weights(lesions, 8, 0))
    assert weights.sum(axis=0).tolist() == [70.0] * 8  # lesions, not images
    draw = Figures(cases, lesions.members, tasks).draw(weights)
    names = list_figures(cases, tasks)
    for number, times in enumerate((lesions.members @ weights).T.astype(int)):
        rows = np.repeat(np.arange(truth.size), times)
        expected = _score(truth[rows], proba[rows])
        drawn = {str(name): draw.value(name)[number] for name in names}
        assert drawn.keys() == expected.keys()
        assert drawn == pytest.approx(expected, nan_ok=True)


def _score(truth: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    """All figures by other means than the table's."""
    metrics = classification_metrics(truth, y_proba=proba, labels=LABELS)
    scores = {"balanced_accuracy": metrics.balanced_accuracy, "accuracy": metrics.accuracy}
    for name, values in metrics.to_frame().drop(columns="support").items():
        scores |= {f"{name}:{label}": value for label, value in values.items()}
    for task, classes in {"melanoma": ["mel"], "malignant": ["akiec", "bcc", "mel"]}.items():
        positive, score = np.isin(truth, classes), proba[:, np.isin(LABELS, classes)].sum(axis=1)
        false, found, _ = sk_metrics.roc_curve(positive, score, drop_intermediate=False)
        binary = classification_metrics(positive, ~positive, y_proba=np.column_stack([1 - score, score]))
        scores |= {
            f"roc_auc:{task}": sk_metrics.roc_auc_score(positive, score),
            f"average_precision:{task}": sk_metrics.average_precision_score(positive, score),
            f"auc_above_80:{task}": binary.per_class.loc[True, "auc_above_80"],
            f"sensitivity_at_95_specificity:{task}": found[1 - false >= 0.95].max(),
            f"specificity_at_95_sensitivity:{task}": (1 - false)[found >= 0.95].max(),
        }
    return scores


def test_estimates_are_the_figures_of_the_images_as_they_are() -> None:
    truth, proba, lesion = _simulate(60)
    table = bootstrap_table(truth, y_proba=proba, labels=LABELS, groups=lesion, n_draws=50)
    assert table["estimate"].to_dict() == pytest.approx(_score(truth, proba))
    assert (table["low"] <= table["high"]).all()
    assert table.loc["sensitivity:mel", "label"] == "mel"
    assert table.loc["balanced_accuracy", "label"] == ""
    mel, all_lesions = pd.Series(lesion)[truth == "mel"].nunique(), 60
    assert table.loc["sensitivity:mel", "n_lesions"] == mel
    assert table.loc["specificity:mel", "n_lesions"] == all_lesions - mel
    assert table.loc["roc_auc:mel", "n_lesions"] == mel
    called = np.array(LABELS)[proba.argmax(axis=1)] == "mel"
    assert table.loc["ppv:mel", "n_lesions"] == pd.Series(lesion)[called].nunique()


def test_one_figure_at_a_time_gives_the_same_bits() -> None:
    truth, proba, lesion = _simulate(60)
    settings = {"y_proba": proba, "labels": LABELS, "groups": lesion, "n_draws": 200}
    table = bootstrap_table(truth, **settings)
    for metric in ("balanced_accuracy", "ppv:nv", "roc_auc:mel", "auc_above_80:macro", "f1:weighted"):
        interval = bootstrap_ci(truth, metric=metric, **settings)
        row = table.loc[metric]
        assert (interval.estimate, interval.low, interval.high) == (row["estimate"], row["low"], row["high"])
        assert (interval.method, interval.n_lesions) == (row["method"], row["n_lesions"])


def test_same_bits_whatever_the_order_of_rows_and_the_names_of_lesions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, proba, lesion = _simulate(60)
    table = bootstrap_table(truth, y_proba=proba, labels=LABELS, groups=lesion, n_draws=300)
    order = np.random.default_rng(1).permutation(truth.size)
    names = np.array([f"HAM_{(7 * i) % 60:02d}" for i in lesion])
    shuffled = bootstrap_table(truth[order], y_proba=proba[order], labels=LABELS, groups=names[order], n_draws=300)
    pd.testing.assert_frame_equal(shuffled, table, check_exact=True)
    monkeypatch.setattr("skinclf.evaluation._resampling._VALUES_AT_ONCE", 1000)
    in_chunks = bootstrap_table(truth, y_proba=proba, labels=LABELS, groups=lesion, n_draws=300)
    pd.testing.assert_frame_equal(in_chunks, table, check_exact=True)
    other = bootstrap_table(truth, y_proba=proba, labels=LABELS, groups=lesion, n_draws=300, random_state=1)
    assert (other["low"] != table["low"]).mean() > 0.9


def test_rankings_match_a_plain_bootstrap_that_draws_rows() -> None:
    generator = np.random.default_rng(3)
    lesion = np.repeat(np.arange(80), generator.integers(1, 4, 80))
    truth = np.where(lesion % 4 == 0, "mel", "nv")
    score = 1 / (1 + np.exp(-generator.normal(truth == "mel") - generator.normal(size=80)[lesion]))
    interval = bootstrap_ci(
        truth,
        y_proba=np.column_stack([score, 1 - score]),
        labels=["mel", "nv"],
        groups=lesion,
        metric="roc_auc:mel",
        n_draws=3000,
    )
    rows = [np.flatnonzero(lesion == i) for i in range(80)]
    draws = []
    for _ in range(400):
        drawn = np.concatenate([rows[i] for i in generator.integers(0, 80, 80)])
        draws.append(sk_metrics.roc_auc_score(truth[drawn] == "mel", score[drawn]))
    np.testing.assert_allclose([interval.low, interval.high], np.quantile(draws, [0.025, 0.975]), atol=0.02)


def test_tasks() -> None:
    truth, proba, lesion = _simulate(40)
    none = bootstrap_table(truth, y_proba=proba, labels=LABELS, groups=lesion, tasks={}, n_draws=20)
    assert not none["label"].isin(["melanoma", "malignant"]).any()
    pigmented = {"pigmented": ["nv", "mel"], "vascular": "vasc"}
    own = bootstrap_table(truth, y_proba=proba, labels=LABELS, groups=lesion, tasks=pigmented, n_draws=20)
    assert own.loc["roc_auc:vascular", "estimate"] == own.loc["roc_auc:vasc", "estimate"]
    assert own.loc["sensitivity_at_95_specificity:pigmented", "low"] >= 0
    with pytest.raises(TypeError, match=r"tasks must be a dictionary.*got list"):
        bootstrap_table(truth, y_proba=proba, labels=LABELS, tasks=["mel"])
    for wrong in ("melanoma", [], LABELS):
        with pytest.raises(ValueError, match=r"tasks\['x'\] must name some, and not all, of the classes"):
            bootstrap_table(truth, y_proba=proba, labels=LABELS, tasks={"x": wrong})


def test_no_hit_and_only_hits_get_exact_bounds() -> None:
    truth = np.repeat(["bkl", "mel", "nv"], [10, 20, 70])
    prediction = np.where(truth == "bkl", "nv", truth)
    lesion = np.concatenate([np.arange(10) // 2, 10 + np.arange(20), 30 + np.arange(70)])  # two photos of each bkl
    table = bootstrap_table(truth, prediction, groups=lesion, n_draws=200)
    never, always = table.loc["sensitivity:bkl"], table.loc["sensitivity:mel"]
    assert (never["low"], never["method"], never["n_lesions"]) == (0, "clopper-pearson", 5)
    assert never["high"] == pytest.approx(1 - 0.025 ** (1 / 5))  # five lesions, not ten images
    assert always["high"] == 1
    assert always["low"] == pytest.approx(0.025 ** (1 / 20))
    assert table.loc["f1:mel", "low"] == pytest.approx(2 * 0.025 ** (1 / 20) / (1 + 0.025 ** (1 / 20)))
    assert table.loc["ppv:bkl", "method"] == "undefined"
    assert np.isnan(table.loc["ppv:bkl", ["estimate", "low", "high"]].astype(float)).all()
    assert table.loc["accuracy", "method"] == "bootstrap"
    # Balanced accuracy is 2/3 in nearly every draw: it gets the mean of bounds that hold together.
    balanced = table.loc["balanced_accuracy"]
    assert balanced["low"] < 2 / 3 < balanced["high"]


def test_a_perfect_model_is_not_certain_to_be_perfect() -> None:
    # 80 % of a drawn number of melanomas is seldom exact in binary: an area of 1 - 1e-16 must not pass as a width.
    truth = np.repeat(["mel", "nv"], [20, 60])
    score = np.where(truth == "mel", 0.9, 0.1) + np.linspace(0, 0.05, 80)
    proba = np.column_stack([score, 1 - score])
    table = bootstrap_table(truth, y_proba=proba, labels=["mel", "nv"], n_draws=100)
    assert table["estimate"].to_numpy() == pytest.approx(1, abs=1e-12)
    assert (table["high"] == 1).all()
    assert (table["low"] < 0.97).all()
    assert not (table["method"] == "bootstrap").any()
    assert table.loc["roc_auc:mel", "low"] == pytest.approx(0.025 ** (1 / 20))  # 20 pairs, all in order
    at = table.loc["balanced_accuracy"]
    assert at["low"] == pytest.approx((0.0125 ** (1 / 20) + 0.0125 ** (1 / 60)) / 2)
    assert at["method"] == "mean of bounds"


def test_a_class_of_one_lesion_is_no_evidence() -> None:
    truth = np.array(["df", "df", "nv", "nv", "nv", "mel", "mel", "mel"])
    prediction = np.array(["df", "nv", "nv", "nv", "mel", "mel", "mel", "nv"])
    table = bootstrap_table(truth, prediction, groups=[0, 0, 1, 2, 3, 4, 5, 6], n_draws=100)
    one = table.loc["sensitivity:df"]
    assert one["estimate"] == 0.5
    assert one["low"] < 0.01
    assert one["high"] > 0.99
    assert (one["method"], one["n_lesions"]) == ("clopper-pearson", 1)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (1, 1)])
def test_clopper_pearson_leaves_out_the_tail_that_it_should(hits: int, n: int) -> None:
    generator = np.random.default_rng(hits)
    low, high = clopper_pearson(hits / n, n, 0.025)
    at_low, at_high = (generator.binomial(n, p, 200_000) for p in (low, high))
    assert (at_low >= hits).mean() == pytest.approx(0.025 if hits else 1, abs=0.002)
    assert (at_high <= hits).mean() == pytest.approx(0.025 if hits < n else 1, abs=0.002)


def test_bounds_from_an_area_hold_for_any_curve() -> None:
    generator = np.random.default_rng(0)
    t = (np.arange(4000) + 0.5) / 4000  # sensitivities
    for _ in range(300):
        steps = np.sort(generator.random(int(generator.integers(1, 5))))
        rate = np.searchsorted(steps, t) * generator.random() ** 3 / steps.size  # never falls with t
        prevalence = generator.uniform(0.01, 0.9)
        auc = 1 - rate.mean()
        precision = np.mean(prevalence * t / (prevalence * t + (1 - prevalence) * rate))
        assert precision_bound(auc, prevalence) <= precision + 1e-3
        cut = rate[int(0.8 * 4000)]
        above = 0.8 * (1 - cut) + np.sum(1 - rate[int(0.8 * 4000) :]) / 4000
        assert area_above_bound(auc, 0.8) <= above + 1e-3


@pytest.mark.parametrize(("error", "prevalence"), [(0.01, 0.3), (0.2, 0.1), (0.0, 0.5)])
def test_the_bound_of_precision_is_reached(error: float, prevalence: float) -> None:
    # The curve of the docstring, its constant found by halving: the area is right, and the precision the bound.
    t = (np.arange(200_000) + 0.5) / 200_000
    low, high = 0.0, 10.0
    for _ in range(60):
        k = (low + high) / 2
        rate = np.maximum(0, (k * np.sqrt(t) - prevalence * t) / (1 - prevalence))
        low, high = (k, high) if rate.mean() < error else (low, k)
    precision = np.mean(prevalence * t / (prevalence * t + (1 - prevalence) * rate))
    assert precision_bound(1 - error, prevalence) == pytest.approx(precision, abs=1e-3)


def test_bound_of_f1_is_that_of_its_jaccard_index() -> None:
    low, high = f1_bound(2 / 3, 20, 0.025)  # J = 1 / 2
    expected = clopper_pearson(0.5, 20, 0.025)
    assert (low / (2 - low), high / (2 - high)) == pytest.approx(expected)


def test_intervals_of_an_area_cover_it_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(5)
    normal = 0.7602499  # P(N(1, 1) > N(0, 1))
    covered, covered_by_image = 0, 0
    for _ in range(150):
        kind = np.arange(120) % 3 == 0
        lesion = np.repeat(np.arange(120), 3)  # three photos, much alike
        logit = (generator.normal(kind) + 1e-3)[lesion] + generator.normal(0, 1e-3, 360)
        score = 1 / (1 + np.exp(-logit))
        arguments = {"y_proba": np.column_stack([score, 1 - score]), "labels": [True, False], "n_draws": 200}
        by_lesion = bootstrap_ci(kind[lesion], groups=lesion, metric="roc_auc:True", **arguments)
        by_image = bootstrap_ci(kind[lesion], metric="roc_auc:True", **arguments)
        covered += by_lesion.low <= normal <= by_lesion.high
        covered_by_image += by_image.low <= normal <= by_image.high
    assert 0.89 <= covered / 150 <= 0.985
    assert covered_by_image / 150 < 0.85


def test_rare_hits_are_covered_at_least_as_often_as_the_interval_says() -> None:
    # 12 lesions, each found with a probability of 0.97: most samples are all hits, and a bootstrap says 1 to 1.
    generator = np.random.default_rng(6)
    truth = np.repeat(["mel", "nv"], [12, 40])
    covered, moved = 0, 0
    for _ in range(200):
        found = generator.random(52) < 0.97
        prediction = np.where(found, truth, np.where(truth == "mel", "nv", "mel"))
        interval = bootstrap_ci(truth, prediction, metric="sensitivity:mel", n_draws=200)
        covered += interval.low <= 0.97 <= interval.high
        moved += interval.method == "bootstrap"
    assert covered / 200 >= 0.95
    assert moved / 200 < 0.5


def test_ham10000_sized_data_take_less_than_five_seconds_and_little_memory() -> None:
    generator = np.random.default_rng(0)
    lesion = np.concatenate([np.arange(7470), generator.integers(0, 7470, 2545)])
    kind = generator.choice(7, 7470, p=[0.03, 0.05, 0.11, 0.01, 0.11, 0.675, 0.015])[lesion]
    logits = generator.normal(size=(10015, 7)) + 2 * np.eye(7)[kind]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    start = time.process_time()
    table = bootstrap_table(np.array(LABELS)[kind], y_proba=proba, labels=LABELS, groups=lesion)
    seconds = time.process_time() - start
    assert len(table) == 2 + 8 * 9 + 2 * 5
    assert seconds < 5
    tracemalloc.start()
    bootstrap_table(np.array(LABELS)[kind], y_proba=proba, labels=LABELS, groups=lesion, n_draws=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6


def test_operating_points_of_the_table_are_those_of_their_function() -> None:
    truth, proba, lesion = _simulate(60)
    table = bootstrap_table(truth, y_proba=proba, labels=LABELS, groups=lesion, n_draws=20)
    points = operating_points(truth, proba, labels=LABELS, groups=lesion, n_draws=20).set_index(["task", "goal"])
    for task in ("melanoma", "malignant"):
        assert (
            points.loc[(task, "sensitivity at 95 % specificity"), "sensitivity"]
            == table.loc[f"sensitivity_at_95_specificity:{task}", "estimate"]
        )
        assert (
            points.loc[(task, "specificity at 95 % sensitivity"), "specificity"]
            == table.loc[f"specificity_at_95_sensitivity:{task}", "estimate"]
        )


def test_the_measured_cost_is_what_the_user_guide_says() -> None:
    project = Path(__file__).parents[2]
    measured = json.loads((project / "docs" / "results" / "bootstrap.json").read_text("utf-8"))
    page = " ".join((project / "docs" / "user_guide" / "evaluation.rst").read_text("utf-8").split())
    everything = next(row for row in measured["rows"] if row["work"] == "all figures")
    assert (measured["images"], measured["lesions"], measured["draws"]) == (10015, 7470, 2000)
    assert f"{everything['figures']} of them for the seven classes" in page
    assert "about a second for the 10,015 images" in page
    assert everything["seconds"] < 1.5 < measured["seconds_allowed"]
    assert measured["largest_difference_from_scikit_learn"] < 1e-12
