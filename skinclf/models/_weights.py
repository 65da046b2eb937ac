"""Weights from a file: which of them fit a network, and what is said of those that do not."""

from __future__ import annotations

import os
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_SHOWN = 5  # names in a message
_OWN_FILE = "state/"
"""What the names of weights begin with in a file of ``LesionCNNClassifier.save``."""


@dataclass(frozen=True)
class WeightsReport:
    """What of a file went into a network.

    Attributes
    ----------
    source : str
        The file.
    loaded : tuple of str
        Names of the network's weights and buffers that were taken over.
    left_out : tuple of str
        Those of the output layer, which are new by design.
    missing : tuple of str
        Those that the file lacks; they stay as they were.
    unexpected : tuple of str
        Names in the file that the network does not have.
    wrong_shape : tuple of str
        Names with the shape in the file and the one in the network; these stay as they were too.

    Examples
    --------
    >>> from skinclf.models import WeightsReport
    >>> print(WeightsReport("a.pth", ("stem.weight",), missing=("stem.bias",)))
    1 of 2 weights come from a.pth; missing in the file: stem.bias.
    """

    source: str
    loaded: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong_shape: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether all weights but those of the output layer were taken over, and none was left over."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.wrong_shape)
        lists = (
            ("missing in the file", self.missing),
            ("not in the network", self.unexpected),
            ("of another shape", self.wrong_shape),
            ("new by design", self.left_out),
        )
        parts = [f"{words}: {shortened(names)}" for words, names in lists if names]
        return "; ".join([f"{len(self.loaded)} of {total} weights come from {self.source}", *parts]) + "."


def shortened(names: tuple[str, ...] | list[str]) -> str:
    """Name the first five, and count the others."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read tensors by name, and run no code from the file.

    Parameters
    ----------
    path : str or PathLike
        A safetensors file, such as ``LesionCNNClassifier.save`` writes, or a state dict that ``torch.save`` wrote,
        alone or under a name such as ``"state_dict"``. ``~`` is the home folder.

    Returns
    -------
    dict of str to Tensor
        On the CPU. Of a saved classifier the network's, and ``mean`` and ``scale`` of its channels.

    Raises
    ------
    FileNotFoundError, OSError
        If it is missing or cannot be read.
    ImportError
        If it is a safetensors file and safetensors is not installed.
    ValueError
        If it is damaged, holds more than tensors, or none, or values that are not finite.

    Examples
    --------
    >>> import tempfile, torch
    >>> from skinclf.models._weights import read_weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "state_dict": {"weight": torch.ones(2)}}, f"{folder}/x.pth")
    ...     read_weights(f"{folder}/x.pth")
    {'weight': tensor([1., 1.])}
    """
    path = Path(path).expanduser()
    with path.open("rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    state = _read_safetensors(path) if is_safetensors else _read_pickled(path)
    if not state:
        raise ValueError(f"{path} holds no tensors by name. Save the network's state_dict().")
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{path} has values in {name} that are not finite. Its training went wrong.")
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        import safetensors
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(
            f'{path} is a safetensors file; reading one needs safetensors: pip install "skinclf[pretrained]".'
        ) from error
    try:
        state = load_file(path, device="cpu")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}. Copy it again.") from error
    own = {name.removeprefix(_OWN_FILE): value for name, value in state.items() if name.startswith(_OWN_FILE)}
    return own if any(name.startswith("network.") for name in own) else state


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of unusual pickles, which are refused or read
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors, or is no file of weights. It is not unpickled, since that could run "
            "code. Save the weights alone: torch.save(network.state_dict(), path)."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} cannot be read as weights: {first}. Copy it again.") from error
    return _tensors(content)


def _tensors(content: Any) -> dict[str, Tensor]:
    """Return the tensors of a mapping, or of that mapping in it which has the most."""
    if not isinstance(content, Mapping):
        return {}
    here = {name: value for name, value in content.items() if isinstance(value, Tensor) and isinstance(name, str)}
    inside = [_tensors(value) for value in content.values() if isinstance(value, Mapping)]
    return max([here, *inside], key=len)


