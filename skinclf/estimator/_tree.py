"""A tree of plain values, arrays and tensors as JSON that names blocks of bytes, and back."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SAFETENSORS_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
}
"""Tensors of other types are stored as their bytes, and the tree alone knows the type."""

_NUMBERS = "biufc"  # kinds of NumPy types whose bytes are stored
_METADATA = "__metadata__"


class TreeEncoder:
    """Turn a tree into JSON values, and collect the bytes of its arrays and tensors.

    Values that JSON holds stay as they are; everything else becomes an object with a ``type``. What comes back has
    the same types: tuples stay tuples, integer keys integers, arrays arrays. An ``OrderedDict`` becomes a dict.

    Examples
    --------
    >>> from skinclf.estimator._tree import TreeDecoder, TreeEncoder
    >>> TreeEncoder().encode({3: (1, float("inf"))})["value"][0][0]
    3
    >>> TreeDecoder({}, bytearray()).decode(TreeEncoder().encode({3: (1, float("inf"))}))
    {3: (1, inf)}
    """

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def encode(self, value: Any, path: tuple[Any, ...] = ()) -> Any:
        """Return a value as JSON has it.

        Parameters
        ----------
        value : dict, list, tuple, str, int, float, bool, None, Tensor, ndarray or NumPy scalar
            Arrays of numbers, strings, or objects that are such values themselves; dense tensors on any device.
        path : tuple
            Keys that lead to the value, for messages and for the names of tensors.

        Returns
        -------
        dict, list, str, int, float, bool or None
            For ``json.dumps``.

        Raises
        ------
        TypeError
            If it cannot be stored; the message says where in the tree it is.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"type": "float", "value": repr(value)}
        if type(value) is list:
            return [self.encode(item, (*path, i)) for i, item in enumerate(value)]
        if type(value) is tuple:
            return {"type": "tuple", "value": [self.encode(item, (*path, i)) for i, item in enumerate(value)]}
        if type(value) in (dict, OrderedDict):
            return {"type": "dict", "value": [self._encode_item(key, item, path) for key, item in value.items()]}
        if isinstance(value, Tensor):
            return self._encode_tensor(value, path)
        if type(value) in (np.ndarray, np.memmap):
            return self._encode_array(value, path)
        if isinstance(value, np.generic):
            return {**self._encode_array(np.asarray(value), path), "type": "scalar"}
        raise TypeError(
            f"{_where(path)} is a {type(value).__name__}, which cannot be saved. What can be: dict, list, tuple, "
            "str, int, float, bool, None, torch tensors, NumPy arrays and scalars."
        )

    def _encode_item(self, key: Any, value: Any, path: tuple[Any, ...]) -> list[Any]:
        if not isinstance(key, str | int | float | np.generic | None):
            raise TypeError(f"{_where(path)} has the key {key!r}; keys must be strings or numbers to be saved.")
        return [self.encode(key, (*path, key)), self.encode(value, (*path, key))]

    def _encode_tensor(self, tensor: Tensor, path: tuple[Any, ...]) -> dict[str, Any]:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            raise TypeError(f"{_where(path)} is a sparse, quantised or meta tensor; only dense ones can be saved.")
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        name = self._store(plain, path)
        return {
            "type": "tensor",
            "value": name,
            "dtype": str(plain.dtype).removeprefix("torch."),
            "shape": [*plain.shape],
        }

    def _encode_array(self, array: NDArray[Any], path: tuple[Any, ...]) -> dict[str, Any]:
        node = {"type": "array", "dtype": array.dtype.str, "shape": [*array.shape]}
        if array.dtype.kind in _NUMBERS:
            data = torch.empty(array.nbytes, dtype=torch.uint8)
            data.numpy()[:] = np.frombuffer(array.tobytes(), np.uint8)
            return {**node, "value": self._store(data, path)}
        if array.dtype.kind in "UO":
            items = enumerate(array.ravel().tolist())
            return {**node, "value": [self.encode(item, (*path, i)) for i, item in items]}
        raise TypeError(f"{_where(path)} is an array of {array.dtype}; only numbers and strings can be saved.")

    def _store(self, tensor: Tensor, path: tuple[Any, ...]) -> str:
        name = "/".join(str(key).encode("ascii", "backslashreplace").decode() for key in path) or "value"
        while name in self._tensors or name == _METADATA:
            name += "'"
        self._tensors[name] = tensor
        return name

    def layout(self) -> tuple[dict[str, Any], list[memoryview]]:
        """Return the entries of the safetensors header, and the bytes of the tensors in their order.

        Returns
        -------
        entries : dict
            Type, shape, and begin and end of each tensor, by name.
        blocks : list of memoryview
            One for each tensor. The widest types come first, so that each begins at a multiple of its width.
        """
        entries: dict[str, Any] = {}
        blocks: list[memoryview] = []
        position = 0
        for name, tensor in sorted(self._tensors.items(), key=lambda item: -item[1].itemsize):
            # Not reshape(-1): of an empty tensor, or one of a single value, it may keep any stride.
            flat = tensor.as_strided((tensor.numel(),), (1,))
            block = flat.view(torch.uint8).numpy().data
            dtype = _SAFETENSORS_NAMES.get(tensor.dtype, "U8")
            shape = [*tensor.shape] if tensor.dtype in _SAFETENSORS_NAMES else [block.nbytes]
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + block.nbytes]}
            blocks.append(block)
            position += block.nbytes
        return entries, blocks


