"""`make_lesions`: the same for the same seed, looks that differ as they should, and no easy way out."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from skinclf.datasets import make_lesions
from skinclf.datasets._lesion_painter import paint
from skinclf.datasets._lesion_patterns import noise, smoothstep, spots

CLASSES = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


def small(n_lesions: int = 14, **arguments) -> Bunch:
    return make_lesions(n_lesions, **{"image_size": 16, "random_state": 0, **arguments})


def assert_same(one: Bunch, two: Bunch) -> None:
    np.testing.assert_array_equal(one.images, two.images)
    assert one.frame.equals(two.frame)


def lesion_counts(bunch: Bunch) -> dict[str, int]:
    return dict(Counter(bunch.frame.drop_duplicates("lesion_id")["dx"]))


@pytest.fixture(scope="module")
def painted() -> Bunch:
    """30 lesions of each class, two photos each, at the size that figures are given for."""
    return make_lesions(210, random_state=0)


# ---- the form of the result


def test_the_bunch_has_the_form_of_the_loaders():
    lesions = small(images_per_lesion=3)
    assert lesions.images.shape == (42, 16, 16, 3)
    assert lesions.images.dtype == np.uint8
    assert lesions.images.flags.c_contiguous
    assert list(lesions.data.columns) == ["lesion_id", "age", "sex", "localization"]
    assert list(lesions.frame.columns) == ["image_id", "lesion_id", "dx", "age", "sex", "localization"]
    assert lesions.target.shape == lesions.groups.shape == (42,)
    assert lesions.target.dtype == lesions.groups.dtype == object
    assert lesions.target_names == CLASSES
    assert list(lesions.target) == list(lesions.frame["dx"])
    assert list(lesions.groups) == list(lesions.data["lesion_id"]) == list(lesions.frame["lesion_id"])
    assert lesions.frame["image_id"].is_unique
    assert lesions.frame["image_id"].is_monotonic_increasing
    assert list(lesions.frame.index) == list(lesions.data.index) == list(range(42))


def test_pixels_use_the_range_and_are_not_clipped_away(painted):
    assert painted.images.min() < 40
    assert painted.images.max() == 255
    assert np.mean(painted.images == 255) < 0.1
    assert np.mean(painted.images == 0) < 0.001


def test_what_is_said_of_a_lesion_is_plausible_and_holds_for_all_of_its_photos(painted):
    per_lesion = painted.frame.groupby("lesion_id").nunique()
    assert (per_lesion[["dx", "age", "sex", "localization"]] == 1).all(axis=None)
    assert painted.data["age"].dtype == np.float64
    assert painted.data["age"].between(5, 85).all()
    assert (painted.data["age"] % 5 == 0).all()
    assert set(painted.data["sex"]) == {"female", "male"}
    assert "lower extremity" in set(painted.data["localization"])
    ages = painted.frame.groupby("dx")["age"].mean()
    assert ages["bcc"] > ages["nv"] + 8  # means of 67 and 47 years in HAM10000


def test_the_description_says_that_nobody_is_in_the_pictures():
    lesions = small(20, class_weights={"nv": 3, "mel": 1})
    assert "painted by a program. They are not medical data" in lesions.DESCR
    assert "40 images, 16 by 16 pixels, of 20 lesions" in lesions.DESCR
    assert re.search(r"nv +15 +melanocytic nevi", lesions.DESCR)
    assert re.search(r"df +0 +dermatofibroma", lesions.DESCR)


# ---- how many of what


def test_classes_are_equally_frequent_by_default():
    assert lesion_counts(small(21)) == dict.fromkeys(CLASSES, 3)
    assert lesion_counts(small(7)) == dict.fromkeys(CLASSES, 1)
    assert sorted(lesion_counts(small(20)).values()) == [2, 3, 3, 3, 3, 3, 3]


def test_weights_are_shares_rounded_by_largest_remainder():
    # 10 * (0.62, 0.24, 0.14) = 6.2, 2.4, 1.4: floors 6, 2, 1; the one left goes to 0.4, the first of the two.
    weights = {"nv": 62, "mel": 24, "bkl": 14}
    assert lesion_counts(small(10, class_weights=weights)) == {"nv": 6, "mel": 2, "bkl": 2}
    assert lesion_counts(small(10, class_weights=weights, random_state=1)) == {"nv": 6, "mel": 2, "bkl": 2}
    assert lesion_counts(small(5, class_weights={"nv": 0.5, "mel": 0.75, "df": 0})) == {"nv": 2, "mel": 3}


def test_the_imbalance_of_ham10000():
    # Shares of 100 by 6705, 1113, 1099, 514, 327, 142 and 115 of 10,015 images, worked out by hand.
    expected = {"nv": 67, "mel": 11, "bkl": 11, "bcc": 5, "akiec": 3, "vasc": 2, "df": 1}
    assert lesion_counts(small(100, images_per_lesion=1, class_weights="ham10000")) == expected


def test_every_class_of_positive_weight_occurs():
    assert lesion_counts(small(9, class_weights={"nv": 1e6, "df": 1e-6})) == {"nv": 8, "df": 1}
    assert set(lesion_counts(small(7, class_weights="ham10000")).values()) == {1}


def test_the_number_of_photos_can_be_drawn():
    lesions = small(60, images_per_lesion=(1, 3))
    n_photos = Counter(Counter(lesions.groups).values())
    assert set(n_photos) == {1, 2, 3}
    assert min(n_photos.values()) > 8  # 20 expected of each
    assert set(Counter(small(images_per_lesion=(2, 2)).groups).values()) == {2}


def test_rows_are_in_no_order(painted):
    """A split by position is no split by lesion, and no split by class, as in the real data."""
    codes = np.unique(painted.target, return_inverse=True)[1]
    assert abs(np.corrcoef(codes, np.arange(len(codes)))[0, 1]) < 0.2
    assert np.mean(painted.groups[1:] == painted.groups[:-1]) < 0.03


# ---- randomness


def test_a_seed_gives_the_same_bits():
    assert_same(small(), small())
    assert_same(small(random_state=np.random.RandomState(3)), small(random_state=np.random.RandomState(3)))
    assert_same(small(random_state=np.random.default_rng(3)), small(random_state=np.random.default_rng(3)))


def test_other_seeds_give_other_lesions():
    assert (small(random_state=1).images != small(random_state=2).images).mean() > 0.9
    assert (small(random_state=None).images != small(random_state=None).images).mean() > 0.9
    generator = np.random.default_rng(0)
    assert (small(random_state=generator).images != small(random_state=generator).images).mean() > 0.9


@pytest.mark.parametrize("random_state", [None, 0])
def test_the_global_random_state_is_left_alone(random_state):
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = small(random_state=random_state)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    again = small(random_state=random_state)
    assert (first.images == again.images).all() == (random_state == 0)


# ---- photos


def colour_profile(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Percentiles of each channel's logarithm about its median: blind to angle, exposure and colour cast."""
    logs = np.log(images.reshape(len(images), -1, 3) + 8.0)
    logs -= np.median(logs, axis=1, keepdims=True)
    return np.concatenate(np.percentile(logs, [1, 5, 25, 75, 95, 99], axis=1), axis=1)


