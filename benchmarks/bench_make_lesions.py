"""Whether painted lesions are learnable but not trivial: linear models on pixels beside `lesion_cnn`.

    python benchmarks/bench_make_lesions.py --output docs/results/make_lesions.json

1,400 images of 700 lesions at 64 pixels, five folds by lesion, balanced accuracy with its interval over lesions.
The classifier has the settings of ``skinclf demo``. A few minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinclf import LesionCNNClassifier
from skinclf.datasets import make_lesions
from skinclf.evaluation import bootstrap_ci, cross_validate
from skinclf.preprocessing import ImageFlattener
from skinclf.reporting._provenance import collect_provenance

MODELS = {
    "logistic regression on pixels": make_pipeline(
        ImageFlattener(), StandardScaler(), LogisticRegression(C=0.001, max_iter=200)
    ),
    "logistic regression on 100 principal components": make_pipeline(
        ImageFlattener(), PCA(100, random_state=0), StandardScaler(), LogisticRegression(max_iter=1000)
    ),
    "lesion_cnn": LesionCNNClassifier(max_epochs=18, batch_size=32, lr=0.003, random_state=0),
}


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    lesions = make_lesions(n_lesions=700, random_state=0)
    rows = []
    for name, model in MODELS.items():
        started = time.perf_counter()
        result = cross_validate(model, lesions.images, lesions.target, groups=lesions.groups)
        interval = bootstrap_ci(result.y_true, result.y_pred, groups=result.groups)
        rows.append(
            {
                "model": name,
                "balanced_accuracy": round(interval.estimate, 4),
                "balanced_accuracy_interval": [round(interval.low, 4), round(interval.high, 4)],
                "lowest_fold": round(float(result.scores["balanced_accuracy"].min()), 4),
                "seconds": round(time.perf_counter() - started),
            }
        )
        print(rows[-1], flush=True)
    if options.output:
        content = {
            "title": "Painted lesions",
            "description": "1,400 images of 700 lesions by make_lesions, 64 × 64 pixels, five folds by lesion.",
            "command": " ".join(["python benchmarks/bench_make_lesions.py", *sys.argv[1:]]),
            **vars(collect_provenance()),
            "rows": rows,
        }
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
