"""
Hair and light
==============

Photos of one lesion differ by what has nothing to do with it: hair lies across, and every lamp has a colour of its
own. This example removes both, and shows where that goes wrong.

Nothing here is learnt from the images, so that it makes no difference whether images are cleaned before or after
they are split.
"""

# %%
# Photos
# ------
# Two photos of each of 28 painted lesions. For your own, ``ImageLoader(size=128).transform(paths)`` returns an
# array of the same form; look at them with the lines below.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skinclf.datasets import make_lesions

lesions = make_lesions(28, images_per_lesion=2, image_size=128, random_state=0)
photos = lesions.images


def show(columns, rows):
    """Draw some rows of arrays of images side by side."""
    _, axes = plt.subplots(
        len(columns), len(rows), figsize=(1.6 * len(rows), 1.7 * len(columns)), layout="constrained"
    )
    for line, (title, images) in zip(axes, columns.items(), strict=True):
        line[0].set_title(title, loc="left", fontsize="medium")
        for ax, row in zip(line, rows, strict=True):
            ax.imshow(images[row], cmap="gray")
            ax.set_axis_off()


# %%
# Hair
# ----
# `HairRemover` follows DullRazor: a morphological closing finds what is dark and narrow, what is also long and
# straight is hair, and each of its pixels is interpolated between the skin on both sides. `masks` says which
# pixels that are; all others stay as they are.

from skinclf.preprocessing import HairRemover

remover = HairRemover()
masks = remover.masks(photos)
shaved = remover.transform(photos)
share = masks.mean(axis=(1, 2))

hairy = np.argsort(share)[-16:-4:2]
show({"photos": photos, "masks": masks, "without hair": shaved}, hairy)

# %%
# How much of each photo was taken for hair, in percent:

pd.Series(100 * share, name="percent").describe().round(1).to_frame().T

# %%
# Where it goes wrong
# -------------------
# What is dark, narrow and long is hair, whatever else it may be. The largest masks are not those of the hairiest
# photos: some lesions have a network of coarse, dark meshes, and it is gone. In real images the meshes are finer
# and paler as a rule, but parallel ridges, streaks and ink look like hair there, and white hair does not.
#
# So look at your own images, and at those with large masks first. A higher `contrast` or `min_length` leaves more
# of the lesions, and more hair.

largest = np.argsort(share)[-4:]
stricter = HairRemover(contrast=0.14, min_length=0.2).transform(photos)
show({"photos": photos, "without hair": shaved, "stricter": stricter}, largest)

# %%
# Light
# -----
# `ColorConstancy` estimates the colour of the light in each image, and divides by it. The three methods differ in
# what they take for the light: the mean of all pixels (``"gray_world"``), the maximum (``"max_rgb"``), or a mean
# in which bright pixels count more (``"shades_of_gray"``, the default).

from skinclf.preprocessing import ColorConstancy

methods = {method: ColorConstancy(method) for method in ("shades_of_gray", "gray_world", "max_rgb")}
neutral = {method: constancy.transform(shaved) for method, constancy in methods.items()}
pairs = np.concatenate([np.flatnonzero(lesions.groups == lesion) for lesion in np.unique(lesions.groups)[:3]])
show({"two photos of each of three lesions": shaved, **neutral}, pairs)

# %%
# The photos of a lesion were taken in different light, and should look more alike now. Skin is in the corners of
# each photo: by what angle do its colours differ, in degrees, for two photos of one lesion and of different ones?


def angles_between_skins(images):
    """Return the mean angles between the colours of the corners, within and between lesions."""
    corners = np.concatenate(
        [images[:, :16, :16], images[:, :16, -16:], images[:, -16:, :16], images[:, -16:, -16:]]
    )
    colors = corners.reshape(4, len(images), -1, 3).mean(axis=(0, 2))
    colors /= np.linalg.norm(colors, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(colors @ colors.T, -1, 1)))
    same = lesions.groups[:, None] == lesions.groups
    within = same & ~np.eye(len(images), dtype=bool)
    return {"one lesion": angles[within].mean(), "different lesions": angles[~same].mean()}


skins = {name: angles_between_skins(images) for name, images in {"as they are": shaved, **neutral}.items()}
pd.DataFrame(skins).T.round(1)

# %%
# Photos of different lesions, too, have skin of one colour now: no method can tell the colour of the light from
# that of the skin. What is left is how a lesion differs from the skin around it.
#
# In a pipeline
# -------------
# Both are steps of a pipeline. Hair comes first, so that it has no part in the estimate of the light, and at a
# size at which it can be seen.

from sklearn.pipeline import make_pipeline

from skinclf import LesionCNNClassifier
from skinclf.preprocessing import ImageLoader

cleaned = make_pipeline(
    ImageLoader(size=128), HairRemover(), ColorConstancy(), LesionCNNClassifier(image_size=128, random_state=0)
)
cleaned

# %%
# Whether a network is better for it is another question: one that has seen enough hair in training may look past
# it. Let `skinclf.evaluation.cross_validate` answer that on your images, with and without the steps, on the same
# folds.
