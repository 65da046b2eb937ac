"""The reproduction: the table is what was promised, the page quotes the table, the script does what it says."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC
from sklearn.utils import Bunch

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "docs" / "results"
PAGES = [PROJECT / "docs" / f"{name}.rst" for name in ("protocols", "cleaning")]
QUOTED = re.compile(r":quoted:`([^`]+)`")


@pytest.fixture(scope="module")
def result():
    return json.loads((RESULTS / "ham10000_protocols.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(result):
    return {row["protocol"]: row for row in result["rows"]}


def example(name):
    pytest.importorskip("imblearn")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT / "examples")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def script():
    return example("ham10000_protocols")


@pytest.fixture(scope="module")
def models():
    return example("ham10000_protocol_models")


@pytest.fixture(scope="module")
def scoring():
    return example("ham10000_protocol_scores")


# The table


def test_the_headline_is_reproduced_beside_a_table_that_beats_it(rows):
    leaky = rows["oversample_then_split"]

    assert leaky["accuracy"] >= 0.9791
    assert leaky["null_accuracy"] >= 0.998
    assert leaky["null_accuracy"] > leaky["accuracy"]
    assert leaky["n"] == 7 * 6705


def test_the_share_of_rows_that_were_in_training_is_six_sevenths_nearly(result, rows):
    classes = result["protocols"]["oversample_then_split"]["classes"]
    copied = sum(found["with_copy"] for found in classes.values())

    assert rows["oversample_then_split"]["share_with_copy"] == pytest.approx(0.856, abs=0.001)
    assert rows["oversample_then_split"]["share_with_copy"] == pytest.approx(copied / (7 * 6705), abs=1e-4)
    assert classes["nv"]["with_copy"] == 0
    assert all(found["with_copy"] > 0.99 * found["test_rows"] for label, found in classes.items() if label != "nv")


def test_a_model_falls_with_every_leak_that_is_closed(rows):
    for leaky, honest in [
        ("oversample_then_split", "split_by_image"),
        ("oversample_then_split", "split_by_lesion"),
        ("fourth_reference", "fourth_reference_by_lesion"),
        ("first_reference", "first_reference_by_lesion"),
    ]:
        for figure in ("accuracy", "balanced_accuracy", "macro_auc", "melanoma_sensitivity"):
            assert rows[leaky][f"{figure}_interval"][0] > rows[honest][f"{figure}_interval"][1], (leaky, figure)
    for figure in ("accuracy", "balanced_accuracy", "macro_auc"):
        assert rows["split_by_image"][figure] > rows["split_by_lesion"][figure]


def test_the_notebook_is_worse_than_always_nv_on_new_lesions(result, rows):
    always = result["protocols"]["fourth_reference_by_lesion"]["always_nv_accuracy"]

    assert rows["fourth_reference_by_lesion"]["accuracy"] < always < rows["fourth_reference"]["accuracy"]


def test_nearly_two_in_three_melanomas_are_missed(rows):
    """Words of the page: by image and by lesion alike, within the intervals."""
    low, high = rows["split_by_lesion"]["melanoma_sensitivity_interval"]

    assert low < rows["split_by_image"]["melanoma_sensitivity"] < high
    assert rows["split_by_lesion"]["melanoma_sensitivity"] == pytest.approx(1 - 0.63, abs=0.03)


def test_nothing_of_the_honest_rows_was_in_training(result, rows):
    for name, row in rows.items():
        if name.endswith("by_lesion"):
            assert row["share_with_copy"] == row["share_with_lesion"] == 0
            assert set(result["protocols"][name]["guards"].values()) == {"Nothing."}
        else:
            assert result["protocols"][name]["guards"]["cross_validate"].startswith("The splits leak")
            assert " rows to predict " in result["protocols"][name]["guards"]["classifier"]
    by_image = result["protocols"]["split_by_image"]
    for figure in ("balanced_accuracy", "melanoma_sensitivity"):
        assert by_image["with_lesion"][figure] > by_image["without_lesion"][figure]
    assert rows["split_by_image"]["share_with_copy"] == 0
    assert rows["split_by_image"]["share_with_lesion"] == pytest.approx(0.389, abs=0.01)


def test_every_protocol_is_there_with_intervals_and_within_the_time(result, rows):
    assert len(rows) == 7
    for name, row in rows.items():
        for figure in ("accuracy", "balanced_accuracy", "melanoma_sensitivity", "macro_auc"):
            low, high = row[f"{figure}_interval"]
            assert 0 <= low <= row[figure] <= high <= 1
            assert low < high
        assert result["protocols"][name]["core_minutes"] <= 2 * 40


def test_the_parts_of_the_test_rows_add_up(result, rows):
    for name, told in result["protocols"].items():
        for part in ("copy", "lesion"):
            with_it, without = told[f"with_{part}"], told[f"without_{part}"]
            right = sum(some["n"] * some["accuracy"] for some in (with_it, without) if some["n"])
            assert with_it["n"] + without["n"] == rows[name]["n"]
            assert right / rows[name]["n"] == pytest.approx(rows[name]["accuracy"], abs=2e-4)
        confusion = np.array(told["confusion"])
        assert np.trace(confusion) / confusion.sum() == pytest.approx(rows[name]["accuracy"], abs=1e-4)


def test_cleaning_was_compared_on_the_same_images():
    content = json.loads((RESULTS / "ham10000_cleaning.json").read_text(encoding="utf-8"))
    first, *others = content["rows"]

    assert first["gain"] == 0
    assert {row["n"] for row in others} == {first["n"]}
    for row in others:
        low, high = row["gain_interval"]
        assert low <= row["gain"] <= high
        assert row["gain"] == pytest.approx(row["balanced_accuracy"] - first["balanced_accuracy"], abs=2e-4)


# The page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_the_page_quotes_is_in_the_results(page, monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(PROJECT / "docs" / "_ext")
    quote = importlib.import_module("quoted_results").quote
    quotations = QUOTED.findall(page.read_text(encoding="utf-8").replace("\n", " "))

    assert len(quotations) >= 2
    for quotation in quotations:
        assert quote(RESULTS, quotation)
    with pytest.raises(ValueError, match=r"quotes nothing that is in results: (KeyError|ValueError)"):
        quote(RESULTS, quotations[0].replace("/", "/no_such_", 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_figure_of_a_run_is_typed(page):
    """What others report, and 6/7, are the only figures of that kind that stand on the pages themselves."""
    text = QUOTED.sub("", page.read_text(encoding="utf-8"))

    assert set(re.findall(r"(\d+(?:\.\d+)?) %", text)) <= {"97.91", "98", "99", "97", "92", "85.7", "95"}
    assert set(re.findall(r"\b0\.\d{2,}", text)) <= {"0.76", "0.685"}


# The script


def test_oversampling_repeats_numbers_of_rare_classes(models):
    target = np.array(["nv", "nv", "nv", "mel", "df", "df"])
    chosen = np.array([0, 1, 2, 3])

    repeated = models.oversample(target, chosen)

    assert sorted(repeated) == [0, 1, 2, 3, 3, 3]
    labels, counts = np.unique(target[models.oversample(target, np.arange(6))], return_counts=True)
    assert counts.tolist() == [3, 3, 3], labels


@pytest.mark.parametrize(("rows", "together"), [("copies", "row"), ("images", "image"), ("lesions", "lesion")])
def test_what_stays_together_in_a_split(script, lesions, rows, together):
    protocol = script.Protocol("p", "svm", rows)
    image = protocol.make_rows(lesions.target)
    names = {"row": np.arange(image.size), "image": image, "lesion": lesions.groups[image]}
    crossing = {"row": 0, "image": 0, "lesion": 0}

    folds = protocol.split(lesions.target[image], lesions.groups[image])
    for train, test in folds:
        for name, values in names.items():
            crossing[name] += np.isin(values[test], values[train]).sum()

    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(image.size))
    assert crossing["row"] == 0
    assert (crossing["lesion"] == 0) == (together == "lesion")
    kept = protocol.keep_together(names["row"], names["image"], names["lesion"])
    assert np.array_equal(kept, names[together])


def test_a_stored_fold_is_not_made_again(script, tmp_path):
    made = []

    def make():
        made.append(1)
        return {"test": np.arange(3), "told": json.dumps({"minutes": 1.5})}

    (tmp_path / "fold.part").write_bytes(b"what a killed run left")
    first, second = (script.stored_fold(tmp_path / "fold.npz", make) for _ in range(2))

    assert made == [1]
    assert first["told"] == second["told"] == {"minutes": 1.5}
    assert second["test"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["fold.npz"]


def test_a_fold_that_fails_stores_nothing(script, tmp_path):
    def make():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.stored_fold(tmp_path / "fold.npz", make)
    assert not (tmp_path / "fold.npz").exists()


@pytest.mark.parametrize(
    "name", ["oversample_then_split", "split_by_lesion", "fourth_reference", "first_reference"]
)
def test_a_protocol_from_files_to_row(script, models, lesions, lesion_files, tmp_path, monkeypatch, name):
    monkeypatch.setitem(models.NETWORK, "pixels", 16)
    monkeypatch.setitem(models.NETWORK, "width", 4)
    one_epoch = {"max_epochs": 1, "patience": 1}
    monkeypatch.setitem(models.NETWORK, "epochs", {"balanced": one_epoch, "not balanced": one_epoch})
    monkeypatch.setitem(models.NOTEBOOK, "pixels", 20)
    monkeypatch.setitem(models.NOTEBOOK, "max_epochs", 1)
    ham = Bunch(data=lesion_files, target=lesions.target, groups=lesions.groups)
    (protocol,) = [found for found in script.PROTOCOLS if found.name == name]

    first = script.run_protocol(protocol, ham, tmp_path)
    monkeypatch.setitem(script.MODELS, protocol.model, models.Model(None, first["settings"]))
    again = script.run_protocol(protocol, ham, tmp_path)

    row = first["row"]
    assert again["row"] == row
    assert row["protocol"] == name
    assert 0 <= row["accuracy"] <= 1
    assert row["share_with_lesion"] == 0 if name == "split_by_lesion" else row["share_with_lesion"] > 0.5
    assert sum(found["test_rows"] for found in first["classes"].values()) == row["n"]
    assert len(first["folds"]) == protocol.folds_run
    assert (set(first["guards"].values()) == {"Nothing."}) == (name == "split_by_lesion")


def test_a_table_answers_what_it_has_seen_and_the_most_frequent_otherwise(scoring):
    known = np.array([7, 7, 7, 7, 8, 9, 3])
    labels = np.array(["mel"] * 4 + ["nv", "nv", "df"])

    # "mel" has most rows, "nv" most of what is distinct.
    assert scoring.look_up(known, labels, np.array([7, 3, 4])).tolist() == ["mel", "df", "nv"]


def test_scores_by_hand(scoring):
    ham = Bunch(
        target=np.array(["mel", "nv", "nv", "mel", "nv"]), groups=np.array(["a", "b", "b", "c", "d"], dtype=object)
    )
    fold = {
        "test": np.array([0, 1, 3, 4]),
        "train_images": np.array([0, 2]),
        "predicted": np.array(["mel", "nv", "nv", "nv"]),
        "scores": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]]),
        "told": {"minutes": 2.04, "core_minutes": 1.0},
    }

    told = scoring.score_protocol("by hand", {"model": "m"}, ham, np.arange(5), [fold])

    row = told["row"]
    assert (row["accuracy"], row["balanced_accuracy"], row["melanoma_sensitivity"]) == (0.75, 0.75, 0.5)
    assert (row["macro_auc"], row["n"], row["minutes"]) == (1.0, 4, 2.0)
    assert (row["share_with_copy"], row["share_with_lesion"]) == (0.25, 0.5)
    assert list(told["with_copy"].values()) == [1, 1, 1.0, 1.0, 1, 1.0]
    assert told["without_copy"]["accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert told["without_copy"]["balanced_accuracy"] == 0.5
    assert list(told["without_lesion"].values()) == [2, 2, 0.5, 0.5, 1, 0.0]
    assert told["confusion"] == [[1, 1], [0, 2]]


def test_the_network_of_the_notebook_has_the_parameters_that_it_prints(models):
    """https://github.com/mkowalsky97/Skin_Cancer_Detection, Main.ipynb: 4,470,871 for 200 × 200 and 7 classes."""
    network = models.four_convolutions((200, 200, 3), 7)

    assert sum(parameter.numel() for parameter in network.parameters()) == 4_470_871


def test_a_weight_is_as_good_as_a_repetition():
    generator = np.random.default_rng(0)
    pixels = generator.normal(size=(60, 5))
    target = np.repeat(["df", "mel", "nv"], 20)
    repeats = generator.integers(1, 6, size=60)
    again = np.repeat(np.arange(60), repeats)
    new = generator.normal(size=(40, 5))

    weighted = SVC(C=10.0, gamma=0.2, tol=1e-6).fit(pixels, target, sample_weight=repeats)
    repeated = SVC(C=10.0, gamma=0.2, tol=1e-6).fit(pixels[again], target[again])

    np.testing.assert_allclose(weighted.decision_function(new), repeated.decision_function(new), atol=1e-3)


@pytest.mark.real_data
def test_the_arithmetic_needs_no_network(script, scoring, ham10000):
    protocol = script.PROTOCOLS[0]
    image = protocol.make_rows(ham10000.target)
    train, test = protocol.split(ham10000.target[image], ham10000.groups[image])[0]

    answers = scoring.look_up(image[train], ham10000.target[image[train]], image[test])

    assert np.isin(image[test], image[train]).mean() == pytest.approx(0.856, abs=0.002)
    assert (answers == ham10000.target[image[test]]).mean() > 0.998
