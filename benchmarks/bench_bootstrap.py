"""What intervals for all figures cost at the size of HAM10000, beside a loop over draws with scikit-learn.

    OMP_NUM_THREADS=1 python benchmarks/bench_bootstrap.py --output docs/results/bootstrap.json

10,015 images of 7,470 lesions in seven classes, numbers as a model would give them, 2,000 draws of lesions. The
loop scores the images of each draw with scikit-learn. It has only the figures that scikit-learn knows, and is
timed on a few draws; its seconds for 2,000 are calculated. The largest difference between the two, on the same
draws, is measured too. Half a minute on one core.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _rounds import in_turns, medians, write_result
from sklearn import metrics

from skinclf.evaluation import bootstrap_ci, bootstrap_table, compare_models, operating_points
from skinclf.evaluation._cases import read_cases
from skinclf.evaluation._figures import Figures, list_figures
from skinclf.evaluation._intervals import contents_of
from skinclf.evaluation._resampling import draw_weights, sort_into_patterns

LABELS = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
LESIONS_OF_CLASS = [228, 327, 727, 73, 614, 5403, 98]
N_IMAGES, N_DRAWS, LOOP_DRAWS = 10_015, 2000, 10
SECONDS_ALLOWED = 5.0

TITLE = "Bootstrap over lesions"
DESCRIPTION = (
    "Seconds on one core for the intervals of an evaluation of the size of HAM10000: 10,015 images of 7,470 "
    "lesions, seven classes, 2,000 draws. Labels and probabilities are simulated. The loop with scikit-learn is "
    "timed on ten draws; it has 45 of the 84 figures."
)


def simulate(seed: int, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, probabilities and lesions, as many of each as HAM10000 has; photos of a lesion look alike."""
    generator = np.random.default_rng(0)
    kind_of_lesion = np.repeat(np.arange(7), LESIONS_OF_CLASS)
    n_lesions = kind_of_lesion.size
    lesion = np.concatenate([np.arange(n_lesions), generator.integers(0, n_lesions, N_IMAGES - n_lesions)])
    kind = kind_of_lesion[lesion]
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n_lesions, 7))[lesion] + generator.normal(0, 0.5, (N_IMAGES, 7))
    logits += strength * np.eye(7)[kind]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.array(LABELS)[kind], proba, lesion


def score_with_scikit_learn(truth: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    """Return those of the figures that scikit-learn has."""
    prediction = np.array(LABELS)[proba.argmax(axis=1)]
    scores = {
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, prediction),
        "accuracy": metrics.accuracy_score(truth, prediction),
    }
    by_class = metrics.precision_recall_fscore_support(truth, prediction, labels=LABELS, zero_division=np.nan)
    for figure, values in zip(("ppv", "sensitivity", "f1"), by_class, strict=False):
        scores |= {f"{figure}:{label}": value for label, value in zip(LABELS, values, strict=True)}
    for column, label in enumerate(LABELS):
        scores[f"roc_auc:{label}"] = metrics.roc_auc_score(truth == label, proba[:, column])
        scores[f"average_precision:{label}"] = metrics.average_precision_score(truth == label, proba[:, column])
    for task, positive in {"melanoma": ["mel"], "malignant": ["mel", "bcc", "akiec"]}.items():
        is_positive, score = np.isin(truth, positive), proba[:, np.isin(LABELS, positive)].sum(axis=1)
        false, found, _ = metrics.roc_curve(is_positive, score, drop_intermediate=False)
        scores |= {
            f"roc_auc:{task}": metrics.roc_auc_score(is_positive, score),
            f"average_precision:{task}": metrics.average_precision_score(is_positive, score),
            f"sensitivity_at_95_specificity:{task}": found[1 - false >= 0.95].max(),
            f"specificity_at_95_sensitivity:{task}": (1 - false)[found >= 0.95].max(),
        }
    return scores


