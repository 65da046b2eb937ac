"""Cross-entropy in which every image has a weight."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    """Mean over the batch of weight times cross-entropy.

    The sum is divided by the number of images, not by the sum of their weights: with weights whose mean over the
    training set is 1, a batch's gradient is an unbiased estimate of the whole set's, whichever classes it holds.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share of each target that is spread evenly over all classes; in training mode only.

    Examples
    --------
    >>> import torch
    >>> from skinclf.models import WeightedCrossEntropy
    >>> logits, weight = torch.zeros(2, 7), torch.tensor([1.0, 3.0])
    >>> loss = WeightedCrossEntropy()((logits, weight), torch.tensor([0, 1]))
    >>> round(float(loss / torch.log(torch.tensor(7.0))), 6)
    2.0
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing=label_smoothing)

    def forward(self, input: Tensor | tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input : Tensor (n_images, n_classes), or that and Tensor (n_images,)
            Logits, and a weight for each image (1 where none is given).
        target : Tensor of int64, shape (n_images,), or of float, shape (n_images, n_classes)
            Class numbers; or soft targets, as of mixed images: for each image a distribution over the classes,
            with non-negative values that add up to 1.

        Returns
        -------
        Tensor, shape ()
            Non-negative.
        """
        logits, weight = input if isinstance(input, tuple) else (input, None)
        smoothing = self.label_smoothing if self.training else 0.0
        losses = functional.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
        return losses.mean() if weight is None else (losses * weight).mean()
