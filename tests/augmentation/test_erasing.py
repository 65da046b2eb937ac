"""Erasing: how often, how large, where, and with which colour."""

from __future__ import annotations

import pytest
import torch

from skinclf._random import torch_generator
from skinclf.augmentation._erasing import apply_boxes, draw_boxes


def draw(n_images, probability, seed=0):
    return draw_boxes(n_images, probability, generator=torch_generator(seed))


@pytest.mark.parametrize("probability", [0, 0.3, 1])
def test_probability(probability):
    boxes = draw(2000, probability)
    share = float((boxes[:, 2] > boxes[:, 0]).float().mean())
    assert share == pytest.approx(probability, abs=0 if probability in (0, 1) else 0.04)


def test_boxes_lie_inside_and_take_two_to_twenty_percent():
    left, top, right, bottom = draw(2000, 1).unbind(dim=1)
    assert float(torch.stack([left, top]).min()) >= 0
    assert float(torch.stack([right, bottom]).max()) <= 1 + 1e-6
    area = (right - left) * (bottom - top)
    assert float(area.min()) > 0.02 - 1e-5
    assert float(area.max()) < 0.2 + 1e-5
    assert float(area.mean()) == pytest.approx(0.11, abs=0.004)
    aspect = (right - left) / (bottom - top)
    assert 0.3 - 1e-3 < float(aspect.min()) < 0.35
    assert 3 < float(aspect.max()) < 1 / 0.3 + 1e-2
    # No place is spared, and left and right, top and bottom are alike.
    centres = torch.stack([(left + right) / 2, (top + bottom) / 2])
    assert centres.mean(dim=1).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert float(left.min()) < 0.01
    assert float(right.max()) > 0.99


@pytest.mark.parametrize("shape", [(32, 32), (20, 50)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_box_is_filled_with_the_images_own_mean(shape, channels):
    images = torch.rand((40, channels, *shape), generator=torch_generator(1))
    boxes = draw(40, 0.7)
    result = apply_boxes(images, boxes)
    for image, changed, (left, top, right, bottom) in zip(images, result, boxes.tolist(), strict=True):
        erased = (changed != image).any(dim=0)
        if right == left:
            assert not erased.any()
            continue
        rows, columns = erased.any(dim=1).nonzero(), erased.any(dim=0).nonzero()
        box = (slice(None), slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
        assert int(erased.sum()) == erased[box[1:]].numel()
        mean = image.mean(dim=(1, 2))[:, None, None]
        torch.testing.assert_close(changed[box], mean.expand_as(changed[box]))
        assert len(rows) == pytest.approx((bottom - top) * shape[0], abs=1)
        assert len(columns) == pytest.approx((right - left) * shape[1], abs=1)


def test_hand_made_box():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    result = apply_boxes(image, torch.tensor([[0.25, 0.5, 0.75, 1.0]]))
    expected = image.clone()
    expected[0, 0, 2:, 1:3] = 7.5
    assert torch.equal(result, expected)


def test_without_a_box_the_same_tensor_comes_back():
    images = torch.rand((5, 3, 8, 8), generator=torch_generator(1))
    assert apply_boxes(images, draw(5, 0)) is images


def test_draws_do_not_depend_on_the_probability():
    rare, always = draw(500, 0.2), draw(500, 1)
    erased = rare[:, 2] > rare[:, 0]
    assert torch.equal(rare[erased], always[erased])
    states = []
    for probability in (0, 1):
        generator = torch_generator(0)
        draw_boxes(7, probability, generator=generator)
        states.append(generator.get_state())
    assert torch.equal(*states)
