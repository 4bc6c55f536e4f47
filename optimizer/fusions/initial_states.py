"""Initial states of zeros: LSTM, GRU and RNN begin with such by themselves.

Exporters make them for the batch size at hand, by ConstantOfShape or Expand, and divide them among
layers by Slice. A node without them leaves out the products with zeros.
"""

from __future__ import annotations

import onnx_ir as ir

from ..edits import set_inputs
from ..report import Report
from ..sizes import extent
from ..values import attribute, dims, graphs
from ..zeros import is_zero

_OPERATORS = frozenset(["LSTM", "GRU", "RNN"])
_X, _R, _STATES = 0, 2, (5, 6)
"""Inputs of a node; only a LSTM has the second state."""


def drop_zero_states(model: ir.Model, report: Report) -> int:
    """Leave out initial states of zeros, whose sizes are the right ones; returns how many."""
    count = 0
    for graph in graphs(model):
        for node in graph:
            if node.op_type in _OPERATORS and not node.domain:
                count += _drop(node, report)
    return count


def _drop(node: ir.Node, report: Report) -> int:
    expected, count = _sizes(node), 0
    for index in _STATES:
        state = node.inputs[index] if index < len(node.inputs) else None
        if state is None or not is_zero(state):
            continue
        sizes = dims(state)
        if sizes is None or None in sizes or sizes != expected:
            report.explain(
                f"state {state.name!r} of {node.name!r} not left out: its sizes are {sizes}, "
                f"expected {expected}"
            )
            continue
        set_inputs(node, {index: None})
        count += 1
    return count


def _sizes(node: ir.Node) -> list[int | str | None]:
    """Sizes that initial states have: directions, batch, hidden units, or batch first."""
    x, recurrence = node.inputs[_X], node.inputs[_R]
    directions, units = extent(recurrence, 0), extent(recurrence, 2)
    if attribute(node, "layout", 0):
        return [extent(x, 0), directions, units]
    return [directions, extent(x, 1), units]
