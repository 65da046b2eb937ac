"""`fetch_ham10000` when something goes wrong: networks, lists, archives, disks, and processes at once."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from file_server import FileServer, cut, lie, stall, status, web_page, wrong
from ham10000_publishers import (
    IMAGES,
    LIST,
    NETWORK,
    PART_1,
    PART_2,
    TABLE,
    dataverse_files,
    fetch,
    left,
    make_zip,
    manifest,
    replace,
    serve_dataverse,
    serve_isic,
)

from skinclf.datasets import _obtain
from skinclf.datasets._ham10000 import load_checked
from skinclf.datasets._manifest import Manifest
from skinclf.datasets._network import DownloadError, Network

from ham10000_home import IDS, LABELS, SMALL

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


# --- networks that fail -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [cut(300), stall(300), status(503), web_page, lie(10), wrong(b"x")])
@pytest.mark.parametrize("name", [TABLE, PART_1])
def test_a_passing_trouble_is_survived(home, server, fault, name):
    source, stored = serve_dataverse(server)
    stored[name].faults.append(fault)
    network = Network(
        n_retries=1, delay=0.0, timeout=0.4 if fault.__qualname__.startswith("stall") else 5.0, verbose=False
    )
    assert fetch(home, source, network=network).target.tolist() == LABELS


def test_a_download_that_fails_leaves_nothing_that_is_taken_for_the_data(home, server):
    source, stored = serve_dataverse(server)
    stored[PART_2].faults.extend([cut(100), cut(100)])
    message = (
        r"Downloading HAM10000_images_part_2\.zip from .* failed 2 times in a row, the last time because the "
        r"connection ended .* 200 bytes are kept, to go on from there\. Call again to go on, or pass "
        r"source='isic', or download .*part_2\.zip by hand from https://doi\.org/10\.7910/DVN/DBW86T"
    )
    with pytest.raises(DownloadError, match=message):
        fetch(home, source)
    with pytest.raises(ValueError, match="does not hold HAM10000 as published"):
        load_checked(home, SMALL)
    with pytest.raises(OSError, match=r"Lacking are HAM10000_images_part_2\.zip: not downloaded\."):
        fetch(home, source, download_if_missing=False)
    asked = len(server.gets())
    fetch(home, source)
    assert len(server.gets()) - asked == 3  # the list, the redirect, and the rest of one archive
    assert server.gets()[-1]["Range"] == "bytes=200-"


def test_a_wrong_file_is_refused(home, server):
    source, stored = serve_dataverse(server)
    stored[PART_1].faults.append(wrong(bytes(len(stored[PART_1].body))))
    with pytest.raises(DownloadError, match=r"HAM10000_images_part_1\.zip .* is not as published: its MD5 is .*"):
        fetch(home, source)
    assert left(home / "ham10000") == ["HAM10000_metadata.csv", "skinclf_manifest.json"]
    assert fetch(home, source).target.tolist() == LABELS


def test_a_source_that_is_away(home):
    with FileServer() as server:
        source, _ = serve_dataverse(server)
    with pytest.raises(DownloadError, match=r"Asking http://.* failed 2 times in a row, .* or pass source='isic'"):
        fetch(home, source)


def test_a_refusal_names_a_way_out(home, server):
    source, _ = serve_dataverse(server)
    server.files[LIST].faults.append(status(403))
    with pytest.raises(DownloadError, match=r"status 403 \(Forbidden\)\. Call again .* or download .* by hand"):
        fetch(home, source)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": "OK"}, "in a form that is not known"),
        ({"data": {"latestVersion": {"files": None}}}, "in a form that is not known"),
        ([], "in a form that is not known"),
        ({"data": {"latestVersion": {"files": [{"dataFile": {}}]}}}, "in a form that is not known"),
        ({"data": {"latestVersion": {"files": []}}}, r"has no HAM10000_metadata\.csv, .*, but nothing\."),
        (
            {"data": {"latestVersion": {"files": [{"dataFile": {"id": 1, "filename": "a.pdf"}}]}}},
            r"part_2\.zip in doi:10\.7910/DVN/DBW86T, but a\.pdf\.",
        ),
    ],
)
def test_a_list_that_is_not_understood(home, server, answer, message):
    source, _ = serve_dataverse(server)
    server.files[LIST].body = json.dumps(answer).encode()
    with pytest.raises(DownloadError, match=message):
        fetch(home, source)


@pytest.mark.parametrize(
    "change",
    [
        {"md5": None, "checksum": None},
        {"checksum": {"type": "CRC", "value": "0"}},
        {"checksum": {"type": "MD5", "value": ""}},
        {"id": "../../secret"},
    ],
)
def test_a_listed_file_without_checksum_or_id(home, server, change):
    source, _ = serve_dataverse(server)
    answer = json.loads(server.files[LIST].body)
    answer["data"]["latestVersion"]["files"][1]["dataFile"] |= change
    server.files[LIST].body = json.dumps(answer).encode()
    with pytest.raises(
        DownloadError, match=r"lists HAM10000_images_part_1\.zip without an id or without a checksum"
    ):
        fetch(home, source)


def test_other_checksums_than_md5_and_lists_without_lengths(home, server):
    source, stored = serve_dataverse(server)
    answer = json.loads(server.files[LIST].body)
    for file in answer["data"]["latestVersion"]["files"]:
        digest = hashlib.sha512(stored[file["label"]].body).hexdigest().upper()
        file["dataFile"]["checksum"] = {"type": "SHA-512", "value": digest}
        for key in ("md5", "originalFileSize", "filesize"):
            file["dataFile"].pop(key, None)
    server.files[LIST].body = json.dumps(answer).encode()
    assert fetch(home, source).target.tolist() == LABELS
    assert manifest(home)["files"][PART_1]["published"].startswith("sha512:")


def test_the_etag_of_the_storage_of_isic_is_used_where_it_is_a_checksum(home, server):
    source, _ = serve_isic(server)
    fetch(home, source)
    published = {name: record["published"] for name, record in manifest(home)["files"].items()}
    assert published["ISIC2018_Task3_Training_Input.zip"] is None  # uploaded in several pieces
    assert published["ISIC2018_Task3_Training_GroundTruth.zip"].startswith("md5:")


def test_the_etag_of_an_encrypted_object_is_no_checksum(home, server):
    source, stored = serve_isic(server)
    file = stored["ISIC2018_Task3_Training_LesionGroupings.csv"]
    file.etag, file.headers = f'"{"0" * 32}"', {"x-amz-server-side-encryption": "aws:kms"}
    fetch(home, source)
    assert manifest(home)["files"]["ISIC2018_Task3_Training_LesionGroupings.csv"]["published"] is None


def test_a_file_of_isic_without_a_length(home, server):
    source, stored = serve_isic(server)
    stored["ISIC2018_Task3_Training_GroundTruth.zip"].headers = {"Content-Length": "none"}
    stored["ISIC2018_Task3_Training_GroundTruth.zip"].body = b""
    with pytest.raises(DownloadError, match=r"GroundTruth\.zip has no length"):
        fetch(home, source)


@pytest.mark.parametrize(
    "name", ["ISIC2018_Task3_Training_LesionGroupings.csv", "ISIC2018_Task3_Training_Input.zip"]
)
def test_a_wrong_file_without_a_checksum_is_not_kept(home, server, name):
    """The server is consistent: it announces and sends the wrong file, whole."""
    source, stored = serve_isic(server)
    right, stored[name].body, stored[name].etag = stored[name].body, stored[name].body[:-40], '"x-2"'
    with pytest.raises(ValueError, match="was removed"):
        fetch(home, source)
    stored[name].body, stored[name].etag = right, '"y-2"'
    assert fetch(home, source).target.tolist() == LABELS


# --- archives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../ISIC_0024306.jpg": b"1"}, "path that leads out of the folder"),
        ({"/ISIC_0024306.jpg": b"1"}, "absolute path"),
        ({"ISIC_0024306.jpg": bytes(1 << 20)}, "file that unpacks to more than 100 times its size"),
    ],
)
def test_a_dangerous_archive_with_the_right_checksum_is_refused_and_removed(home, server, members, message):
    source, stored = serve_dataverse(server)
    replace(server, stored, PART_1, make_zip(members))
    with pytest.raises(ValueError, match=message) as caught:
        fetch(home, source)
    assert "The archive was removed; the next call downloads it again." in str(caught.value)
    assert left(home) == ["ham10000"]
    assert left(home / "ham10000") == ["HAM10000_metadata.csv", "skinclf_manifest.json"]
    replace(server, stored, PART_1, dataverse_files()[PART_1])
    assert fetch(home, source).target.tolist() == LABELS


def test_a_damaged_archive_is_removed_with_what_was_unpacked_of_it(home, server):
    source, stored = serve_dataverse(server)
    body = bytearray(stored[PART_1].body)
    body[-200] ^= 0xFF  # in the list of members at the end
    body[900] ^= 0xFF
    replace(server, stored, PART_1, bytes(body))
    with pytest.raises(ValueError, match="The archive was removed"):
        fetch(home, source)
    assert left(home / "ham10000") == ["HAM10000_metadata.csv", "skinclf_manifest.json"]


@pytest.mark.fault(57)
def test_nested_folders_and_what_a_mac_leaves(home, server):
    source, stored = serve_dataverse(server)
    deep = {f"HAM10000_images_part_1/images/{name}.jpg": IMAGES[name] for name in IDS[:6]}
    deep |= {f"__MACOSX/HAM10000_images_part_1/images/._{name}.jpg": b"\0" for name in IDS[:6]}
    replace(server, stored, PART_1, make_zip(deep))
    ham = fetch(home, source)
    assert (
        Path(ham.data["image"][0]) == home / "ham10000" / "HAM10000_images_part_1" / "images" / "ISIC_0024306.jpg"
    )


def test_an_unpacking_that_was_interrupted_is_completed_without_a_network(home, server, monkeypatch):
    source, _ = serve_dataverse(server)

    def interrupted(path, members, folder, *, verbose):
        original(path, members[:2], folder.with_name("elsewhere"), verbose=verbose)
        folder.with_name("elsewhere").rename(folder.with_name(f".{folder.name}.unpacking"))
        raise KeyboardInterrupt

    original = _obtain.unpack
    with monkeypatch.context() as patch:
        patch.setattr(_obtain, "unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(home, source)
    assert left(home / "ham10000") == [
        ".HAM10000_images_part_1.unpacking", PART_1, "HAM10000_metadata.csv", "skinclf_manifest.json",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="image without a file"):
        load_checked(home, SMALL)
    asked = len(server.gets())
    fetch(home, source)
    assert len(server.gets()) - asked == 3  # the other archive only


def test_a_last_archive_is_unpacked_even_if_nothing_may_be_downloaded(home, server, monkeypatch):
    source, _ = serve_dataverse(server)

    def interrupted(path, members, folder, *, verbose):
        if path.name == PART_2:
            raise KeyboardInterrupt
        original(path, members, folder, verbose=verbose)

    original = _obtain.unpack
    with monkeypatch.context() as patch:
        patch.setattr(_obtain, "unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(home, source)
    asked = len(server.requests)
    assert fetch(home, source, download_if_missing=False).target.tolist() == LABELS
    assert len(server.requests) == asked


def test_a_run_that_is_stopped_before_it_notes_what_it_unpacked(home, server, monkeypatch):
    source, _ = serve_dataverse(server)

    def interrupted(manifest, name, members):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "add_members", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(home, source)
    image = home / "ham10000" / "HAM10000_images_part_1" / "ISIC_0024306.jpg"
    os.utime(image, (1, 1))
    fetch(home, source)
    assert image.stat().st_mtime == 1  # it was found whole, and left as it was
    assert len(server.gets(f"/storage/{PART_1}?signature=1")) == 1
    assert PART_1 not in left(home / "ham10000")


def test_archives_that_were_downloaded_by_hand_are_taken_if_they_are_right(home, server):
    source, stored = serve_dataverse(server)
    (home / "ham10000").mkdir(parents=True)
    (home / "ham10000" / PART_1).write_bytes(stored[PART_1].body)
    (home / "ham10000" / PART_2).write_bytes(stored[PART_2].body[:-1])
    fetch(home, source)
    assert len(server.gets(f"/storage/{PART_1}?signature=1")) == 0
    assert len(server.gets(f"/storage/{PART_2}?signature=1")) == 1


def test_archives_that_are_fine_and_hold_something_else(home, server):
    source, stored = serve_dataverse(server)
    replace(server, stored, PART_1, make_zip({f"{name}.jpg": IMAGES[name] for name in IDS[:5]}))
    with pytest.raises(ValueError, match=r"image without a file \(1\): ISIC_0024311(?s:.*)\nRemove .*ham10000 to"):
        fetch(home, source)


# --- disks --------------------------------------------------------------------------------------------------


def test_too_small_a_disk_is_refused_before_anything_is_downloaded(home, server, monkeypatch):
    source, stored = serve_dataverse(server)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 5000, 5000))
    sizes = {name: len(file.body) for name, file in stored.items()}
    # the table, all images of the first archive, and the second archive beside its images
    needed = sizes[TABLE] + sizes[PART_1] + 2 * sizes[PART_2]
    assert needed > 5000
    total = sizes[TABLE] + sizes[PART_1] + sizes[PART_2]
    message = (
        rf"To download {total / 1e6:,.1f} MB and unpack them, {needed / 1e6:,.1f} MB are needed and 0\.0 MB are "
        r"free\. Free space, or pass another data_home: '.*ham10000'"
    )
    with pytest.raises(OSError, match=message) as caught:
        fetch(home, source)
    assert caught.value.errno == errno.ENOSPC
    assert len(server.requests) == 1  # the list
    assert left(home / "ham10000") == []


def test_the_room_that_is_needed_is_counted_to_the_byte(tmp_path, server, monkeypatch):
    source, stored = serve_dataverse(server)
    sizes = {name: len(file.body) for name, file in stored.items()}
    needed = sizes[TABLE] + sizes[PART_1] + 2 * sizes[PART_2]
    free = shutil._ntuple_diskusage(needed, 1, needed - 1)
    monkeypatch.setattr(_obtain, "_unpack", lambda *args, **kwargs: None)  # its own room is counted when it begins
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    with pytest.raises(OSError, match="are needed and"):
        _obtain.obtain(tmp_path, source, source.data, NETWORK)
    (tmp_path / f"{PART_2}.part").write_bytes(b"1")  # of what is here already, nothing is needed again
    _obtain.obtain(tmp_path, source, source.data, NETWORK)


def test_too_small_a_disk_for_what_an_archive_turns_out_to_hold(home, server, monkeypatch):
    source, stored = serve_dataverse(server)
    replace(server, stored, PART_1, make_zip({f"{name}.jpg": os.urandom(4000) for name in IDS[:6]}))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 24_000))
    monkeypatch.setattr(_obtain, "_check_space", lambda folder, remote: None)
    message = (
        r"To unpack HAM10000_images_part_1\.zip, 0\.0 MB are needed and 0\.0 MB are free"  # 6 blocks of 4,096
    )
    with pytest.raises(OSError, match=message):
        fetch(home, source)
    assert PART_1 in left(home / "ham10000")


def test_a_disk_that_is_full_in_the_middle(home, server, monkeypatch):
    source, _ = serve_dataverse(server)

    def full(path, members, folder, *, verbose):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "ISIC_0024306.jpg"))

    with monkeypatch.context() as patch:
        patch.setattr(_obtain, "unpack", full)
        with pytest.raises(
            OSError, match=r"The disk is full\. What was received is kept.*ISIC_0024306\.jpg"
        ) as caught:
            fetch(home, source)
    assert caught.value.errno == errno.ENOSPC
    assert fetch(home, source).target.tolist() == LABELS
    assert len(server.gets(f"/storage/{PART_1}?signature=1")) == 1


def test_a_folder_that_may_not_be_written(home, server, monkeypatch):
    def refused(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(PermissionError, match=r"It may not be written\. Pass another data_home: '.*ham10000'"):
        fetch(home, serve_dataverse(server)[0])
    assert server.requests == []


@pytest.mark.skipif(os.name == "nt", reason="folders have no write permission on Windows")
def test_a_complete_copy_in_a_folder_that_may_not_be_written_is_used(home, server):
    source, _ = serve_dataverse(server)
    fetch(home, source)
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        before = left(home / "ham10000")
        assert fetch(home, source).target.tolist() == LABELS
        assert left(home / "ham10000") == before
    finally:
        for folder in folders:
            folder.chmod(0o755)


# --- several processes --------------------------------------------------------------------------------------

SCRIPT = """
import dataclasses, sys
from pathlib import Path
from skinclf.datasets._fetch import fetch_checked
from skinclf.datasets._ham10000_sources import DATAVERSE
from skinclf.datasets._manifest import Manifest
from skinclf.datasets._network import Network
from ham10000_home import LABELS, SMALL

