"""`ColorConstancy` against values computed by hand, and against casts that were put on images."""

from __future__ import annotations

import numpy as np
import pytest

from skinclf.preprocessing import ColorConstancy
from skinclf.preprocessing._color_constancy import minkowski_means

pytestmark = pytest.mark.usefixtures("no_global_randomness")

METHODS = ["shades_of_gray", "gray_world", "max_rgb"]
GREYS = np.random.default_rng(0).integers(0, 256, (4, 12, 9, 1), dtype=np.uint8).repeat(3, axis=3)
FLOATS = np.random.default_rng(0).uniform(0, 0.5, (6, 12, 9, 3))


def angle_to_white(light):
    """Return the angle in degrees between the colour of light and white."""
    return np.degrees(np.arccos(np.clip(light.sum(axis=1) / np.sqrt(3), -1, 1)))


@pytest.mark.parametrize(
    ("constancy", "before", "after"),
    [
        # Means 10, 50, 70; (10² + 50² + 70²) / 3 = 50², so that the gains are 5, 1 and 5/7.
        (ColorConstancy("gray_world"), [(0, 40, 60), (20, 60, 80)], [(0, 40, 43), (100, 60, 57)]),
        # The same of the maxima 20, 100, 140.
        (ColorConstancy("max_rgb"), [(3, 90, 140), (20, 100, 7)], [(15, 90, 100), (100, 100, 5)]),
        # The same of sqrt((2² + 14²) / 2) = 10, 50 and 70.
        (ColorConstancy(norm=2), [(2, 10, 14), (14, 70, 98)], [(10, 10, 10), (70, 70, 70)]),
        # The gain 5 takes 60 beyond white: clipped, and not wrapped around.
        (ColorConstancy("gray_world"), [(0, 50, 70)] * 5 + [(60, 50, 70)], [(0, 50, 50)] * 5 + [(255, 50, 50)]),
    ],
    ids=["mean", "maximum", "quadratic mean", "clipped"],
)
def test_values_computed_by_hand(constancy, before, after):
    result = constancy.transform(np.array([[before]], dtype=np.uint8))
    assert result[0, 0].tolist() == [list(pixel) for pixel in after]
    floats = constancy.transform(np.array([[before]]) / 255)
    np.testing.assert_allclose(255 * floats[0, 0], after, atol=0.5)


@pytest.mark.parametrize("method", METHODS)
def test_light_computed_by_hand(method):
    # One colour is its own mean of any kind: (2, 3, 6) / 7.
    images = np.full((2, 4, 4, 3), (20, 30, 60), dtype=np.uint8)
    np.testing.assert_allclose(ColorConstancy(method).illuminants(images), [np.array([2, 3, 6]) / 7] * 2)
    np.testing.assert_allclose(ColorConstancy(method).illuminants(images / 255), [np.array([2, 3, 6]) / 7] * 2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("images", [GREYS, GREYS / 255], ids=["uint8", "float"])
def test_neutral_images_stay_as_they_are(method, images):
    np.testing.assert_allclose(ColorConstancy(method).transform(images), images, rtol=1e-12)
    np.testing.assert_allclose(ColorConstancy(method).illuminants(images), 1 / np.sqrt(3), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_cast_is_removed(method):
    constancy = ColorConstancy(method)
    cast = np.array([1.0, 0.7, 0.55])
    reddish = FLOATS * cast
    assert angle_to_white(constancy.illuminants(reddish)).min() > 10
    corrected = constancy.transform(reddish)
    np.testing.assert_allclose(angle_to_white(constancy.illuminants(corrected)), 0, atol=1e-5)
    # All that is left of the cast is one factor of brightness for each image.
    ratio = corrected / constancy.transform(FLOATS)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1, :1], ratio.shape), rtol=1e-9)
    assert 0.5 < ratio.min() < ratio.max() < 1


@pytest.mark.parametrize("method", METHODS)
def test_a_cast_on_uint8_is_removed_to_within_rounding(method):
    reddish = np.rint(255 * FLOATS * (1.0, 0.7, 0.55)).astype(np.uint8)
    constancy = ColorConstancy(method)
    corrected = constancy.transform(reddish)
    assert angle_to_white(constancy.illuminants(reddish)).min() > 10
    assert angle_to_white(constancy.illuminants(corrected)).max() < 0.3
    assert abs(constancy.transform(corrected).astype(int) - corrected).max() <= 1  # nothing is left to correct