def test_photos_of_a_lesion_differ_but_are_nearer_to_each_other_than_to_the_rest_of_their_class(painted):
    assert len(np.unique(painted.images.reshape(len(painted.images), -1), axis=0)) == len(painted.images)
    profile = colour_profile(painted.images)
    distance = np.linalg.norm(profile[:, None] - profile[None], axis=2)
    same_lesion = painted.groups[:, None] == painted.groups[None]
    same_class = (painted.target[:, None] == painted.target[None]) & ~same_lesion
    np.fill_diagonal(same_lesion, False)
    assert distance[same_lesion].mean() < 0.7 * distance[same_class].mean()
    sibling = distance[same_lesion]  # one for each row, as there are two photos of a lesion
    further = [np.mean(distance[row][same_class[row]] > sibling[row]) for row in range(len(profile))]
    assert np.mean(further) > 0.75  # 0.5 if photos of one lesion were no more alike


def test_photos_of_a_lesion_are_taken_from_other_angles_and_in_other_light(painted):
    order = np.argsort(painted.groups, kind="stable")
    first, second = painted.images[order[::2]] / 255, painted.images[order[1::2]] / 255
    brightness = np.abs(first.mean(axis=(1, 2, 3)) - second.mean(axis=(1, 2, 3)))
    assert brightness.mean() > 0.03
    red_to_blue = [
        np.log(half[..., 0].mean(axis=(1, 2)) / half[..., 2].mean(axis=(1, 2))) for half in (first, second)
    ]
    assert np.abs(red_to_blue[0] - red_to_blue[1]).mean() > 0.04
    correlation = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first[..., 1], second[..., 1], strict=True)
    ]
    assert np.mean(correlation) < 0.8  # well below the 0.95 and more of one photo at two sizes


