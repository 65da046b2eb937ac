"""Colour, checked on colours whose luma, hue and chroma are known (NTSC: 0.299 R + 0.587 G + 0.114 B)."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch

from skinclf._random import torch_generator
from skinclf.augmentation._color import ColorDraw, ColorRanges, apply_color, draw_color

STILL = ColorRanges(brightness=0, contrast=0, saturation=0, hue=0)
LUMA = torch.tensor([0.299, 0.587, 0.114])


def draw(n_images=300, seed=0, **ranges):
    return draw_color(n_images, STILL._replace(**ranges), generator=torch_generator(seed))


def colors(n_images, n_colors=12, low=0.3, high=0.7, seed=1):
    """Images of random colours that are far enough from black and white that nothing is clipped."""
    values = torch.rand((n_images, 3, 3, n_colors // 3), generator=torch_generator(seed))
    return low + (high - low) * values


def luma(images):
    return torch.einsum("nchw,c->nhw", images, LUMA)


def chroma(images):
    """Return I and Q as one complex number: its angle is the hue, its modulus the chroma (Python's colorsys)."""
    flat = images.movedim(1, -1).reshape(-1, 3).tolist()
    return torch.tensor([complex(*colorsys.rgb_to_yiq(*color)[1:]) for color in flat]).reshape(len(images), -1)


def test_nothing_drawn_returns_the_same_bits():
    images = torch.rand((300, 3, 4, 4), generator=torch_generator(0))
    drawn = draw()
    assert torch.equal(drawn.matrix, torch.eye(3).expand(300, 3, 3))
    assert torch.equal(drawn.contrast, torch.ones(300))
    assert apply_color(images, drawn) is images
    assert apply_color(images[:, :1], drawn).data_ptr() == images.data_ptr()


def test_an_image_without_a_change_comes_back_bit_for_bit_beside_others():
    images = colors(3)
    drawn = ColorDraw(torch.eye(3).repeat(3, 1, 1), torch.tensor([1.0, 1.2, 1.0]), torch.ones(3))
    result = apply_color(images, drawn)
    assert torch.equal(result[[0, 2]], images[[0, 2]])
    assert not torch.equal(result[1], images[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_multiplies_all_values(channels):
    images = colors(300)[:, :channels]
    drawn = draw(brightness=0.25)
    result = apply_color(images, drawn)
    torch.testing.assert_close(result, images * drawn.brightness[:, None, None, None])


@pytest.mark.parametrize("channels", [1, 3])
def test_contrast_multiplies_the_distance_from_the_mean_luma_and_keeps_it(channels):
    images = colors(300)[:, :channels]
    drawn = draw(contrast=0.25)
    result = apply_color(images, drawn)
    mean = (luma(images) if channels == 3 else images[:, 0]).mean(dim=(1, 2))[:, None, None, None]
    torch.testing.assert_close(result, mean + drawn.contrast[:, None, None, None] * (images - mean))
    after = (luma(result) if channels == 3 else result[:, 0]).mean(dim=(1, 2))
    torch.testing.assert_close(after, mean.flatten(), atol=1e-6, rtol=0)


def test_saturation_multiplies_the_chroma_and_keeps_luma_and_hue():
    images = colors(300)
    result = apply_color(images, draw(saturation=0.25))
    torch.testing.assert_close(luma(result), luma(images), atol=1e-4, rtol=0)
    factors = chroma(result) / chroma(images)
    torch.testing.assert_close(factors.imag, torch.zeros_like(factors.imag), atol=2e-3, rtol=0)
    torch.testing.assert_close(factors.real, factors.real[:, :1].expand_as(factors.real), atol=2e-3, rtol=0)
    assert float(factors.real.min()) > 1 / 1.25 - 1e-3
    assert float(factors.real.max()) < 1.25 + 1e-3
    assert float(factors.real.std()) > 0.1


def test_little_saturation_is_grey_of_the_same_luma():
    # Saturation is drawn from [1/5, 5] here; take the image that lost most.
    red = torch.tensor([0.6, 0.3, 0.3])[None, :, None, None].expand(300, 3, 8, 8)
    result = apply_color(red, draw(saturation=4))
    spread = (result.amax(1) - result.amin(1)).amax(dim=(1, 2))
    palest = result[spread.argmin(), :, 0, 0]
    assert float(spread.min()) == pytest.approx(0.3 / 5, abs=0.005)
    assert float(palest @ LUMA) == pytest.approx(0.6 * 0.299 + 0.3 * 0.701, abs=1e-4)


def test_hue_turns_the_chroma_and_keeps_luma_and_amount():
    images = colors(300)
    result = apply_color(images, draw(hue=0.1))
    torch.testing.assert_close(luma(result), luma(images), atol=1e-4, rtol=0)
    factors = chroma(result) / chroma(images)
    # The standard's axes have four digits, colorsys its own four.
    torch.testing.assert_close(factors.abs(), torch.ones_like(factors.abs()), atol=6e-3, rtol=0)
    angles = factors.angle()
    torch.testing.assert_close(angles, angles[:, :1].expand_as(angles), atol=6e-3, rtol=0)
    share_of_a_turn = angles[:, 0] / (2 * math.pi)
    assert float(share_of_a_turn.abs().max()) <= 0.1 + 1e-3
    assert float(share_of_a_turn.max()) > 0.09
    assert float(share_of_a_turn.min()) < -0.09


def test_grey_has_neither_hue_nor_saturation():
    grey = torch.linspace(0, 1, 16).reshape(1, 1, 4, 4).expand(300, 3, 4, 4)
    torch.testing.assert_close(apply_color(grey, draw(hue=0.5, saturation=4)), grey, atol=1e-5, rtol=0)


def test_images_of_one_channel_have_no_chroma_to_change():
    images = colors(300)[:, :1]
    assert apply_color(images, draw(hue=0.5, saturation=4)) is images


@pytest.mark.parametrize("channels", [1, 3])
def test_all_together_are_one_formula(channels):
    images = colors(300)[:, :channels]
    drawn = draw(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02)
    matrix = drawn.matrix if channels == 3 else drawn.brightness[:, None, None]
    turned = torch.einsum("nij,njhw->nihw", matrix, images)
    mean = (luma(turned) if channels == 3 else turned[:, 0]).mean(dim=(1, 2))[:, None, None, None]
    expected = mean + drawn.contrast[:, None, None, None] * (turned - mean)
    torch.testing.assert_close(apply_color(images, drawn), expected, atol=1e-6, rtol=1e-5)


def test_the_matrix_is_there_and_back_again():
    drawn = draw(saturation=0.3, hue=0.2, brightness=0.1)
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    inside = to_yiq @ (drawn.matrix / drawn.brightness[:, None, None]) @ torch.linalg.inv(to_yiq)
    luma_alone = torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(inside[:, 0], luma_alone.expand(300, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inside[:, :, 0], luma_alone.expand(300, 3), atol=1e-5, rtol=0)
    chroma_turn = inside[:, 1:, 1:]
    # A turn times a stretch: equal on the diagonal, opposite beside it.
    torch.testing.assert_close(chroma_turn[:, 0, 0], chroma_turn[:, 1, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(chroma_turn[:, 0, 1], -chroma_turn[:, 1, 0], atol=1e-5, rtol=0)
    stretch = torch.linalg.det(chroma_turn).sqrt()
    assert 1 / 1.3 - 1e-4 < float(stretch.min()) < float(stretch.max()) < 1.3 + 1e-4
    assert float(stretch.std()) > 0.1


def test_values_are_clipped_to_the_range():
    images = torch.rand((300, 3, 8, 8), generator=torch_generator(0)).round()
    result = apply_color(images, draw(brightness=1, contrast=1, saturation=1, hue=0.5))
    assert float(result.min()) == 0
    assert float(result.max()) == 1


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_factors_are_symmetric_on_a_logarithmic_scale(name):
    factors = getattr(draw(2000, **{name: 0.5}), name).numpy()
    assert factors.min() >= 1 / 1.5 - 1e-6
    assert factors.max() <= 1.5 + 1e-6
    assert factors.min() < 0.68
    assert factors.max() > 1.48
    assert np.mean(factors > 1) == pytest.approx(0.5, abs=0.04)
    assert np.log(factors).std() == pytest.approx(math.log(1.5) / math.sqrt(3), rel=0.05)


def test_every_image_takes_the_same_draws_whatever_the_ranges():
    states = []
    for ranges in (STILL, ColorRanges(1, 1, 1, 0.5)):
        generator = torch_generator(0)
        draw_color(7, ranges, generator=generator)
        states.append(generator.get_state())
    assert torch.equal(*states)
    everything = draw(brightness=0.2, contrast=0.3, saturation=0.4, hue=0.1)
    assert torch.equal(everything.brightness, draw(brightness=0.2).brightness)
    assert torch.equal(everything.contrast, draw(contrast=0.3).contrast)
    assert torch.unique(everything.brightness).numel() == 300
