"""What the page says to the reporting guidelines for medical imaging and for prediction models.

The topics of the items are put in our own words; the guidelines are

- CLAIM 2024: A. S. Tejani et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update.
  Radiology: Artificial Intelligence 6(4), e240300, 2024. doi:10.1148/ryai.240300
- TRIPOD+AI: G. S. Collins et al. TRIPOD+AI statement: updated guidance for reporting clinical prediction models
  that use regression or machine learning methods. BMJ 385, e078378, 2024. doi:10.1136/bmj-2023-078378
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from skinclf.reporting._evaluation import Evaluation
from skinclf.reporting._protocol import describe_size
from skinclf.reporting._sections import Section, Text
from skinclf.reporting._tables import Table

CITATIONS = {
    "CLAIM 2024": "A. S. Tejani et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 "
    "Update. Radiology: Artificial Intelligence 6(4), e240300, 2024, doi:10.1148/ryai.240300.",
    "TRIPOD+AI": "G. S. Collins et al. TRIPOD+AI statement. BMJ 385, e078378, 2024, doi:10.1136/bmj-2023-078378.",
}

CLAIM = {
    "1": "title names the technique",
    "2": "structured abstract",
    "3": "background, intended use",
    "4": "aims and hypotheses",
    "5": "prospective or retrospective",
    "6": "goal of the study",
    "7": "source of the data",
    "8": "inclusion and exclusion",
    "9": "preprocessing",
    "10": "selection of data subsets",
    "11": "de-identification",
    "12": "missing data",
    "13": "how images were acquired",
    "14": "definition of the reference standard",
    "15": "why this reference standard",
    "16": "who annotated",
    "17": "annotation of the test set",
    "18": "agreement of annotators",
    "19": "how data were assigned to partitions",
    "20": "level at which partitions are disjoint",
    "21": "intended sample size",
    "22": "description of the model",
    "23": "software",
    "24": "initialisation of the model",
    "25": "training",
    "26": "how the final model was chosen",
    "27": "ensembles",
    "28": "metrics",
    "29": "uncertainty",
    "30": "robustness",
    "31": "explanations",
    "32": "evaluation on internal data",
    "33": "testing on external data",
    "34": "trial registration",
    "35": "numbers included and excluded",
    "36": "demographic and clinical characteristics",
    "37": "performance with its uncertainty",
    "38": "diagnostic performance and its precision",
    "39": "analysis of failures",
    "40": "limitations",
    "41": "implications for practice",
    "42": "full protocol",
    "43": "availability of software, model, data",
    "44": "funding",
}

TRIPOD = {
    "1": "title",
    "2": "abstract",
    "3a": "healthcare context",
    "3b": "target population and users",
    "3c": "known health inequalities",
    "4": "objectives",
    "5a": "source of the data",
    "5b": "dates of the data",
    "6a": "setting",
    "6b": "eligibility",
    "6c": "treatments",
    "7": "data preparation",
    "8a": "definition of the outcome",
    "8b": "who assessed the outcome",
    "8c": "blinding",
    "9a": "choice of predictors",
    "9b": "definition of predictors",
    "9c": "who assessed predictors",
    "10": "sample size",
    "11": "missing data",
    "12a": "how data were used and partitioned",
    "12b": "handling of predictors",
    "12c": "type of model, building, internal validation",
    "12d": "differences between clusters",
    "12e": "measures of performance",
    "12f": "updating of the model",
    "12g": "how predictions were calculated",
    "13": "class imbalance",
    "14": "fairness",
    "15": "output of the model",
    "16": "training against evaluation data",
    "17": "ethical approval",
    "18a": "funding",
    "18b": "conflicts of interest",
    "18c": "protocol",
    "18d": "registration",
    "18e": "data sharing",
    "18f": "code sharing",
    "19": "patient and public involvement",
    "20a": "flow of participants",
    "20b": "characteristics",
    "20c": "comparison with the development data",
    "21": "numbers in each analysis",
    "22": "specification of the model",
    "23a": "performance with intervals, subgroups",
    "23b": "differences between clusters",
    "24": "results of updating",
    "25": "interpretation",
    "26": "limitations",
    "27a": "poor or missing input in use",
    "27b": "interaction with users",
    "27c": "next steps",
}

LESION_LEVEL = (
    "Lesion-level, not patient-level: the data name lesions but no patients, so that two lesions of one patient "
    "may be on both sides."
)


@dataclass(frozen=True)
class _Facts:
    """What the answers depend on."""

    evaluation: Evaluation
    titles: Collection[str]

    def see(self, *titles: str) -> str:
        """Return "See Classes, Folds." of those sections that the page has, or nothing."""
        present = [title for title in titles if title in self.titles]
        return f"See {', '.join(present)}." if present else ""

    def column(self, *names: str) -> bool:
        """Whether something is known of the images."""
        frame = self.evaluation.predictions.frame
        return frame is not None and any(name in frame.columns for name in names)


def guideline_section(evaluation: Evaluation, titles: Collection[str]) -> Section:
    """Answer the items that the numbers of the report can answer, and name all others.

    Parameters
    ----------
    evaluation : Evaluation
        What is known.
    titles : collection of str
        The sections that the page has.

    Returns
    -------
    Section
        With a table of answers and a list of open items for each guideline.
    """
    facts = _Facts(evaluation, {*titles, "Parameters"} if evaluation.parameters else titles)
    guidelines = {
        "CLAIM 2024": (CLAIM, _claim_answers(facts)),
        "TRIPOD+AI": (TRIPOD, _tripod_answers(facts)),
    }
    blocks: list[Text | Table] = [
        Text(
            (
                "What follows was filled in from the numbers of this report. It is a help for authors and "
                "reviewers, and does not make the study comply: most items are for people to write.",
            )
        )
    ]
    data = {}
    for name, (topics, answers) in guidelines.items():
        answered = {item: answer.strip() for item, answer in answers.items() if answer}
        blocks += [_answer_table(name, topics, answered), Text((_open_items(name, topics, answered),))]
        data[name] = {
            "source": CITATIONS[name],
            "items": {item: {"topic": topic, "answer": answered.get(item)} for item, topic in topics.items()},
        }
    blocks.append(Text(tuple(f"{name}: {citation}" for name, citation in CITATIONS.items()), "list"))
    return Section("Reporting guidelines", tuple(blocks), {"guidelines": data})


def _answer_table(name: str, topics: Mapping[str, str], answered: Mapping[str, str]) -> Table:
    rows = tuple((item, topic, answered[item]) for item, topic in topics.items() if item in answered)
    return Table(f"{name}, items that this page answers", ("item", "asks for", "this page"), rows, kind="words")


def _open_items(name: str, topics: Mapping[str, str], answered: Mapping[str, str]) -> str:
    items = ", ".join(f"{item} ({topic})" for item, topic in topics.items() if item not in answered)
    return f"{name}, not reported by this page: {items}."


def _size(facts: _Facts) -> str:
    return f"{describe_size(facts.evaluation.metrics.n_images, facts.evaluation.n_lesions)} were tested."


def _level(facts: _Facts) -> str:
    evaluation = facts.evaluation
    if evaluation.predictions.groups is None:
        return "Not known: neither patients nor lesions are named."
    if evaluation.result is None:
        return "Not known: the predictions were handed in. Lesions are named, patients are not."
    if len(evaluation.result.leaks):
        return "None: photos of one lesion are on both sides of a fold; see the warning at the top."
    return LESION_LEVEL


def _interval_method(facts: _Facts) -> str:
    settings, by_lesion = facts.evaluation.settings, facts.evaluation.predictions.groups is not None
    unit = "lesions" if by_lesion else "images"
    return f"{settings.confidence * 100:g} % intervals from {settings.n_draws:,} bootstrap draws of {unit}."


def _metrics(facts: _Facts) -> str:
    with_scores = (
        ", areas under ROC and precision-recall curves" if facts.evaluation.predictions.proba is not None else ""
    )
    return (
        "Balanced accuracy (the mean sensitivity of the classes) first, then accuracy; for each class "
        f"sensitivity, specificity, predictive values and F1{with_scores}; null models beside them."
    )


def _internal(facts: _Facts) -> str:
    result = facts.evaluation.result
    return "" if result is None else f"Cross-validation with {result.n_folds} folds. See Protocol, Folds."


def _claim_answers(facts: _Facts) -> dict[str, str]:
    evaluation = facts.evaluation
    is_cross_validation = evaluation.result is not None
    return {
        "9": facts.see("Parameters") and "As far as the parameters show it. " + facts.see("Parameters"),
        "12": facts.see("Subgroups")
        and "Images of unknown age, sex or site are counted as such. " + facts.see("Subgroups"),
        "14": "The way of diagnosis of each image is known. " + facts.see("Subgroups")
        if facts.column("dx_type") and "Subgroups" in facts.titles
        else "",
        "19": facts.see("Protocol") if is_cross_validation else "",
        "20": _level(facts),
        "22": facts.see("Parameters") and "Its parameters, not its layers. " + facts.see("Parameters"),
        "23": "See Versions and machine.",
        "25": facts.see("Parameters", "Training", "Folds"),
        "26": "By early stopping inside the training part. See Protocol."
        if any("Early stopping" in sentence for sentence in evaluation.protocol.sentences)
        else "",
        "28": _metrics(facts),
        "29": _interval_method(facts),
        "30": facts.see("Subgroups") and "By subgroup only. " + facts.see("Subgroups"),
        "32": _internal(facts),
        "35": _size(facts) + " Who was excluded before is not known here.",
        "36": facts.see("Subgroups"),
        "37": facts.see("Summary", "Classes", "Subgroups"),
        "38": facts.see("Classes", "Intervals", "ROC and precision-recall", "Operating points", "Calibration"),
        "39": facts.see("Confusion matrix", "Most confident mistakes"),
    }


def _tripod_answers(facts: _Facts) -> dict[str, str]:
    evaluation = facts.evaluation
    classes = ", ".join(str(label) for label in evaluation.metrics.labels)
    probabilities = " and a probability for each class" if evaluation.predictions.probabilities is not None else ""
    return {
        "8a": f"One of {evaluation.metrics.labels.size} classes: {classes}.",
        "10": _size(facts) + " Whether a size was planned is not known here.",
        "11": facts.see("Subgroups")
        and "Images of unknown age, sex or site are counted as such. " + facts.see("Subgroups"),
        "12a": facts.see("Protocol") if evaluation.result is not None else "",
        "12c": facts.see("Protocol", "Parameters") if evaluation.result is not None else "",
        "12e": "As CLAIM item 28.",
        "13": "Balanced accuracy counts every class alike; what training did is among the parameters. "
        + facts.see("Classes", "Parameters"),
        "14": facts.see("Subgroups"),
        "15": f"A class{probabilities}. " + facts.see("Operating points"),
        "16": "None by design: the folds are parts of one data set." if evaluation.result is not None else "",
        "20a": _size(facts),
        "20b": facts.see("Subgroups"),
        "21": facts.see("Classes", "Folds", "Subgroups"),
        "23a": facts.see("Summary", "Classes", "Subgroups", "Calibration"),
    }
