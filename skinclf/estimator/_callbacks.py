"""Our skorch callbacks: validation scores, the best weights, the guard against NaN, and the progress bar."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback, Checkpoint, EarlyStopping
from tqdm import tqdm

HIGHER_IS_BETTER = {"valid_loss": False, "valid_accuracy": True, "valid_balanced_accuracy": True}
"""What `ValidationScores` records."""

NO_VALIDATION_SET = "there is no validation set (early_stopping=False, partial_fit, or no lesion to put aside)"


class ValidationScores(Callback):
    """Record loss, accuracy and balanced accuracy of the whole validation set after every epoch.

    skorch's own ``valid_loss`` averages the means of the batches; this one is the weighted mean over all images.
    Balanced accuracy is the mean recall of the classes that the validation set holds. Beside each score stands, as
    skorch's callbacks expect it, whether it is the best one so far: ``valid_loss_best`` and so on.
    """

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the epoch before."""
        self._forget()

    def _forget(self) -> None:
        self.losses_: list[float] = []
        self.weights_: list[float] = []
        self.predicted_: list[torch.Tensor] = []
        self.labels_: list[torch.Tensor] = []

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Collect a validation batch."""
        if training:
            return
        inputs, labels = batch
        logits = kwargs["y_pred"][0] if isinstance(kwargs["y_pred"], tuple) else kwargs["y_pred"]
        weight = inputs.get("weight")
        self.losses_.append(float(kwargs["loss"]) * len(labels))
        self.weights_.append(len(labels) if weight is None else float(weight.sum()))
        self.predicted_.append(logits.argmax(dim=1).cpu())
        self.labels_.append(labels.cpu())

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the scores into the history."""
        if not self.labels_:
            return
        labels, predicted = torch.cat(self.labels_).numpy(), torch.cat(self.predicted_).numpy()
        correct = labels == predicted
        recalls = [correct[labels == label].mean() for label in np.unique(labels)]
        scores = {
            "valid_loss": sum(self.losses_) / max(sum(self.weights_), 1e-12),
            "valid_accuracy": float(correct.mean()),
            "valid_balanced_accuracy": float(np.mean(recalls)),
        }
        for name, score in scores.items():
            earlier = [row[name] for row in net.history[:-1] if name in row]
            net.history.record(name, score)
            net.history.record(f"{name}_best", is_best(score, earlier, higher_is_better=HIGHER_IS_BETTER[name]))
        self._forget()  # a checkpoint of this moment need not hold them


def is_best(score: float, earlier: list[float], *, higher_is_better: bool) -> bool:
    """Whether a score is better than all before it; NaN is worse than anything."""
    if math.isnan(score):
        return False
    before = [value for value in earlier if not math.isnan(value)]
    return all(score > value if higher_is_better else score < value for value in before)


