"""What crosses from training to test: lesions, exact copies, near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from skinclf.reporting._evaluation import Evaluation, image_names
from skinclf.reporting._sections import Block, Section, Text
from skinclf.reporting._tables import Table

if TYPE_CHECKING:
    from skinclf.evaluation import CrossValidationResult, LeakageAudit

KINDS = {
    "lesion": "a photo of the same lesion",
    "copy": "an exact copy",
    "near_duplicate": "a near-duplicate",
    "only_near_duplicate": "a near-duplicate that neither lesion nor copy gives away",
    "any": "any of these",
}
NOT_LOOKED_FOR = "not looked for"
N_PAIRS = 20
_HINT = (
    "Exact copies and near-duplicates were not looked for: audit_leakage does, and its result is shown here if it "
    "is passed as audit=."
)


def leak_section(evaluation: Evaluation) -> Section:
    """Say what was looked for, what was found, and what was not looked for."""
    counts = _count_lesions(evaluation) | _count_audited(evaluation.audit)
    n_tested = evaluation.metrics.n_images
    blocks: list[Block] = [_count_table(counts, n_tested)]
    data: dict[str, Any] = {"n_tested": n_tested, "found": counts, "pairs": None}
    if evaluation.audit is None:
        blocks.append(Text((_HINT,)))
    else:
        pairs = _hidden_pairs(evaluation)
        data["pairs"] = pairs.to_dict("records")
        data["max_distance"] = evaluation.audit.max_distance
        if len(pairs):
            blocks.append(_pair_table(pairs))
    return Section("Leakage", tuple(blocks), {"leakage": data})


def check_audit(audit: Any, result: CrossValidationResult | None) -> None:
    """Refuse an audit of other splits than those of the result.

    Raises
    ------
    TypeError
        If it is no `LeakageAudit`.
    ValueError
        If its splits have other sizes.
    """
    if audit is None:
        return
    if not isinstance(getattr(audit, "folds", None), pd.DataFrame):
        raise TypeError(f"audit must be what audit_leakage returns; got {type(audit).__name__}.")
    if result is None:
        return
    parts = zip(result.train_indices, result.test_indices, strict=True)
    sizes = [(train.size, test.size) for train, test in parts]
    audited = [(int(row["n_train"]), int(row["n_test"])) for _, row in audit.folds.iterrows()]
    if sizes != audited:
        raise ValueError(
            f"audit must be of the splits of the result, with (train, test) sizes {sizes}; its splits have "
            f"{audited}. Pass splits=result to audit_leakage."
        )


def audit_warnings(audit: LeakageAudit | None) -> tuple[str, ...]:
    """Warn of lesions and copies on both sides; a few near-duplicates are named in the section alone."""
    counts = _count_audited(audit)
    found = {kind: counts.get(kind) or 0 for kind in ("lesion", "copy")}
    if audit is None or not any(found.values()):
        return ()
    n_test = int(audit.folds["n_test"].sum())
    words = " and ".join(f"{KINDS[kind]} ({count:,})" for kind, count in found.items() if count)
    return (
        f"Of {n_test:,} test images, some have in the training part {words}. The figures overstate how well the "
        "model does on new lesions.",
    )


def _count_lesions(evaluation: Evaluation) -> dict[str, int | None]:
    """Count the test images whose lesion was trained on, as the cross-validation found them."""
    result = evaluation.result
    counts: dict[str, int | None] = dict.fromkeys(KINDS)
    if result is not None and result.groups is not None:
        counts["lesion"] = int(result.leaks["n_leaking"].sum())
    return counts


def _count_audited(audit: LeakageAudit | None) -> dict[str, int]:
    """Sum the counts of all splits; what was not looked for is left out."""
    if audit is None:
        return {}
    folds = audit.folds
    return {kind: int(folds[kind].sum()) for kind in KINDS if kind in folds.columns and folds[kind].notna().all()}


def _count_table(counts: dict[str, int | None], n_tested: int) -> Table:
    rows = []
    for kind, title in KINDS.items():
        count = counts[kind]
        if count is None and kind in ("only_near_duplicate", "any"):
            continue
        cells = (NOT_LOOKED_FOR, "") if count is None else (f"{count:,}", _percent(count / n_tested))
        rows.append((title, *cells))
    caption = f"Of {n_tested:,} test images, those with the following in the training part of their fold"
    return Table(caption, ("what", "test images", "share"), tuple(rows))


def _percent(share: float) -> str:
    """Return a share as text; a small one keeps a digit that is not 0."""
    return f"{100 * share:.{1 if share == 0 or share >= 0.001 else 2}f} %"


def _hidden_pairs(evaluation: Evaluation) -> pd.DataFrame:
    """List the near-duplicates that neither lesion nor copy gives away, the most alike first."""
    pairs = evaluation.audit.pairs
    told = pairs.loc[pairs["kind"] != "near_duplicate", ["fold", "test_row"]].apply(tuple, axis=1)
    near = pairs[pairs["kind"] == "near_duplicate"]
    hidden = near[~near[["fold", "test_row"]].apply(tuple, axis=1).isin(set(told))] if len(near) else near
    names = dict(zip(evaluation.predictions.rows.tolist(), image_names(evaluation.predictions), strict=True))
    table = hidden.sort_values(["distance", "test_row"], kind="stable").reset_index(drop=True)
    for side in ("test", "train"):
        table[f"{side}_image"] = [names.get(int(row), f"row {row}") for row in table[f"{side}_row"]]
    table = table.drop(columns="kind").astype(object)
    hidden_pairs: pd.DataFrame = table.where(table.notna(), None)
    return hidden_pairs


def _pair_table(pairs: pd.DataFrame) -> Table:
    shown = pairs.head(N_PAIRS)
    columns = {
        "test_image": "test image",
        "train_image": "looks like",
        "distance": "bits that differ",
    }
    columns |= {name: name.replace("_", " ") for name in ("test_lesion", "train_lesion") if name in pairs.columns}
    rows = tuple(tuple(str(row[name]) for name in columns) for _, row in shown.iterrows())
    caption = f"Near-duplicates under different lesions: {len(shown)} of {len(pairs)}, the most alike first"
    return Table(caption, tuple(columns.values()), rows, kind="words")
