"""The decoder of the extra `fast`: pixels and errors are those of Pillow, and it is never chosen by itself."""

from __future__ import annotations

import importlib.util
import io
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image, ImageFile
from sklearn.base import clone

from skinclf.preprocessing import ImageLoader, ImageReadError, _decode
from skinclf.preprocessing._decode import decode_image

INSTALLED = importlib.util.find_spec("simplejpeg") is not None
TOLERANCE = 1
"""What the documentation promises; it was 0 wherever it was measured."""

needs_simplejpeg = pytest.mark.skipif(not INSTALLED, reason="simplejpeg is not installed: the extra 'fast'")


def photo(height, width, seed=0):
    """Smooth colours with noise on them, as a photo of skin."""
    rng = np.random.default_rng(seed)
    base = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray(
        np.clip(np.asarray(base) + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
    )


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def orientation(number):
    exif = Image.Exif()
    exif[0x112] = number
    return exif


def difference(content, size, crop="center"):
    """Return by how much the pixels of the two decoders differ at most."""
    first, second = (
        decode_image(content, size, crop, decoder).astype(int) for decoder in ("pillow", "simplejpeg")
    )
    return np.abs(first - second).max()


@pytest.fixture
def calls(monkeypatch):
    """What simplejpeg is asked for, and answers with."""
    import simplejpeg

    calls, decode = [], simplejpeg.decode_jpeg

    def counted(*args, **kwargs):
        try:
            pixels = decode(*args, **kwargs)
        except ValueError:
            calls.append("refused")
            raise
        calls.append(pixels.shape)
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", counted)
    return calls


@needs_simplejpeg
class TestPixels:
    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
    @pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
    @pytest.mark.parametrize("shape", [(450, 600), (449, 601), (150, 200), (33, 47), (8, 8), (1, 1), (300, 7)])
    def test_those_of_pillow(self, calls, shape, subsampling, progressive):
        image = photo(*shape)
        for quality in (40, 75, 95):
            content = jpeg(image, quality=quality, subsampling=subsampling, progressive=progressive)
            for size in (16, 64, 96, 224):
                for crop in ("center", None):
                    assert difference(content, size, crop) <= TOLERANCE
        assert len(calls) == 24
        assert "refused" not in calls

    def test_in_the_size_that_pillow_decodes_to(self, calls):
        content = jpeg(photo(450, 600))
        for size in (500, 224, 96, 57, 56):
            decode_image(content, size, decoder="simplejpeg")
        assert calls == [(450, 600, 3), (225, 300, 3), (113, 150, 3), (113, 150, 3), (57, 75, 3)]

    def test_of_grey_files(self, calls):
        assert difference(jpeg(photo(150, 200).convert("L")), 64) <= TOLERANCE
        assert calls == [(75, 100, 1)]

    @pytest.mark.fault(13)
    @pytest.mark.parametrize("number", range(1, 9))
    def test_upright(self, calls, number):
        content = jpeg(photo(120, 200), exif=orientation(number))
        for crop in ("center", None):
            assert difference(content, 40, crop) <= TOLERANCE
        assert calls == [(60, 100, 3)] * 2

    @pytest.mark.fault(14)
    def test_cmyk_and_other_formats_are_left_to_pillow(self, calls):
        image = photo(60, 80)
        contents = [jpeg(image.convert("CMYK"))]
        for kind in ("PNG", "TIFF", "GIF", "WEBP", "BMP"):
            buffer = io.BytesIO()
            image.save(buffer, kind)
            contents.append(buffer.getvalue())
        assert [difference(content, 32) for content in contents] == [0] * 6
        assert calls == []

    @pytest.mark.real_data
    def test_of_real_images(self, ham10000):
        paths = ham10000.data["image"].iloc[::50]
        for size in (28, 64, 96, 128):
            expected = ImageLoader(size).transform(paths).astype(int)
            images = ImageLoader(size, decoder="simplejpeg", n_jobs=2).transform(paths)
            assert np.abs(expected - images).max() <= TOLERANCE


@needs_simplejpeg
class TestErrors:
    @pytest.mark.fault(3)
    @pytest.mark.parametrize("missing", [1, 2, 10, 1000])
    def test_those_of_pillow_for_what_is_cut_off(self, calls, missing):
        content = jpeg(photo(100, 120))[:-missing]
        causes = []
        for decoder in ("pillow", "simplejpeg"):
            with pytest.raises(ImageReadError) as caught:
                decode_image(content, 32, "center", decoder)
            causes.append(str(caught.value))
        assert causes[0] == causes[1]
        assert causes[0].startswith("damaged: image file is truncated")
        assert calls == ["refused"]

    def test_what_pillow_passes_over_is_read_by_pillow(self, calls):
        # 20 bytes before a marker: libjpeg warns of them, which simplejpeg takes for an error and Pillow does not.
        content = jpeg(photo(100, 120))
        content = content[:-2] + bytes(20) + content[-2:]
        assert difference(content, 32) == 0
        assert calls == ["refused"]

    def test_truncated_files_that_the_user_told_pillow_to_load(self, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        assert difference(jpeg(photo(100, 120))[:-1000], 32) == 0

    def test_an_answer_in_another_size_is_not_taken(self, monkeypatch):
        import simplejpeg

        monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: np.zeros((99, 99, 3), np.uint8))
        assert difference(jpeg(photo(100, 120)), 32) == 0

    def test_a_bomb_is_refused_before_it_is_decoded(self, calls):
        content = bytearray(jpeg(photo(16, 16)))
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">HH", 65500, 65500)
        with pytest.raises(ImageReadError, match="too many pixels to be a photo"):
            decode_image(bytes(content), 16, "center", "simplejpeg")
        assert calls == []


