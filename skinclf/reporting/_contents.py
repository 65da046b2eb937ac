"""Which sections a report has, and in which order."""

from __future__ import annotations

from skinclf.reporting._basic_sections import (
    classes_section,
    confusion_section,
    folds_section,
    intervals_section,
    origin_section,
    parameters_section,
    protocol_section,
    summary_section,
    training_section,
)
from skinclf.reporting._curve_sections import curves_section, operating_section
from skinclf.reporting._evaluation import Evaluation
from skinclf.reporting._guidelines import guideline_section
from skinclf.reporting._leak_section import leak_section
from skinclf.reporting._mistakes import mistakes_section
from skinclf.reporting._sections import Section
from skinclf.reporting._trust_sections import (
    abstention_section,
    calibration_section,
    conformal_section,
    subgroup_section,
)

_MAKERS = (
    summary_section,
    protocol_section,
    leak_section,
    classes_section,
    confusion_section,
    intervals_section,
    curves_section,
    operating_section,
    calibration_section,
    abstention_section,
    conformal_section,
    subgroup_section,
    mistakes_section,
    folds_section,
    training_section,
)


def make_sections(evaluation: Evaluation) -> tuple[Section, ...]:
    """Make every section for which there are data; checklists and origin come last."""
    sections = [section for make in _MAKERS if (section := make(evaluation)) is not None]
    sections.append(guideline_section(evaluation, [section.title for section in sections]))
    parameters = parameters_section(evaluation)
    return (*sections, *([] if parameters is None else [parameters]), origin_section(evaluation))
