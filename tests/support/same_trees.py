"""Trees of values, arrays and tensors: whether two are the same, and what comes back from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from skinclf.estimator._container import read_container, write_container


def same(left: Any, right: Any) -> bool:
    """Whether two trees have the same types, dtypes, shapes and bits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return same([*left.items()], [*right.items()])
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, torch.Tensor):
        if (left.dtype, left.shape) != (right.dtype, right.shape):
            return False
        plains = (left.resolve_conj().contiguous(), right.resolve_conj().contiguous())
        return torch.equal(*(plain.as_strided((plain.numel(),), (1,)).view(torch.uint8) for plain in plains))
    if isinstance(left, np.ndarray | np.generic):
        if (left.dtype, left.shape) != (right.dtype, right.shape):
            return False
        return same(left.tolist(), right.tolist()) if left.dtype == object else left.tobytes() == right.tobytes()
    return left == right or (left != left and right != right)


def round_trip(tree: Any, folder: Path) -> Any:
    write_container(folder / "tree.safetensors", "model", tree)
    return read_container(folder / "tree.safetensors", "model")
