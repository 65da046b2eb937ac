"""How many of scikit-learn's checks, and of our image checks, each public estimator passes, beside stock skorch.

    python benchmarks/bench_estimator_checks.py --output docs/results/estimator_checks.json

scikit-learn's whole suite (``check_estimator``) runs over every public estimator of skinclf, with the parameters
that tests/test_common.py gives it, and over ``skorch.NeuralNetClassifier`` with a small network, twice: as in
skorch's tutorial, where the network takes float32 rows of 20 values; and with a network that takes rows of any
length and type, so that what fails is skorch's own. Nothing is repaired around skorch, and nothing that fails ends
the run. Our image checks are those of tests/test_image_checks.py. One process; a minute or two.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from sklearn.utils.estimator_checks import check_estimator
from skorch import NeuralNetClassifier
from torch import Tensor, nn

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests" / "support"))

from image_checks import image_checks  # noqa: E402
from public_estimators import (  # noqa: E402
    ESTIMATORS,
    EXPECTED_IMAGE_FAILURES,
    expected_failed_checks,
    reason_to_fail,
)

TITLE = "Checks of estimators"
DESCRIPTION = (
    "scikit-learn's own checks of every public estimator, beside those of stock skorch, and our image checks. "
    "Declared exceptions are written down with a reason, and fail as they are said to; what is skipped needs "
    "array libraries that are switched off by default. The lenient network takes rows of any length and type, so "
    "that what fails with it is skorch's own."
)


class TutorialNetwork(nn.Module):
    """The network of skorch's tutorial: float32 rows of 20 values, two classes."""

    def __init__(self, num_units: int = 10) -> None:
        super().__init__()
        self.dense0 = nn.Linear(20, num_units)
        self.nonlin = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.dense1 = nn.Linear(num_units, num_units)
        self.output = nn.Linear(num_units, 2)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, X: Tensor) -> Tensor:
        X = self.dropout(self.nonlin(self.dense0(X)))
        probabilities: Tensor = self.softmax(self.output(self.nonlin(self.dense1(X))))
        return probabilities


class LenientNetwork(nn.Module):
    """A network for rows of any length and type, and up to ten classes."""

    def __init__(self, num_units: int = 20) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LazyLinear(num_units), nn.ReLU(), nn.Linear(num_units, 10), nn.Softmax(dim=-1)
        )

    def forward(self, X: Tensor) -> Tensor:
        probabilities: Tensor = self.layers(X.float())
        return probabilities


def estimators() -> Iterator[tuple[str, Any]]:
    """Yield what is checked, with a name for each."""
    for estimator in ESTIMATORS:
        yield type(estimator).__name__, estimator
    for name, network in (("tutorial network", TutorialNetwork), ("lenient network", LenientNetwork)):
        net = NeuralNetClassifier(network, max_epochs=10, lr=0.1, iterator_train__shuffle=True, verbose=0)
        yield f"skorch.NeuralNetClassifier, {name}", net


def run_scikit_learns_checks(estimator: Any) -> tuple[dict[str, int], list[str]]:
    """Return the counts, and what failed or is declared to."""
    torch.manual_seed(0)  # skorch draws from the global generator
    results = check_estimator(
        estimator, expected_failed_checks=expected_failed_checks(estimator), on_skip=None, on_fail=None
    )
    status = Counter(result["status"] for result in results)
    counts = {
        "scikit_learn_checks": len(results),
        "passed": status["passed"],
        "failed": status["failed"],
        "declared_exceptions": status["xfail"],
        "skipped": status["skipped"],
    }
    return counts, [_describe(result) for result in results if result["status"] in ("failed", "xfail")]


def _describe(result: dict[str, Any]) -> str:
    if result["expected_to_fail"]:
        return f"{result['check_name']}: declared. {result['expected_to_fail_reason']}"
    error = result["exception"]
    first_line = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{result['check_name']}: {type(error).__name__} {first_line[:120]}".strip()


def run_image_checks(estimator: Any) -> tuple[dict[str, int], list[str]]:
    """Return the counts, and what failed or is declared to."""
    status: Counter[str] = Counter()
    not_passed = []
    for name, check in image_checks(estimator):
        reason = reason_to_fail(EXPECTED_IMAGE_FAILURES, estimator, name)
        try:
            check(estimator)
        except Exception as error:  # whatever it is, the check has not passed, and the others are run
            words = f"{type(error).__name__} {str(error)[:120]}" if reason is None else f"declared. {reason}"
            status["failed" if reason is None else "declared"] += 1
            not_passed.append(f"{name}: {words}")
        else:
            status["passed"] += 1
    counts = {
        "image_checks": status.total(),
        "image_checks_passed": status["passed"],
        "image_checks_failed": status["failed"],
        "declared_image_exceptions": status["declared"],
    }
    return counts, not_passed


def run_all() -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Return a row of counts for each estimator, and by its name what it does not pass."""
    rows: list[dict[str, Any]] = []
    not_passed = {}
    for name, estimator in estimators():
        counts, failed = run_scikit_learns_checks(estimator)
        rows.append({"estimator": name, **counts})
        if not isinstance(estimator, NeuralNetClassifier):
            image_counts, image_failed = run_image_checks(estimator)
            rows[-1] |= image_counts
            failed += image_failed
        not_passed[name] = failed
        print("", name, *(f"  {line}" for line in failed or ["everything passed"]), sep="\n", flush=True)
    columns = rows[0].keys()
    return [{column: row.get(column) for column in columns} for row in rows], not_passed


def main() -> None:
    """Run the checks, print a table, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows, not_passed = run_all()
    print("", pd.DataFrame(rows, dtype=object).fillna("–").to_string(index=False), sep="\n")
    if options.output:
        from skinclf.reporting._provenance import collect_provenance

        content = {
            "title": TITLE,
            "description": DESCRIPTION,
            "command": " ".join(["python benchmarks/bench_estimator_checks.py", *sys.argv[1:]]),
            **vars(collect_provenance()),
            "rows": rows,
            "not_passed": not_passed,
        }
        options.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
