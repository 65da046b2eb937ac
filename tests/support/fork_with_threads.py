"""Fork a process in which OpenMP and decoding threads have run, and use the library in the children.

A script: ``python -m fork_with_threads FOLDER`` writes a line for each thing that a child does, and ends with an
error if one does not answer. `FOLDER` has some image files.
"""

from __future__ import annotations

import ast
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import torch
from fitted_bits import bits

from skinclf import LesionCNNClassifier
from skinclf.augmentation import LesionAugmenter
from skinclf.datasets import make_lesions
from skinclf.preprocessing import ImageLoader

PATIENCE = 20.0
"""Seconds after which a child that does not answer is taken to hang; it needs less than one."""

Action = Callable[[LesionCNNClassifier, list[str]], Any]

THREADS = Path("/proc/self/task")
"""A folder for each thread of this process."""

LESIONS = make_lesions(n_lesions=28, image_size=32, random_state=0)


def fitted() -> LesionCNNClassifier:
    classifier = LesionCNNClassifier(
        max_epochs=1, architecture_params={"width": 16, "depth": 2}, device="cpu", random_state=0
    )
    return classifier.fit(LESIONS.images, LESIONS.target)


def fit(classifier: LesionCNNClassifier, paths: list[str]) -> int:
    return bits(fitted(), LESIONS.images)


def fit_partially(classifier: LesionCNNClassifier, paths: list[str]) -> None:
    classifier.partial_fit(LESIONS.images, LESIONS.target)


def predict(classifier: LesionCNNClassifier, paths: list[str]) -> int:
    return bits(classifier, LESIONS.images)


def save(classifier: LesionCNNClassifier, paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder) / "model.safetensors")


def augment(classifier: LesionCNNClassifier, paths: list[str]) -> None:
    LesionAugmenter(random_state=0).fit_transform(LESIONS.images)


def decode(classifier: LesionCNNClassifier, paths: list[str]) -> None:
    ImageLoader(32, n_jobs=2).transform(paths)


def fit_and_predict(classifier: LesionCNNClassifier, paths: list[str]) -> tuple[int, int]:
    decode(classifier, paths)
    return predict(classifier, paths), fit(classifier, paths)


def by_os_fork(action: Action, classifier: LesionCNNClassifier, paths: list[str]) -> Any:
    """Run `action`, with the first operation of torch that the child sees, and return what it returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, repr(action(classifier, paths)).encode())
        os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            raise TimeoutError(f"The child of os.fork hangs in {action.__name__}.")
        time.sleep(0.01)
    return ast.literal_eval(os.read(reading, 100).decode())


def by_pool(classifier: LesionCNNClassifier, paths: list[str]) -> tuple[int, int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        first, second = pool.starmap_async(fit_and_predict, [(classifier, paths)] * 2).get(PATIENCE)
    return agreed(first, second)


def by_joblib(classifier: LesionCNNClassifier, paths: list[str]) -> tuple[int, int]:
    jobs = [joblib.delayed(fit_and_predict)(classifier, paths) for _ in range(2)]
    first, second = joblib.Parallel(n_jobs=2, backend="multiprocessing", timeout=PATIENCE)(jobs)
    return agreed(first, second)


def agreed(first: Any, second: Any) -> Any:
    if first != second:
        raise RuntimeError(f"Two children differ: {first} and {second}.")
    return first


@contextlib.contextmanager
def decoding(paths: list[str]) -> Iterator[None]:
    """Decode in threads of this process all the time."""
    stop = threading.Event()

    def decode() -> None:
        while not stop.is_set():
            ImageLoader(32, n_jobs=2).transform(paths)

    thread = threading.Thread(target=decode)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def main(folder: str) -> None:
    paths = [str(path) for path in sorted(Path(folder).iterdir())]
    torch.set_num_threads(1)
    alone = fitted()
    expected = bits(alone, LESIONS.images)
    torch.set_num_threads(2)
    n_threads = len(list(THREADS.iterdir()))
    fitted()
    if len(list(THREADS.iterdir())) == n_threads:
        raise RuntimeError("The fit in the parent has left no thread; there is nothing to show.")
    ImageLoader(32, n_jobs=2).transform(paths)
    with tempfile.TemporaryDirectory() as models:
        model = Path(models) / "model.safetensors"
        alone.save(model)

        def load(classifier: LesionCNNClassifier, paths: list[str]) -> None:
            LesionCNNClassifier.load(model)

        answers = {fit: expected, predict: expected, **dict.fromkeys((fit_partially, save, load, augment, decode))}
        for action, answer in answers.items():
            say(action.__name__, by_os_fork(action, alone, paths) == answer)
    with decoding(paths):
        say("while decoding", by_os_fork(fit_and_predict, alone, paths) == (expected, expected))
        say("joblib", by_joblib(alone, paths) == (expected, expected))
    say("Pool", by_pool(alone, paths) == (expected, expected))


def say(what: str, is_right: bool) -> None:
    sys.stdout.write(f"{what} {'ok' if is_right else 'differs'}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
