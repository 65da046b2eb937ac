"""What an image may be given by: a path, a member of a zip archive, bytes, an open file, a PIL image."""

from __future__ import annotations

import io
import pickle
import re
import tarfile
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinclf import LesionCNNClassifier
from skinclf.preprocessing import ImageLoader, ImageReadError, _sources
from skinclf.preprocessing._file_images import FileImages, reading

pytestmark = pytest.mark.usefixtures("no_global_randomness")

N = 12
SIZE = 10


def column(values):
    """One column of objects, none of which NumPy may look into."""
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


KINDS = {
    "bytes": lambda contents, members: contents,
    "bytearray": lambda contents, members: list(map(bytearray, contents)),
    "memoryview": lambda contents, members: list(map(memoryview, contents)),
    "open files": lambda contents, members: list(map(io.BytesIO, contents)),
    "members": lambda contents, members: members,
}
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": column,
    "column": lambda values: column(values)[:, None],
    "Series": lambda values: pd.Series(list(values), index=range(50, 50 + N)),
    "DataFrame": lambda values: pd.DataFrame({"image": list(values), "age": 40}, index=range(50, 50 + N)),
}


class TestForms:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("container", CONTAINERS)
    def test_the_pixels_are_those_of_the_files(self, contents, members, content_images, kind, container):
        X = CONTAINERS[container](KINDS[kind](contents, members))
        loaded = ImageLoader(SIZE).fit(X).transform(X)
        np.testing.assert_array_equal(loaded, content_images)

    @pytest.mark.parametrize("container", CONTAINERS)
    def test_pil_images(self, contents, container):
        # From its full size: a JPEG is not scaled while it is decoded. So all of them are as the PNG files are.
        pictures = [Image.open(io.BytesIO(content)) for content in contents]
        expected = []
        for content in contents:
            with Image.open(io.BytesIO(content)) as picture:
                full = io.BytesIO()
                picture.save(full, "PNG", exif=picture.getexif())
            expected.append(full.getvalue())
        loaded = ImageLoader(SIZE).transform(CONTAINERS[container](pictures))
        np.testing.assert_array_equal(loaded, ImageLoader(SIZE).transform(expected))

    def test_all_kinds_in_one_list(self, contents, content_files, members, content_images):
        mixed = [
            [content_files[row], Path(content_files[row]), members[row], contents[row], io.BytesIO(contents[row])][
                row % 5
            ]
            for row in range(N)
        ]
        np.testing.assert_array_equal(ImageLoader(SIZE, n_jobs=3).transform(mixed), content_images)

    def test_zeros_at_the_end_of_bytes_are_kept(self, content_images):
        # NumPy would cut them off: an uncompressed picture that ends in black would lose its end.
        black = io.BytesIO()
        Image.new("RGB", (SIZE, SIZE)).save(black, "BMP")
        assert black.getvalue().endswith(b"\0" * 50)
        assert (ImageLoader(SIZE).transform([black.getvalue()]) == 0).all()
        with pytest.raises(ValueError, match="NumPy drops zeros from the end of bytes there"):
            ImageLoader(SIZE).transform(np.array([black.getvalue()]))

    @pytest.mark.parametrize("single", [b"content", io.BytesIO(), Image.new("RGB", (9, 9))], ids=["b", "f", "i"])
    def test_a_single_one_is_refused(self, single):
        message = f"X must hold one file for each image; got a single {type(single).__name__}. Pass [file]."
        with pytest.raises(TypeError, match=re.escape(message)):
            ImageLoader(SIZE).transform(single)

    def test_output_of_a_pipeline_and_a_pickle_are_as_ever(self, members, content_images):
        loader = pickle.loads(
            pickle.dumps(ImageLoader(SIZE, n_jobs=2).set_output(transform="pandas").fit(members))
        )
        np.testing.assert_array_equal(loader.transform(members), content_images)


