"""`AugmentedOverSampler`: originals first and untouched, copies where they are asked for, in training only."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinclf import LesionCNNClassifier
from skinclf.augmentation import AugmentedOverSampler, LesionAugmenter

own_generators = pytest.mark.usefixtures("no_global_randomness")

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
LABELS = np.array(["nv"] * 7 + ["df"] * 2 + ["mel"] * 3)
TABLE = pd.DataFrame(
    {
        "image": [f"{row}.jpg" for row in range(12)],
        "lesion_id": [f"L{row // 2}" for row in range(12)],
        "age": np.arange(12.0),
    },
    index=np.arange(100, 112),
)
STILL = LesionAugmenter(
    flip=False, quarter_turns=False, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, saturation=0, hue=0
)


def resample(X=IMAGES, y=LABELS, **parameters):
    sampler = AugmentedOverSampler(**{"random_state": 0, **parameters})
    more, labels = sampler.fit_resample(X, y)
    return more, labels, sampler


@own_generators
class TestPaths:
    def test_rows_of_a_table_are_repeated_with_all_that_is_in_them(self):
        more, labels, sampler = resample(TABLE, pd.Series(LABELS, name="dx", index=TABLE.index))
        rows = sampler.sample_indices_
        pd.testing.assert_frame_equal(more, TABLE.iloc[rows].reset_index(drop=True))
        pd.testing.assert_series_equal(labels, pd.Series(LABELS[rows], name="dx"))
        assert rows[:12].tolist() == list(range(12))
        assert labels.value_counts().to_dict() == {"nv": 7, "df": 7, "mel": 7}
        assert dict(zip(more["image"], more["lesion_id"], strict=True)) == dict(
            zip(TABLE["image"], TABLE["lesion_id"], strict=True)
        )

    @pytest.mark.parametrize("kind", [list, np.array, pd.Series, lambda paths: np.array(paths)[:, None]])
    def test_paths_keep_their_type(self, kind):
        X = kind(TABLE["image"].tolist())
        more, labels, sampler = resample(X, LABELS.tolist())
        assert type(more) is type(X)
        assert isinstance(labels, list)
        assert np.ravel(more).tolist() == [f"{row}.jpg" for row in sampler.sample_indices_]

    def test_no_file_is_opened(self):
        # None of these files exists.
        assert len(resample(TABLE)[0]) == 21


@own_generators
class TestPixels:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
    @pytest.mark.parametrize("flat", [False, True])
    def test_originals_come_first_bit_for_bit_and_copies_are_augmented(self, dtype, flat):
        X = IMAGES.astype(dtype) if np.dtype(dtype).kind in "iu" else (IMAGES / 255).astype(dtype)
        X = X.reshape(12, -1) if flat else X
        before = X.copy()
        more, labels, sampler = resample(X)
        assert more.shape == (21, *X.shape[1:])
        assert more.dtype == dtype
        np.testing.assert_array_equal(more[:12], before)
        np.testing.assert_array_equal(X, before)
        copies, sources = more[12:].reshape(9, -1), X[sampler.sample_indices_[12:]].reshape(9, -1)
        assert (copies != sources).any(axis=1).all()
        # Flips, turns and colours change the pixels, hardly the mean.
        assert np.abs(copies.mean(axis=1) / sources.mean(axis=1) - 1).max() < 0.3
        np.testing.assert_array_equal(labels, LABELS[sampler.sample_indices_])

    def test_copies_of_one_image_differ(self):
        more, _, sampler = resample()
        of_df = more[12:][LABELS[sampler.sample_indices_[12:]] == "df"]
        assert len({image.tobytes() for image in of_df}) == len(of_df) == 5

    def test_an_augmenter_that_does_nothing_shows_which_row_a_copy_is_of(self):
        more, _, sampler = resample(augmenter=STILL)
        np.testing.assert_array_equal(more, IMAGES[sampler.sample_indices_])

    def test_the_strength_is_the_augmenters(self):
        dark = clone(STILL).set_params(brightness=4)
        more, _, sampler = resample(augmenter=dark)
        factor = more[12:].mean(axis=(1, 2, 3)) / IMAGES[sampler.sample_indices_[12:]].mean(axis=(1, 2, 3))
        assert factor.min() < 0.5

    def test_more_copies_than_are_made_at_once(self):
        more, _, sampler = resample(sampling_strategy={"df": 402}, augmenter=STILL)
        assert len(more) == 412
        np.testing.assert_array_equal(more, IMAGES[sampler.sample_indices_])

    def test_tables_of_pixels_and_lists_keep_their_type(self):
        frame = pd.DataFrame(IMAGES[..., :1].reshape(12, -1)).add_prefix("pixel")
        more, _, _ = resample(frame)
        assert more.columns.equals(frame.columns)
        assert (more.dtypes == np.uint8).all()
        np.testing.assert_array_equal(more, resample(frame.to_numpy())[0])
        rows = frame.to_numpy().tolist()
        assert resample(rows)[0][:12] == rows

    def test_strips_are_repeated_as_they_are(self):
        strips = np.linspace(-5, 900, 60).reshape(12, 5)
        more, _, sampler = resample(strips)
        np.testing.assert_array_equal(more, strips[sampler.sample_indices_])

    def test_a_read_only_memory_map(self, tmp_path):
        np.save(tmp_path / "images.npy", IMAGES)
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
        np.testing.assert_array_equal(resample(mapped)[0], resample()[0])


class TestHowMany:
    @pytest.mark.parametrize(
        ("strategy", "counts"),
        [
            ("auto", {"nv": 7, "df": 7, "mel": 7}),
            ("not majority", {"nv": 7, "df": 7, "mel": 7}),
            ("all", {"nv": 7, "df": 7, "mel": 7}),
            ("minority", {"nv": 7, "df": 7, "mel": 3}),
            ("not minority", {"nv": 7, "df": 2, "mel": 7}),
            (0.45, {"nv": 7, "df": 3, "mel": 3}),
            ({"mel": 4, "nv": 9}, {"nv": 9, "df": 2, "mel": 4}),
        ],
    )
    def test_strategies(self, strategy, counts):
        _, labels, sampler = resample(TABLE, sampling_strategy=strategy)
        assert pd.Series(labels).value_counts().to_dict() == counts
        before = {"nv": 7, "df": 2, "mel": 3}
        added = {label: counts[label] - before[label] for label in counts if counts[label] > before[label]}
        assert sampler.sampling_strategy_ == added

    def test_every_row_of_a_class_is_added_before_any_is_added_again(self):
        for seed in range(10):
            _, _, sampler = resample(TABLE, random_state=seed)
            times = np.bincount(sampler.sample_indices_, minlength=12)
            assert (times[:7] == 1).all()
            for label in ("df", "mel"):
                of_class = times[label == LABELS]
                assert of_class.max() - of_class.min() <= 1

    @pytest.mark.parametrize(
        "y", [LABELS == "df", np.arange(12) % 5, pd.Categorical(LABELS), LABELS.astype(object)]
    )
    def test_labels_of_any_type(self, y):
        _, labels, _ = resample(TABLE, pd.Series(y))
        assert labels.dtype == pd.Series(y).dtype
        assert labels.value_counts().nunique() == 1

    def test_balanced_rows_stay_alone(self):
        more, labels, sampler = resample(IMAGES[:10], np.arange(10) % 2)
        np.testing.assert_array_equal(more, IMAGES[:10])
        assert len(labels) == 10
        assert sampler.sampling_strategy_ == {}

    def test_it_agrees_with_imbalanced_learn(self):
        over_sampling = pytest.importorskip("imblearn.over_sampling")
        for strategy in ("auto", "all", "minority", "not minority", "not majority", {"df": 5}):
            theirs = over_sampling.RandomOverSampler(sampling_strategy=strategy, random_state=0)
            _, expected = theirs.fit_resample(np.arange(12)[:, None], LABELS)
            _, labels, _ = resample(TABLE, sampling_strategy=strategy)
            assert pd.Series(labels).value_counts().to_dict() == pd.Series(expected).value_counts().to_dict()
        two = np.where(LABELS == "nv", "nv", "other")
        theirs = over_sampling.RandomOverSampler(sampling_strategy=0.9, random_state=0)
        assert len(theirs.fit_resample(np.arange(12)[:, None], two)[1]) == len(
            resample(TABLE, two, sampling_strategy=0.9)[1]
        )


@own_generators
class TestRandomness:
    def test_same_seed_same_rows_and_pixels(self):
        first, second = resample(), resample()
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[2].sample_indices_, second[2].sample_indices_)
        assert (resample(random_state=1)[0] != first[0]).any()

    def test_fitted_twice_it_does_the_same_twice(self):
        sampler = AugmentedOverSampler(random_state=0)
        first = sampler.fit_resample(IMAGES, LABELS)[0]
        np.testing.assert_array_equal(sampler.fit_resample(IMAGES, LABELS)[0], first)

    @pytest.mark.parametrize("state", [None, np.random.RandomState(0), np.random.default_rng(0)], ids=type)
    def test_other_states_are_drawn_from(self, state):
        sampler = AugmentedOverSampler(random_state=state)
        assert (sampler.fit_resample(IMAGES, LABELS)[0] != sampler.fit_resample(IMAGES, LABELS)[0]).any()

    def test_the_seed_of_the_augmenter_does_not_count_and_it_is_not_touched(self):
        augmenter = LesionAugmenter(random_state=5)
        np.testing.assert_array_equal(resample(augmenter=augmenter)[0], resample()[0])
        assert set(vars(augmenter)) == set(LesionAugmenter().get_params())

    def test_the_tag_says_when_results_cannot_be_repeated(self):
        assert get_tags(AugmentedOverSampler()).non_deterministic
        assert not get_tags(AugmentedOverSampler(random_state=0)).non_deterministic


class TestMessages:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"sampling_strategy": "sqrt"}, "The 'sampling_strategy' parameter of AugmentedOverSampler must be"),
            ({"sampling_strategy": 1.5}, r"must be .* a float in the range \(0.0, 1.0\]"),
            (
                {"sampling_strategy": {"bcc": 5}},
                r"names \['bcc'\], but the classes of y are \['df', 'mel', 'nv'\]",
            ),
            (
                {"sampling_strategy": {"df": 1}},
                r"asks for 1 rows of 'df', of which there are 2\. An over-sampler only",
            ),
            ({"sampling_strategy": {"df": 2.5}}, r"asks for 2\.5 rows of 'df'.* give the whole number of rows"),
            ({"augmenter": "strong"}, "The 'augmenter' parameter of AugmentedOverSampler must be"),
            ({"augmenter": LesionAugmenter(hue=2)}, "The 'hue' parameter of LesionAugmenter must be"),
            ({"random_state": -1}, "The 'random_state' parameter of AugmentedOverSampler must be"),
        ],
    )
    @pytest.mark.parametrize("X", [IMAGES, TABLE], ids=["pixels", "paths"])
    def test_parameters(self, parameters, message, X):
        for method in ("fit", "fit_resample"):
            with pytest.raises(ValueError, match=message):
                getattr(AugmentedOverSampler(**parameters), method)(X, LABELS)

    @pytest.mark.parametrize(
        ("X", "y", "message"),
        [
            (TABLE, None, "requires y to be passed, but the target y is None"),
            (TABLE, LABELS[:5], "X and y must have as many rows; X has 12, and y has 5"),
            (IMAGES, LABELS[:5], "X and y must have as many rows; X has 12, and y has 5"),
            (IMAGES, ["nv"] * 12, r"y holds one class only \('nv'\); there is no other class to balance it with"),
            (IMAGES, [*LABELS[:11], None], r"y must hold a label for every image; it is missing in rows \[11\]"),
            (IMAGES, np.linspace(0, 1, 12), "Unknown label type: continuous"),
            (IMAGES, np.eye(3)[np.arange(12) % 3], "y should be a 1d array"),
            (IMAGES[0], LABELS, r"A single image is passed as X\[np.newaxis\]"),
            (IMAGES - 300.0, LABELS, "before they were standardized"),
            (TABLE.drop(columns="image"), LABELS, "without a column 'image'"),
        ],
    )
    def test_input(self, X, y, message):
        for method in ("fit", "fit_resample"):
            with pytest.raises(ValueError, match=message):
                getattr(AugmentedOverSampler(), method)(X, y)

    def test_other_arguments(self):
        with pytest.raises(
            TypeError, match=r"fit_resample knows no \['groups'\]\. .*groups\[sampler.sample_indices_"
        ):
            AugmentedOverSampler().fit_resample(IMAGES, LABELS, groups=np.arange(12))


class TestConventions:
    def test_parameters_clone_pickle_and_text(self):
        sampler = AugmentedOverSampler(augmenter=LesionAugmenter(rotation=5), sampling_strategy=0.5)
        sampler.set_params(augmenter__hue=0)
        copy = clone(sampler)
        assert copy.augmenter is not sampler.augmenter
        assert copy.get_params()["augmenter__hue"] == 0
        assert repr(copy).startswith("AugmentedOverSampler(augmenter=LesionAugmenter(")
        fitted = resample()[2]
        restored = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(restored.sample_indices_, fitted.sample_indices_)
        np.testing.assert_array_equal(restored.fit_resample(IMAGES, LABELS)[0], resample()[0])

    def test_fit_counts_and_draws_nothing(self):
        sampler = AugmentedOverSampler().fit(TABLE, LABELS)
        assert sampler.sampling_strategy_ == {"df": 5, "mel": 4}
        assert not hasattr(sampler, "sample_indices_")

    def test_it_neither_transforms_nor_predicts(self):
        assert not any(hasattr(AugmentedOverSampler(), name) for name in ("transform", "fit_transform", "predict"))


@parametrize_with_checks([AugmentedOverSampler(random_state=0)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


class TestImbalancedLearn:
    CHECKS = (
        "check_target_type",
        "check_samplers_one_label",
        "check_samplers_fit",
        "check_samplers_fit_resample",
        "check_samplers_sampling_strategy_fit_resample",
        "check_samplers_pandas",
        "check_samplers_string",
        "check_samplers_list",
        "check_samplers_preserve_dtype",
        "check_samplers_2d_target",
        "check_param_validation",
        "check_dataframe_column_names_consistency",
    )
    """Without those for sparse rows, NaN and one-hot targets, which images lack, and for its own kind of tags."""

    @pytest.mark.parametrize("name", CHECKS)
    def test_its_checks(self, name):
        checks = pytest.importorskip("imblearn.utils.estimator_checks")
        getattr(checks, name)("AugmentedOverSampler", AugmentedOverSampler(random_state=0))

    def test_a_pipeline_resamples_in_fit_only(self, lesions):
        pipeline = pytest.importorskip("imblearn.pipeline")
        seen = []

        class Witness(LesionCNNClassifier):
            def fit(self, X, y, **params):
                seen.append(len(X))
                return super().fit(X, y, **params)

            def predict(self, X):
                seen.append(len(X))
                return super().predict(X)

        model = Witness(
            max_epochs=1,
            early_stopping=False,
            architecture_params={"width": 8, "depth": 1},
            class_weight=None,
            random_state=0,
        )
        steps = pipeline.make_pipeline(AugmentedOverSampler(random_state=0), model)
        steps.fit(lesions.images, lesions.target)
        assert len(steps.predict(lesions.images)) == len(lesions.images)
        most = pd.Series(lesions.target).value_counts()
        assert seen == [most.max() * len(most), len(lesions.images)]

    def test_in_a_cross_validation_of_files_no_lesion_is_on_both_sides_of_early_stopping(
        self, lesion_files, lesions
    ):
        pipeline = pytest.importorskip("imblearn.pipeline")
        steps = pipeline.Pipeline(
            [
                ("sampler", AugmentedOverSampler(random_state=0)),
                (
                    "model",
                    LesionCNNClassifier(
                        image_size=16,
                        max_epochs=1,
                        architecture_params={"width": 8, "depth": 1},
                        class_weight=None,
                        random_state=0,
                    ),
                ),
            ]
        )
        steps.fit(lesion_files, lesions.target)
        table = lesion_files.iloc[steps["sampler"].sample_indices_].reset_index(drop=True)
        stopped_on = table.index.isin(steps["model"].validation_indices_)
        assert 0 < stopped_on.sum() < len(table)
        assert not set(table["lesion_id"][stopped_on]) & set(table["lesion_id"][~stopped_on])
