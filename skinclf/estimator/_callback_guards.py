"""What goes wrong between callbacks and a fit: scores that nobody records, files that two fits write."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, TrainEndCheckpoint
from skorch.exceptions import SkorchException

from skinclf.estimator._callbacks import NO_VALIDATION_SET

_NOT_FOUND = re.compile(r"(?:'(?P<key>[^']+)'|(?P<keys>[(\[].+[)\]])) was not found in history")
_QUOTED = re.compile(r"'([^']+)'")


@contextmanager
def callback_errors(net: NeuralNetClassifier) -> Iterator[None]:
    """Say which callback asks the history for what it does not record, and what it does.

    To be put around all notifications and epochs of a fit. A bare KeyError of a user's own callback may mean
    anything: it gets a note, and passes; so does every other exception as it is.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        Initialised.

    Raises
    ------
    ValueError
        In place of the error that skorch raises for an unknown name in the history.
    """
    try:
        yield
    except (KeyError, ValueError, SkorchException) as error:
        frames = [*_frames(error)]
        name = _callback_of(frames, net)
        if name is None:
            raise
        innermost = str(frames[-1].f_globals.get("__name__", ""))
        key = _missing_key(error, net, of_skorch=innermost.split(".")[0] == "skorch")
        if key is not None:
            raise ValueError(_explain(name, key, net)) from error
        if isinstance(error, KeyError) and error.args and error.args[0] not in _recorded(net):
            error.add_note(f"It was raised in callback {name!r}. The history records {_recorded(net)}.")
        raise


@contextmanager
def checkpoint_locks(net: NeuralNetClassifier) -> Iterator[None]:
    """Keep the files of ``Checkpoint`` and ``TrainEndCheckpoint`` to one fit at a time.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        Initialised.

    Raises
    ------
    RuntimeError
        If another fit, in this process or another one, writes the same files.
    OSError
        If the folder cannot be written to.
    """
    with ExitStack() as locks:
        locked: set[Path] = set()
        for name, callback in net.callbacks_:
            if isinstance(callback, Checkpoint | TrainEndCheckpoint) and _writes_named_files(callback):
                path = Path(callback.dirname, f"{callback.fn_prefix}.lock").resolve()
                if path not in locked:
                    locks.enter_context(_lock(path, name, callback.dirname))
                    locked.add(path)
        yield


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _callback_of(frames: Iterable[FrameType], net: NeuralNetClassifier) -> str | None:
    """Return the name of the callback in whose method an error was raised."""
    names = {id(callback): name for name, callback in net.callbacks_}
    found = [names.get(id(frame.f_locals.get("self"))) for frame in frames if frame.f_code.co_name[:3] == "on_"]
    return next((name for name in found if name is not None), None)


def _missing_key(error: Exception, net: NeuralNetClassifier, *, of_skorch: bool) -> str | None:
    """Return the name that is not in the history, if that is what a piece of skorch complains of."""
    if not of_skorch or not error.args:
        return None
    found = _NOT_FOUND.search(str(error.args[0]))
    if found is None:
        return str(error.args[0]) if isinstance(error, KeyError) else None  # history[-1]["name"]
    if found["keys"] is None:
        return found["key"]
    return next((key for key in _QUOTED.findall(found["keys"]) if key not in _recorded(net)), None)


def _recorded(net: NeuralNetClassifier) -> list[str]:
    names = net.history[-1] if net.history else ()
    return sorted(name for name in names if name != "batches" and not name.endswith("_batch_count"))


def _explain(name: str, key: str, net: NeuralNetClassifier) -> str:
    recorded = _recorded(net)
    message = f"Callback {name!r} asks for {key!r}, which the history does not record. It records {recorded}."
    later = [
        other
        for other, callback in net.callbacks_
        if key.removesuffix("_best") in (getattr(callback, "name", None), getattr(callback, "name_", None))
        and other != name
    ]
    if later:
        return f"{message} Callback {later[0]!r} records it; put that one first in the list of callbacks."
    if "valid" in key and net.train_split is None:
        return (
            f"{message} It cannot, since {NO_VALIDATION_SET}: set early_stopping=True, or let the callback look "
            "at 'train_loss'."
        )
    close = difflib.get_close_matches(key, recorded, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{message} {hint}An EpochScoring(..., name={key.removesuffix('_best')!r}) before it would record it."


def _writes_named_files(callback: Callback) -> bool:
    return any(isinstance(value, str) for name, value in vars(callback).items() if name.startswith("f_"))


@contextmanager
def _lock(path: Path, name: str, dirname: str) -> Iterator[None]:
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(
            f"Callback {name!r} writes to {str(path.parent)!r}, and so does another fit at this very moment: each "
            f"would overwrite the files of the other. Give every fit a dirname of its own (now {dirname!r}), run "
            "them one after the other (n_jobs=1), or write no files: with f_params=None, f_optimizer=None, "
            "f_criterion=None and f_history=None, load_best=True works as well."
        ) from error
    except OSError as error:
        raise OSError(
            f"Callback {name!r} cannot write to {str(path.parent)!r}: {error.strerror or error}"
        ) from error
    try:
        yield
    finally:
        lock.release()
