"""Elementwise nodes whose result is normalized next: one step for both.

Transformers normalize a sum: of what a layer gives and what it was given. Where a product takes
that sum as a part of its step, the product leads a group, and this is not asked. Else rows are
computed, written where others read them, and normalized while they are in the first-level cache.
"""

from __future__ import annotations

import onnx_ir as ir

from ...kernels.cpu.layer_norm import computed_layer_norm
from ..emission import Emission
from ..graph import Node
from ..groups import Group
from ..symbolic import product
from .epilogue import Epilogue
from .norm import NormalizedRows, is_composed
from .pointwise import preferred_order, write_expression

_LONGEST = 1 << 14
"""Elements of a row, of which a few stay in a cache; longer ones are computed by more threads."""


def emit_normalized_group(emit: Emission, group: Group) -> bool:
    """Emit a group and the normalization behind it; False, and nothing emitted, for others."""
    node = _normalization(emit, group.last.outputs[0])
    first = None if node is None else _rows_operand(emit, group)
    if node is None or first is None:
        return False
    expression = write_expression(group.nodes, first)
    tensors = expression.tensors(emit)
    shape = group.last.infos[0].dims
    whole = [tensor for tensor in tensors if tensor.shape == shape]
    if any(not tensor.is_contiguous for tensor in whole) or preferred_order(shape, tensors):
        return False
    rows = NormalizedRows(emit, node)
    x = rows.y if _is_only_normalized(group) and rows.y.dtype == "float32" else None
    outputs = rows.outputs
    if x is None:
        x = emit.output(group.last)
        outputs = [x, *outputs]
    matrix, steps = (rows.fields["rows"], rows.fields["n"]), (rows.fields["n"], 1)
    computed = Epilogue(
        result=x.view(matrix, steps), expression=expression.text, others=tensors[1:]
    ).over_rows(emit, tensors[0].view(matrix, steps), [None, None, 0, 1], shape)
    emit.step(
        computed_layer_norm(*rows.parameters), outputs=outputs, nodes=[*group.nodes, node],
        flops=(7 + len(group.nodes)) * product(shape), over=whole, x=x, x_row=rows.fields["n"],
        computed=computed.kernel, record=computed.record, operands=computed.operands,
        **rows.fields,
    )  # fmt: skip
    emit.absorbed.add(node.index)
    return True


def _normalization(emit: Emission, value: ir.Value) -> Node | None:
    """Return the node that normalizes a value over its last axes by constants, if one does."""
    for use in value.uses():
        index = emit.graph.index_of.get(use.node, -1)
        if index < 0 or index in emit.graph.why_host or emit.is_catching:
            continue
        node = emit.graph.nodes[index]
        if node.op_type in ("LayerNormalization", "RMSNormalization") and use.idx == 0:
            infos = [info for info in node.inputs[1:] if info is not None]
            axis = node.attribute("axis", -1) % node.required(0).rank
            n = product(node.required(0).dims[axis:])
            if is_composed(node) or not all(info.is_constant for info in infos):
                continue
            if isinstance(n, int) and 0 < n <= _LONGEST:
                return node
    return None


def _rows_operand(emit: Emission, group: Group) -> ir.Value | None:
    """Return an operand as large as a group's result, if others are, too, or are as a row."""
    result, first = group.last.infos[0], None
    if result.dtype != "float32":
        return None
    for source in write_expression(group.nodes).operands:
        if isinstance(source, float):
            continue
        info = emit.infos[source] if isinstance(source, ir.Value) else None
        if info is None or info.dtype != "float32":
            return None
        if info.dims == result.dims:
            first = first or source
        elif product(info.dims) not in (1, info.dims[-1]):
            return None
    return first  # type: ignore[return-value]


def _is_only_normalized(group: Group) -> bool:
    value = group.last.outputs[0]
    return len(value.uses()) == 1 and not value.is_graph_output()
