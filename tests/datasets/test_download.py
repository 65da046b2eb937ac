"""`download` against a server that has every fault of real ones: what ends up on the disk, and what is said."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import random
import time

import pytest
from file_server import (
    FileServer,
    Served,
    cut,
    in_chunks,
    lie,
    other_range,
    redirect,
    stall,
    status,
    web_page,
    wrong,
)

from skinclf.datasets import _download, _network
from skinclf.datasets._download import Checksum, RemoteFile, download, file_digests, replace_file
from skinclf.datasets._network import DownloadError, Network

BODY = random.Random(0).randbytes(200_000)
SIZE = len(BODY)
OTHER = random.Random(1).randbytes(200_000)
NETWORK = Network(n_retries=2, delay=0.0, timeout=5.0, verbose=False)
ONCE = Network(n_retries=0, delay=0.0, timeout=5.0, verbose=False)
IMPATIENT = Network(n_retries=2, delay=0.0, timeout=0.4, verbose=False)


def md5(body):
    return Checksum("md5", hashlib.md5(body, usedforsecurity=False).hexdigest())


MD5 = md5(BODY)


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


def sha256(body):
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def serve(server):
    """Serve BODY with some faults, and return the file and what the source says of it."""

    def serve(*faults, checksum=MD5, size=SIZE, **described):
        file = server.files["/a.zip"] = Served(BODY, **{"etag": '"one"'} | described)
        file.faults.extend(faults)
        return file, RemoteFile("a.zip", f"{server.url}/a.zip", size, checksum)

    return serve


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def ranges(server):
    return [headers.get("Range") for headers in server.gets("/a.zip")]


# --- what goes well -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("checksum", [MD5, Checksum("sha256", sha256(BODY)), None], ids=str)
def test_a_file_is_downloaded_and_nothing_else_is_left(tmp_path, server, serve, checksum):
    _, remote = serve(checksum=checksum)
    assert download(remote, tmp_path / "a.zip", NETWORK) == sha256(BODY)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert left(tmp_path) == ["a.zip"]
    assert len(server.requests) == 1


def test_the_server_is_told_who_asks_and_asked_for_the_bytes_as_they_are(tmp_path, server, serve):
    download(serve()[1], tmp_path / "a.zip", NETWORK)
    (headers,) = server.gets()
    assert headers["User-Agent"].startswith("skinclf/")
    assert headers["Accept-Encoding"] == "identity"


def test_a_file_with_the_right_checksum_is_not_downloaded_again(tmp_path, server, serve):
    (tmp_path / "a.zip").write_bytes(BODY)
    assert download(serve()[1], tmp_path / "a.zip", NETWORK) == sha256(BODY)
    assert server.requests == []


def test_a_file_with_a_wrong_checksum_or_none_is_replaced(tmp_path, server, serve):
    for checksum in (MD5, None):
        (tmp_path / "a.zip").write_bytes(OTHER)
        download(serve(checksum=checksum)[1], tmp_path / "a.zip", NETWORK)
        assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_length_that_the_source_does_not_tell_is_taken_from_the_server(tmp_path, serve):
    download(serve(size=None)[1], tmp_path / "a.zip", NETWORK)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_an_answer_in_chunks(tmp_path, serve):
    download(serve(in_chunks())[1], tmp_path / "a.zip", ONCE)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_redirects_are_followed_with_their_range(tmp_path, server, serve):
    serve(cut(50_000))
    server.files["/there"] = Served(b"")
    server.files["/there"].faults.extend(redirect("/a.zip", code) for code in (303, 307))
    moved = RemoteFile("a.zip", f"{server.url}/there", len(BODY), MD5)
    download(moved, tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=50000-"]
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_progress_goes_to_the_standard_error_stream_only_if_it_is_wanted(tmp_path, serve, capfd):
    loud = Network(n_retries=2, delay=0.0, timeout=5.0, verbose=True)
    download(serve(cut(1000))[1], tmp_path / "a.zip", loud)
    out, err = capfd.readouterr()
    assert out == ""
    assert "a.zip: 100%" in err
    assert "failed because the connection ended 199,000 bytes before the file did. Another attempt in 0 s." in err
    download(serve(cut(1000))[1], tmp_path / "b.zip", NETWORK)
    assert capfd.readouterr() == ("", "")


# --- connections that break ---------------------------------------------------------------------------------


@pytest.mark.fault(54)
@pytest.mark.parametrize("fault", [cut(70_000), stall(70_000)], ids=["cut", "stall"])
def test_a_broken_connection_is_taken_up_where_it_stopped(tmp_path, server, serve, fault):
    _, remote = serve(fault)
    assert download(remote, tmp_path / "a.zip", IMPATIENT) == sha256(BODY)
    first, second = server.gets("/a.zip")
    assert "Range" not in first
    assert (second["Range"], second["If-Range"]) == ("bytes=70000-", '"one"')
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_connection_that_is_reset(tmp_path, server, serve):
    """The system may throw away what had arrived, so that the second attempt begins anywhere up to the cut."""
    download(serve(cut(70_000, politely=False))[1], tmp_path / "a.zip", NETWORK)
    assert len(server.requests) == 2
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_later_call_goes_on_from_the_part_that_is_left(tmp_path, server, serve):
    _, remote = serve(cut(70_000))
    with pytest.raises(DownloadError, match=r"the connection ended 130,000 bytes .* 70,000 bytes are kept"):
        download(remote, tmp_path / "a.zip", ONCE)
    assert left(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    download(remote, tmp_path / "a.zip", ONCE)
    assert ranges(server) == [None, "bytes=70000-"]
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert left(tmp_path) == ["a.zip"]


def test_a_part_that_is_complete_is_checked_and_not_asked_for_again(tmp_path, server, serve):
    _, remote = serve(cut(70_000))
    with contextlib.suppress(DownloadError):
        download(remote, tmp_path / "a.zip", ONCE)
    (tmp_path / "a.zip.part").write_bytes(BODY)  # as if the process had been killed before the file was renamed
    download(remote, tmp_path / "a.zip", ONCE)
    assert len(server.requests) == 1
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_failures_in_a_row_end_in_an_error_that_tells_the_last_one(tmp_path, server, serve):
    _, remote = serve(stall(10), cut(20), status(503))
    message = (
        rf"Downloading a\.zip from {server.url}/a\.zip failed 3 times in a row, the last time because "
        rf"{server.url}/a\.zip answers with status 503 \(Service Unavailable\)\. 30 bytes are kept"
    )
    with pytest.raises(DownloadError, match=message):
        download(remote, tmp_path / "a.zip", IMPATIENT)
    assert not (tmp_path / "a.zip").exists()


def test_a_stall_is_given_up_after_the_timeout(tmp_path, serve):
    begin = time.perf_counter()
    with pytest.raises(DownloadError, match=r"because the server sent nothing for 0\.4 s"):
        download(serve(stall(0), stall(0), stall(0))[1], tmp_path / "a.zip", IMPATIENT)
    assert 1.2 <= time.perf_counter() - begin < 10


def test_attempts_that_bring_much_do_not_count(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(_network, "_PROGRESS", 10_000)
    cuts = [
        cut(20_000 if number % 2 else 5_000) for number in range(12)
    ]  # each other one counts, each other does not
    download(serve(*cuts)[1], tmp_path / "a.zip", NETWORK)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    with pytest.raises(DownloadError, match="3 times in a row"):
        download(serve(*[cut(1_000)] * 3)[1], tmp_path / "b.zip", NETWORK)


def test_waits_double_and_a_server_may_ask_for_longer_ones(tmp_path, serve, monkeypatch):
    waits = []
    monkeypatch.setattr(_network.time, "sleep", waits.append)
    faults = [status(500), status(503, Retry_After="7"), status(429, Retry_After="3600"), cut(1), cut(1)]
    network = Network(n_retries=5, delay=0.5, timeout=5.0, verbose=False)
    download(serve(*faults)[1], tmp_path / "a.zip", network)
    assert waits == [0.5, 7.0, 60.0, 4.0, 8.0]


def test_a_server_that_is_not_there(tmp_path):
    with FileServer() as server:
        remote = RemoteFile("a.zip", f"{server.url}/a.zip", 3, None)
    with pytest.raises(DownloadError, match=r"failed because the connection broke \(.*refused"):
        download(remote, tmp_path / "a.zip", ONCE)
    assert left(tmp_path) == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_refusal_is_not_tried_again(tmp_path, server, serve, code):
    with pytest.raises(DownloadError, match=rf"a\.zip answers with status {code} \("):
        download(serve(status(code))[1], tmp_path / "a.zip", NETWORK)
    assert len(server.requests) == 1
    assert left(tmp_path) == []


# --- files that are not the same any more -------------------------------------------------------------------


def test_a_server_without_ranges_is_asked_for_all_again(tmp_path, server, serve):
    download(serve(cut(70_000), ranges=False)[1], tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=70000-"]
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize("checksum", [MD5, None], ids=["checksum", "no checksum"])
def test_a_file_that_changed_between_attempts_is_not_put_together_of_two(tmp_path, serve, checksum):
    file, remote = serve(cut(70_000), checksum=checksum)
    file.body, first = OTHER, file.body

    def change_back(handler, file):
        file.body, file.etag = first, '"two"'
        return {}

    file.faults.append(change_back)
    download(remote, tmp_path / "a.zip", NETWORK)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_server_that_ignores_that_the_file_changed(tmp_path, serve):
    """It answers with status 206 and the new ETag, whatever If-Range says."""

    def careless(handler, file):
        offset = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        file.etag = '"two"'
        headers = {"ETag": '"two"', "Content-Range": f"bytes {offset}-{SIZE - 1}/{SIZE}"}
        return {"status": 206, "headers": headers, "body": OTHER[offset:]}

    _, remote = serve(cut(70_000), careless, checksum=None)
    download(remote, tmp_path / "a.zip", NETWORK)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_another_range_than_the_one_asked_for_is_not_used(tmp_path, server, serve):
    download(serve(cut(70_000), other_range)[1], tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=70000-", None]
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_range_that_nobody_asked_for_is_not_used(tmp_path, server, serve):
    download(serve(other_range)[1], tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, None]


def test_a_file_that_became_shorter_than_the_part(tmp_path, server, serve):
    download(serve(cut(70_000), status(416))[1], tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=70000-", None]
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("described", "resumed", "if_range"),
    [
        ({"etag": '"strong"'}, True, '"strong"'),
        ({"etag": 'W/"weak"'}, False, None),
        ({"etag": None}, False, None),
        ({"etag": None, "headers": {"Last-Modified": "yesterday"}}, True, "yesterday"),
    ],
)
def test_without_a_checksum_only_what_the_server_can_recognise_is_gone_on_with(
    tmp_path, server, serve, described, resumed, if_range
):
    download(serve(cut(70_000), checksum=None, **described)[1], tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=70000-" if resumed else None]
    assert server.gets("/a.zip")[1].get("If-Range") == if_range
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_with_a_checksum_a_part_is_gone_on_with_even_so(tmp_path, server, serve):
    download(serve(cut(70_000), etag=None)[1], tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=70000-"]
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    "spoil",
    [
        lambda part, note: note.unlink(),
        lambda part, note: note.write_text("{"),
        lambda part, note: note.write_text("[]"),
        lambda part, note: note.write_text("{}"),
        lambda part, note: note.write_text(note.read_text().replace('"\\"one\\""', "1")),
        lambda part, note: part.write_bytes(BODY + b"more"),
        lambda part, note: part.write_bytes(b""),
        lambda part, note: note.write_text(note.read_text().replace("a.zip", "b.zip")),
    ],
)
def test_a_part_of_which_it_is_not_known_what_it_is_of_is_not_used(tmp_path, server, serve, spoil):
    _, remote = serve(cut(70_000), checksum=None)
    with contextlib.suppress(DownloadError):
        download(remote, tmp_path / "a.zip", ONCE)
    spoil(tmp_path / "a.zip.part", tmp_path / "a.zip.part.json")
    download(remote, tmp_path / "a.zip", ONCE)
    assert ranges(server) == [None, None]
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_part_that_was_damaged_on_the_disk_is_noticed_in_the_end(tmp_path, server, serve):
    _, remote = serve(cut(70_000))
    with contextlib.suppress(DownloadError):
        download(remote, tmp_path / "a.zip", ONCE)
    (tmp_path / "a.zip.part").write_bytes(bytes(70_000))
    download(remote, tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=70000-", None]
    assert (tmp_path / "a.zip").read_bytes() == BODY


# --- answers that are not the file --------------------------------------------------------------------------


@pytest.mark.fault(53)
def test_a_wrong_file_of_the_right_length_is_refused_and_removed(tmp_path, server, serve):
    message = rf"a\.zip is not as published: its MD5 is {md5(OTHER).digest}, and the source publishes {MD5.digest}"
    with pytest.raises(DownloadError, match=message):
        download(serve(wrong(OTHER))[1], tmp_path / "a.zip", NETWORK)
    assert left(tmp_path) == []
    assert len(server.requests) == 1  # a whole file from one answer: it would only be the same again


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (web_page, r"the server answers with a web page \(status 200\) instead of the file"),
        (wrong(BODY[:-1]), "the server announces 199,999 bytes; by its list the file has 200,000"),
        (wrong(BODY + b"!"), "the server announces 200,001 bytes; by its list the file has 200,000"),
        (lie(100), "the server announces 100 bytes; by its list the file has 200,000"),
        (in_chunks(BODY + b"!"), "the server sends more bytes than the file has"),
        (in_chunks(BODY[:-1]), "the connection ended 1 bytes before the file did"),
        (in_chunks(broken=True), "the connection broke|before the file did|sends more"),
        (status(202), "the server answers with status 202 instead of the file"),
        (wrong(b""), "the server announces 0 bytes|says how long the file is"),
    ],
)
def test_an_answer_that_is_not_the_file_is_tried_again_and_then_told(tmp_path, server, serve, fault, message):
    with pytest.raises(DownloadError, match=message):
        download(serve(fault)[1], tmp_path / "a.zip", ONCE)
    assert not (tmp_path / "a.zip").exists()
    download(serve(fault)[1], tmp_path / "a.zip", NETWORK)
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_length_that_nobody_tells(tmp_path, serve):
    with pytest.raises(DownloadError, match="neither the source nor the server says how long the file is"):
        download(serve(in_chunks(), size=None)[1], tmp_path / "a.zip", ONCE)


def test_a_server_that_announces_more_than_it_sends_is_gone_on_with(tmp_path, server, serve):
    _, remote = serve(lambda handler, file: {"body": BODY[:30_000], "length": len(BODY)})
    download(remote, tmp_path / "a.zip", NETWORK)
    assert ranges(server) == [None, "bytes=30000-"]
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_too_many_redirects(tmp_path, server):
    for number in range(8):
        server.files[f"/{number}"] = Served(b"")
        server.files[f"/{number}"].faults.append(redirect(f"/{number + 1}"))
    remote = RemoteFile("a.zip", f"{server.url}/0", 3, None)
    with pytest.raises(DownloadError, match=r"status 303 .*infinite loop"):
        download(remote, tmp_path / "a.zip", NETWORK)
    assert len(server.requests) == 6


@pytest.mark.parametrize("elsewhere", ["ftp://127.0.0.1/a", "file:///etc/passwd"])
def test_a_redirect_leads_to_no_other_kind_of_address(tmp_path, serve, elsewhere):
    with pytest.raises(DownloadError, match=r"which is not HTTPS|status 303"):
        download(serve(redirect(elsewhere))[1], tmp_path / "a.zip", NETWORK)
    assert left(tmp_path) == []


# --- disks --------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_is_not_taken_for_a_network(tmp_path, server, serve, monkeypatch):
    def full(response, file, lacking, network, bar):
        file.write(response.read1(5_000)[:5_000])
        raise OSError(errno.ENOSPC, "No space left on device")

    _, remote = serve()
    with monkeypatch.context() as patch:
        patch.setattr(_download, "_pour", full)
        with pytest.raises(OSError, match="No space left") as caught:
            download(remote, tmp_path / "a.zip", NETWORK)
    assert not isinstance(caught.value, DownloadError)
    assert len(server.requests) == 1
    assert not (tmp_path / "a.zip").exists()
    download(remote, tmp_path / "a.zip", NETWORK)  # there is room again
    assert ranges(server)[1].startswith("bytes=")
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "note.json"
    replace_file(path, "old")

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_download.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, "new")
    assert path.read_text() == "old"
    assert left(tmp_path) == ["note.json"]
    replace_file(path, "new")
    assert path.read_text() == "new"


def test_digests(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")  # the digests are those of FIPS 180-4 and RFC 1321
    assert file_digests(path, "md5") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "900150983cd24fb0d6963f7d28e17f72",
    )
