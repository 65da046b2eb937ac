"""Geometry, checked against permutations of pixels, discs and dots whose place is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from skinclf._random import torch_generator
from skinclf.augmentation._geometry import GeometryRanges, apply_affine, draw_affine

STILL = GeometryRanges(flip=False, quarter_turns=False, rotation=0, zoom=0, shift=0)


def draw(n_images=400, *, square=True, seed=0, **ranges):
    return draw_affine(n_images, STILL._replace(**ranges), square=square, generator=torch_generator(seed))


def noise(n_images, height, width, channels=3):
    return torch.rand((n_images, channels, height, width), generator=torch_generator(1))


def turn(degrees, zoom=1.0, shift=(0.0, 0.0)):
    """Return the map of a picture that is turned clockwise (on a screen), magnified, and moved right and down."""
    c, s = math.cos(math.radians(degrees)) / zoom, math.sin(math.radians(degrees)) / zoom
    return torch.tensor([[[c, s, -shift[0]], [-s, c, -shift[1]]]])


def symmetries(image):
    return [torch.rot90(side, k, (1, 2)) for side in (image, image.flip(2)) for k in range(4)]


def nearest(result, candidates):
    """Return which candidate each image is, and how far from it the worst pixel is."""
    far = torch.stack([(result - candidate).abs().flatten(1).amax(1) for candidate in candidates], dim=1)
    return far.argmin(1), float(far.min(1).values.max())


def disc(height, width, x, y, radius):
    """Draw a disc with a soft edge; the place is measured in pixels from the upper left corner."""
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None, :] + 0.5
    distance = torch.hypot(columns - x, rows - y)
    return (radius - distance + 0.5).clamp(0, 1)[None, None]


def centre_of_mass(image):
    """Return x and y in pixels."""
    weight = image.sum(dim=(0, 1))
    rows, columns = torch.arange(weight.shape[0]) + 0.5, torch.arange(weight.shape[1]) + 0.5
    return float((weight.sum(0) * columns).sum() / weight.sum()), float(
        (weight.sum(1) * rows).sum() / weight.sum()
    )


class TestIdentity:
    @pytest.mark.parametrize("square", [True, False])
    def test_nothing_drawn_is_the_identity_exactly(self, square):
        assert torch.equal(draw(square=square), torch.eye(2, 3).expand(400, 2, 3))

    @pytest.mark.parametrize("shape", [(16, 16), (9, 31)])
    def test_the_identity_returns_the_same_bits(self, shape):
        images = noise(4, *shape)
        assert apply_affine(images, draw(4)) is images
        mixed = torch.cat([torch.eye(2, 3)[None], turn(30), torch.eye(2, 3)[None], turn(0, zoom=1.1)])
        result = apply_affine(images, mixed)
        assert torch.equal(result[[0, 2]], images[[0, 2]])
        assert not torch.equal(result[1], images[1])
        assert not torch.equal(result[3], images[3])


class TestSymmetries:
    @pytest.mark.parametrize("side", [8, 15, 64])
    def test_flips_and_quarter_turns_are_the_eight_symmetries_and_all_occur_alike_often(self, side):
        image = noise(1, side, side)
        which, worst = nearest(
            apply_affine(image.expand(400, -1, -1, -1), draw(flip=True, quarter_turns=True)), symmetries(image[0])
        )
        assert worst == 0
        # 400 draws in 8 kinds: 50 of each, with a standard deviation of 6.6.
        counts = np.bincount(which, minlength=8)
        assert 25 < counts.min() <= counts.max() < 75

    def test_quarter_turns_alone_mirror_nothing(self):
        image = noise(1, 16, 16)
        which, worst = nearest(
            apply_affine(image.expand(400, -1, -1, -1), draw(quarter_turns=True)), symmetries(image[0])
        )
        assert worst == 0
        assert set(which.tolist()) == {0, 1, 2, 3}

    def test_flip_alone_mirrors_half_of_the_images_from_left_to_right(self):
        image = noise(1, 16, 16)
        which, worst = nearest(
            apply_affine(image.expand(400, -1, -1, -1), draw(flip=True)), [image[0], image[0].flip(2)]
        )
        assert worst == 0
        assert 150 < int(which.sum()) < 250

    @pytest.mark.parametrize("shape", [(10, 16), (33, 12)])
    def test_images_that_are_not_square_are_turned_by_half_or_not_at_all(self, shape):
        image = noise(1, *shape)
        result = apply_affine(image.expand(400, -1, -1, -1), draw(square=False, flip=True, quarter_turns=True))
        mirrored = image[0].flip(2)
        which, worst = nearest(result, [image[0], image[0].flip(1, 2), mirrored, mirrored.flip(1, 2)])
        assert worst == 0
        assert np.bincount(which, minlength=4).min() > 60

    @pytest.mark.parametrize("k", range(4))
    @pytest.mark.parametrize("mirrored", [False, True])
    def test_hand_made_symmetries_keep_every_bit_and_agree_with_resampling(self, k, mirrored):
        image = noise(1, 20, 20)
        quarter = turn(90 * k).round()
        quarter[:, :, 0] *= -1 if mirrored else 1
        result = apply_affine(image, quarter)
        turned = torch.rot90(image, -k, (2, 3))
        assert torch.equal(result, turned.flip(3) if mirrored else turned)
        # A map that is a hair away goes through the interpolation, and comes to the same pixels.
        beside = quarter + torch.tensor([[[0, 0, 1e-6], [0, 0, 0]]])
        assert not torch.equal(apply_affine(image, beside), result)
        torch.testing.assert_close(apply_affine(image, beside), result, atol=1e-4, rtol=0)

    def test_symmetries_and_other_maps_of_one_batch_do_not_mix(self):
        images = noise(40, 16, 16)
        maps = draw(40, flip=True, quarter_turns=True)
        maps[::3] = draw(14, rotation=20, shift=0.1, seed=5)
        together = apply_affine(images, maps)
        alone = torch.cat([apply_affine(images[i : i + 1], maps[i : i + 1]) for i in range(40)])
        assert torch.equal(together, alone)


class TestHandMadeMaps:
    @pytest.mark.parametrize(("degrees", "k"), [(90, -1), (180, 2), (-90, 1), (270, 1)])
    def test_a_rotation_by_ninety_degrees_is_a_quarter_turn(self, degrees, k):
        image = noise(1, 20, 20)
        torch.testing.assert_close(
            apply_affine(image, turn(degrees)), torch.rot90(image, k, (2, 3)), atol=1e-5, rtol=0
        )

    @pytest.mark.parametrize("shape", [(20, 20), (20, 32), (32, 20)])
    def test_a_shift_moves_by_whole_pixels_and_fills_with_the_reflection(self, shape):
        image = noise(1, *shape)
        pixel = 2 / min(shape)
        right = apply_affine(image, turn(0, shift=(3 * pixel, 0)))
        torch.testing.assert_close(right[..., 3:], image[..., :-3], atol=2e-5, rtol=0)
        torch.testing.assert_close(right[..., :3], image[..., :3].flip(3), atol=2e-5, rtol=0)
        up = apply_affine(image, turn(0, shift=(0, -2 * pixel)))
        torch.testing.assert_close(up[:, :, :-2], image[:, :, 2:], atol=2e-5, rtol=0)
        torch.testing.assert_close(up[:, :, -2:], image[:, :, -2:].flip(2), atol=2e-5, rtol=0)

    @pytest.mark.parametrize("zoom", [0.8, 1.25, 2.0])
    def test_zoom_multiplies_lengths(self, zoom):
        result = apply_affine(disc(80, 120, 60, 40, 12), turn(0, zoom=zoom))
        assert float(result.sum()) == pytest.approx(math.pi * (12 * zoom) ** 2, rel=0.02)
        moved = apply_affine(disc(80, 120, 66, 37, 5), turn(0, zoom=zoom))
        assert centre_of_mass(moved) == pytest.approx((60 + 6 * zoom, 40 - 3 * zoom), abs=0.05)

    @pytest.mark.parametrize("shape", [(32, 64), (64, 32), (48, 48)])
    def test_a_circle_stays_a_circle(self, shape):
        height, width = shape
        circle = disc(height, width, width / 2, height / 2, 10)
        inner = disc(height, width, width / 2, height / 2, 15)  # no reflection of the border comes in there
        for degrees in (30, 45, 77):
            difference = (apply_affine(circle, turn(degrees)) - circle).abs() * inner
            # The soft edge is blurred a little; a sheared disc would differ by 1 where the edge was.
            assert float(difference.max()) < 0.25
            assert float(difference.mean()) < 0.01

    def test_a_dot_goes_round_on_a_circle_of_pixels(self):
        # 10 pixels to the right of the middle of a 2:1 image; clockwise is downwards on a screen.
        # Within 18 pixels of it no reflection of the border comes in.
        dot, inner = disc(40, 80, 50, 20, 3), disc(40, 80, 40, 20, 18)
        for degrees in (30, 90, -60, 180):
            angle = math.radians(degrees)
            expected = (40 + 10 * math.cos(angle), 20 + 10 * math.sin(angle))
            assert centre_of_mass(apply_affine(dot, turn(degrees)) * inner) == pytest.approx(expected, abs=0.05)

    @pytest.mark.parametrize("shape", [(16, 16), (24, 11), (9, 40)])
    @pytest.mark.parametrize(
        "ranges", [{"rotation": 30, "shift": 0.1}, {"rotation": 180, "zoom": 4, "shift": 0.5}]
    )
    def test_the_resampling_is_torchs_own_with_its_own_reflection(self, shape, ranges):
        images, maps = noise(30, *shape).double(), draw(30, square=False, **ranges)
        height, width = shape
        scale = torch.diag(torch.tensor([width, height]).double() / min(shape))
        theta = torch.linalg.inv(scale) @ maps.double()
        theta[:, :, :2] = theta[:, :, :2] @ scale
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        expected = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        torch.testing.assert_close(apply_affine(images, maps), expected, atol=1e-6, rtol=0)

    def test_far_places_of_one_image_do_not_change_the_bits_of_another(self):
        images = noise(2, 16, 16)
        near, far = turn(10), turn(10, zoom=0.1, shift=(0.9, 0))
        alone = apply_affine(images[:1], near)
        assert torch.equal(apply_affine(images, torch.cat([near, far]))[:1], alone)

    def test_double_precision_stays_double(self):
        assert apply_affine(noise(1, 16, 16).double(), turn(30)).dtype == torch.float64

    @pytest.mark.parametrize("shape", [(32, 32), (45, 64), (100, 77)])
    def test_interpolation_never_leaves_the_range(self, shape):
        images = (noise(64, *shape) > 0.3).float()
        result = apply_affine(images, draw(64, square=False, rotation=180, zoom=0.3, shift=0.3))
        assert float(result.min()) >= 0
        assert float(result.max()) <= 1
        white = apply_affine(torch.ones(64, 3, *shape), draw(64, square=False, rotation=180, zoom=0.3, shift=0.3))
        assert float(white.min()) > 1 - 1e-6
        assert float(white.max()) <= 1


class TestDraws:
    def test_rotation_is_uniform_in_both_directions(self):
        maps = draw(2000, rotation=20)
        angles = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 0, 0])).numpy()
        assert np.abs(angles).max() <= 20
        assert np.abs(angles).max() > 19.5
        assert angles.mean() == pytest.approx(0, abs=1)
        assert angles.std() == pytest.approx(20 / math.sqrt(3), rel=0.05)
        torch.testing.assert_close(torch.det(maps[:, :, :2]), torch.ones(2000))

    def test_zoom_magnifies_as_often_as_it_shrinks(self):
        maps = draw(2000, zoom=0.25)
        factors = 1 / maps[:, 0, 0].numpy()
        assert factors.min() >= 1 / 1.25 - 1e-6
        assert factors.max() <= 1.25 + 1e-6
        assert factors.min() < 0.81
        assert factors.max() > 1.24
        assert np.mean(factors > 1) == pytest.approx(0.5, abs=0.04)
        assert (maps[:, 0, 0] == maps[:, 1, 1]).all()
        assert (maps[:, 0, 1] == 0).all()

    def test_shift_is_a_share_of_the_shorter_side(self):
        maps = draw(2000, shift=0.1)
        pixels = maps[:, :, 2].numpy() * 40 / 2  # of an image whose shorter side has 40 pixels
        assert np.abs(pixels).max() <= 4
        assert np.abs(pixels).max(axis=0) == pytest.approx([4, 4], abs=0.05)
        assert pixels.mean(axis=0) == pytest.approx([0, 0], abs=0.25)
        assert abs(np.corrcoef(pixels.T)[0, 1]) < 0.08
        dots = apply_affine(disc(40, 60, 30, 20, 3).expand(50, 1, 40, 60), maps[:50])
        for dot, (x, y) in zip(dots, pixels, strict=False):
            assert centre_of_mass(dot[None]) == pytest.approx((30 - x, 20 - y), abs=0.05)

    @pytest.mark.parametrize("square", [True, False])
    def test_every_image_takes_the_same_number_of_draws(self, square):
        states = []
        for ranges in (STILL, GeometryRanges(True, True, 90, 1, 0.5)):
            generator = torch_generator(0)
            draw_affine(7, ranges, square=square, generator=generator)
            states.append(generator.get_state())
        assert torch.equal(*states)

    def test_one_parameter_does_not_change_the_draws_of_another(self):
        def angle(maps):
            return torch.atan2(maps[:, 1, 0], maps[:, 0, 0])

        alone = draw(rotation=20)
        torch.testing.assert_close(angle(draw(rotation=20, zoom=0.5, shift=0.4)), angle(alone))
        torch.testing.assert_close(angle(draw(rotation=10)), angle(alone) / 2, atol=1e-6, rtol=1e-5)
        assert torch.equal(draw(rotation=20, shift=0.1, flip=True)[:, :, 2], draw(shift=0.1)[:, :, 2])

    def test_images_of_a_batch_differ(self):
        maps = draw(200, rotation=20, zoom=0.2, shift=0.05)
        assert len({tuple(row.tolist()) for row in maps.flatten(1)}) == 200
