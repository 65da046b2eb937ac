"""`load_ham10000` on everything that can be wrong with the tables and the files."""

from __future__ import annotations

import codecs
import random

import pytest

from skinclf.datasets._ham10000 import load_checked

from ham10000_home import (
    HEADER,
    IDS,
    LABELS,
    LESIONS,
    ROWS,
    SMALL,
    changed,
    kaggle,
    refusal,
    write_images,
    write_isic_2018,
    write_table,
)


@pytest.fixture
def home(tmp_path):
    """Return a folder with the images, and no table."""
    write_images(tmp_path / "images")
    return tmp_path


# --- how tables are written ---------------------------------------------------------------------------------


@pytest.mark.fault(43)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_any_delimiter_with_and_without_byte_order_mark(home, delimiter, mark):
    path = write_table(home / "HAM10000_metadata.csv", delimiter=delimiter)
    path.write_bytes(mark + path.read_bytes())
    assert load_checked(home, SMALL).target.tolist() == LABELS


@pytest.mark.fault(43)
def test_a_table_that_a_german_excel_wrote(home):
    rows = [(*(cell.replace(".", ",") for cell in row), "Universität") for row in ROWS]
    path = write_table(home / "HAM10000_metadata.csv", rows, (*HEADER, "Anmerkung"), delimiter=";")
    text = "sep=;\n" + path.read_text(encoding="utf-8")
    path.write_bytes(text.replace("\n", "\r\n").encode("cp1252"))

    frame = load_checked(home, SMALL).frame

    assert frame["age"][0] == 45.0
    assert set(frame["Anmerkung"]) == {"Universität"}


@pytest.mark.fault(43)
def test_utf_16(home):
    path = write_table(home / "HAM10000_metadata.csv", delimiter="\t")
    path.write_text(path.read_text(), encoding="utf-16")
    assert load_checked(home, SMALL).target.tolist() == LABELS


def test_an_index_column_blank_lines_and_case_of_the_header_are_harmless(home):
    rows = [(str(number), *row) for number, row in enumerate(ROWS)]
    path = write_table(home / "HAM10000_metadata.csv", rows, ("", *(name.upper() for name in HEADER)))
    path.write_text(path.read_text().replace("\n", "\n\n") + ",,,,,,,\n")
    assert load_checked(home, SMALL).target.tolist() == LABELS


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"PK\x03\x04....", "is a workbook or an archive, not a table of text. Save it as CSV"),
        (b"<!DOCTYPE html><html>", "is a web page, not a table. Download it again"),
        (b"image_id,dx\nISIC\0", "holds null characters"),
        (b"image_id,dx\nM\x8fnchen,nv", "is neither in UTF-8 nor in Windows-1252 (byte 0x8f at position 13)"),
        (codecs.BOM_UTF16_LE + b"a\x00\x00\xd8", "begins like UTF-16 and is not"),
        (b"image_id,dx,DX\n", "has more than one column with the name 'dx'"),
        (
            b"image_id,dx,age\n",
            "lacks the columns lesion_id, dx_type, sex, localization. It has image_id, dx, age.",
        ),
    ],
)
def test_what_is_no_table_of_ham10000(home, content, message):
    path = home / "HAM10000_metadata.csv"
    path.write_bytes(content)
    refused = refusal(home)
    assert message in refused
    assert str(path) in refused


def test_two_tables_must_be_the_same(home):
    write_table(home / "HAM10000_metadata.csv", [(*row[:4], row[4].replace(".0", ""), *row[5:]) for row in ROWS])
    write_table(home / "copy" / "HAM10000_metadata.tab", ROWS[::-1], delimiter="\t")
    assert load_checked(home, SMALL).target.tolist() == LABELS

    write_table(home / "copy" / "HAM10000_metadata.tab", changed(5, "dx", "nv"), delimiter="\t")
    message = refusal(home)
    assert "are the same table by name, and differ: one has" in message
    assert str(home / "HAM10000_metadata.csv") in message
    assert str(home / "copy" / "HAM10000_metadata.tab") in message

    write_table(home / "copy" / "HAM10000_metadata.tab", ROWS[:3])
    assert "they have 12 and 3 rows" in refusal(home)


