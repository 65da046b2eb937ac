"""
Imbalance done right
====================

Two of three images of HAM10000 are ``nv``. This example compares three ways to deal with that on the same
honest folds, and then makes, on purpose, the mistake of many published notebooks: copying rare images
*before* the split.
"""

# %%
# Lesions in the proportions of HAM10000
# --------------------------------------
# Painted, two photos each, saved as files. The rarest classes have a handful of lesions, as rare classes have.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinclf.datasets import make_lesions

lesions = make_lesions(240, images_per_lesion=2, image_size=48, class_weights="ham10000", random_state=0)
folder = tempfile.TemporaryDirectory(prefix="skinclf_example_")
paths = [Path(folder.name) / f"{image_id}.png" for image_id in lesions.frame["image_id"]]
for path, image in zip(paths, lesions.images, strict=True):
    Image.fromarray(image).save(path)
data = pd.DataFrame({"image": [str(path) for path in paths], "lesion_id": lesions.groups})
target = lesions.target

counts = lesions.frame.groupby("dx").agg(images=("image_id", "size"), lesions=("lesion_id", "nunique"))
counts.T

# %%
# Three ways
# ----------
# 1. Nothing: every image has the same weight.
# 2. ``class_weight="balanced"``: every class has the same weight in the loss.
# 3. Random oversampling: rare rows are drawn again until all classes are as frequent as ``nv``. The sampler is
#    a step of a pipeline of imbalanced-learn, so it runs inside the fold, on training rows only. It does not
#    take images of four dimensions, and need not: it copies rows of the table, paths and lesions, before any
#    file is read. With early stopping, the classifier's own split would still be by lesion, copies included, as
#    the lesions travel along.
#
# (The default of the classifier is between the first and the others: rare classes are drawn more often, and weigh
# more, but not as much as the common ones.)
#
# Early stopping is off here: a tenth of three lesions of ``df`` is none. An epoch over the oversampled rows is
# about five times as long, so there are a fifth as many, and all three are trained for the same number of
# steps.

from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline

from skinclf import LesionCNNClassifier

settings = {
    "image_size": 48,
    "architecture_params": {"width": 16},
    "batch_size": 32,
    "sampler": None,
    "early_stopping": False,
    "random_state": 0,
}
candidates = {
    "nothing": LesionCNNClassifier(class_weight=None, max_epochs=15, **settings),
    "class weights": LesionCNNClassifier(class_weight="balanced", max_epochs=15, **settings),
    "oversampling in the fold": Pipeline(
        [
            ("oversample", RandomOverSampler(random_state=0)),
            ("classify", LesionCNNClassifier(class_weight=None, max_epochs=3, **settings)),
        ]
    ),
}

# %%
# Measured on the same folds, by lesion:

from skinclf.evaluation import classification_metrics, cross_validate, null_models

results = {name: cross_validate(model, data, target, cv=3) for name, model in candidates.items()}
metrics = {name: classification_metrics(r.y_true, r.y_pred) for name, r in results.items()}

table = pd.DataFrame({name: [m.balanced_accuracy, m.accuracy] for name, m in metrics.items()})
table.index = ["balanced_accuracy", "accuracy"]
table = pd.concat([null_models(target), table.T])
table.round(3)

# %%
# The most accurate of the three is the one that did nothing, and it is the one that misses the rare classes:
# accuracy counts images, and most of them are ``nv``. The sensitivities say who gains and who pays.
#
# Weights and copies ask the network for the same thing, but do not do the same. With weights, a batch holds a
# ``df`` once in a while, and then with a weight of 11; with copies it holds some in every batch, each augmented
# in its own way. Which is better on your images is to be measured, by lesion; and which of two models is the
# better one, if one finds more melanomas and the other raises fewer alarms, no software knows.

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
classes = metrics["nothing"].labels
for number, (name, color) in enumerate(zip(metrics, ["#999999", "#0072b2", "#d55e00"], strict=True)):
    places = np.arange(7) + 0.27 * (number - 1)
    ax.bar(places, metrics[name].per_class["sensitivity"], 0.25, color=color, label=name)
ax.set_xticks(range(7), [f"{dx}\n{counts.loc[dx, 'images']} images" for dx in classes])
ax.set_ylabel("sensitivity")
_ = figure.legend(loc="outside upper center", ncols=3, frameon=False)

# %%
# The mistake
# -----------
# Now the rows are oversampled first and split afterwards. To show what that measures, no network is needed: the
# model is a nearest neighbour on pixels, which knows nothing but the images that it has seen.

from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skinclf.evaluation import LeakageError
from skinclf.preprocessing import ImageFlattener, ImageLoader

neighbour = make_pipeline(ImageLoader(size=24), ImageFlattener(), KNeighborsClassifier(1))
copied, copied_target = RandomOverSampler(random_state=0).fit_resample(data, target)
by_row = StratifiedKFold(5, shuffle=True, random_state=0)

try:
    cross_validate(neighbour, copied, copied_target, cv=by_row)
except LeakageError as error:
    print(error)

# %%
# `cross_validate` has noticed, as the table names the lesions. Asked to go on all the same, it warns, and
# measures:

import warnings

from skinclf.evaluation import LeakageWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", LeakageWarning)
    leaky = cross_validate(neighbour, copied, copied_target, cv=by_row, on_leakage="warn")
honest = cross_validate(neighbour, data, target, cv=3)

train, test = next(by_row.split(copied, copied_target))
seen = copied["image"].iloc[test].isin(copied["image"].iloc[train])
print(f"test rows with an exact copy in training: {seen.mean():.1%}")

rows = {"nearest neighbour, oversampled before the split": leaky, "nearest neighbour, by lesion": honest}
pd.DataFrame({name: result.scores.mean() for name, result in rows.items()}).T.round(3)

# %%
# The same model, the same images: what it scores is how many of the test images it had seen. On HAM10000 the
# share of test rows with an exact copy in training is 85.6 % under this protocol, and a lookup table that
# answers "nv" otherwise is 99.8 % accurate.

folder.cleanup()
