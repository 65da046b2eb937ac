"""Sections appear where there are data for them, and every number of the page is in the dictionary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinclf.evaluation import LookupClassifier, audit_leakage, cross_validate, operating_points
from skinclf.reporting import EvaluationReport
from skinclf.reporting._guidelines import CLAIM, LESION_LEVEL, TRIPOD
from skinclf.reporting._sections import Chart, Confusion, Picture, Section
from skinclf.reporting._tables import Table, format_number, format_range

ALL = [
    "Summary",
    "Protocol",
    "Leakage",
    "Classes",
    "Confusion matrix",
    "Intervals",
    "ROC and precision-recall",
    "Operating points",
    "Calibration",
    "Abstention",
    "Prediction sets",
    "Subgroups",
    "Most confident mistakes",
    "Folds",
    "Training",
    "Reporting guidelines",
    "Parameters",
    "Versions and machine",
]


def titles(report: EvaluationReport) -> list[str]:
    return [section.title for section in report.sections]


def section(report: EvaluationReport, title: str) -> Section:
    return next(section for section in report.sections if section.title == title)


def tables(report: EvaluationReport, title: str) -> list[Table]:
    return [block for block in section(report, title).blocks if isinstance(block, Table)]


# --- which sections ------------------------------------------------------------------------------------


def test_a_report_of_everything_has_every_section_in_order(full_report: EvaluationReport) -> None:
    assert titles(full_report) == ALL
    markdown = full_report.to_markdown()
    assert re.findall(r"^## (.+)$", markdown, flags=re.MULTILINE) == ALL


def test_predictions_alone_have_only_what_they_can_show() -> None:
    report = EvaluationReport.from_predictions(["mel", "nv"] * 20, ["mel", "nv"] * 19 + ["nv", "nv"], n_draws=30)
    assert titles(report) == [
        "Summary",
        "Protocol",
        "Leakage",
        "Classes",
        "Confusion matrix",
        "Intervals",
        "Reporting guidelines",
        "Versions and machine",
    ]
    assert report.to_dict()["leakage"]["found"]["lesion"] is None
    assert "not looked for" in report.to_markdown()


def test_given_probabilities_have_curves_but_no_sets_that_need_folds(full_result: Any) -> None:
    report = EvaluationReport.from_predictions(
        full_result.y_true,
        full_result.y_pred,
        y_proba=full_result.y_proba,
        groups=full_result.groups,
        n_draws=30,
    )
    assert {"ROC and precision-recall", "Operating points", "Calibration", "Abstention"} <= set(titles(report))
    assert not {"Prediction sets", "Subgroups", "Folds", "Training"} & set(titles(report))
    origins = {point["threshold_from"] for point in report.to_dict()["operating_points"]}
    assert origins == {"same rows"}


def test_scores_that_are_no_probabilities_have_curves_alone(full_result: Any) -> None:
    report = EvaluationReport.from_predictions(
        full_result.y_true, full_result.y_pred, y_proba=np.log(full_result.y_proba), n_draws=30
    )
    assert "ROC and precision-recall" in titles(report)
    assert not {"Calibration", "Abstention", "Most confident mistakes"} & set(titles(report))
    answer = report.to_dict()["guidelines"]["TRIPOD+AI"]["items"]["15"]["answer"]
    assert "probability" not in answer


def test_the_curves_of_the_page_are_in_the_dictionary(full_report: EvaluationReport) -> None:
    content = full_report.to_dict()
    for name in ("roc", "precision_recall"):
        points = content["curves"][name]["points"]["mel"]
        assert 50 < len(points["x"]) == len(points["y"]) <= 101
        assert {min(points["x"]), max(points["x"])} == {0.0, 1.0}
    assert len(content["abstention"]["curve"]["error"]) > 50
    assert len(content["histories"]) == 3


# --- numbers -------------------------------------------------------------------------------------------


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers_in(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers_in(item)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_every_number_of_a_table_is_in_the_dictionary(full_report: EvaluationReport) -> None:
    content = json.loads(json.dumps(full_report.to_dict(), allow_nan=False))
    known = set()
    for number in numbers_in(content):
        known |= {f"{number:.3f}", f"{100 * number:.1f}", f"{number:.2f}", f"{number:.3g}", f"{number:,.0f}"}
        known |= {f"{number:.1f}", f"{100 * number:g}", f"{-number:.3f}", f"{100 * number:.0f}"}
    missing = []
    for part in full_report.sections:
        if part.title in ("Folds", "Reporting guidelines", "Parameters", "Versions and machine"):
            continue  # Folds: the mean and the deviation follow from the rows
        for block in part.blocks:
            table = block if isinstance(block, Table) else getattr(block, "table", None)
            for row in () if table is None else table.rows:
                found = re.findall(r"(?<![\w.])\d[\d,]*\.?\d*", " ".join(row[1:]))
                missing += [(part.title, row[0], number) for number in found if number not in known]
    assert missing == []
    assert len(known) > 500


def test_operating_points_and_their_thresholds(full_report: EvaluationReport, full_result: Any) -> None:
    points = operating_points(
        full_result.y_true,
        full_result.y_proba,
        labels=full_result.classes,
        groups=full_result.groups,
        fold=full_result.fold,
        n_draws=100,
    )
    (table,) = tables(full_report, "Operating points")
    assert len(table.rows) == len(points) == 8
    for row, (_, point) in zip(table.rows, points.iterrows(), strict=True):
        assert row[0] == f"{point['task']}, {point['goal']}"
        assert row[1] == f"{point['sensitivity']:.3f}"
        assert row[-1] == point["threshold_from"]


def test_the_summary_says_in_words_what_the_figures_are(full_report: EvaluationReport) -> None:
    first, second = full_report.to_dict()["summary"]
    balanced = full_report.metrics.balanced_accuracy
    assert first.startswith(f"Of 100 images of each class, {100 * balanced:.0f} are named correctly on average")
    assert "“always nv”, gets 14." in first
    found = full_report.metrics.per_class.loc["mel"]
    assert f"Of 100 images of melanoma, {100 * found['sensitivity']:.0f} are called melanoma" in second
    assert f"called melanoma, {100 * found['ppv']:.0f} are." in second


def test_what_the_codes_of_the_classes_mean(full_report: EvaluationReport) -> None:
    assert full_report.to_dict()["class_names"]["df"] == "dermatofibroma"


def test_the_confusion_table_has_counts_and_shares(full_report: EvaluationReport, full_html: str) -> None:
    (block,) = section(full_report, "Confusion matrix").blocks
    assert isinstance(block, Confusion)
    counts = full_report.metrics.confusion
    share = f"{counts[5, 5] / counts[5].sum():.0%}"
    assert block.table.rows[5][6] == f"{counts[5, 5]:,} ({share})"
    assert f"{counts[5, 5]:,}<small> {share}</small>" in full_html


def test_subgroups_name_what_is_not_known(full_report: EvaluationReport) -> None:
    notes = " ".join(full_report.to_dict()["subgroups"]["notes"])
    assert "kin tone is not recorded" in notes
    names = [row[0].rstrip("\u00a0†") for table in tables(full_report, "Subgroups") for row in table.rows]
    assert names[0] == "all"
    assert {"Sex: female", "Sex: male", "Body site: back"} <= set(names)


def test_the_lookup_table_stands_beside_the_other_null_models(full_result: Any, full_table: Any) -> None:
    X, frame = full_table
    answers = np.empty(len(X), dtype=object)
    for train, test in zip(full_result.train_indices, full_result.test_indices, strict=True):
        answers[test] = LookupClassifier().fit(X[train], frame["dx"].to_numpy()[train]).predict(X[test])
    report = EvaluationReport.from_cross_validation(full_result, lookup=answers.astype(str), n_draws=30)
    assert list(report.null_models.index) == ["always nv", "stratified guess", "lookup table"]
    assert "lookup table" in report.to_markdown()
    with pytest.raises(ValueError, match=rf"lookup must have an answer for each of the {len(X)} rows; got shape"):
        EvaluationReport.from_cross_validation(full_result, lookup=["nv"], n_draws=30)


# --- mistakes ------------------------------------------------------------------------------------------


def test_mistakes_are_the_most_confident_and_named(full_report: EvaluationReport, full_result: Any) -> None:
    mistakes = pd.DataFrame(full_report.to_dict()["mistakes"])
    wrong = full_result.y_true != full_result.y_pred
    confidence = np.sort(full_result.y_proba.max(axis=1)[wrong])[::-1]
    np.testing.assert_allclose(mistakes["answer_probability"], confidence[:20])
    first = mistakes.iloc[0]
    row = int(first["row"])
    assert first["image"] == f"ISIC_{row:07d}"
    assert first["lesion"] == full_result.groups[row]
    assert (first["true_class"], first["answer"]) == (full_result.y_true[row], full_result.y_pred[row])
    column = list(full_result.classes).index(first["true_class"])
    assert first["true_probability"] == pytest.approx(full_result.y_proba[row, column])


def test_without_a_table_rows_are_named(full_result: Any) -> None:
    report = EvaluationReport.from_cross_validation(full_result, n_draws=30)
    first = report.to_dict()["mistakes"][0]
    assert first["image"] == f"row {first['row']}"


def test_a_model_that_is_always_right_has_no_mistakes() -> None:
    y = ["mel", "nv"] * 20
    report = EvaluationReport.from_predictions(y, y, y_proba=[[1.0, 0.0], [0.0, 1.0]] * 20, n_draws=30)
    assert report.to_dict()["mistakes"] == []
    assert "No image was named wrongly." in report.to_markdown()


def test_photos_are_in_the_page_only_if_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / f"ISIC_{number}.jpg" for number in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((60, 80, 3), 60 * number, dtype=np.uint8)).save(path)
    frame = pd.DataFrame({"image": [str(path) for path in paths]})
    y_true, y_pred = ["mel", "nv", "mel", "nv"], ["nv", "nv", "mel", "mel"]
    proba = [[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]
    settings: dict[str, Any] = {"y_proba": proba, "frame": frame, "n_draws": 50}
    plain = EvaluationReport.from_predictions(y_true, y_pred, **settings)
    page = plain.to_html()
    assert "<img" not in page
    assert "ISIC_0.jpg" in page
    assert str(tmp_path) not in page + json.dumps(plain.to_dict())
    report = EvaluationReport.from_predictions(y_true, y_pred, embed_images=True, **settings)
    html = report.to_html()
    assert re.findall(r'<img src="data:image/jpeg;base64,[^"]+" [^>]*alt="([^"]+)"', html) == [
        "Photo ISIC_0.jpg, class mel, taken for nv",
        "Photo ISIC_3.jpg, class nv, taken for mel",
    ]
    assert "Mind their licence" in html
    pictures = [b for part in report.sections for b in part.blocks if isinstance(b, Picture)]
    assert len(pictures) == 2
    del settings["frame"]
    with pytest.raises(ValueError, match="embed_images=True needs the paths of the images: pass frame="):
        EvaluationReport.from_predictions(y_true, y_pred, embed_images=True, **settings)


# --- tables that do not fit ----------------------------------------------------------------------------


def test_a_table_in_another_order_is_refused(full_result: Any, full_table: Any) -> None:
    frame = full_table[1]
    cases = [
        (frame.iloc[:-1], rf"frame must have a row for each of the {len(frame)} images.*it has {len(frame) - 1}"),
        (frame.iloc[::-1], r"frame must be in the order of the images: in row 0 its 'lesion_id' is 'HAM_0000279'"),
        (
            frame.drop(columns="lesion_id").iloc[::-1],
            r"in row \d+ its 'dx' is '[a-z]+', but the image is of '[a-z]+' \(\d+ such rows\)",
        ),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            EvaluationReport.from_cross_validation(full_result, frame=wrong, n_draws=30)
    with pytest.raises(TypeError, match=r"frame must be a DataFrame .*; got dict"):
        EvaluationReport.from_cross_validation(full_result, frame={"sex": []}, n_draws=30)


def test_the_index_of_the_table_does_not_matter(full_result: Any, full_table: Any) -> None:
    frame = full_table[1]
    shifted = frame.set_index(np.arange(1000, 1000 + len(frame)))
    contents = [
        EvaluationReport.from_cross_validation(full_result, frame=table, n_draws=30).to_dict()
        for table in (frame, shifted)
    ]
    assert contents[0] == contents[1]


def test_lesions_of_the_table_make_the_intervals_of_predictions(full_table: Any) -> None:
    frame = full_table[1]
    report = EvaluationReport.from_predictions(frame["dx"], frame["dx"], frame=frame, n_draws=30)
    assert report.n_lesions == 280
    assert report.protocol.warnings == ()


# --- leakage -------------------------------------------------------------------------------------------


def audited(lesions: Any, **changes: Any) -> tuple[Any, Any]:
    """Cross-validate on painted lesions by a made-up model, and audit the splits."""
    from sklearn.dummy import DummyClassifier

    images = lesions.images.copy()
    result = cross_validate(
        DummyClassifier(strategy="stratified", random_state=0),
        images.reshape(len(images), -1),
        lesions.target,
        groups=lesions.groups,
        cv=3,
    )
    if changes.get("copy"):
        images[result.test_indices[0][0]] = images[result.train_indices[0][0]]
    if changes.get("mirror"):
        images[result.test_indices[0][0]] = images[result.train_indices[0][0]][:, ::-1]
    return result, audit_leakage(images, lesions.target, groups=lesions.groups, splits=result)


def test_a_clean_audit_raises_no_alarm(lesions: Any) -> None:
    result, audit = audited(lesions)
    assert int(audit.folds["lesion"].sum()) == int(audit.folds["copy"].sum()) == 0
    report = EvaluationReport.from_cross_validation(result, audit=audit, n_draws=30)
    assert report.protocol.warnings == ()
    assert report.to_dict()["leakage"]["found"]["copy"] == 0
    assert "not looked for" not in report.to_markdown()


def test_copies_raise_an_alarm_and_mirrored_images_are_listed(lesions: Any) -> None:
    result, audit = audited(lesions, copy=True)
    n_copies = int(audit.folds["copy"].sum())
    assert n_copies >= 1
    report = EvaluationReport.from_cross_validation(result, audit=audit, n_draws=30)
    assert f"have in the training part an exact copy ({n_copies:,})" in report.protocol.warnings[0]
    assert "an exact copy" in str(report)
    result, audit = audited(lesions, mirror=True)
    report = EvaluationReport.from_cross_validation(result, audit=audit, n_draws=30)
    leakage = report.to_dict()["leakage"]
    assert leakage["found"]["only_near_duplicate"] == int(audit.folds["only_near_duplicate"].sum()) >= 1
    test_row, train_row = int(result.test_indices[0][0]), int(result.train_indices[0][0])
    rows = [(pair["test_row"], pair["train_row"], pair["distance"]) for pair in leakage["pairs"]]
    assert (test_row, train_row, 0) in rows
    assert f"row {test_row}" in report.to_markdown()


def test_an_audit_of_other_splits_is_refused(lesions: Any, full_result: Any) -> None:
    _, audit = audited(lesions)
    with pytest.raises(ValueError, match=r"audit must be of the splits of the result.*Pass splits=result"):
        EvaluationReport.from_cross_validation(full_result, audit=audit, n_draws=30)
    with pytest.raises(TypeError, match="audit must be what audit_leakage returns; got list"):
        EvaluationReport.from_predictions([0, 1] * 9, [0, 1] * 9, audit=[], n_draws=30)


# --- guidelines ----------------------------------------------------------------------------------------


def test_every_item_of_both_guidelines_is_answered_or_named_as_open(full_report: EvaluationReport) -> None:
    assert list(CLAIM) == [str(number) for number in range(1, 45)]
    assert len({item.rstrip("abcdefg") for item in TRIPOD}) == 27
    content = full_report.to_dict()["guidelines"]
    markdown = full_report.to_markdown().replace("\\", "")
    for name, topics in (("CLAIM 2024", CLAIM), ("TRIPOD+AI", TRIPOD)):
        items = content[name]["items"]
        assert list(items) == list(topics)
        answered = [item for item, entry in items.items() if entry["answer"]]
        assert 10 < len(answered) < len(items)
        for item, entry in items.items():
            shown = f"| {item} | {entry['topic']} |" if entry["answer"] else f"{item} ({entry['topic']})"
            assert shown in markdown
        assert "doi:" in content[name]["source"]


def test_answers_point_only_to_sections_that_are_there(full_result: Any, full_table: Any) -> None:
    reports = [
        EvaluationReport.from_cross_validation(full_result, frame=full_table[1], n_draws=30),
        EvaluationReport.from_cross_validation(full_result, n_draws=30),
        EvaluationReport.from_predictions(["mel", "nv"] * 20, ["mel", "nv"] * 20, n_draws=30),
    ]
    for report in reports:
        answers = [
            entry["answer"] or ""
            for guideline in report.to_dict()["guidelines"].values()
            for entry in guideline["items"].values()
        ]
        named = {
            title
            for answer in answers
            for part in re.findall(r"See ([^.]+)\.", answer)
            for title in part.split(", ")
        }
        assert named <= set(titles(report))
        assert named


def test_the_level_of_the_partitions_is_honest(full_report: EvaluationReport, full_result: Any) -> None:
    level = full_report.to_dict()["guidelines"]["CLAIM 2024"]["items"]["20"]["answer"]
    assert level == LESION_LEVEL
    assert level.startswith("Lesion-level, not patient-level")
    handed_in = EvaluationReport.from_predictions(
        full_result.y_true, full_result.y_pred, groups=full_result.groups, n_draws=30
    )
    answer = handed_in.to_dict()["guidelines"]["CLAIM 2024"]["items"]["20"]["answer"]
    assert answer.startswith("Not known: the predictions were handed in")


# --- charts and text -----------------------------------------------------------------------------------


def test_charts_are_described_in_markdown_and_on_the_page(full_report: EvaluationReport, full_html: str) -> None:
    charts = [block for part in full_report.sections for block in part.blocks if isinstance(block, Chart)]
    assert len(charts) == 8
    assert len({chart.description for chart in charts}) == len(charts)
    markdown, html = full_report.to_markdown().replace("\\", ""), full_html
    for chart in charts:
        assert chart.description in markdown
        assert f'aria-label="{chart.description}"' in html
        assert chart.caption in html


def test_the_page_is_small_and_the_same_every_time(full_report: EvaluationReport, full_html: str) -> None:
    assert len(full_html.encode()) < 1_000_000
    assert full_html == full_report.to_html()


def test_numbers_as_text() -> None:
    assert format_number(-0.0121) == "−0.012"
    assert format_number(float("nan")) == "–"
    assert format_range(0.1, 0.25) == "0.100–0.250"
    assert format_range(-0.2, -0.1) == "−0.200 to −0.100"