# --- what can be wrong with the rows ------------------------------------------------------------------------


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("NV", ", meant as 'nv'?"),
        ("nv ", ", meant as 'nv'?"),
        ("melanoma", ", meant as 'mel'?"),
        ("meI", ", meant as 'mel'?"),
        ("AK", ", meant as 'akiec'?"),
        ("zzz", ""),
    ],
)
def test_an_unknown_label_is_named_with_the_one_meant(home, written, hint):
    write_table(home / "HAM10000_metadata.csv", changed(5, "dx", written))
    message = refusal(home)
    line = f"  - label that HAM10000 does not have (1): line 5 (ISIC_0024309): {written!r}{hint}\n"
    assert line in message
    assert "load_isic" not in message


@pytest.mark.fault(37, 40, 41, 42)
@pytest.mark.parametrize(
    ("line", "column", "value", "expected"),
    [
        (3, "dx", "", "blank label (1): line 3 (ISIC_0024307)"),
        (3, "lesion_id", " ", "image without a lesion_id (1): line 3"),
        (3, "lesion_id", "HAM_1", "value that is no lesion_id (1): line 3: 'HAM_1'"),
        (3, "dx", "bkl", "lesion with more than one label (1): HAM_0000001: nv in line 2, bkl in line 3"),
        (3, "image_id", "isic_0024307.jpg", "line 3: 'isic_0024307.jpg', meant as 'ISIC_0024307'?"),
        (3, "image_id", "ISIC_0099999", "image_id that HAM10000 does not have (1): line 3: 'ISIC_0099999'\n"),
        (3, "image_id", "ISIC_0024306", "image listed twice (1): ISIC_0024306: lines 2 and 3"),
        (3, "image_id", "", "image that the table lacks (1): ISIC_0024307"),
        (
            3,
            "dx_type",
            "histology",
            "dx_type that HAM10000 does not have (1): line 3: 'histology', meant as 'histo'?",
        ),
        (3, "sex", "Male", "sex that HAM10000 does not have (1): line 3: 'Male', meant as 'male'?"),
        (3, "localization", "leg", "localization that HAM10000 does not have (1): line 3: 'leg'"),
        (3, "age", "old", "age that is no number of years (1): line 3: 'old'"),
        (3, "age", "-5", "age that is no number of years (1): line 3: '-5'"),
        (3, "age", "450", "age that is no number of years (1): line 3: '450'"),
    ],
)
def test_a_wrong_cell_is_named(home, line, column, value, expected):
    write_table(home / "HAM10000_metadata.csv", changed(line, column, value))
    assert expected in refusal(home)


def test_a_line_with_too_few_cells_is_named(home):
    write_table(home / "HAM10000_metadata.csv", [*ROWS[:-1], ROWS[-1][:4]])
    assert "line with a wrong number of cells (1): HAM10000_metadata.csv, line 13: 4 instead of 7" in refusal(home)


def test_an_unclosed_quotation_mark_does_not_hide_rows(home):
    path = write_table(home / "HAM10000_metadata.csv")
    path.write_text(path.read_text().replace("trunk", '"trunk', 1))
    message = refusal(home)
    assert "localization that HAM10000 does not have (1): line 2: 'trunk\\nHAM_" in message
    assert "image that the table lacks (11)" in message
    assert all(len(line) < 200 for line in message.splitlines() if line.startswith("  - localization"))


def test_exchanged_labels_are_noticed_by_the_checksum(home):
    rows = changed(9, "dx", "mel")
    rows[8][2] = "mel"
    rows[3][2] = rows[4][2] = "akiec"
    write_table(home / "HAM10000_metadata.csv", rows)
    message = refusal(home)
    assert "changed table (1): ids and counts are as published, but the SHA-256" in message
    assert "labels or lesions were exchanged" in message


