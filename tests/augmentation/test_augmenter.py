"""`LesionAugmenter`: only training images change, each in its own way, and the same seed changes them alike."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags

from skinclf._random import torch_generator
from skinclf.augmentation import LesionAugmenter
from skinclf.preprocessing import ImageFlattener, ImageStandardizer

pytestmark = pytest.mark.usefixtures("no_global_randomness")

OFF = {
    "flip": False,
    "quarter_turns": False,
    "rotation": 0,
    "zoom": 0,
    "shift": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "hue": 0,
    "erasing": 0,
}
STRONG = {
    **LesionAugmenter().get_params(),
    "rotation": 180,
    "zoom": 1,
    "contrast": 1,
    "erasing": 1,
    "random_state": 0,
}
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)


def augmented(X, **parameters):
    return LesionAugmenter(**{"random_state": 0, **parameters}).fit_transform(X)


class TestForms:
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
    @pytest.mark.parametrize("shape", [(16, 16, 3), (16, 16, 1), (9, 20, 3)])
    def test_shape_dtype_and_range_stay(self, dtype, shape):
        generator = np.random.default_rng(0)
        X = generator.integers(0, 2, (30, *shape)) * (255 if dtype == np.uint8 else 1)
        result = augmented(X.astype(dtype), **STRONG)
        assert result.shape == X.shape
        assert result.dtype == dtype
        assert result.min() >= 0
        assert result.max() <= (255 if dtype == np.uint8 else 1)
        assert (result != X).any(axis=(1, 2, 3)).all()
        ImageStandardizer().fit(result)  # takes what comes out

    def test_uint8_and_floats_are_changed_alike(self):
        expected = augmented(IMAGES / 255, erasing=0.5) * 255
        np.testing.assert_allclose(augmented(IMAGES, erasing=0.5), expected, atol=0.51)
        np.testing.assert_allclose(
            augmented((IMAGES / 255).astype(np.float32), erasing=0.5) * 255, expected, atol=0.05
        )

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
    def test_rows_and_images_are_changed_alike(self, dtype):
        X = IMAGES.astype(dtype) if np.dtype(dtype).kind in "iu" else (IMAGES / 255).astype(dtype)
        rows = augmented(X.reshape(20, -1))
        assert rows.shape == (20, 768)
        np.testing.assert_array_equal(rows.reshape(IMAGES.shape), augmented(X))
        np.testing.assert_array_equal(augmented(pd.DataFrame(X.reshape(20, -1))), rows)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
    def test_with_everything_off_every_bit_stays(self, dtype):
        values = np.resize(np.arange(256), (3, 16, 17, 3))
        X = (
            values.astype(np.uint8)
            if dtype == np.uint8
            else np.random.default_rng(0).random(values.shape).astype(dtype)
        )
        np.testing.assert_array_equal(augmented(X, **OFF), X)

    @pytest.mark.parametrize("X", [np.linspace(-5, 900, 60).reshape(6, 10), IMAGES[:, :7], IMAGES[:, :, :1]])
    def test_strips_and_tiny_images_come_back_as_they_are(self, X):
        np.testing.assert_array_equal(augmented(X, **STRONG), X)

    def test_input_is_not_written_to(self, tmp_path):
        before = IMAGES.copy()
        expected = augmented(IMAGES, **STRONG)
        np.testing.assert_array_equal(IMAGES, before)
        for name, X in (("uint8", IMAGES), ("float", (IMAGES / 255).astype(np.float32))):
            np.save(tmp_path / f"{name}.npy", X)
            mapped = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
            np.testing.assert_array_equal(augmented(mapped, **STRONG), augmented(X, **STRONG))
        np.testing.assert_array_equal(augmented(np.asfortranarray(IMAGES), **STRONG), expected)


class TestTensors:
    """What `augment` and `apply` take and return, as the classifier uses them."""

    BATCH = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)

    def augment(self, images, **parameters):
        return LesionAugmenter(**{**STRONG, **parameters}).augment(images, torch_generator(7))

    def test_uint8_and_floats_give_the_same_bits(self):
        result = self.augment(self.BATCH)
        assert result.dtype == torch.float32
        assert torch.equal(result, self.augment(self.BATCH / 255))
        assert self.augment(self.BATCH.double() / 255).dtype == torch.float64

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_the_memory_format_stays_and_does_not_matter(self, layout):
        images = self.BATCH.contiguous(memory_format=layout)
        result = self.augment(images)
        assert result.is_contiguous(memory_format=layout)
        assert torch.equal(result, self.augment(self.BATCH))

    @pytest.mark.parametrize("at_once", [1, 16 * 16 * 3 * 3, 2**30])
    def test_how_many_are_worked_on_at_once_does_not_matter(self, at_once, monkeypatch):
        whole = self.augment(self.BATCH, erasing=0.5)
        monkeypatch.setattr("skinclf.augmentation._augmenter._VALUES_AT_ONCE", at_once)
        torch.testing.assert_close(self.augment(self.BATCH, erasing=0.5), whole, atol=1e-6, rtol=0)

    def test_a_batch_that_does_not_divide_into_parts_is_done_to_its_end(self, monkeypatch):
        monkeypatch.setattr("skinclf.augmentation._augmenter._VALUES_AT_ONCE", 16 * 16 * 3 * 3)
        flip = {**OFF, "quarter_turns": True}
        result = LesionAugmenter(**flip).augment(self.BATCH, torch_generator(0))
        pixels = (self.BATCH / 255).flatten(1).sort(dim=1).values
        assert torch.equal(result.flatten(1).sort(dim=1).values, pixels)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
    def test_a_draw_of_nothing_returns_every_bit(self, dtype):
        images = self.BATCH if dtype == torch.uint8 else self.BATCH / 255
        result = LesionAugmenter(**OFF).augment(images, torch_generator(0))
        assert torch.equal(result, self.BATCH / 255)

    @pytest.mark.parametrize("parameters", [OFF, STRONG, {**OFF, "erasing": 1}, {**OFF, "flip": True}])
    def test_the_batch_is_not_written_to_and_not_handed_back(self, parameters):
        images = (self.BATCH / 255).contiguous()
        before = images.clone()
        result = self.augment(images, **{**parameters, "random_state": None})
        result.zero_()
        assert torch.equal(images, before)

    def test_strips_and_batches_without_an_image(self):
        strip = torch.arange(10, dtype=torch.uint8).reshape(1, 1, 1, 10)
        assert torch.equal(self.augment(strip), strip / 255)
        assert self.augment(self.BATCH[:0]).shape == (0, 3, 16, 16)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("parameters", [STRONG, {**OFF, "flip": True, "quarter_turns": True}])
    def test_on_a_gpu_the_same_is_drawn_and_done(self, parameters):
        there = self.augment(self.BATCH.cuda(), **parameters)
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), self.augment(self.BATCH, **parameters), atol=1e-4, rtol=0)


class TestRandomness:
    def test_same_seed_same_images(self):
        np.testing.assert_array_equal(augmented(IMAGES), augmented(IMAGES))
        augmenter = LesionAugmenter(random_state=0)
        np.testing.assert_array_equal(augmenter.fit_transform(IMAGES), augmenter.fit_transform(IMAGES))
        assert (augmented(IMAGES, random_state=1) != augmented(IMAGES)).any()

    @pytest.mark.parametrize("state", [None, np.random.RandomState(0), np.random.default_rng(0)], ids=type)
    def test_other_states_are_drawn_from(self, state):
        augmenter = LesionAugmenter(random_state=state)
        assert (augmenter.fit_transform(IMAGES) != augmenter.fit_transform(IMAGES)).any()

    def test_every_image_is_changed_in_its_own_way(self):
        # 300 copies of one image: more than the 256 that are changed at once.
        result = augmented(np.repeat(IMAGES[:1], 300, axis=0))
        assert len({image.tobytes() for image in result}) == 300

    def test_the_values_of_an_image_do_not_touch_another(self):
        other = IMAGES.copy()
        other[7] = 255 - other[7]
        changed = (augmented(other) != augmented(IMAGES)).any(axis=(1, 2, 3))
        assert np.flatnonzero(changed).tolist() == [7]

    def test_the_strength_of_one_change_leaves_the_draws_of_the_others_alone(self):
        def draw(**parameters):
            return LesionAugmenter(**{**OFF, **parameters}).draw(50, (16, 16, 3), torch_generator(0))

        everything = draw(rotation=20, brightness=0.3, erasing=0.5, contrast=0.2)
        assert torch.equal(everything.affine, draw(rotation=20).affine)
        assert torch.equal(everything.color.brightness, draw(brightness=0.3).color.brightness)
        assert torch.equal(everything.color.contrast, draw(contrast=0.2).color.contrast)
        assert torch.equal(everything.boxes, draw(erasing=0.5).boxes)

    def test_apply_is_a_pure_function_of_images_and_draw(self):
        augmenter = LesionAugmenter(**STRONG)
        images = torch.from_numpy(IMAGES.astype(np.float32) / 255).permute(0, 3, 1, 2)
        before = images.clone()
        drawn = augmenter.draw(20, (16, 16, 3), torch_generator(3))
        first = augmenter.apply(images, drawn)
        assert torch.equal(first, LesionAugmenter.apply(images, drawn))
        assert torch.equal(first, augmenter.augment(images, torch_generator(3)))
        assert torch.equal(images, before)
        half = type(drawn)(
            drawn.affine[:9], type(drawn.color)(*(part[:9] for part in drawn.color)), drawn.boxes[:9]
        )
        torch.testing.assert_close(augmenter.apply(images[:9], half), first[:9], atol=1e-6, rtol=0)

    def test_turns_of_images_that_are_not_square_keep_their_shape(self):
        drawn = LesionAugmenter(**{**OFF, "quarter_turns": True}).draw(100, (16, 20, 3), torch_generator(0))
        assert set(drawn.affine[:, 0, 0].tolist()) == {1.0, -1.0}
        assert (drawn.affine[:, 0, 1] == 0).all()

    def test_the_tag_says_when_results_cannot_be_repeated(self):
        assert get_tags(LesionAugmenter()).non_deterministic
        assert not get_tags(LesionAugmenter(random_state=0)).non_deterministic


class Witness(KNeighborsClassifier):
    """A classifier that keeps what it was trained on and what it was asked."""

    def fit(self, X, y):
        self.trained_on = X
        return super().fit(X, y)

    def predict(self, X):
        self.asked = X
        return super().predict(X)


class TestTrainingOnly:
    def test_transform_returns_the_images_as_they_are(self):
        augmenter = LesionAugmenter(**STRONG).fit(IMAGES)
        for X in (IMAGES, (IMAGES / 255).astype(np.float32), IMAGES[:, :9]):
            np.testing.assert_array_equal(augmenter.transform(X), X)
        rows = IMAGES.reshape(20, -1)
        np.testing.assert_array_equal(augmenter.transform(rows), rows)
        augmenter.fit_transform(IMAGES)
        np.testing.assert_array_equal(augmenter.transform(IMAGES), IMAGES)

    def test_in_a_pipeline_only_training_images_change(self):
        pipeline = make_pipeline(LesionAugmenter(random_state=0), ImageFlattener(), Witness(1))
        pipeline.fit(IMAGES, np.arange(20))
        flat = (IMAGES / np.float32(255)).reshape(20, -1)
        np.testing.assert_allclose(
            pipeline[-1].trained_on.reshape(IMAGES.shape), augmented(IMAGES) / 255, atol=1e-6
        )
        assert (pipeline[-1].trained_on != flat).any(axis=1).all()
        pipeline.predict(IMAGES)
        np.testing.assert_allclose(pipeline[-1].asked, flat, atol=1e-6)


class TestMessages:
    @pytest.mark.parametrize(
        ("name", "value", "interval"),
        [
            ("flip", "yes", "a bool|'bool'"),
            ("quarter_turns", 2, "a bool|'bool'"),
            ("rotation", 181, r"\[0.0, 180.0\]|\[0, 180\]"),
            ("rotation", -1, r"\[0"),
            ("zoom", 4.1, r"\[0"),
            ("shift", 0.6, r"\[0.0, 0.5\]|\[0, 0.5\]"),
            ("brightness", -0.1, r"\[0"),
            ("contrast", float("nan"), r"\[0"),
            ("saturation", 5, r"\[0"),
            ("hue", 0.6, r"\[0"),
            ("erasing", 1.5, r"\[0"),
            ("erasing", None, r"\[0"),
            ("random_state", -1, "random_state|Generator"),
        ],
    )
    def test_parameters_out_of_range(self, name, value, interval):
        augmenter = LesionAugmenter(**{name: value})
        for method in (augmenter.fit, augmenter.fit_transform, lambda X: augmenter.check_parameters()):
            with pytest.raises(ValueError, match=f"The {name!r} parameter of LesionAugmenter must be") as caught:
                method(IMAGES)
            assert f"Got {value!r} instead" in str(caught.value)

    @pytest.mark.parametrize("name", [name for name in OFF if name not in ("flip", "quarter_turns")])
    def test_the_ends_of_the_ranges_are_inside(self, name):
        constraint = LesionAugmenter._parameter_constraints[name][0]
        for value in (constraint.left, constraint.right):
            assert augmented(IMAGES, **{name: value}).shape == IMAGES.shape

    def test_values_that_would_be_clipped_are_refused(self):
        standardized = ImageStandardizer().fit_transform(IMAGES)
        for X in (standardized, standardized.reshape(20, -1)):
            with pytest.raises(ValueError, match="Pass them as they were before they were standardized"):
                augmented(X)
        with pytest.raises(ValueError, match="Float images must have values in 0-1"):
            LesionAugmenter().fit(standardized)
        with pytest.raises(ValueError, match=r'row 0 of X has 2\d\d\.0\. Pass X\.astype\("uint8"\)'):
            augmented(IMAGES.reshape(20, -1).astype(float))

    def test_other_messages(self):
        with pytest.raises(NotFittedError, match="LesionAugmenter instance is not fitted yet"):
            LesionAugmenter().transform(IMAGES)
        with pytest.raises(TypeError, match=r"LesionAugmenter.fit_transform knows no \['groups', 'weight'\]"):
            LesionAugmenter().fit_transform(IMAGES, weight=1, groups=2)
        with pytest.raises(ValueError, match="LesionAugmenter works on pixels, and X holds paths"):
            LesionAugmenter().fit_transform(["a.jpg"])
        with pytest.raises(
            ValueError, match=r"was fitted on images of shape \(16, 16, 3\); X has images of shape"
        ):
            LesionAugmenter().fit(IMAGES).transform(IMAGES[..., :1])


def test_parameters_can_be_searched_and_cloned():
    pipeline = Pipeline(
        [("augmenter", LesionAugmenter()), ("flat", ImageFlattener()), ("model", LogisticRegression())]
    )
    pipeline.set_params(augmenter__rotation=45, augmenter__erasing=0.5)
    copy = clone(pipeline)
    assert copy["augmenter"].get_params() == {**LesionAugmenter().get_params(), "rotation": 45, "erasing": 0.5}
    assert copy["augmenter"] is not pipeline["augmenter"]
    restored = pickle.loads(pickle.dumps(LesionAugmenter(**STRONG).fit(IMAGES)))
    np.testing.assert_array_equal(restored.fit_transform(IMAGES), augmented(IMAGES, **STRONG))


def test_the_documented_defaults_are_the_real_ones():
    parameters = {**LesionAugmenter().get_params()}
    documented = LesionAugmenter.__doc__
    for name, value in parameters.items():
        assert f"default={value}" in documented.split(f"    {name} : ")[1].splitlines()[0]