@needs_simplejpeg
class TestLoader:
    @pytest.fixture(scope="class")
    @staticmethod
    def files(tmp_path_factory):
        """Nine JPEG files."""
        folder = tmp_path_factory.mktemp("photos")
        for row in range(9):
            photo(90 + row, 120, seed=row).save(folder / f"{row}.jpg")
        return [str(folder / f"{row}.jpg") for row in range(9)]

    def test_files_members_and_bytes(self, files, calls, tmp_path):
        expected = ImageLoader(24).transform(files).astype(int)
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            for row, path in enumerate(files):
                archive.write(path, f"{row}.jpg")
        forms = {
            "files": files,
            "members": [f"{tmp_path / 'photos.zip'}::{row}.jpg" for row in range(9)],
            "bytes": [Path(path).read_bytes() for path in files],
        }
        for X in forms.values():
            images = ImageLoader(24, decoder="simplejpeg", n_jobs=2).transform(X)
            assert np.abs(images - expected).max() <= TOLERANCE
        assert len(calls) == 27
        assert "refused" not in calls

    def test_each_decoder_has_a_cache_of_its_own(self, files, calls, tmp_path):
        for decoder in ("pillow", "simplejpeg", "pillow", "simplejpeg"):
            ImageLoader(24, decoder=decoder, cache_dir=tmp_path).transform(files)
        assert len(calls) == 9
        assert len(list(tmp_path.iterdir())) == 2

    def test_it_is_a_parameter_like_others(self, files):
        loader = pickle.loads(pickle.dumps(clone(ImageLoader(24, decoder="simplejpeg"))))
        assert loader.get_params()["decoder"] == "simplejpeg"
        assert loader.transform(files).shape == (9, 24, 24, 3)

    def test_pillow_is_the_default_even_where_simplejpeg_is_installed(self, files, calls):
        ImageLoader(24).transform(files)
        assert calls == []


@pytest.mark.parametrize("method", ["fit", "transform", "load", "load_rows"])
def test_where_it_is_not_installed_the_error_says_how_to_install_it(method, monkeypatch):
    monkeypatch.setattr("skinclf.preprocessing._loader.find_spec", lambda name: None)
    message = "decoder='simplejpeg' needs the package simplejpeg: pip install \"skinclf[fast]\"."
    with pytest.raises(ImportError, match=re.escape(message)):
        getattr(ImageLoader(8, decoder="simplejpeg"), method)(["a.jpg"])


@pytest.mark.parametrize("decoder", ["fast", None, "Pillow"])
def test_other_decoders_are_refused(decoder):
    with pytest.raises(ValueError, match="'decoder' parameter of ImageLoader must be a str among"):
        ImageLoader(8, decoder=decoder).fit(["a.jpg"])


def test_the_default_imports_nothing():
    code = (
        "import sys, io; from PIL import Image; from skinclf.preprocessing import ImageLoader; b = io.BytesIO();"
        "Image.new('RGB', (9, 9)).save(b, 'JPEG'); ImageLoader(8).transform([b.getvalue()]);"
        "sys.exit('simplejpeg' in sys.modules or 'tqdm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pillow_itself_is_asked_only_by_name():
    with mock.patch.object(_decode, "decode_jpeg") as by_simplejpeg:
        decode_image(jpeg(photo(30, 30)), 8)
    by_simplejpeg.assert_not_called()