source = dataclasses.replace(DATAVERSE, server=sys.argv[2])
network = Network(n_retries=3, delay=0.0, timeout=60.0, verbose=True)
ham = fetch_checked(Path(sys.argv[1]), source, SMALL, network, masks=False, download_if_missing=True)
assert ham.target.tolist() == LABELS
"""


def start(home, source):
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(home), source.server]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(condition):
    begin = time.perf_counter()
    while not condition():
        assert time.perf_counter() - begin < 60, "this never came"
        time.sleep(0.01)


def test_of_processes_at_once_one_downloads_and_the_other_waits(home, server):
    source, stored = serve_dataverse(server)
    stored[TABLE].faults.append(stall(10))
    one, other = start(home, source), start(home, source)
    said = []
    try:
        # The table stalls until both are there, and one of them has said that it waits.
        waiting = next(process for process in (one, other) if "waiting for it" in process.stderr.readline())
        said.append("waiting")
        server.no_more_stalls.set()
        for process in (one, other):
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
    finally:
        for process in (one, other):
            process.kill()
            process.wait()
    assert waiting in (one, other)
    assert len(server.gets(LIST)) == 1
    assert len(server.gets(f"/storage/{PART_1}?signature=1")) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_with(home, server):
    source, stored = serve_dataverse(server)
    stored[PART_1].faults.append(stall(500))
    process = start(home, source)
    part = home / "ham10000" / f"{PART_1}.part"
    try:
        wait_for(lambda: part.exists() and part.stat().st_size == 500)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    with pytest.raises((ValueError, FileNotFoundError)):
        load_checked(home, SMALL)
    assert fetch(home, source).target.tolist() == LABELS  # the lock has gone with its process
    assert server.gets(f"/storage/{PART_1}?signature=1")[1]["Range"] == "bytes=500-"
    assert not part.exists()
