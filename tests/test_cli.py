"""The command line: what it prints, what it writes, and what it refuses before the work begins."""

from __future__ import annotations

import json

import pytest

from skinclf import __version__
from skinclf.cli import main


@pytest.fixture(autouse=True)
def _no_real_data(monkeypatch, tmp_path):
    monkeypatch.delenv("SKINCLF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_demo_prints_a_report_and_writes_all_its_files(tmp_path, capsys):
    command = [
        "demo",
        "--lesions",
        "42",
        "--folds",
        "2",
        "--epochs",
        "1",
        "--output",
        str(tmp_path / "new" / "demo"),
    ]

    assert main(command) == 0

    printed = capsys.readouterr()
    for text in ["balanced accuracy", "95 % ci", "sensitivity", "mel", "confusion matrix"]:
        assert text in printed.out.lower()
    assert "not a medical device" in printed.out
    assert "1/1" in printed.err  # the progress bars
    assert sorted(path.name for path in (tmp_path / "new" / "demo").iterdir()) == [
        "confusion_matrix.png",
        "report.html",
        "report.json",
        "training_curves.png",
    ]
    report = json.loads((tmp_path / "new" / "demo" / "report.json").read_text(encoding="utf-8"))
    assert report["n_images"] == 84
    assert report["n_lesions"] == 42
    assert len(report["folds"]) == 2
    assert report["leakage"]["found"]["copy"] == 0
    assert any(row["attribute"] == "sex" for row in report["subgroups"]["rows"])


def test_files_of_the_user_are_not_replaced_without_being_told(tmp_path, capsys):
    (tmp_path / "report.html").write_text("mine", encoding="utf-8")

    assert main(["demo", "--output", str(tmp_path)]) == 1

    assert "report.html already. Pass --overwrite, or another --output" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "mine"


def test_a_folder_without_the_data_set_is_named(tmp_path, capsys):
    assert main(["demo", "--data", str(tmp_path / "nowhere")]) == 1

    error = capsys.readouterr().err
    assert error.startswith("skinclf: ")
    assert "nowhere" in error
    assert "Traceback" not in error


def test_more_folds_than_lesions_is_an_error_not_a_crash(capsys):
    assert main(["demo", "--lesions", "7", "--folds", "5"]) == 1
    assert "5" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([option])

    assert stopped.value.code == 0
    assert (__version__ if option == "--version" else "not a medical") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "1"], "--folds must be at least 2; got 1"),
        (["--epochs", "0"], "--epochs must be at least 1; got 0"),
        (["--lesions", "70", "--data", "."], "--lesions is for painted images"),
        (["--output", "taken"], "--output taken cannot be a folder to write to"),
    ],
)
def test_wrong_options_are_refused_before_the_work_begins(tmp_path, capsys, options, message):
    (tmp_path / "taken").write_text("a file", encoding="utf-8")

    assert main(["demo", *options]) == 1

    assert message in capsys.readouterr().err
