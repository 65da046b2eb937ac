"""Archives that are fine, dangerous and damaged: what is unpacked of them, and what is said."""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import zipfile
import zlib

import pytest

from skinclf.datasets._archive import Limits, Member, inspect_archive, is_whole, staging_folder, unpack

GOOD = {"ISIC_0024306.jpg": b"one", "ISIC_0024307.jpg": b"another one", "notes/ATTRIBUTION.txt": b"by the authors"}


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    """Write an archive; a name may be a ZipInfo, to say what writestr would not."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return path


@pytest.fixture
def good(tmp_path):
    return write_zip(tmp_path / "part_1.zip", GOOD)


def entry(name, mode=stat.S_IFREG | 0o644):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(path, limits=None):
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ValueError, match="is refused; nothing of it was unpacked") as caught:
        inspect_archive(path, limits)
    assert sorted(path.parent.rglob("*")) == before
    return str(caught.value)


# --- archives that are fine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_unpacked_as_it_is(tmp_path, compression):
    path = write_zip(tmp_path / "part_1.zip", GOOD, compression)
    members = inspect_archive(path)
    assert [(member.name, member.size, member.crc) for member in members] == [
        (name, len(content), zlib.crc32(content)) for name, content in GOOD.items()
    ]
    unpack(path, members, tmp_path / "part_1")
    assert files_in(tmp_path / "part_1") == GOOD
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part_1", "part_1.zip"]


def test_the_folder_that_is_named_like_the_archive_is_left_off(tmp_path):
    nested = write_zip(tmp_path / "part_1.zip", {f"part_1/{name}": content for name, content in GOOD.items()})
    other = write_zip(tmp_path / "b.zip", {f"part_1/{name}": content for name, content in GOOD.items()})
    both = write_zip(tmp_path / "c.zip", {"c/a.jpg": b"1", "a.jpg": b"2"})
    assert [member.name for member in inspect_archive(nested)] == list(GOOD)
    assert [member.name for member in inspect_archive(other)] == [f"part_1/{name}" for name in GOOD]
    assert [member.name for member in inspect_archive(both)] == ["c/a.jpg", "a.jpg"]


@pytest.mark.fault(57)
def test_folders_and_what_systems_leave_behind_are_passed_over(tmp_path):
    rubbish = {
        "notes/": b"",
        "__MACOSX/": b"",
        "__MACOSX/._ISIC_0024306.jpg": b"\0",
        "__MACOSX/ISIC_0024306.jpg": b"\0",
        "notes/__MACOSX/a.jpg": b"\0",
        "._ISIC_0024307.jpg": b"\0",
        ".DS_Store": b"\0",
        "notes/Thumbs.db": b"\0",
        "desktop.ini": b"\0",
    }
    path = write_zip(tmp_path / "a.zip", GOOD | rubbish)
    unpack(path, inspect_archive(path), tmp_path / "a")
    assert files_in(tmp_path / "a") == GOOD


def test_every_size_is_copied_whole(tmp_path):
    sizes = [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20]
    contents = {f"{size}.jpg": random.Random(size).randbytes(size) for size in sizes}
    path = write_zip(tmp_path / "a.zip", contents)
    unpack(path, inspect_archive(path), tmp_path / "a")
    assert files_in(tmp_path / "a") == contents


def test_progress_is_shown_only_if_it_is_wanted(tmp_path, good, capfd):
    unpack(good, inspect_archive(good), tmp_path / "a")
    assert capfd.readouterr() == ("", "")
    unpack(good, inspect_archive(good), tmp_path / "b", verbose=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "unpacking part_1.zip: 100%" in err


# --- runs that are stopped, and files that are there --------------------------------------------------------


def test_half_an_archive_is_never_seen_and_is_completed_later(tmp_path, good, monkeypatch):
    members = inspect_archive(good)
    opened = []

    def stop_at_the_second(archive, name, *args, **kwargs):
        opened.append(name)
        if len(opened) == 2:
            raise KeyboardInterrupt
        return original(archive, name, *args, **kwargs)

    original = zipfile.ZipFile.open
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "open", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            unpack(good, members, tmp_path / "part_1")
        assert not (tmp_path / "part_1").exists()
        assert staging_folder(tmp_path / "part_1").name.startswith(".")
        assert files_in(staging_folder(tmp_path / "part_1")) == dict(list(GOOD.items())[:1])
        unpack(good, members, tmp_path / "part_1")
    assert files_in(tmp_path / "part_1") == GOOD
    assert len(opened) == 4  # the first file was not unpacked twice
    assert not staging_folder(tmp_path / "part_1").exists()


@pytest.mark.parametrize("content", [b"", b"on", b"One", b"longer"])
def test_a_file_that_a_killed_run_left_half_written_is_written_again(tmp_path, good, content):
    staging = staging_folder(tmp_path / "part_1")
    staging.mkdir()
    (staging / "ISIC_0024306.jpg").write_bytes(content)
    unpack(good, inspect_archive(good), tmp_path / "part_1")
    assert files_in(tmp_path / "part_1") == GOOD


def test_what_another_version_of_the_archive_left_is_removed(tmp_path, good):
    staging = staging_folder(tmp_path / "part_1")
    (staging / "old" / "older").mkdir(parents=True)
    (staging / "old" / "older" / "ISIC_0024399.jpg").write_bytes(b"old")
    unpack(good, inspect_archive(good), tmp_path / "part_1")
    assert files_in(tmp_path / "part_1") == GOOD
    assert not (tmp_path / "part_1" / "old").exists()


def test_only_what_is_missing_or_damaged_is_written(tmp_path, good):
    folder = tmp_path / "part_1"
    members = inspect_archive(good)
    unpack(good, members, folder)
    (folder / "ISIC_0024306.jpg").write_bytes(b"One")  # the same length
    (folder / "notes" / "ATTRIBUTION.txt").unlink()
    (folder / "notes").rmdir()
    (folder / "mine.txt").write_bytes(b"of the user")
    os.utime(folder / "ISIC_0024307.jpg", (1, 1))
    unpack(good, members, folder)
    assert files_in(folder) == GOOD | {"mine.txt": b"of the user"}
    assert (folder / "ISIC_0024307.jpg").stat().st_mtime == 1
    assert not staging_folder(folder).exists()
    unpack(good, members, folder)
    assert files_in(folder) == GOOD | {"mine.txt": b"of the user"}


def test_is_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    crc = zlib.crc32(b"one")
    assert is_whole(tmp_path / "a", 3, crc)
    assert not is_whole(tmp_path / "a", 4, crc)
    assert not is_whole(tmp_path / "a", 3, crc + 1)
    assert not is_whole(tmp_path / "b", 3, crc)
    assert not is_whole(tmp_path, 3, crc)


# --- archives that are dangerous ----------------------------------------------------------------------------


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", r"absolute path \(1\): '/etc/passwd'"),
        ("//server/share/a.jpg", "absolute path"),
        ("\\windows\\a.jpg", "absolute path"),
        ("C:/a.jpg", "absolute path"),
        ("c:a.jpg", "absolute path"),
        ("../a.jpg", r"path that leads out of the folder \(1\): '\.\./a\.jpg'"),
        ("a/../../a.jpg", "path that leads out of the folder"),
        ("a/..", "path that leads out of the folder"),
        ("..\\a.jpg", "path that leads out of the folder"),
        ("../", "path that leads out of the folder"),
        ("__MACOSX/../../a.jpg", "path that leads out of the folder"),
        ("./a.jpg", "name that not every system can hold"),
        ("a//b.jpg", "name that not every system can hold"),
        ("a\\b.jpg", "name that not every system can hold"),
        ("a.jpg:stream", "name that not every system can hold"),
        ("a\nb.jpg", "name that not every system can hold"),
        ("aux.jpg", "name that not every system can hold"),
        ("COM1", "name that not every system can hold"),
        ("a.jpg.", "name that not every system can hold"),
        ("a /b.jpg", "name that not every system can hold"),
        ("what?.jpg", "name that not every system can hold"),
        ("", "name that not every system can hold"),
    ],
)
def test_a_member_that_would_be_written_elsewhere(tmp_path, name, message):
    path = write_zip(tmp_path / "a.zip", [*GOOD.items(), (entry(name), b"evil")])
    told = refusal(path)
    assert f"The archive {path} is refused" in told
    with pytest.raises(ValueError, match=message):
        inspect_archive(path)


def test_a_name_with_a_null_character(tmp_path):
    """Python cuts the name there; what is checked is what the archive says."""
    path = tmp_path / "a.zip"
    write_zip(path, {"a.jpgX/../../evil": b"1"})
    path.write_bytes(path.read_bytes().replace(b"a.jpgX", b"a.jpg\0"))
    assert "path that leads out of the folder" in refusal(path)


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (stat.S_IFLNK | 0o777, "a link, not a file"),
        (stat.S_IFCHR, "a device, not a file"),
        (stat.S_IFBLK, "a device, not a file"),
        (stat.S_IFIFO, "a pipe, not a file"),
        (stat.S_IFSOCK, "a socket, not a file"),
    ],
)
def test_a_member_that_is_no_file(tmp_path, mode, message):
    path = write_zip(tmp_path / "a.zip", [*GOOD.items(), (entry("ISIC_0024308.jpg", mode), b"/etc/passwd")])
    assert f"{message} (1): 'ISIC_0024308.jpg'" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("one", "other"),
    [("a.jpg", "a.jpg"), ("a.jpg", "A.JPG"), ("straße.jpg", "STRASSE.JPG"), ("\u00e9.jpg", "e\u0301.jpg")],
)
def test_two_files_that_are_one_on_some_systems(tmp_path, one, other):
    path = write_zip(tmp_path / "a.zip", [(one, b"1"), (other, b"2")])
    assert f"name that is there twice (1): {one!r} and {other!r}" in refusal(path)


def test_a_file_where_a_folder_must_be(tmp_path):
    assert "name of a file and of a folder (1): 'a'" in refusal(
        write_zip(tmp_path / "a.zip", {"a/b/c.jpg": b"1", "a": b"2"})
    )


@pytest.mark.fault(56)
def test_a_bomb_by_its_ratio(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.jpg": bytes(1 << 20), "b.jpg": random.Random(0).randbytes(1000)})
    told = refusal(path)
    assert "file that unpacks to more than 100 times its size (1): 'a.jpg': 1,048,576 bytes out of " in told
    assert len(inspect_archive(path, Limits(ratio=2000))) == 2


def test_a_table_of_zeros_and_ones_is_no_bomb(tmp_path):
    """The ground truth of ISIC 2018 is the honest file that shrinks most."""
    rows = "".join(f"ISIC_{number:07d},0.0,1.0,0.0,0.0,0.0,0.0,0.0\n" for number in range(24306, 34321))
    path = write_zip(tmp_path / "a.zip", {"a.csv": rows})
    (member,) = inspect_archive(path)
    assert 5 < member.size / member.entry.compress_size < 50


@pytest.mark.fault(56)
def test_a_bomb_by_its_sizes(tmp_path, good):
    assert "file of more than 10 bytes (2): 'ISIC_0024307.jpg': 11 bytes" in refusal(good, Limits(member=10))
    assert "too much to unpack (1): 28 bytes; the limit is 27" in refusal(good, Limits(total=27))
    assert "too many files (1): 3; the limit is 2" in refusal(good, Limits(n_members=2))
    assert len(inspect_archive(good, Limits(member=14, total=28, n_members=3))) == 3


def central_entries(raw):
    """Return where the entries of the central directory of an archive without comments begin."""
    begins, at = [], struct.unpack("<I", raw[-6:-2])[0]
    while raw[at : at + 4] == b"PK\1\2":
        begins.append(at)
        at += 46 + sum(struct.unpack("<HHH", raw[at + 28 : at + 34]))
    return begins


def change(path, number, offset, form, value):
    """Overwrite a field of one entry of the central directory."""
    raw = bytearray(path.read_bytes())
    struct.pack_into(form, raw, central_entries(raw)[number] + offset, value)
    path.write_bytes(raw)


@pytest.mark.fault(56)
def test_a_bomb_of_files_that_share_their_bytes(tmp_path):
    """As in Fifield's: many entries lead to one block, so that the ratio of each is innocent."""
    path = write_zip(tmp_path / "a.zip", {f"{name}.jpg": random.Random(0).randbytes(1000) for name in range(9)})
    raw = bytearray(path.read_bytes())
    for at in central_entries(raw):
        struct.pack_into("<II", raw, at + 20, 5000, 5000)
    path.write_bytes(raw)
    assert "files that share their bytes (1): 45,000 bytes in an archive of" in refusal(path)


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_an_encrypted_file(tmp_path, good, flag):
    change(good, 1, 8, "<H", flag)
    assert "encrypted file (1): 'ISIC_0024307.jpg'" in refusal(good)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_that_is_packed_otherwise(tmp_path, compression):
    assert "file packed in a way other than deflate (3)" in refusal(
        write_zip(tmp_path / "a.zip", GOOD, compression)
    )