@pytest.mark.parametrize("method", METHODS)
def test_the_norm_of_the_light_is_kept(method):
    constancy = ColorConstancy(method)
    order = constancy._order()
    for image, corrected in zip(FLOATS, constancy.transform(FLOATS * 0.9), strict=True):
        before, after = minkowski_means(image * 0.9, order), minkowski_means(corrected, order)
        np.testing.assert_allclose(after, np.linalg.norm(before) / np.sqrt(3), rtol=1e-9)


def test_the_methods_are_norms_1_and_infinity():
    images = np.rint(255 * FLOATS).astype(np.uint8)
    np.testing.assert_allclose(
        ColorConstancy(norm=1).illuminants(images), ColorConstancy("gray_world").illuminants(images)
    )
    np.testing.assert_allclose(
        ColorConstancy(norm=100).illuminants(images), ColorConstancy("max_rgb").illuminants(images), rtol=0.02
    )
    mean, six, maximum = (minkowski_means(images[0], order) for order in (1, 6, np.inf))
    assert (mean < six).all()
    assert (six < maximum).all()
    np.testing.assert_allclose(mean, images[0].mean(axis=(0, 1)) / 255, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_pixels_makes_no_difference(method):
    images = np.rint(255 * FLOATS).astype(np.uint8)
    order = np.random.default_rng(1).permutation(12 * 9)
    shuffled = images.reshape(6, -1, 3)[:, order].reshape(images.shape)
    expected = ColorConstancy(method).transform(images).reshape(6, -1, 3)[:, order].reshape(images.shape)
    np.testing.assert_array_equal(ColorConstancy(method).transform(shuffled), expected)
    np.testing.assert_array_equal(
        ColorConstancy(method).illuminants(shuffled), ColorConstancy(method).illuminants(images)
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_black_stays_black(method, dtype):
    black = np.zeros((1, 8, 8, 3), dtype=dtype)
    np.testing.assert_array_equal(ColorConstancy(method).transform(black), black)
    np.testing.assert_allclose(ColorConstancy(method).illuminants(black), 1 / np.sqrt(3))
    black[..., 0] = 1
    result = ColorConstancy(method).transform(black)
    assert not result[..., 1:].any()
    assert np.isfinite(result).all()


@pytest.mark.parametrize("method", METHODS)
def test_faint_images_do_not_underflow(method):
    # 1e-6 to the power of 100 is 0 in double precision.
    faint = np.full((1, 8, 8, 3), (1e-6, 2e-6, 2e-6))
    np.testing.assert_allclose(
        ColorConstancy(method, norm=100).illuminants(faint), [np.array([1, 2, 2]) / 3], rtol=1e-9
    )
    darkest = np.full((1, 8, 8, 3), (1, 2, 2), dtype=np.uint8)
    np.testing.assert_allclose(
        ColorConstancy(method, norm=100).illuminants(darkest), [np.array([1, 2, 2]) / 3], rtol=1e-9
    )


def test_images_of_one_channel_have_no_colour():
    grey = GREYS[..., :1]
    np.testing.assert_array_equal(ColorConstancy().transform(grey), grey)
    with pytest.raises(ValueError, match=r"Only images of 3 channels.*X has images of shape \(12, 9, 1\)"):
        ColorConstancy().illuminants(grey)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "grey_edge"}, "'method' parameter of ColorConstancy must be a str among .*Got 'grey_edge'"),
        (
            {"norm": 0.5},
            r"'norm' parameter of ColorConstancy must be a float in the range \[1.0, 100.0\]. Got 0.5",
        ),
        ({"norm": np.inf}, "'norm' parameter of ColorConstancy"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        ColorConstancy(**parameters).fit(GREYS)
    with pytest.raises(ValueError, match=message):
        ColorConstancy(**parameters).illuminants(GREYS)


@pytest.mark.real_data
def test_real_images_lose_their_cast(ham10000_subset):
    from skinclf.preprocessing import ImageLoader

    images = ImageLoader(size=64, n_jobs=2).transform(ham10000_subset.data.iloc[::7])
    constancy = ColorConstancy()
    before, after = constancy.illuminants(images), constancy.illuminants(constancy.transform(images))
    assert np.median(angle_to_white(before)) > 5
    assert np.median(angle_to_white(after)) < 0.5
