"""The report: the right figures in every form, files that are whole or not there, a page that needs nothing."""

from __future__ import annotations

import errno
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold

from skinclf.evaluation import LeakageWarning, bootstrap_table, classification_metrics, cross_validate
from skinclf.reporting import EvaluationReport
from skinclf.reporting._sections import Chart

VOID = {"meta", "link", "br", "img", "hr", "input"}


@pytest.fixture(scope="module")
def report(result: Any) -> EvaluationReport:
    return EvaluationReport.from_cross_validation(
        result, title="Three classes", description="A test.", n_draws=300
    )


class Page(HTMLParser):
    """Collects what the tests ask of a page, and refuses tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.text.setdefault(tag, []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def html(report: EvaluationReport) -> str:
    return report.to_html()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


# --- figures -------------------------------------------------------------------------------------------


def test_figures_are_those_of_all_out_of_fold_predictions(report: EvaluationReport, result: Any) -> None:
    expected = balanced_accuracy_score(result.y_true, result.y_pred)
    assert report.metrics.balanced_accuracy == pytest.approx(expected)
    assert report.intervals["accuracy"].estimate == pytest.approx(accuracy_score(result.y_true, result.y_pred))
    figures = bootstrap_table(
        result.y_true, result.y_pred, y_proba=result.y_proba, groups=result.groups, n_draws=300
    )
    assert list(report.intervals) == list(figures.index)
    for name, interval in report.intervals.items():
        row = figures.loc[name]
        assert (interval.metric, interval.low, interval.high) == (name, row["low"], row["high"])
        assert (interval.n_groups, interval.n_draws, interval.by_group) == (60, 300, True)
    assert report.n_lesions == 60
    assert "roc_auc" in report.metrics.per_class


def test_frame_has_the_classes_their_means_and_the_interval(report: EvaluationReport) -> None:
    frame = report.to_frame()
    assert frame.index.tolist() == ["bkl", "mel", "nv", "macro", "weighted"]
    interval = report.intervals["sensitivity:mel"]
    row = frame.loc["mel"]
    assert (row["sensitivity_low"], row["sensitivity"], row["sensitivity_high"]) == pytest.approx(
        (interval.low, interval.estimate, interval.high)
    )
    assert frame.loc["macro", "sensitivity"] == pytest.approx(report.metrics.balanced_accuracy)


def test_folds(report: EvaluationReport, result: Any) -> None:
    folds = report.folds
    assert folds is not None
    assert folds["test_images"].sum() == result.y_true.size
    assert folds["test_lesions"].sum() == 60
    assert (folds["train_images"] + folds["test_images"] == result.y_true.size).all()
    np.testing.assert_array_equal(folds["balanced_accuracy"], result.scores["balanced_accuracy"])
    assert folds["best_epoch"].tolist() == [4] * 4
    assert folds["epochs"].tolist() == [6] * 4
    assert report.history is not None
    assert report.history.best_epochs == [4] * 4


def test_from_predictions_agrees_with_the_functions_it_stands_on(result: Any) -> None:
    report = EvaluationReport.from_predictions(
        result.y_true, result.y_pred, y_proba=result.y_proba, groups=result.groups, n_draws=300
    )
    metrics = classification_metrics(result.y_true, result.y_pred, y_proba=result.y_proba)
    pd.testing.assert_frame_equal(report.metrics.per_class, metrics.per_class)
    assert report.folds is None
    assert report.history is None
    assert report.n_lesions == 60
    assert report.protocol.warnings == ()
    assert report.to_html()


def test_a_model_without_probabilities_history_or_kept_estimators(table: Any) -> None:
    X, y, lesion = table
    for keep in (True, False):
        result = cross_validate(DummyClassifier(), X, y, groups=lesion, return_estimator=keep)
        report = EvaluationReport.from_cross_validation(result, n_draws=100)
        assert report.history is None
        assert "Training" not in [section.title for section in report.sections]
        assert "–" in str(report)  # the precision of a class that is never predicted


def test_rows_that_no_fold_tests_do_not_count(table: Any) -> None:
    X, y, lesion = table
    test = np.flatnonzero(np.isin(lesion, np.unique(lesion)[:20]))
    train = np.setdiff1d(np.arange(y.size), test)
    result = cross_validate(DummyClassifier(), X, y, groups=lesion, cv=[(train, test)])
    report = EvaluationReport.from_cross_validation(result, n_draws=100)
    assert report.metrics.n_images == test.size
    assert report.n_lesions == 20
    assert f"{train.size} images are in no test part" in " ".join(report.protocol.sentences)
    json.dumps(report.to_dict(), allow_nan=False)


# --- protocol ------------------------------------------------------------------------------------------


def test_protocol_says_what_was_checked(report: EvaluationReport, result: Any) -> None:
    words = " ".join(report.protocol.sentences)
    assert f"Cross-validation of {result.y_true.size} images of 60 lesions with 4 folds" in words
    assert "StratifiedGroupKFold(n_splits=4, random_state=0, shuffle=True)" in words
    assert "No lesion is in the training part and in the test part of a fold; this was checked." in words
    assert "shares no lesion with the rest of it (checked)" in words
    assert "bootstrap draws of 60 lesions" in words
    assert report.protocol.warnings == ()


def test_an_early_stopping_split_that_straddles_lesions_is_named(table: Any, fake_network: Any) -> None:
    X, y, lesion = table
    result = cross_validate(fake_network(by_group=False), X, y, groups=lesion)
    report = EvaluationReport.from_cross_validation(result, n_draws=100)
    assert "early stopping was misled" in " ".join(report.protocol.warnings)
    assert "(checked)" not in " ".join(report.protocol.sentences)


def test_leaky_folds_and_unknown_lesions_are_named_in_every_form(table: Any) -> None:
    X, y, lesion = table
    by_image = StratifiedKFold(3, shuffle=True, random_state=0)
    with pytest.warns(LeakageWarning):
        leaky = cross_validate(DummyClassifier(), X, y, groups=lesion, cv=by_image, on_leakage="warn")
    blind = cross_validate(DummyClassifier(), X, y)
    for result, words in ((leaky, "These folds leak:"), (blind, "The lesions are not known")):
        report = EvaluationReport.from_cross_validation(result, n_draws=100)
        assert words in str(report)
        assert words in report.to_markdown()
        assert words in "".join(Page(report.to_html()).text["header"])
        assert words in report.to_dict()["warnings"][0]
        assert "this was checked" not in str(report.protocol.sentences)


# --- forms ---------------------------------------------------------------------------------------------


def test_text_puts_balanced_accuracy_first_and_the_null_model_beside_it(report: EvaluationReport) -> None:
    lines = str(report).splitlines()
    assert lines[:2] == ["Three classes", "============="]
    assert lines[3].startswith("Balanced accuracy 0.")
    assert "95 % CI" in lines[3]
    assert lines[4].startswith("“always nv” scores 0.333 and 0.")
    text = str(report)
    assert text.index("sensitivity") < text.index("Confusion matrix")
    assert "not a medical device" in lines[-1]
    assert max(map(len, lines)) <= 120
    assert repr(report).startswith("EvaluationReport(balanced_accuracy=0.")


def test_dictionary_is_json(report: EvaluationReport) -> None:
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["confusion_matrix"]["counts"] == report.metrics.confusion.tolist()
    assert content["classes"]["mel"]["support"] == report.metrics.per_class.loc["mel", "support"]
    assert content["intervals"]["balanced_accuracy"]["low"] == report.intervals["balanced_accuracy"].low
    assert content["folds"][0]["fold"] == 0
    assert len(content["histories"][0]["epochs"]) == 6
    assert content["null_models"]["always nv"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert {"date", "versions", "machine", "parameters", "protocol", "notice"} <= content.keys()


def test_what_is_not_defined_is_null_in_json() -> None:
    report = EvaluationReport.from_predictions([3, 7] * 9, [3, 7] * 9, labels=[3, 7, 9], n_draws=50)
    content = report.to_dict()
    assert content["classes"]["9"]["sensitivity"] is None
    assert content["intervals"]["sensitivity:9"]["low"] is None
    json.dumps(content, allow_nan=False)


def test_markdown(report: EvaluationReport) -> None:
    text = report.to_markdown()
    assert text.startswith("# Three classes\n")
    for heading in ("Summary", "Classes", "Confusion matrix", "Folds", "Protocol", "Parameters"):
        assert f"\n## {heading}\n" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_no_path_of_a_parameter_is_shown(report: EvaluationReport, html: str) -> None:
    assert report.parameters["fakenetwork__cache_dir"] == "(path)"
    assert "somebody" not in html + report.to_markdown() + json.dumps(report.to_dict())


# --- the page ------------------------------------------------------------------------------------------


def test_page_needs_nothing_from_outside_and_no_script(html: str, page: Page) -> None:
    assert not page.all("script")
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name in {"src", "href", "xlink:href", "action", "srcset", "data", "poster"}:
                assert (value or "").startswith(("#", "data:")), (tag, name, value)
    assert "//" not in re.sub(r"<!DOCTYPE html>", "", html)
    assert not re.search(r"@import|url\((?!#)", html)


def test_page_has_a_heading_and_a_link_for_every_section_and_its_charts(
    report: EvaluationReport, page: Page
) -> None:
    headings = [section.title for section in report.sections]
    assert page.text["h2"] == headings
    assert page.text["a"] == ["Skip to the results", *headings[1:]]
    assert page.text["h1"] == ["Three classes"]
    charts = page.all("svg")
    expected = sum(isinstance(block, Chart) for section in report.sections for block in section.blocks)
    assert len(charts) == len(page.all("figure")) == len(page.all("figcaption")) == expected == 7
    assert all(chart["role"] == "img" and len(chart["aria-label"] or "") > 40 for chart in charts)
    assert all("viewbox" in chart for chart in charts)
    assert "not a medical device" in "".join(page.text["header"])
    assert "not a medical device" in "".join(page.text["footer"])


def test_page_can_be_read_by_machines_and_screen_readers(html: str, page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes}
    assert used <= set(ids)
    targets = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)
    assert {a or b for a, b in targets} <= set(ids)
    assert len(page.all("table")) == len(page.all("caption")) > 10
    assert all(caption.strip() for caption in page.text["caption"])
    assert [tag for tag, _ in page.tags if tag in ("header", "main", "nav", "footer")] == [
        "header",
        "main",
        "nav",
        "footer",
    ]
    assert not [attributes for _, attributes in page.tags if int(attributes.get("tabindex") or 0) > 0]
    assert all(cell.get("scope") in {"row", "col", "colgroup"} for cell in page.all("th"))


def test_page_shows_the_figures(report: EvaluationReport, page: Page) -> None:
    assert f"{report.metrics.balanced_accuracy:.3f}" in page.text["dd"]
    cells = page.text["td"]
    for count in report.metrics.confusion.ravel():
        assert str(count) in cells
    interval = report.intervals["sensitivity:mel"]
    assert f"{interval.low:.3f}–{interval.high:.3f}" in cells


def test_everything_on_the_page_is_escaped(table: Any, fake_network: Any) -> None:
    X, y, lesion = table
    evil = "\"><script>alert(1)</script><b onclick='x'>&amp;"
    labels = np.where(y == "mel", evil, y)
    result = cross_validate(fake_network(cache_dir=evil.replace("/", "")), X, labels, groups=lesion)
    report = EvaluationReport.from_cross_validation(result, title=evil, description=evil, n_draws=50)
    page = Page(report.to_html())
    assert not page.all("script")
    assert not page.all("b")
    assert page.text["h1"] == [evil]
    assert evil in page.text["th"]
    assert "|<" not in report.to_markdown().replace("\\", "")


def test_drawing_leaves_no_trace(report: EvaluationReport, html: str) -> None:
    from matplotlib import pyplot as plt

    before = dict(plt.rcParams)
    with plt.style.context("dark_background"):
        dark = report.to_html()
    assert dark == html
    assert dict(plt.rcParams) == before
    assert plt.get_fignums() == []


# --- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "start"), [("html", "<!DOCTYPE html>"), ("md", "# Three"), ("json", "{")])
def test_save(report: EvaluationReport, tmp_path: Path, suffix: str, start: str) -> None:
    path = report.save(tmp_path / f"räport 1.{suffix}")
    assert path.read_text(encoding="utf-8").startswith(start)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_save_refuses_what_would_lose_something(report: EvaluationReport, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")
    with pytest.raises(FileExistsError, match=r"exists already. Pass overwrite=True .*report.md"):
        report.save(path)
    assert path.read_text() == "old"
    report.save(str(path), overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("# Three classes")
    with pytest.raises(ValueError, match=r"path must end in one of \['.html', '.md', '.json'\].*'report.pdf'"):
        report.save(tmp_path / "report.pdf")
    with pytest.raises(FileNotFoundError, match=r"The folder .*missing does not exist"):
        report.save(tmp_path / "missing" / "report.md")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        report.save(tmp_path / "folder.md", overwrite=True)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    report: EvaluationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the file that was there is as it was") as caught:
        report.save(path, overwrite=True)
    assert caught.value.errno == code
    assert os.strerror(code) in str(caught.value)
    assert isinstance(caught.value, PermissionError) == (code == errno.EACCES)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    report: EvaluationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        report.save(path, overwrite=True)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
