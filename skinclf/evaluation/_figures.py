"""Every figure of an evaluation by its name, of the images as they are or of many bootstrap draws at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from skinclf.evaluation import _confusion, _curves
from skinclf.evaluation._cases import Cases
from skinclf.evaluation._confusion import FloatArray, divide, mean_of_defined
from skinclf.evaluation._curves import Ranking

AT = 0.95
"""Specificity, and sensitivity, of the operating points that are among the figures."""

MEANS = ("macro", "weighted")
OPERATING = ("sensitivity_at_95_specificity", "specificity_at_95_sensitivity")

Tasks = Mapping[str, NDArray[np.bool_]]
"""Binary tasks by name; each says which classes are positive, bool of shape (n_classes,)."""


@dataclass(frozen=True)
class FigureName:
    """A figure and what it is of: a class, the mean of all, a binary task, or (empty) all images."""

    figure: str
    label: str = ""
    kind: str = "overall"
    position: int = -1

    def __str__(self) -> str:
        return f"{self.figure}:{self.label}" if self.label else self.figure


def list_figures(cases: Cases, tasks: Tasks) -> list[FigureName]:
    """List all figures that these predictions have, in the order of a report."""
    per_class = [*_confusion.PER_CLASS, *(_curves.FIGURES if cases.scores is not None else ())]
    names = [FigureName(figure) for figure in _confusion.OVERALL]
    for figure in per_class:
        labels = [str(label) for label in cases.classes.tolist()]
        names += [FigureName(figure, label, "class", position) for position, label in enumerate(labels)]
        names += [FigureName(figure, mean, "mean") for mean in MEANS]
    if cases.scores is not None:
        names += [FigureName(figure, task, "task") for task in tasks for figure in (*_curves.FIGURES, *OPERATING)]
    return names


@dataclass(eq=False)
class Figures:
    """Computes figures for weights of images.

    Parameters
    ----------
    cases : Cases
        The images.
    members : sparse array of shape (n_images, n_weights) or None
        How much each weight counts for each image; None: each image has its own.
    tasks : mapping of str to ndarray of bool, default=no tasks
        The binary tasks.
    """

    cases: Cases
    members: Any = None
    tasks: Tasks = field(default_factory=dict)
    _rankings: dict[tuple[str, Any], Ranking] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        n_images, k = self.cases.truth.size, self.cases.classes.size
        ones = (np.ones(n_images), (self.cases.cells, np.arange(n_images)))
        cells = sparse.csr_array(ones, shape=(k * self.cases.n_columns, n_images))
        self._cells = cells if self.members is None else (cells @ self.members).tocsr()

    def confusion(self, weights: FloatArray) -> FloatArray:
        """Return confusion matrices, float64 of shape (n_draws, n_classes, n_columns)."""
        shape = (-1, self.cases.classes.size, self.cases.n_columns)
        return np.ascontiguousarray((self._cells @ weights).T).reshape(shape)

    def ranking(self, name: FigureName) -> Ranking:
        """Return the ranking of the images by the score of a class, or of a task; made once."""
        key = (name.kind, name.label if name.kind == "task" else name.position)
        if key not in self._rankings:
            if self.cases.scores is None:
                raise ValueError(f"{name} needs y_proba, the scores of the classes; got None.")
            columns = (
                self.tasks[name.label]
                if name.kind == "task"
                else np.arange(self.cases.classes.size) == name.position
            )
            scores = self.cases.scores[:, columns].sum(axis=1)
            self._rankings[key] = Ranking(columns[self.cases.truth], scores, self.members)
        return self._rankings[key]

    def draw(self, weights: FloatArray) -> Draw:
        """Return the figures of weights of shape (n_weights, n_draws)."""
        return Draw(self, weights)


class Draw:
    """The figures of one array of weights, each computed when it is asked for; see `Figures`."""

    def __init__(self, figures: Figures, weights: FloatArray) -> None:
        self._figures = figures
        self._weights = weights
        self.confusion = figures.confusion(weights)
        self._cache: dict[Any, Any] = {}

    def value(self, name: FigureName) -> FloatArray:
        """Return one figure, shape (n_draws,); NaN where it is not defined."""
        if name.kind == "overall":
            return _confusion.OVERALL[name.figure](self.confusion)
        if name.kind == "mean":
            return self._mean(name)
        if name.figure in _confusion.PER_CLASS:
            return self.per_class(name.figure)[:, name.position]
        return self._ranked(name)[name.figure]

    def per_class(self, figure: str) -> FloatArray:
        """Return a figure of every class, shape (n_draws, n_classes)."""
        if figure not in self._cache:
            if figure in _confusion.PER_CLASS:
                self._cache[figure] = _confusion.PER_CLASS[figure](self.confusion)
            else:
                classes = range(self._figures.cases.classes.size)
                ranked = [self._ranked(FigureName(figure, kind="class", position=i))[figure] for i in classes]
                self._cache[figure] = np.stack(ranked, axis=1)
        values: FloatArray = self._cache[figure]
        return values

    def _mean(self, name: FigureName) -> FloatArray:
        values = self.per_class(name.figure)
        if name.label == "macro":
            return mean_of_defined(values)
        support = _confusion.support(self.confusion)
        defined = ~np.isnan(values)
        total = np.sum(np.where(defined, values, 0) * support, axis=1)
        return divide(total, np.sum(support * defined, axis=1))

    def _ranked(self, name: FigureName) -> dict[str, FloatArray]:
        """Return all figures of the ranking by a class, or a task; computed once."""
        key = (name.kind, name.label if name.kind == "task" else name.position)
        if key not in self._cache:
            sums = self._figures.ranking(name).measure(self._weights)
            found = sums.figures()
            if name.kind == "task":
                found |= dict(
                    zip(OPERATING, (sums.sensitivity_at(AT)[0], sums.specificity_at(AT)[0]), strict=True)
                )
            self._cache[key] = found
        figures: dict[str, FloatArray] = self._cache[key]
        return figures
