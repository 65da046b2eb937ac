"""Age, sex and body site of a table as numbers: what is learnt, what is unknown, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from skinclf.estimator._metadata import COLUMNS, check_learned, encode_metadata, learn_metadata

KNOTS = [0.0, 20.0, 40.0, 60.0, 80.0]


def table(**columns):
    n_rows = max(len(column) for column in columns.values())
    return pd.DataFrame({"image": [f"{row}.jpg" for row in range(n_rows)], **columns})


def test_an_age_lies_between_two_knots():
    ages = [0, 10, 20, 50, 75, 80, 85, np.nan]
    encoded = encode_metadata(table(age=ages), {"age": KNOTS})
    assert encoded.dtype == np.float32
    expected = [
        [1, 0, 0, 0, 0],
        [0.5, 0.5, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 0.5, 0.5, 0],
        [0, 0, 0, 0.25, 0.75],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(encoded, np.array(expected, np.float32))


def test_the_knots_give_back_every_age_up_to_the_last():
    ages = np.arange(0, 80.5, 0.5)
    encoded = encode_metadata(table(age=ages), {"age": KNOTS})
    np.testing.assert_allclose(encoded @ np.array(KNOTS), ages, rtol=1e-6)
    np.testing.assert_allclose(encoded.sum(axis=1), 1, rtol=1e-6)
    assert ((encoded > 0).sum(axis=1) <= 2).all()


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([30, None, 45], dtype="Int64"),
        pd.Series(["30", "unknown", " 45.0 "]),
        pd.Series([30, None, 45], dtype=object),
        pd.Series([30, np.nan, 45], dtype=np.float16),
        pd.Series(["30", "45"], dtype="category").reindex([0, 2, 1]),
    ],
    ids=["nullable integers", "strings", "objects", "halves", "categories"],
)
def test_ages_may_come_in_any_type(column):
    frame = table(age=column.to_list()).assign(age=column.array)
    expected = encode_metadata(table(age=[30, np.nan, 45]), {"age": KNOTS})
    assert learn_metadata(frame) == {"age": KNOTS}
    np.testing.assert_array_equal(encode_metadata(frame, {"age": KNOTS}), expected)


def test_categories_are_learnt_and_case_and_blanks_do_not_matter():
    frame = table(sex=["Male", " female", "MALE ", "unknown"], localization=["Lower Extremity", "back", "", None])
    learned = learn_metadata(frame)
    assert learned == {"sex": ["female", "male"], "localization": ["back", "lower extremity"]}
    np.testing.assert_array_equal(
        encode_metadata(frame, learned), [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    )


@pytest.mark.parametrize(
    "unknown", [None, np.nan, pd.NA, "", "  ", "unknown", " Unknown", "nan", "None", "<NA>", "knee"]
)
def test_what_is_not_known_is_a_row_of_zeros_in_its_column_alone(unknown):
    learned = {"age": KNOTS, "sex": ["female", "male"], "localization": ["back"]}
    frame = table(age=[40], sex=["male"], localization=["back"])
    known = encode_metadata(frame, learned)
    frame["localization"] = pd.Series([unknown], dtype=object)
    np.testing.assert_array_equal(encode_metadata(frame, learned), known * ([1] * 7 + [0]))


def test_only_three_columns_are_known_and_their_order_does_not_matter(lesions):
    frame = lesions.data.assign(image="a.jpg", dx_type="histo", dx=lesions.target, site="back")
    learned = learn_metadata(frame)
    assert (*learned,) == COLUMNS
    turned = frame[frame.columns[::-1]]
    assert learn_metadata(turned) == learned
    np.testing.assert_array_equal(encode_metadata(turned, learned), encode_metadata(frame, learned))


@pytest.mark.parametrize(
    "X",
    [
        ["a.jpg", "b.jpg"],
        np.zeros((2, 8, 8, 3), np.uint8),
        pd.DataFrame({"image": ["a.jpg"], "Age": [40], "dx_type": ["histo"]}),
        pd.DataFrame({"age": [40.0, 50.0], "pixel": [0.5, 0.6]}),
        pd.DataFrame({"image": ["a.jpg"], "age": [np.nan], "sex": ["unknown"], "localization": [None]}),
    ],
    ids=["paths", "array", "other columns", "rows of pixels", "nothing known"],
)
def test_where_nothing_is_known_there_are_no_metadata(X):
    assert learn_metadata(X) is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"age": [40, "old"]}, "The column 'age' of X must hold years from 0 to 125, NaN where it is unknown; "
         "1 of 2 rows do not (row 1: 'old'). Correct them, rename the column, or set metadata=None."),
        ({"age": [40, -5]}, "1 of 2 rows do not (row 1: -5)"),
        ({"age": [300.0, 40]}, "1 of 2 rows do not (row 0: 300.0)"),
        ({"age": [np.inf, True, "85+"]}, "3 of 3 rows do not (row 0: inf, row 1: True, row 2: '85+')"),
        ({"age": [[40], 40]}, "1 of 2 rows do not (row 0: [40])"),
        ({"age": [-1] * 9}, "9 of 9 rows do not (row 0: -1, row 1: -1, row 2: -1, row 3: -1, row 4: -1). "),
        ({"sex": ["male", 1]}, "The column 'sex' of X must hold strings, NaN or 'unknown' where it is unknown; "
         "1 of 2 rows do not (row 1: 1). Correct them, rename the column, or set metadata=None."),
        ({"localization": [["back"], None]}, "1 of 2 rows do not (row 0: ['back'])"),
    ],
    ids=["word", "negative", "too old", "kinds", "list", "many", "number", "list of sites"],
)  # fmt: skip
def test_columns_of_a_wrong_kind_are_refused(columns, message):
    frame = table(**{name: pd.Series(column, dtype=object) for name, column in columns.items()})
    with pytest.raises(ValueError, match=re.escape(message)):
        learn_metadata(frame)
    with pytest.raises(ValueError, match=re.escape(message)):
        encode_metadata(frame, {"age": KNOTS, "sex": ["male"], "localization": ["back"]})


def test_a_column_that_is_there_twice_is_refused():
    frame = pd.DataFrame([["a.jpg", 40, 50]], columns=["image", "age", "age"])
    with pytest.raises(ValueError, match=r"^X has more than one column 'age'\. Leave out all but one\.$"):
        learn_metadata(frame)


@pytest.mark.parametrize(
    "learned",
    [
        {}, [], {"dx_type": ["histo"]}, {"age": []}, {"age": [0, 20]}, {"age": [20.0, 0.0]},
        {"age": [0.0, np.inf]}, {"sex": ["male", "male"]}, {"sex": ["male", "female"]}, {"sex": [1.0]},
        {"sex": "male"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_state_that_no_fit_made_is_refused(learned):
    with pytest.raises(ValueError, match=r"^metadata (must be known of|of '\w+' must be)"):
        check_learned(learned)


def test_what_fit_learns_passes_the_check(lesion_files):
    check_learned(learn_metadata(lesion_files))
    check_learned(None)