def load_weights(
    network: nn.Module,
    weights: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    head: str | None = None,
    stem: str | None = None,
    source: str | None = None,
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None,
) -> WeightsReport:
    """Take over all weights that fit, in place, and say which do not.

    A prefix that the names in the file share, such as ``module.``, is passed over.

    Parameters
    ----------
    network : torch.nn.Module
        Whose weights are replaced.
    weights : str, PathLike or mapping of str to Tensor
        A file, see `read_weights`, or what is in one.
    head : str, default=None
        Name of the output layer, whose weights are left as they are.
    stem : str, default=None
        Name of the first convolution. Where it takes 1 channel and the file has 3, these are added up; where it is
        the other way round, the one is divided among the three.
    source : str, default=None
        What the report calls the file.
    rename : callable, default=None
        From the names of another implementation to those of `network`.

    Returns
    -------
    WeightsReport
        With names of `network`, but for those that it does not have.

    Raises
    ------
    ValueError, OSError, ImportError
        As `read_weights`; and if not a single weight fits.

    Examples
    --------
    >>> from torch import nn
    >>> from skinclf.models import load_weights
    >>> one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    >>> load_weights(one, other.state_dict()).fits, bool((one.weight == other.weight).all())
    (True, True)
    """
    if not isinstance(weights, Mapping):
        source = os.fspath(weights) if source is None else source
        weights = read_weights(weights)
    source = "the mapping" if source is None else source
    own = network.state_dict()
    state = _unwrapped(weights, own, rename)
    excluded = [name for name in own if head is not None and name.startswith(f"{head}.")]
    loaded: dict[str, Tensor] = {}
    missing, wrong_shape = [], []
    for name, value in own.items():
        if name in excluded:
            continue
        given = state.get(name)
        if given is not None and name == f"{stem}.weight" and not is_lazy(value):
            given = fit_channels(given, value.shape[1])
        if given is None:
            if not name.endswith("num_batches_tracked"):  # which files of before 2018 lack, and nothing reads
                missing.append(name)
        elif not is_lazy(value) and given.shape != value.shape:
            wrong_shape.append(f"{name} {tuple(given.shape)} instead of {tuple(value.shape)}")
        else:
            loaded[name] = given
    unexpected = [name for name in state if name not in own and not (head and name.startswith(f"{head}."))]
    report = WeightsReport(
        source, tuple(loaded), tuple(excluded), tuple(missing), tuple(unexpected), tuple(wrong_shape)
    )
    if not loaded:
        raise ValueError(f"These are weights of another network: {report}")
    _put(network, loaded, own)
    return report


def _put(network: nn.Module, loaded: dict[str, Tensor], own: dict[str, Any]) -> None:
    """Load weights as those of the present version of every layer, which some layers insist on being told."""
    state = OrderedDict(loaded)
    state._metadata = getattr(own, "_metadata", {})  # type: ignore[attr-defined]
    network.load_state_dict(state, strict=False)


def _unwrapped(
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None,
) -> dict[str, Tensor]:
    """Strip that prefix under which the most names are the network's own."""
    prefixes = {""} | {
        ".".join(parts[:depth]) + "." for parts in (name.split(".") for name in weights) for depth in (1, 2, 3)
    }
    best: dict[str, Tensor] = dict(weights)
    best_matches = -1
    for prefix in sorted(prefixes, key=len):
        stripped = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        named = stripped if rename is None else rename(stripped)
        matches = len(named.keys() & own.keys())
        if matches > best_matches:
            others = {name: value for name, value in weights.items() if not name.startswith(prefix)}
            best, best_matches = {**others, **named}, matches
    return best


def fit_channels(weight: Tensor, channels: int) -> Tensor:
    """Turn kernels for 3 channels into kernels for 1, or back, with the same response to grey images.

    Parameters
    ----------
    weight : Tensor, shape (out, in, height, width)
        Kernels.
    channels : int
        Wanted.

    Returns
    -------
    Tensor, shape (out, channels, height, width)
        Or `weight` itself, where one of both numbers of channels is not 1.
    """
    if weight.ndim != 4 or weight.shape[1] == channels or 1 not in (weight.shape[1], channels):
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight.expand(-1, channels, -1, -1) / channels
