"""How fast `lesion_cnn` trains beside the notebooks' network, and how well on a split by lesion.

    python benchmarks/bench_network.py                       # speed only, a minute
    python benchmarks/bench_network.py --score --output docs/results/network.json

Speed: plain PyTorch training steps (forward, backward, AdamW) on random images of 64 pixels, the two networks in
turns, several rounds; the median of the rounds' ratios is what counts. Each network runs in the memory layout in
which it is faster.

Score: both networks trained by `LesionCNNClassifier` in the same way for the same number of epochs on four fifths
of the lesions of HAM10000, scored on the last fifth, which neither has seen. Only the learning rate differs: the
notebooks' network has no batch normalisation, and gets 0.0005. SKINCLF_DATA says where the images are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _notebook import notebook_network
from torch.nn.functional import cross_entropy

from skinclf.models import lesion_cnn

TITLE = "lesion_cnn beside the notebooks' network"
DESCRIPTION = (
    "Both networks trained in the same way on four fifths of the lesions of HAM10000 at 64 × 64 pixels, scored on "
    "the last fifth; 95 % intervals over lesions."
)
SHAPE = (64, 64, 3)
NOTEBOOK_LR = 0.0005
NETWORKS = {"lesion_cnn": lesion_cnn, "notebook": notebook_network}


def images_a_second(network: torch.nn.Module, memory_format: torch.memory_format, seconds: float) -> float:
    """Time whole training steps on one batch of 64 random images."""
    images = torch.rand(64, SHAPE[2], *SHAPE[:2]).contiguous(memory_format=memory_format)
    labels = torch.randint(0, 7, (64,))
    network = network.to(memory_format=memory_format).train()
    optimizer = torch.optim.AdamW(network.parameters())
    steps, started = -2, 0.0  # two steps to warm up
    while steps < 3 or time.perf_counter() - started < seconds:
        if steps == 0:
            started = time.perf_counter()
        optimizer.zero_grad()
        cross_entropy(network(images), labels).backward()
        optimizer.step()
        steps += 1
    return 64 * steps / (time.perf_counter() - started)


def measure_speed(rounds: int, seconds: float) -> dict[str, Any]:
    """Run the networks in turns."""
    layouts = (torch.contiguous_format, torch.channels_last)
    speeds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(rounds):
        for name, build in NETWORKS.items():
            speeds[name].append(max(images_a_second(build(SHAPE, 7), layout, seconds) for layout in layouts))
    ratios = [ours / theirs for ours, theirs in zip(speeds["lesion_cnn"], speeds["notebook"], strict=True)]
    return {
        "images_a_second": {name: round(statistics.median(values)) for name, values in speeds.items()},
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_lowest": round(min(ratios), 2),
        "parameters": {
            name: sum(p.numel() for p in build(SHAPE, 7).parameters()) for name, build in NETWORKS.items()
        },
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }


def measure_scores(epochs: int) -> list[dict[str, Any]]:
    """Train on four fifths of the lesions, score on the rest."""
    from sklearn.model_selection import StratifiedGroupKFold

    from skinclf import LesionCNNClassifier
    from skinclf.datasets import load_ham10000
    from skinclf.evaluation import bootstrap_ci
    from skinclf.preprocessing import ImageLoader

    lesions = load_ham10000()
    X, y, groups = ImageLoader(SHAPE[0], n_jobs=-1).transform(lesions.data), lesions.target, lesions.groups
    train, test = next(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(X, y, groups))
    rows = []
    for name, architecture, lr in [
        ("lesion_cnn", "lesion_cnn", 0.002),
        ("notebook", notebook_network, NOTEBOOK_LR),
    ]:
        classifier = LesionCNNClassifier(architecture, lr=lr, max_epochs=epochs, random_state=0, verbose=1)
        started = time.perf_counter()
        classifier.fit(X[train], y[train], groups=groups[train])
        seconds = time.perf_counter() - started
        predicted = classifier.predict(X[test])
        scores = {
            metric: bootstrap_ci(y[test], predicted, groups=groups[test], metric=metric)
            for metric in ("balanced_accuracy", "accuracy")
        }
        rows.append(
            {
                "network": name,
                "lr": classifier.lr,
                "epochs": classifier.n_epochs_,
                "fit_seconds": round(seconds),
                **{metric: round(score.estimate, 4) for metric, score in scores.items()},
                **{f"{metric}_interval": [round(s.low, 4), round(s.high, 4)] for metric, s in scores.items()},
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--score", action="store_true", help="also train both networks on HAM10000")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    speed = measure_speed(options.rounds, options.seconds)
    print(json.dumps(speed, indent=2), flush=True)
    results = {"title": TITLE, "description": DESCRIPTION, "speed": speed, "epochs": options.epochs}
    results["rows"] = measure_scores(options.epochs) if options.score else []
    if options.output:
        from skinclf.reporting._provenance import collect_provenance

        command = " ".join(["python benchmarks/bench_network.py", *sys.argv[1:]])
        head = {"command": command, **vars(collect_provenance())}
        options.output.write_text(json.dumps(head | results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
