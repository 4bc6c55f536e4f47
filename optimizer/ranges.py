"""Ranges of values: the interval that holds a tensor's elements, whatever the inputs are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .intervals import Interval
from .operators import lookup
from .values import constant

_DEPTH = 64  # nodes between a value and what its interval follows from

_Known = dict[ir.Value, Interval | None]


def value_range(value: ir.Value | None) -> Interval | None:
    """Interval of a tensor of bools, integers or float32; None where none is known."""
    return _interval(value, {}, _DEPTH)


def _interval(value: ir.Value | None, known: _Known, depth: int) -> Interval | None:
    if value is None or value.dtype is None or not depth:
        return None
    if value not in known:
        array, node = constant(value), value.producer()
        if array is not None:
            known[value] = _of_array(array)
        elif value.dtype == ir.DataType.BOOL:
            known[value] = Interval(0, 1)
        elif value.dtype.is_integer():
            limits = np.iinfo(value.dtype.numpy())
            known[value] = Interval(float(limits.min), float(limits.max))
        elif value.dtype == ir.DataType.FLOAT and node is not None:
            known[value] = _computed(node, known, depth - 1)
        else:
            known[value] = None
    return known[value]


def _of_array(array: np.ndarray) -> Interval | None:
    if array.dtype.kind not in "biuf" or not array.size:
        return None
    numbers = array.astype(np.float64)
    infinite = np.isneginf(numbers)
    finite = np.where(infinite, 0, numbers)
    if not np.isfinite(finite).all():
        return None
    return Interval(float(finite.min()), float(finite.max()), bool(infinite.any()))


def _computed(node: ir.Node, known: _Known, depth: int) -> Interval | None:
    rule = lookup(node).interval
    return None if rule is None else rule([_interval(x, known, depth) for x in node.inputs])
