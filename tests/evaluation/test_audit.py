"""What crosses a split: counts got by hand, the eight symmetries, and what a perceptual hash survives."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold

from skinclf.datasets import make_lesions
from skinclf.evaluation import LeakageError, LeakageWarning, audit_leakage, cross_validate
from skinclf.evaluation._copies import number_copies
from skinclf.evaluation._perceptual_hash import find_near_pairs, hash_distance, perceptual_hashes


@pytest.fixture(scope="module")
def photos():
    """40 images of 20 lesions, 64 pixels."""
    return make_lesions(20, images_per_lesion=2, image_size=64, random_state=3)


@pytest.fixture(scope="module")
def pair(photos):
    """The rows of the first and of the second photo of each lesion."""
    order = np.argsort(photos.groups, kind="stable")
    return order[::2], order[1::2]


# --- tables


def test_counts_of_every_kind_by_hand(photos, pair):
    first, _ = pair
    images = np.concatenate(
        [photos.images[first], photos.images[[first[0], first[1]]], photos.images[first[2:4], :, ::-1]]
    )
    groups = np.array([*photos.groups[first], "new 1", "new 2", "new 3", photos.groups[first[3]]])
    y = np.arange(24) % 3
    train, test = np.arange(20), np.arange(20, 24)

    audit = audit_leakage(images, y, groups=groups, splits=[(train, test)])

    (row,) = audit.to_frame().to_dict("records")
    expected = {"fold": 0, "n_train": 20, "n_test": 4, "lesion": 1, "copy": 2, "near_duplicate": 2}
    expected |= {"only_near_duplicate": 1, "any": 4, "share": 1.0, "n_lesions": 1}
    assert row == expected
    found = audit.pairs.set_index(["kind", "test_row"])["train_row"].to_dict()
    assert found == {
        ("copy", 20): 0, ("copy", 21): 1, ("near_duplicate", 22): 2, ("near_duplicate", 23): 3, ("lesion", 23): 3
    }  # fmt: skip
    near = audit.pairs[audit.pairs["kind"] == "near_duplicate"].iloc[0]
    assert (near["test_lesion"], near["train_lesion"]) == ("new 3", photos.groups[first[2]])
    assert (near["train_label"], near["test_label"], near["distance"]) == (2, 1, 0)
    assert not audit.is_clean
    assert repr(audit) == (
        "LeakageAudit(1 splits; 4 of 4 test rows leak (100.0 %): lesion 1, copy 2, near_duplicate 2)"
    )


def test_a_clean_split_is_clean(photos):
    audit = audit_leakage(photos.images, groups=photos.groups, splits=GroupKFold(4))

    assert audit.is_clean
    assert audit.folds["any"].tolist() == [0, 0, 0, 0]
    assert audit.folds["n_test"].sum() == 40
    assert list(audit.pairs.columns)[:5] == ["fold", "kind", "train_row", "test_row", "distance"]


def test_what_was_not_looked_for_is_missing_not_zero(photos):
    audit = audit_leakage(photos.images, splits=[(np.arange(30), np.arange(30, 40))], near_duplicates=False)

    row = audit.folds.iloc[0]
    assert pd.isna(row["lesion"])
    assert pd.isna(row["n_lesions"])
    assert pd.isna(row["near_duplicate"])
    assert row["copy"] == 0
    assert audit.max_distance is None


def test_the_lesions_of_a_column_and_of_a_result_are_used(photos):
    data = photos.data.assign(image=[f"{row}.jpg" for row in range(40)])
    by_image = StratifiedKFold(2, shuffle=True, random_state=0)
    audit = audit_leakage(data, photos.target, splits=by_image, near_duplicates=False)
    with pytest.warns(LeakageWarning):
        result = cross_validate(
            DummyClassifier(), photos.images, photos.target, groups=photos.groups, cv=by_image, on_leakage="warn"
        )

    again = audit_leakage(photos.images, splits=result, near_duplicates=False)

    assert audit.folds["lesion"].tolist() == again.folds["lesion"].tolist() == result.leaks["n_leaking"].tolist()
    assert audit.folds["n_lesions"].tolist() == result.leaks["n_groups"].tolist()


def test_pairs_name_the_nearest_training_row(photos):
    images = photos.images[:6].copy()
    images[4] = images[0]
    images[4, 0, :8] = 255  # looks the same, not quite
    images[5] = images[0, ::-1]
    audit = audit_leakage(images, splits=[([5, 4, 1], [0])])

    (pair,) = audit.pairs.to_dict("records")
    assert (pair["train_row"], pair["distance"]) == (5, 0)


def test_oversampled_rows_cost_one_pair_each(photos):
    rows = np.tile(np.arange(10), 300)
    audit = audit_leakage(photos.images[rows], splits=[(np.arange(2000), np.arange(2000, 3000))])

    assert audit.folds["copy"].tolist() == [1000]
    assert len(audit.pairs) == 1000


def test_files_are_compared_by_their_pixels(photos, tmp_path):
    paths = [str(tmp_path / f"{row}.png") for row in range(4)]
    for path, image in zip(paths, photos.images[[0, 1, 0, 2]], strict=True):
        Image.fromarray(image).save(path)

    audit = audit_leakage(paths, splits=[([0, 1], [2, 3])])
    by_name = audit_leakage(paths, splits=[([0, 1], [2, 3])], near_duplicates=False)

    assert audit.pairs[["kind", "train_row", "test_row"]].to_numpy().tolist() == [["copy", 0, 2]]
    assert by_name.is_clean


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"splits": 5}, TypeError, r"splits must be an iterable of \(train, test\).*got 5.*\[\(train, test\)\]"),
        ({"splits": []}, ValueError, r"splits must give pairs \(train, test\), and at least one"),
        ({"splits": [np.arange(5), np.arange(5)]}, ValueError, r"splits must give pairs"),
        (
            {"splits": [([0, 99], [1])]},
            ValueError,
            r"splits names row 99 in the training part of fold 0; X has the",
        ),
        ({"max_distance": 256}, ValueError, r"max_distance must be a number of bits from 0 to 255; got 256"),
        ({"y": [0, 1]}, ValueError, r"X has 40 rows and y 2 labels"),
        ({"groups": ["a"] * 39}, ValueError, r"groups must have one value for each of the 40 images"),
    ],
    ids=["no splits", "empty", "one split", "row", "distance", "labels", "groups"],
)
def test_wrong_arguments_are_named(photos, change, error, message):
    arguments = {"splits": [([0], [1])], **change}
    with pytest.raises(error, match=message):
        audit_leakage(photos.images, **arguments)


def test_rows_of_a_table_have_no_look():
    X = np.random.default_rng(0).normal(size=(6, 5))
    with pytest.raises(
        ValueError, match=r"no square images cannot be compared by their look.*near_duplicates=False"
    ):
        audit_leakage(X, splits=[([0, 1], [2])])
    assert audit_leakage(X, splits=[([0, 1], [2])], near_duplicates=False).is_clean


# --- the hash


def symmetries(images):
    """The images under the eight symmetries of the square."""
    for image in (images, images.swapaxes(1, 2)):
        yield from (image, image[:, ::-1], image[:, :, ::-1], image[:, ::-1, ::-1])


@pytest.mark.parametrize("size", [(64, 64), (48, 32), (33, 45)])
def test_all_eight_symmetries_look_the_same(size):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, *size, 3), dtype=np.uint8)
    hashes = perceptual_hashes(images)

    for other in symmetries(images):
        assert hash_distance(hashes, perceptual_hashes(other)).max() <= 2  # rounding of frequencies next to 0
    strangers = hash_distance(hashes, hashes[::-1])
    assert strangers.min() > 80


def test_the_distance_is_the_smallest_of_eight_counts_of_bits():
    """The four words and their counts against the definition: the bits of eight images, compared one by one."""
    generator = np.random.default_rng(1)
    first, second = generator.integers(0, 256, (2, 12, 32, 32, 1), dtype=np.uint8)

    by_definition = np.min(
        [
            np.bitwise_count(perceptual_hashes(first) ^ perceptual_hashes(other)).sum(axis=1)
            for other in symmetries(second)
        ],
        axis=0,
    )

    np.testing.assert_allclose(
        hash_distance(perceptual_hashes(first), perceptual_hashes(second)), by_definition, atol=2
    )


@pytest.mark.parametrize("max_distance", [0, 40, 100, 130])
def test_the_search_finds_what_looking_at_every_pair_finds(max_distance):
    hashes = np.random.default_rng(2).integers(0, 2**63, (60, 4)).astype(np.uint64) & ~np.uint64(128)
    hashes[50:] = hashes[:10]
    found = find_near_pairs(hashes, max_distance)

    expected = []
    for i, j in itertools.combinations(range(60), 2):
        distance = int(hash_distance(hashes[[i]], hashes[[j]])[0])
        if distance <= max_distance:
            expected.append((i, j, distance))
    assert list(zip(*(part.tolist() for part in found), strict=True)) == expected
    assert len(expected) >= 10


def test_blocks_of_the_search_change_nothing(monkeypatch):
    hashes = np.random.default_rng(3).integers(0, 2**63, (90, 4)).astype(np.uint64)
    whole = find_near_pairs(hashes, 105)
    monkeypatch.setattr("skinclf.evaluation._perceptual_hash._PAIRS_AT_ONCE", 100)
    for one, other in zip(whole, find_near_pairs(hashes, 105), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(whole.first) > 10


def encoded(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        lambda image: encoded(image, 50),
        lambda image: image.resize((80, 80)),
        lambda image: image.point(lambda value: min(255, int(1.1 * value))),
        lambda image: encoded(image.transpose(Image.Transpose.TRANSVERSE).resize((100, 75)), 60),
    ],
    ids=["re-encoded", "scaled", "brighter", "all at once"],
)
def test_changed_copies_still_look_the_same(change):
    images = make_lesions(20, images_per_lesion=1, image_size=128, random_state=5).images
    changed = np.stack([np.asarray(change(Image.fromarray(image)).resize((64, 64))) for image in images])
    original = np.stack([np.asarray(Image.fromarray(image).resize((64, 64))) for image in images])

    distance = hash_distance(perceptual_hashes(original), perceptual_hashes(changed))

    assert distance.max() <= 32


def test_other_lesions_do_not_look_the_same(photos):
    found = find_near_pairs(perceptual_hashes(photos.images), 40)
    assert len(found.first) == 0


# --- exact copies in a cross-validation


def test_a_cross_validation_with_copies_is_refused(photos):
    rows = np.r_[np.arange(40), np.arange(40)]
    X, y = photos.images[rows], np.arange(80) % 40 % 2
    message = (
        r"of 80 test rows are exact copies of an image that is also trained on.*are the same image.*inside the t"
    )
    with pytest.raises(LeakageError, match=message):
        cross_validate(DummyClassifier(), X, y, cv=2)
    with pytest.raises(LeakageError, match=message):
        cross_validate(DummyClassifier(), X.reshape(80, -1), y, groups=np.arange(80), cv=2)
    with pytest.raises(LeakageError, match=message):
        cross_validate(DummyClassifier(), [f"{row}.jpg" for row in rows], y, cv=2)
    with pytest.warns(LeakageWarning, match="exact copies"):
        result = cross_validate(DummyClassifier(), X, y, cv=2, on_leakage="warn")
    copies_apart = result.fold[:40] != result.fold[40:]
    assert result.leaks["n_leaking"].sum() == 2 * copies_apart.sum()


def test_copies_that_stay_together_are_no_leak(photos):
    rows = np.r_[np.arange(40), np.arange(40)]
    cross_validate(DummyClassifier(), photos.images[rows], np.arange(80) % 2, groups=rows, cv=2)


@pytest.mark.parametrize(
    "X",
    [np.zeros((8, 3)), np.array([["a", "b"]] * 8, dtype=object), [{"a": 1}] * 8, np.zeros((8, 4, 4, 4, 2))],
    ids=["table", "words", "dictionaries", "five dimensions"],
)
def test_what_is_no_image_has_no_copies(X):
    assert number_copies(X) is None


def test_blank_images_are_copies_of_nothing():
    X = np.zeros((4, 8, 8, 3), np.uint8)
    X[2:, 0, 0, 0] = 1
    assert number_copies(X).codes.tolist() == [0, 1, 2, 2]


@pytest.mark.real_data
def test_folds_by_lesion_of_ham10000_share_no_image_but_one_pair_that_the_names_miss(ham10000):
    audit = audit_leakage(ham10000.data, ham10000.target, splits=[(np.arange(5007), np.arange(5007, 10015))])

    assert audit.folds["copy"].item() == 2
    only = audit.pairs[audit.pairs["kind"] == "near_duplicate"]
    other = only[only["train_lesion"] != only["test_lesion"]]
    assert {("HAM_0004919", "HAM_0000140")} <= set(zip(other["train_lesion"], other["test_lesion"], strict=True))
    assert len(other) < 5
