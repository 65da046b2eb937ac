"""Our skorch callbacks: validation scores, the guard against NaN, and the progress bar."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from tqdm import tqdm


class ValidationScores(Callback):
    """Record loss, accuracy and balanced accuracy of the whole validation set after every epoch.

    skorch's own ``valid_loss`` averages the means of the batches; this one is the weighted mean over all images.
    Balanced accuracy is the mean recall of the classes that the validation set holds.
    """

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the epoch before."""
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
        net.history.record("valid_loss", sum(self.losses_) / max(sum(self.weights_), 1e-12))
        net.history.record("valid_accuracy", float(correct.mean()))
        net.history.record("valid_balanced_accuracy", float(np.mean(recalls)))


class LossGuard(Callback):
    """Stop a run whose loss is not finite; skorch would go on, and predict the first class for ever after."""

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Look at the loss that skorch has just recorded."""
        if training and not math.isfinite(net.history[-1, "batches", -1, "train_loss"]):
            epoch, batch = net.history[-1, "epoch"], len(net.history[-1, "batches"])
            loss = net.history[-1, "batches", -1, "train_loss"]
            raise FloatingPointError(
                f"The training loss became {loss} in epoch {epoch}, batch {batch}. "
                f"Try a lower lr (now {net.optimizer_.param_groups[0]['lr']:.3g}), look for extreme values "
                "in X or sample_weight, or set mixed_precision=False."
            )


class LearningRate(Callback):
    """Record the learning rate that an epoch begins with."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Write it into the history."""
        net.history.record("lr", float(net.optimizer_.param_groups[0]["lr"]))


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
        self.bar_ = tqdm(total=self.n_epochs, unit="epoch", file=sys.stderr, leave=True, dynamic_ncols=True)

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
