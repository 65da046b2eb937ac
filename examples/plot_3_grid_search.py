"""
Grid search over network and augmentation
=========================================

The classifier is an estimator like any other, so `GridSearchCV` searches its parameters, those of the
augmentation included. Two things need care: the folds of the search are by lesion, and the score of the
winner is not its score.
"""

# %%
# Images, and a test set that the search never sees
# -------------------------------------------------

from sklearn.model_selection import StratifiedGroupKFold

from skinclf.datasets import make_lesions

lesions = make_lesions(350, images_per_lesion=2, image_size=48, random_state=0)
folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
train, test = next(folds.split(lesions.images, lesions.target, lesions.groups))

# %%
# What to try
# -----------
# The parameters of a `LesionAugmenter` inside the classifier have names with two underscores. Six combinations,
# two folds each: twelve trainings of a small network.

from sklearn.model_selection import GridSearchCV

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter

classifier = LesionCNNClassifier(
    architecture_params={"width": 16},
    augmentation=LesionAugmenter(),
    max_epochs=14,
    batch_size=32,
    early_stopping=False,
    random_state=0,
)
grid = {"lr": [0.001, 0.003, 0.01], "augmentation__rotation": [0, 45]}
search = GridSearchCV(
    classifier,
    grid,
    scoring="balanced_accuracy",
    cv=StratifiedGroupKFold(2, shuffle=True, random_state=0),
    error_score="raise",  # the default turns a failed training into NaN and goes on
)

# %%
# Early stopping is off here: all trainings are equally long, and no images are put aside within folds that are
# small as it is. Where it is on, the classifier needs the lesions too. `GridSearchCV.fit` hands ``groups`` to
# the splitter only; pass a DataFrame with a column ``lesion_id`` (as `load_ham10000` returns it), and the
# classifier finds them there.

search.fit(lesions.images[train], lesions.target[train], groups=lesions.groups[train])
print(search.best_params_)

# %%
# The table of the search
# -----------------------
# Differences between neighbours are smaller than those between the two folds: a search this small finds a
# region, and no optimum.

import pandas as pd

results = pd.DataFrame(search.cv_results_).rename(columns=lambda name: name.removeprefix("param_"))
columns = ["lr", "augmentation__rotation", "split0_test_score", "split1_test_score", "mean_test_score"]
results.sort_values("mean_test_score", ascending=False)[columns].round(3)

# %%
# The winner, on lesions that it was not chosen on
# ------------------------------------------------
# ``best_score_`` is no estimate of what the winner will do, for two reasons that pull in opposite directions: it
# is the best of six, and so has luck in it; and its models were trained on half of the images. After the
# search the best parameters are trained again on all of them (``refit``). This model is tested once, on lesions
# that had no part in the choice.

from sklearn.metrics import balanced_accuracy_score

from skinclf.evaluation import bootstrap_ci

predicted = search.predict(lesions.images[test])
print(f"score of the search: {search.best_score_:.3f}")
print(f"score on the test set: {balanced_accuracy_score(lesions.target[test], predicted):.3f}")
print(bootstrap_ci(lesions.target[test], predicted, groups=lesions.groups[test], random_state=0))

# %%
# What the learning rate does
# ---------------------------
# A dot is a fold, a line the mean of two.

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (rotation, part), color in zip(results.groupby("augmentation__rotation"), ["#0072b2", "#d55e00"], strict=True):
    ax.plot(part["lr"], part["mean_test_score"], color=color, label=f"rotation up to {rotation}°")
    for fold in ("split0_test_score", "split1_test_score"):
        ax.scatter(part["lr"], part[fold], color=color, s=18)
ax.set_xscale("log")
ax.set_xticks(grid["lr"], [f"{lr:g}" for lr in grid["lr"]])
ax.minorticks_off()
ax.set(xlabel="learning rate", ylabel="balanced accuracy")
_ = ax.legend(frameon=False)
