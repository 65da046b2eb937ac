"""Files that hold a tree: refusal of everything else, and writes that are whole or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import safetensors.torch
import torch
from same_trees import same

from skinclf import __version__, _files
from skinclf.estimator._container import ModelFileError, read_container, write_container

TREE = {"classes": np.array(["mel", "nv"]), "weight": torch.arange(6.0).reshape(2, 3), "epoch": 3}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small valid file."""
    path = tmp_path / "model.safetensors"
    write_container(path, "model", TREE)
    return path


# What is not such a file


@pytest.mark.fault(60)
def test_every_flipped_bit_is_found(file):
    intact = file.read_bytes()
    digest = re.search(rb"[0-9a-f]{64}", intact)
    length, data = 8, 8 + int.from_bytes(intact[:8], "little")
    parts = [(0, length + 1, 1), (length + 1, data, 5), (*digest.span(), 1), (data, len(intact), 1)]
    for bit in [bit for start, stop, step in parts for bit in range(8 * start, 8 * stop, step)]:
        damaged = bytearray(intact)
        damaged[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"model\.safetensors is "):
            read_container(file, "model")


@pytest.mark.fault(58)
def test_every_cut_is_found(file):
    intact = file.read_bytes()
    header = int.from_bytes(intact[:8], "little")
    for size in range(len(intact)):
        file.write_bytes(intact[:size])
        if size == 0:
            message = "is empty. Copy or download it again."
        elif size <= 8:
            message = f"it is cut short, or something else; it has only {size} bytes."
        elif size < 8 + header:
            message = f"is cut short: it has {size:,} of at least {8 + header:,} bytes. Copy or download it again."
        else:
            message = f"is cut short: it has {size:,} of {len(intact):,} bytes. Copy or download it again."
        with pytest.raises(ModelFileError, match=re.escape(message)):
            read_container(file, "model")


def test_bytes_behind_the_end_are_found(file):
    intact = file.read_bytes()
    file.write_bytes(intact + b"0")

    message = f"is damaged: it has {len(intact) + 1:,} bytes instead of {len(intact):,}."
    with pytest.raises(ModelFileError, match=message):
        read_container(file, "model")


def test_a_zeroed_digest_is_no_way_around_it(file):
    intact = file.read_bytes()
    digest = re.search(rb"[0-9a-f]{64}", intact)[0]
    for other in (b"0" * 64, digest.upper()):
        file.write_bytes(intact.replace(digest, other))
        with pytest.raises(
            ModelFileError, match="is damaged: its SHA-256 is not the one that was written into it"
        ):
            read_container(file, "model")


class RunsCode:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return (Path.touch, (self.proof,))


@pytest.mark.fault(59)
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_in_disguise_is_refused_and_never_run(protocol, tmp_path):
    path, proof = tmp_path / "model.safetensors", tmp_path / "proof"
    path.write_bytes(pickle.dumps(RunsCode(proof), protocol=protocol))

    known = "a pickle; loading one could run code that is hidden in it"
    expected = known if protocol >= 2 else "damaged at its beginning, or something else"
    with pytest.raises(ModelFileError, match=f"is no file that skinclf wrote: it is {expected}"):
        read_container(path, "model")
    assert not proof.exists()


def disguises(path: Path) -> dict[str, Any]:
    """Write a file of another kind, by the words of the message about it."""
    return {
        "a zip archive, as torch.save writes; loading one could run code": lambda: torch.save(TREE, path),
        "a pickle; loading one could run code": lambda: joblib.dump([1, 2], path),
        "a compressed file, as joblib.dump writes; loading": lambda: joblib.dump([1], path, compress=("gzip", 3)),
        "a compressed file, as joblib.dump": lambda: joblib.dump([1], path, compress=3),
        "a compressed file, as joblib": lambda: joblib.dump([1], path, compress=("xz", 3)),
        "a compressed file": lambda: joblib.dump([1], path, compress=("bz2", 3)),
        "an HTML or XML page; perhaps the download went wrong": lambda: path.write_text(
            "\n <!DOCTYPE html><p>404</p>"
        ),
        "a JSON file": lambda: path.write_text(json.dumps({"a": [1] * 99})),
        "an HDF5 file, as Keras writes": lambda: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)),
        "the stand-in that Git LFS keeps": lambda: path.write_text(
            "version https://git-lfs.github.com/spec/v1\n" * 3
        ),
        "damaged at its beginning, or something else": lambda: path.write_bytes(bytes(4096)),
        "damaged at its beginning, or": lambda: path.write_text("just a long enough line of text"),
        "cut short, or something else; it has only 2 bytes": lambda: path.write_text("hi"),
    }


