"""
One network, three protocols
============================

Public notebooks report 97 to 99 % accuracy on HAM10000. This script makes such a number, then the numbers that the
same network and two models of such notebooks get when training and test are split by image and by lesion. Beside
each of them stands a lookup table, which answers what it has seen and "nv" otherwise.

Run it with ``SKINCLF_DATA`` set to the folder of HAM10000, with imbalanced-learn installed::

    python examples/ham10000_protocols.py --output docs/results/ham10000_protocols.json

Every fold is stored in the folder ``--work`` when it is done, and a network after every epoch, so that a run which
was stopped goes on when it is started again. Each protocol takes less than 40 minutes on two CPU cores. On a GPU,
which is used where there is one, the network of the notebook gets images of 200 × 200 pixels as it had there.

This is research code. It is not a medical device.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ham10000_folds import stored_fold
from ham10000_protocol_models import MODELS, FoldData, oversample
from ham10000_protocol_scores import ask_guards, score_protocol
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from skinclf.datasets import load_ham10000
from skinclf.evaluation import LeakageWarning
from skinclf.reporting._provenance import collect_provenance

TITLE = "What a protocol is worth"
DESCRIPTION = (
    "The same models, scored in the ways in which HAM10000 is scored in public notebooks, and by lesion. 95 % "
    "intervals from a bootstrap over lesions. null accuracy: a lookup table that answers the label of an exact "
    "copy in training, and “nv” otherwise. The page on protocols tells what the columns mean."
)
SEED = 0

# %%
# The protocols
# -------------
# Rows are what is split: copies (images after random oversampling), images, or images that stay with their lesion.


@dataclass(frozen=True)
class Protocol:
    """How the rows are made and split, and which model is trained."""

    name: str
    model: str
    rows: str  # "copies", "images" or "lesions"
    n_folds: int = 5
    folds_run: int = 5

    def make_rows(self, target: np.ndarray) -> np.ndarray:
        """Return the image number of every row."""
        return oversample(target, np.arange(target.size)) if self.rows == "copies" else np.arange(target.size)

    def split(self, target: np.ndarray, lesion: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return row numbers of training and test of the folds that are run."""
        by_lesion = self.rows == "lesions"
        splitter = (StratifiedGroupKFold if by_lesion else StratifiedKFold)(
            self.n_folds, shuffle=True, random_state=SEED
        )
        folds = list(splitter.split(np.zeros(target.size), target, lesion if by_lesion else None))
        return folds[: self.folds_run]

    def keep_together(self, rows: np.ndarray, image: np.ndarray, lesion: np.ndarray) -> np.ndarray:
        """Return what early stopping must not split: the validation set is made as the test set is."""
        return {"copies": rows, "images": image, "lesions": lesion}[self.rows]


PROTOCOLS = (
    Protocol("oversample_then_split", "lesion_cnn", "copies"),
    Protocol("split_by_image", "lesion_cnn", "images"),
    Protocol("split_by_lesion", "lesion_cnn", "lesions"),
    Protocol("fourth_reference", "four_convolutions", "copies", folds_run=1),
    Protocol("fourth_reference_by_lesion", "four_convolutions", "lesions", folds_run=1),
    Protocol("first_reference", "svm", "copies", folds_run=1),
    Protocol("first_reference_by_lesion", "svm", "lesions", folds_run=1),
)


# %%
# A fold
# ------


def run_fold(
    protocol: Protocol, ham: Any, rows: np.ndarray, train: np.ndarray, test: np.ndarray, work: Path
) -> dict[str, Any]:
    """Train on some rows, predict others; return arrays and what is to be told of the training."""
    started, worked = time.perf_counter(), time.process_time()
    image = rows[train]
    data = FoldData(
        files=ham.data["image"],
        target=ham.target,
        train_images=image,
        keep_together=protocol.keep_together(np.arange(train.size), image, ham.groups[image]),
        test_images=rows[test],
        is_balanced=protocol.rows == "copies",
        work=work,
    )
    with warnings.catch_warnings():
        # The leak is what is measured here; what the guards say of it is asked of them by `ask_guards`.
        warnings.simplefilter("ignore", LeakageWarning)
        predicted, scores, training = MODELS[protocol.model].fit_predict(data)
    return {
        "test": test,
        "train_images": np.unique(image),
        "predicted": predicted.astype(str),
        "scores": scores.astype(np.float32),
        "told": json.dumps(
            {
                **training,
                "minutes": (time.perf_counter() - started) / 60,
                "core_minutes": (time.process_time() - worked) / 60,
            }
        ),
    }


def run_protocol(protocol: Protocol, ham: Any, work: Path) -> dict[str, Any]:
    """Run the folds that are not stored yet, and score all of them."""
    rows = protocol.make_rows(ham.target)
    folds = protocol.split(ham.target[rows], ham.groups[rows])
    settings = {**asdict(protocol), **MODELS[protocol.model].settings, "seed": SEED, "images": ham.target.size}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    results = []
    for number, (train, test) in enumerate(folds):
        path = work / f"{protocol.name}-{key}-{number}.npz"
        results.append(
            stored_fold(path, lambda train=train, test=test: run_fold(protocol, ham, rows, train, test, work))
        )
        told = results[-1]["told"]
        accuracy = np.mean(results[-1]["predicted"] == ham.target[rows[test]])
        print(f"{protocol.name}, fold {number}: {accuracy:.4f} in {told['minutes']:.1f} minutes", flush=True)
    guards = ask_guards(ham, rows, folds, work / "pixels")
    return {"settings": settings, "guards": guards, **score_protocol(protocol.name, settings, ham, rows, results)}


# %%
# All of them
# -----------


def main() -> None:
    """Run the protocols, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--output", type=Path, help="file of the results; without it they are printed only")
    parser.add_argument("--work", type=Path, default=Path("ham10000_protocols"), help="folder of finished folds")
    parser.add_argument("--only", nargs="*", choices=[protocol.name for protocol in PROTOCOLS])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    ham = load_ham10000()
    chosen = [p for p in PROTOCOLS if options.only is None or p.name in options.only]
    results = {protocol.name: run_protocol(protocol, ham, options.work) for protocol in chosen}
    rows = [result.pop("row") for result in results.values()]
    for row in rows:
        print(json.dumps(row))
    if options.output is None:
        return
    content = {
        "title": TITLE,
        "description": DESCRIPTION,
        "command": " ".join(["python examples/ham10000_protocols.py", *sys.argv[1:]]),
        **vars(collect_provenance()),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "rows": rows,
        "protocols": results,
    }
    options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
