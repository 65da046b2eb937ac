"""README and results say the same; what the README prints can be printed again; no document knows a machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from skinclf import __version__

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
RESULTS = PROJECT / "docs" / "results"


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def blocks(language):
    """Return the code blocks of the README in a language ("" for plain ones)."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [content for name, content in fenced if name == language]


def interval(values):
    return f"{values['estimate']:.3f}", f"({values['low']:.3f}–{values['high']:.3f})"


@pytest.mark.parametrize("name", ["balanced_accuracy", "accuracy", "sensitivity:mel"])
def test_the_readme_quotes_the_cross_validation(name):
    measured = interval(result("ham10000_cross_validation")["intervals"][name])

    assert re.search(rf"\**{re.escape(measured[0])}\** {re.escape(measured[1])}", README), measured


def test_the_readme_quotes_null_model_and_time():
    content = result("ham10000_cross_validation")
    null = content["null_models"]["always nv"]

    assert f"test part (balanced accuracy {content['folds'][0]['balanced_accuracy']:.3f})" in README
    assert f'| "always nv" | {null["balanced_accuracy"]:.3f} | {null["accuracy"]:.3f} |' in README
    assert re.search(rf"{content['minutes']:.0f}\s+minutes on two CPU cores", README)


def test_the_readme_quotes_the_comparison_of_networks():
    content = result("network")
    speed, rows = content["speed"], {row["network"]: row for row in content["rows"]}
    flat = " ".join(README.split())

    assert f"trains {speed['ratio_median']:.1f} times as many images a second" in flat
    assert f"({speed['images_a_second']['lesion_cnn']} against {speed['images_a_second']['notebook']})" in flat
    ours, theirs = (f"{rows[name]['balanced_accuracy']:.3f}" for name in ("lesion_cnn", "notebook"))
    assert f"after {content['epochs']} epochs each, scores {ours} against {theirs} balanced accuracy" in flat


def test_the_economy_that_is_claimed_was_measured():
    content = result("network")
    rows = {row["network"]: row for row in content["rows"]}

    assert content["speed"]["ratio_lowest"] >= 4
    assert rows["lesion_cnn"]["balanced_accuracy"] >= rows["notebook"]["balanced_accuracy"]


def test_painted_lesions_are_learnable_and_not_trivial():
    rows = {row["model"]: row for row in result("make_lesions")["rows"]}
    network = rows.pop("lesion_cnn")

    assert network["balanced_accuracy_interval"][0] > 0.9
    assert len(rows) == 2
    assert all(row["balanced_accuracy"] < 0.7 for row in rows.values())


def test_the_cross_validation_was_of_all_images_and_by_lesion():
    content = result("ham10000_cross_validation")

    assert (content["n_images"], content["n_lesions"]) == (10015, 7470)
    assert content["warnings"] == []
    assert sum(fold["test_images"] for fold in content["folds"]) == 10015
    assert sum(fold["test_lesions"] for fold in content["folds"]) == 7470
    assert content["minutes"] <= 30


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_says_where_it_comes_from(path):
    content = json.loads(path.read_text(encoding="utf-8"))

    assert content["command"].startswith("python ")
    assert (PROJECT / content["command"].split()[1]).is_file()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", content["date"])
    assert {"python", "skinclf", "torch", "scikit-learn", "skorch", "numpy"} <= content["versions"].keys()
    assert {"processor", "cores", "memory"} <= content["machine"].keys()


def test_the_example_of_the_readme_prints_what_the_readme_says(capsys):
    """Another machine differs in the last digits, and lies well within the interval that is printed."""
    (code,) = blocks("python")
    (printed,) = [block for block in blocks("") if block.startswith("Balanced accuracy")]
    pattern = r"Balanced accuracy (0\.\d{3}) \(95 % CI (0\.\d{3})–(0\.\d{3})\)"

    exec(compile(code, "README.md", "exec"), {})

    again = capsys.readouterr().out
    said, repeated = (re.match(pattern, text) for text in (printed, again))
    assert said is not None
    assert repeated is not None
    assert float(said[2]) <= float(repeated[1]) <= float(said[3])
    assert [line.split()[:1] for line in printed.splitlines()] == [
        line.split()[:1] for line in again.rstrip().splitlines()
    ]


def test_version_and_files_that_the_readme_names():
    assert f"skinclf {__version__}" in README
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (PROJECT / target).exists(), target


def test_it_is_said_that_this_is_no_medical_device():
    for text in (README, (PROJECT / "docs" / "index.rst").read_text(encoding="utf-8")):
        assert "not a medical device" in " ".join(text.split())
