"""The benchmarks measure in turns; what their results claim stands in the rows, and in the table of the page."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from _rounds import claim, in_turns, is_met, median_ratio, medians, worst, write_result

PROJECT = Path(__file__).parents[1]
RESULTS = sorted((PROJECT / "docs" / "results").glob("*.json"))
CONTENTS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS}
CLAIMS = [
    pytest.param(content, line, id=f"{name}-{number}")
    for name, content in CONTENTS.items()
    for number, line in enumerate(content.get("claims", []))
]


def values(rows):
    return [value for row in rows for value in row.values()]


@pytest.mark.parametrize(("content", "line"), CLAIMS)
def test_what_is_claimed_was_measured(content, line):
    assert line["measured"] in values(content["rows"])
    assert len({"at_least", "at_most"} & line.keys()) == 1


@pytest.mark.parametrize(("content", "line"), CLAIMS)
def test_a_target_that_was_missed_is_explained(content, line):
    assert is_met(line) or content.get("notes")


@pytest.fixture
def pages():
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("measured", PROJECT / "docs" / "_ext" / "measured_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_every_target_and_whether_it_was_met(pages):
    lines = "\n".join(pages.targets(RESULTS))
    said = [row.splitlines() for row in lines.split("   * - ")[2:]]

    assert len(said) == len(CLAIMS)
    for row, parameters in zip(said, CLAIMS, strict=True):
        line = parameters.values[1]
        cells = [cell.strip().removeprefix("- ") for cell in row]
        assert cells[:2] == [line["work"], line["against"]]
        assert cells[3:5] == [str(line["measured"]), "yes" if is_met(line) else "**no**"]
    assert ".. benchmark-targets::" in (PROJECT / "docs" / "results.rst").read_text(encoding="utf-8")


def test_the_page_says_what_bounds_a_ratio(pages):
    content = {
        "rows": [{"pixels": 64, "ratio": 1.456, "part_ms": 2.0}],
        "notes": ["The bits."],
        "columns": ["ratio"],
    }
    lines = pages.comparison(content)
    assert "   * - 1.46" in lines
    assert lines[-2:] == ["- The bits.", ""]
    assert not any("part" in line for line in lines)


def test_limits_count_themselves():
    assert is_met(claim("w", "a", 1.5, at_least=1.5))
    assert not is_met(claim("w", "a", 1.499, at_least=1.5))
    assert is_met(claim("w", "a", 0.2, at_most=0.2))
    assert not is_met(claim("w", "a", 0.201, at_most=0.2))


def test_contestants_take_turns_there_and_back_and_the_first_round_does_not_count():
    calls = []
    times = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)

    assert "".join(calls) in ("abbaabba", "baabbaab")
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_short_calls_are_repeated_and_the_mean_counts(monkeypatch):
    durations = iter([4, 4, 4, 4, 5, 6, 11])  # a round to warm up, three calls, one call
    clock = [0]
    monkeypatch.setattr("_rounds.time.perf_counter", lambda: clock[0])

    times = in_turns({"a": lambda: clock.append(clock.pop() + next(durations))}, rounds=2, seconds=10)

    assert times == {"a": [5, 11]}
    assert next(durations, None) is None


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds():
    times = {"slow": [4.0, 9.0, 6.0], "fast": [2.0, 1.0, 2.0]}
    assert median_ratio(times, "slow", "fast") == 3.0
    assert medians(times) == {"slow": 6.0, "fast": 2.0}


def test_the_least_favourable_row_counts():
    rows = [{"ratio": 2.0}, {"ratio": 1.2}, {"ratio": None}, {}]
    assert worst(rows, "ratio") == 1.2
    assert worst(rows, "ratio", highest=True) == 2.0


def test_a_result_holds_its_command_without_the_place_of_the_data(tmp_path, monkeypatch):
    file = tmp_path / "result.json"
    monkeypatch.setattr("sys.argv", ["/somewhere/bench_fit.py", "--data", "/secret/place", "--rounds", "3"])
    write_result(file, {"title": "T", "description": "D", "rows": []}, torchvision="1.2")
    content = json.loads(file.read_text())

    assert content["command"] == "python benchmarks/bench_fit.py --data folder --rounds 3"
    assert content["versions"]["torchvision"] == "1.2"
    assert list(content)[:2] == ["title", "description"]
    assert "secret" not in file.read_text()


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_result(None, {"title": "T", "description": "D"})
    assert list(tmp_path.iterdir()) == []