def test_all_that_is_wrong_is_in_one_message(tmp_path):
    link = entry("b.jpg", stat.S_IFLNK)
    told = refusal(write_zip(tmp_path / "a.zip", [("../a.jpg", b"1"), (link, b"2"), ("/c.jpg", bytes(1 << 20))]))
    assert len(told.splitlines()) == 5


@pytest.mark.parametrize("members", [{}, {"a/": b""}, {"__MACOSX/._a.jpg": b"\0"}])
def test_nothing_to_unpack(tmp_path, members):
    assert "nothing to unpack (1): a.zip" in refusal(write_zip(tmp_path / "a.zip", members))


# --- archives that are damaged ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>Back soon</html>", b"PK\5\6" + bytes(10), b"\xff" * 100])
def test_a_file_that_is_no_archive(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip is not a zip archive, or a damaged one \("):
        inspect_archive(path)


def test_an_archive_that_was_cut_short(tmp_path, good):
    raw = good.read_bytes()
    for length in range(0, len(raw), 7):
        good.write_bytes(raw[:length])
        with pytest.raises(ValueError, match="not a zip archive, or a damaged one"):
            inspect_archive(good)


def test_a_member_with_a_wrong_checksum(tmp_path, good):
    change(good, 1, 16, "<I", 12345)
    with pytest.raises(ValueError, match=r"ISIC_0024307\.jpg in .*part_1\.zip is damaged \(Bad CRC-32"):
        unpack(good, inspect_archive(good), tmp_path / "part_1")
    assert not (tmp_path / "part_1").exists()


@pytest.mark.parametrize("length", [0, 5, 40])
def test_a_member_with_a_wrong_length(tmp_path, good, length):
    change(good, 1, 24, "<I", length)
    with pytest.raises(ValueError, match=r"ISIC_0024307\.jpg in .*part_1\.zip is damaged"):
        unpack(good, inspect_archive(good), tmp_path / "part_1")
    assert not (tmp_path / "part_1").exists()


def test_an_archive_that_changed_after_it_was_looked_at(tmp_path, good):
    """No more is written than was announced, whatever the archive holds by then."""
    members = [Member(m.name, 2, m.crc, m.entry) for m in inspect_archive(good)]
    with pytest.raises(ValueError, match="has not the length that it states"):
        unpack(good, members, tmp_path / "part_1")
    assert files_in(tmp_path) == {"part_1.zip": good.read_bytes()}


def test_a_member_that_lies_outside_of_the_archive(good):
    change(good, 1, 42, "<I", 1 << 30)
    assert "file that lies outside of the archive (1): 'ISIC_0024307.jpg'" in refusal(good)


def try_to_unpack(path, folder):
    try:
        unpack(path, inspect_archive(path), folder)
    except ValueError as error:
        return str(error)
    return None


def test_flipped_bytes_are_refused_or_change_nothing(tmp_path, good):
    """300 damaged archives: an error that says so, or the right bytes; never another error or wrong bytes."""
    raw = good.read_bytes()
    draw = random.Random(0)
    told = []
    for number in range(300):
        spoilt = bytearray(raw)
        for _ in range(draw.randint(1, 3)):
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        good.write_bytes(spoilt)
        folder = tmp_path / str(number)
        told.append(try_to_unpack(good, folder))
        assert (told[-1] is None) == folder.exists()
        assert set(files_in(tmp_path).values()) - {bytes(spoilt)} <= set(GOOD.values())
        for leftover in (folder, staging_folder(folder)):
            shutil.rmtree(leftover, ignore_errors=True)
    messages = [message for message in told if message]
    assert 50 < len(messages) < 300
    assert all("is refused" in message or "damaged" in message for message in messages)
