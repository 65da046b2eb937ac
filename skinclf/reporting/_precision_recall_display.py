"""Precision-recall curves, one class against the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from skinclf.reporting._class_curves import ClassCurvesDisplay, Curve
from skinclf.reporting._palette import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LesionPrecisionRecallDisplay(ClassCurvesDisplay):
    """Precision-recall curves: how much of what is taken for a class is of it, against how much of it is found.

    One curve for each class against the others; the legend has the average precision with an interval from a
    bootstrap over lesions. A guess has the share of the class among the images, marked by a short line at the
    right edge: what counts is how far above its own mark a curve is. It holds the numbers; `plot` draws them.
    Make it with `from_predictions`, `from_estimator` or `from_cross_validation`, which also draw.

    Parameters
    ----------
    curves : mapping of str to (ndarray, ndarray)
        Of each class: sensitivity (recall), and positive predictive value (precision), both 0–1.
    areas : DataFrame
        A row for each of these classes; columns ``estimate``, ``low`` and ``high`` (average precision and its
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
    LesionRocDisplay : Sensitivity against specificity, whatever the shares of the classes.

    Examples
    --------
    >>> from skinclf.reporting import LesionPrecisionRecallDisplay
    >>> y_true = ["mel", "nv", "mel", "nv"] * 5
    >>> y_proba = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4]] * 5
    >>> display = LesionPrecisionRecallDisplay.from_predictions(y_true, y_proba, n_draws=100)
    >>> display.areas.loc["mel", ["estimate", "prevalence"]].round(3).tolist()
    [0.833, 0.5]
    """

    metric = "average_precision"

    @classmethod
    def points(cls, is_class: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
        """Compute sensitivity and precision at every threshold.

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
        precision, recall, _ = precision_recall_curve(is_class, scores, drop_intermediate=True)
        return recall, precision

    def _draw_chance(self, ax: Axes) -> None:
        for number, (line, prevalence) in enumerate(zip(self.lines_, self.areas["prevalence"], strict=True)):
            # Average precision is the area below steps, not below a polyline.
            line.set_drawstyle("steps-post")
            ax.plot(
                [1.015, 1.05],
                [prevalence, prevalence],
                color=style_of(number).color,
                linewidth=2,
                clip_on=False,
                solid_capstyle="butt",
            )
        ax.set(xlabel="Sensitivity (recall)", ylabel="Precision (PPV)")
