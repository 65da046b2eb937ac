"""
HAM10000, cleaned
=================

Does it help to remove hair, or the colour of the light, before a network is trained? Each way of cleaning gets the
same folds by lesion, the same seed and the same network, and is compared with images that are left as they are,
lesion by lesion. As training is random too, the images as they are get a second seed: a way of cleaning that gains
no more than that one gains nothing.

Run it with ``SKINCLF_DATA`` set to the folder of HAM10000::

    python examples/ham10000_cleaning.py --output docs/results/ham10000_cleaning.json

Images are read at 150 pixels, where hair can be seen, cleaned, and then scaled to 64. Three of five folds and 12
epochs make it eight minutes of one core for each way; what is done is stored in the folder ``--work``, and a run
that was stopped goes on there.

This is research code. It is not a medical device.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from skinclf import LesionCNNClassifier
from skinclf.datasets import load_ham10000
from skinclf.evaluation import bootstrap_table, compare_models
from skinclf.preprocessing import ColorConstancy, HairRemover, ImageLoader
from skinclf.reporting._provenance import collect_provenance

READ_AT, TRAIN_AT, AT_ONCE = 150, 64, 500
N_FOLDS, FOLDS_RUN, EPOCHS = 5, 3, 12
TITLE = "Hair and light"
DESCRIPTION = (
    f"lesion_cnn on {TRAIN_AT} × {TRAIN_AT} pixels after the images were cleaned at {READ_AT} × {READ_AT}: "
    f"{FOLDS_RUN} of {N_FOLDS} folds by lesion, {EPOCHS} epochs, the same folds and seed for all. gain: balanced "
    "accuracy less that of the first row, on the same lesions. Intervals hold 95 % of draws of lesions; they do "
    "not answer for the seed."
)

# %%
# The ways of cleaning
# --------------------

Clean = Callable[[np.ndarray], np.ndarray]
CLEANING: dict[str, tuple[Clean | None, int]] = {
    "as they are": (None, 0),
    "as they are, another seed": (None, 1),
    "gray world": (ColorConstancy("gray_world").transform, 0),
    "shades of gray": (ColorConstancy("shades_of_gray").transform, 0),
    "hair removed": (HairRemover().transform, 0),
}


def read_images(paths: Any, clean: Clean | None) -> np.ndarray:
    """Read files, clean them at a size at which hair can be seen, and make them small; some at a time."""
    loader = ImageLoader(READ_AT)
    images = np.empty((len(paths), TRAIN_AT, TRAIN_AT, 3), dtype=np.uint8)
    for start in range(0, len(paths), AT_ONCE):
        large = loader.transform(paths.iloc[start : start + AT_ONCE])
        for row, image in enumerate(large if clean is None else clean(large), start):
            images[row] = Image.fromarray(image).resize((TRAIN_AT, TRAIN_AT), Image.Resampling.LANCZOS)
    return images


# %%
# Training
# --------


def predict_folds(ham: Any, clean: Clean | None, seed: int, work: Path) -> dict[str, np.ndarray]:
    """Train on each fold; return the rows that were tested, their probabilities, and the minutes."""
    started = time.perf_counter()
    images = read_images(ham.data["image"], clean)
    splitter = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    folds = list(splitter.split(images, ham.target, ham.groups))[:FOLDS_RUN]
    probabilities = []
    for train, test in folds:
        classifier = LesionCNNClassifier(max_epochs=EPOCHS, random_state=seed, checkpoint_dir=work / "networks")
        classifier.fit(images[train], ham.target[train], groups=ham.groups[train])
        probabilities.append(classifier.predict_proba(images[test]))
    return {
        "tested": np.concatenate([test for _, test in folds]),
        "probabilities": np.concatenate(probabilities),
        "minutes": np.array((time.perf_counter() - started) / 60),
    }


def stored(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what is stored in a file, or make it and store it; a file is written whole, or not at all."""
    if not path.exists():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **make())
        part.replace(path)
    with np.load(path) as content:
        return {name: content[name] for name in content.files}


# %%
# The comparison
# --------------


def compare(ham: Any, results: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Return a row for each way, with its gain over the first one."""
    labels = np.unique(ham.target)
    first, *_ = results.values()
    tested = first["tested"]
    truth, lesions = ham.target[tested], ham.groups[tested]
    answers = {name: labels[result["probabilities"].argmax(axis=1)] for name, result in results.items()}
    as_they_are, *_ = answers.values()
    rows = []
    for name, result in results.items():
        figures = bootstrap_table(
            truth, answers[name], y_proba=result["probabilities"], groups=lesions, labels=labels, tasks={}
        )
        row: dict[str, Any] = {"images": name}
        for column, metric in [("balanced_accuracy",) * 2, ("accuracy",) * 2, ("macro_auc", "roc_auc:macro")]:
            found = figures.loc[metric]
            row[column] = round(float(found["estimate"]), 4)
            row[f"{column}_interval"] = [round(float(found[end]), 4) for end in ("low", "high")]
        gain = compare_models(truth, answers[name], as_they_are, groups=lesions, labels=labels)
        row["gain"] = round(gain.difference, 4)
        row["gain_interval"] = [round(gain.low, 4), round(gain.high, 4)]
        row["n"] = int(tested.size)
        row["minutes"] = round(float(result["minutes"]), 1)
        rows.append(row)
    return rows


def main() -> None:
    """Run what is not stored yet, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--output", type=Path, help="file of the results; without it they are printed only")
    parser.add_argument("--work", type=Path, default=Path("ham10000_cleaning"), help="folder of what is done")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    ham = load_ham10000()
    results = {}
    for name, (clean, seed) in CLEANING.items():
        path = options.work / f"{name.replace(' ', '_')}-{FOLDS_RUN}-{EPOCHS}.npz"
        results[name] = stored(path, lambda c=clean, s=seed: predict_folds(ham, c, s, options.work))
        print(f"{name}: {results[name]['minutes']:.1f} minutes", flush=True)
    rows = compare(ham, results)
    for row in rows:
        print(json.dumps(row))
    if options.output is None:
        return
    content = {
        "title": TITLE,
        "description": DESCRIPTION,
        "command": " ".join(["python examples/ham10000_cleaning.py", *sys.argv[1:]]),
        **vars(collect_provenance()),
        "folds": N_FOLDS,
        "folds_run": FOLDS_RUN,
        "epochs": EPOCHS,
        "rows": rows,
    }
    options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
