"""What `fit` and `predict_proba` cost beside a plain PyTorch loop over the same network.

    python benchmarks/bench_fit.py --output docs/results/fit.json

The plain loop is what one writes by hand: batches cut out of the uint8 array, the same network (standardisation
included), loss with weights, AdamW, one-cycle schedule, the same validation images after every epoch with loss,
accuracy and balanced accuracy, a copy of the best weights. Its steps are in the order of PyTorch's tutorials, and
of skorch: gradients are let go of first, then forward, backward, step. (That order decides how much memory the C
library hands back to the system, to be mapped again in the next step: with the gradients let go of between
forward and backward a step of the loop has half as many page faults. `fit` keeps that memory while it trains,
whatever the order, and the loop does not; this is part of what is compared.) The loop is given the split and the
statistics of the channels; `fit` is asked for the same work, without averaged
weights, and with class weights in the loss. It is timed whole, from the check of its parameters to the fitted
classifier, without groups, so that it looks for exact copies as well: once without and once with its standard
augmentation, against the same loop, which never augments. `predict_proba` takes turns with the bare network under
``inference_mode`` on the same batches.

All contestants take turns within each round; a ratio is the median of the rounds' ratios. Some minutes on two
cores.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _rounds import claim, in_turns, median_ratio, medians, worst, write_result
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from skinclf import LesionCNNClassifier
from skinclf.models import StandardizedNetwork

BATCH_SIZE = 64
N_CLASSES = 7
SAME_WORK = {
    "lr": 0.002,
    "weight_decay": 0.01,
    "ema_decay": None,
    "sampler": None,
    "class_weight": "balanced",
    "label_smoothing": 0.0,
}
"""What the loop does, whatever the defaults are."""


@dataclass(frozen=True)
class Case:
    """A network, the side of its images in pixels, and how many images and epochs it is trained on."""

    architecture: str
    pixels: int
    images: int
    epochs: int


CASES = [
    Case("lesion_cnn", 28, 1000, 5),
    Case("lesion_cnn", 64, 1000, 3),
    Case("efficientnet_lite0", 96, 256, 2),
]


@dataclass(frozen=True)
class Data:
    """Random images, and what `fit` made of them."""

    images: NDArray[np.uint8]
    labels: NDArray[np.intp]
    training: NDArray[np.intp]
    validation: NDArray[np.intp]


def plain_loop(network: StandardizedNetwork, data: Data, epochs: int) -> None:
    """Train a network as one writes it by hand."""
    labels, weight = torch.from_numpy(data.labels), torch.ones(len(data.labels))
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.002, weight_decay=0.01)
    n_steps = epochs * -(-len(data.training) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.002, total_steps=n_steps + 1)
    best, best_weights = np.inf, network.state_dict()
    for _ in range(epochs):
        network.train()
        order = data.training[rng.permutation(len(data.training))]
        total = 0.0
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            optimizer.zero_grad()
            logits = network(as_batch(data.images[rows]))
            loss = (cross_entropy(logits, labels[rows], reduction="none") * weight[rows]).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        loss_of_epoch = validate(network, data, labels, weight)
        if loss_of_epoch < best:
            best, best_weights = loss_of_epoch, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_weights)


def validate(network: StandardizedNetwork, data: Data, labels: torch.Tensor, weight: torch.Tensor) -> float:
    """Return the loss of the validation images; accuracy and balanced accuracy are computed as well."""
    network.eval()
    total, correct = 0.0, []
    with torch.no_grad():
        for start in range(0, len(data.validation), BATCH_SIZE):
            rows = data.validation[start : start + BATCH_SIZE]
            logits = network(as_batch(data.images[rows]))
            total += (cross_entropy(logits, labels[rows], reduction="none") * weight[rows]).sum().item()
            correct.append((logits.argmax(dim=1) == labels[rows]).numpy())
    right, known = np.concatenate(correct), data.labels[data.validation]
    _ = right.mean(), np.mean([right[known == label].mean() for label in np.unique(known)])
    return total / len(data.validation)


def bare_network(network: StandardizedNetwork, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits of all images."""
    network.eval()
    with torch.inference_mode():
        parts = range(0, len(images), BATCH_SIZE)
        return torch.cat([network(as_batch(images[i : i + BATCH_SIZE])) for i in parts]).numpy()


