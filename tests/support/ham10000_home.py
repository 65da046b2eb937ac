"""A small fake of HAM10000 in every layout, for the tests of its loader.

It has 12 images, whose files hold their ids and are never decoded, and a catalogue of its own.
"""

from __future__ import annotations

import pytest

from skinclf.datasets._ham10000 import load_checked
from skinclf.datasets._ham10000_catalogue import Catalogue, label_checksum

ROWS = [
    ("HAM_0000001", "ISIC_0024306", "nv", "follow_up", "45.0", "male", "trunk"),
    ("HAM_0000001", "ISIC_0024307", "nv", "follow_up", "45.0", "male", "trunk"),
    ("HAM_0000002", "ISIC_0024308", "nv", "histo", "", "unknown", "unknown"),
    ("HAM_0000003", "ISIC_0024309", "mel", "histo", "80.0", "female", "back"),
    ("HAM_0000003", "ISIC_0024310", "mel", "histo", "80.0", "female", "back"),
    ("HAM_0000004", "ISIC_0024311", "bkl", "consensus", "0.0", "female", "lower extremity"),
    ("HAM_0000005", "ISIC_0024312", "bcc", "histo", "70.0", "male", "ear"),
    ("HAM_0000006", "ISIC_0024313", "akiec", "histo", "65.0", "male", "face"),
    ("HAM_0000006", "ISIC_0024314", "akiec", "histo", "65.0", "male", "face"),
    ("HAM_0000007", "ISIC_0024315", "vasc", "consensus", "50.0", "female", "abdomen"),
    ("HAM_0000008", "ISIC_0024316", "df", "confocal", "35.0", "male", "hand"),
    ("HAM_0000009", "ISIC_0024317", "nv", "histo", "5.0", "female", "foot"),
]
HEADER = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
IDS = [row[1] for row in ROWS]
LABELS = [row[2] for row in ROWS]
LESIONS = [row[0] for row in ROWS]
SMALL = Catalogue(
    first_image=24306,
    last_image=24317,
    n_lesions=9,
    class_counts={"akiec": 2, "bcc": 1, "bkl": 1, "df": 1, "mel": 2, "nv": 4, "vasc": 1},
    checksum=label_checksum(zip(IDS, LESIONS, LABELS, strict=True)),
)
CODES = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
CONFIRMATION = {
    "confocal": "confocal microscopy with consensus dermoscopy",
    "consensus": "single image expert consensus",
    "follow_up": "serial imaging showing no change",
    "histo": "histopathology",
}


def write_table(path, rows=ROWS, header=HEADER, delimiter=",", quote=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_images(folder, ids=IDS, suffix=".jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    for image_id in ids:
        (folder / f"{image_id}{suffix}").write_text(image_id)


def write_isic_2018(home, *, flat=False, groupings=True, rows=ROWS):
    truth_folder = home if flat else home / "ISIC2018_Task3_Training_GroundTruth"
    images = home if flat else home / "ISIC2018_Task3_Training_Input"
    one_hot = [(row[1], *("1.0" if code.lower() == row[2] else "0.0" for code in CODES)) for row in rows]
    write_table(truth_folder / "ISIC2018_Task3_Training_GroundTruth.csv", one_hot, ("image", *CODES))
    if groupings:
        lesions = [(row[1], row[0], CONFIRMATION[row[3]]) for row in rows]
        header = ("image", "lesion_id", "diagnosis_confirm_type")
        write_table(home / "ISIC2018_Task3_Training_LesionGroupings.csv", lesions, header)
    write_images(images)
    (images / "ATTRIBUTION.txt").write_text("by the authors")


def pollute(home):
    """Add what lies about in real downloads, none of it an image of the data set."""
    write_images(home / "__MACOSX" / "HAM10000_images_part_1", [f"._{IDS[0]}", "ISIC_0099999"])
    write_images(home / "HAM10000_images_part_1", [f"._{IDS[0]}"])
    write_images(home / "HAM10000_segmentations", IDS, ".png")
    write_images(home / "HAM10000_images_part_1", [f"{IDS[0]}_segmentation"], ".png")
    (home / ".thumbnails").mkdir()
    (home / ".thumbnails" / f"{IDS[0]}.jpg").write_text("smaller")
    write_images(home / "ISIC2018_Task3_Test_Images", ["ISIC_0034524"])
    write_images(home / "ISIC_2019_Training_Input", [IDS[3]], ".png")
    (home / "HAM10000_images_part_1" / "Thumbs.db").write_bytes(b"\0")
    (home / ".DS_Store").write_bytes(b"\0")
    (home / "hmnist_28_28_L.csv").write_text("pixel0000,label\n3,2\n")
    (home / "figure.png").write_text("no ISIC id")


def kaggle(home):
    write_table(home / "HAM10000_metadata.csv")
    write_images(home / "HAM10000_images_part_1", IDS[:6])
    write_images(home / "HAM10000_images_part_2", IDS[6:])
    pollute(home)


def kaggle_doubled(home):
    """Build the archive as it unpacks today: every image twice, and part 2 in a folder of its own name."""
    kaggle(home)
    write_images(home / "ham10000_images_part_1", IDS[:6])
    write_images(home / "HAM10000_images_part_2" / "HAM10000_images_part_2", IDS[6:])


def dataverse_tab(home):
    write_table(home / "HAM10000_metadata.tab", delimiter="\t", quote='"')
    write_images(home / "HAM10000_images_part_1", IDS[:6], ".JPG")
    write_images(home / "HAM10000_images_part_2", IDS[6:], ".jpeg")


def dataverse_without_suffix(home):
    rows = [(*row, "vidir_modern") for row in ROWS]
    write_table(home / "dataverse_files" / "HAM10000_metadata", rows, (*HEADER, "dataset"))
    write_images(home / "dataverse_files")


def isic_2018(home):
    write_isic_2018(home)


def isic_2018_flat(home):
    write_isic_2018(home, flat=True)


def below_a_shared_home(home):
    kaggle(home / "HAM10000")
    (home / "another data set").mkdir()
    (home / "another data set" / f"{IDS[0]}.png").write_text("another image")


LAYOUTS = [
    kaggle,
    kaggle_doubled,
    dataverse_tab,
    dataverse_without_suffix,
    isic_2018,
    isic_2018_flat,
    below_a_shared_home,
]


def refusal(home):
    """Return the message with which a folder is refused."""
    with pytest.raises(ValueError) as caught:
        load_checked(home, SMALL)
    return str(caught.value)


def changed(line, column, value):
    """Return the rows with one cell changed; `line` counts from the header, which is line 1."""
    rows = [list(row) for row in ROWS]
    rows[line - 2][HEADER.index(column)] = value
    return rows
