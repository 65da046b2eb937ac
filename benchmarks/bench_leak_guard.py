"""The leak guard: what it says of ten ways to leak and ten honest evaluations, and what it costs.

    python benchmarks/bench_leak_guard.py --output docs/results/leak_guard.json

The programs are those of `_leak_programs.py`, on painted lesions of 64 x 64 pixels, two photos of each. The cost
is the time inside the guard, as a share of the fits and predictions around it: comparing whole runs with and
without it would measure the noise of the machine. Beside the programs, fits of two epochs and predictions of the
default network are measured by themselves, in the forms that images may have; and the search of the audit, in
seconds of the processor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _leak_programs import HONEST, WAYS_TO_LEAK, Lesions, paint_lesions, what_is_said

from skinclf import LesionCNNClassifier, _leakage
from skinclf.estimator import _classifier, _fit, _guard
from skinclf.evaluation._perceptual_hash import find_near_pairs
from skinclf.reporting._provenance import collect_provenance

ROUNDS = 5
NUMBERS_OF_IMAGES = (10_015, 100_000)


class Clock:
    """Seconds inside the guard, and inside fits and predictions of the classifier."""

    def __init__(self) -> None:
        self.seconds = {"guard": 0.0, "fit": 0.0, "predict": 0.0, "guard in fit": 0.0, "guard in predict": 0.0}
        self._inside: list[str] = []

    def watch(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            self._inside.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                self._inside.pop()
                self._count(name, time.perf_counter() - started)

        return timed

    def _count(self, name: str, seconds: float) -> None:
        if name != "guard":
            if name not in self._inside:
                self.seconds[name] += seconds
        elif "guard" not in self._inside:
            around = "fit" if "fit" in self._inside else "predict"
            self.seconds["guard"] += seconds
            self.seconds[f"guard in {around}"] += seconds


@contextmanager
def clocked() -> Iterator[Clock]:
    """Time the guard wherever the classifier calls it."""
    clock = Clock()
    places = [
        (_fit, "remember", "guard"),
        (_fit, "check_inner_split", "guard"),
        (_fit, "watched_in_fit", "guard"),
        (_classifier, "check_prediction", "guard"),
        (_classifier, "watched_in_prediction", "guard"),
        (_guard, "image_fingerprints", "guard"),  # where images are read
        (_fit, "fit", "fit"),
        (LesionCNNClassifier, "_probabilities", "predict"),
    ]
    before = [getattr(place, name) for place, name, _ in places]
    for (place, name, kind), function in zip(places, before, strict=True):
        setattr(place, name, clock.watch(kind, function))
    try:
        yield clock
    finally:
        for (place, name, _), function in zip(places, before, strict=True):
            setattr(place, name, function)


def percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3)


def in_words(value: float) -> str:
    return f"{value:.2f} %"


def run_programs(lesions: Lesions) -> list[dict[str, Any]]:
    rows = []
    for kind, programs in (("leak", WAYS_TO_LEAK), ("honest", HONEST)):
        for program in programs:
            with clocked() as clock:
                said = what_is_said(program, lesions)
            if not said:
                how = "silent"
            elif said[0].startswith("audit_leakage"):
                how = "audit_leakage: near-duplicates"
            else:
                how = "LeakageWarning: " + ("same images" if "same image" in said[0] else "same lesions")
            around = clock.seconds["fit"] + clock.seconds["predict"]
            rows.append(
                {
                    "kind": kind,
                    "program": " ".join((program.__doc__ or "").split()),
                    "caught": "yes" if said else "no",
                    "how": how,
                    "warnings": len(said),
                    "cost": in_words(percent(clock.seconds["guard"], around)),
                    "cost_percent": percent(clock.seconds["guard"], around),
                }
            )
            print(
                f"{kind:7}{'caught' if said else 'silent':8}{rows[-1]['cost_percent']:7.3f} %  {program.__name__}"
            )
    return rows


def measure_costs(lesions: Lesions) -> list[dict[str, Any]]:
    """Time fits of two epochs and predictions, the guard apart; medians of the rounds."""
    classifier = LesionCNNClassifier(max_epochs=2, image_size=lesions.size, random_state=0)
    streamed = LesionCNNClassifier(max_epochs=2, image_size=lesions.size, random_state=0, memory_limit=0)
    half = len(lesions.y) // 4 * 2
    forms = {
        "uint8 array": (classifier, lesions.images),
        "float32 array": (classifier, (lesions.images / 255).astype(np.float32)),
        "frame of files, with lesion_id": (classifier, lesions.frame),
        "files, decoded in every epoch": (streamed, lesions.frame["image"].tolist()),
    }
    rows = []
    for form, (estimator, X) in forms.items():
        train, new = X[:half], X[half:]
        fits, batches, singles = [], [], []
        for _ in range(ROUNDS):
            _leakage._noted.clear()  # by the programs
            with clocked() as clock:
                fitted = estimator.fit(train, lesions.y[:half])
            fits.append(percent(clock.seconds["guard in fit"], clock.seconds["fit"]))
            with clocked() as clock:
                fitted.predict(new)
            batches.append(percent(clock.seconds["guard in predict"], clock.seconds["predict"]))
            with clocked() as clock:
                for row in range(20):
                    fitted.predict(new[row : row + 1])
            singles.append(percent(clock.seconds["guard in predict"], clock.seconds["predict"]))
        rows.append(
            {
                "images": form,
                "fit": in_words(float(np.median(fits))),
                "predict": in_words(float(np.median(batches))),
                "predict_one": in_words(float(np.median(singles))),
            }
        )
        print(rows[-1])
    return rows


def measure_search() -> list[dict[str, str]]:
    """Time the search for near-duplicates among hashes of random bits, and trace the memory that it takes."""
    rows = []
    for n_images in NUMBERS_OF_IMAGES:
        hashes = np.random.default_rng(0).integers(0, 2**63, (n_images, 4)).astype(np.uint64)
        tracemalloc.start()
        started = time.process_time()
        find_near_pairs(hashes)
        seconds = time.process_time() - started
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        pairs = f"{n_images * (n_images - 1) // 2:,}"
        rows.append(
            {
                "images": f"{n_images:,}",
                "pairs": pairs,
                "seconds": f"{seconds:.1f}",
                "memory": f"{peak / 1e6:.0f} MB",
            }
        )
        print(rows[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lesions", type=int, default=175, help="two photos of each are painted")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        classifier = LesionCNNClassifier(max_epochs=1, image_size=64, random_state=0)
        lesions = paint_lesions(Path(folder), n_lesions=options.lesions, size=64, classifier=classifier)
        rows, costs = run_programs(lesions), measure_costs(lesions)
    provenance = collect_provenance()
    content = {
        "title": "The leak guard",
        "description": (
            f"Ten ways to leak and ten honest evaluations with scikit-learn, on {len(lesions.y)} painted images "
            f"of {options.lesions} lesions, 64 × 64 pixels, and what the guard of the classifier says of them; "
            "cost: seconds inside the guard, in per cent of those of the fits (one epoch) and predictions of the "
            "program. Below, the cost of a fit of two epochs, of a prediction of many and of single images."
        ),
        "command": " ".join([f"python benchmarks/{Path(__file__).name}", *sys.argv[1:]]),
        "date": provenance.date,
        "versions": dict(provenance.versions),
        "machine": dict(provenance.machine),
        "threads": 1,
        "columns": ["kind", "program", "caught", "how", "cost"],
        "rows": rows,
        "costs": costs,
        "searches": measure_search(),
    }
    if options.output:
        options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
