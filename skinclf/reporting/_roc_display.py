"""ROC curves, one class against the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from skinclf.reporting._class_curves import ClassCurvesDisplay, Curve
from skinclf.reporting._palette import GRID_COLOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LesionRocDisplay(ClassCurvesDisplay):
    """ROC curves: how many of a class are found, against how many of the others are taken for it.

    One curve for each class against the others; the legend has the area under it (0.5 is a guess, 1 is perfect)
    with an interval from a bootstrap over lesions. It holds the numbers; `plot` draws them. Make it with
    `from_predictions`, `from_estimator` or `from_cross_validation`, which also draw.

    Parameters
    ----------
    curves : mapping of str to (ndarray, ndarray)
        Of each class: 1 - specificity, and sensitivity, both 0–1.
    areas : DataFrame
        A row for each of these classes; columns ``estimate``, ``low`` and ``high`` (area under the curve and its
        interval, NaN where it is not known) and ``prevalence`` (share of the images).

    Attributes
    ----------
    curves : dict of str to (ndarray, ndarray)
    areas : DataFrame
    ax_ : matplotlib Axes
        Once drawn.
    figure_ : matplotlib Figure
        Once drawn.
    lines_ : list of matplotlib Line2D
        One for each class; once drawn.

    Raises
    ------
    ValueError
        If the classes of `areas` are others than those of `curves`, or a curve is not two arrays of the same
        length.

    See Also
    --------
    LesionPrecisionRecallDisplay : For rare classes, of which a ROC curve gives too good an impression.

    Examples
    --------
    >>> from skinclf.reporting import LesionRocDisplay
    >>> y_true = ["mel", "nv", "mel", "nv"] * 5
    >>> y_proba = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4]] * 5
    >>> display = LesionRocDisplay.from_predictions(y_true, y_proba, n_draws=100)
    >>> float(display.areas.loc["mel", "estimate"])
    0.75
    """

    metric = "roc_auc"

    @classmethod
    def points(cls, is_class: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
        """Compute 1 - specificity and sensitivity at every threshold.

        Parameters
        ----------
        is_class : ndarray of bool, shape (n_images,)
            Which images are of the class.
        scores : ndarray of float64, shape (n_images,)
            The score of the class.

        Returns
        -------
        tuple of ndarray of float64
            The x and the y of each point, both 0–1.
        """
        false_positive_rate, sensitivity, _ = roc_curve(is_class, scores)
        return false_positive_rate, sensitivity

    def _draw_chance(self, ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=GRID_COLOR, linewidth=1.0, zorder=1)
        ax.set(xlabel="1 − specificity", ylabel="Sensitivity")
