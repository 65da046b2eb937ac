"""Pieces of a fine-tuning: groups of parameters, the head before the body, and averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn


def parameter_groups(
    network: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    head: str | None = None,
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
    head : str, default=None
        Name of the output layer.
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
    >>> from skinclf.estimator._recipe import parameter_groups
    >>> from skinclf.models import lesion_cnn
    >>> groups = parameter_groups(lesion_cnn((8, 8, 3), 2), lr=0.4, weight_decay=0.1, head="output", lower=0.5)
    >>> [(group["lr"], group["weight_decay"]) for group in groups[-2:]]
    [(0.4, 0.1), (0.4, 0.0)]
    """
    if not 0 < lower <= 1:
        raise ValueError(f"lower must be in (0, 1]; got {lower!r}.")
    if n_bands < 1:
        raise ValueError(f"n_bands must be at least 1; got {n_bands!r}.")
    names = [name for name, _ in network.named_parameters()]
    body = [name for name in names if not _is_in(name, head)]
    if head is not None and len(body) == len(names):
        raise ValueError(f"The network has no layer {head!r} with parameters to be its head.")
    band = {name: i * n_bands // len(body) for i, name in enumerate(body)}
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            level, is_decayed = band.get(name, n_bands), parameter.ndim > 1
            options = {
                "lr": lr * lower ** (n_bands - level if head is not None else n_bands - 1 - level),
                "weight_decay": weight_decay if is_decayed else 0.0,
            }
            groups.setdefault((level, not is_decayed), {"params": [], **options})["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _is_in(name: str, layer: str | None) -> bool:
    return layer is not None and name.startswith(f"{layer}.")


class HeadFirst(Callback):
    """Train the head alone in the first epochs, so that its random weights do not disturb what the body knows.

    The body runs in evaluation in these epochs: the statistics of its norms stay as they are, too. Which epochs
    those are depends on their number only, so that a resumed run does the same.

    Parameters
    ----------
    head : str
        Name of the output layer in ``net.module_.network``.
    epochs : int, default=1
        How many.

    References
    ----------
    Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR 2022.
    """

    def __init__(self, head: str, epochs: int = 1) -> None:
        self.head = head
        self.epochs = epochs

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Note what is trained at all."""
        self.body_ = [
            parameter
            for name, parameter in net.module_.network.named_parameters()
            if parameter.requires_grad and not _is_in(name, self.head)
        ]

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Freeze the body, or let it go."""
        self._freeze(is_frozen=net.history[-1, "epoch"] <= self.epochs)

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Put the body of a frozen network into evaluation; skorch has put all of it into training."""
        if training and net.history[-1, "epoch"] <= self.epochs:
            hold_body(net.module_.network, self.head)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Leave nothing frozen that was not before."""
        self._freeze(is_frozen=False)

    def _freeze(self, *, is_frozen: bool) -> None:
        for parameter in self.body_:
            parameter.requires_grad_(not is_frozen)


def hold_body(network: nn.Module, head: str) -> None:
    """Put everything but the head into evaluation, as far as it has no part that holds the head.

    Parameters
    ----------
    network : torch.nn.Module
        In training.
    head : str
        Name of the output layer.
    """
    for name, module in network.named_modules():
        if name != head and not _is_in(name, head) and not any(True for _ in module.children()):
            module.eval()


class WeightAverage:
    """An exponential moving average of the weights of a network, which generalises better than the last ones.

    Early on the average forgets faster, so that it does not hold on to the first weights: after n updates the
    decay is ``min(decay, (1 + n) / (10 + n))``.

    Parameters
    ----------
    network : torch.nn.Module
        Whose weights and buffers are copied now.
    decay : float, default=0.999
        Share of the average that an update keeps; in [0, 1).

    Attributes
    ----------
    n_updates : int
        How often `update` was called.

    References
    ----------
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992. The faster beginning is
    that of TensorFlow's ``ExponentialMovingAverage``.

    Examples
    --------
    >>> import torch
    >>> from skinclf.estimator._recipe import WeightAverage
    >>> layer = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
    >>> average = WeightAverage(layer.apply(lambda part: part.weight.fill_(0.0)))
    >>> average.update(layer.apply(lambda part: part.weight.fill_(1.0)))
    >>> with average.applied(layer):
    ...     round(layer.weight.item(), 4)
    0.8182
    >>> layer.weight.item()
    1.0
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1); got {decay!r}.")
        self.decay = decay
        self.n_updates = 0
        self._average = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the present weights into the average; counts and other integers are copied.

        Parameters
        ----------
        network : torch.nn.Module
            The one that was copied.
        """
        self.n_updates += 1
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        own = network.state_dict()
        is_float = {name: value.is_floating_point() for name, value in own.items()}
        floats = [name for name in own if is_float[name]]
        torch._foreach_lerp_([self._average[n] for n in floats], [own[n] for n in floats], 1 - decay)
        for name in own.keys() - {*floats}:
            self._average[name].copy_(own[name])

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Give a network the averaged weights inside the block, and its own back afterwards.

        Parameters
        ----------
        network : torch.nn.Module
            The one that was copied.
        """
        own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self._average)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to go on, in a run that is resumed."""
        return {"n_updates": self.n_updates, "average": dict(self._average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.n_updates = state["n_updates"]
        average: dict[str, Tensor] = state["average"]
        self._average = {name: value.detach().clone() for name, value in average.items()}
