"""Every public estimator, in the one place where scikit-learn's checks, our own and their count look for them.

A new estimator gets all checks by a line in `ESTIMATORS`.
"""

from __future__ import annotations

from typing import Any

from skinclf import LesionCNNClassifier, LesionFeatures
from skinclf.augmentation import LesionAugmenter
from skinclf.preprocessing import ColorConstancy, HairRemover, ImageFlattener, ImageLoader, ImageStandardizer

ESTIMATORS: list[Any] = [
    ImageLoader(),
    ColorConstancy(),
    HairRemover(),
    ImageStandardizer(),
    ImageFlattener(),
    LesionAugmenter(random_state=0),
    LesionCNNClassifier(
        batch_size=16, max_epochs=20, architecture_params={"width": 16, "depth": 2}, random_state=0
    ),
    LesionFeatures("lesion_cnn", architecture_params={"width": 8, "depth": 1}, weights=None, random_state=0),
]

FOR_ANY_ROWS: dict[str, str] = {
    "LookupClassifier": "tests/evaluation/test_lookup.py",
    "TemperatureScaling": "tests/evaluation/test_calibration.py",
    "ConformalClassifier": "tests/evaluation/test_calibration.py",
    "LesionEnsemble": "tests/evaluation/test_ensemble.py",
}
"""Public estimators that know nothing of images, and where scikit-learn's checks of them are."""

EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    "LesionCNNClassifier": {
        "check_sample_weight_equivalence_on_dense_data": (
            "A network that is trained on shuffled batches sees a repeated row in other batches than a row of "
            "weight two; only the expected gradient is the same."
        ),
    },
}
"""For the name of a class those of scikit-learn's checks that it fails, each with its reason."""

EXPECTED_IMAGE_FAILURES: dict[str, dict[str, str]] = {
    "LesionAugmenter": {
        "check_fit_transform_is_fit_and_transform": (
            "fit_transform augments, and transform does not: only training images are ever changed."
        ),
    },
    "LesionFeatures": {
        "check_a_pipeline_can_be_asked_for_a_table": (
            "What comes out are features, which have neither the number nor the names of pixels."
        ),
        "check_what_it_does_not_take_is_sent_to_the_right_place": (
            "It takes pixels and paths both, as the classifier does: there is nothing to be sent away."
        ),
    },
}
"""For the name of a class those of our image checks that it is not meant to pass, each with its reason."""


def expected_failed_checks(estimator: Any) -> dict[str, str]:
    """Return what scikit-learn's functions of this parameter ask for."""
    return EXPECTED_FAILURES.get(type(estimator).__name__, {})


def reason_to_fail(failures: dict[str, dict[str, str]], estimator: Any, name: str) -> str | None:
    """Return why an estimator does not pass the image check of this name, or None if nothing is said of it."""
    reasons = failures.get(type(estimator).__name__, {})
    return reasons.get(name, reasons.get(name.partition("[")[0]))
