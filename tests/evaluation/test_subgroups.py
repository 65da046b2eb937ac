"""Subgroups: who is in which, figures by hand, intervals by lesion, and what must be said beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinclf.evaluation import bootstrap_ci, subgroup_metrics


@pytest.fixture
def table() -> pd.DataFrame:
    """Eight images of six lesions."""
    return pd.DataFrame(
        {
            "lesion_id": ["HAM_0", "HAM_0", "HAM_1", "HAM_2", "HAM_3", "HAM_4", "HAM_5", "HAM_5"],
            "sex": ["female", "female", "male", "male", "unknown", None, "female", "female"],
            "age": [0, 29, 30, 44, 45, 75, 85, np.nan],
            "localization": ["back"] * 7 + ["face"],
            "dx_type": ["histo"] * 4 + ["follow_up"] * 4,
        },
        index=range(100, 108),
    )


Y_TRUE = ["mel", "mel", "nv", "mel", "nv", "nv", "nv", "nv"]
Y_PRED = ["mel", "nv", "nv", "nv", "nv", "mel", "nv", "nv"]


def test_figures_by_hand(table: pd.DataFrame) -> None:
    found = subgroup_metrics(Y_TRUE, Y_PRED, table, n_draws=20).table
    counts = ["n_images", "n_lesions", "n_classes", "n_positive_images", "n_positive_lesions"]
    assert found.loc[("all", "all"), counts].tolist() == [8, 6, 2, 3, 2]
    assert found.loc[("sex", "female"), counts].tolist() == [4, 2, 2, 2, 1]
    assert found.loc[("sex", "unknown"), counts].tolist() == [2, 2, 1, 0, 0]
    figures = ["balanced_accuracy", "accuracy", "sensitivity"]
    assert found.loc[("all", "all"), figures].tolist() == pytest.approx([(1 / 3 + 4 / 5) / 2, 5 / 8, 1 / 3])
    assert found.loc[("sex", "female"), figures].tolist() == pytest.approx([0.75, 0.75, 0.5])
    assert found.loc[("sex", "male"), figures].tolist() == pytest.approx([0.5, 0.5, 0])
    unknown = found.loc[("sex", "unknown"), figures].tolist()
    assert unknown[:2] == [0.5, 0.5]
    assert np.isnan(unknown[2])


def test_every_image_is_in_one_part_of_each_attribute(table: pd.DataFrame) -> None:
    found = subgroup_metrics(Y_TRUE, Y_PRED, table, n_draws=20).table
    assert found.index[0] == ("all", "all")
    assert list(dict.fromkeys(found.index.get_level_values("attribute"))) == [
        "all", "sex", "age", "localization", "dx_type",
    ]  # fmt: skip
    assert (found.groupby(level="attribute")["n_images"].sum() == 8).all()


def test_bands_of_age(table: pd.DataFrame) -> None:
    ages = subgroup_metrics(Y_TRUE, Y_PRED, table, by=["age"], n_draws=20).table.loc["age", "n_images"]
    assert ages.to_dict() == {"under 30": 2, "30–44": 2, "45–59": 1, "75 and over": 2, "unknown": 1}
    assert ages.index.tolist() == ["under 30", "30–44", "45–59", "75 and over", "unknown"]
    halves = subgroup_metrics(Y_TRUE, Y_PRED, table, by=["age"], age_edges=[50], n_draws=20).table
    assert halves.loc["age", "n_images"].to_dict() == {"under 50": 5, "50 and over": 2, "unknown": 1}


def test_intervals_are_those_of_the_part_by_lesion() -> None:
    generator = np.random.default_rng(0)
    lesion = np.repeat(np.arange(150), 2)
    y_true = np.array(["bkl", "mel", "nv"])[lesion % 3]
    y_pred = np.where(generator.random(300) < 0.7, y_true, "nv")
    sex = np.array(["female", "male"])[lesion % 2]
    found = subgroup_metrics(y_true, y_pred, pd.DataFrame({"sex": sex}), groups=lesion, n_draws=300).table
    rows = sex == "male"
    for figure, metric in {
        "balanced_accuracy": "balanced_accuracy", "accuracy": "accuracy", "sensitivity": "sensitivity:mel",
    }.items():  # fmt: skip
        interval = bootstrap_ci(
            y_true[rows],
            y_pred[rows],
            groups=lesion[rows],
            metric=metric,
            labels=["bkl", "mel", "nv"],
            n_draws=300,
        )
        row = found.loc[("sex", "male")]
        assert [row[figure], row[f"{figure}_low"], row[f"{figure}_high"]] == [
            interval.estimate, interval.low, interval.high,
        ]  # fmt: skip


def test_five_of_five_is_not_certain() -> None:
    table = pd.DataFrame({"sex": ["female"] * 5 + ["male"] * 5})
    found = subgroup_metrics(["mel"] * 10, ["mel"] * 10, table, n_draws=50).table
    assert found.loc[("sex", "male"), "sensitivity"] == 1
    assert found.loc[("sex", "male"), "sensitivity_low"] < 0.6


def test_one_lesion_has_no_interval_and_small_parts_are_marked(table: pd.DataFrame) -> None:
    found = subgroup_metrics(Y_TRUE, Y_PRED, table, by=["localization"], min_lesions=6, n_draws=20)
    assert found.table["small"].to_dict() == {
        ("all", "all"): False,
        ("localization", "back"): False,
        ("localization", "face"): True,
    }
    assert found.table["small_positive"].all()
    face = found.table.loc[("localization", "face")]
    assert face["n_lesions"] == 1
    assert face[["accuracy", "accuracy_low", "accuracy_high"]].isna().all()
    assert "Fewer than 6 lesions, so that a figure says little: localization: face." in found.notes


def test_what_is_said_of_skin_tone(table: pd.DataFrame) -> None:
    first = subgroup_metrics(Y_TRUE, Y_PRED, table, n_draws=20).notes[0]
    assert "skin tone is not recorded in HAM10000" in first
    other = table.drop(columns="lesion_id")
    assert (
        "skin tone is not recorded in this table" in subgroup_metrics(Y_TRUE, Y_PRED, other, n_draws=20).notes[0]
    )
    by_groups = subgroup_metrics(Y_TRUE, Y_PRED, other, groups=table["lesion_id"], n_draws=20)
    assert "skin tone is not recorded in HAM10000" in by_groups.notes[0]
    recorded = subgroup_metrics(Y_TRUE, Y_PRED, table.assign(skin_tone=["I", "VI"] * 4), n_draws=20)
    assert not any("not recorded" in note for note in recorded.notes)
    assert recorded.table.loc["skin_tone", "n_images"].to_dict() == {"I": 4, "VI": 4}


def test_what_is_said_of_the_way_of_diagnosis_and_of_missing_classes(table: pd.DataFrame) -> None:
    notes = subgroup_metrics(Y_TRUE, Y_PRED, table, n_draws=20).notes
    assert any("must never be a feature" in note for note in notes)
    assert any("Some parts lack classes" in note for note in notes)
    both = ["mel", "nv", "mel", "nv"]
    by_sex = subgroup_metrics(both, both, table[:4], by=["sex"], groups=range(4), n_draws=20).notes
    assert not any("feature" in note or "lack classes" in note for note in by_sex)


def test_another_class_and_none(table: pd.DataFrame) -> None:
    for_nv = subgroup_metrics(Y_TRUE, Y_PRED, table, positive="nv", n_draws=20)
    assert for_nv.table.loc[("all", "all"), "sensitivity"] == pytest.approx(0.8)
    for positive in (None, "df"):
        without = subgroup_metrics(Y_TRUE, Y_PRED, table, positive=positive, n_draws=20).table
        assert without["sensitivity"].isna().all()
        assert (without["n_positive_lesions"] == 0).all()
    numbers = subgroup_metrics([0, 1, 0, 1], [0, 1, 1, 1], table[:4], positive=1, n_draws=20).table
    assert numbers.loc[("all", "all"), "sensitivity"] == 1


def test_rows_are_matched_by_position(table: pd.DataFrame) -> None:
    plain = subgroup_metrics(Y_TRUE, Y_PRED, table.reset_index(drop=True), n_draws=20).table
    pd.testing.assert_frame_equal(subgroup_metrics(Y_TRUE, Y_PRED, table, n_draws=20).table, plain)


def test_repr(table: pd.DataFrame) -> None:
    assert repr(subgroup_metrics(Y_TRUE, Y_PRED, table, by=["sex"], min_lesions=3, n_draws=20)) == (
        "SubgroupMetrics(sex: 3; 3 of them small)"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"table": {"sex": ["female"] * 8}}, TypeError, "table must be a DataFrame with a row for each image"),
        ({"table": pd.DataFrame({"sex": ["f"]})}, ValueError, "table has 1 rows and y_true 8 labels"),
        ({"table": pd.DataFrame({"hue": range(8)})}, ValueError, r"none of the columns.*only \['hue'\].*by="),
        ({"by": "sex"}, ValueError, r"by must be a list of columns; got the text 'sex'. Pass by=\['sex'\]"),
        ({"by": ["hue"]}, ValueError, r"by must name columns of table.*got \['hue'\]"),
        ({"by": []}, ValueError, "by must name columns of table"),
        ({"age_edges": (60, 30)}, ValueError, "age_edges must be rising whole numbers"),
        ({"age_edges": (30.5,)}, ValueError, "age_edges must be rising whole numbers"),
        ({"n_draws": 0}, ValueError, "n_draws must be at least 1"),
    ],
)
def test_messages(table: pd.DataFrame, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"table": table, **arguments}
    with pytest.raises(error, match=message):
        subgroup_metrics(Y_TRUE, Y_PRED, given.pop("table"), **given)


def test_ages_that_are_no_numbers(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="The column 'age' of table must hold numbers"):
        subgroup_metrics(Y_TRUE, Y_PRED, table.assign(age="old"))


@pytest.mark.real_data
def test_the_parts_of_ham10000(ham10000: Any) -> None:
    frame = ham10000.frame
    found = subgroup_metrics(
        ham10000.target, np.full(10_015, "nv"), frame, labels=np.unique(ham10000.target), n_draws=5
    )
    table = found.table
    assert table.loc[("all", "all"), ["n_images", "n_lesions", "n_positive_images"]].tolist() == [
        10_015,
        7470,
        1113,
    ]
    assert table.loc["dx_type", "n_images"].to_dict() == {
        "confocal": 69, "consensus": 902, "follow_up": 3704, "histo": 5340,
    }  # fmt: skip
    assert table.loc[("dx_type", "follow_up"), "accuracy"] == 1  # all of them are nevi
    assert found.notes[0].endswith("skin tone is not recorded in HAM10000.")
