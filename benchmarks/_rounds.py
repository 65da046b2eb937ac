"""Contestants take turns within each round, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Times = dict[str, list[float]]
"""Seconds of each contestant, one value for each round."""


def in_turns(contestants: Mapping[str, Callable[[], Any]], rounds: int, seconds: float = 0.0) -> Times:
    """Return the seconds that a call takes, after a round that only warms up.

    Every other round goes through the contestants from the last to the first. A call that takes less than
    `seconds` is repeated until they have passed, and the mean counts.
    """
    times: Times = {name: [] for name in contestants}
    for number in range(-1, rounds):
        for name, call in list(contestants.items())[:: -1 if number % 2 else 1]:
            n_calls, started = 0, time.perf_counter()
            while n_calls == 0 or time.perf_counter() - started < seconds:
                call()
                n_calls += 1
            if number >= 0:
                times[name].append((time.perf_counter() - started) / n_calls)
    return times


def median_ratio(times: Times, name: str, other: str) -> float:
    """Return how many times as long `name` takes as `other`: the median of the rounds' ratios."""
    return round(statistics.median(a / b for a, b in zip(times[name], times[other], strict=True)), 3)


def medians(times: Times) -> dict[str, float]:
    """Return the median of each contestant, in seconds."""
    return {name: statistics.median(values) for name, values in times.items()}


def worst(rows: list[dict[str, Any]], key: str, *, highest: bool = False) -> float:
    """Return the least favourable value of a column: the lowest one, or the highest."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return max(values) if highest else min(values)


def claim(work: str, against: str, measured: float, **limit: float) -> dict[str, Any]:
    """Return one line of the table of targets: `limit` is ``at_least=`` or ``at_most=``."""
    return {"work": work, "against": against, "measured": measured, **limit}


def is_met(line: dict[str, Any]) -> bool:
    """Whether what was measured keeps to the limit."""
    measured = line["measured"]
    return bool(line.get("at_least", measured) <= measured <= line.get("at_most", measured))


def write_result(output: Path | None, content: dict[str, Any], **versions: str) -> None:
    """Write what was measured beside command, date, versions and machine; nothing without a file."""
    if output is None:
        return
    from skinclf.reporting._provenance import collect_provenance

    arguments = sys.argv[1:]
    if "--data" in arguments:  # where the images lie on this machine tells nobody anything
        arguments[arguments.index("--data") + 1] = "folder"
    provenance = vars(collect_provenance())
    head = {
        "title": content.pop("title"),
        "description": content.pop("description"),
        "command": " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *arguments]),
        **provenance,
        "versions": {**provenance["versions"], **versions},
    }
    output.write_text(json.dumps(head | content, indent=2) + "\n", encoding="utf-8")
