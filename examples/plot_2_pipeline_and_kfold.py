"""
Pipelines and K-fold cross-validation
=====================================

Images are files, as a rule. This example begins with a folder of them, builds pipelines that read them, and
cross-validates a network and a classical model on the same folds.
"""

# %%
# A folder of images
# ------------------
# Three painted photos of each of 210 lesions, saved as JPEG. A table with a column ``image`` (the paths) and a
# column ``lesion_id`` is all that the following needs to know; `load_ham10000` returns the same for real
# images.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinclf.datasets import make_lesions

lesions = make_lesions(210, images_per_lesion=3, image_size=48, random_state=0)
folder = tempfile.TemporaryDirectory(prefix="skinclf_example_")
paths = [Path(folder.name) / f"{image_id}.jpg" for image_id in lesions.frame["image_id"]]
for path, image in zip(paths, lesions.images, strict=True):
    Image.fromarray(image).save(path, quality=95)

data = pd.DataFrame({"image": [str(path) for path in paths], "lesion_id": lesions.groups})
print(f"{len(data)} files of {data['lesion_id'].nunique()} lesions")

# %%
# A network behind a loader
# -------------------------
# The steps are those of any scikit-learn pipeline. In every fold the loader reads files, the standardiser
# learns mean and deviation from training images only, and the classifier trains.

from sklearn.pipeline import Pipeline

from skinclf import LesionCNNClassifier
from skinclf.preprocessing import ImageLoader, ImageStandardizer

network = Pipeline(
    [
        ("load", ImageLoader(size=48)),
        ("standardize", ImageStandardizer()),
        ("classify", LesionCNNClassifier(max_epochs=14, batch_size=32, random_state=0)),
    ]
)

# %%
# Cross-validation by lesion
# --------------------------
# `skinclf.evaluation.cross_validate` splits by lesion, since the table names the lesions, and hands them on to
# the classifier, whose inner split for early stopping needs them as well. It keeps the predictions of each
# model for the images that it has not seen, and the fitted models.

from skinclf.evaluation import cross_validate
from skinclf.reporting import EvaluationReport, TrainingHistoryDisplay

result = cross_validate(network, data, lesions.target, cv=3)
print(result)
print(result.splitter)

_ = TrainingHistoryDisplay.from_cross_validation(result)

# %%
# Is the inner split by lesion? The classifier of each fold says which of its training rows it put aside.

for fold, (train, pipeline) in enumerate(zip(result.train_indices, result.estimators, strict=True)):
    aside = train[pipeline["classify"].validation_indices_]
    rest = np.setdiff1d(train, aside)
    shared = set(result.groups[aside]) & set(result.groups[rest])
    print(f"fold {fold}: {len(aside)} of {len(train)} training images aside, lesions in both parts: {len(shared)}")

# %%
# The same with scikit-learn alone
# --------------------------------
# Nothing here depends on our `cross_validate`. With scikit-learn's own, say which splitter and which groups,
# and pass the groups to the step that wants them, too. Here it runs a classical model on the same loader: a
# support vector machine on flattened pixels.

from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.model_selection import cross_validate as sklearn_cross_validate
from sklearn.svm import SVC

from skinclf.preprocessing import ImageFlattener

svm = Pipeline(
    [
        ("load", ImageLoader(size=32)),
        ("flatten", ImageFlattener()),
        ("reduce", PCA(50, random_state=0)),
        ("classify", SVC(C=10, class_weight="balanced")),
    ]
)
folds = StratifiedGroupKFold(3, shuffle=True, random_state=0)
scores = sklearn_cross_validate(
    svm, data, lesions.target, groups=data["lesion_id"], cv=folds, scoring=["balanced_accuracy", "accuracy"]
)

# %%
# Which is better?
# ----------------
# Both were tested on the same folds: an integer ``cv`` of ours is the splitter that was written out above.

table = pd.DataFrame(
    {
        "network": result.scores["balanced_accuracy"],
        "support vector machine": scores["test_balanced_accuracy"],
    }
).rename_axis("fold")
table.loc["mean"] = table.mean()
table.round(3)

# %%
# What the network makes of its images, with an interval that takes the photos of one lesion for what they are,
# one piece of evidence:

report = EvaluationReport.from_cross_validation(result, title="Three folds by lesion")
print(report)
folder.cleanup()
