"""Weights of few bits in one form: for a runtime, not for what others get.

Exporters widen such weights by a DequantizeLinear, or by Cast, Sub and Mul, and transpose them. In
one form, a DequantizeLinear of what a product takes, the product can read the numbers as they lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .edits import insert, make_constant, register, set_inputs
from .values import attribute, constant, graphs, rank

LEAST = 1 << 14
"""Numbers of a matrix below which it is not worth it."""
_TYPES = ("int8", "uint8", "int4", "uint4")


def is_small(node: ir.Node) -> bool:
    """Tell whether a node widens constants that only products and lookups read."""
    if node.domain or node.op_type != "DequantizeLinear" or rank(node.inputs[0]) != 2:
        return False
    numbers = node.inputs[0]
    size = 0 if numbers is None or numbers.const_value is None else numbers.const_value.size
    if size < LEAST or node.outputs[0].is_graph_output():
        return False
    places = {"MatMul": 1, "Gemm": 1, "Gather": 0}
    users = node.outputs[0].uses()
    return all(not user.domain and places.get(user.op_type) == i for user, i in users)


@dataclass
class _Found:
    """Numbers that a value widens, as (depth, columns) unless ``turned``."""

    numbers: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    turned: bool


def gather_small_weights(model: ir.Model) -> None:
    """Let products read weights that are widened in steps from one DequantizeLinear, in place."""
    for graph in graphs(model):
        for node in list(graph):
            if not node.domain and node.op_type in ("MatMul", "Gemm") and len(node.inputs) > 1:
                _gather(graph, node)


def _gather(graph: ir.Graph, node: ir.Node) -> None:
    value = node.inputs[1]
    maker = None if value is None else value.producer()
    if value is None or maker is None or rank(value) != 2 or value.dtype != ir.DataType.FLOAT:
        return
    if maker.op_type == "DequantizeLinear":
        return
    found = _found(value)
    if found is None or found.numbers.size < LEAST:
        return
    parts = [found.numbers, found.scales, found.zeros.astype(found.numbers.dtype)]
    if found.turned:
        parts = [part.T for part in parts]
    per_column = _per_column(parts[1], parts[0].shape), _per_column(parts[2], parts[0].shape)
    if per_column[0] is None or per_column[1] is None:
        return
    names = ("numbers", "scales", "zeros")
    arrays = (parts[0], per_column[0].astype(np.float32), per_column[1])
    operands = [
        make_constant(array, f"{value.name}.{name}")
        for array, name in zip(arrays, names, strict=True)
    ]
    for operand in operands:
        register(graph, operand)
    name = f"{value.name}.{node.name}.widened"
    made = ir.node("DequantizeLinear", operands, {"axis": 1}, name=name)
    made.outputs[0].name = name
    made.outputs[0].type, made.outputs[0].shape = value.type, ir.Shape(parts[0].shape)
    insert(node, [made])
    set_inputs(node, {1: made.outputs[0]})


def _per_column(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """One value for each column; None where they differ by row."""
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), shape[1:]).copy()
    return values.reshape(-1) if values.shape == (1, shape[1]) else None


def _found(value: ir.Value | None) -> _Found | None:
    """Follow the steps that widen numbers back to these."""
    node = None if value is None else value.producer()
    if node is None or node.domain or not node.inputs:
        return None
    step = _STEPS.get(node.op_type)
    return None if step is None else step(node)


def _transposed(node: ir.Node) -> _Found | None:
    found = _found(node.inputs[0])
    if found is not None:
        found.turned = not found.turned
    return found


def _scaled(node: ir.Node) -> _Found | None:
    for value, factor in (node.inputs, node.inputs[::-1]):
        factors = _matrix(factor)
        found = None if factors is None else _found(value)
        if found is not None and factors is not None and factors.dtype == np.float32:
            factors = factors.T if found.turned else factors
            found.scales = found.scales * factors
            return found if found.scales.size <= found.numbers.size else None
    return None


def _shifted(node: ir.Node) -> _Found | None:
    found, zeros = _found(node.inputs[0]), _matrix(node.inputs[1])
    if found is None or zeros is None or found.scales.size != 1 or found.zeros.any():
        return None
    limits = _limits(found.numbers)
    whole = bool((zeros == np.round(zeros)).all() and (found.scales == 1).all())
    if not whole or zeros.min() < limits[0] or zeros.max() > limits[1]:
        return None
    found.zeros = zeros.T if found.turned else zeros
    return found


def _cast(node: ir.Node) -> _Found | None:
    numbers = constant(node.inputs[0])
    wide = attribute(node, "to", 0) == ir.DataType.FLOAT
    if not wide or numbers is None or numbers.ndim != 2 or numbers.dtype.name not in _TYPES:
        return None
    return _Found(numbers, np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32), False)


def _dequantized(node: ir.Node) -> _Found | None:
    numbers, scales = constant(node.inputs[0]), constant(node.inputs[1])
    zero_value = node.inputs[2] if len(node.inputs) > 2 else None
    zeros = np.zeros((), np.int64) if zero_value is None else constant(zero_value)
    if numbers is None or scales is None or zeros is None or attribute(node, "block_size", 0):
        return None
    if numbers.ndim != 2 or numbers.dtype.name not in _TYPES or scales.dtype != np.float32:
        return None
    shape = (1, -1) if attribute(node, "axis", 1) % 2 else (-1, 1)
    return _Found(numbers, scales.reshape(shape), zeros.astype(np.float32).reshape(shape), False)


def _matrix(value: ir.Value | None) -> np.ndarray | None:
    """Contents of a constant that broadcasts to a matrix, with two axes."""
    array = constant(value)
    return None if array is None or array.ndim > 2 else np.atleast_2d(array)


def _limits(numbers: np.ndarray) -> tuple[int, int]:
    bits = 4 if numbers.dtype.name.endswith("4") else 8
    return (
        (0, (1 << bits) - 1)
        if numbers.dtype.name[0] == "u"
        else (-(1 << bits - 1), (1 << bits - 1) - 1)
    )


_STEPS = {
    "Transpose": _transposed, "Mul": _scaled, "Sub": _shifted, "Cast": _cast,
    "DequantizeLinear": _dequantized,
}  # fmt: skip
