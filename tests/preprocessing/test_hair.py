"""`HairRemover` on painted skin: hair goes, and everything else stays."""

from __future__ import annotations

import numpy as np
import pytest

from skinclf.preprocessing import HairRemover
from skinclf.preprocessing._inpainting import fill_across
from skinclf.preprocessing._pixel_grid import PixelGrid, line_closing, line_sum, shifted

pytestmark = pytest.mark.usefixtures("no_global_randomness")

SKIN, LESION = np.array([215.0, 165, 145]), np.array([110.0, 70, 55])


def paint_skin(size: int, n_images: int = 6, *, noise: float = 2.0, seed: int = 0) -> np.ndarray:
    """Paint skin in light that falls off, with a soft, dark, oval lesion, as floats in 0-255."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    images = np.empty((n_images, size, size, 3))
    for image in images:
        cx, cy, a, b = *generator.uniform(-0.3, 0.3, 2), *generator.uniform(0.25, 0.55, 2)
        inside = 1 / (1 + np.exp(12 * (np.hypot((x - cx) / a, (y - cy) / b) - 1)))
        image[...] = SKIN + (LESION - SKIN) * inside[..., None]
        image *= (1 - 0.15 * np.hypot(x, y) * generator.uniform())[..., None]
    return images + noise * generator.standard_normal(images.shape)


def lay_hair(images: np.ndarray, *, n_hairs: int = 6, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Lay bent dark hairs over images; return them and how opaque the hair is at each pixel."""
    generator = np.random.default_rng(seed)
    size = images.shape[1]
    axis = (np.arange(4 * size) + 0.5) / (4 * size) * 2 - 1
    x, y = axis[None, :], axis[:, None]
    opacity = np.zeros(images.shape[:3])
    for cover in opacity:
        for _ in range(n_hairs):
            turn, offset = generator.uniform(0, 2 * np.pi), generator.uniform(-0.8, 0.8)
            along = np.cos(turn) * x + np.sin(turn) * y - generator.uniform(-0.4, 0.4)
            across = np.cos(turn) * y - np.sin(turn) * x - offset - generator.normal(0, 0.15) * along**2
            inside = (np.abs(across) < generator.uniform(0.009, 0.02)) & (np.abs(along) < 0.7)
            shade = inside.reshape(size, 4, size, 4).mean(axis=(1, 3)) * generator.uniform(0.6, 0.95)
            np.maximum(cover, shade, out=cover)
    hair = np.array([45.0, 35, 30])
    return images + (hair - images) * opacity[..., None], opacity