@pytest.mark.parametrize("words", [*disguises(Path())])
def test_other_kinds_of_files_are_named(words, tmp_path):
    path = tmp_path / "model.safetensors"
    disguises(path)[words]()

    with pytest.raises(ModelFileError, match=re.escape(f"{path} is no file that skinclf wrote: it is {words}")):
        read_container(path, "model")


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    for metadata in (None, {"format": "pt"}):
        safetensors.torch.save_file({"weight": torch.ones(3)}, path, metadata=metadata)
        with pytest.raises(
            ModelFileError, match=r"weights\.safetensors is a safetensors file that skinclf did not"
        ):
            read_container(path, "model")


def test_a_model_is_no_checkpoint_and_the_other_way_round(tmp_path):
    path = tmp_path / "file"
    write_container(path, "checkpoint", TREE)
    message = f"{path} is a training checkpoint, not a saved model. It is continued by fit, with its folder as"
    with pytest.raises(ModelFileError, match=re.escape(message)):
        read_container(path, "model")

    write_container(path, "model", TREE)
    message = f"{path} is a saved model, not a training checkpoint. Load it with LesionCNNClassifier.load(path)."
    with pytest.raises(ModelFileError, match=re.escape(message)):
        read_container(path, "checkpoint")

    write_container(path, "dream", TREE)
    with pytest.raises(
        ModelFileError, match=re.escape(f"{path} is a file of the kind 'dream', not a saved model.")
    ):
        read_container(path, "model")


def with_inner(path: Path, **changes: Any) -> None:
    """Change skinclf's metadata of a file, and give it the checksum that belongs to it."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    inner = {**json.loads(header["__metadata__"]["skinclf"]), **changes, "sha256": "0" * 64}
    header["__metadata__"]["skinclf"] = json.dumps(inner, separators=(",", ":"))
    text = json.dumps(header, separators=(",", ":")).encode()
    new = len(text).to_bytes(8, "little") + text + data[8 + length :]
    path.write_bytes(new.replace(b"0" * 64, hashlib.sha256(new).hexdigest().encode(), 1))


def test_the_checksum_of_the_helper_is_right(file):
    with_inner(file)

    assert same(read_container(file, "model"), TREE)


@pytest.mark.fault(61)
def test_a_later_format_says_so_before_anything_of_it_is_read(file):
    with_inner(file, version=2, skinclf="9.1.0", content={"type": "hologram"}, kind="swarm")

    message = (
        f"{file} was written by skinclf 9.1.0 in format 2; this is skinclf {__version__}, which reads formats "
        "up to 1. Upgrade skinclf."
    )
    with pytest.raises(ModelFileError, match=re.escape(message)):
        read_container(file, "model")


@pytest.mark.parametrize(
    "content",
    [
        {"type": "hologram", "value": 1},
        {"value": 1},
        {"type": "tuple", "value": 3},
        {"type": "dict", "value": [[{"type": "dict", "value": []}, 1]]},
        {"type": "float", "value": "many"},
        {"type": "tensor", "value": "weight", "dtype": "load", "shape": [2, 3]},
        {"type": "tensor", "value": "weight", "dtype": "float32", "shape": [2, 4]},
        {"type": "tensor", "value": "weight", "dtype": "float32", "shape": [2, 2]},
        {"type": "tensor", "value": "weight", "dtype": "float32", "shape": [-2, -3]},
        {"type": "tensor", "value": "weight", "dtype": "float32", "shape": [10**12, 10**12]},
        {"type": "tensor", "value": "elsewhere", "dtype": "float32", "shape": [2, 3]},
        {"type": "array", "value": ["a"], "dtype": "V8", "shape": [1]},
        {"type": "array", "value": ["a", "b"], "dtype": "<U1", "shape": [3]},
        {"type": "array", "value": "weight", "dtype": "O", "shape": [3]},
        {"type": "array", "value": "weight", "dtype": "<f8", "shape": [4]},
    ],
    ids=str,
)
def test_a_forged_tree_is_refused(content, file):
    with_inner(file, content=content)

    with pytest.raises(
        ModelFileError, match="has a valid checksum, but its contents are not as skinclf writes them"
    ):
        read_container(file, "model")


def test_a_tree_without_end_is_refused(file):
    data = file.read_bytes()
    deep = '{\\"type\\":\\"tuple\\",\\"value\\":[' * 20_000
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].decode()
    start = header.index('\\"content\\":') + len('\\"content\\":')
    stop = header.index('}"}', start)
    text = (header[:start] + deep + "1" + "]}" * 20_000 + header[stop:]).encode()
    text = re.sub(rb"[0-9a-f]{64}", b"0" * 64, text, count=1)
    new = len(text).to_bytes(8, "little") + text + data[8 + length :]
    file.write_bytes(new.replace(b"0" * 64, hashlib.sha256(new).hexdigest().encode(), 1))

    with pytest.raises(ModelFileError, match="has a valid checksum, but"):
        read_container(file, "model")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "absent"))):
        read_container(tmp_path / "absent", "model")
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        read_container(tmp_path, "model")


# Writing


def fail(number: int) -> Any:
    def raise_it(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return raise_it


@pytest.mark.fault(63)
@pytest.mark.parametrize("moment", ["fsync", "replace", "write"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_the_old_file_and_no_litter(moment, existing, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    if existing:
        write_container(path, "model", TREE)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    if moment == "fsync":
        monkeypatch.setattr(os, "fsync", fail(errno.ENOSPC))
    elif moment == "replace":
        monkeypatch.setattr(Path, "replace", fail(errno.ENOSPC))
    else:
        limited_files(monkeypatch, room=100)

    state = "the file that was there is as it was" if existing else "nothing was left behind"
    message = (
        f"Could not write the file (No space left on device); {state}. Free some space, or choose a folder on "
        f"another disk: '{path}'"
    )
    with pytest.raises(OSError, match=re.escape(message)) as caught:
        write_container(path, "model", {**TREE, "epoch": 4})

    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def limited_files(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Let every file that is opened from now on take so many bytes and no more."""
    real_open = Path.open

    def open_limited(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real_open(path, mode, *args, **kwargs)
        if "x" not in mode:
            return file
        real_write = file.write

        class Limited:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *args: Any) -> None:
                file.close()

            def write(self, block: Any) -> int:
                if file.tell() + len(block) > room:
                    real_write(bytes(block)[: room - file.tell()])
                    fail(errno.ENOSPC)()
                return real_write(block)

        return Limited()

    monkeypatch.setattr(Path, "open", open_limited)


