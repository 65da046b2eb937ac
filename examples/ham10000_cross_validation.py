"""
HAM10000, five folds by lesion
==============================

The main job on the real 10,015 images: every image is predicted by a network that has never seen its lesion.
The script writes the report as JSON, Markdown, HTML and two figures; the results in the documentation are what it
wrote.

Run it with ``SKINCLF_DATA`` set to the folder of HAM10000::

    python examples/ham10000_cross_validation.py --output docs/results

It takes about half an hour on two CPU cores. Width, learning rate, epochs, what early stopping monitors, how rare
classes are drawn and weighed, and averaged weights were chosen by some twenty runs on hold-outs by lesion inside
the training part of fold 0. The test part of that fold was not looked at for it; the images of the hold-outs are
test images of the other folds.

This is research code. It is not a medical device.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from skinclf import LesionCNNClassifier
from skinclf.datasets import load_ham10000
from skinclf.evaluation import audit_leakage, cross_validate
from skinclf.preprocessing import ImageLoader
from skinclf.reporting import EvaluationReport, LesionConfusionDisplay, TrainingHistoryDisplay

NAME = "ham10000_cross_validation"

parser = argparse.ArgumentParser()
parser.add_argument("--output", type=Path, default=Path("ham10000_results"), help="folder to write to")
parser.add_argument("--folds", type=int, default=5)
parser.add_argument("--epochs", type=int, help="at most; by default what the classifier has for them")
options = parser.parse_args()
options.output.mkdir(parents=True, exist_ok=True)
started = time.perf_counter()

# %%
# Images, labels, and the lesion of every image
# ---------------------------------------------
# 10,015 images belong to 7,470 lesions. Decoded once at 64 × 64 pixels they are one array of 123 MB.

lesions = load_ham10000()
images = ImageLoader(size=64, n_jobs=-1).transform(lesions.data)
print(
    f"{len(images)} images of {len(set(lesions.groups))} lesions, decoded in {time.perf_counter() - started:.0f} s"
)

# %%
# Five folds by lesion
# --------------------
# Inside each training part the classifier puts a tenth of the lesions aside for early stopping.

classifier = LesionCNNClassifier(max_epochs=options.epochs or "auto", random_state=0, verbose=1)
result = cross_validate(classifier, images, lesions.target, groups=lesions.groups, cv=options.folds)
minutes = (time.perf_counter() - started) / 60

# %%
# The report
# ----------
# The table of the images makes the subgroups, and names the images that the networks were most confidently wrong
# about; the audit looks for copies and near-duplicates under different lesions. No image is put into the page.

report = EvaluationReport.from_cross_validation(
    result,
    frame=lesions.frame,
    audit=audit_leakage(images, lesions.target, splits=result),
    title="HAM10000, five folds by lesion",
    description=(
        "LesionCNNClassifier with its defaults, a network of convolutions trained from scratch on 64 × 64 pixels. "
        f"The run took {minutes:.0f} minutes."
    ),
)
print(report)
for suffix in (".html", ".md"):
    report.save(options.output / f"{NAME}{suffix}", overwrite=True)
command = " ".join([f"python examples/{NAME}.py", *sys.argv[1:]])
content = {"command": command, "minutes": round(minutes, 1), **report.to_dict()}
(options.output / f"{NAME}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

# %%
# Two figures
# -----------

for figure, display in [
    ("confusion_matrix", LesionConfusionDisplay.from_cross_validation(result)),
    ("training_curves", TrainingHistoryDisplay.from_cross_validation(result)),
]:
    display.plot().figure_.savefig(options.output / f"{NAME}_{figure}.png", dpi=110, bbox_inches="tight")