def to_uint8(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(("size", "rest"), [(64, 0.1), (128, 0.07), (224, 0.06)])
def test_painted_hair_is_found_and_goes(size, rest):
    skin = paint_skin(size)
    hairy, opacity = lay_hair(skin)
    clean, hairy = to_uint8(skin), to_uint8(hairy)
    remover = HairRemover()
    masks, result = remover.masks(hairy), remover.transform(hairy)
    seen = opacity > 0.3
    assert (masks & seen).sum() / seen.sum() > 0.98  # recall
    assert (masks & (opacity > 0)).sum() / masks.sum() > 0.92  # precision
    assert distance(result, clean) < rest * distance(hairy, clean)
    for found, before, truth in zip(result, hairy, clean, strict=True):
        assert distance(found, truth) < 0.15 * distance(before, truth)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels_outside_the_mask_stay_bit_for_bit(dtype):
    hairy, _ = lay_hair(paint_skin(96))
    images = to_uint8(hairy) if dtype == np.uint8 else np.clip(hairy / 255, 0, 1).astype(dtype)
    masks, result = HairRemover().masks(images), HairRemover().transform(images)
    assert 0.02 < masks.mean() < 0.2
    np.testing.assert_array_equal(result[~masks], images[~masks])
    assert (result != images).any(axis=3)[masks].mean() > 0.95


@pytest.mark.parametrize("size", [16, 64, 128, 224])
def test_skin_and_lesions_without_hair_stay_as_they_are(size):
    images = to_uint8(paint_skin(size, noise=3.0))
    np.testing.assert_array_equal(HairRemover().transform(images), images)


@pytest.mark.parametrize("size", [64, 128, 224])
@pytest.mark.parametrize("diameter", [0.03, 0.06, 0.1, 0.2])
def test_dots_and_small_lesions_stay(size, diameter):
    y, x = np.mgrid[0:size, 0:size] / size
    images = np.tile(SKIN, (1, size, size, 1))
    for row in (0.2, 0.5, 0.8):
        for column in (0.2, 0.5, 0.8):
            images[0, np.hypot(x - column, y - row) < diameter / 2] = (60, 40, 35)
    np.testing.assert_array_equal(HairRemover().masks(to_uint8(images)), False)


def line(darker: tuple[int, int, int], *, size: int = 96, width: int = 2, length: int = 60) -> np.ndarray:
    images = np.tile(SKIN, (1, size, size, 1))
    images[0, 40 : 40 + width, 10 : 10 + length] -= darker
    return to_uint8(images)


def test_what_hair_is():
    def found(images: np.ndarray, **parameters: float) -> int:
        return int(HairRemover(**parameters).masks(images).sum())

    assert found(line((140, 110, 90))) == 2 * 60
    assert found(line((-30, -60, -70))) == 0  # white hair
    assert found(line((5, 90, 80))) == 0  # a vessel: dark in green and blue, and not in red
    # A short hair must be twice as dark: 12 pixels are more than 0.12 * 96, and less than 1.7 times that.
    assert found(line((25, 25, 25), length=12)) == 0
    assert found(line((41, 41, 41), length=12)) == 2 * 12
    # Less is found from two thirds of the contrast on, 0.08 * 255 = 20 grey levels.
    assert found(line((13, 13, 13))) == 0
    assert found(line((15, 15, 15))) == 2 * 60
    assert found(line((13, 13, 13)), contrast=0.07) == 2 * 60
    assert found(line((140, 110, 90), width=8)) == 0  # a streak: 8 pixels of 96
    assert found(line((140, 110, 90), width=8), max_width=0.1) == 8 * 60
    assert found(line((140, 110, 90)), min_length=1) == 0  # less than two thirds of 97 pixels


@pytest.mark.parametrize("grain", [1, 3, 5])
def test_texture_is_not_hair(grain):
    noise = np.random.default_rng(grain).normal(0, 8 * grain, (2, 128, 128, 1))
    for axis in (1, 2):  # a mean over `grain` pixels along both axes leaves a deviation of 8
        noise = sum(np.roll(noise, step, axis=axis) for step in range(grain)) / grain
    images = to_uint8(SKIN + noise)
    assert 7 < (images - SKIN).std() < 9
    assert HairRemover().masks(images).mean() < 0.002


def test_grey_images_have_hair_too():
    images = np.full((1, 64, 64, 1), 200, dtype=np.uint8)
    images[0, 30:32] = 60
    np.testing.assert_array_equal(HairRemover().transform(images), 200)
    np.testing.assert_array_equal(HairRemover().transform(images.repeat(3, axis=3)), 200)


def test_a_hair_that_leaves_the_image_goes_to_the_edge():
    images = np.tile(SKIN, (1, 64, 64, 1))
    images[0, :, 30:32] = 50
    images[0, np.arange(60), np.arange(60) + 4] = 50
    result = HairRemover().transform(to_uint8(images))
    assert distance(result, np.tile(SKIN, (1, 64, 64, 1))) == 0


def test_a_dark_rim_stays():
    # As the round field of view leaves it: thin, long, dark, and no hair.
    images = np.tile(SKIN, (1, 96, 96, 1))
    images[0, :3] = images[0, :, -2:] = 10
    np.testing.assert_array_equal(HairRemover().masks(to_uint8(images)), False)


@pytest.mark.parametrize(
    "move",
    [
        lambda a: a[:, ::-1],
        lambda a: a[:, :, ::-1],
        lambda a: a.swapaxes(1, 2),
        lambda a: np.rot90(a, axes=(1, 2)),
    ],
    ids=["upside down", "mirrored", "transposed", "turned"],
)
def test_masks_turn_with_the_image(move):
    hairy = to_uint8(lay_hair(paint_skin(64, noise=6.0))[0])
    masks = HairRemover().masks(hairy)
    assert masks.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(HairRemover().masks(move(hairy)), move(masks))
    np.testing.assert_allclose(HairRemover().transform(move(hairy)), move(HairRemover().transform(hairy)), atol=1)


@pytest.mark.parametrize("shape", [(1, 7, 60, 3), (1, 60, 7, 1), (2, 8, 8, 3), (1, 8, 200, 1)])
def test_tiny_and_narrow_images(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    masks = HairRemover().masks(images)
    assert masks.shape == shape[:3]
    np.testing.assert_array_equal(HairRemover().transform(images)[~masks], images[~masks])


def test_noise_alone_costs_no_more_than_time():
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    result = HairRemover(contrast=0.01, max_width=0.2).transform(images)
    assert result.shape == images.shape


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"contrast": 0}, r"'contrast' parameter of HairRemover must be a float in the range \(0.0, 1.0\]. Got 0"),
        ({"max_width": 0.5}, r"'max_width' parameter of HairRemover must be a float in the range \(0.0, 0.2\]"),
        ({"min_length": "long"}, "'min_length' parameter of HairRemover must be a float .*Got 'long'"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        HairRemover(**parameters).fit(line((0, 0, 0)))
    with pytest.raises(ValueError, match=message):
        HairRemover(**parameters).masks(line((0, 0, 0)))


def test_filling_computed_by_hand():
    # From the middle, 1 step to 10 and 2 to 40 along the row: 20. Diagonals and the column meet 40s and 0s.
    image = np.array(
        [
            [40.0, 30, 20, 10],
            [10.0, -1, -1, 40],
            [0.0, 60, 80, 40],
        ]
    )
    filled = fill_across(image[None, ..., None], image[None] < 0)[0, ..., 0]
    # Row: 20, over 3 steps; column: (30 + 60) / 2 = 45, over 2; diagonals: (40 + 80) / 2 = 60 and
    # (20 + 0) / 2 = 10, each over 2 * sqrt(2). Weights 1/9, 1/4, 1/8, 1/8.
    assert filled[1, 1] == pytest.approx((20 / 9 + 45 / 4 + 60 / 8 + 10 / 8) / (1 / 9 + 1 / 4 + 1 / 8 + 1 / 8))
    np.testing.assert_array_equal(filled[image >= 0], image[image >= 0])


def test_filling_at_the_edge_takes_the_one_side_there_is():
    image = np.array([7, 0, 0, 0], np.uint8).reshape(1, 1, 4, 1)
    assert fill_across(image, image[..., 0] == 0).ravel().tolist() == [7, 7, 7, 7]
    everything = np.ones((1, 1, 4), dtype=bool)
    np.testing.assert_array_equal(fill_across(image, everything), image)


def test_images_do_not_fill_each_other():
    images = np.stack([np.zeros((5, 5, 3), np.uint8), np.full((5, 5, 3), 200, np.uint8)])
    masks = np.zeros((2, 5, 5), dtype=bool)
    masks[:, 2:] = True
    np.testing.assert_array_equal(fill_across(images, masks), images)


@pytest.mark.parametrize(("down", "right"), [(0, 1), (1, 0), (1, 1), (1, -1)])
@pytest.mark.parametrize("length", [2, 3, 5, 8])
def test_a_closing_is_what_its_definition_says(down, right, length):
    images = np.random.default_rng(length).integers(1, 256, (3, 9, 12), dtype=np.uint8)
    grid = PixelGrid(images.shape, margin=length)
    closed = grid.view(line_closing(grid.lay_out(images), grid.offset(down, right), length))
    # The smallest, over all lines through a pixel, of the largest value on the line; 0 outside the image.
    padded = np.pad(images, ((0, 0), (length, length), (length, length)))
    expected = np.full(images.shape, 255, dtype=np.uint8)
    for first in range(1 - length, 1):
        on_line = [
            padded[:, length + step * down :, length + step * right :][:, :9, :12]
            for step in range(first, first + length)
        ]
        expected = np.minimum(expected, np.max(on_line, axis=0))
    np.testing.assert_array_equal(closed, expected)
    assert (closed >= images).all()


def test_sums_along_a_line_and_shifts_stop_at_the_edges_of_an_image():
    images = np.arange(1, 25, dtype=np.uint8).reshape(2, 3, 4)
    grid = PixelGrid(images.shape, margin=2)
    row = grid.lay_out(images)
    sums = grid.view(line_sum(row, [grid.offset(0, 0), grid.offset(-1, 1), grid.offset(-2, 2)]))
    assert sums[0].tolist() == [[1, 2, 3, 4], [5 + 2, 6 + 3, 7 + 4, 8], [9 + 6 + 3, 10 + 7 + 4, 11 + 8, 12]]
    np.testing.assert_array_equal(grid.view(row), images)
    there, here = shifted(row, -3, row)
    assert len(there) == len(here) == len(row) - 3


@pytest.mark.real_data
def test_real_images_keep_what_is_not_hair(ham10000_subset):
    from skinclf.preprocessing import ImageLoader

    images = ImageLoader(size=128, n_jobs=2).transform(ham10000_subset.data.iloc[::5])
    remover = HairRemover()
    masks, result = remover.masks(images), remover.transform(images)
    np.testing.assert_array_equal(result[~masks], images[~masks])
    shares = masks.mean(axis=(1, 2))
    assert np.median(shares) < 0.005  # most images show no dark hair
    assert 0.05 < shares.max() < 0.6  # and some are full of it
    # Hair is dark: it is brighter where it was, nearly everywhere.
    assert (result[masks].mean(axis=1) > images[masks].mean(axis=1)).mean() > 0.9