def shrink(images: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    factor = images.shape[1] // size
    return images.reshape(len(images), size, factor, size, factor, 3).mean(axis=(2, 4))


@pytest.mark.parametrize(("size", "smaller"), [(32, 16), (64, 16), (64, 32), (128, 64), (256, 64)])
def test_a_seed_gives_the_same_photos_at_any_size(size, smaller):
    large, little = (make_lesions(14, image_size=each, random_state=4) for each in (size, smaller))
    assert large.frame.equals(little.frame)
    expected = shrink(large.images, smaller)
    assert np.abs(expected - little.images).mean() < 5  # the noise alone makes some 4 levels at 64 pixels
    for one, two in zip(expected, little.images, strict=True):
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("image_size", [8, 24, 65, 100])
def test_odd_sizes_work(image_size):
    assert small(7, images_per_lesion=1, image_size=image_size).images.shape == (7, image_size, image_size, 3)


# ---- looks


@cache
def close_ups(dx: str) -> NDArray[np.float32]:
    """Thirty lesions of a class, without camera, light, hair and noise: shape (3, 30, 64, 64)."""
    axis = np.linspace(-1, 1, 129, dtype=np.float32)[1::2]
    x, y = np.meshgrid(axis, axis)
    planes = [paint(dx, x[None], y[None], np.random.default_rng(seed)) for seed in range(30)]
    return np.concatenate(planes, axis=1)


def asymmetry(planes: NDArray[np.float32]) -> float:
    """How much a lesion differs from itself turned by half, relative to how much it differs from the skin."""
    grey = planes.mean(axis=0)
    differs = np.abs(grey - np.median(grey, axis=(1, 2), keepdims=True)).mean(axis=(1, 2))
    return float(np.mean(np.abs(grey - grey[:, ::-1, ::-1]).mean(axis=(1, 2)) / differs))


def steepest(planes: NDArray[np.float32]) -> float:
    """The steepest steps from pixel to pixel, relative to the range of greys."""
    grey = planes.mean(axis=0)
    low, high = np.percentile(grey, [5, 90], axis=(1, 2))
    return float(np.mean(np.percentile(np.abs(np.diff(grey, axis=2)), 98, axis=(1, 2)) / (high - low)))


def share_of_lesion(planes: NDArray[np.float32]) -> float:
    """How much of the photo differs from its most frequent colour."""
    difference = np.abs(np.log(planes / np.median(planes, axis=(2, 3), keepdims=True))).sum(axis=0)
    return float(np.mean(difference > 0.5))


def middle_above_ring(planes: NDArray[np.float32]) -> float:
    axis = np.linspace(-1, 1, 129)[1::2]
    radius = np.hypot(axis[None, :], axis[:, None])
    ring = (radius > 0.25) & (radius < 0.4)
    return float(planes[..., radius < 0.1].mean() - planes[..., ring].mean())


def bluest(planes: NDArray[np.float32]) -> float:
    return float(np.mean((planes[2] - planes[0]).max(axis=(1, 2))))


@pytest.mark.parametrize(
    ("cue", "more", "less", "margin"),
    [
        (asymmetry, "mel", "nv", 0.15),
        (steepest, "bkl", "nv", 0.15),  # a sharp border, against a soft one
        (steepest, "bkl", "df", 0.15),
        (share_of_lesion, "akiec", "vasc", 0.08),  # diameter
        (share_of_lesion, "mel", "nv", 0.03),
        (middle_above_ring, "df", "nv", 0.15),  # a white scar
        (middle_above_ring, "df", "akiec", 0.12),
        (bluest, "bcc", "akiec", 0.1),  # blue-grey nests
        (bluest, "mel", "nv", 0.05),  # a blue-grey veil
    ],
)
def test_classes_differ_by_what_clinicians_look_at(cue, more, less, margin):
    assert cue(close_ups(more)) > cue(close_ups(less)) + margin


def test_mean_colours_of_the_classes_overlap(painted):
    """Every two classes are nearer in each mean channel than two of the lesions' own standard deviations."""
    colours = painted.images.mean(axis=(1, 2))
    means = np.stack([colours[painted.target == dx].mean(axis=0) for dx in CLASSES])
    spread = np.stack([colours[painted.target == dx].std(axis=0) for dx in CLASSES]).min(axis=0)
    assert (np.ptp(means, axis=0) < 2 * spread).all()


# ---- difficulty


def balanced_accuracy(model, X, lesions: Bunch) -> float:
    cv = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, X, lesions.target, groups=lesions.groups, cv=cv)
    return float(balanced_accuracy_score(lesions.target, predicted))


@pytest.mark.parametrize("n_components", [20, 80])
def test_a_linear_model_on_pixels_does_not_solve_it(painted, n_components):
    """Split by lesion it stays far below the 0.7 that it must not pass, and above the 0.14 of guessing."""
    model = make_pipeline(
        StandardScaler(), PCA(n_components, random_state=0), StandardScaler(), LogisticRegression(C=0.1)
    )
    rows = painted.images.reshape(len(painted.images), -1).astype(np.float32)
    assert 0.2 < balanced_accuracy(model, rows, painted) < 0.6


