"""Sizes as values: which dimension a computed number is the size of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from .values import attribute, constant, dims, integers

Extent = int | str
"""A size: a number, or the name of a dimension."""

_LIMIT = 64


def extent(value: ir.Value | None, axis: int) -> Extent | None:
    """Size of an axis of a value, where it is a number or has a name."""
    sizes = None if value is None else dims(value)
    return sizes[axis] if sizes is not None and -len(sizes) <= axis < len(sizes) else None


def contents(value: ir.Value | None) -> list[Extent | None] | None:
    """Elements of a small tensor of sizes, in order; None where one is not known."""
    array = constant(value)
    if array is not None:
        whole = array.dtype.kind in "iuf" and array.size <= _LIMIT
        if not whole or not np.array_equal(array, np.trunc(array)):
            return None
        return [int(item) for item in array.reshape(-1)]
    node = None if value is None else value.producer()
    if node is None or node.domain or node.op_type not in _RULES:
        return None
    return _RULES[node.op_type](node)


def measured(value: ir.Value | None) -> Extent | None:
    """Size that a number (of any type) stands for, as far as it is one."""
    found = contents(value)
    return found[0] if found is not None and len(found) == 1 else None


def measured_everywhere(value: ir.Value | None) -> Extent | None:
    """Size that all elements of a vector stand for, if it is the same."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Expand" and not node.domain:
        return measured(node.inputs[0])
    found = constant(value)
    if found is not None:
        kinds = set(found.reshape(-1).tolist())
        return int(kinds.pop()) if len(kinds) == 1 and found.dtype.kind in "iu" else None
    known = contents(value)
    return known[0] if known and len(set(known)) == 1 else None


_Contents = list[Extent | None]


def _shape(node: ir.Node) -> _Contents | None:
    sizes = None if node.inputs[0] is None else dims(node.inputs[0])
    if sizes is None:
        return None
    return list(sizes[attribute(node, "start", 0) : attribute(node, "end", len(sizes))])


def _same(node: ir.Node) -> _Contents | None:
    return contents(node.inputs[0])


def _gather(node: ir.Node) -> _Contents | None:
    data, indices = contents(node.inputs[0]), integers(node.inputs[1])
    if data is None or indices is None or any(not -len(data) <= i < len(data) for i in indices):
        return None
    return [data[i] for i in indices]


def _slice(node: ir.Node) -> _Contents | None:
    data = contents(node.inputs[0])
    limits = [integers(value) for value in node.inputs[1:]]
    if data is None or len(limits) < 2 or any(item is None or len(item) != 1 for item in limits):
        return None
    step = limits[3][0] if len(limits) > 3 else 1  # type: ignore[index]
    return data[slice(limits[0][0], limits[1][0], step)] if step > 0 else None  # type: ignore[index]


def _concat(node: ir.Node) -> _Contents | None:
    made: _Contents = []
    for value in node.inputs:
        part = contents(value)
        if part is None:
            length = extent(value, 0)
            if not isinstance(length, int):
                return None
            part = [None] * length
        made += part
    return made


_RULES: dict[str, Callable[[ir.Node], _Contents | None]] = {
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    **dict.fromkeys(["Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"], _same),
}


_PARTS = frozenset(["Cast", "Gather", "Identity", "ReduceProd", "Slice", "Squeeze", "Unsqueeze"])
_WHOLES = frozenset(["Add", "Concat", "Mul"])


def are_sizes(value: ir.Value | None) -> bool:
    """Tell whether a value holds sizes of tensors, or sums and products of such, and no mark."""
    array = constant(value)
    if array is not None:
        return array.dtype.kind in "iu" and bool((array > 0).all())
    node = None if value is None else value.producer()
    if node is None or node.domain:
        return False
    whole = node.op_type in _WHOLES and all(are_sizes(part) for part in node.inputs)
    part = node.op_type in _PARTS and are_sizes(node.inputs[0])
    return node.op_type == "Shape" or whole or part
