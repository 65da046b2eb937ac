"""Groups that were passed, beside the lesions that the table names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skinclf.evaluation import LeakageError, cross_validate
from skinclf.preprocessing import ImageFlattener, ImageLoader


def test_groups_that_do_not_keep_the_lesions_of_the_table_together_are_refused(lesion_files, lesions):
    """Wrong groups, such as the numbers of the images, would otherwise certify a split that leaks."""
    model = make_pipeline(ImageLoader(8), ImageFlattener(), LogisticRegression(max_iter=20, tol=1.0))
    numbers = np.arange(len(lesion_files))
    with pytest.raises(
        LeakageError, match=r"of a lesion that is also trained on.*'lesion_id' of X says so.*Leave groups out"
    ):
        cross_validate(model, lesion_files, lesions.target, groups=numbers, cv=2)
    coarser = pd.factorize(lesion_files["lesion_id"])[0] // 2  # such as patients, with two lesions each
    result = cross_validate(model, lesion_files, lesions.target, groups=coarser, cv=2)
    assert len(result.leaks) == 0


def test_rows_without_a_lesion_are_lesions_of_their_own_beside_groups(lesion_files, lesions):
    model = make_pipeline(ImageLoader(8), ImageFlattener(), LogisticRegression(max_iter=20, tol=1.0))
    unnamed = lesion_files.assign(lesion_id=None)
    result = cross_validate(model, unnamed, lesions.target, groups=np.arange(len(unnamed)), cv=2)
    assert len(result.leaks) == 0
