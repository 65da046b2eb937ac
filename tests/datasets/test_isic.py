"""`load_isic` on folders that look like those people have; the image files are never decoded."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from skinclf.datasets._isic import load_isic

IDS = ["mole_1", "mole_2", "mole_3", "mole_4", "mole_5"]
TABLE = """\
image_id,lesion_id,dx,age,sex,localization
mole_3,B,mel,70,female,back
mole_1,A,nv,35.0,male,trunk
mole_2,A,nv,,,
mole_5,D,bkl,unknown,unknown,unknown
mole_4,C,nv,0,female,face
"""
ISIC_2019 = """\
image,MEL,NV,BCC,UNK,score_weight
mole_1,0.0,1.0,0.0,0.0,0.5
mole_2,0.0,1.0,0.0,0.0,0.5
mole_3,1.0,0.0,0.0,0.0,1
mole_4,0.0,0.0,1.0,0.0,1
mole_5,0.0,0.0,1.0,0.0,1
"""
ISIC_2019_METADATA = """\
image,age_approx,anatom_site_general,lesion_id,sex
mole_1,35.0,anterior torso,A,male
mole_2,35.0,anterior torso,A,male
mole_3,70.0,,B,
mole_4,,lower extremity,C,female
mole_5,20.0,,C,female
elsewhere,20.0,,Z,female
"""


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_images(folder, ids=IDS, suffix=".jpg"):
    for image_id in ids:
        write(folder, f"{image_id}{suffix}", image_id)


def refusal(home, **arguments):
    with pytest.raises(ValueError) as caught:
        load_isic(home, **arguments)
    return str(caught.value)


@pytest.fixture
def home(tmp_path):
    """Return a folder with five images and no table."""
    write_images(tmp_path / "images")
    return tmp_path


# --- what is loaded -----------------------------------------------------------------------------------------


def test_a_table_with_one_column_of_labels(home):
    write(home, "labels.csv", TABLE)

    moles = load_isic(home)

    assert moles.frame["image_id"].tolist() == IDS
    assert [Path(path).read_text() for path in moles.data["image"]] == IDS
    assert moles.target.tolist() == ["nv", "nv", "mel", "nv", "bkl"]
    assert moles.groups.tolist() == ["A", "A", "B", "C", "D"]
    assert moles.target_names == ["bkl", "mel", "nv"]
    np.testing.assert_array_equal(moles.data["age"], [35, np.nan, 70, 0, np.nan])
    assert moles.data["sex"].tolist() == ["male", "unknown", "female", "female", "unknown"]
    assert moles.data["localization"].tolist() == ["trunk", "unknown", "back", "face", "unknown"]
    assert moles.data_home == str(home)
    assert moles.left_out.empty
    assert moles.left_out.columns.tolist() == ["line", "image_id", "reason"]


def test_x_and_y(home):
    write(home, "labels.csv", TABLE)
    data, target = load_isic(str(home), return_X_y=True)
    assert data.columns.tolist() == ["image", "lesion_id", "age", "sex", "localization"]
    assert target.dtype == object


def test_isic_2019_is_completed_from_its_metadata(home):
    write(home, "ISIC_2019_Training_GroundTruth.csv", ISIC_2019)
    write(home, "ISIC_2019_Training_Metadata.csv", ISIC_2019_METADATA)

    moles = load_isic(home)

    assert moles.target.tolist() == ["NV", "NV", "MEL", "BCC", "BCC"]
    assert moles.target_names == ["BCC", "MEL", "NV"]
    assert moles.groups.tolist() == ["A", "A", "B", "C", "C"]
    assert moles.data["localization"].tolist()[:3] == ["anterior torso", "anterior torso", "unknown"]
    np.testing.assert_array_equal(moles.data["age"], [35, 35, 70, np.nan, 20])
    assert moles.frame["score_weight"].tolist() == ["0.5", "0.5", "1", "1", "1"]


def test_isic_2018_is_completed_from_its_lesion_groupings(home):
    write(home, "truth/ISIC2018_Task3_Training_GroundTruth.csv", ISIC_2019.replace("UNK", "DF"))
    rows = "".join(f"{name},HAM_{name[-1]},histopathology\n" for name in IDS)
    write(home, "ISIC2018_Task3_Training_LesionGroupings.csv", f"image,lesion_id,diagnosis_confirm_type\n{rows}")
    moles = load_isic(home)
    assert moles.groups.tolist() == ["HAM_1", "HAM_2", "HAM_3", "HAM_4", "HAM_5"]
    assert moles.target.tolist() == ["NV", "NV", "MEL", "BCC", "BCC"]


def test_without_lesions_there_are_no_groups(home):
    write(home, "labels.csv", "image_id,dx,patient_id\n" + "".join(f"{name},nv,P\n" for name in IDS))

    moles = load_isic(home)

    assert moles.groups is None
    assert moles.data.columns.tolist() == ["image", "age", "sex", "localization"]
    assert moles.data["age"].isna().all()
    assert set(moles.data["sex"]) == {"unknown"}
    assert "there is no column lesion_id" in moles.DESCR
    assert "frame['patient_id'] can serve as groups" in moles.DESCR
    assert moles.frame["patient_id"].tolist() == ["P"] * 5


def test_lesions_are_taken_from_another_table_of_labels_too(home):
    write(home, "HAM10000_metadata.csv", TABLE)
    write(home, "mine.csv", "image_id,dx\nmole_3,mel\nmole_1,nv\n")
    moles = load_isic(home, table="mine.csv")
    assert moles.groups.tolist() == ["A", "B"]
    assert moles.data["age"].tolist() == [35.0, 70.0]


def test_35_and_35_0_are_one_age(home):
    write(home, "truth.csv", ISIC_2019)
    write(home, "metadata.csv", ISIC_2019_METADATA)
    write(home, "metadata_2.csv", ISIC_2019_METADATA.replace("35.0", "35"))
    assert load_isic(home).data["age"][0] == 35.0


def test_a_blank_column_of_lesions_is_none(home):
    write(home, "labels.csv", "image_id,lesion_id,dx\n" + "".join(f"{name},,nv\n" for name in IDS))
    moles = load_isic(home)
    assert moles.groups is None
    assert "lesion_id" not in moles.frame

    write(home, "lesions.csv", "image_id,lesion_id\n" + "".join(f"{name},A\n" for name in IDS))
    assert load_isic(home).groups.tolist() == ["A"] * 5


@pytest.mark.parametrize("image", ["image_id", "isic_id", "image", "image_name", "ISIC_ID"])
@pytest.mark.parametrize("label", ["dx", "diagnosis", "label", "Diagnosis"])
def test_other_names_of_columns(home, image, label):
    header = f"{label},{image},age_approx,anatom_site_general_challenge"
    write(home, "train.tsv", "\n".join([header, *(f"nv,{name}.JPG,30,torso" for name in IDS)]).replace(",", "\t"))

    moles = load_isic(home)

    assert moles.target.tolist() == ["nv"] * 5
    assert moles.data["age"].tolist() == [30.0] * 5
    assert moles.data["localization"].tolist() == ["torso"] * 5


def test_the_column_of_labels_can_be_chosen(home):
    rows = "".join(f"{name},Benign,Nevus,0\n" for name in IDS)
    write(home, "metadata.csv", f"isic_id,diagnosis_1,diagnosis_3,target\n{rows}")

    assert load_isic(home, label="diagnosis_3").target.tolist() == ["Nevus"] * 5
    assert load_isic(home, label="target").target.tolist() == ["0"] * 5
    assert load_isic(home, label="Diagnosis_1").frame["diagnosis_3"].tolist() == ["Nevus"] * 5

    with pytest.raises(FileNotFoundError) as caught:
        load_isic(home)
    message = str(caught.value)
    assert "holds no table with a column dx, diagnosis or label, or one-hot, and with a column image_id" in message
    assert "metadata.csv: columns isic_id, diagnosis_1, diagnosis_3, target" in message
    assert "with label=" in message


def test_the_table_decides_which_images_there_are(home):
    write(home, "labels.csv", "\n".join(TABLE.splitlines()[:3]))
    moles = load_isic(home)
    assert moles.frame["image_id"].tolist() == ["mole_1", "mole_3"]
    assert "3 images of the folder are not in the table and were passed over" in moles.DESCR


def test_description_counts_images_and_lesions(home):
    path = write(home, "labels.csv", TABLE)
    text = load_isic(home).DESCR
    assert "5 images of 3 classes" in text
    assert str(path) in text
    assert re.search(r"nv +3 images of 2 lesions", text)
    assert "keep the images of a lesion together" in text


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_with_blanks_accents_and_dots(tmp_path, form):
    name = "Läsion 1.5 mm"
    write_images(tmp_path, [unicodedata.normalize(form, name)], ".PNG")
    write(tmp_path, "labels.csv", f"image_id,dx\n{name},nv\n")
    assert load_isic(tmp_path).frame["image_id"].tolist() == [name]


def test_rubbish_is_passed_over(home):
    write(home, "labels.csv", TABLE)
    write_images(home / "__MACOSX")
    write_images(home / "masks", suffix=".png")
    write_images(home / "images", [f"{name}_segmentation" for name in IDS], ".png")
    write(home, "README.txt", "hello, world\n1, 2\n")
    write(home, "hmnist_8_8_L.csv", "pixel0000,label\n3,2\n")
    write(home, "page.csv", "<html>")
    moles = load_isic(home)
    assert all(Path(path).parent == home / "images" for path in moles.data["image"])
    assert "passed over" not in moles.DESCR


# --- where it is looked for ---------------------------------------------------------------------------------


def test_two_tables_of_labels_need_a_choice(home):
    one, other = write(home, "a.csv", TABLE), write(home, "b/test.csv", ISIC_2019)
    message = refusal(home)
    assert f"holds 2 tables of labels: {one}, {other}. Pick one with table={str(one)!r}." in message
    assert load_isic(home, table="a.csv").target_names == ["bkl", "mel", "nv"]
    assert load_isic(home, table=other).target_names == ["BCC", "MEL", "NV"]


def test_two_identical_tables_need_no_choice(home):
    write(home, "a.csv", TABLE)
    write(home, "copy/a.csv", TABLE)
    assert len(load_isic(home).target) == 5


def test_two_versions_of_the_images_need_a_choice(home):
    write(home, "labels.csv", TABLE)
    write_images(home / "images_small", ["mole_1"], ".png")
    write(home, "images_small/mole_1.png", "smaller")
    message = refusal(home)
    small, large = home / "images_small" / "mole_1.png", home / "images" / "mole_1.jpg"
    assert f"image with two different files (1): {large} and {small}" in message
    assert load_isic(home, images="images").data["image"][0] == str(large)
    assert load_isic(home, images=home / "images").data["image"][0] == str(large)


def test_images_may_lie_elsewhere(tmp_path):
    write(tmp_path / "tables", "labels.csv", TABLE)
    write_images(tmp_path / "masks")
    assert len(load_isic(tmp_path / "tables", images=tmp_path / "masks").data) == 5


def test_what_does_not_exist_is_named(home):
    write(home, "labels.csv", TABLE)
    for arguments in ({"table": "gone.csv"}, {"images": "gone"}):
        with pytest.raises(FileNotFoundError, match=r"gone.* does not exist\. A path that is not absolute is"):
            load_isic(home, **arguments)
    with pytest.raises(FileNotFoundError, match="data_home names the folder"):
        load_isic(home / "gone")
    with pytest.raises(NotADirectoryError, match="images must be a folder"):
        load_isic(home, images="labels.csv")
    with pytest.raises(TypeError, match="table and images must be paths; got 3"):
        load_isic(home, table=3)
    with pytest.raises(TypeError, match="label must be the name of a column; got 3"):
        load_isic(home, label=3)
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'warn'; got 'skip'"):
        load_isic(home, on_error="skip")


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("name,dx\na,nv\n", {}, "lacks a column of image ids, called image_id, isic_id, image or image_name"),
        ("image_id,dx\n", {}, "has a header and no rows"),
        ("image_id,dx\na,nv\n", {"label": "diagnosis"}, "lacks the column label='diagnosis'. It has image_id, dx"),
        (
            "image_id,dx,label\na,nv,1\n",
            {},
            "has 2 columns that may be the label: dx, label. Pick one with label='dx'",
        ),
        (
            "image_id,p,q\na,0.4,0.6\n",
            {},
            "has no column of labels, called dx, diagnosis or label, and is not one-hot",
        ),
    ],
)
def test_a_table_that_is_not_understood(home, text, arguments, message):
    write(home, "labels.csv", text)
    assert message in refusal(home, table="labels.csv", **arguments)


def test_no_image_at_all(tmp_path):
    write(tmp_path, "labels.csv", TABLE)
    write(tmp_path, "images.zip", "")
    message = refusal(tmp_path, on_error="warn")
    assert "5 of the 5 rows of" in message
    assert f"No file was found in {tmp_path} at all." in message
    assert "images.zip. Unpack archives first." in message
    assert "leave these rows out" not in message


# --- rows that cannot be used -------------------------------------------------------------------------------


@pytest.mark.fault(37, 38, 40, 41, 42)
@pytest.mark.parametrize(
    ("before", "after", "expected", "lost"),
    [
        ("mole_4,", "gone,", "image without a file (1): gone (line 6)", ["mole_4"]),
        ("mole_4,", "mole_5,", "image listed twice (1): mole_5: lines 5 and 6", ["mole_4", "mole_5"]),
        ("mole_4,", ",", "row without an image id (1): line 6", ["mole_4"]),
        ("C,nv", "C,", "row without a label (1): line 6", ["mole_4"]),
        ("C,nv", "C,NaN", "row without a label (1): line 6", ["mole_4"]),
        ("C,nv", "C,NV ", "label spelled in two ways (1): line 6: 'NV ', meant as 'nv' (2 rows)?", ["mole_4"]),
        ("C,nv", ",nv", "row without a lesion_id, which others have (1): line 6", ["mole_4"]),
        (
            "C,nv",
            "B,nv",
            "lesion with more than one label (1): B: 'mel', 'nv' (lines 2 and 6)",
            ["mole_3", "mole_4"],
        ),
        ("nv,0,", "nv,old,", "age that is no number of years (1): line 6: 'old'", ["mole_4"]),
        ("nv,0,", "nv,0,0,", "line with a wrong number of cells (1): line 6: 7 instead of 6", ["mole_4"]),
    ],
)
def test_a_row_is_refused_or_left_out(home, before, after, expected, lost):
    path = write(home, "labels.csv", TABLE.replace(before, after))

    message = refusal(home)
    assert f"of the 5 rows of {path} cannot be used" in message
    assert f"  - {expected}\n" in message
    assert "leave these rows out with on_error='warn'" in message

    with pytest.warns(UserWarning, match=re.escape(expected)):
        moles = load_isic(home, on_error="warn")
    remaining = [name for name in IDS if name not in lost]
    assert moles.frame["image_id"].tolist() == remaining
    assert [Path(image).stem for image in moles.data["image"]] == remaining
    assert len(moles.target) == len(moles.groups) == len(remaining)
    assert set(moles.left_out["reason"]) == {expected.partition(" (")[0]}
    assert "left out; see left_out" in moles.DESCR


def test_the_warning_names_all_that_is_left_out(home):
    rows = [f"gone_{number},E,nv,1,male,back" for number in range(40)]
    write(home, "labels.csv", TABLE + "\n".join(rows))

    with pytest.warns(UserWarning, match="40 of the 45 rows of .* They are left out:") as caught:
        moles = load_isic(home, on_error="warn")

    message = str(caught[0].message)
    assert all(f"gone_{number} (line " in message for number in range(40))
    assert caught[0].filename == __file__
    assert moles.left_out["image_id"].tolist() == [f"gone_{number}" for number in range(40)]
    assert moles.left_out["line"].tolist() == list(range(7, 47))


def test_a_one_hot_row_must_mark_one_class(home):
    write(home, "labels.csv", ISIC_2019.replace("mole_4,0.0,0.0,1.0", "mole_4,0.0,0.0,0.0"))
    message = refusal(home)
    assert "line without exactly one class (1): line 5: marks no class" in message
    assert "row without a label" not in message


def test_tables_that_contradict_each_other(home):
    write(home, "truth.csv", ISIC_2019)
    write(home, "metadata.csv", ISIC_2019_METADATA)
    write(home, "metadata_2.csv", ISIC_2019_METADATA.replace("mole_1,35.0", "mole_1,40.0"))
    message = refusal(home)
    assert "image with two values of age (1): mole_1: '35.0' in metadata.csv, '40.0' in metadata_2.csv" in message


def test_several_mistakes_are_said_at_once(home):
    text = TABLE.replace("mole_4,", "gone,").replace("D,bkl", ",bkl").replace("70,", "seventy,")
    write(home, "labels.csv", text)
    message = refusal(home)
    assert message.startswith("3 of the 5 rows")
    assert "image without a file (1)" in message
    assert "row without a lesion_id, which others have (1)" in message
    assert "age that is no number of years (1)" in message
