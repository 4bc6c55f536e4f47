"""Ranges of values: what a tensor can hold, whatever the inputs are."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .values import constant

LOWEST = np.finfo(np.float32).min
"""The lowest finite number of float32."""

_DEPTH = 64  # nodes between a value and what its range follows from

# Operators whose results are elements of their first inputs.
_MOVEMENTS = frozenset([
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile"),
    *("Slice", "Gather", "GatherND", "GatherElements"),
])  # fmt: skip
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
}


@dataclass(frozen=True)
class Range:
    """Finite values are from ``least`` to ``most``; -inf may be there, too, +inf and NaN not."""

    least: float
    most: float
    infinite: bool = False


def value_range(value: ir.Value | None) -> Range | None:
    """Range of the values of a tensor of bools, integers or float32; None where none is known."""
    return _find(value, {}, _DEPTH)


_Known = dict[ir.Value, Range | None]


def _find(value: ir.Value | None, known: _Known, depth: int) -> Range | None:
    if value is None or value.dtype is None or not depth:
        return None
    if value not in known:
        array, node = constant(value), value.producer()
        if array is not None:
            known[value] = _of_array(array)
        elif value.dtype == ir.DataType.BOOL:
            known[value] = Range(0, 1)
        elif value.dtype.is_integer():
            limits = np.iinfo(value.dtype.numpy())
            known[value] = Range(float(limits.min), float(limits.max))
        elif value.dtype == ir.DataType.FLOAT and node is not None and not node.domain:
            known[value] = _computed(node, known, depth - 1)
        else:
            known[value] = None
    return known[value]


def _of_array(array: np.ndarray) -> Range | None:
    if array.dtype.kind not in "biuf" or not array.size:
        return None
    numbers = array.astype(np.float64)
    infinite = np.isneginf(numbers)
    finite = np.where(infinite, 0, numbers)
    if not np.isfinite(finite).all():
        return None
    return Range(float(finite.min()), float(finite.max()), bool(infinite.any()))


def _computed(node: ir.Node, known: _Known, depth: int) -> Range | None:
    inputs = [_find(value, known, depth) for value in node.inputs]
    if node.op_type in _MOVEMENTS or node.op_type == "Cast":
        return inputs[0]
    if node.op_type == "Where":
        return _union(inputs[1:])
    if node.op_type == "Concat":
        return _union(inputs)
    if node.op_type == "Max":
        return _greatest(inputs)
    if node.op_type in _ARITHMETIC and len(inputs) == 2:
        return _combined(node.op_type, *inputs)
    return None


def _union(ranges: Sequence[Range | None]) -> Range | None:
    found = [each for each in ranges if each is not None]
    if len(found) < len(ranges):
        return None
    least, most = min(each.least for each in found), max(each.most for each in found)
    return Range(least, most, any(each.infinite for each in found))


def _greatest(ranges: Sequence[Range | None]) -> Range | None:
    found = [each for each in ranges if each is not None]
    if len(found) < len(ranges):
        return None
    least, most = max(each.least for each in found), max(each.most for each in found)
    return Range(least, most, all(each.infinite for each in found))


def _combined(kind: str, a: Range | None, b: Range | None) -> Range | None:
    """Range of a sum, difference or product of float32; what overflows is infinite."""
    if a is None or b is None or (kind == "Sub" and b.infinite):
        return None
    if kind == "Mul" and ((a.infinite and b.least <= 0) or (b.infinite and a.least <= 0)):
        return None  # 0 times infinity, or infinity of the other sign
    exact = [_ARITHMETIC[kind](x, y) for x in (a.least, a.most) for y in (b.least, b.most)]
    with np.errstate(over="ignore"):
        ends = np.array(exact).astype(np.float32)
    if np.isposinf(ends).any():
        return None
    infinite = a.infinite or b.infinite or bool(np.isneginf(ends).any())
    return Range(float(max(ends.min(), LOWEST)), float(max(ends.max(), LOWEST)), infinite)