def loop_over_draws(truth: np.ndarray, proba: np.ndarray, lesion: np.ndarray) -> None:
    """Draw lesions, and score their images, one draw after the other."""
    generator = np.random.default_rng(0)
    rows = pd.Series(np.arange(truth.size)).groupby(lesion).apply(lambda part: part.to_numpy()).tolist()
    for _ in range(LOOP_DRAWS):
        drawn = np.concatenate([rows[i] for i in generator.integers(0, len(rows), len(rows))])
        score_with_scikit_learn(truth[drawn], proba[drawn])


def largest_difference(truth: np.ndarray, proba: np.ndarray, lesion: np.ndarray) -> float:
    """Return the largest difference of a figure in any of ten draws from what scikit-learn says of the images."""
    cases = read_cases(truth, None, proba, LABELS)
    tasks = {"melanoma": np.isin(LABELS, ["mel"]), "malignant": np.isin(LABELS, ["mel", "bcc", "akiec"])}
    lesions = sort_into_patterns(contents_of(cases), lesion)
    weights = next(draw_weights(lesions, LOOP_DRAWS, 0))
    draw = Figures(cases, lesions.members, tasks).draw(weights)
    names = {str(name): name for name in list_figures(cases, tasks)}
    largest = 0.0
    for number, times in enumerate((lesions.members @ weights).T.astype(int)):
        drawn = np.repeat(np.arange(truth.size), times)
        for name, expected in score_with_scikit_learn(truth[drawn], proba[drawn]).items():
            largest = max(largest, abs(float(draw.value(names[name])[number]) - expected))
    return largest


def peak_megabytes(call: Callable[[], Any]) -> float:
    """Return the memory that a call allocates at most."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    truth, proba, lesion = simulate(0, 2.0)
    other = simulate(1, 1.9)[1]
    settings = {"groups": lesion, "n_draws": N_DRAWS}
    prediction = np.array(LABELS)[proba.argmax(axis=1)]
    table = bootstrap_table(truth, y_proba=proba, labels=LABELS, **settings)
    contestants = {
        "all figures": lambda: bootstrap_table(truth, y_proba=proba, labels=LABELS, **settings),
        "all figures of predicted labels": lambda: bootstrap_table(truth, prediction, **settings),
        "balanced accuracy": lambda: bootstrap_ci(truth, prediction, **settings),
        "ROC AUC of melanoma": lambda: bootstrap_ci(
            truth, y_proba=proba, labels=LABELS, metric="roc_auc:mel", **settings
        ),
        "operating points of two tasks": lambda: operating_points(truth, proba, labels=LABELS, **settings),
        "two models compared": lambda: compare_models(truth, proba, other, labels=LABELS, **settings),
    }
    seconds = medians(in_turns(contestants, options.rounds))
    started = time.perf_counter()
    loop_over_draws(truth, proba, lesion)
    loop = (time.perf_counter() - started) / LOOP_DRAWS * N_DRAWS
    n_figures = {"all figures": len(table), "operating points of two tasks": 8}
    n_figures["all figures of predicted labels"] = len(
        bootstrap_table(truth, prediction, groups=lesion, n_draws=1)
    )
    rows = [
        {"work": name, "figures": n_figures.get(name, 1), "seconds": round(value, 3)}
        for name, value in seconds.items()
    ]
    rows.append(
        {
            "work": "loop over draws with scikit-learn, calculated",
            "figures": len(score_with_scikit_learn(truth, proba)),
            "seconds": round(loop),
        }
    )
    content = {
        "title": TITLE,
        "description": DESCRIPTION,
        "images": N_IMAGES,
        "lesions": int(np.unique(lesion).size),
        "draws": N_DRAWS,
        "rounds": options.rounds,
        "seconds_allowed": SECONDS_ALLOWED,
        "peak_megabytes": round(peak_megabytes(contestants["all figures"])),
        "largest_difference_from_scikit_learn": largest_difference(truth, proba, lesion),
        "columns": ["work", "figures", "seconds"],
        "rows": rows,
    }
    print(pd.DataFrame(rows).to_string(index=False))
    print({key: value for key, value in content.items() if key not in ("rows", "description")})
    write_result(options.output, content)


if __name__ == "__main__":
    main()
