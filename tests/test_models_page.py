"""The table of models: what is made of stored folds, that nothing stale is in it, that the page only quotes it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from example_scripts import example
from sklearn.dummy import DummyClassifier
from sklearn.utils import Bunch

from skinclf.evaluation import cross_validate

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
PAGE = (DOCS / "models.rst").read_text(encoding="utf-8")
TINY = {"architecture": "lesion_cnn", "architecture_params": {"width": 4, "depth": 1}, "weights": None}
QUOTED = re.compile(r":quoted:`([^`]+)`")
TABLE = re.compile(r"\.\. quoted-table:: (\S+) (\S+)\n   :columns: (.+)")

script, runs, store, tables, folds = (
    example(f"ham10000_{name}") for name in ("models", "model_runs", "model_store", "model_tables", "folds")
)


@pytest.fixture(scope="module")
def tiny(lesions, lesion_files):
    """Networks of a few weights and one epoch, and painted images."""
    ham = Bunch(data=lesion_files, target=lesions.target, groups=lesions.groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "load_ham10000", lambda: ham)
        patch.setattr(runs, "RECIPE", TINY)
        patch.setattr(runs, "FROM_SCRATCH", TINY)
        patch.setattr(runs, "EVERYWHERE", dict(runs.EVERYWHERE))
        runs.recipe_values.cache_clear()
        yield ham
    runs.recipe_values.cache_clear()


def run(work, *options):
    """Run the script; return what it wrote, and what it said."""
    said = io.StringIO()
    output = work / "ham10000_models.json"
    arguments = ["--work", str(work), "--output", str(output), "--threads", "1", "--trial", *options]
    with contextlib.redirect_stdout(said):
        script.main(arguments)
    return json.loads(output.read_text(encoding="utf-8")), said.getvalue()


@pytest.fixture(scope="module")
def work(tiny, tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def content(work):
    return run(work)[0]


@pytest.fixture
def nothing_is_trained(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("something was trained")

    monkeypatch.setattr(runs, "run_fold", refuse)


# The table


def test_every_row_is_there_with_intervals(content, lesions):
    rows = {row["row"]: row for row in content["rows"]}

    assert list(rows) == list(tables.ENTRIES)
    for row in (*content["rows"], *content["ablations"]):
        for figure in tables.FIGURES:
            low, high = row[f"{figure}_interval"]
            assert 0 <= low <= row[figure] <= high <= 1
        assert row["images_a_second"] > 0
        assert row["parameters"] > 100
    assert {name for name, row in rows.items() if row["protocol"] == "5 folds"} == {
        "lesion_cnn_5_folds",
        "recipe_5_folds",
        "recipe_without_tta_5_folds",
    }
    for row in rows.values():
        is_all = row["protocol"] == "5 folds"
        assert (row["n_images"] == lesions.target.size) == (row["n_lesions"] == 84) == is_all
    assert rows["ensemble_tta"]["parameters"] == 5 * rows["recipe_128"]["parameters"]
    assert rows["fusion"]["parameters"] > rows["recipe_128"]["parameters"]
    assert rows["frozen_features"]["epochs"] is None


def test_each_fold_is_trained_once_and_asked_twice(work, content):
    """The row of the hold-out, and that with test-time augmentation, are the first of the five folds."""
    known = [*runs.model_runs(), *runs.ablation_runs(6)]
    files = list(work.glob("*.npz"))

    assert len(files) == sum(found.n_folds for found in known) == 18 + len(content["ablations"])
    (first,) = work.glob("recipe-*-0.npz")
    found = folds.read_fold(first)
    assert {"truth", "lesion", "classes", "proba", "proba_tta", "test"} < set(found)
    assert found["proba"].shape == found["proba_tta"].shape
    assert not np.array_equal(found["proba"], found["proba_tta"])
    np.testing.assert_allclose(found["proba_tta"].sum(axis=1), 1, atol=1e-6)
    rows = {row["row"]: row for row in content["rows"]}
    right = {
        form: (found["classes"][found[form].argmax(axis=1)] == found["truth"]).mean()
        for form in found
        if form.startswith("proba")
    }
    assert rows["recipe_128"]["accuracy"] == pytest.approx(right["proba"], abs=1e-6)
    assert rows["tta"]["accuracy"] == pytest.approx(right["proba_tta"], abs=1e-6)


def test_a_second_run_trains_nothing_and_says_the_same(work, content, nothing_is_trained):
    again, said = run(work)

    assert again == content
    assert said.count(": found") == len(list(work.glob("*.npz")))
    assert "Missing" not in said


def test_rows_that_are_not_finished_are_left_out_and_named(work, content, nothing_is_trained, tmp_path):
    for file in work.glob("*.npz"):
        if not file.name.startswith(("fusion-", "recipe-", "cosine-")) or file.stem.endswith("-1"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (work_file,) = work.glob("recipe-*-0.npz")
    (tmp_path / work_file.name).write_bytes(work_file.read_bytes())

    partial, said = run(tmp_path, "--only")

    gone = {"recipe_5_folds", "recipe_without_tta_5_folds", "fusion", "fusion_tta"}
    assert {row["row"] for row in content["rows"]} - {row["row"] for row in partial["rows"]} == gone
    assert "Missing, and left out: recipe_5_folds, recipe_without_tta_5_folds, fusion, fusion_tta, cosine" in said
    assert not gone & {row[side] for row in partial["gains"] for side in ("of", "over")}
    assert not gone & {row["row"] for row in partial["targets"]}
    assert len(partial["ablations"]) == len(content["ablations"]) - 1


def test_a_part_is_trained_if_only_that_is_asked_for(tiny, tmp_path):
    partial, _ = run(tmp_path, "--only", "lesion_cnn", "lesion_cnn_28", "--folds", "0")

    assert [row["row"] for row in partial["rows"]] == ["lesion_cnn_28", "lesion_cnn_64"]
    assert len(list(tmp_path.glob("*.npz"))) == 2
    with pytest.raises(SystemExit, match=r"there is no run nonesuch\. The runs are lesion_cnn, recipe, "):
        script.main(["--only", "nonesuch"])


def test_the_command_leaves_out_what_the_table_does_not_depend_on(content, work):
    assert content["command"] == f"python examples/ham10000_models.py --output {work / 'ham10000_models.json'}"
    assert content["trial"] is True


# What is stored


def test_a_file_of_other_settings_data_or_code_is_not_taken(work, content, tiny, monkeypatch):
    recipe = next(found for found in runs.model_runs() if found.name == "recipe")
    there = store.Store(work, tiny)
    path = there.find(recipe, 0)
    assert path == there.path(recipe, 0)

    other = runs.Run("recipe", {**recipe.params, "lr": 0.1}, n_folds=5, tta=True)
    assert there.find(other, 0) is None
    relabelled = Bunch(data=tiny.data, target=np.roll(tiny.target, 1), groups=tiny.groups)
    assert store.Store(work, relabelled).find(recipe, 0) is None
    with monkeypatch.context() as patch:
        patch.setitem(runs.EVERYWHERE, "max_epochs", 2)
        assert there.find(recipe, 0) is None
    monkeypatch.setattr(store, "library_version", lambda kind: "00000000")
    assert there.find(recipe, 0) is None
    assert store.Store(work, tiny, any_code=True).find(recipe, 0) == path
    assert store.Store(work, tiny, any_code=True).find(other, 0) is None
    (found,) = store.Store(work, tiny, any_code=True).read(recipe, (0,))
    assert found["told"]["code"] == path.stem.split("-")[-2] != "00000000"


def test_the_version_of_code_is_that_of_what_it_does(tmp_path):
    def version(text):
        (tmp_path / "code.py").write_text(text)
        return folds.code_version([tmp_path / "code.py"])

    plain = version("def f(x):\n    return x + 1\n")

    assert plain == version('"""A module."""\n\ndef f(x):\n    """Add 1."""\n    return x + 1  # more\n')
    assert plain != version("def f(x):\n    return x + 2\n")


def test_a_network_of_ones_own_counts_by_its_code(monkeypatch):
    known = store.digest({"architecture": runs.SmallResNet})
    assert known == store.digest({"architecture": runs.SmallResNet})

    monkeypatch.setattr(store, "code_version", lambda files: "another")
    assert known != store.digest({"architecture": runs.SmallResNet})


def test_the_folds_are_those_of_a_cross_validation(work, tiny):
    result = cross_validate(DummyClassifier(), tiny.data, tiny.target)

    for (train, test), *expected in zip(
        store.Store(work, tiny).folds, result.train_indices, result.test_indices, strict=True
    ):
        assert np.array_equal(train, expected[0])
        assert np.array_equal(test, expected[1])
        assert not np.isin(tiny.groups[test], tiny.groups[train]).any()


def test_a_run_that_went_on_counts_all_of_its_epochs(tiny, monkeypatch, tmp_path):
    model = DummyClassifier().fit(np.zeros((len(tiny.target), 1)), tiny.target)
    monkeypatch.setitem(runs.FITS, "classifier", lambda *arguments: (model, {"epoch_seconds": 1234.5}))

    made = runs.run_fold(runs.Run("r"), tiny, np.arange(100), np.arange(100, 168), tmp_path)

    told = json.loads(made["told"])
    assert told["train_seconds"] == 1234.5
    assert told["train_images"] == 100
    assert "epoch_seconds" not in told
    assert made["truth"].tolist() == tiny.target[100:].tolist()


# The page


def test_every_figure_of_the_page_is_quoted():
    text = QUOTED.sub("", PAGE)

    assert set(re.findall(r"(\d+(?:\.\d+)?) %", text)) <= {"95"}
    assert re.findall(r"\b0\.\d+", text) == []
    assert {path for _, path, _ in TABLE.findall(PAGE)} == {"rows", "targets", "gains", "ablations"}
    quoted = [text.split()[1] for text in QUOTED.findall(PAGE)]
    assert [f"chosen_on/{number}" for number in range(len(script.CHOSEN_ON))] == [
        path for path in quoted if path.startswith("chosen_on")
    ]


def build(folder, content):
    """Build the page with a result in its place; a warning is an error."""
    sphinx = pytest.importorskip("sphinx.application")
    docutils = importlib.import_module("sphinx.util.docutils")
    source = folder / "docs"
    (source / "results").mkdir(parents=True)
    (source / "results" / "ham10000_models.json").write_text(json.dumps(content), encoding="utf-8")
    for name in ("index", "limits"):
        (source / f"{name}.rst").write_text(":orphan:\n\nPage\n====\n", encoding="utf-8")
    (source / "models.rst").write_text(PAGE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, docutils.docutils_namespace():
        patch.syspath_prepend(DOCS / "_ext")
        app = sphinx.Sphinx(
            source,
            None,
            folder / "xml",
            folder / "trees",
            "xml",
            confoverrides={
                "extensions": ["measured_results", "quoted_results"],
                "default_role": "py:obj",
                "xml_pretty": False,
            },
            status=None,
            warningiserror=True,
        )
        app.build()
    assert app.statuscode == 0
    return (folder / "xml" / "models.xml").read_text(encoding="utf-8")


def test_the_page_shows_what_the_script_wrote(content, tmp_path):
    text = build(tmp_path, content)

    for name in (*tables.ENTRIES, *tables.GAINS, *(row["row"] for row in content["ablations"])):
        assert f">{name}</literal>" in text
    (row,) = [row for row in content["rows"] if row["row"] == "fusion"]
    low, high = row["macro_auc_interval"]
    assert f"<strong>{100 * row['macro_auc']:.1f}</strong> ({100 * low:.1f}–{100 * high:.1f})" in text


def test_the_page_can_be_built_before_all_rows_are_there(content, tmp_path):
    partial = {name: content[name][:1] if name in tables_of_the_page() else content[name] for name in content}

    text = build(tmp_path, partial)

    assert ">lesion_cnn_5_folds</literal>" in text
    assert ">fusion_tta</literal>" not in text


def tables_of_the_page():
    return {path for _, path, _ in TABLE.findall(PAGE)}
