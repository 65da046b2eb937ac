"""One file to one array: pixels computed by hand, every kind of picture, every kind of damage (faults 1–24)."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinclf.preprocessing import ImageReadError
from skinclf.preprocessing._decode import decode_image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height, width):
    """A picture without sharp edges, as a photo of skin: what it looks like hardly depends on how it is scaled."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    channels = [0.6 + 0.3 * np.sin(3 * x + y), 0.5 + 0.3 * np.cos(2 * y), 0.4 + 0.3 * np.sin(5 * x * y)]
    return np.rint(255 * np.stack(channels, axis=-1)).astype(np.uint8)


def encoded(picture, kind, **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def file(tmp_path):
    """Write bytes, or a picture as PNG, and return the path as str."""

    def write(content, name="picture.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encoded(content, "PNG"))
        return str(path)

    return write


def stripes(height=60, width=120):
    """A quarter red, half green, a quarter blue, from left to right."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 4] = RED
    picture[:, width // 4 : -width // 4] = GREEN
    picture[:, -width // 4 :] = BLUE
    return picture


class TestPixels:
    def test_a_picture_of_the_right_size_comes_back_exactly(self, file):
        picture = noise(24, 24)
        for crop in ("center", None):
            np.testing.assert_array_equal(decode_image(file(picture), 24, crop), picture)

    def test_center_takes_the_largest_centred_square(self, file):
        wide = noise(24, 40)
        np.testing.assert_array_equal(decode_image(file(wide), 24), wide[:, 8:32])
        high = noise(40, 24)
        np.testing.assert_array_equal(decode_image(file(high), 24), high[8:32])

    def test_center_shows_the_middle_alone_and_none_shows_everything(self, file):
        path = file(stripes())
        cropped = decode_image(path, 20, "center")
        assert (cropped[:, 1:-1] == GREEN).all()
        # The bilinear filter of the outermost columns has an eighth of its weight beyond the border.
        assert np.abs(cropped[:, [0, -1]].astype(int) - GREEN).max() <= 32
        stretched = decode_image(path, 20, None)
        # Half an output pixel of bilinear support reaches over the two borders, at columns 5 and 15.
        assert (stretched[:, :4] == RED).all()
        assert (stretched[:, 6:14] == GREEN).all()
        assert (stretched[:, 16:] == BLUE).all()

    def test_downscaling_averages(self, file):
        checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
        pixels = decode_image(file(np.repeat(checkers[:, :, None], 3, axis=2).astype(np.uint8)), 8)
        assert np.abs(pixels.astype(int) - 127.5).max() < 8

    @pytest.mark.fault(23)
    def test_upscaling_a_single_pixel(self, file):
        assert (decode_image(file(np.full((1, 1, 3), (9, 80, 200), np.uint8)), 16) == (9, 80, 200)).all()

    @pytest.mark.fault(24)
    @pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (2, 1501)])
    @pytest.mark.parametrize("crop", ["center", None])
    def test_extreme_proportions(self, file, shape, crop):
        picture = np.full((*shape, 3), (9, 80, 200), np.uint8)
        for kind, tolerance in (("PNG", 0), ("JPEG", 3)):
            pixels = decode_image(file(encoded(picture, kind)), 16, crop)
            assert pixels.shape == (16, 16, 3)
            assert np.abs(pixels.astype(int) - (9, 80, 200)).max() <= tolerance


class TestScalingWhileDecoding:
    @pytest.mark.parametrize("size", [16, 28, 64, 100, 224])
    @pytest.mark.parametrize("crop", ["center", None])
    def test_close_to_the_full_decode(self, file, size, crop):
        path = file(encoded(smooth(450, 600), "JPEG", quality=90), "photo.jpg")
        with Image.open(path) as image:
            box = (75, 0, 525, 450) if crop else None
            full = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box))
        difference = np.abs(decode_image(path, size, crop).astype(int) - full.astype(int))
        assert difference.mean() < 1
        assert difference.max() < 8

    @pytest.mark.parametrize(("shape", "n"), [((128, 128), 2), ((126, 240), 2), ((256, 300), 4), ((512, 512), 8)])
    def test_a_multiple_is_the_decoders_own_reduced_picture(self, file, shape, n):
        path = file(encoded(smooth(*shape), "JPEG"), "photo.jpg")
        size = min(shape) // n
        with Image.open(path) as image:
            image.draft("RGB", (size, size))
            reduced = np.asarray(image)
        assert min(reduced.shape[:2]) == size
        left, odd = divmod(reduced.shape[1] - size, 2)
        if not odd:
            np.testing.assert_array_equal(decode_image(path, size), reduced[:, left : left + size])

    def test_never_below_the_size_asked_for(self, file):
        # 129 // 65 is 1: half of the picture would have fewer pixels than the result.
        picture = smooth(129, 129)
        path = file(encoded(picture, "JPEG", quality=100, subsampling=0), "photo.jpg")
        direct = Image.fromarray(picture).resize((65, 65), Image.Resampling.BILINEAR)
        assert np.abs(decode_image(path, 65).astype(int) - np.asarray(direct).astype(int)).max() <= 2


UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def exif_bytes(*entries):
    """A little-endian EXIF block; each entry is (tag, type, count, four bytes)."""
    block = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHI4s", *entry) for entry in sorted(entries))
    return b"Exif\x00\x00II*\x00\x08\x00\x00\x00" + block + b"\x00" * 4


def orientation(number):
    return (0x112, 3, 1, struct.pack("<HH", number, 0))


class TestOrientation:
    @pytest.mark.fault(13)
    @pytest.mark.parametrize("number", UPRIGHT)
    def test_all_eight(self, file, number):
        stored = noise(16, 16)
        path = file(encoded(stored, "PNG", exif=exif_bytes(orientation(number))))
        np.testing.assert_array_equal(decode_image(path, 16), UPRIGHT[number](stored))

    @pytest.mark.parametrize("number", [6, 8])
    def test_the_crop_is_of_the_upright_picture(self, file, number):
        stored = noise(16, 24)
        path = file(encoded(stored, "PNG", exif=exif_bytes(orientation(number))))
        np.testing.assert_array_equal(decode_image(path, 16), UPRIGHT[number](stored)[4:20])

    @pytest.mark.parametrize("number", [0, 9, 65535])
    def test_an_orientation_that_does_not_exist_changes_nothing(self, file, number):
        stored = noise(16, 16)
        path = file(encoded(stored, "PNG", exif=exif_bytes(orientation(number))))
        np.testing.assert_array_equal(decode_image(path, 16), stored)

    @pytest.mark.parametrize(
        "odd",
        [(296, 2, 3, b"ab\x00\x00"), (271, 5, 1, b"\x08\x00\x00\x00")],
        ids=["text as unit", "fraction as maker"],
    )
    def test_an_odd_tag_elsewhere_does_not_cost_the_picture(self, file, odd):
        # Pillow's own exif_transpose writes all tags anew, and raises struct.error or AttributeError here.
        stored = noise(16, 16)
        path = file(encoded(stored, "PNG", exif=exif_bytes(orientation(6), odd)))
        np.testing.assert_array_equal(decode_image(path, 16), UPRIGHT[6](stored))

    def test_a_jpeg_that_is_scaled_while_it_is_decoded_is_turned_too(self, file):
        stored = np.rot90(stripes(120, 240))
        path = file(encoded(stored, "JPEG", exif=exif_bytes(orientation(6))), "phone.jpg")
        left, right = decode_image(path, 20, None)[:, [1, -2]].mean(axis=0)
        assert np.abs(left - RED).max() < 20
        assert np.abs(right - BLUE).max() < 20


class TestModes:
    @pytest.mark.fault(15)
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
    def test_grey_becomes_three_equal_channels(self, file, kind):
        grey = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
        pixels = decode_image(file(encoded(grey, kind)), 32)
        assert (pixels == pixels[:, :, :1]).all()
        assert np.abs(pixels[:, :, 0].astype(int) - grey).max() <= (8 if kind == "JPEG" else 0)

    def test_black_and_white(self, file):
        bits = np.indices((8, 8)).sum(axis=0) % 2 == 0
        pixels = decode_image(file(encoded(Image.fromarray(bits), "PNG")), 8)
        np.testing.assert_array_equal(pixels, np.repeat(bits[:, :, None], 3, axis=2) * np.uint8(255))

    @pytest.mark.fault(14)
    @pytest.mark.parametrize("color", [(200, 30, 60), (255, 255, 255), (0, 0, 0), (90, 60, 50)])
    def test_cmyk_with_adobes_inversion(self, file, color):
        cmyk = Image.new("RGB", (32, 32), color).convert("CMYK")
        content = encoded(cmyk, "JPEG", quality=100)
        assert b"Adobe" in content
        assert np.abs(decode_image(file(content), 8).astype(int) - color).max() <= 2

    @pytest.mark.fault(16)
    def test_transparent_parts_become_white(self, file):
        rgba = np.zeros((3, 3, 4), np.uint8)
        rgba[:] = (200, 100, 0, 255)
        rgba[0, 0, 3] = 0
        rgba[2, 2, 3] = 51  # a fifth
        pixels = decode_image(file(rgba), 3)
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert pixels[1, 1].tolist() == [200, 100, 0]
        assert np.abs(pixels[2, 2] - (0.8 * 255 + 0.2 * np.array([200, 100, 0]))).max() <= 1

    def test_grey_with_alpha(self, file):
        grey = np.dstack([np.full((4, 4), 70, np.uint8), np.diag([0, 255, 255, 0]).astype(np.uint8)])
        pixels = decode_image(file(encoded(Image.fromarray(grey, "LA"), "PNG")), 4)
        assert (pixels[[1, 2], [1, 2]] == 70).all()
        assert (pixels[[0, 0, 3], [0, 1, 3]] == 255).all()

    @pytest.mark.fault(17)
    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_palette_with_and_without_a_transparent_entry(self, file, kind):
        palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
        palette.putpalette([*RED, *BLUE])
        assert decode_image(file(encoded(palette, kind)), 2).tolist() == [[[*RED], [*BLUE]], [[*BLUE], [*RED]]]
        transparent = decode_image(file(encoded(palette, kind, transparency=1)), 2)
        assert transparent.tolist() == [[[*RED], [255] * 3], [[255] * 3, [*RED]]]

    @pytest.mark.fault(18)
    @pytest.mark.parametrize(
        ("kind", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("TIFF", "<i4")]
    )
    def test_sixteen_bits_are_scaled_and_not_saturated(self, file, kind, dtype):
        levels = np.arange(65536).reshape(256, 256)
        pixels = decode_image(file(encoded(levels.astype(dtype), kind)), 256)
        np.testing.assert_array_equal(pixels, np.rint(levels / 257)[:, :, None].repeat(3, axis=2))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.array([[0, 65536]], np.int32), "int32 values from 0 to 65536, not 8- or 16-bit"),
            (np.array([[-1, 5]], np.int32), "int32 values from -1 to 5, not 8- or 16-bit"),
            (np.array([[0, 0.5]], np.float32), "float32 values from 0 to 0.5, not 8- or 16-bit"),
        ],
    )
    def test_values_whose_scale_nobody_knows_are_refused(self, file, values, message):
        with pytest.raises(ImageReadError, match=f"^{re.escape(message)}$"):
            decode_image(file(encoded(values, "TIFF")), 8)

    @pytest.mark.fault(19, 20)
    @pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
    def test_of_several_frames_the_first_counts(self, file, kind):
        first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(first, kind, save_all=True, append_images=[second], **options)
        assert (decode_image(file(content), 8) == RED).all()


class TestPaths:
    @pytest.mark.fault(6, 7, 8)
    @pytest.mark.parametrize(
        "name", ["a b.png", "ünïcödé/皮膚 病変.png", "A.JPG", "a.jpeg", "a.PNG", "no_suffix", "a.b.c", "wrong.jpg"]
    )
    def test_the_content_counts_and_not_the_name(self, file, name):
        picture = noise(16, 16)
        np.testing.assert_array_equal(decode_image(file(picture, name), 16), picture)

    @pytest.mark.fault(6)
    def test_a_jpeg_named_png(self, file):
        assert decode_image(file(encoded(smooth(20, 20), "JPEG"), "lesion.png"), 16).shape == (16, 16, 3)

    def test_a_symbolic_link(self, file, tmp_path):
        picture = noise(16, 16)
        (tmp_path / "link.png").symlink_to(file(picture))
        np.testing.assert_array_equal(decode_image(str(tmp_path / "link.png"), 16), picture)

    @pytest.mark.fault(12)
    def test_no_such_file(self, file, tmp_path):
        picture = file(noise(8, 8))
        for missing in (tmp_path / "none.jpg", tmp_path / "none" / "a.jpg", Path(picture) / "a.jpg"):
            assert refusal(missing) == "no such file"

    @pytest.mark.fault(9)
    def test_links_that_lead_nowhere(self, tmp_path):
        (tmp_path / "broken.jpg").symlink_to(tmp_path / "none.jpg")
        (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
        (tmp_path / "there.jpg").symlink_to(tmp_path / "back.jpg")
        (tmp_path / "back.jpg").symlink_to(tmp_path / "there.jpg")
        for name in ("broken", "loop", "there"):
            assert refusal(tmp_path / f"{name}.jpg") == "a symbolic link that leads nowhere"

    @pytest.mark.fault(10)
    def test_a_folder(self, tmp_path):
        assert refusal(tmp_path) == "a folder, not an image file"

    def test_a_name_that_the_system_refuses(self, tmp_path):
        cause = refusal(tmp_path / ("a" * 5000))
        assert cause == f"cannot be read: {os.strerror(errno.ENAMETOOLONG)}"

    @pytest.mark.fault(11)
    def test_no_permission(self, file, tmp_path):
        path = file(noise(8, 8))
        Path(path).chmod(0)
        tmp_path.chmod(0o700)
        with not_as_root():
            cause = refusal(path)
        assert cause == "no permission to read it"


@contextmanager
def not_as_root():
    """Give up root's right to read everything for a moment, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except PermissionError:
        pytest.skip("root may read every file, and cannot become another user here")
    try:
        yield
    finally:
        os.seteuid(0)


def refusal(path, size=16):
    """Return the cause that `decode_image` gives."""
    with pytest.raises(ImageReadError) as caught:
        decode_image(str(path), size)
    return str(caught.value)


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


class TestDamage:
    @pytest.mark.fault(1)
    def test_an_empty_file(self, file):
        assert refusal(file(b"", "a.jpg")) == "an empty file"

    @pytest.mark.fault(5)
    @pytest.mark.parametrize(
        "page",
        [b"<!DOCTYPE html><html>", b"\n  <html lang='en'>", b"<!doctype HTML PUBLIC>"],
        ids=["5", "space", "4"],
    )
    def test_an_html_page(self, file, page):
        cause = refusal(file(page + b"<body>404</body></html>", "a.jpg"))
        assert cause == "an HTML page, not an image; the download probably failed"

    @pytest.mark.fault(21)
    @pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
    def test_heic(self, file, brand):
        cause = refusal(file(b"\x00\x00\x00\x18ftyp" + brand + b"\x00" * 60, "a.heic"))
        assert cause == "a HEIC image, which Pillow cannot read; convert it to JPEG or PNG"

    @pytest.mark.parametrize("content", [b"\x00" * 1000, b"not an image", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
    def test_no_image(self, file, content):
        assert refusal(file(content)) == "not an image in a format that Pillow reads"

    @pytest.mark.fault(2)
    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_a_header_alone(self, file, kind):
        content = encoded(noise(64, 64), kind)
        start = content.index(b"\xff\xda") + 14 if kind == "JPEG" else content.index(b"IDAT") + 4
        assert refusal(file(content[:start])).startswith(("damaged: ", "not an image"))

    @pytest.mark.fault(3)
    @pytest.mark.parametrize("missing", [1, 2, 10, 500])
    def test_a_truncated_jpeg(self, file, missing):
        content = encoded(noise(64, 64), "JPEG")
        assert refusal(file(content[:-missing])).startswith("damaged: image file is truncated")

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "GIF"])
    def test_half_of_a_file(self, file, kind):
        content = encoded(noise(64, 64), kind)
        assert refusal(file(content[: len(content) // 2])).startswith(("damaged: ", "not an image"))

    @pytest.mark.fault(4)
    def test_a_flipped_bit_in_a_png(self, file):
        content = bytearray(encoded(noise(64, 64), "PNG"))
        content[len(content) // 2] ^= 1
        assert refusal(file(bytes(content))).startswith("damaged: ")

    @pytest.mark.fault(22)
    def test_a_bomb(self, file):
        content = png_header(30_000, 30_000) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
        assert refusal(file(content)).startswith("too many pixels to be a photo (Image size (900000000 pixels)")

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_a_small_bomb_that_pillow_only_warns_of(self, file, monkeypatch):
        path = file(noise(12, 12))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert refusal(path) == "too many pixels to be a photo (144; PIL.Image.MAX_IMAGE_PIXELS is 100)"

    @pytest.mark.filterwarnings("error")
    def test_the_same_where_warnings_are_errors(self, file, monkeypatch):
        path = file(noise(12, 12))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert refusal(path).startswith("too many pixels to be a photo (Image size (144 pixels)")

    @pytest.mark.parametrize("limit", [144, None])
    def test_the_limit_is_pillows_own(self, file, monkeypatch, limit):
        path = file(noise(12, 12))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert decode_image(path, 12).shape == (12, 12, 3)

    def test_too_large_for_the_memory(self, file, monkeypatch):
        path = file(noise(12, 12))

        def out_of_memory(*_, **__):
            raise MemoryError

        monkeypatch.setattr(Image.Image, "resize", out_of_memory)
        assert refusal(path) == "it needs more memory than there is; damaged, or too large"


def damage(content, generator):
    """Change, cut out, repeat or cut off some bytes; half of the time near the start, where the headers are."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        place = int(generator.integers(len(changed) if generator.random() < 0.5 else min(len(changed), 200)))
        length = int(generator.integers(1, 40))
        how = generator.integers(10)
        if how < 4:
            changed[place] = generator.integers(256)
        elif how < 6:
            del changed[place : place + length]
        elif how < 9:
            changed[place:place] = changed[-length:]
        else:
            del changed[max(place, 1) :]
    return bytes(changed)


def with_valid_checksums(content):
    """Repair the checksum of every PNG chunk, so that the damage gets past it."""
    repaired, place = content[:8], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        repaired += png_chunk(content[place + 4 : place + 8], content[place + 8 : place + 8 + length])
        place += 12 + length
    return repaired + content[place:]


FUZZED = {
    "JPEG": {"exif": exif_bytes(orientation(6), (296, 3, 1, b"\x02\x00\x00\x00"))},
    "PNG": {"exif": exif_bytes(orientation(6)), "dpi": (72, 72), "icc_profile": b"profile" * 9},
}


@pytest.mark.fault(4)
@pytest.mark.parametrize("kind", FUZZED)
def test_whatever_happened_to_the_bytes_it_is_an_image_or_the_one_error(file, kind):
    generator = np.random.default_rng(0)
    content = encoded(smooth(40, 56), kind, **FUZZED[kind])
    read, refused = 0, set()
    for trial in range(300):
        damaged = damage(content, generator)
        path = file(with_valid_checksums(damaged) if kind == "PNG" and trial % 3 else damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of EXIF blocks that Pillow reads in part
                pixels = decode_image(path, 16, "center" if trial % 2 else None)
        except ImageReadError as error:
            refused.add(str(error).split("(")[0])
        else:
            read += 1
            assert pixels.shape == (16, 16, 3)
            assert pixels.dtype == np.uint8
    # The damage is neither harmless nor always fatal, and has more than one face.
    assert 0 < read < 300
    assert len(refused) > 3
