"""Rows of an epoch: counts by hand, every row before any comes again, and the same rows for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from skinclf.augmentation._sampling import draw_in_cycles, epoch_counts, epoch_rows, rows_to_add

HAM10000 = np.array([327, 514, 1099, 115, 1113, 6705, 142])
"""Images of akiec, bcc, bkl, df, mel, nv and vasc (Tschandl et al., 2018)."""


def rng(seed=0):
    return np.random.default_rng(seed)


def labels_of(sizes, seed=3):
    return rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


class TestCounts:
    @pytest.mark.parametrize(
        ("sizes", "sampler", "counts"),
        [
            ([90, 10], None, [90, 10]),
            ([90, 10], "balanced", [50, 50]),
            ([90, 10], "sqrt", [75, 25]),  # 9.487 : 3.162 is 3 : 1
            ([1, 100], "sqrt", [9, 92]),  # 101 / 11 = 9.18
            ([4, 2, 1], "balanced", [2, 2, 3]),  # 7 / 3: the one left over is of the smallest class
            ([5, 0, 5, 1], "balanced", [4, 0, 3, 4]),  # 11 / 3: the two left over go to the smallest and the first
            ([1, 1], "balanced", [1, 1]),
            ([0, 3], "sqrt", [0, 3]),
        ],
    )
    def test_by_hand(self, sizes, sampler, counts):
        assert epoch_counts(np.array(sizes), sampler).tolist() == counts

    @pytest.mark.parametrize("sampler", [None, "balanced", "sqrt"])
    def test_an_epoch_is_as_long_as_the_training_set_and_misses_no_class(self, sampler):
        for seed in range(100):
            sizes = rng(seed).integers(0, 50, 7) ** 2
            counts = epoch_counts(sizes, sampler)
            assert counts.sum() == sizes.sum()
            assert ((counts > 0) == (sizes > 0)).all()

    def test_ham10000(self):
        balanced = epoch_counts(HAM10000, "balanced")
        assert balanced.max() - balanced.min() <= 1
        roots = epoch_counts(HAM10000, "sqrt")
        np.testing.assert_allclose(roots, 10015 * np.sqrt(HAM10000) / np.sqrt(HAM10000).sum(), atol=1)
        # Between the two: nv fewer than it has and more than a seventh, df the other way round.
        assert 1431 < roots[5] < 6705
        assert 115 < roots[3] < 1430

    def test_another_name_is_refused(self):
        with pytest.raises(ValueError, match=r"sampler must be 'balanced', 'sqrt' or None; got 'Balanced'\."):
            epoch_counts(np.array([1, 2]), "Balanced")
        with pytest.raises(ValueError, match=r"sampler must be 'balanced', 'sqrt' or None; got 'log'\."):
            epoch_rows(np.array([0, 1]), "log", rng())


class TestRows:
    @pytest.mark.parametrize("sampler", ["balanced", "sqrt"])
    def test_the_rows_have_the_counts(self, sampler):
        labels = labels_of([70, 25, 5])
        rows = epoch_rows(labels, sampler, rng())
        assert len(rows) == 100
        np.testing.assert_array_equal(np.bincount(labels[rows]), epoch_counts(np.array([70, 25, 5]), sampler))

    @pytest.mark.parametrize("sampler", ["balanced", "sqrt"])
    def test_every_row_of_a_class_comes_before_any_comes_again(self, sampler):
        labels = labels_of([70, 25, 5])
        rows = epoch_rows(labels, sampler, rng())
        for label, size in enumerate([70, 25, 5]):
            sequence = rows[labels[rows] == label]
            for start in range(0, len(sequence), size):
                part = sequence[start : start + size]
                assert len(set(part.tolist())) == len(part)
            times = np.bincount(sequence, minlength=100)[labels == label]
            assert times.max() - times.min() <= 1

    def test_none_is_a_plain_shuffle(self):
        labels = labels_of([70, 30])
        np.testing.assert_array_equal(epoch_rows(labels, None, rng(1)), rng(1).permutation(100))

    def test_classes_are_spread_over_the_whole_epoch(self):
        labels = labels_of([900, 100])
        positions = np.flatnonzero(labels[epoch_rows(labels, "balanced", rng())] == 1)
        # 500 of 1000 places at random: the mean place has a standard deviation of 9.1.
        assert positions.mean() == pytest.approx(499.5, abs=40)
        assert np.std(np.diff(positions)) > 1

    def test_over_many_epochs_every_row_of_a_class_comes_alike_often(self):
        labels = labels_of([40, 8])
        generator = rng()
        times = sum(np.bincount(epoch_rows(labels, "balanced", generator), minlength=48) for _ in range(300))
        # 24 of 40 a time: 180 expected, with a standard deviation of 8.5; 24 of 8: three times each, exactly.
        assert (times[labels == 1] == 900).all()
        assert np.abs(times[labels == 0] - 180).max() < 40

    def test_the_seed_repeats_an_epoch_and_the_next_one_differs(self):
        labels = labels_of([40, 8])
        generator = rng(5)
        first, second = (epoch_rows(labels, "sqrt", generator) for _ in range(2))
        assert (first != second).any()
        np.testing.assert_array_equal(epoch_rows(labels, "sqrt", rng(5)), first)

    def test_numbers_of_classes_that_are_missing_do_no_harm(self):
        labels = np.array([5, 5, 5, 2])
        assert np.bincount(labels[epoch_rows(labels, "balanced", rng())]).tolist() == [0, 0, 2, 0, 0, 2]
        assert len(epoch_rows(np.array([], dtype=np.intp), "balanced", rng())) == 0


def test_draws_in_cycles():
    rows = np.array([4, 7, 9])
    assert draw_in_cycles(rows, 0, rng()).tolist() == []
    assert draw_in_cycles(rows[:0], 0, rng()).tolist() == []
    assert set(draw_in_cycles(rows, 2, rng()).tolist()) < {4, 7, 9}
    drawn = draw_in_cycles(rows, 8, rng()).tolist()
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == [4, 7, 9]
    assert len(set(drawn[6:])) == 2
    orders = {tuple(draw_in_cycles(rows, 3, rng(seed))) for seed in range(60)}
    assert len(orders) == 6


@pytest.mark.parametrize(
    ("strategy", "added"),
    [
        ("auto", [7, 0, 3, 0]),
        ("all", [7, 0, 3, 0]),
        ("not majority", [7, 0, 3, 0]),
        ("minority", [7, 0, 0, 0]),
        ("not minority", [0, 0, 3, 0]),
        (1.0, [7, 0, 3, 0]),
        (0.75, [4, 0, 0, 0]),  # 7.5 is 7, as in imbalanced-learn
        (0.1, [0, 0, 0, 0]),
        ({"a": 5}, [2, 0, 0, 0]),
        ({"c": np.int64(20), "b": 10}, [0, 0, 13, 0]),
        ({}, [0, 0, 0, 0]),
    ],
)
def test_rows_to_add(strategy, added):
    assert rows_to_add(["a", "b", "c", "d"], np.array([3, 10, 7, 10]), strategy).tolist() == added
