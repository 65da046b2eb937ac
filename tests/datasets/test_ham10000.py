"""`load_ham10000` on a small fake data set: what is loaded from every layout, where it is found, the catalogue."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinclf.datasets import _ham10000, _ham10000_catalogue
from skinclf.datasets._ham10000 import load_checked, load_ham10000
from skinclf.datasets._ham10000_catalogue import HAM10000, describe, label_checksum

from ham10000_home import (
    HEADER,
    IDS,
    LABELS,
    LAYOUTS,
    LESIONS,
    ROWS,
    SMALL,
    changed,
    dataverse_without_suffix,
    isic_2018,
    kaggle,
    write_images,
    write_isic_2018,
    write_table,
)


@pytest.fixture
def home(tmp_path):
    """Return a folder with the images, and no table."""
    write_images(tmp_path / "images")
    return tmp_path


# --- what is loaded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", LAYOUTS)
def test_every_layout_gives_the_same_images_labels_and_lesions(tmp_path, build):
    build(tmp_path)

    ham = load_checked(tmp_path, SMALL)

    assert ham.frame["image_id"].tolist() == IDS
    assert ham.target.tolist() == LABELS
    assert ham.groups.tolist() == LESIONS
    assert ham.data["lesion_id"].tolist() == LESIONS
    assert ham.frame["dx_type"].tolist() == [row[3] for row in ROWS]
    for image_id, path in zip(IDS, ham.data["image"], strict=True):
        assert Path(path).is_absolute()
        assert Path(path).read_text() == image_id
        assert "_segmentation" not in path


@pytest.mark.parametrize("build", LAYOUTS)
def test_every_layout_gives_the_same_columns_and_types(tmp_path, build):
    build(tmp_path)

    ham = load_checked(tmp_path, SMALL)

    assert ham.data.columns.tolist() == ["image", "lesion_id", "age", "sex", "localization"]
    assert ham.data["age"].dtype == np.float64
    assert ham.data.index.equals(pd.RangeIndex(12))
    assert ham.target.dtype == object
    assert ham.groups.dtype == object
    assert ham.target_names == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert all(isinstance(word, str) for name in ("sex", "localization") for word in ham.data[name])


def test_age_sex_and_localization(tmp_path):
    kaggle(tmp_path)

    data = load_checked(tmp_path, SMALL).data

    expected = [45, 45, np.nan, 80, 80, 0, 70, 65, 65, 50, 35, 5]
    np.testing.assert_array_equal(data["age"], expected)
    assert data["sex"].tolist() == [row[5] for row in ROWS]
    assert data["localization"].tolist() == [row[6] for row in ROWS]


def test_isic_2018_says_nothing_of_age_sex_and_localization(tmp_path):
    isic_2018(tmp_path)

    ham = load_checked(tmp_path, SMALL)

    assert ham.data["age"].isna().all()
    assert set(ham.data["sex"]) == set(ham.data["localization"]) == {"unknown"}
    assert "unknown for every image" in " ".join(ham.DESCR.split())


@pytest.mark.fault(44)
@pytest.mark.parametrize("word", ["", "NaN", "unknown", "NA", "null"])
def test_unknown_values_may_be_spelled_in_several_ways(home, word):
    rows = changed(4, "sex", word)
    rows[2][HEADER.index("age")] = word
    rows[2][HEADER.index("localization")] = word
    write_table(home / "HAM10000_metadata.csv", rows)

    data = load_checked(home, SMALL).data

    assert np.isnan(data["age"][2])
    assert data["sex"][2] == data["localization"][2] == "unknown"


def test_the_order_of_the_table_does_not_matter(home):
    rows = list(ROWS)
    random.Random(0).shuffle(rows)
    write_table(home / "HAM10000_metadata.csv", rows)

    ham = load_checked(home, SMALL)

    assert ham.frame["image_id"].tolist() == IDS
    assert ham.target.tolist() == LABELS
    assert [Path(path).stem for path in ham.data["image"]] == IDS


def test_frame_keeps_further_columns(tmp_path):
    dataverse_without_suffix(tmp_path)
    assert load_checked(tmp_path, SMALL).frame["dataset"].tolist() == ["vidir_modern"] * 12


def test_metadata_is_preferred_to_the_tables_of_isic_2018(tmp_path):
    write_isic_2018(tmp_path, groupings=False)
    write_table(tmp_path / "HAM10000_metadata.csv")
    assert load_checked(tmp_path, SMALL).data["age"].notna().any()


def test_dx_type_is_no_feature(tmp_path):
    kaggle(tmp_path)
    ham = load_checked(tmp_path, SMALL)
    assert "dx_type" not in ham.data
    assert "dx" not in ham.data


def test_public_function_loads_with_the_catalogue_of_ham10000(tmp_path, monkeypatch):
    kaggle(tmp_path)
    monkeypatch.setattr(_ham10000, "HAM10000", SMALL)

    ham = load_ham10000(str(tmp_path))
    data, target = load_ham10000(tmp_path, return_X_y=True)

    assert ham.data_home == str(tmp_path)
    pd.testing.assert_frame_equal(data, ham.data)
    np.testing.assert_array_equal(target, ham.target)


# --- where it is looked for ---------------------------------------------------------------------------------


def test_the_folder_comes_from_the_environment_then_from_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(_ham10000, "HAM10000", SMALL)
    named, default = tmp_path / "named", tmp_path / "me" / "skinclf_data"
    kaggle(named)
    kaggle(default)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")

    monkeypatch.setenv("SKINCLF_DATA", str(named))
    assert load_ham10000().data_home == str(named)
    monkeypatch.setenv("SKINCLF_DATA", " ")
    assert load_ham10000().data_home == str(default)
    monkeypatch.delenv("SKINCLF_DATA")
    assert load_ham10000().data_home == str(default)


def test_a_folder_that_does_not_exist_is_named_with_what_said_so(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    message = rf"data_home names the folder {re.escape(str(gone))}, which does not exist. Unpack HAM10000 \("
    with pytest.raises(FileNotFoundError, match=message):
        load_ham10000(gone)
    monkeypatch.setenv("SKINCLF_DATA", str(gone))
    with pytest.raises(FileNotFoundError, match=r"The environment variable SKINCLF_DATA names the folder"):
        load_ham10000()
    monkeypatch.delenv("SKINCLF_DATA")
    monkeypatch.setattr(Path, "home", lambda: gone)
    with pytest.raises(FileNotFoundError, match="SKINCLF_DATA is not set, and the default names the folder"):
        load_ham10000()


def test_a_file_is_no_folder(tmp_path):
    archive = tmp_path / "archive.zip"
    archive.touch()
    with pytest.raises(NotADirectoryError, match=r"archive\.zip is a file\. Pass its folder, unpacked\."):
        load_ham10000(archive)


@pytest.mark.parametrize("wrong", [3, ["folder"], b"folder"])
def test_data_home_must_be_a_path(wrong):
    with pytest.raises(TypeError, match=rf"data_home must be the path of a folder; got {re.escape(repr(wrong))}"):
        load_ham10000(wrong)


def test_without_a_table_the_message_says_what_was_looked_for(tmp_path):
    write_images(tmp_path)
    (tmp_path / "labels.csv").write_text("a,b\n")
    (tmp_path / "HAM10000_images_part_2.zip").touch()

    with pytest.raises(FileNotFoundError) as caught:
        load_checked(tmp_path, SMALL)

    message = str(caught.value)
    assert "neither HAM10000_metadata.csv (Kaggle)" in message
    assert "It has labels.csv." in message
    assert "HAM10000_images_part_2.zip. Unpack archives first." in message
    assert "https://doi.org/10.7910/DVN/DBW86T" in message


def test_isic_2018_without_lesion_groupings_is_refused(tmp_path):
    write_isic_2018(tmp_path, groupings=False)
    with pytest.raises(FileNotFoundError) as caught:
        load_checked(tmp_path, SMALL)
    message = str(caught.value)
    assert "ISIC2018_Task3_Training_LesionGroupings.csv is not in" in message
    assert "a split by lesion is impossible" in message
    assert "Download it from https://" in message


# --- the catalogue ------------------------------------------------------------------------------------------


def test_the_catalogue_agrees_with_itself():
    assert HAM10000.n_images == sum(HAM10000.class_counts.values()) == 10015
    assert HAM10000.n_lesions == 7470
    assert list(HAM10000.class_counts) == sorted(_ham10000_catalogue.CLASS_NAMES)
    ids = HAM10000.image_ids()
    assert (ids[0], ids[-1], len(ids)) == ("ISIC_0024306", "ISIC_0034320", 10015)
    assert all(_ham10000_catalogue.IMAGE_ID.fullmatch(image_id) for image_id in ids)
    assert re.fullmatch(r"[0-9a-f]{64}", HAM10000.checksum)
    assert set(_ham10000_catalogue.DX_TYPE_OF_CONFIRMATION.values()) == set(_ham10000_catalogue.DX_TYPES)


def test_the_checksum_ignores_order_and_nothing_else():
    rows = list(zip(IDS, LESIONS, LABELS, strict=True))
    assert label_checksum(rows[::-1]) == label_checksum(rows)
    for i in range(3):
        other = [list(row) for row in rows]
        other[5][i] += "0"
        assert label_checksum(other) != label_checksum(rows)


def test_the_description_gives_counts_licence_and_citation():
    text = describe(HAM10000, has_details=True)
    assert re.search(r"nv +6,705 +melanocytic nevi", text)
    assert "10,015 dermatoscopic images of 7,470" in text
    assert "CC BY-NC 4.0" in text
    assert "doi:10.1038/sdata.2018.161" in text
    assert "Not a medical device" in text
    assert max(len(line) for line in text.splitlines()) <= 110
