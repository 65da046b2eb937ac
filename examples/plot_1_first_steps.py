"""
First steps
===========

Train a network on images of lesions, look at how the training went, and find out how good it is: by lesion,
class by class, and beside a model that looks at nothing.

The images are painted by a program, so that the script needs no data and no hour.
"""

# %%
# Images, labels, lesions
# -----------------------
# `make_lesions` returns what `load_ham10000` returns: a label for each image, and the lesion that it shows.
# There are two photos of every lesion here, which differ by angle, distance, light and hair.

import matplotlib.pyplot as plt
import numpy as np

from skinclf.datasets import make_lesions

lesions = make_lesions(560, images_per_lesion=2, image_size=48, random_state=0)
print(lesions.images.shape, lesions.images.dtype, len(set(lesions.groups)), "lesions")

figure, axes = plt.subplots(2, 7, figsize=(11, 3.6), layout="constrained")
for column, dx in zip(axes.T, lesions.target_names, strict=True):
    lesion_id = lesions.groups[lesions.target == dx][0]
    photos = lesions.images[lesions.groups == lesion_id]
    for ax, photo in zip(column, photos, strict=True):
        ax.imshow(photo)
        ax.set_axis_off()
    column[0].set_title(dx)
_ = figure.suptitle("One lesion of each class, two photos each")

# %%
# A split by lesion
# -----------------
# The two photos of a lesion must not be on both sides of the split, or the test asks for what was learnt by
# heart. `StratifiedGroupKFold` keeps them together and keeps the classes in proportion; its first fold is a
# fifth of the data.

from sklearn.model_selection import StratifiedGroupKFold

folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
train, test = next(folds.split(lesions.images, lesions.target, lesions.groups))
print(f"{len(train)} images to train on, {len(test)} to test on")
print("lesions on both sides:", len(set(lesions.groups[train]) & set(lesions.groups[test])))

# %%
# Train
# -----
# The classifier puts a tenth of the training lesions aside to see when to stop, and restores the weights of the
# best epoch. It has to be told the lesions for that: `groups`.

from skinclf import LesionCNNClassifier
from skinclf.reporting import TrainingHistoryDisplay

classifier = LesionCNNClassifier(max_epochs=20, batch_size=32, random_state=0)
classifier.fit(lesions.images[train], lesions.target[train], groups=lesions.groups[train])
print(f"best of {classifier.n_epochs_} epochs: {classifier.best_epoch_}")

_ = TrainingHistoryDisplay.from_estimator(classifier)

# %%
# The loss on images that are augmented and dropped out from can be higher than the loss on the validation
# images, which are not. Balanced accuracy on some ninety images moves in steps.
#
# How good is it?
# ---------------
# Predictions are labels, probabilities have a column for each of `classes_`, and every tool of scikit-learn
# takes them.

from sklearn.metrics import classification_report

predicted = classifier.predict(lesions.images[test])
print(classification_report(lesions.target[test], predicted))

# %%
# The report of skinclf adds what is needed to believe a score: intervals, drawn by lesion, and what a model
# scores that gives everybody the same answer.

from skinclf.reporting import EvaluationReport

report = EvaluationReport.from_predictions(
    lesions.target[test],
    predicted,
    y_proba=classifier.predict_proba(lesions.images[test]),
    groups=lesions.groups[test],
    labels=classifier.classes_,
    title="First steps, one hold-out",
)
print(report.intervals["balanced_accuracy"])
print(report.null_models)
columns = ["sensitivity", "sensitivity_low", "sensitivity_high", "specificity", "roc_auc", "support"]
report.to_frame()[columns].round(2)

# %%
# Where it is wrong
# -----------------
# A row is what the images are, a column what they were taken for. The numbers say which classes it confuses; on
# real images these are the melanomas that were taken for naevi.

from skinclf.reporting import LesionConfusionDisplay

_ = LesionConfusionDisplay.from_predictions(lesions.target[test], predicted, labels=classifier.classes_)

# %%
# The least certain images
# ------------------------
# Probabilities say which images to look at first.

probabilities = classifier.predict_proba(lesions.images[test])
order = np.argsort(probabilities.max(axis=1))[:7]
figure, axes = plt.subplots(1, 7, figsize=(11, 2.3), layout="constrained")
for ax, row in zip(axes, order, strict=True):
    ax.imshow(lesions.images[test][row])
    ax.set_axis_off()
    ax.set_title(f"{predicted[row]} {probabilities[row].max():.0%}\n(is {lesions.target[test][row]})", fontsize=10)
