"""Members of zip archives as images, ``archive.zip::name``: not unpacked to the disk, not believed unchecked."""

from __future__ import annotations

import os
import re
import shutil
import struct
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from skinclf.preprocessing import ImageLoader, ImageReadError, _loader, _sources
from skinclf.preprocessing._sources import Sources, split_member

pytestmark = pytest.mark.usefixtures("no_global_randomness")

N = 12
SIZE = 10


class TestMembers:
    @pytest.mark.parametrize(
        ("path", "parts"),
        [
            ("a.zip::b.jpg", ("a.zip", "b.jpg")),
            ("dir/A.ZIP::b/c::d.jpg", ("dir/A.ZIP", "b/c::d.jpg")),
            ("a.zip::b.zip::c.jpg", ("a.zip", "b.zip::c.jpg")),
            ("a.zip::", ("a.zip", "")),
            ("::a.zip", None),
            (".zip::a.jpg", None),
            ("a.tar::b.jpg", None),
            ("a.zip:b.jpg", None),
            ("a.zip", None),
        ],
    )
    def test_where_archive_and_member_part(self, path, parts):
        assert split_member(path) == parts

    def test_a_file_whose_name_has_colons_is_a_file(self, contents, content_images, tmp_path):
        (tmp_path / "nine::thirty.png").write_bytes(contents[0])
        np.testing.assert_array_equal(
            ImageLoader(SIZE).transform([tmp_path / "nine::thirty.png"]), content_images[:1]
        )

    def test_nothing_is_unpacked_to_the_disk(self, members, monkeypatch, tmp_path):
        for name in ("extract", "extractall"):
            monkeypatch.setattr(zipfile.ZipFile, name, None)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        ImageLoader(SIZE).transform(members)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("n_jobs", [1, 2, 8])
    def test_threads_share_archives(self, members, content_images, n_jobs):
        rows = np.random.default_rng(0).integers(0, N, 200)
        X = [members[row] for row in rows]
        np.testing.assert_array_equal(ImageLoader(SIZE, n_jobs=n_jobs).transform(X), content_images[rows])

    def test_an_archive_is_opened_once_and_closed(self, members, monkeypatch):
        opened, of_library = [], zipfile.ZipFile

        def counted(path):
            opened.append(of_library(path))
            return opened[-1]

        monkeypatch.setattr(_sources.zipfile, "ZipFile", counted)
        ImageLoader(SIZE, n_jobs=4).transform(members * 3)
        assert len(opened) == 2
        assert [archive.fp for archive in opened] == [None, None]

    def test_no_more_than_so_many_archives_are_open_at_a_time(
        self, contents, content_images, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(_sources, "_MOST_ARCHIVES", 3)
        for row, content in enumerate(contents):
            with zipfile.ZipFile(tmp_path / f"{row}.zip", "w") as archive:
                archive.writestr("a.jpg", content)
        X = [f"{tmp_path / f'{row}.zip'}::a.jpg" for row in range(N)]
        np.testing.assert_array_equal(
            ImageLoader(SIZE, n_jobs=6).transform(X * 4), np.tile(content_images, (4, 1, 1, 1))
        )
        with Sources() as sources:
            for path in X:
                with sources.open(path):
                    assert len(sources._archives) <= 3

    def test_of_two_members_with_one_name_the_last_counts(self, contents, content_images, tmp_path):
        path = tmp_path / "twice.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", contents[0])
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr("a", contents[1])
        np.testing.assert_array_equal(ImageLoader(SIZE).transform([f"{path}::a"]), content_images[1:2])


def cause(path):
    """Return what the loader says of one file, and assert that it names it."""
    with pytest.raises(ImageReadError) as caught:
        ImageLoader(SIZE).transform([path])
    head, line = str(caught.value).split("\n")
    assert head == "1 of 1 images could not be read:"
    assert line.startswith(f"  row 0: {path}: ")
    return line.removeprefix(f"  row 0: {path}: ")


@pytest.fixture
def archive(tmp_path):
    """Write an archive of one member, and return the member."""

    def write(content, way=zipfile.ZIP_DEFLATED, name="a.jpg"):
        with zipfile.ZipFile(tmp_path / "archive.zip", "w", way) as file:
            file.writestr(name, content)
        return f"{tmp_path / 'archive.zip'}::{name}"

    return write


def changed(member, change):
    """Change the bytes of the archive in place."""
    path = Path(split_member(member)[0])
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return member


