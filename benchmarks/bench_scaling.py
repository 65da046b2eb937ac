"""Whether an image costs the same time among 1,000, 10,000 and 100,000.

    python benchmarks/bench_scaling.py --output docs/results/scaling.json

Random uint8 images of 28 pixels, standard augmentation, and a small `lesion_cnn`, beside which it would show if
anything else grew with the number of images. Timed are an epoch of
``fit`` (as ``history_`` says, validation included), what ``fit`` does beside its epochs (checks, search for exact
copies, statistics of the channels), and ``predict_proba``. The sizes take turns, and so that each is measured for
a while, a fit has more epochs, and is followed by more predictions, the fewer images there are. No two images are
alike; nothing is read from files. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from _rounds import claim, write_result
from numpy.typing import NDArray

from skinclf import LesionCNNClassifier

SIZES = (1_000, 10_000, 100_000)
PIXELS = 28
N_CLASSES = 7
SMALL = {"width": 8, "depth": 2}
MOST_EPOCHS = 20


def measure_once(images: NDArray[np.uint8], labels: NDArray[np.intp], epochs: int) -> dict[str, float]:
    """Return microseconds an image."""
    classifier = LesionCNNClassifier(
        architecture_params=SMALL, max_epochs=epochs, patience=epochs + 1, random_state=0
    )
    started = time.perf_counter()
    classifier.fit(images, labels)
    fit_seconds = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(epochs):
        classifier.predict_proba(images)
    predict_seconds = (time.perf_counter() - started) / epochs
    of_epochs = classifier.history_["seconds"]
    seconds = {
        "epoch": float(of_epochs.median()),
        "fit_beside_epochs": fit_seconds - float(of_epochs.sum()),
        "predict": predict_seconds,
    }
    return {name: 1e6 * value / len(images) for name, value in seconds.items()}


def measure(largest: int, rounds: int) -> list[dict[str, Any]]:
    """Let the sizes take turns."""
    rng = np.random.default_rng(0)
    sizes = [size for size in SIZES if size <= largest]
    images = rng.integers(0, 256, (sizes[-1], PIXELS, PIXELS, 3), dtype=np.uint8)
    labels = np.arange(sizes[-1]) % N_CLASSES
    times: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    measure_once(images[: sizes[0]], labels[: sizes[0]], 2)  # to warm up
    for number in range(rounds):
        for size in sizes[:: -1 if number % 2 else 1]:
            epochs = min(sizes[-1] // size, MOST_EPOCHS)
            times[size].append(measure_once(images[:size], labels[:size], epochs))
            print(size, times[size][-1], flush=True)
    rows = []
    for size in sizes:
        median = {name: statistics.median(once[name] for once in times[size]) for name in times[size][0]}
        ratios = {
            f"{name}_ratio": statistics.median(
                once[name] / first[name] for once, first in zip(times[size], times[sizes[0]], strict=True)
            )
            for name in ("epoch", "predict")
        }
        rows.append(
            {"images": size}
            | {f"{name}_us_an_image": round(value, 1) for name, value in median.items()}
            | {name: round(value, 3) for name, value in ratios.items()}
        )
    return rows


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="leave larger sizes out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    rows = measure(options.largest, options.rounds)
    print(json.dumps(rows, indent=2))
    sizes = " and ".join(f"{row['images']:,}" for row in rows[1:])
    highest = max(row[name] for row in rows for name in ("epoch_ratio", "predict_ratio"))
    content = {
        "title": "Time an image, from 1,000 to 100,000 images",
        "description": f"A small lesion_cnn on random uint8 images of {PIXELS} × {PIXELS} pixels, augmented; "
        "microseconds an image of an epoch of fit, of all that fit does beside its epochs, and of predict_proba. "
        "The ratios are to the smallest size.",
        "rounds": options.rounds,
        "claims": [
            claim(
                f"time an image in an epoch and in a prediction, {sizes} images",
                f"the same among {rows[0]['images']:,}",
                highest,
                at_most=1.1,
            )
        ],
        "rows": rows,
    }
    write_result(options.output, content)


if __name__ == "__main__":
    main()
