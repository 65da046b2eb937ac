"""One training run: its epochs, how it may end, and what is left of it."""

from __future__ import annotations

import dis
from collections.abc import Sequence

import numpy as np
import pandas as pd
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.history import History

from skinclf.estimator._batches import ImageDataset
from skinclf.estimator._callback_guards import callback_errors, checkpoint_locks
from skinclf.estimator._checkpoint import Checkpoint
from skinclf.estimator._heap import kept_heap
from skinclf.estimator._net import give_generator


def train(
    net: NeuralNetClassifier,
    dataset: ImageDataset,
    *,
    epochs: int,
    earlier: History | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Run the epochs; a callback may stop them, Ctrl-C is passed on.

    skorch's own ``fit`` takes any KeyboardInterrupt for early stopping, and would hand back a half-trained network
    as a fitted one after Ctrl-C.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        Initialised.
    dataset : ImageDataset
        Training rows.
    epochs : int
        How many at most.
    earlier : skorch.history.History, optional
        Of a training that goes on; schedules begin anew all the same.
    checkpoint : Checkpoint, optional
        A run that was cut off before goes on after its last whole epoch; a finished one is only read.
    """
    is_finished = checkpoint is not None and checkpoint.is_finished
    with checkpoint_locks(net), callback_errors(net):
        try:
            net.notify("on_train_begin", X=dataset, y=None)
            net.history = History(() if earlier is None else earlier.to_list())
            done = 0 if checkpoint is None else checkpoint.restore(net)
            if not is_finished:
                with kept_heap(net.device):
                    net.fit_loop(dataset, epochs=epochs - done)
        except KeyboardInterrupt as error:
            if not _raised_by_callback(error):
                raise
        finally:
            progress = dict(net.callbacks_).get("progress")
            if progress is not None:
                progress.close()
        net.notify("on_train_end", X=dataset, y=None)
    if checkpoint is not None and not is_finished:
        checkpoint.write(net, finished=True)


def release_after_training(net: NeuralNetClassifier) -> None:
    """Let go of what a trained net does not need: the images and the generators.

    Without this a fitted classifier would hold, and pickle, its whole training set.
    """
    net.train_split = None
    give_generator(net.module_, None)


def _raised_by_callback(error: BaseException) -> bool:
    """Whether a callback raised the KeyboardInterrupt by a statement, which is how skorch's end the training.

    Ctrl-C may strike in the middle of a callback too; the interpreter raises that one between two instructions.
    """
    traceback, in_callback, by_statement = error.__traceback__, False, False
    while traceback is not None:
        frame = traceback.tb_frame
        is_hook = frame.f_code.co_name.startswith("on_") and isinstance(frame.f_locals.get("self"), Callback)
        in_callback = in_callback or is_hook
        by_statement = frame.f_code.co_code[traceback.tb_lasti] == dis.opmap["RAISE_VARARGS"]
        traceback = traceback.tb_next
    return in_callback and by_statement


def history_frame(net: NeuralNetClassifier) -> pd.DataFrame:
    """Return skorch's history as a table: a row an epoch, only single numbers, our names first."""
    first = [
        "epoch",
        "train_loss",
        "valid_loss",
        "valid_accuracy",
        "valid_balanced_accuracy",
        "lr",
        "seconds",
    ]
    rows = []
    for epoch in net.history:
        row = {key: value for key, value in epoch.items() if isinstance(value, int | float | np.number)}
        row["seconds"] = row.pop("dur", float("nan"))
        rows.append({k: v for k, v in row.items() if not k.endswith(("_best", "_batch_count", "event_lr"))})
    frame = pd.DataFrame(rows)
    known: Sequence[str] = [name for name in first if name in frame]
    return frame[[*known, *(name for name in frame if name not in known)]]