class TestOpenFiles:
    def test_read_from_where_they_stand_and_left_there(self, contents, content_images):
        files = [io.BytesIO(b"xyz" * row + content) for row, content in enumerate(contents)]
        for row, file in enumerate(files):
            file.seek(3 * row)
        loader = ImageLoader(SIZE)
        np.testing.assert_array_equal(loader.transform(files), content_images)
        assert [file.tell() for file in files] == [3 * row for row in range(N)]
        np.testing.assert_array_equal(loader.transform(files), content_images)
        assert not any(file.closed for file in files)

    def test_files_of_the_system_and_of_tempfile(self, content_files, contents, content_images):
        with open(content_files[0], "rb") as first, open(content_files[1], "rb", buffering=0) as second:  # noqa: PTH123
            with tempfile.TemporaryFile() as third, tempfile.SpooledTemporaryFile() as fourth:
                third.write(contents[2])
                fourth.write(contents[3])
                third.seek(0), fourth.seek(0)
                loaded = ImageLoader(SIZE).transform([first, second, third, fourth])
            assert not first.closed
        np.testing.assert_array_equal(loaded, content_images[:4])

    def test_one_file_in_many_rows_and_threads(self, contents, content_images):
        file = io.BytesIO(contents[5])
        loaded = ImageLoader(SIZE, n_jobs=8).transform([file] * 100)
        np.testing.assert_array_equal(loaded, content_images[[5] * 100])

    def test_members_of_a_tar_archive_share_one_file(self, contents, content_images, tmp_path):
        with tarfile.open(tmp_path / "images.tar", "w") as archive:
            for row, content in enumerate(contents):
                entry = tarfile.TarInfo(str(row))
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        with tarfile.open(tmp_path / "images.tar") as archive:
            files = [archive.extractfile(str(row)) for row in range(N)]
            for _ in range(5):
                np.testing.assert_array_equal(ImageLoader(SIZE, n_jobs=6).transform(files), content_images)

    def test_a_stream_that_cannot_be_sought_is_read_once_in_short_reads(self, contents, content_images):
        class Stream:
            def __init__(self, content):
                self.file = io.BytesIO(content)

            def read(self, n):
                return self.file.read(min(n, 7))

        streams = [Stream(content) for content in contents]
        np.testing.assert_array_equal(ImageLoader(SIZE).transform(streams), content_images)
        with pytest.raises(ImageReadError, match=r"row 0: an open file \(Stream\): an empty file"):
            ImageLoader(SIZE).transform(streams)

    def test_text_closed_files_and_files_to_write(self, content_files, tmp_path):
        closed = io.BytesIO(b"x")
        closed.close()
        with (
            Path(content_files[1]).open() as text,
            (tmp_path / "new").open("wb") as written,
            pytest.raises(ImageReadError) as caught,
        ):
            ImageLoader(SIZE).transform([io.StringIO("abc"), text, closed, written])
        lines = str(caught.value).splitlines()
        assert lines[1] == "  row 0: an open file (StringIO): opened as text; open it with mode 'rb'"
        assert re.match(
            rf"  row 1: an open file \({re.escape(content_files[1])}\): (opened as text|cannot be read)", lines[2]
        )
        assert lines[3] == "  row 2: an open file (BytesIO): a closed file"
        assert lines[4] == f"  row 3: an open file ({tmp_path / 'new'}): cannot be read: read"

    def test_endless_files_come_to_an_end(self, monkeypatch):
        monkeypatch.setattr(_sources, "MAX_BYTES", 3 * 2**20)
        if not Path("/dev/zero").exists():
            pytest.skip("there is no endless file on this system")
        with (
            Path("/dev/zero").open("rb") as endless,
            pytest.raises(ImageReadError, match="longer than the 3145728"),
        ):
            ImageLoader(SIZE).transform([endless])


