"""Training from a folder of JPEG files, beside skorch with torchvision: the time that is not the network's.

    pip install torchvision
    python benchmarks/bench_folder_fit.py --output docs/results/folder_fit.json

Three epochs of `lesion_cnn` over painted JPEG files of 600 × 450 pixels, smooth ones and ones with the noise of a
camera as in bench_decode.py, brought to 64 pixels and augmented anew
for every image in every epoch, with a tenth of them put aside for validation. Ours is ``fit`` on the paths. Theirs
is skorch's ``NeuralNetClassifier`` over a ``Dataset`` that opens a file with Pillow and applies torchvision's
transforms (mirror, turn, magnify, move, colours: the same kinds and strengths), in a ``DataLoader`` without and
with worker processes; the faster one counts. Both train the same network with the same batches and optimiser.

The time of the network is that of a bare loop over random float tensors: forward, backward, step, and the forward
passes of validation. It is taken off both. All contestants take turns within each round; the share is the median
of the rounds' shares. Some minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from _painted import paint_files
from _rounds import claim, in_turns, medians, worst, write_result
from PIL import Image
from skorch import NeuralNetClassifier
from skorch.helper import predefined_split
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from torchvision.transforms import v2

from skinclf import LesionCNNClassifier
from skinclf.models import lesion_cnn

SIDE = 64
EPOCHS = 3
BATCH_SIZE = 64
N_CLASSES = 7
STANDARDIZE = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.7, 0.5, 0.5], [0.15] * 3)]
CUT = [v2.Resize(SIDE), v2.CenterCrop(SIDE)]
CHANGES = [
    v2.RandomHorizontalFlip(),
    v2.RandomVerticalFlip(),
    v2.RandomAffine(20, (0.05, 0.05), (1 / 1.2, 1.2), interpolation=v2.InterpolationMode.BILINEAR),
    v2.ColorJitter(brightness=0.15, contrast=0.15, saturation=0.15, hue=0.02),
]


class Files(Dataset[Any]):
    """Image files as most people read them; the changes come after scaling, which is when they are cheapest."""

    def __init__(self, paths: list[str], labels: list[int], transforms: list[Any]) -> None:
        self.paths = paths
        self.labels = labels
        self.transform = v2.Compose(transforms)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), self.labels[index]


def ours(paths: list[str], labels: list[int], n_threads: int) -> LesionCNNClassifier:
    """Fit on paths."""
    classifier = LesionCNNClassifier(
        image_size=SIDE,
        batch_size=BATCH_SIZE,
        max_epochs=EPOCHS,
        n_jobs=n_threads,
        class_weight=None,
        random_state=0,
    )
    return classifier.fit(paths, labels)


def theirs(paths: list[str], labels: list[int], validation: set[int], workers: int) -> None:
    """Fit skorch's classifier."""
    training = [row for row in range(len(paths)) if row not in validation]

    def files(rows: list[int], transforms: list[Any]) -> Files:
        return Files([paths[row] for row in rows], [labels[row] for row in rows], transforms)

    net = NeuralNetClassifier(
        lesion_cnn((SIDE, SIDE, 3), N_CLASSES),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=0.002,
        batch_size=BATCH_SIZE,
        max_epochs=EPOCHS,
        iterator_train__shuffle=True,
        iterator_train__num_workers=workers,
        iterator_valid__num_workers=workers,
        train_split=predefined_split(files(sorted(validation), [*CUT, *STANDARDIZE])),
        classes=list(range(N_CLASSES)),
        verbose=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # skorch scores accuracy on torch scalars
        net.fit(files(training, [*CUT, *CHANGES, *STANDARDIZE]), y=None)


def network_alone(n_training: int, n_validation: int) -> None:
    """Train on random tensors that are there already."""
    network = lesion_cnn((SIDE, SIDE, 3), N_CLASSES)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.002)
    images = torch.rand(BATCH_SIZE, SIDE, SIDE, 3).permute(0, 3, 1, 2)
    labels = torch.randint(0, N_CLASSES, (BATCH_SIZE,))
    for _ in range(EPOCHS):
        network.train()
        for start in range(0, n_training, BATCH_SIZE):
            rows = slice(0, min(BATCH_SIZE, n_training - start))
            optimizer.zero_grad()
            cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for start in range(0, n_validation, BATCH_SIZE):
                network(images[: min(BATCH_SIZE, n_validation - start)])


def measure(paths: list[str], labels: list[int], n_threads: int, rounds: int) -> dict[str, Any]:
    """Let everybody take turns."""
    validation = set(ours(paths, labels, n_threads).validation_indices_.tolist())
    contestants: dict[str, Callable[[], Any]] = {
        "network": lambda: network_alone(len(paths) - len(validation), len(validation)),
        "skinclf": lambda: ours(paths, labels, n_threads),
        "skorch_without_workers": lambda: theirs(paths, labels, validation, 0),
    }
    if n_threads > 1:
        contestants["skorch_with_workers"] = lambda: theirs(paths, labels, validation, n_threads)
    times = in_turns(contestants, rounds)
    their_best = min((name for name in times if name.startswith("skorch")), key=lambda name: medians(times)[name])
    rest = {name: np.subtract(times[name], times["network"]) for name in ("skinclf", their_best)}
    return {
        "threads": n_threads,
        **{f"{name}_s": round(value, 2) for name, value in medians(times).items()},
        "skorch_with_workers_s": round(medians(times)["skorch_with_workers"], 2) if n_threads > 1 else None,
        "not_network_skinclf_s": round(statistics.median(rest["skinclf"]), 2),
        "not_network_skorch_s": round(statistics.median(rest[their_best]), 2),
        "share": round(statistics.median(rest["skinclf"] / rest[their_best]), 3),
    }


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for detailed in (False, True):
            paths, names = paint_files(Path(folder, str(detailed)), options.images, detailed=detailed)
            size = round(sum(Path(path).stat().st_size for path in paths) / len(paths) / 1000)
            classes = sorted(set(names))
            labels = [classes.index(name) for name in names]
            for n_threads in options.threads:
                torch.set_num_threads(n_threads)
                rows.append({"kilobytes": size} | measure(paths, labels, n_threads, options.rounds))
                print(json.dumps(rows[-1], indent=2), flush=True)
    content = {
        "title": "Training from a folder of files",
        "description": f"{options.images} painted JPEG files of 600 × 450 pixels, {EPOCHS} epochs of lesion_cnn "
        f"at {SIDE} × {SIDE} pixels, augmented; seconds of the whole fit, and of what is left of it without the "
        "time that the network takes on random tensors. The share is ours of theirs.",
        "rounds": options.rounds,
        "claims": [
            claim(
                f"fit from a folder of JPEG, {EPOCHS} epochs, {SIDE} pixels, augmented: what is not the network's",
                "skorch, torchvision Dataset and transforms image by image",
                worst(rows, "share", highest=True),
                at_most=0.2,
            )
        ],
        "rows": rows,
    }
    write_result(options.output, content, torchvision=torchvision.__version__)


if __name__ == "__main__":
    main()
