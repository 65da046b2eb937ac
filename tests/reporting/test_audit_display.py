"""Pairs of images side by side."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from skinclf.datasets import make_lesions
from skinclf.evaluation import audit_leakage
from skinclf.reporting import LeakageAuditDisplay


@pytest.fixture(scope="module")
def audited():
    """12 images of which row 8 is a copy of 0, 9 a mirrored 1, and 10 and 11 of the lesions of 2 and 3."""
    images = make_lesions(12, images_per_lesion=1, image_size=32, random_state=0).images
    images[8], images[9] = images[0], images[1, :, ::-1]
    groups = np.array([*"abcdefgh", "i", "j", "c", "d"], dtype=object)
    y = np.array(["mel", "nv"] * 6)
    return images, audit_leakage(images, y, groups=groups, splits=[(np.arange(8), np.arange(8, 12))])


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_pair_has_the_training_image_on_the_left(audited):
    images, audit = audited
    display = LeakageAuditDisplay.from_audit(audit, images, kind="near_duplicate")

    ((left, right),) = display.axes_
    np.testing.assert_array_equal(left.images[0].get_array(), images[1])
    np.testing.assert_array_equal(right.images[0].get_array(), images[9])
    assert left.get_xlabel() == "training row 1\nb, nv"
    assert right.get_xlabel() == "test row 9\nj, nv"
    assert left.get_figure(root=False).get_suptitle() == "Fold 0: looks the same, 0 of 256 bits"


def test_kinds_come_in_turns(audited):
    images, audit = audited
    assert len(audit.pairs) == 4
    display = LeakageAuditDisplay.from_audit(audit, images, max_pairs=3)
    assert display.pairs["kind"].tolist() == ["lesion", "copy", "near_duplicate"]
    assert display.plot() is display


def test_it_draws_into_a_figure(audited):
    images, audit = audited
    figure = plt.figure()
    assert LeakageAuditDisplay.from_audit(audit, images, figure=figure).figure_ is figure


@pytest.mark.parametrize("form", ["float", "rows", "grey", "paths"])
def test_every_form_of_images_can_be_drawn(audited, form, tmp_path):
    images, audit = audited
    X = {"float": images / 255, "rows": images.reshape(12, -1), "grey": images[..., :1]}.get(form)
    if form == "paths":
        X = [str(tmp_path / f"{row}.png") for row in range(12)]
        for path, image in zip(X, images, strict=True):
            Image.fromarray(image).save(path)
    display = LeakageAuditDisplay.from_audit(audit, X, kind="copy")
    shown = display.train_images[0]
    assert shown.dtype == np.uint8
    assert shown.shape[2] == 3
    if form in ("float", "rows"):
        np.testing.assert_array_equal(shown, images[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "twins"}, r"kind must be one of \['lesion', 'copy', 'near_duplicate'\] or None; got 'twins'"),
        ({"max_pairs": 0}, "max_pairs must be a whole number of at least 1; got 0"),
    ],
    ids=["kind", "number"],
)
def test_wrong_arguments_are_named(audited, arguments, message):
    images, audit = audited
    with pytest.raises(ValueError, match=message):
        LeakageAuditDisplay.from_audit(audit, images, **arguments)


def test_other_images_and_nothing_to_draw_are_refused(audited):
    images, audit = audited
    with pytest.raises(ValueError, match="X has 11 rows; 12 were audited"):
        LeakageAuditDisplay.from_audit(audit, images[:11])
    clean = audit_leakage(images, splits=[([0], [5])])
    with pytest.raises(ValueError, match="The audit found no pairs to draw"):
        LeakageAuditDisplay.from_audit(clean, images)
    with pytest.raises(ValueError, match="no pairs of the kind 'copy'"):
        LeakageAuditDisplay.from_audit(clean, images, kind="copy")
