"""scikit-learn's own checks of every public estimator; what one cannot pass is declared in `public_estimators`."""

from __future__ import annotations

import warnings

import pytest
from public_estimators import ESTIMATORS, expected_failed_checks
from sklearn.exceptions import SkipTestWarning
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

TAKE_ROWS = [estimator for estimator in ESTIMATORS if get_tags(estimator).input_tags.two_d_array]

with warnings.catch_warnings():
    # ImageLoader takes paths and nothing else: scikit-learn has one check for such an estimator, and says so.
    warnings.simplefilter("ignore", SkipTestWarning)
    all_checks = parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks)


@all_checks
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", TAKE_ROWS, ids=lambda estimator: type(estimator).__name__)
def test_the_whole_suite_is_run(estimator):
    # A tag too many would switch most checks off, without a word.
    assert len(list(estimator_checks_generator(estimator))) > 40


def test_only_what_reads_files_is_spared_the_suite():
    spared = {type(estimator).__name__ for estimator in ESTIMATORS} - {type(item).__name__ for item in TAKE_ROWS}
    assert spared == {"ImageLoader"}
