"""Values all elements of which are zero, however many there are."""

from __future__ import annotations

import onnx_ir as ir

from .values import constant

_MOVE_FIRST = frozenset(
    """Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose
    Unsqueeze""".split()  # noqa: SIM905
)
"""Operators whose results have elements of their first input, and no others."""


def is_zero(value: ir.Value | None) -> bool:
    """Tell whether a value is known to be all zeros."""
    pending, seen = [value], {value}
    while pending:  # no recursion, and each value once
        operands = _made_of(pending.pop())
        if operands is None:
            return False
        pending += [operand for operand in operands if operand not in seen]
        seen.update(operands)
    return True


def _made_of(value: ir.Value | None) -> list[ir.Value | None] | None:
    """Values that have to be zeros where one is to; None if it has other elements."""
    array = constant(value)
    if array is not None:
        return None if array.any() else []
    node = None if value is None else value.producer()
    if node is None or node.domain:
        return None
    if node.op_type == "ConstantOfShape":
        filled = node.attributes.get("value")
        return [] if filled is None or not filled.as_tensor().numpy().any() else None
    if node.op_type == "Concat":
        return list(node.inputs)
    return list(node.inputs[:1]) if node.op_type in _MOVE_FIRST else None
