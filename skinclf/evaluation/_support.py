"""What a figure rests on, in lesions, and the interval that follows where no bootstrap draw can move it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skinclf.evaluation import _confusion, _curves
from skinclf.evaluation._bounds import area_above_bound, clopper_pearson, f1_bound, precision_bound
from skinclf.evaluation._cases import Cases
from skinclf.evaluation._figures import Draw, FigureName, Tasks
from skinclf.evaluation._resampling import Lesions

Bound = tuple[float, float, str]
"""The ends of an interval, and the method that they come from."""


class Support:
    """Lesions that the figures of one data set rest on.

    Parameters
    ----------
    cases : Cases
        The images.
    lesions : Lesions
        What the bootstrap draws from.
    tasks : mapping of str to ndarray of bool
        The binary tasks.
    """

    def __init__(self, cases: Cases, lesions: Lesions, tasks: Tasks) -> None:
        self._cases = cases
        self._lesions = lesions
        self._tasks = tasks

    def n_lesions(self, name: FigureName) -> int:
        """Count the lesions in the denominator of a figure; of a ranking, those of its smaller side."""
        if name.kind in ("overall", "mean"):
            return self._lesions.n_groups
        positive = self._positive(name)
        if name.figure in _curves.FIGURES:
            return min(self._lesions.count(positive), self._lesions.count(~positive))
        called = self._cases.prediction == name.position
        denominator = {
            "sensitivity": positive,
            "specificity": ~positive,
            "ppv": called,
            "npv": ~called,
            "f1": positive | called,
            "sensitivity_at_95_specificity": positive,
            "specificity_at_95_sensitivity": ~positive,
        }
        return self._lesions.count(denominator[name.figure])

    def bound(self, name: FigureName, as_is: Draw, tail: float) -> Bound:
        """Return an interval that does not rest on draws.

        Parameters
        ----------
        name : FigureName
            A figure that has a value.
        as_is : Draw
            The figures of the images as they are.
        tail : float
            Probability left outside on each side.

        Returns
        -------
        low, high : float
            Its ends.
        method : str
            As in `bootstrap_table`.
        """
        estimate = float(as_is.value(name)[0])
        n = self.n_lesions(name)
        if name.figure == "balanced_accuracy":
            return self._mean_bound(FigureName("sensitivity", "macro", "mean"), as_is, tail)
        if name.kind == "mean":
            return self._mean_bound(name, as_is, tail)
        if name.figure == "f1":
            return (*f1_bound(estimate, n, tail), "clopper-pearson")
        if name.figure == "roc_auc":
            return (*clopper_pearson(estimate, n, tail), "pairs")
        if name.figure in _curves.FIGURES:
            return self._ranking_bound(name, as_is, tail)
        return (*clopper_pearson(estimate, n, tail), "clopper-pearson")

    def _ranking_bound(self, name: FigureName, as_is: Draw, tail: float) -> Bound:
        auc = FigureName("roc_auc", name.label, name.kind, name.position)
        auc_low = self.bound(auc, as_is, tail)[0]
        if name.figure == "average_precision":
            low = precision_bound(auc_low, float(self._positive(name).mean()))
        else:
            low = area_above_bound(auc_low, _curves.HIGH_SENSITIVITY)
        return min(low, float(as_is.value(name)[0])), 1.0, "pairs bound"

    def _mean_bound(self, name: FigureName, as_is: Draw, tail: float) -> Bound:
        """Take the mean of the bounds of the classes, each so much wider that all hold at once (Bonferroni)."""
        values = as_is.per_class(name.figure)[0]
        weights = _confusion.support(as_is.confusion)[0] if name.label == "weighted" else np.ones(values.size)
        weights = np.where(np.isnan(values), 0, weights)
        used = np.flatnonzero(weights)
        ends = [
            self.bound(FigureName(name.figure, kind="class", position=int(i)), as_is, tail / used.size)[:2]
            for i in used
        ]
        low, high = np.average(np.array(ends), axis=0, weights=weights[used])
        return float(low), float(high), "mean of bounds"

    def _positive(self, name: FigureName) -> NDArray[np.bool_]:
        if name.kind == "task":
            return np.asarray(self._tasks[name.label][self._cases.truth])
        return np.asarray(self._cases.truth == name.position)
