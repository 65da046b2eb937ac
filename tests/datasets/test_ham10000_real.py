"""The loaders on the real HAM10000, where the environment variable SKINCLF_DATA says where it is."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from skinclf.datasets import load_ham10000, load_isic
from skinclf.datasets._ham10000_catalogue import DX_TYPE_OF_CONFIRMATION, DX_TYPES, LOCALIZATIONS, SEXES

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not os.environ.get("SKINCLF_DATA"), reason="SKINCLF_DATA is not set"),
]


@pytest.fixture(scope="module")
def ham():
    return load_ham10000()


def test_images_lesions_and_classes(ham):
    assert len(ham.data) == len(ham.target) == len(ham.groups) == len(ham.frame) == 10015
    assert len(set(ham.groups)) == 7470
    counts = {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
    assert Counter(ham.target) == counts
    assert ham.target_names == sorted(counts)


def test_images_of_lesions_with_several_photos(ham):
    photos = Counter(ham.groups)
    assert sum(count for count in photos.values() if count > 1) == 4501


def test_rows_are_in_the_order_of_image_id_and_every_file_exists(ham):
    ids = ham.frame["image_id"].tolist()
    assert ids == sorted(ids)
    paths = [Path(path) for path in ham.data["image"]]
    assert [path.stem for path in paths] == ids
    assert all(path.is_absolute() and path.is_file() for path in paths)
    assert len({path.stat().st_ino for path in paths}) == 10015


def test_no_mask_is_taken_for_an_image(ham):
    assert not [path for path in ham.data["image"] if "segmentation" in path]


def test_details(ham):
    assert set(ham.frame["dx_type"]) == set(DX_TYPES)
    assert set(ham.data["sex"]) == set(SEXES)
    assert set(ham.data["localization"]) == set(LOCALIZATIONS)
    assert ham.data["age"].isna().sum() == 57
    assert ham.data["age"].max() == 85
    assert (ham.data["age"].dropna() % 5 == 0).all()


def test_load_isic_reads_the_same(ham):
    isic = load_isic(ham.data_home)
    pd.testing.assert_frame_equal(isic.data, ham.data)
    assert isic.target.tolist() == ham.target.tolist()
    assert isic.groups.tolist() == ham.groups.tolist()


def link_images(home, ham):
    for number, folder in enumerate(sorted({Path(path).parent for path in ham.data["image"]})):
        (home / f"images_{number}").symlink_to(folder, target_is_directory=True)


def test_the_layout_of_isic_2018_gives_the_same(ham, tmp_path):
    codes = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    truth = pd.DataFrame({"image": ham.frame["image_id"]})
    for code in codes:
        truth[code] = (ham.target == code.lower()).astype(float)
    truth.to_csv(tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv", index=False)
    names = {dx_type: name for name, dx_type in DX_TYPE_OF_CONFIRMATION.items()}
    groupings = pd.DataFrame(
        {
            "image": ham.frame["image_id"],
            "lesion_id": ham.groups,
            "diagnosis_confirm_type": ham.frame["dx_type"].map(names),
        }
    )
    groupings.to_csv(tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv", index=False)
    link_images(tmp_path, ham)

    isic_2018 = load_ham10000(tmp_path)

    columns = ["image_id", "lesion_id", "dx", "dx_type"]
    pd.testing.assert_frame_equal(isic_2018.frame[columns], ham.frame[columns])


def test_two_exchanged_labels_are_noticed(ham, tmp_path):
    table = ham.frame.drop(columns="image")
    single = table[~table["lesion_id"].duplicated(keep=False)]
    one, other = (single.index[single["dx"] == label][0] for label in ("df", "vasc"))
    table.loc[[one, other], "dx"] = ["vasc", "df"]
    table.to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    link_images(tmp_path, ham)
    with pytest.raises(ValueError, match=r"changed table \(1\): ids and counts are as published"):
        load_ham10000(tmp_path)


def test_a_table_cut_short_is_noticed(ham, tmp_path):
    ham.frame.drop(columns="image")[:-1].to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    link_images(tmp_path, ham)
    with pytest.raises(ValueError) as caught:
        load_ham10000(tmp_path)
    assert "Of its 10,015 images, 10,014 are in HAM10000_metadata.csv" in str(caught.value)
    assert "image that the table lacks (1): ISIC_0034320" in str(caught.value)
    assert len(load_isic(tmp_path).data) == 10014
