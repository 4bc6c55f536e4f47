"""LabelEncoder of ai.onnx.ml between numbers: a look-up in a hash table."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu.lookup import MULTIPLIER, lookup
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..tensors import short_name
from .class_scores import DOMAIN
from .registry import Operator, register

_TYPES = ("float32", "float64", "int16", "int32", "int64")
_KINDS = {"int64s": np.int64, "floats": np.float32}


def _table(node: Node, prefix: str) -> np.ndarray:
    """Return the keys or the values."""
    tensor = node.attribute(f"{prefix}_tensor")
    if tensor is not None:
        array = np.asarray(tensor.numpy()).reshape(-1)
    elif node.attribute(f"{prefix}_strings"):
        raise OnHost(f"{prefix} are strings")
    else:
        lists = ((kind, node.attribute(f"{prefix}_{name}")) for name, kind in _KINDS.items())
        array = next((np.array(v, kind) for kind, v in lists if v), np.zeros(0, np.int64))
    if str(array.dtype) not in _TYPES or not len(array):
        raise OnHost(f"{len(array)} {prefix} of {array.dtype}")
    return array


def _default(node: Node, values: np.ndarray) -> Any:
    tensor = node.attribute("default_tensor")
    if node.attribute("values_tensor") is not None:
        if tensor is not None:
            return np.asarray(tensor.numpy()).reshape(-1)[0]
        return -1 if values.dtype.kind == "i" else -0.0
    if values.dtype.kind == "i":
        return node.attribute("default_int64", -1)
    return node.attribute("default_float", -0.0)


def _infer(node: Node) -> list[Info]:
    x = node.required(0)
    if node.version < 2:
        raise OnHost("its labels are strings")
    keys, values = _table(node, "keys"), _table(node, "values")
    if len(keys) != len(values):
        refuse(node, "number of values", len(values), f"{len(keys)}, that of keys")
    if x.dtype != str(keys.dtype):
        raise OnHost(f"keys of {keys.dtype} for elements of {x.dtype}")
    return [node.result(x.dims, str(values.dtype))]


def hash_table(emit: Emission, keys: np.ndarray, name: str) -> dict[str, Any]:
    """Return the fields of the table of different keys, none of them NaN: see `HashTable`."""
    bits = (2 * len(keys)).bit_length()  # at most half of the places are taken
    whole = keys if keys.dtype.kind == "i" else (keys + 0).view(f"int{8 * keys.itemsize}")
    hashes = whole.astype(np.int64).view(np.uint64) * np.uint64(MULTIPLIER)
    table, places = np.zeros(1 << bits, keys.dtype), np.full(1 << bits, -1, np.int32)
    for number, at in enumerate((hashes >> np.uint64(64 - bits)).tolist()):
        while places[at] >= 0:
            at = (at + 1) % len(table)
        table[at], places[at] = keys[number], number
    return {
        "keys": emit.constant(table, f"{name}.keys"),
        "places": emit.constant(places, f"{name}.places"),
        "shift": 64 - bits,
        "mask": len(table) - 1,
    }


def _lower(emit: Emission, node: Node) -> None:
    keys, values = _table(node, "keys"), _table(node, "values")
    default = np.array(_default(node, values)).astype(values.dtype)
    # Of equal keys the last one counts: it is the first from behind.
    found, order = np.unique(keys[::-1], return_index=True)
    ordered = values[::-1][order]
    is_nan = found != found
    missing = ordered[is_nan][-1] if is_nan.any() else default
    found, ordered = found[~is_nan], ordered[~is_nan]
    x = emit.ordered(emit.tensor(node.values[0]))
    y = emit.output(node)
    emit.step(
        lookup(short_name(str(keys.dtype)), values.itemsize), outputs=[y], x=x, y=y, count=x.size,
        values=emit.constant(np.array([*ordered, missing, default], values.dtype)),
        length=len(found), flops=4 * x.size, **hash_table(emit, found, node.name),
    )  # fmt: skip


register("LabelEncoder", Operator(infer=_infer, lower=_lower), DOMAIN)
