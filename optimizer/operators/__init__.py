"""Operators: the one table of what passes need to know of them."""

from __future__ import annotations

import onnx_ir as ir

from . import elementwise, extension, neural, quantization, random, reductions, reshapes, selection
from .record import Operator

_FAMILIES = (
    elementwise, extension, neural, quantization, random, reductions, reshapes, selection,
)  # fmt: skip

OPERATORS: dict[str, Operator] = {
    op_type: operator for family in _FAMILIES for op_type, operator in family.OPERATORS.items()
}
"""Records by the name of the operator of the standard domain."""

_UNKNOWN = Operator()


def lookup(node: ir.Node) -> Operator:
    """Return the record of a node's operator; that of an unknown one for other domains."""
    return _UNKNOWN if node.domain else OPERATORS.get(node.op_type, _UNKNOWN)