class BestWeights(Callback):
    """Restore the weights of the best epoch when training ends, before any other callback looks at the network.

    Early stopping itself comes last in every epoch, so that all callbacks see the epoch at which it stops. At the
    end that would be too late: what a user's callback saves then would be the weights of the last epoch.

    A callback of the user with ``load_best=True`` has been asked for by name, and goes before the early stopping
    of the classifier; of several such callbacks the last one decides.

    Attributes
    ----------
    epoch_ : int
        The epoch, from 1, whose weights the network has.
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin with none."""
        self.epoch_ = 0

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Load the weights, and let go of them."""
        keepers = [
            (name == "early_stopping", callback)
            for name, callback in net.callbacks_
            if isinstance(callback, EarlyStopping | KeptWeights) and callback.load_best
        ]
        keepers.sort(key=lambda keeper: not keeper[0])  # the classifier's own first, the others as they were given
        last = int(net.history[-1, "epoch"])
        # A run that had ended before has its best weights back already, and the number of their epoch.
        self.epoch_ = self.epoch_ or last
        for is_own, keeper in reversed(keepers):
            if is_own and net.history[-1].get(f"{keeper.monitor}_best", False):
                self.epoch_ = last  # which it has not seen, if a callback before it has ended the training
                break
            if getattr(keeper, "best_model_weights_", None) is not None:
                net.module_.load_state_dict(keeper.best_model_weights_)
                self.epoch_ = int(keeper.best_epoch_)
                break
        for _, keeper in keepers:
            keeper.best_model_weights_ = None


class KeptWeights(Callback):
    """Keep in memory the weights that a ``Checkpoint(load_best=True)`` saves; it stands right behind it.

    skorch loads the file when training ends, whoever has written it: the fold before, another process, or a run of
    last week, if the monitor never was true in this one. Weights in memory are those of this fit.

    Parameters
    ----------
    name : str
        Of the `Checkpoint`.
    checkpoint : skorch.callbacks.Checkpoint
        Whose ``event_name`` tells when it saves.
    hide_event : bool
        Whether the event is to be taken out of the history, where the user does not want it.
    """

    load_best = True

    def __init__(self, name: str, checkpoint: Checkpoint, *, hide_event: bool) -> None:
        self.name = name
        self.checkpoint = checkpoint
        self.hide_event = hide_event

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin with nothing."""
        self.best_epoch_ = 0
        self.best_model_weights_: dict[str, torch.Tensor] | None = None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Copy the weights if they have just been saved."""
        event = self.checkpoint.event_name
        if net.history[-1].get(event):
            self.best_epoch_ = net.history[-1, "epoch"]
            self.best_model_weights_ = copy.deepcopy(net.module_.state_dict())
        if self.hide_event:
            net.history[-1].pop(event, None)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Say so if there was nothing to restore."""
        if self.best_epoch_ == 0:
            warnings.warn(
                f"Callback {self.name!r} has load_best=True and saved in none of {len(net.history)} epochs: its "
                f"monitor {self.checkpoint.monitor!r} was never true. Nothing was loaded, above all no file that "
                "another fit may have left there.",
                UserWarning,
                stacklevel=2,
            )


class LossGuard(Callback):
    """Stop a run whose loss is not finite; skorch would go on, and predict the first class for ever after."""

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Look at the loss that skorch has just recorded."""
        if training and not math.isfinite(net.history[-1, "batches", -1, "train_loss"]):
            epoch, batch = net.history[-1, "epoch"], len(net.history[-1, "batches"])
            loss = net.history[-1, "batches", -1, "train_loss"]
            raise FloatingPointError(
                f"The training loss became {loss} in epoch {epoch}, batch {batch}. "
                f"Try a lower lr (now {highest_rate(net.optimizer_):.3g}), look for extreme values "
                "in X or sample_weight, or set mixed_precision=False."
            )


def highest_rate(optimizer: torch.optim.Optimizer) -> float:
    """Return the learning rate of the head; that of lower layers may be lower."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


class LearningRate(Callback):
    """Record the learning rate that an epoch begins with."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Write it into the history."""
        net.history.record("lr", highest_rate(net.optimizer_))


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar that is not watched: tqdm's thread for that outlives every fit, and ends in no fork."""

    monitor_interval = 0


class EpochProgress(Callback):
    """A progress bar over the epochs, on standard error.

    Parameters
    ----------
    n_epochs : int
        How many there will be at most.
    """

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def on_train_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Draw the bar."""
        self.bar_ = _Bar(total=self.n_epochs, unit="epoch", file=sys.stderr, leave=True, dynamic_ncols=True)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Move the bar, and show the latest scores beside it."""
        last = net.history[-1]
        names = {
            "train_loss": "loss",
            "valid_loss": "valid loss",
            "valid_balanced_accuracy": "balanced accuracy",
        }
        self.bar_.set_postfix({names[key]: f"{last[key]:.3f}" for key in names if key in last}, refresh=False)
        self.bar_.update()

    def close(self) -> None:
        """End the bar, also when training was interrupted."""
        if hasattr(self, "bar_"):
            self.bar_.close()
            del self.bar_
