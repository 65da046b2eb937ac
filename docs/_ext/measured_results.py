"""The directives ``measured-results`` and ``benchmark-targets``: what files in docs/results say, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

NOTHING_YET = "No results have been committed yet."
PER_CLASS = ("sensitivity", "specificity", "ppv", "npv", "roc_auc", "support")
HEADERS = {"ppv": "PPV", "npv": "NPV", "roc_auc": "ROC AUC", "lr": "learning rate", "fit_seconds": "training (s)"}
LIMITS = {"at_least": "at least", "at_most": "at most"}
TWO_DIGITS = ("ratio", "share", "ms")
"""Parts of the names of columns with that many digits after the point."""
FOLD = ("balanced_accuracy", "accuracy", "test_images", "test_lesions", "best_epoch", "epochs", "fit_seconds")
FIGURES = (("_confusion_matrix.png", "Confusion matrix"), ("_training_curves.png", "Curves of training"))


class MeasuredResults(SphinxDirective):
    """Show every results/*.json: figures with intervals, classes, folds, protocol, provenance, figures drawn."""

    def run(self) -> list[nodes.Node]:
        """Return the sections; a sentence where there are no files."""
        folder = Path(self.env.srcdir) / "results"
        files = sorted(folder.glob("*.json"))
        for file in files:
            self.env.note_dependency(str(file))
        lines = [line for file in files for line in result_page(file)] or [NOTHING_YET]
        section = nodes.section()
        section.document = self.state.document
        content = StringList(lines, source=str(folder))
        self.state.nested_parse(content, self.content_offset, section, match_titles=True)
        return section.children


class BenchmarkTargets(SphinxDirective):
    """Show in one table what the benchmarks were to reach, and what was measured."""

    def run(self) -> list[nodes.Node]:
        """Return the table; a sentence where there are no files."""
        folder = Path(self.env.srcdir) / "results"
        files = sorted(folder.glob("*.json"))
        for file in files:
            self.env.note_dependency(str(file))
        node = nodes.container()
        self.state.nested_parse(StringList(targets(files), source=str(folder)), self.content_offset, node)
        return node.children


def targets(files: list[Path]) -> list[str]:
    """Return the claims of all results as lines of a table: work, opponent, target, what was measured."""
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    rows = [
        [
            claim["work"],
            claim["against"],
            target(claim),
            str(claim["measured"]),
            "yes" if is_met(claim) else "**no**",
        ]
        for content in contents
        for claim in content.get("claims", [])
    ]
    return table(["work", "against", "target", "measured", "met"], rows) if rows else [NOTHING_YET]


def target(claim: dict[str, Any]) -> str:
    """Return the limit of a claim in words."""
    return " and ".join(f"{words} {claim[key]:,}" for key, words in LIMITS.items() if key in claim)


def is_met(claim: dict[str, Any]) -> bool:
    """Whether what was measured keeps to the limit."""
    measured = claim["measured"]
    return bool(claim.get("at_least", measured) <= measured <= claim.get("at_most", measured))


def result_page(file: Path) -> list[str]:
    """Return one result as lines of reStructuredText."""
    content = json.loads(file.read_text(encoding="utf-8"))
    title = content["title"]
    details = {"date": content["date"], **content["machine"], **content["versions"]}
    run = f"**Run.** ``{content['command']}``, {', '.join(f'{name} {value}' for name, value in details.items())}."
    body = comparison(content) if "rows" in content else evaluation(content, file)
    return [title, "-" * len(title), "", content["description"], "", *body, run, ""]


def comparison(content: dict[str, Any]) -> list[str]:
    """Return a table of models, a row each, and the sentence on their speed, if it was measured."""
    # Seconds of a long run depend on what else the machine did; speed is measured by itself, in rounds.
    keys = content.get(
        "columns", [key for key in content["rows"][0] if not key.endswith(("_interval", "seconds"))]
    )
    rows = [[cell(row, key) for key in keys] for row in content["rows"]]
    lines = table([header(key) for key in keys], rows)
    if content.get("notes"):
        lines += ["**What bounds it.**", "", *(f"- {sentence}" for sentence in content["notes"]), ""]
    if "speed" not in content:
        return lines
    speed = content["speed"]
    each = "; ".join(
        f"{name}: {number(speed['images_a_second'][name])} images a second, {number(parameters)} parameters"
        for name, parameters in speed["parameters"].items()
    )
    ratio = (
        f"{speed['ratio_median']}, and {speed['ratio_lowest']} in the least favourable of {speed['rounds']} rounds"
    )
    return [*lines, f"**Training, {speed['threads']} threads.** {each}. The ratio of the speeds is {ratio}.", ""]


def cell(row: dict[str, Any], key: str) -> str:
    """Return a value of a row, with its interval where it has one."""
    value = row[key]
    if f"{key}_interval" in row:
        return with_interval(value, *row[f"{key}_interval"])
    if isinstance(value, float) and any(part in TWO_DIGITS for part in key.split("_")):
        return f"{value:.2f}"
    return value if isinstance(value, str) else number(value)


def evaluation(content: dict[str, Any], file: Path) -> list[str]:
    """Return the content of an evaluation report: figures, classes, folds, protocol."""
    lines = []
    for warning in content["warnings"]:
        lines += [f".. warning:: {warning}", ""]
    lines += table(["", "balanced accuracy", "accuracy"], overall_rows(content))
    labels = [name for name in PER_CLASS if any(name in values for values in content["classes"].values())]
    rows = [[label, *(number(values[name]) for name in labels)] for label, values in content["classes"].items()]
    lines += ["**Classes.**", "", *table(["", *map(header, labels)], rows)]
    for suffix, caption in FIGURES:
        if file.with_name(file.stem + suffix).exists():
            lines += [f".. figure:: /results/{file.stem}{suffix}", f"   :alt: {caption}", "   :width: 80%"]
            lines += ["", f"   {caption}.", ""]
    if content["folds"]:
        keys = [key for key in FOLD if key in content["folds"][0]]
        rows = [[fold["fold"], *(number(fold[key]) for key in keys)] for fold in content["folds"]]
        lines += ["**Folds.**", "", *table(["fold", *map(header, keys)], rows)]
    return [*lines, "**Protocol.**", "", *(f"- {sentence}" for sentence in content["protocol"]), ""]


def overall_rows(content: dict[str, Any]) -> list[list[str]]:
    """Return the figures with their intervals, and what models score that look at no image."""
    names = ("balanced_accuracy", "accuracy")
    intervals = [content["intervals"][name] for name in names]
    measured = [with_interval(i["estimate"], i["low"], i["high"]) for i in intervals]
    confidence = f"this model, with {100 * intervals[0]['confidence']:g} % interval"
    null = content["null_models"].items()
    return [
        [confidence, *measured],
        *([f"“{label}”", *(number(row[name]) for name in names)] for label, row in null),
    ]


def with_interval(estimate: float, low: float, high: float) -> str:
    """Return a figure with its interval."""
    return f"**{estimate:.3f}** ({low:.3f}–{high:.3f})"


def header(name: str) -> str:
    """Return a column's name in words."""
    return HEADERS.get(name, name.replace("_", " "))


def number(value: float | int | None) -> str:
    """Return three digits after the point for shares, one for seconds, none for counts, all for learning rates."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if 0 < value < 0.01:
        return f"{value:g}"
    return f"{value:.3f}" if value <= 1 else f"{value:.1f}"


def table(names: list[str], rows: list[list[Any]]) -> list[str]:
    """Return a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [names, *rows]:
        lines += [f"   {'* -' if column == 0 else '  -'} {cell}".rstrip() for column, cell in enumerate(row)]
    return [*lines, ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("measured-results", MeasuredResults)
    app.add_directive("benchmark-targets", BenchmarkTargets)
    return {"version": "1", "parallel_read_safe": True}
