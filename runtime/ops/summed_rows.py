"""Rows joined with the sums of their blocks, which only products with weights of few bits read.

Weights that have an offset for each block of a column multiply the sum of a row's block by it: the
offsets are further rows of weights (`optimizer.quantize.block_sums`). Where all who read the joined
rows round them to bytes, one step sums and rounds, and nothing is joined.
"""

from __future__ import annotations

import onnx_ir as ir

from ..emission import Emission
from ..graph import Node
from ..tensors import Tensor
from .packed_weights import bytes_block


def absorb_sums(emit: Emission) -> None:
    """Find such rows in the graph that is emitted, and leave out the nodes that make them."""
    for node in emit.graph.nodes:
        makers = None if node.op_type != "Concat" or node.ir.domain else _makers(emit, node)
        if makers is not None and _are_bytes(emit, node, _block_of(makers)):
            rows = node.ir.inputs[0]
            assert rows is not None
            emit.summed[node.ir.outputs[0]] = rows
            emit.absorbed |= {each.index for each in (node, *makers)}


def rows_of(emit: Emission, node: Node) -> tuple[Tensor, bool]:
    """Return what a product reads as rows, and whether the sums of its blocks belong to it."""
    value = node.values[0]
    rows = None if value is None else emit.summed.get(value)
    return emit.tensor(value if rows is None else rows), rows is not None


def _makers(emit: Emission, node: Node) -> list[Node] | None:
    """Return the nodes that cut a Concat's rows into blocks and sum these, in reverse order."""
    values = list(node.ir.inputs)
    rank = None if node.inputs[0] is None or node.inputs[0].shape is None else node.inputs[0].rank
    if len(values) != 2 or rank is None or node.attribute("axis") not in (-1, rank - 1):
        return None
    total = _only_maker(emit, values[1], "ReduceSum")
    cut = None if total is None else _only_maker(emit, total.ir.inputs[0], "Reshape")
    if total is None or cut is None or cut.ir.inputs[0] is not values[0]:
        return None
    axes = total.input(1)
    is_last = axes is not None and axes.is_constant and axes.array().tolist() in ([-1], [rank])
    if not is_last or total.attribute("keepdims", 1):
        return None
    *sizes, count, block = cut.infos[0].dims
    *outer, depth = cut.required(0).dims
    if not isinstance(count, int) or not isinstance(block, int) or sizes != outer:
        return None
    return [total, cut] if depth == count * block else None


def _block_of(makers: list[Node]) -> int:
    block = makers[1].infos[0].dims[-1]
    assert isinstance(block, int)
    return block


def _only_maker(emit: Emission, value: ir.Value | None, op_type: str) -> Node | None:
    """Return the node of a type that makes a value, if one node reads it."""
    maker = None if value is None else value.producer()
    if value is None or maker is None or maker.domain or maker.op_type != op_type:
        return None
    index = emit.graph.index_of.get(maker, -1)
    if len(value.uses()) != 1 or value.is_graph_output() or index in emit.graph.why_host:
        return None
    return None if index < 0 else emit.graph.nodes[index]


def _are_bytes(emit: Emission, node: Node, block: int) -> bool:
    """Tell whether all who read a value surely round it to bytes, in such blocks."""
    value = node.ir.outputs[0]
    if value.is_graph_output() or not value.uses():
        return False
    for use in value.uses():
        index = emit.graph.index_of.get(use.node, -1)
        if index < 0 or index in emit.graph.why_host or use.idx != 0:
            return False
        reader = emit.graph.nodes[index]
        is_product = reader.op_type == "MatMul" and not reader.ir.domain
        if not is_product or bytes_block(emit, reader) != block:
            return False
    return True
