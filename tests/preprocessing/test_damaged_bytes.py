"""Flipped, cut and spliced bytes: an image that can be had again, or an error that names the file."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import subprocess
import sys
import time
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from skinclf.preprocessing import ImageLoader, ImageReadError
from skinclf.preprocessing._decode import decode_image

# Pillow warns of EXIF blocks that it can read in part only.
pytestmark = [pytest.mark.fault(3, 4), pytest.mark.filterwarnings("ignore")]

SIZE = 24
SECONDS = 5.0
"""Of processor time for one image, which takes milliseconds; beyond it, the decoder hangs."""

DECODERS = ["pillow"] + (["simplejpeg"] if importlib.util.find_spec("simplejpeg") else [])

fuzz = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@cache
def jpegs():
    """Small photos, encoded in every way that a camera or a program has."""
    rng = np.random.default_rng(0)
    base = np.asarray(Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((88, 60)))
    photo = Image.fromarray(np.clip(base + rng.normal(0, 5, base.shape), 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "a camera"
    ways = [
        (photo, {"quality": 90, "subsampling": "4:2:0", "exif": exif}),
        (photo, {"quality": 60, "subsampling": "4:4:4", "progressive": True}),
        (photo, {"quality": 75, "subsampling": "4:2:2", "restart_marker_rows": 1}),
        (photo.convert("L"), {"quality": 80, "icc_profile": b"profile" * 9}),
        (photo.convert("CMYK"), {"quality": 70, "optimize": True}),
    ]
    contents = []
    for image, options in ways:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", **options)
        contents.append(buffer.getvalue())
    return contents


@cache
def real_jpegs():
    """Six photos of HAM10000."""
    from skinclf.datasets import load_ham10000

    return [Path(path).read_bytes() for path in load_ham10000().data["image"].iloc[::1700]]


places = st.one_of(st.floats(0, 1), st.floats(0, 0.1))  # half of them in the first tenth, where the headers are
changes = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), places, st.integers(0, 7)),
        st.tuples(st.just("set"), places, st.sampled_from([0x00, 0xFF, 0xC0, 0xC4, 0xD8, 0xD9, 0xDA, 0x7F])),
        st.tuples(st.just("cut"), places, st.integers(1, 300)),
        st.tuples(st.just("end"), places, st.just(0)),
        st.tuples(st.just("splice"), places, st.tuples(st.integers(0, 4), places, st.integers(1, 300))),
    ),
    min_size=1,
    max_size=4,
)


def damaged(contents, number, edits):
    """Return one of the contents after some changes."""
    content = bytearray(contents[number % len(contents)])
    for how, place, what in edits:
        at = min(int(place * len(content)), len(content) - 1)
        if how == "flip":
            content[at] ^= 1 << what
        elif how == "set":
            content[at] = what
        elif how == "cut":
            del content[max(at, 1) : at + what]
        elif how == "end":
            del content[max(at, 1) :]
        else:
            other, start, length = what
            donor = contents[other % len(contents)]
            begin = int(start * len(donor))
            content[at:at] = donor[begin : begin + length]
    return bytes(content)


def outcome(content, decoder, crop="center"):
    """Return the pixels, or the cause; fail on anything else, and on a hang."""
    # What the next allocation finds in memory that was freed is not what the last one found.
    outcome.filler = (outcome.filler + 85) % 256
    for n_bytes in (400, 4_000, 16_000, 64_000):
        np.full(n_bytes, outcome.filler, dtype=np.uint8)
    start = time.thread_time()
    try:
        result = decode_image(content, SIZE, crop, decoder)
    except ImageReadError as error:
        result = str(error)
    assert time.thread_time() - start < SECONDS
    if not isinstance(result, str):
        assert result.shape == (SIZE, SIZE, 3)
        assert result.dtype == np.uint8
    return result


outcome.filler = 0


def same(first, second, tolerance=0):
    if isinstance(first, str) or isinstance(second, str):
        return isinstance(first, str) and isinstance(second, str) and first == second
    return np.abs(first.astype(int) - second).max() <= tolerance


class Counts:
    """How many were read and refused: damage must be neither harmless nor always fatal."""

    def __init__(self):
        self.read, self.refused = 0, set()

    def add(self, result):
        if isinstance(result, str):
            self.refused.add(result.split("(")[0])
        else:
            self.read += 1


@pytest.mark.parametrize("decoder", DECODERS)
def test_an_image_that_can_be_had_again_or_the_one_error(decoder):
    counts = Counts()

    @fuzz
    @given(st.integers(0, 4), changes, st.sampled_from(["center", None]))
    def check(number, edits, crop):
        content = damaged(jpegs(), number, edits)
        result = outcome(content, decoder, crop)
        counts.add(result)
        assert same(result, outcome(content, decoder, crop))

    check()
    assert counts.read > 10
    assert len(counts.refused) > 2


@pytest.mark.real_data
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_same_of_real_photos(decoder, ham10000):
    counts = Counts()

    @fuzz
    @given(st.integers(0, 5), changes)
    def check(number, edits):
        content = damaged(real_jpegs(), number, edits)
        result = outcome(content, decoder)
        counts.add(result)
        assert same(result, outcome(content, decoder))

    check()
    assert counts.read > 10
    assert len(counts.refused) > 2


@pytest.mark.skipif(len(DECODERS) == 1, reason="simplejpeg is not installed: the extra 'fast'")
def test_both_decoders_come_to_the_same_end():
    @fuzz
    @given(st.integers(0, 4), changes)
    def check(number, edits):
        content = damaged(jpegs(), number, edits)
        assert same(outcome(content, "pillow"), outcome(content, "simplejpeg"), tolerance=1)

    check()


def loaded(loader, source):
    """Return the image that a loader reads, or its message, which must name the file."""
    try:
        return loader.transform([source])
    except ImageReadError as error:
        message = str(error)
    assert message.startswith(f"1 of 1 images could not be read:\n  row 0: {source}: ")
    return message


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_loader_names_the_file(decoder, tmp_path):
    path, loader = tmp_path / "a photo.jpg", ImageLoader(SIZE, decoder=decoder)
    n_named = 0

    @settings(fuzz, max_examples=60)
    @given(st.integers(0, 4), changes)
    def check(number, edits):
        nonlocal n_named
        path.write_bytes(damaged(jpegs(), number, edits))
        result = loaded(loader, path)
        assert same(result, loaded(loader, path))
        n_named += isinstance(result, str)

    check()
    assert n_named > 5


@pytest.mark.parametrize("where", ["in the photo", "in the archive"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_members_of_archives(decoder, where, tmp_path):
    path, loader = tmp_path / "photos.zip", ImageLoader(SIZE, decoder=decoder)
    member, ends = f"{path}::a photo.jpg", {"read": 0, "refused": 0}

    def archive(content):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(zipfile.ZipInfo("a photo.jpg"), content, zipfile.ZIP_DEFLATED)

    @settings(fuzz, max_examples=80)
    @given(st.integers(0, 4), changes)
    def check(number, edits):
        if where == "in the photo":
            archive(damaged(jpegs(), number, edits))
        else:
            archive(jpegs()[number])
            path.write_bytes(damaged([path.read_bytes()], 0, edits))
        start = time.thread_time()
        result = loaded(loader, member)
        assert time.thread_time() - start < SECONDS
        assert same(result, loaded(loader, member))
        ends["refused" if isinstance(result, str) else "read"] += 1
        if where == "in the archive" and not isinstance(result, str):  # the checksum lets nothing else pass
            assert same(result, loaded(loader, jpegs()[number]))

    check()
    assert ends["refused"] > 0
    assert ends["read"] > 0 or where == "in the archive"  # of an archive nearly every byte is under a checksum


PIXELS_OF_MANY = """
import hashlib, sys, warnings
import numpy as np
from skinclf.preprocessing import ImageReadError
from skinclf.preprocessing._decode import decode_image
warnings.simplefilter("ignore")
digest, n_read = hashlib.sha256(), 0
contents = np.load(sys.argv[1])
for name in contents.files:
    for decoder in sys.argv[2:]:
        try:
            pixels = decode_image(contents[name].tobytes(), 24, "center", decoder)
        except ImageReadError as error:
            digest.update(str(error).encode())
        else:
            digest.update(pixels.tobytes())
            n_read += 1
print(n_read, digest.hexdigest())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="MALLOC_PERTURB_ is of the GNU C library")
def test_no_pixel_is_what_happened_to_lie_in_memory(tmp_path):
    """The same files in two processes, whose fresh memory is filled with other bytes (MALLOC_PERTURB_)."""
    rng, contents = np.random.default_rng(0), {}
    for trial in range(120):
        content = bytearray(jpegs()[trial % 5])
        for at in rng.integers(len(content) // 3, len(content), size=rng.integers(1, 4)):
            content[at] = rng.integers(256)
        if trial % 4 == 0:
            del content[len(content) // 2 : len(content) // 2 + 40]
        contents[str(trial)] = np.frombuffer(bytes(content), np.uint8)
    np.savez(tmp_path / "contents.npz", **contents)
    answers = set()
    for byte in ("85", "170"):
        command = [sys.executable, "-c", PIXELS_OF_MANY, str(tmp_path / "contents.npz"), *DECODERS]
        environment = os.environ | {"MALLOC_PERTURB_": byte}
        answers.add(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    assert len(answers) == 1
    n_read = int(re.match(r"\d+", answers.pop())[0])
    assert 20 < n_read < 120 * len(DECODERS)