class TestArchivesThatCannotBeRead:
    @pytest.mark.fault(12)
    def test_no_such_archive_and_no_such_member(self, archive, contents, tmp_path):
        assert cause(f"{tmp_path / 'none.zip'}::a.jpg") == "the archive cannot be opened: no such file"
        archive(contents[0])
        for name in ("b.jpg", "", "A.jpg", "/a.jpg"):
            assert cause(f"{tmp_path / 'archive.zip'}::{name}") == "the archive has no such member"

    def test_a_folder(self, tmp_path):
        (tmp_path / "folder.zip").mkdir()
        assert cause(f"{tmp_path / 'folder.zip'}::a.jpg") == "the archive cannot be opened: it is a folder"

    @pytest.mark.fault(10)
    def test_a_member_that_is_a_folder(self, archive):
        assert cause(archive(b"", name="folder/")) == "a folder, not an image file"

    @pytest.mark.fault(5)
    def test_no_zip(self, tmp_path):
        (tmp_path / "page.zip").write_text("<html>404</html>")
        message = "the archive is no zip file, or a damaged one (File is not a zip file)"
        assert cause(f"{tmp_path / 'page.zip'}::a.jpg") == message

    @pytest.mark.fault(54)
    def test_the_end_is_missing(self, archive, contents):
        member = changed(archive(contents[0]), lambda content: content.__delitem__(slice(-60, None)))
        assert cause(member).startswith("the archive is no zip file, or a damaged one (")

    def test_encrypted(self, archive, contents):
        def set_flag(content):
            start = content.index(b"PK\x01\x02")
            content[start + 8] |= 1

        member = changed(archive(contents[0]), set_flag)
        assert cause(member) == "encrypted; unpack the archive with its password, and pass the files"

    @pytest.mark.parametrize(
        ("way", "name"), [(9, "deflate64"), (12, "bzip2"), (14, "lzma"), (99, "method 99")], ids=[9, 12, 14, 99]
    )
    def test_other_ways_to_compress(self, archive, contents, way, name):
        # zipfile unpacks bzip2 and LZMA without a limit: a bomb would fill the memory, whatever size it claims.
        def set_method(content):
            for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
                start = content.index(mark) + place
                content[start : start + 2] = struct.pack("<H", way)

        member = changed(archive(contents[0]), set_method)
        assert (
            cause(member) == f"compressed by {name}, and only stored and deflated members are read; pack them anew"
        )

    @pytest.mark.parametrize("way", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_a_flipped_bit(self, archive, contents, way):
        def flip(content):
            content[len(content) // 2] ^= 1

        assert cause(changed(archive(contents[0], way), flip)).startswith("damaged")

    @pytest.mark.fault(56)
    def test_a_bomb(self, archive, monkeypatch):
        monkeypatch.setattr(_sources, "MAX_BYTES", 10**6)
        assert cause(archive(bytes(10**6 + 1))) == "1000001 bytes when unpacked, and at most 1000000 are read"
        assert cause(archive(bytes(10**6))) == "not an image in a format that Pillow reads"

    @pytest.mark.fault(56)
    def test_a_bomb_that_lies_about_its_size(self, archive):
        def lie(content):
            for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
                start = content.index(mark) + place
                content[start : start + 4] = struct.pack("<I", 1000)

        member = changed(archive(bytes(50 * 2**20)), lie)
        tracemalloc.start()
        try:
            assert cause(member).startswith("damaged in the archive: Bad CRC-32")
            assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
        finally:
            tracemalloc.stop()

    def test_an_image_that_is_damaged_within_a_sound_archive(self, archive, contents):
        assert cause(archive(contents[1][:-200])).startswith("damaged: image file is truncated")
        assert cause(archive(b"")) == "an empty file"
        assert cause(archive(b"<html>")) == "an HTML page, not an image; the download probably failed"

    def test_the_sound_members_beside_them_are_read(self, members, content_images, tmp_path):
        X = [members[0], f"{split_member(members[0])[0]}::none", members[1], f"{tmp_path}/none.zip::a"]
        with pytest.warns(
            UserWarning, match=r"(?s)2 of 4 images .*row 1: .*no such member.*row 3: .*no such file"
        ):
            loaded, rows = ImageLoader(SIZE, on_error="warn", n_jobs=2).load(X)
        assert rows.tolist() == [0, 2]
        np.testing.assert_array_equal(loaded, content_images[:2])


class TestCache:
    def test_members_are_decoded_once(self, members, content_images, decoded, tmp_path):
        loader = ImageLoader(SIZE, cache_dir=tmp_path / "cache")
        for _ in range(3):
            np.testing.assert_array_equal(loader.transform(members), content_images)
        assert sorted(decoded) == sorted(members)

    def test_members_of_an_archive_that_was_written_anew_are_decoded_anew(
        self, contents, content_images, tmp_path
    ):
        loader, path = ImageLoader(SIZE, cache_dir=tmp_path / "cache"), tmp_path / "archive.zip"
        for row in (0, 3):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a.jpg", contents[row])
            os.utime(path, ns=(row, row))
            np.testing.assert_array_equal(loader.transform([f"{path}::a.jpg"]), content_images[[row]])

    def test_members_of_one_name_in_two_archives_are_two_images(self, contents, content_images, tmp_path):
        for row in (0, 3):
            with zipfile.ZipFile(tmp_path / f"{row}.zip", "w") as archive:
                archive.writestr("a.jpg", contents[row])
                archive.writestr("b.jpg", contents[row + 1])
            os.utime(tmp_path / f"{row}.zip", ns=(0, 0))
        X = [f"{tmp_path / f'{row}.zip'}::{name}.jpg" for row in (0, 3) for name in "ab"]
        loader = ImageLoader(SIZE, cache_dir=tmp_path / "cache")
        for _ in range(2):
            np.testing.assert_array_equal(loader.transform(X), content_images[[0, 1, 3, 4]])

    def test_an_archive_that_changes_while_it_is_read_is_no_image(self, members, monkeypatch, tmp_path):
        path, decode = shutil.copy2(split_member(members[0])[0], tmp_path / "archive.zip"), _loader.decode_image

        def decode_slowly(*args):
            image = decode(*args)
            os.utime(path, ns=(5, 5))
            return image

        monkeypatch.setattr(_loader, "decode_image", decode_slowly)
        X = [f"{path}::{split_member(members[0])[1]}"]
        with pytest.raises(ImageReadError, match=re.escape(f"row 0: {X[0]}: it was changed while it was read")):
            ImageLoader(SIZE, cache_dir=tmp_path / "cache").transform(X)

    def test_what_has_no_path_is_not_kept(self, contents, content_files, content_images, tmp_path):
        loader = ImageLoader(SIZE, cache_dir=tmp_path / "cache")
        np.testing.assert_array_equal(loader.transform([*contents[:3], *content_files[3:]]), content_images)
        assert not (tmp_path / "cache").exists()