def test_wrong_counts_are_named(home):
    write_table(home / "HAM10000_metadata.csv", changed(13, "dx", "df"))
    message = refusal(home)
    assert "class with a wrong count (2): df has 2 images instead of 1; nv has 3 images instead of 4" in message

    write_table(home / "HAM10000_metadata.csv", changed(13, "lesion_id", "HAM_0000002"))
    assert "wrong number of lesions (1): 8 instead of 9" in refusal(home)


@pytest.mark.parametrize(
    ("marks", "what"),
    [
        ("0,0,0,0,0,0,0", "marks no class"),
        ("1,1,0,0,0,0,0", "marks 2 classes (MEL, NV)"),
        ("0.3,0.7,0,0,0,0,0", "holds '0.3' under MEL, not 0 or 1"),
    ],
)
def test_a_one_hot_row_must_mark_one_class(tmp_path, marks, what):
    write_isic_2018(tmp_path, flat=True)
    path = tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv"
    lines = path.read_text().splitlines()
    lines[1] = f"{IDS[0]},{marks}"
    path.write_text("\n".join(lines))
    message = refusal(tmp_path)
    assert f"line without exactly one class (1): line 2: {what}" in message
    assert "blank label" not in message


def test_lesion_groupings_must_fit_the_ground_truth(tmp_path):
    write_isic_2018(tmp_path, flat=True)
    lesions = [(IDS[0], LESIONS[0]), (IDS[0], LESIONS[1]), ("ISIC_0099999", "HAM_0000001")]
    write_table(tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv", lesions, ("image", "lesion_id"))
    message = refusal(tmp_path)
    assert (
        "image twice in the lesion groupings (1): ISIC2018_Task3_Training_LesionGroupings.csv, line 3" in message
    )
    assert "image of the lesion groupings that the ground truth lacks (1): ISIC_0099999" in message
    assert "image without a lesion_id (11)" in message


def test_lesion_groupings_need_no_confirmation_type(tmp_path):
    write_isic_2018(tmp_path, flat=True)
    lesions = list(zip(IDS, LESIONS, strict=True))
    write_table(tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv", lesions, ("image", "lesion_id"))
    assert set(load_checked(tmp_path, SMALL).frame["dx_type"]) == {"unknown"}


# --- what can be wrong with the files -----------------------------------------------------------------------


@pytest.mark.fault(38)
def test_images_without_a_file_are_named_and_counted(tmp_path):
    write_table(tmp_path / "HAM10000_metadata.csv")
    write_images(tmp_path / "HAM10000_images_part_1", IDS[:4])
    (tmp_path / "HAM10000_images_part_2.zip").touch()
    message = refusal(tmp_path)
    assert "Of its 12 images, 12 are in HAM10000_metadata.csv and 4 of these have a file." in message
    shown = "ISIC_0024310; ISIC_0024311; ISIC_0024312; ISIC_0024313; ISIC_0024314; and 3 more"
    assert f"  - image without a file (8): {shown}\n" in message
    assert f"Not unpacked: {tmp_path / 'HAM10000_images_part_2.zip'}. Unpack archives first." in message
    assert f"call load_isic({str(tmp_path)!r}), with on_error='warn'" in message


def test_masks_do_not_stand_in_for_images(tmp_path):
    write_table(tmp_path / "HAM10000_metadata.csv")
    masks = tmp_path / "HAM10000_segmentations_lesion_tschandl"
    write_images(masks, IDS, ".png")
    message = refusal(tmp_path)
    assert "image without a file (12)" in message
    assert f"Taken for segmentation masks, and passed over: {masks}." in message


def test_a_part_of_the_data_set_is_refused_with_a_way_to_load_it(tmp_path):
    write_table(tmp_path / "HAM10000_metadata.csv", ROWS[:5])
    write_images(tmp_path / "images", IDS[:5])
    message = refusal(tmp_path)
    assert "Of its 12 images, 5 are in HAM10000_metadata.csv and 5 of these have a file." in message
    assert "image that the table lacks (7): ISIC_0024311; " in message
    assert "class with a wrong count" not in message
    assert f"To work with a part of the data set knowingly, call load_isic({str(tmp_path)!r})" in message


@pytest.mark.fault(39)
def test_files_that_the_table_does_not_list_are_named(home):
    write_table(home / "HAM10000_metadata.csv")
    write_images(home / "images", ["ISIC_0034321", "isic_0024999"])
    message = refusal(home)
    assert "file that the table does not list (2): " in message
    assert str(home / "images" / "ISIC_0034321.jpg") in message
    assert str(home / "images" / "isic_0024999.jpg") in message
    assert "Images after ISIC_0024317 are of other data sets" in message


@pytest.mark.parametrize("n_bytes", [10, 65536, 65537, 200_000])
def test_copies_of_an_image_must_be_identical(home, n_bytes):
    write_table(home / "HAM10000_metadata.csv")
    content = random.Random(0).randbytes(n_bytes)
    one, other = home / "images" / f"{IDS[4]}.jpg", home / "more" / f"{IDS[4]}.JPG"
    one.write_bytes(content)
    other.parent.mkdir()
    other.write_bytes(content)
    assert load_checked(home, SMALL).data["image"][4] == str(one)

    last, first = content[:-1] + bytes([content[-1] ^ 1]), bytes([content[0] ^ 1]) + content[1:]
    for wrong in (content[:-1], content + b"0", last, first):
        other.write_bytes(wrong)
        assert f"image with two different files (1): {one} and {other}\n" in refusal(home)


def test_links_are_followed_and_loops_and_dead_links_survived(tmp_path):
    home = tmp_path / "home"
    write_table(home / "HAM10000_metadata.csv")
    write_images(tmp_path / "elsewhere", IDS[1:])
    (home / "images").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "loop").symlink_to(home, target_is_directory=True)
    (home / "to itself").symlink_to(home / "to itself")
    (home / f"{IDS[0]}.jpg").symlink_to(tmp_path / "nowhere.jpg")

    message = refusal(home)
    assert "image without a file (1): ISIC_0024306\n" in message
    assert f"Links that lead nowhere: {home / 'ISIC_0024306.jpg'}." in message

    write_images(tmp_path / "elsewhere", IDS[:1])
    assert load_checked(home, SMALL).target.tolist() == LABELS


def test_a_folder_named_like_an_image_is_no_image(home):
    write_table(home / "HAM10000_metadata.csv")
    (home / "images" / f"{IDS[0]}.jpg").unlink()
    (home / "images" / f"{IDS[0]}.jpg").mkdir()
    assert "image without a file (1): ISIC_0024306" in refusal(home)


def test_the_root_is_searched_whatever_it_is_called(tmp_path):
    home = tmp_path / "segmentation project" / ".data"
    kaggle(home)
    assert load_checked(home, SMALL).target.tolist() == LABELS


def test_everything_is_said_at_once(tmp_path):
    rows = changed(2, "dx", "NV")
    rows[5][2] = "unheard of"
    rows[6][1] = "ISIC_7"
    rows[7][0] = ""
    rows[9][5] = "?"
    rows[10][1] = IDS[9]
    rows[11][4] = "young"
    write_table(tmp_path / "HAM10000_metadata.csv", rows)
    write_images(tmp_path / "images", IDS[:9])
    write_images(tmp_path / "images", ["ISIC_0024500"])
    write_images(tmp_path / "more", [IDS[0]])
    (tmp_path / "more" / f"{IDS[0]}.jpg").write_text("another image")

    message = refusal(tmp_path)

    for kind in (
        "label that HAM10000 does not have (2)",
        "image_id that HAM10000 does not have (1)",
        "image without a lesion_id (1)",
        "sex that HAM10000 does not have (1)",
        "image listed twice (1)",
        "age that is no number of years (1)",
        "image that the table lacks (2)",
        "image with two different files (1)",
        "image without a file (2)",
        "file that the table does not list (2)",
    ):
        assert f"  - {kind}: " in message