def test_mean_colours_do_not_solve_it(painted):
    colours = np.concatenate([painted.images.mean(axis=(1, 2)), painted.images.std(axis=(1, 2))], axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    assert balanced_accuracy(model, colours, painted) < 0.6


# ---- patterns


def test_painting_stays_in_single_precision():
    assert {close_ups(dx).dtype for dx in CLASSES} == {np.dtype(np.float32)}
    assert all(close_ups(dx).min() >= 0 and close_ups(dx).max() <= 1 for dx in CLASSES)


def test_noise_is_smooth_bounded_and_a_function_of_the_place():
    axis = np.linspace(-1, 1, 513, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    values = noise(x, y, np.random.default_rng(0), 5.0)
    assert values.dtype == np.float32
    assert -1 <= values.min() < -0.5
    assert 0.5 < values.max() <= 1
    # Knots are 1/5 apart and at most 2 different; smoothstep is at most 1.5 times as steep as a line.
    assert np.abs(np.diff(values, axis=1)).max() <= 2 * 1.5 * 5 * (axis[1] - axis[0]) * 1.01
    np.testing.assert_allclose(noise(x[::2, ::2], y[::2, ::2], np.random.default_rng(0), 5.0), values[::2, ::2])


def test_a_spot_covers_its_middle_and_nothing_beyond_its_radius():
    x = np.array([[[0.0, 0.1, 0.19, 0.2, 0.5]]], dtype=np.float32)
    cover = spots(x, np.zeros_like(x), np.array([[0.0, 0.0]]), np.array([0.2]), softness=0.5).ravel()
    np.testing.assert_allclose(cover[[0, 1, 3, 4]], [1, 1, 0, 0], atol=1e-6)
    assert 0 < cover[2] < 0.1
    assert smoothstep(0, 1, np.array([0.5], dtype=np.float32)) == 0.5


# ---- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_lesions": 6}, ValueError, "n_lesions=6 is too few for 7 classes, each with at least one lesion."),
        ({"n_lesions": 0}, ValueError, "n_lesions must be an integer >= 1; got 0."),
        ({"n_lesions": 70.0}, TypeError, "n_lesions must be an integer >= 1; got 70.0."),
        ({"n_lesions": True}, TypeError, "n_lesions must be an integer >= 1; got True."),
        ({"image_size": 7}, ValueError, "image_size must be an integer >= 8; got 7."),
        ({"image_size": (64, 64)}, TypeError, "image_size must be an integer >= 8; got (64, 64)."),
        ({"images_per_lesion": 0}, ValueError, "images_per_lesion must be an integer >= 1; got 0."),
        ({"images_per_lesion": "2"}, TypeError, "images_per_lesion must be an integer >= 1; got '2'."),
        ({"images_per_lesion": (3, 1)}, ValueError, "a pair (low, high) with low <= high; got (3, 1)."),
        (
            {"images_per_lesion": (1, 2, 3)},
            ValueError,
            "an integer or a pair (low, high); got 3 values, (1, 2, 3).",
        ),
        ({"images_per_lesion": (0, 2)}, ValueError, "images_per_lesion[0] must be an integer >= 1; got 0."),
        ({"images_per_lesion": (1, 2.5)}, TypeError, "images_per_lesion[1] must be an integer >= 1; got 2.5."),
        (
            {"class_weights": "balanced"},
            ValueError,
            "class_weights must be None, 'ham10000' or a mapping of class to weight; got 'balanced'.",
        ),
        ({"class_weights": [1, 2]}, TypeError, "a mapping of class to weight; got [1, 2]."),
        (
            {"class_weights": {"NV": 1}},
            ValueError,
            "class_weights has unknown classes ['NV']; the classes are ['akiec'",
        ),
        ({"class_weights": {"nv": -1}}, ValueError, "class_weights['nv'] must be a finite number >= 0; got -1."),
        (
            {"class_weights": {"nv": np.inf}},
            ValueError,
            "class_weights['nv'] must be a finite number >= 0; got inf.",
        ),
        ({"class_weights": {"nv": "1"}}, ValueError, "class_weights['nv'] must be a finite number >= 0; got '1'."),
        (
            {"class_weights": {"nv": 0}},
            ValueError,
            "must give at least one class a weight above 0; got {'nv': 0}.",
        ),
        ({"class_weights": {}}, ValueError, "must give at least one class a weight above 0; got {}."),
        ({"random_state": "seed"}, ValueError, "random_state must be None, an integer >= 0"),
    ],
)
def test_a_wrong_argument_is_named(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make_lesions(**{"n_lesions": 7, "image_size": 16, **arguments})