class TreeDecoder:
    """Build a tree again from what `TreeEncoder` made of it.

    Parameters
    ----------
    entries : dict
        Of the safetensors header: where the bytes of each tensor are.
    buffer : bytearray
        The bytes of all tensors.
    """

    def __init__(self, entries: dict[str, Any], buffer: bytearray) -> None:
        self._entries = entries
        self._buffer = buffer

    def decode(self, node: Any) -> Any:
        """Return the value that was encoded.

        Parameters
        ----------
        node : dict, list, str, int, float, bool or None
            As ``json.loads`` returns it.

        Returns
        -------
        dict, list, tuple, str, int, float, bool, None, Tensor, ndarray or NumPy scalar
            Arrays and tensors have memory of their own.

        Raises
        ------
        KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError
            If the tree is not as `TreeEncoder` makes it.
        """
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        kind, value = node["type"], node["value"]
        if kind == "float":
            return float(value)
        if kind == "tuple":
            return tuple(self.decode(item) for item in value)
        if kind == "dict":
            return {self.decode(key): self.decode(item) for key, item in value}
        if kind == "tensor":
            return self._decode_tensor(node)
        if kind == "array":
            return self._decode_array(node)
        if kind == "scalar":
            return self._decode_array(node)[()]
        raise ValueError(f"unknown type {kind!r}")

    def _decode_tensor(self, node: dict[str, Any]) -> Tensor:
        dtype = getattr(torch, node["dtype"])
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"{node['dtype']!r} is no type of a tensor")
        tensor = torch.empty(self._checked_shape(node, dtype.itemsize), dtype=dtype)
        if tensor.numel():
            begin, _ = self._entries[node["value"]]["data_offsets"]
            source = torch.frombuffer(self._buffer, dtype=dtype, count=tensor.numel(), offset=begin)
            tensor.copy_(source.reshape(tensor.shape))
        return tensor

    def _decode_array(self, node: dict[str, Any]) -> NDArray[Any]:
        dtype = np.dtype(node["dtype"])
        if dtype.kind in _NUMBERS:
            array = np.empty(self._checked_shape(node, dtype.itemsize), dtype=dtype)
            begin, end = self._entries[node["value"]]["data_offsets"]
            array.reshape(-1).view(np.uint8)[:] = np.frombuffer(self._buffer, np.uint8)[begin:end]
            return array
        if dtype.kind not in "UO":
            raise TypeError(f"{node['dtype']!r} is no type of a saved array")
        values = np.empty(len(node["value"]), dtype=dtype)
        for i, item in enumerate(node["value"]):
            values[i] = self.decode(item)
        return values.reshape(node["shape"])

    def _checked_shape(self, node: dict[str, Any], itemsize: int) -> tuple[int, ...]:
        """Return the shape if there are bytes to fill it, so that no file asks for more memory than it has."""
        shape = tuple(int(side) for side in node["shape"])
        begin, end = self._entries[node["value"]]["data_offsets"]
        if any(side < 0 for side in shape) or math.prod(shape) * itemsize != end - begin or begin < 0:
            raise ValueError(f"{node['value']!r} has {end - begin} bytes, which are not of shape {shape}")
        if end > len(self._buffer):
            raise ValueError(f"{node['value']!r} ends behind the end of the file")
        return shape


def _where(path: tuple[Any, ...]) -> str:
    return "content" + "".join(f"[{key!r}]" for key in path)
