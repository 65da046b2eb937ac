"""One file that holds all that a training run needs to go on after it was cut off."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.history import History

from skinclf._files import remove_leftovers
from skinclf.estimator._callback_state import callback_state, restore_callback_state
from skinclf.estimator._container import ModelFileError, read_container, write_container
from skinclf.estimator._seeds import FitSeeds


class Checkpoint(Callback):
    """The state of one run: written whole, or not at all, after every epoch.

    Parameters
    ----------
    path : Path
        The file; it need not exist yet.
    seeds : FitSeeds
        Of the run, unless the file says otherwise.
    reuse_finished : bool
        Whether a run that is finished already counts as this one. With ``random_state=None`` it does not: every
        fit is to be another one.
    """

    def __init__(self, path: Path, seeds: FitSeeds, *, reuse_finished: bool) -> None:
        self.path = path
        self.content = _read(path) if path.exists() else None
        if self.is_finished and not reuse_finished:
            self.content = None
        self.seeds = seeds if self.content is None else FitSeeds(**self.content["seeds"])

    @property
    def is_finished(self) -> bool:
        """Whether the file holds the end of the run."""
        return self.content is not None and bool(self.content["finished"])

    def restore(self, net: NeuralNetClassifier) -> int:
        """Bring a net, whose training has begun, to the end of the last whole epoch.

        Returns
        -------
        int
            The number of epochs that need not be trained again; 0 if the run has no file yet.

        Raises
        ------
        ModelFileError
            If the file holds another network.
        """
        if self.content is None:
            return 0
        content, self.content = self.content, None  # as large as the network and its optimiser
        try:
            net.module_.load_state_dict(content["module"])
            load_optimizer(net.optimizer_, content["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelFileError(
                f"{self.path} holds another network than this classifier builds ({error}). Did the code of "
                "`architecture` change? Remove the file to begin anew."
            ) from error
        for name, parameter in net.module_.named_parameters():
            parameter.requires_grad_(name not in content["frozen"])
        restore_callback_state(_others(net), content["callbacks"])
        n_before = len(net.history)
        net.history = History(content["history"])
        return len(net.history) - n_before

    def on_epoch_end(self, net: NeuralNetClassifier, **kwargs: Any) -> None:
        """Write the file."""
        self.write(net, finished=False)

    def write(self, net: NeuralNetClassifier, *, finished: bool) -> None:
        """Replace the file by the present state.

        Raises
        ------
        OSError
            If it cannot be written; the old file is whole then.
        """
        content = {
            "finished": finished,
            "seeds": dataclasses.asdict(self.seeds),
            "module": dict(net.module_.state_dict()),
            "optimizer": net.optimizer_.state_dict(),
            "frozen": [name for name, value in net.module_.named_parameters() if not value.requires_grad],
            "history": net.history.to_list(),
            "callbacks": callback_state(_others(net)),
        }
        write_container(self.path, "checkpoint", content)


@contextmanager
def open_checkpoint(
    folder: str | Path | None, key: str, seeds: FitSeeds, *, reuse_finished: bool
) -> Iterator[Checkpoint | None]:
    """Open the file of one run in a folder that other runs may share; None without a folder.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    RuntimeError
        If another fit is writing the very same run.
    """
    if folder is None:
        yield None
        return
    path = Path(folder).expanduser() / f"run-{key}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise RuntimeError(
            f"Another fit with the same parameters and data is writing {path}. Wait for it, or give this one a "
            "checkpoint_dir of its own."
        ) from error
    except OSError as error:
        raise OSError(f"checkpoint_dir={str(folder)!r} cannot be written to: {error.strerror or error}") from error
    try:
        remove_leftovers(path)
        yield Checkpoint(path, seeds, reuse_finished=reuse_finished)
    finally:
        lock.release()


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state, with every tensor laid out in memory as its parameter is: sums depend on the order."""
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def _others(net: NeuralNetClassifier) -> list[tuple[str, Callback]]:
    return [(name, callback) for name, callback in net.callbacks_ if not isinstance(callback, Checkpoint)]


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_container(path, "checkpoint")
    except ModelFileError as error:
        raise ModelFileError(f"{error} Remove the file to begin this run anew.") from error
    return content
