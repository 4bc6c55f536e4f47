"""Sizes as values: the contents of small tensors that hold sizes of others.

A size is a number or the name of a dimension. The records of operators say what each makes of the
contents of its inputs; here they are read, forwards by the pass over shape computations, and
backwards from one value by whatever asks for its contents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .operators import lookup
from .operators.record import Contents, Read, table
from .values import Size, constant, dims, static_shape

Extent = int | str
"""A size that is known: a number, or the name of a dimension."""

LIMIT = 64
"""Number of elements up to which contents are read."""

_DEPTH = 64  # nodes between a value and what its contents follow from


def extent(value: ir.Value | None, axis: int) -> Extent | None:
    """Size of an axis of a value, where it is a number or has a name."""
    sizes = None if value is None else dims(value)
    return sizes[axis] if sizes is not None and -len(sizes) <= axis < len(sizes) else None


def constant_contents(value: ir.Value | None) -> Contents | None:
    """Contents of a small constant of whole numbers."""
    array = constant(value)
    if array is None or array.size > LIMIT or array.dtype.kind not in "iubf":
        return None
    if not np.isfinite(array).all() or (array != np.trunc(array)).any():
        return None
    return table([int(item) for item in array.reshape(-1)], array.shape)


def evaluate(node: ir.Node, read: Read) -> Contents | None:
    """Contents of the only result of a node, from those of its inputs."""
    rule = lookup(node).contents
    elements = rule(node, read) if rule is not None and node.inputs else None
    numbers = [] if elements is None else [n for n in elements.flat if isinstance(n, int)]
    return elements if all(map(_range_of(node.outputs[0].dtype).__contains__, numbers)) else None


_EXACT = {ir.DataType.FLOAT16: 11, ir.DataType.FLOAT: 24, ir.DataType.DOUBLE: 53}
"""Bits of a whole number that a type of fractions holds exactly."""


def _range_of(dtype: ir.DataType | None) -> range:
    """Whole numbers that a type holds; what is beyond wraps or is rounded."""
    if dtype in _EXACT:
        return range(-(2 ** _EXACT[dtype]), 2 ** _EXACT[dtype] + 1)
    if dtype is None or not dtype.is_integer():
        return range(-(2**63), 2**63)
    unsigned = dtype.name.startswith("U")
    bits = dtype.bitwidth if unsigned else dtype.bitwidth - 1
    return range(0 if unsigned else -(2**bits), 2**bits)


def contents(value: ir.Value | None) -> list[Size] | None:
    """Elements of a small tensor of sizes, in order; None where one is not known.

    None of a tensor of which nothing is known, not even the number of elements.
    """
    elements = _read(value, {}, _DEPTH)
    return None if elements is None else list(elements.reshape(-1))


def _read(
    value: ir.Value | None, known: dict[ir.Value, Contents | None], depth: int
) -> Contents | None:
    if value is None:
        return None
    if value not in known:
        elements, node = constant_contents(value), value.producer()
        if elements is None and node is not None and depth:
            elements = evaluate(node, lambda operand: _read(operand, known, depth - 1))
        known[value] = _unknown(value) if elements is None else elements
    return known[value]


def _unknown(value: ir.Value) -> Contents | None:
    shape = static_shape(value)
    if shape is None or len(shape) != 1 or shape[0] > LIMIT:
        return None
    return table([None] * shape[0])


def measured(value: ir.Value | None) -> Extent | None:
    """Size that a number (of any type) stands for, as far as it is one."""
    elements = contents(value)
    return elements[0] if elements is not None and len(elements) == 1 else None


def measured_everywhere(value: ir.Value | None) -> Extent | None:
    """Size that all elements of a vector stand for, if it is the same."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Expand" and not node.domain:
        return measured(node.inputs[0])
    array = constant(value)
    if array is not None:
        numbers = set(array.reshape(-1).tolist()) if array.dtype.kind in "iu" else set()
        return int(numbers.pop()) if len(numbers) == 1 else None
    elements = contents(value)
    return elements[0] if elements and len(set(elements)) == 1 else None


def are_sizes(value: ir.Value | None) -> bool:
    """Tell whether a value holds sizes of tensors, or sums and products of such, and no mark."""
    pending, seen = [value], {value}
    while pending:  # no recursion, and each value once: they may be made of one another many times
        operands = _hold_sizes(pending.pop())
        if operands is None:
            return False
        pending += [operand for operand in operands if operand not in seen]
        seen.update(operands)
    return True


def _hold_sizes(value: ir.Value | None) -> Sequence[ir.Value | None] | None:
    """Values that have to hold sizes where one is to, None if it does not."""
    array = constant(value)
    if array is not None:
        return [] if array.dtype.kind in "iu" and (array > 0).all() else None
    node = None if value is None else value.producer()
    if node is None:
        return None
    if node.op_type == "Shape" and not node.domain:
        return []
    return {"never": None, "first": node.inputs[:1], "all": node.inputs}[lookup(node).holds_sizes]