@pytest.mark.fault(63)
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_takes_no_files_is_named(number, file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr(Path, "open", fail(number))

    message = (
        f"({os.strerror(number)}); the file that was there is as it was. Choose a folder that you may write to"
    )
    with pytest.raises(OSError, match=re.escape(message)):
        write_container(file, "model", {})

    monkeypatch.undo()
    assert file.read_bytes() == before


def test_ctrl_c_leaves_the_old_file_and_no_litter(file, monkeypatch):
    before = file.read_bytes()

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_container(file, "model", {})

    assert file.read_bytes() == before
    assert [*file.parent.iterdir()] == [file]


def test_a_missing_folder_and_a_folder_as_the_file_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=re.escape(f"The folder {tmp_path / 'no'} does not exist; make it")
    ):
        write_container(tmp_path / "no" / "file", "model", {})
    with pytest.raises(IsADirectoryError, match="This is a folder; name a file in it"):
        write_container(tmp_path, "model", {})


def test_a_folder_that_cannot_be_synced_is_no_failure(file, monkeypatch):
    monkeypatch.setattr(_files, "_sync_folder", fail(errno.EINVAL))

    write_container(file, "model", {"epoch": 4})

    assert read_container(file, "model") == {"epoch": 4}


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("m" * 255)

    write_container(path, "model", TREE)

    assert same(read_container(path, "model"), TREE)


def test_writers_of_one_file_at_a_time_leave_one_whole_file(tmp_path):
    path = tmp_path / "model.safetensors"
    stop, seen, problems = threading.Event(), set(), []
    write_container(path, "model", {"writer": -1, "data": torch.full((1000,), -1)})

    def write(writer: int) -> None:
        for _ in range(20):
            write_container(path, "model", {"writer": writer, "data": torch.full((1000,), writer)})

    def read() -> None:
        while not stop.is_set():
            try:
                tree = read_container(path, "model")
            except (ModelFileError, OSError) as error:
                problems.append(error)
                return
            seen.add(tree["writer"])
            if not (tree["data"] == tree["writer"]).all():
                problems.append(tree)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in [reader, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()

    assert problems == []
    assert seen
    assert [*tmp_path.iterdir()] == [path]
