"""Rates that fall from the head down, decay of matrices only, and the head before the body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skorch.callbacks import Callback
from torch import nn


def parameter_groups(
    network: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    head: Sequence[str] = (),
    lower: float = 1.0,
    n_bands: int = 3,
) -> list[dict[str, Any]]:
    """Sort the parameters of a network by learning rate and weight decay.

    The body, which is everything but the head, is cut into bands of about as many tensors, in the order in which
    its layers are defined. Biases and the scales of norms are not decayed: to pull them to 0 does not make a
    network simpler.

    Parameters
    ----------
    network : torch.nn.Module
        Frozen parameters are left out.
    lr : float
        Rate of the head, and of everything with ``lower=1``.
    weight_decay : float
        Of matrices and kernels.
    head : sequence of str, default=()
        Names of the output layer, and of what else begins with new weights.
    lower : float, default=1.0
        By how much the rate falls from the head to the band below it, and from band to band; in (0, 1].
    n_bands : int, default=3
        Number of bands, from 1 on.

    Returns
    -------
    list of dict
        ``params``, ``lr`` and ``weight_decay``, as optimisers of torch take them; the lowest band comes first, and
        no group is empty. A schedule such as ``OneCycleLR`` needs ``max_lr=[group["lr"] for group in groups]``.

    Raises
    ------
    ValueError
        If `lower` or `n_bands` is out of range, or there is no such head.

    References
    ----------
    Howard and Ruder, "Universal language model fine-tuning for text classification", ACL 2018 (rates that fall
    from layer to layer). He et al., "Bag of tricks for image classification", CVPR 2019 (no decay of biases and
    norms).

    Examples
    --------
    >>> from skinclf.estimator._fine_tuning import parameter_groups
    >>> from skinclf.models import lesion_cnn
    >>> groups = parameter_groups(lesion_cnn((8, 8, 3), 2), lr=0.4, weight_decay=0.1, head=["output"], lower=0.5)
    >>> [(group["lr"], group["weight_decay"]) for group in groups[-2:]]
    [(0.4, 0.1), (0.4, 0.0)]
    """
    if not 0 < lower <= 1:
        raise ValueError(f"lower must be in (0, 1]; got {lower!r}.")
    if n_bands < 1:
        raise ValueError(f"n_bands must be at least 1; got {n_bands!r}.")
    names = [name for name, _ in network.named_parameters()]
    body = [name for name in names if not _is_in(name, head)]
    if head and len(body) == len(names):
        raise ValueError(
            f"The network has no layer {' or '.join(map(repr, head))} with parameters to be its head."
        )
    band = {name: i * n_bands // len(body) for i, name in enumerate(body)}
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            level, is_decayed = band.get(name, n_bands), parameter.ndim > 1
            options = {
                "lr": lr * lower ** (n_bands - level if head else n_bands - 1 - level),
                "weight_decay": weight_decay if is_decayed else 0.0,
            }
            groups.setdefault((level, not is_decayed), {"params": [], **options})["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _is_in(name: str, layers: Sequence[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


class HeadFirst(Callback):
    """Train the head alone in the first epochs, so that its random weights do not disturb what the body knows.

    The body runs in evaluation in these epochs: the statistics of its norms stay as they are, too. Which epochs
    those are depends on their number only, so that a resumed run does the same.

    Parameters
    ----------
    head : sequence of str
        Names of the output layer, and of what else begins with new weights, in ``net.module_.network``.
    epochs : int, default=1
        How many.

    Attributes
    ----------
    body_ : list of str
        Names of the parameters that are frozen meanwhile.

    References
    ----------
    Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR 2022.
    """

    def __init__(self, head: Sequence[str], epochs: int = 1) -> None:
        self.head = head
        self.epochs = epochs

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Note what is trained at all."""
        self.body_ = [
            name
            for name, parameter in net.module_.network.named_parameters()
            if parameter.requires_grad and not _is_in(name, self.head)
        ]

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Freeze the body, or let it go."""
        self._freeze(net, is_frozen=net.history[-1, "epoch"] <= self.epochs)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Leave nothing frozen that was not before."""
        self._freeze(net, is_frozen=False)

    def _freeze(self, net: Any, *, is_frozen: bool) -> None:
        for name in self.body_:
            net.module_.network.get_parameter(name).requires_grad_(not is_frozen)
        net.module_.trained_alone = tuple(self.head) if is_frozen else ()
