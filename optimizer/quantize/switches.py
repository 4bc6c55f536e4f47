"""Switches: a model whose convolutions and products compute in the precision that a run names.

One model, compiled once, then tells what any mix of precisions does to the results: each layer is
an If, whose branches are the layer with float operands and with rounded ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from ..edits import new_constant, remove, replace_output
from ..values import constant
from .ranges import Range
from .regions import CONVOLUTIONS, Regions, behind_limits
from .static import Writer


@dataclass(frozen=True)
class Switch:
    """A layer with its inputs that choose the precision: all false for float32.

    Attributes
    ----------
    layer : str
        Name of the node.
    result : str
        What it makes, behind its Relu or Clip; an output of the model, too.
    flags : dict of str to str
        By precision, the name of the input.
    """

    layer: str
    result: str
    flags: dict[str, str]


def write_switches(
    model: ir.Model, regions: Regions, ranges: Mapping[ir.Value, Range], bfloats: bool
) -> list[Switch]:
    """Let runs choose the precision of each layer, in place.

    Parameters
    ----------
    model : ir.Model
    regions : Regions
    ranges : mapping of ir.Value to Range
    bfloats : bool
        Whether there is also bfloat16, for layers with constant weights.

    Returns
    -------
    list of Switch
        In the order of the graph. Each input is a bool, of no dimensions.
    """
    graph = model.graph
    writer = Writer(graph, regions, ranges)
    rounded = {value: _rounded(graph, writer, value) for value in _operands(regions)}
    made: dict[ir.Node, dict[str, ir.Graph]] = {}
    for node, operands in regions.heads.items():
        changes = writer.constants(node) | {i: rounded[_value(node, i)] for i in operands}
        branches = {"int8": _integers(node, changes, regions, writer)}
        if bfloats and constant(node.inputs[1]) is not None:
            branches["bf16"] = _bfloats(graph, node)
        made[node] = branches
    return [_replace(graph, node, branches) for node, branches in made.items()]


def _operands(regions: Regions) -> dict[ir.Value, None]:
    return dict.fromkeys(_value(node, i) for node, some in regions.heads.items() for i in some)


def _value(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


def _rounded(graph: ir.Graph, writer: Writer, value: ir.Value) -> ir.Value:
    """Insert what quantizes and dequantizes a tensor behind what makes it."""
    nodes = writer.rounding(value, value)
    source = value.producer()
    if source is None:
        graph.insert_before(graph[0], nodes)
    else:
        graph.insert_after(source, nodes)
    return nodes[-1].outputs[0]


def _integers(
    node: ir.Node, changes: Mapping[int, ir.Value | None], regions: Regions, writer: Writer
) -> ir.Graph:
    """Branch of a layer with quantized operands; a convolution quantizes its result, too.

    That of a Relu or Clip behind it has zero at an end of its range, and so limits already.
    """
    copy = _copy(node, "int8", changes)
    result = behind_limits(node.outputs[0])
    if node.op_type not in CONVOLUTIONS or result not in regions.values:
        return _branch([copy])
    return _branch([copy, *writer.rounding(copy.outputs[0], result)])


def _bfloats(graph: ir.Graph, node: ir.Node) -> ir.Graph:
    """Branch of a layer whose operands have been rounded to bfloat16; sums are float32."""
    x, weights = _value(node, 0), constant(node.inputs[1])
    assert weights is not None
    narrow = _cast(x, ir.DataType.BFLOAT16, f"{node.name}.narrow")
    wide = _cast(narrow.outputs[0], ir.DataType.FLOAT, f"{node.name}.wide")
    near = weights.astype(ml_dtypes.bfloat16).astype(np.float32)
    changes = {0: wide.outputs[0], 1: new_constant(graph, near, f"{node.name}.bfloats")}
    return _branch([narrow, wide, _copy(node, "bf16", changes)])


def _cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": int(to)}, name=name)
    result = node.outputs[0]
    result.name, result.type, result.shape = name, ir.TensorType(to), value.shape
    return node


def _copy(node: ir.Node, precision: str, changes: Mapping[int, ir.Value | None]) -> ir.Node:
    inputs = [changes.get(index, value) for index, value in enumerate(node.inputs)]
    copy = ir.node(node.op_type, inputs, name=f"{node.name}.{precision}")
    copy.attributes.update(node.attributes)
    result = copy.outputs[0]
    result.name = copy.name
    result.type, result.shape = node.outputs[0].type, node.outputs[0].shape
    return copy


def _branch(nodes: list[ir.Node]) -> ir.Graph:
    return ir.Graph([], [nodes[-1].outputs[0]], nodes=nodes, name=f"{nodes[-1].name}.branch")


def _replace(graph: ir.Graph, node: ir.Node, branches: Mapping[str, ir.Graph]) -> Switch:
    """Replace a layer by nested Ifs, one for each precision below float32."""
    chosen, flags = _copy(node, "fp32", {}), {}
    for precision, branch in branches.items():
        flag = ir.Value(
            name=f"{node.name}.is_{precision}",
            type=ir.TensorType(ir.DataType.BOOL),
            shape=ir.Shape(()),
        )
        graph.inputs.append(flag)
        flags[precision] = str(flag.name)
        chosen = _choice(node, precision, flag, branch, _branch([chosen]))
    made = chosen.outputs[0]
    graph.insert_after(node, chosen)
    replace_output(node.outputs[0], made)
    remove(node)
    result = behind_limits(made)
    if not result.is_graph_output():
        graph.outputs.append(result)
    return Switch(str(node.name), str(result.name), flags)


def _choice(
    node: ir.Node, precision: str, flag: ir.Value, chosen: ir.Graph, other: ir.Graph
) -> ir.Node:
    name = f"{node.name}.switch.{precision}"
    branches = {"then_branch": chosen, "else_branch": other}
    switch = ir.node("If", [flag], branches, name=name)
    made, result = switch.outputs[0], node.outputs[0]
    made.name, made.type, made.shape = name, result.type, result.shape
    return switch
