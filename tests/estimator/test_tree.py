"""Trees of values, arrays and tensors come back from a file as they were."""

from __future__ import annotations

import re
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from same_trees import round_trip, same

from skinclf.estimator._container import write_container

numbers = hnp.arrays(
    st.sampled_from(["?", "u1", "i1", "<i4", ">i4", "<u8", "<i8", "<f2", "<f4", ">f8", "<c8", "<c16"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
strings = hnp.arrays(st.sampled_from(["<U1", "<U5", ">U3"]), hnp.array_shapes(max_side=3))
objects = st.lists(st.text() | st.none() | st.integers() | st.booleans(), max_size=4).map(
    lambda values: np.array([*values, "end"], dtype=object)
)
tensors = hnp.arrays(
    st.sampled_from(["?", "u1", "i2", "<i8", "<f4", "<f8", "<c16"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
).map(lambda array: torch.from_numpy(np.array(array)))
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | numbers | strings | objects | tensors
) | numbers.filter(lambda array: array.ndim == 0).map(lambda array: array[()])
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(tree=trees)
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
def test_any_tree_comes_back_as_it_was(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")

    assert same(round_trip(tree, folder), tree)

    safetensors.torch.load((folder / "tree.safetensors").read_bytes())  # the reference reader takes it too


ALL_DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64,
    torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    torch.float8_e4m3fn,
]  # fmt: skip


@pytest.mark.parametrize("dtype", ALL_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2), (0,), (4, 0)], ids=str)
def test_tensors_of_every_type_come_back(dtype, shape, tmp_path):
    tensor = torch.arange(np.prod(shape, dtype=int)).reshape(shape).to(dtype)

    result = round_trip({"a": tensor, "b": torch.ones(3, dtype=torch.uint8)}, tmp_path)["a"]

    assert (result.dtype, result.shape) == (dtype, shape)
    assert same(result, tensor)


def test_views_and_shared_memory_come_back_as_tensors_of_their_own(tmp_path):
    base = torch.arange(24.0).reshape(2, 3, 4)
    parameter = torch.nn.Parameter(base.clone())
    tree = {
        "base": base, "turned": base.permute(2, 0, 1), "row": base[1], "step": base[..., ::2], "same": base,
        "spread": torch.ones(1).expand(5), "one": torch.arange(9.0)[::5][:1], "none": torch.ones(1)[::2][:0],
        "last": base.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "parameter": parameter, "conjugate": torch.tensor([1 + 2j]).conj(),
    }  # fmt: skip

    result = round_trip(tree, tmp_path)

    for name, tensor in tree.items():
        assert torch.equal(result[name], tensor.detach()), name
        assert not result[name].requires_grad
    assert len({tensor.data_ptr() for tensor in result.values() if tensor.numel()}) == len(tree) - 1
    result["base"].zero_()
    assert result["row"].any()


def test_arrays_may_be_views_read_only_or_memory_maps(tmp_path):
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    frozen = base.copy()
    frozen.flags.writeable = False
    mapped = np.memmap(tmp_path / "map", dtype=np.float32, mode="w+", shape=(3, 4))
    mapped[:] = base

    result = round_trip([base.T, base[::2, 1:], frozen, mapped, np.asfortranarray(base)], tmp_path)

    for array, wanted in zip(result, [base.T, base[::2, 1:], base, base, base], strict=True):
        np.testing.assert_array_equal(array, wanted)
        assert type(array) is np.ndarray
        assert array.flags.writeable


def test_what_a_training_state_is_made_of_comes_back(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    tree = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": np.random.default_rng(0).bit_generator.state,  # integers of 128 bits
        "legacy": np.random.RandomState(0).get_state(legacy=False),
        "torch": torch.Generator().get_state(),
    }
    assert type(tree["network"]) is OrderedDict

    result = round_trip(tree, tmp_path)

    assert same(result, {**tree, "network": dict(tree["network"])})
    other = torch.optim.AdamW(network.parameters())
    other.load_state_dict(result["optimizer"])
    assert same(other.state_dict(), optimizer.state_dict())


def test_the_same_tree_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        write_container(tmp_path / name, "model", {"a": np.arange(3), "b": torch.ones(2), "c": {1: None}})

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_tensors_are_named_by_where_they_are_and_names_never_clash(tmp_path):
    one, two, three = (torch.full((2,), float(i)) for i in range(3))
    tree = {"a": {"b": one}, "a/b": two, "__metadata__": three, "\ud800é": one, 1: two, "1": three}

    assert same(round_trip(tree, tmp_path), tree)

    names = safetensors.torch.load((tmp_path / "tree.safetensors").read_bytes())
    assert sorted(names) == ["1", "1'", "\\ud800\\xe9", "__metadata__'", "a/b", "a/b'"]


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "object"), (Path("a"), "PosixPath"), (b"bytes", "bytes"), ({1, 2}, "set"), (1j, "complex"),
        (Point(1, 2), "Point"), (np.float64, "type"), (len, "builtin_function_or_method"),
        (np.ma.array([1]), "MaskedArray"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_saved_is_named_with_its_place(value, named, tmp_path):
    message = f"content['a'][1][7] is a {named}, which cannot be saved. What can be: dict, list"

    with pytest.raises(TypeError, match=re.escape(message)):
        write_container(tmp_path / "file", "model", {"a": (0, {7: value})})
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.eye(2).to_sparse(), "content['a'] is a sparse, quantised or meta tensor; only dense ones"),
        (torch.empty(2, device="meta"), "content['a'] is a sparse, quantised or meta tensor; only dense ones"),
        (np.array(["2020-01-01"], "M8[D]"), "content['a'] is an array of datetime64[D]; only numbers and strings"),
        (np.zeros(2, "i4,f4"), "content['a'] is an array of [('f0', '<i4'), ('f1', '<f4')]; only numbers"),
        (np.array([{1}], object), "content['a'][0] is a set, which cannot be saved"),
        ({(1, 2): 3}, "content['a'] has the key (1, 2); keys must be strings or numbers"),
    ],
    ids=["sparse", "meta", "dates", "structured", "objects", "key"],
)
def test_odd_arrays_tensors_and_keys_are_refused(value, message, tmp_path):
    with pytest.raises(TypeError, match=re.escape(message)):
        write_container(tmp_path / "file", "model", {"a": value})