class TestPilImages:
    def test_they_are_neither_changed_nor_closed(self):
        rng = np.random.default_rng(0)
        values = rng.integers(0, 256, (12, 14), dtype=np.uint8)
        pictures = [Image.fromarray(values).convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")]
        pictures.append(Image.fromarray(values.astype(np.int32) * 200))
        before = [(picture.mode, picture.size, picture.tobytes(), dict(picture.info)) for picture in pictures]
        ImageLoader(7).transform(pictures)
        after = [(picture.mode, picture.size, picture.tobytes(), dict(picture.info)) for picture in pictures]
        assert after == before

    def test_the_orientation_is_applied_to_the_result_alone(self):
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
        picture.getexif()[0x112] = 6
        (loaded,) = ImageLoader(9).transform([picture])
        np.testing.assert_array_equal(loaded, np.rot90(np.asarray(picture), -1))
        assert picture.getexif()[0x112] == 6

    def test_one_that_has_not_read_its_file_in_many_rows_and_threads(self, contents):
        loader = ImageLoader(SIZE, n_jobs=8)
        (expected,) = loader.transform([Image.open(io.BytesIO(contents[1])).copy()])
        picture = Image.open(io.BytesIO(contents[1]))
        loaded = loader.transform([picture] * 64)
        assert (loaded == ImageLoader(SIZE).transform([picture])).all()
        assert expected.shape == loaded[0].shape
        assert picture.getpixel((0, 0)) is not None  # not closed

    def test_of_an_animation_the_frame_that_it_stands_at(self):
        frames = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
        buffer = io.BytesIO()
        frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
        with Image.open(buffer) as animation:
            animation.seek(1)
            assert (ImageLoader(4).transform([animation]) == (0, 0, 255)).all()
            assert animation.tell() == 1

    def test_damaged_and_closed_ones(self, contents):
        cut = Image.open(io.BytesIO(contents[1][:-300]))
        closed = Image.new("RGB", (3, 4))
        closed.close()
        for _ in range(2):  # the second look must not find half of the pixels
            with pytest.raises(ImageReadError) as caught:
                ImageLoader(SIZE).transform([cut, closed])
            lines = str(caught.value).splitlines()
            assert lines[1].startswith(f"  row 0: a PIL image (RGB, {cut.width} x {cut.height}): ")
            assert lines[2].startswith("  row 1: a PIL image (RGB, 3 x 4): cannot be loaded: ")

    def test_the_name_of_the_file_where_it_has_one(self, contents, tmp_path):
        path = tmp_path / "cut.png"
        path.write_bytes(contents[0][:400])
        with (
            Image.open(path) as image,
            pytest.raises(ImageReadError, match=re.escape(f"row 0: a PIL image ({path})")),
        ):
            ImageLoader(SIZE).transform([image])


def test_bytes_are_never_shown(contents):
    secret = b"\x89PNG\r\n\x1a\n" + b"secret" * 1000
    with pytest.raises(ImageReadError) as caught:
        ImageLoader(SIZE).transform([contents[0], secret, bytearray(secret), b""])
    assert "secret" not in str(caught.value)
    assert str(caught.value).splitlines()[1:] == [
        "  row 1: 6008 bytes: damaged: Truncated File Read",
        "  row 2: 6008 bytes: damaged: Truncated File Read",
        "  row 3: 0 bytes: an empty file",
    ]


@pytest.fixture(scope="module")
def lesion_contents(lesions):
    """The content of a PNG file for each image of `lesions`."""
    contents = []
    for image in lesions.images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        contents.append(buffer.getvalue())
    return contents


@pytest.fixture(scope="module")
def options():
    """Parameters of a quick fit."""
    params = {"width": 8, "depth": 1}
    return {"max_epochs": 2, "image_size": 16, "architecture_params": params, "random_state": 0}


@pytest.fixture(scope="module")
def zipped(lesion_contents, tmp_path_factory):
    """The same as members of an archive."""
    path = tmp_path_factory.mktemp("zipped") / "lesions.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for row, content in enumerate(lesion_contents):
            archive.writestr(f"{row}.png", content)
    return [f"{path}::{row}.png" for row in range(len(lesion_contents))]


class TestClassifier:
    @pytest.mark.parametrize("kind", ["bytes", "open files", "PIL", "members"])
    @pytest.mark.parametrize("limit", [None, 1000], ids=["at once", "streamed"])
    def test_it_is_trained_on_the_same_images(self, lesions, lesion_contents, zipped, options, kind, limit):
        X = {
            "bytes": lesion_contents,
            "open files": list(map(io.BytesIO, lesion_contents)),
            "PIL": [Image.open(io.BytesIO(content)) for content in lesion_contents],
            "members": zipped,
        }[kind]
        model = LesionCNNClassifier(memory_limit=limit, **options).fit(X, lesions.target, groups=lesions.groups)
        expected = LesionCNNClassifier(**options).fit(lesions.images, lesions.target, groups=lesions.groups)
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(lesions.images))

    def test_archives_are_open_while_images_stream_and_closed_then(self, zipped, lesions, monkeypatch):
        opened, of_library = [], zipfile.ZipFile
        monkeypatch.setattr(
            _sources.zipfile, "ZipFile", lambda path: opened.append(of_library(path)) or opened[-1]
        )
        images = FileImages(np.array(zipped, dtype=object), 16, "center", 2)
        with reading(images):
            for _ in range(3):
                np.testing.assert_array_equal(images[np.arange(9)], lesions.images[:9])
        assert len(opened) == 1
        assert opened[0].fp is None
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("skinclf-decode")]

    def test_damaged_ones_are_named_in_a_stream_too(self, lesion_contents):
        images = FileImages(column([lesion_contents[0], lesion_contents[1][:90], b"<html>"]), 16, "center", 1)
        with pytest.raises(ImageReadError) as caught:
            images[np.array([0, 1])]
        assert [line.split(": ")[:2] for line in str(caught.value).splitlines()[1:]] == [
            ["  row 1", "90 bytes"],
            ["  row 2", "6 bytes"],
        ]
