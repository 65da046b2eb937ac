"""`fetch_ham10000` against servers that look like those of Dataverse and ISIC, with a small fake of the data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, status
from ham10000_publishers import (
    IMAGES,
    MASKS,
    PART_1,
    PART_2,
    TABLE,
    fetch,
    left,
    make_zip,
    manifest,
    replace,
    serve_dataverse,
    serve_isic,
)
from PIL import Image

from skinclf.datasets import _fetch, fetch_ham10000
from skinclf.datasets._ham10000 import load_checked
from skinclf.datasets._ham10000_sources import DATAVERSE, ISIC, SOURCES
from skinclf.datasets._network import DownloadError, Network

from ham10000_home import IDS, LABELS, LESIONS, SMALL, kaggle, write_images

LIST_AND_3_FILES = 1 + 2 * 3  # every file is asked for at the Dataverse, and then at its storage


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


# --- what is fetched ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("serve", [serve_dataverse, serve_isic])
def test_either_source_gives_what_load_ham10000_gives(home, server, serve):
    source, _ = serve(server)
    ham = fetch(home, source)
    assert ham.frame["image_id"].tolist() == IDS
    assert ham.target.tolist() == LABELS
    assert ham.groups.tolist() == LESIONS
    for image_id, path in zip(IDS, ham.data["image"], strict=True):
        assert Path(path).read_bytes() == IMAGES[image_id]
        assert pixels(path).shape == (6, 8, 3)
    loaded = load_checked(home, SMALL)
    assert ham.keys() == loaded.keys()
    assert ham.frame.equals(loaded.frame)
    assert ham.DESCR == loaded.DESCR


def test_the_dataverse_is_asked_for_the_table_as_it_was_uploaded(home, server):
    """The checksum that it publishes is of the upload; what it serves by default has tabs."""
    source, stored = serve_dataverse(server)
    fetch(home, source)
    assert (home / "ham10000" / "HAM10000_metadata.csv").read_bytes() == stored[TABLE].body
    assert any(path.endswith("?format=original") for _, path, _ in server.requests)


def test_age_sex_and_localization_come_from_the_dataverse_only(home, server):
    assert fetch(home / "dataverse", serve_dataverse(server)[0]).data["age"].notna().sum() == 11
    assert fetch(home / "isic", serve_isic(server)[0]).data["age"].notna().sum() == 0


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        (serve_dataverse, ["HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_metadata.csv"]),
        (
            serve_isic,
            [
                "ISIC2018_Task3_Training_GroundTruth",
                "ISIC2018_Task3_Training_Input",
                "ISIC2018_Task3_Training_LesionGroupings.csv",
            ],
        ),
    ],
)
def test_what_is_on_the_disk_in_the_end(home, server, serve, expected):
    fetch(home, serve(server)[0])
    assert left(home) == ["ham10000"]
    assert left(home / "ham10000") == [*expected, "skinclf_manifest.json"]


def test_the_manifest_says_what_was_received(home, server):
    source, stored = serve_dataverse(server)
    fetch(home, source)
    told = manifest(home)
    assert told["licence"] == "CC BY-NC 4.0"
    assert "10.1038/sdata.2018.161" in told["citation"]
    body = stored[PART_1].body
    record = told["files"][PART_1]
    assert record["sha256"] == hashlib.sha256(body).hexdigest()
    assert record["published"] == f"md5:{hashlib.md5(body, usedforsecurity=False).hexdigest()}"
    assert (record["source"], record["size"]) == ("dataverse", len(body))
    assert sorted(record["members"]) == [f"{image_id}.jpg" for image_id in IDS[:6]]


def test_masks(home, server):
    ham = fetch(home, serve_dataverse(server)[0], masks=True)
    assert [Path(path).name for path in ham.masks] == [f"{image_id}_segmentation.png" for image_id in IDS]
    assert pixels(ham.masks[0]).tolist() == (np.eye(6, 8, dtype=np.uint8) * 255).tolist()
    assert len(list((home / "ham10000").rglob("*.png"))) == 12  # and not what the Mac left
    assert ham.frame.equals(load_checked(home, SMALL).frame)


def test_masks_alone_are_fetched_for_a_copy_that_is_there(home, server):
    kaggle(home)
    before = load_checked(home, SMALL)
    ham = fetch(home, serve_dataverse(server)[0], masks=True)
    assert ham.frame.equals(before.frame)
    assert len(ham.masks) == 12
    assert len(server.gets()) == 3
    assert left(home / "ham10000") == [Path(MASKS).stem, "skinclf_manifest.json"]


def test_masks_that_cannot_be_had(home, server):
    source, stored = serve_dataverse(server)
    stored[MASKS].faults.append(status(403))
    with pytest.raises(DownloadError, match=r"Call again to go on, or download HAM10000_segm.*zip by hand"):
        fetch(home, source, masks=True)
    assert fetch(home, source).target.tolist() == LABELS


def test_masks_that_do_not_cover_the_images(home, server):
    source, stored = serve_dataverse(server)
    replace(server, stored, MASKS, make_zip({"ISIC_0024306_segmentation.png": b"1"}))
    with pytest.raises(ValueError, match=r"lesion_tschandl\.zip has no mask of 11 images, such as ISIC_0024307"):
        fetch(home, source, masks=True)


# --- calling again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serve", [serve_dataverse, serve_isic])
def test_a_second_call_downloads_nothing_and_changes_nothing(home, server, serve):
    source, _ = serve(server)
    first = fetch(home, source)
    asked = len(server.requests)
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    for download_if_missing in (True, False):
        again = fetch(home, source, download_if_missing=download_if_missing)
        assert again.frame.equals(first.frame)
    assert len(server.requests) == asked
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize("serve", [serve_dataverse, serve_isic])
def test_a_copy_that_was_put_there_by_hand_is_used(home, server, serve):
    kaggle(home)
    source, _ = serve(server)
    assert fetch(home, source).target.tolist() == LABELS
    assert server.requests == []
    assert not (home / "ham10000").exists()


def test_a_copy_of_the_other_source_is_used(home, server):
    dataverse, isic = serve_dataverse(server)[0], serve_isic(server)[0]
    fetch(home, isic)
    asked = len(server.requests)
    assert fetch(home, dataverse).target.tolist() == LABELS
    assert len(server.requests) == asked


def test_a_part_of_the_other_source_is_not_mixed_with_this_one(home, server):
    (dataverse, _), (isic, stored) = serve_dataverse(server), serve_isic(server)
    stored["ISIC2018_Task3_Training_Input.zip"].faults.append(status(403))
    with pytest.raises(DownloadError, match="status 403"):
        fetch(home, isic)
    message = r"a part of HAM10000 from 'isic', .*Input\.zip: not downloaded.* pass source='isic' to complete it"
    with pytest.raises(ValueError, match=message):
        fetch(home, dataverse)
    assert fetch(home, isic).target.tolist() == LABELS


def test_data_that_are_not_there_are_not_downloaded_against_the_users_will(home, server):
    source, _ = serve_dataverse(server)
    message = (
        r"HAM10000 is not complete in .*home, and download_if_missing is False\. Lacking are "
        r"HAM10000_metadata\.csv: not downloaded; HAM10000_images_part_1\.zip: not downloaded; .*Pass download_if"
    )
    with pytest.raises(OSError, match=message):
        fetch(home, source, download_if_missing=False)
    assert server.requests == []
    assert not home.exists()


def test_images_without_a_table_are_no_copy(home, server):
    write_images(home / "images")
    fetch(home, serve_dataverse(server)[0])
    assert len(server.gets()) == LIST_AND_3_FILES


def test_a_folder_in_another_case_is_used(home, server):
    (home / "HAM10000").mkdir(parents=True)
    fetch(home, serve_dataverse(server)[0])
    assert left(home) == ["HAM10000"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1, "files": {"a": {}}}', '{"format": 99}'])
def test_a_manifest_that_cannot_be_read_costs_nothing_but_its_use(home, server, content):
    source, _ = serve_dataverse(server)
    fetch(home, source)
    asked = len(server.requests)
    (home / "ham10000" / "skinclf_manifest.json").write_text(content)
    assert fetch(home, source).target.tolist() == LABELS
    assert len(server.requests) == asked


# --- files that were damaged later --------------------------------------------------------------------------


def damage(path, content, *, later=True):
    path.write_bytes(content)
    if later:
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 60))


@pytest.mark.parametrize("how", ["missing", "shorter", "same length"])
def test_a_damaged_image_is_noticed_and_had_again(home, server, how):
    source, _ = serve_dataverse(server)
    fetch(home, source)
    path = home / "ham10000" / "HAM10000_images_part_1" / "ISIC_0024308.jpg"
    if how == "missing":
        path.unlink()
    else:
        damage(path, IMAGES["ISIC_0024308"][:9] if how == "shorter" else bytes(len(IMAGES["ISIC_0024308"])))
    with pytest.raises(
        OSError, match=r"part_1\.zip: 1 of 6 files missing or changed, such as ISIC_0024308\.jpg\."
    ):
        fetch(home, source, download_if_missing=False)
    asked, untouched = len(server.gets()), path.with_name("ISIC_0024307.jpg").stat().st_mtime_ns
    fetch(home, source)
    assert path.read_bytes() == IMAGES["ISIC_0024308"]
    assert path.with_name("ISIC_0024307.jpg").stat().st_mtime_ns == untouched
    assert len(server.gets()) - asked == 3  # the list, and one archive by its redirect
    assert left(home / "ham10000") == [
        Path(PART_1).stem,
        Path(PART_2).stem,
        "HAM10000_metadata.csv",
        "skinclf_manifest.json",
    ]


def test_a_changed_table_is_noticed_and_had_again(home, server):
    source, stored = serve_dataverse(server)
    fetch(home, source)
    table = home / "ham10000" / "HAM10000_metadata.csv"
    table.write_bytes(table.read_bytes().replace(b"80.0", b"30.0"))  # the loader cannot know ages
    fetch(home, source)
    assert table.read_bytes() == stored[TABLE].body


def test_a_damaged_copy_of_the_other_source_is_noticed(home, server):
    (dataverse, _), (isic, _) = serve_dataverse(server), serve_isic(server)
    fetch(home, isic)
    damage(home / "ham10000" / "ISIC2018_Task3_Training_Input" / "ISIC_0024308.jpg", b"short")
    with pytest.raises(ValueError, match="1 of 13 files missing or changed"):
        fetch(home, dataverse)


def test_files_that_were_copied_and_have_new_times_are_read_and_found_good(home, server):
    source, _ = serve_dataverse(server)
    fetch(home, source)
    asked = len(server.requests)
    for path in home.rglob("*.jpg"):
        os.utime(path, (1, 1))
    fetch(home, source, download_if_missing=False)
    assert len(server.requests) == asked


# --- what is shown ------------------------------------------------------------------------------------------

LOUD = Network(n_retries=1, delay=0.0, timeout=5.0, verbose=True)


def test_the_licence_is_shown_once(home, server, capfd):
    source, stored = serve_dataverse(server)
    stored[PART_2].faults.append(status(403))
    with pytest.raises(DownloadError):
        fetch(home, source, network=LOUD)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("HAM10000 is licensed CC BY-NC 4.0: not for commercial use. Please cite\nTschandl, P.,")
    assert "doi:10.1038/sdata.2018.161" in err
    assert f"Downloading from {server.url} to {home / 'ham10000'}" in err
    fetch(home, source, network=LOUD)
    out, err = capfd.readouterr()
    assert out == ""
    assert "licensed" not in err
    assert "HAM10000_images_part_2.zip: 100%" in err
    assert "unpacking HAM10000_images_part_2.zip: 100%" in err
    fetch(home, source, network=LOUD)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_shown_if_it_is_not_wanted(home, server, capfd):
    fetch(home, serve_dataverse(server)[0])
    assert capfd.readouterr() == ("", "")
    assert manifest(home)["licence"] == "CC BY-NC 4.0"


# --- the public function ------------------------------------------------------------------------------------


@pytest.fixture
def small(server, monkeypatch):
    """Make the public function fetch the small data set from the server on this machine."""
    sources = {"dataverse": serve_dataverse(server)[0], "isic": serve_isic(server)[0]}
    monkeypatch.setattr(_fetch, "SOURCES", sources)
    monkeypatch.setattr(_fetch, "HAM10000", SMALL)


@pytest.mark.usefixtures("small")
def test_the_public_function(home):
    ham = fetch_ham10000(home, verbose=False)
    X, y = fetch_ham10000(str(home), source="isic", return_X_y=True, verbose=False)
    assert X.equals(ham.data)
    assert y.tolist() == ham.target.tolist() == LABELS
    assert "masks" not in ham
    assert len(fetch_ham10000(home, masks=True, verbose=False).masks) == 12


@pytest.mark.usefixtures("small")
def test_where_the_data_go_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    monkeypatch.delenv("SKINCLF_DATA", raising=False)
    assert fetch_ham10000(verbose=False).data_home == str(tmp_path / "user" / "skinclf_data" / "ham10000")
    monkeypatch.setenv("SKINCLF_DATA", str(tmp_path / "named"))
    assert fetch_ham10000(verbose=False).data_home == str(tmp_path / "named" / "ham10000")
    assert fetch_ham10000("~/other", verbose=False).data_home == str(tmp_path / "user" / "other" / "ham10000")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "kaggle"}, ValueError, r"source must be one of 'dataverse', 'isic'; got 'kaggle'\."),
        (
            {"source": "isic", "masks": True},
            ValueError,
            "masks=True needs source='dataverse': 'isic' has no masks",
        ),
        ({"n_retries": -1}, ValueError, r"n_retries must be 0 or more; got -1\."),
        ({"n_retries": 1.5}, TypeError, r"n_retries must be an int; got 1\.5 \(float\)\."),
        ({"n_retries": True}, TypeError, r"n_retries must be an int; got True \(bool\)\."),
        ({"delay": -0.5}, ValueError, r"delay must be a finite number of seconds, 0 or more; got -0\.5\."),
        ({"delay": float("nan")}, ValueError, r"delay must be a finite number of seconds, 0 or more; got nan\."),
        ({"delay": "1"}, TypeError, r"delay must be a number of seconds; got '1' \(str\)\."),
        ({"timeout": 0}, ValueError, r"timeout must be more than 0 seconds; got 0\."),
        ({"timeout": float("inf")}, ValueError, "timeout must be a finite number of seconds"),
        ({"timeout": None}, TypeError, r"timeout must be a number of seconds; got None \(NoneType\)\."),
        ({"data_home": 3}, TypeError, r"data_home must be the path of a folder; got 3 \(int\)\."),
        ({"data_home": b"home"}, TypeError, r"data_home must be the path of a folder; got b'home' \(bytes\)\."),
        ({"data_home": __file__}, NotADirectoryError, r"data_home must be a folder; .*test_fetch\.py is a file\."),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.setenv("SKINCLF_DATA", str(tmp_path / "home"))
    with pytest.raises(error, match=message):
        fetch_ham10000(**arguments)
    assert not (tmp_path / "home").exists()


def test_the_built_in_sources_are_asked_over_https():
    assert set(SOURCES) == {"dataverse", "isic"}
    assert DATAVERSE.server == "https://dataverse.harvard.edu"
    assert ISIC.server == "https://isic-archive.s3.amazonaws.com/challenges/2018"
