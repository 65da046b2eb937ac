"""Mixup and CutMix: values by hand, targets that are shares of the image, weights that stay with their image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.nn.functional import cross_entropy

from skinclf import LesionCNNClassifier
from skinclf._random import torch_generator
from skinclf.augmentation import BatchMixer
from skinclf.augmentation._mixing import MixDraw, mix_images, mix_targets
from skinclf.models import WeightedCrossEntropy

pytestmark = pytest.mark.usefixtures("no_global_randomness")

SHAPE = (20, 30, 3)
ROUND = torch.tensor([1, 2, 0])  # each image is mixed with the next one


def noise(n_images, height=20, width=30, channels=3):
    return torch.rand((n_images, channels, height, width), generator=torch_generator(1))


def draws(n_draws=400, n_images=8, shape=SHAPE, seed=0, **strengths):
    generator = torch_generator(seed)
    return [BatchMixer(**strengths).draw(n_images, shape, generator) for _ in range(n_draws)]


class TestByHand:
    def test_mixup_of_three_images(self):
        images = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(3, 1, 2, 2)
        draw = MixDraw(ROUND, 0.75, None)
        mixed = mix_images(images, draw)
        # 0.75 * 0 + 0.25 * 0.5; 0.75 * 0.5 + 0.25 * 1; 0.75 * 1 + 0.25 * 0
        assert mixed[:, 0, 0, 0].tolist() == [0.125, 0.625, 0.75]
        targets, weight = mix_targets(torch.tensor([0, 1, 1]), None, draw, n_classes=2)
        assert targets.tolist() == [[0.75, 0.25], [0, 1], [0.25, 0.75]]
        assert weight is None

    def test_cutmix_of_three_images(self):
        images = torch.arange(3.0)[:, None, None, None].expand(3, 1, 4, 5)
        draw = MixDraw(ROUND, 1 - 6 / 20, (1, 0, 4, 2))
        mixed = mix_images(images, draw)
        expected = torch.zeros(4, 5)
        expected[0:2, 1:4] = 1
        assert torch.equal(mixed[0, 0], expected)
        assert torch.equal(mixed[2, 0], 2 - 2 * expected)
        targets, _ = mix_targets(torch.tensor([0, 1, 2]), None, draw, n_classes=4)
        torch.testing.assert_close(targets[1], torch.tensor([0, 0.7, 0.3, 0]))

    def test_weights_stay_with_the_image_that_they_came_from(self):
        draw = MixDraw(ROUND, 0.75, None)
        targets, weight = mix_targets(torch.tensor([0, 1, 1]), torch.tensor([1.0, 5.0, 0.0]), draw, n_classes=2)
        # 0.75 * 1 + 0.25 * 5 = 2, of which 1.25 are for class 1; 0.75 * 5 + 0.25 * 0; 0.25 * 1 alone
        assert weight.tolist() == [2.0, 3.75, 0.25]
        torch.testing.assert_close(targets, torch.tensor([[0.375, 0.625], [0, 1], [1, 0]]))

    def test_two_images_without_weight_have_a_target_all_the_same(self):
        draw = MixDraw(torch.tensor([1, 0]), 0.75, None)
        targets, weight = mix_targets(torch.tensor([0, 1]), torch.zeros(2), draw, n_classes=2)
        assert weight.tolist() == [0, 0]
        assert torch.isfinite(targets).all()
        assert targets.sum(dim=1).tolist() == [1, 1]

    def test_a_box_has_the_proportions_of_the_image_and_the_share_of_its_area(self):
        inside = [d for d in draws(3000, shape=(200, 300, 3), cutmix=1) if d.box is not None]
        boxes = np.array([d.box for d in inside])
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        assert (boxes.min(axis=0) >= 0).all()
        assert boxes[:, 2].max() <= 300
        assert boxes[:, 3].max() <= 200
        uncut = (boxes[:, 0] > 0) & (boxes[:, 1] > 0) & (boxes[:, 2] < 300) & (boxes[:, 3] < 200)
        assert uncut.sum() > 300
        np.testing.assert_allclose(width[uncut] / 300, height[uncut] / 200, atol=0.008)
        np.testing.assert_allclose([d.share for d in inside], 1 - width * height / 60000)


class TestShares:
    @pytest.mark.parametrize("alpha", [0.2, 1, 4])
    def test_the_share_of_mixup_has_the_beta_distribution(self, alpha):
        shares = np.array([d.share for d in draws(3000, mixup=alpha)])
        assert shares.mean() == pytest.approx(0.5, abs=0.03)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)

    def test_targets_are_the_share_of_the_area_that_is_left(self):
        # Image i is filled with i, so that what is left of it can be counted.
        images = torch.arange(8.0)[:, None, None, None].expand(8, 1, 20, 30)
        for draw in draws(200, cutmix=1):
            mixed = mix_images(images, draw)
            targets, _ = mix_targets(torch.arange(8), None, draw, n_classes=8)
            area = torch.stack([(mixed == i).float().mean(dim=(1, 2, 3)) for i in range(8)], dim=1)
            torch.testing.assert_close(targets, area)

    def test_targets_are_the_expectation_of_the_mixed_image(self):
        images = torch.arange(8.0)[:, None, None, None].expand(8, 1, 4, 4)
        for draw in draws(100, mixup=0.5):
            targets, _ = mix_targets(torch.arange(8), None, draw, n_classes=8)
            torch.testing.assert_close(targets @ torch.arange(8.0), mix_images(images, draw)[:, 0, 0, 0])

    def test_over_many_batches_an_image_keeps_on_average_the_mean_share(self):
        drawn = draws(500, cutmix=1)
        targets = torch.stack([mix_targets(torch.arange(8), None, d, n_classes=8)[0] for d in drawn])
        share = np.mean([d.share for d in drawn])
        # Every eighth partner is the image itself.
        assert float(targets.diagonal(dim1=1, dim2=2).mean()) == pytest.approx(share + (1 - share) / 8, abs=0.02)

    def test_where_both_are_on_each_gets_half_of_the_batches(self):
        drawn = draws(400, mixup=0.2, cutmix=1)
        assert 160 < sum(d.box is None for d in drawn) < 240
        assert all(d.box is None for d in draws(100, mixup=0.2))
        assert all(d.box is not None for d in draws(100, cutmix=1))


class TestWeights:
    @pytest.mark.parametrize("strengths", [{"mixup": 0.7}, {"cutmix": 1}])
    def test_the_weights_of_a_batch_keep_their_sum(self, strengths):
        weight = torch.rand(8, generator=torch_generator(2))
        for draw in draws(50, **strengths):
            _, mixed = mix_targets(torch.arange(8), weight, draw, n_classes=8)
            torch.testing.assert_close(mixed.sum(), weight.sum())

    @pytest.mark.parametrize("smoothing", [0, 0.1])
    def test_the_loss_is_the_weighted_sum_of_the_losses_with_both_targets(self, smoothing):
        generator = torch_generator(3)
        logits = torch.randn((8, 5), generator=generator)
        labels = torch.randint(0, 5, (8,), generator=generator)
        weight = torch.rand(8, generator=generator)
        for draw in draws(20, mixup=1):
            targets, mixed_weight = mix_targets(labels, weight, draw, n_classes=5)
            loss = WeightedCrossEntropy(label_smoothing=smoothing)((logits, mixed_weight), targets)
            own, others = (
                cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)
                for y in (labels, labels[draw.partner])
            )
            expected = draw.share * weight * own + (1 - draw.share) * weight[draw.partner] * others
            torch.testing.assert_close(loss, expected.mean())

    def test_distributions_are_mixed_as_their_classes_are(self):
        labels, weight = torch.tensor([2, 0, 1]), torch.tensor([1.0, 2.0, 3.0])
        draw = MixDraw(ROUND, 0.4, None)
        from_numbers = mix_targets(labels, weight, draw, n_classes=3)
        from_rows = mix_targets(torch.eye(3)[labels], weight, draw, n_classes=3)
        assert torch.equal(from_numbers[0], from_rows[0])
        assert torch.equal(from_numbers[1], from_rows[1])


class TestIdentity:
    @pytest.mark.parametrize("box", [None, (3, 3, 3, 9)])
    def test_a_share_of_one_changes_no_bit(self, box):
        images, weight = noise(3), torch.tensor([0.3, 1.7, 0.1])
        draw = MixDraw(ROUND, 1.0, box)
        assert torch.equal(mix_images(images, draw), images)
        targets, mixed_weight = mix_targets(torch.tensor([2, 0, 1]), weight, draw, n_classes=3)
        assert torch.equal(targets, torch.eye(3)[[2, 0, 1]])
        assert torch.equal(mixed_weight, weight)

    def test_off_means_off(self):
        images, labels, weight = noise(6), torch.arange(6), torch.rand(6, generator=torch_generator(0))
        mixed, targets, mixed_weight = BatchMixer().mix(
            images, labels, weight, n_classes=6, generator=torch_generator(0)
        )
        assert torch.equal(mixed, images)
        assert torch.equal(targets, torch.eye(6))
        assert torch.equal(mixed_weight, weight)

    def test_a_share_of_nothing_is_the_partner(self):
        images = noise(3)
        assert torch.equal(mix_images(images, MixDraw(ROUND, 0.0, None)), images[ROUND])
        assert torch.equal(mix_images(images, MixDraw(ROUND, 0.0, (0, 0, 30, 20))), images[ROUND])

    @pytest.mark.parametrize("strengths", [{"mixup": 1}, {"cutmix": 1}])
    def test_images_are_mixed_with_images_of_their_batch_and_not_written_to(self, strengths):
        images = noise(8)
        before = images.clone()
        for draw in draws(20, **strengths):
            assert sorted(draw.partner.tolist()) == list(range(8))
            mixed = mix_images(images, draw)
            assert 0 <= float(mixed.min()) <= float(mixed.max()) <= 1
        assert torch.equal(images, before)


class TestForms:
    @pytest.mark.parametrize("draw", [MixDraw(ROUND, 0.6, None), MixDraw(ROUND, 0.9, (2, 2, 8, 12))])
    def test_bytes_become_shares(self, draw):
        images = (noise(3) * 255).to(torch.uint8)
        mixed = mix_images(images, draw)
        assert mixed.dtype == torch.float32
        assert torch.equal(mixed, mix_images(images / 255, draw))

    def test_any_scale_and_precision(self):
        images = noise(3).double() * 40 - 20
        mixed = mix_images(images, MixDraw(ROUND, 0.6, None))
        assert mixed.dtype == torch.float64
        torch.testing.assert_close(mixed, 0.6 * images + 0.4 * images[ROUND])

    def test_strips_and_single_images(self):
        mixer, generator = BatchMixer(mixup=0.5, cutmix=1), torch_generator(0)
        for shape in ((5, 1, 1, 10), (1, 3, 16, 16)):
            for _ in range(20):
                images = torch.ones(shape)
                mixed, targets, _ = mixer.mix(
                    images, torch.zeros(shape[0], dtype=torch.long), n_classes=2, generator=generator
                )
                torch.testing.assert_close(mixed, images)
                torch.testing.assert_close(targets, torch.tensor([[1.0, 0]]).expand(shape[0], 2))


class TestRandomness:
    def test_the_generator_repeats_everything(self):
        images, labels = noise(8), torch.arange(8)
        mixer = BatchMixer(mixup=0.4, cutmix=1)

        def batches(seed):
            generator = torch_generator(seed)
            return [mixer.mix(images, labels, n_classes=8, generator=generator)[:2] for _ in range(6)]

        first, again, other = batches(0), batches(0), batches(1)
        for (x, y), (x_again, y_again) in zip(first, again, strict=True):
            assert torch.equal(x, x_again)
            assert torch.equal(y, y_again)
        assert not any(torch.equal(x, x_other) for (x, _), (x_other, _) in zip(first, other, strict=True))
        assert not torch.equal(first[0][0], first[1][0])

    def test_every_batch_takes_one_draw_whatever_is_drawn(self):
        states = []
        for mixer, n_images in [(BatchMixer(), 2), (BatchMixer(mixup=0.1), 64), (BatchMixer(cutmix=3), 9)]:
            generator = torch_generator(0)
            mixer.draw(n_images, SHAPE, generator)
            states.append(generator.get_state())
        assert torch.equal(states[0], states[1])
        assert torch.equal(states[0], states[2])

    def test_the_strength_leaves_the_partners_alone(self):
        weak, strong = draws(20, mixup=0.1), draws(20, mixup=2)
        assert all(torch.equal(a.partner, b.partner) for a, b in zip(weak, strong, strict=True))
        assert len({tuple(d.partner.tolist()) for d in weak}) > 15


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, "1", None, True])
def test_what_is_no_parameter_of_a_beta_distribution_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} of BatchMixer must be a number of 0 .off. or more") as caught:
        BatchMixer(**{name: value})
    assert f"got {value!r}." in str(caught.value)


def test_it_is_a_value():
    assert BatchMixer(mixup=0.2) == BatchMixer(0.2, 0.0)
    assert repr(BatchMixer(cutmix=1)) == "BatchMixer(mixup=0.0, cutmix=1)"


def test_parameters_are_read_set_cloned_and_searched_as_scikit_learn_does_it():
    mixer = BatchMixer(mixup=0.2)
    assert mixer.get_params() == mixer.get_params(deep=False) == {"mixup": 0.2, "cutmix": 0.0}
    assert mixer.set_params(cutmix=1) is mixer
    assert mixer == BatchMixer(0.2, 1)
    copy = clone(mixer)
    assert copy == mixer
    assert copy is not mixer
    classifier = LesionCNNClassifier(mixer=mixer).set_params(mixer__mixup=0.7)
    assert clone(classifier).get_params()["mixer__mixup"] == 0.7


def test_wrong_parameters_are_refused_when_they_are_set_and_change_nothing():
    mixer = BatchMixer(mixup=0.2)
    with pytest.raises(ValueError, match=r"BatchMixer has no parameters \['cutout'\]; it has mixup and cutmix\."):
        mixer.set_params(mixup=1, cutout=1)
    with pytest.raises(ValueError, match="cutmix of BatchMixer must be a number of 0"):
        mixer.set_params(mixup=1, cutmix=-1)
    assert mixer == BatchMixer(mixup=0.2)