def as_batch(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Return images with the channels first, as networks take them; nothing is moved in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Let `fit`, with and without augmentation, and the plain loop take turns; then both ways to predict."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (case.images, case.pixels, case.pixels, 3), dtype=np.uint8)
    labels = rng.permutation(np.arange(case.images) % N_CLASSES)
    build = functools.partial(
        LesionCNNClassifier,
        case.architecture,
        **SAME_WORK,
        batch_size=BATCH_SIZE,
        max_epochs=case.epochs,
        patience=case.epochs + 1,
        random_state=0,
    )
    fitted = build(augmentation=None).fit(images, labels)
    network = fitted.net_.module_
    weights = copy.deepcopy(network.state_dict())
    validation = fitted.validation_indices_
    data = Data(images, labels, np.setdiff1d(np.arange(len(images)), validation), validation)

    def loop() -> None:
        network.load_state_dict(weights)
        plain_loop(network, data, case.epochs)

    shares: list[float] = []

    def fit() -> None:
        started = time.perf_counter()
        history = build(augmentation=None).fit(images, labels).history_
        shares.append(1 - history["seconds"].sum() / (time.perf_counter() - started))

    fits: dict[str, Callable[[], Any]] = {
        "loop": loop,
        "fit": fit,
        "augmented_fit": lambda: build().fit(images, labels),
    }
    times = in_turns(fits, rounds)
    network.load_state_dict(weights)
    predictions = {
        "bare_network": lambda: bare_network(network, images),
        "predict_proba": lambda: fitted.predict_proba(images),
    }
    predicted = in_turns(predictions, 2 * rounds, seconds=0.3)
    seen = case.images * case.epochs
    return {
        **{f"{name}_images_a_second": round(seen / value) for name, value in medians(times).items()},
        "fit_ratio": median_ratio(times, "loop", "fit"),
        "augmented_fit_ratio": median_ratio(times, "loop", "augmented_fit"),
        "share_of_fit_outside_epochs": round(statistics.median(shares), 3),
        **{f"{name}_images_a_second": round(case.images / value) for name, value in medians(predicted).items()},
        "predict_ratio": median_ratio(predicted, "bare_network", "predict_proba"),
    }


def notes(rows: list[dict[str, Any]]) -> list[str]:
    """Say which case falls short, and what `fit` does that the loop does not."""
    sentences = []
    targets = (("fit_ratio", 0.95), ("augmented_fit_ratio", 0.85), ("predict_ratio", 0.95))
    for row in rows:
        for name, least in targets:
            if row[name] < least:
                sentences.append(
                    f"{row['architecture']} at {row['pixels']} pixels: {name.replace('_', ' ')} {row[name]}, "
                    f"below {least}; {row['share_of_fit_outside_epochs']:.1%} of a fit is outside its epochs."
                )
    if sentences:
        sentences.append(
            "Outside the epochs are the checks of the parameters, the search for exact copies of images, their "
            "fingerprints for the leak guard and the statistics of the channels. Inside, every batch passes "
            "skorch's callbacks, and its loss is looked at; the rest is the same arithmetic as the loop's. How "
            "fast that is depends on which pages of memory the C library hands out again, which differs between "
            "the two, and from run to run."
        )
    return sentences


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--pixels", type=int, nargs="+", default=[case.pixels for case in CASES])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    rows = []
    for n_threads in options.threads:
        torch.set_num_threads(n_threads)
        for case in CASES:
            if case.pixels in options.pixels:
                about = {"architecture": case.architecture, "pixels": case.pixels, "threads": n_threads}
                rows.append(about | measure(case, options.rounds))
                print(json.dumps(rows[-1], indent=2), flush=True)
    loop = "a plain PyTorch loop over the same network"
    content = {
        "title": "Training and prediction beside a plain loop",
        "description": "Random uint8 images, images a second. The loop has the same network, loss, optimiser, "
        "schedule, batches and validation images as fit, and no augmentation; the ratios are those of the speeds, "
        "fit to loop, without and with augmentation, and predict_proba to the bare network under inference_mode.",
        "rounds": options.rounds,
        "claims": [
            claim("fit without augmentation", loop, worst(rows, "fit_ratio"), at_least=0.95),
            claim(
                "fit with augmentation",
                "the same loop without any",
                worst(rows, "augmented_fit_ratio"),
                at_least=0.85,
            ),
            claim("predict_proba", "the bare network", worst(rows, "predict_ratio"), at_least=0.95),
        ],
        "notes": notes(rows),
        "rows": rows,
    }
    write_result(options.output, content)


if __name__ == "__main__":
    main()
