"""The average of a network's weights over its training, which is what is validated, restored and kept."""

from __future__ import annotations

from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn


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
    >>> from skinclf.estimator._weight_average import WeightAverage
    >>> layer = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
    >>> average = WeightAverage(layer.apply(lambda part: part.weight.fill_(0.0)))
    >>> average.update(layer.apply(lambda part: part.weight.fill_(1.0)))
    >>> average.copy_to(layer)
    >>> round(layer.weight.item(), 4)
    0.8182
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

    def copy_to(self, network: nn.Module) -> None:
        """Give a network the averaged weights.

        Parameters
        ----------
        network : torch.nn.Module
            The one that was copied.
        """
        network.load_state_dict(self._average)

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to go on, in a run that is resumed."""
        return {"n_updates": self.n_updates, "average": dict(self._average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.n_updates = state["n_updates"]
        for name, value in state["average"].items():
            self._average[name].copy_(value)


class AveragedWeights(Callback):
    """Train with the network's own weights; validate, save and end with their average.

    The average is in the network from the first validation batch of an epoch to the end of that epoch, so that all
    other callbacks, and early stopping, see the network that would be kept. It has to stand before them.

    Parameters
    ----------
    decay : float
        As for `WeightAverage`.

    Attributes
    ----------
    average_ : WeightAverage or None
        None after the training.
    own_ : dict or None
        The network's own weights while it has the average.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin with the weights of now."""
        self.average_: WeightAverage | None = WeightAverage(net.module_, self.decay)
        self.own_: dict[str, Tensor] | None = None

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Give the network its own weights back."""
        if self.own_ is not None:
            net.module_.load_state_dict(self.own_)
            self.own_ = None

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Validate the average; begin it with the weights that the first step begins with."""
        if not training:
            self._show(net)
        elif self.average_ is not None and self.average_.n_updates == 0:  # other callbacks may have set weights
            self.average_ = WeightAverage(net.module_, self.decay)

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Take the weights of this step into the average."""
        if training and self.average_ is not None:
            self.average_.update(net.module_)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Show the average to the other callbacks, where there was nothing to validate."""
        self._show(net)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Keep nothing; the network has the average, or the best one."""
        self.average_ = self.own_ = None

    def _show(self, net: Any) -> None:
        if self.own_ is None and self.average_ is not None:
            self.own_ = {name: value.detach().clone() for name, value in net.module_.state_dict().items()}
            self.average_.copy_to(net.module_)
