"""What HAM10000 is, as data that the loader checks against.

Counts and vocabularies are those of ``HAM10000_metadata`` as published (Harvard Dataverse,
doi:10.7910/DVN/DBW86T); the names of the classes are those of the paper [1]_. The checksum was computed from
that file with `label_checksum`.

References
----------
.. [1] Tschandl, P., Rosendahl, C. and Kittler, H. The HAM10000 dataset, a large collection of multi-source
   dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161 (2018).
   doi:10.1038/sdata.2018.161
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

IMAGE_ID = re.compile(r"ISIC_\d{7}")
LESION_ID = re.compile(r"HAM_\d{7}")

CLASS_NAMES: Mapping[str, str] = {
    "akiec": "actinic keratoses and intraepithelial carcinoma (Bowen's disease)",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesions (solar lentigines, seborrheic and lichen-planus-like keratoses)",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevi",
    "vasc": "vascular lesions (angiomas, angiokeratomas, pyogenic granulomas and hemorrhage)",
}
"""The seven classes, in the order of their codes, which is that of ``target_names`` and ``classes_``."""

DX_TYPES = ("confocal", "consensus", "follow_up", "histo")
"""How a diagnosis was made: confocal microscopy, consensus of experts, follow-up, histopathology."""

SEXES = ("female", "male", "unknown")

LOCALIZATIONS = (
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "unknown",
    "upper extremity",
)

DX_TYPE_OF_CONFIRMATION: Mapping[str, str] = {
    "confocal microscopy with consensus dermoscopy": "confocal",
    "histopathology": "histo",
    "serial imaging showing no change": "follow_up",
    "single image expert consensus": "consensus",
}
"""What the lesion groupings of ISIC 2018 call ``diagnosis_confirm_type``, and HAM10000 calls ``dx_type``."""

HOME_PAGE = "https://doi.org/10.7910/DVN/DBW86T"
LESION_GROUPINGS_PAGE = "https://challenge.isic-archive.com/data/#2018"
LESION_GROUPINGS_URL = (
    "https://isic-archive.s3.amazonaws.com/challenges/2018/ISIC2018_Task3_Training_LesionGroupings.csv"
)
LICENCE = "CC BY-NC 4.0"
CITATION = (
    "Tschandl, P., Rosendahl, C. and Kittler, H. The HAM10000 dataset, a large collection of multi-source\n"
    "dermatoscopic images of common pigmented skin lesions. Scientific Data 5, 180161 (2018).\n"
    "doi:10.1038/sdata.2018.161"
)


@dataclass(frozen=True)
class Catalogue:
    """The figures of a data set with consecutive image ids.

    Attributes
    ----------
    first_image, last_image : int
        The numbers in the first and the last image id; every number between them is an image.
    n_lesions : int
        How many lesions the images show.
    class_counts : mapping of str to int
        Images of each class.
    checksum : str
        What `label_checksum` returns for the published table.
    """

    first_image: int
    last_image: int
    n_lesions: int
    class_counts: Mapping[str, int]
    checksum: str

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return self.last_image - self.first_image + 1

    def image_ids(self) -> list[str]:
        """Return all image ids in their order."""
        return [f"ISIC_{number:07d}" for number in range(self.first_image, self.last_image + 1)]


HAM10000 = Catalogue(
    first_image=24306,
    last_image=34320,
    n_lesions=7470,
    class_counts={"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142},
    checksum="93bc47384755be662f4f455672d6cd6711ead435f5aa0cb4493768ab63518f55",
)


def label_checksum(labels: Iterable[tuple[str, str, str]]) -> str:
    """Return a checksum that changes with any image's label or lesion, and with nothing else.

    Parameters
    ----------
    labels : iterable of (image_id, lesion_id, dx)
        In any order.

    Returns
    -------
    str
        The SHA-256, in hexadecimal, of the lines ``image_id,lesion_id,dx``, sorted, each ended by a line
        feed, in UTF-8.

    Examples
    --------
    >>> from skinclf.datasets._ham10000_catalogue import label_checksum
    >>> label_checksum([("ISIC_0024306", "HAM_0000550", "nv")])[:16]
    '7f0714832599fa35'
    """
    text = "".join(sorted(f"{image_id},{lesion_id},{dx}\n" for image_id, lesion_id, dx in labels))
    return hashlib.sha256(text.encode()).hexdigest()


def describe(catalogue: Catalogue, *, has_details: bool) -> str:
    """Return the text that a loaded data set carries as ``DESCR``.

    Parameters
    ----------
    catalogue : Catalogue
        The figures.
    has_details : bool
        Whether age, sex and localization are known.

    Returns
    -------
    str
        Several paragraphs.
    """
    width = max(len(code) for code in CLASS_NAMES)
    classes = "\n".join(
        f"  {code:<{width}}  {catalogue.class_counts.get(code, 0):>6,}  {name}"
        for code, name in CLASS_NAMES.items()
    )
    details = "" if has_details else _NO_DETAILS
    return _DESCRIPTION.format(
        n_images=catalogue.n_images,
        n_lesions=catalogue.n_lesions,
        classes=classes,
        details=details,
        home_page=HOME_PAGE,
        licence=LICENCE,
        citation=CITATION,
    )


_NO_DETAILS = """
This copy has the layout of ISIC 2018, Task 3, which says nothing of age, sex and localization: they are
unknown for every image.
"""

_DESCRIPTION = """\
HAM10000: "Human Against Machine with 10,000 training images"

{n_images:,} dermatoscopic images of {n_lesions:,} pigmented skin lesions in seven classes:

{classes}

data      image (the path of the file), lesion_id, age (years, in steps of 5; NaN where it is unknown), sex
          and localization ("unknown" where they are)
target    the class of each image
groups    the lesion of each image. Many lesions have several photos: split by lesion, or a test image has a
          sibling in training and the score means nothing
frame     the whole table. dx_type says how the diagnosis was made and gives it away: never make it a feature
{details}
Source: {home_page}
Licence: {licence} (not for commercial use)

{citation}

Made for research. Not a medical device.
"""
