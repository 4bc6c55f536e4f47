"""Movements between a DequantizeLinear and a QuantizeLinear of one grid, as those of its integers.

For a runtime only. Where numbers lie, and which of some is the largest, is the same before and
after they are dequantized; quantizing gives the integers back.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .edits import remove, replace, set_inputs
from .quantized_values import Grid, dequantized
from .values import used_once

_MOVEMENTS = {
    "DepthToSpace", "Expand", "Flatten", "Identity", "Reshape", "Slice", "SpaceToDepth", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
"""Operators whose result has numbers of their first input, at other places."""
_MAXIMA = 12
"""Opset since which a MaxPool takes integers."""
_SCALES = np.float32(1e-30), np.float32(1e30)
"""Scales by which numbers of 8 bits can be multiplied and divided without leaving float32."""


def move_integers(model: ir.Model) -> None:
    """Let movements of dequantized tensors that are quantized again take the integers, in place."""
    with_maxima = model.opset_imports.get("", 0) >= _MAXIMA
    movements = _MOVEMENTS | ({"MaxPool"} if with_maxima else set())
    for graph in model.graphs():
        for node in list(graph):
            if node.op_type == "QuantizeLinear" and not node.domain:
                _move(node, movements)


def _move(quantizer: ir.Node, movements: set[str]) -> None:
    value, moved = quantizer.inputs[0], list[ir.Node]()
    while value is not None and _is_moved(value, movements):
        moved.append(value.producer())  # type: ignore[arg-type]
        value = moved[-1].inputs[0]
    maker = dequantized(value)
    if not moved or maker is None or not _is_same(Grid.of(maker), Grid.of(quantizer)):
        return
    whole = maker.inputs[0]
    assert whole is not None
    set_inputs(moved[-1], {0: whole})
    for node in moved:
        node.outputs[0].type = whole.type
    replace(quantizer, moved[0].outputs[0])
    if not maker.outputs[0].uses() and not maker.outputs[0].is_graph_output():
        remove(maker)


def _is_moved(value: ir.Value, movements: set[str]) -> bool:
    """Tell whether a movement gives a value, to one reader only."""
    node = value.producer()
    if node is None or node.domain or node.op_type not in movements or not used_once(value):
        return False
    return not any(other.uses() or other.is_graph_output() for other in node.outputs[1:])


def _is_same(a: Grid | None, b: Grid | None) -> bool:
    """Tell whether quantizing to ``b`` what ``a`` has dequantized gives its integers."""
    if a is None or b is None or a.zero.dtype != b.zero.dtype:
        return False
    return bool(a.zero == b.zero and a.scale == b.scale and _SCALES[0] < a.scale < _SCALES[1])
