"""Functions of a quantized tensor alone, quantized again: tables of 256 bytes, for a runtime only.

Between a DequantizeLinear and a QuantizeLinear, elementwise nodes whose other operands are constant
numbers give one byte for each byte. However long such a chain is, and however often it is quantized
on its way, its results are looked up: a Gather whose indices are the bytes themselves (of int8, the
negative ones from the end), which the standard has for wider integers. The table is made by the
same nodes, of the 256 numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from .edits import insert, new_constant, remove, replace
from .operators import lookup
from .quantized_values import Grid, dequantized
from .values import constant, graphs, rank

_GRIDS = ("QuantizeLinear", "DequantizeLinear")


def tabulate(model: ir.Model, least: int) -> None:
    """Replace functions of bytes by tables, in place.

    Parameters
    ----------
    model : onnx_ir.Model
    least : int
        Nodes that a function has at least, besides those that quantize and dequantize.
    """
    for graph in graphs(model):
        sources = _sources(graph)
        for node in reversed(list(graph)):
            value = node.outputs[0] if node.outputs else None
            if node.graph is not graph or value not in sources or node.op_type != "QuantizeLinear":
                continue
            source = sources[value]
            if not value.is_graph_output() and _is_inside(value, source, sources):
                continue  # part of a larger function
            function = list(_nodes(value, source))
            if sum(each.op_type not in _GRIDS for each in function) >= least:
                _rewrite(graph, node, source, function)


def _sources(graph: ir.Graph) -> dict[ir.Value, ir.Value]:
    """Bytes that values are functions of, as far back as there are such."""
    sources: dict[ir.Value, ir.Value] = {}
    for node in graph:
        if node.domain or len(node.outputs) != 1:
            continue
        if node.op_type in _GRIDS:
            x = node.inputs[0] if Grid.of(node) is not None else None
            if x is not None and node.op_type == "DequantizeLinear" and constant(x) is None:
                sources[node.outputs[0]] = sources.get(x, x)
            elif x in sources:
                sources[node.outputs[0]] = sources[x]
        elif lookup(node).elementwise and lookup(node).deterministic:
            of_inputs = {
                None if value is None else sources.get(value)
                for value in node.inputs
                if not _is_number(value, node)
            }
            found = of_inputs.pop() if len(of_inputs) == 1 else None
            if found is not None and rank(found) == rank(node.outputs[0]) is not None:
                sources[node.outputs[0]] = found
    return sources


def _is_number(value: ir.Value | None, node: ir.Node) -> bool:
    """Tell whether an operand is left out, or a constant number of no more axes than the result."""
    number = _number(value)
    return value is None or (number is not None and number.ndim <= (rank(node.outputs[0]) or 0))


def _number(value: ir.Value | None) -> np.ndarray | None:
    """Contents of a constant of one element, also of a quantized one."""
    number, maker = constant(value), dequantized(value)
    grid = Grid.of(maker)
    if maker is not None and grid is not None:
        whole = constant(maker.inputs[0])
        number = None if whole is None else grid.numbers(whole)
    return number if number is not None and number.size == 1 else None


def _is_inside(value: ir.Value, source: ir.Value, sources: dict[ir.Value, ir.Value]) -> bool:
    """Tell whether all that reads a value makes functions of the same bytes of it, as bytes."""
    for node in value.consumers():
        result = node.outputs[0]
        if sources.get(result) is not source or result.is_graph_output():
            return False
        if node.op_type != "QuantizeLinear" and not _is_inside(result, source, sources):
            return False
    return True


def _nodes(value: ir.Value, source: ir.Value) -> Iterator[ir.Node]:
    """Nodes between a source and a value, each behind those it reads."""
    seen: set[ir.Value] = {source}

    def walk(value: ir.Value) -> Iterator[ir.Node]:
        node = value.producer()
        if value in seen or node is None or _number(value) is not None:
            return
        seen.add(value)
        for each in node.inputs:
            if each is not None:
                yield from walk(each)
        yield node

    yield from walk(value)


def _rewrite(graph: ir.Graph, last: ir.Node, source: ir.Value, function: list[ir.Node]) -> None:
    """Let a node's result be looked up in what its function makes of all bytes."""
    assert source.dtype is not None
    result = last.outputs[0]
    numbers = np.arange(256, dtype=np.uint8).view(source.dtype.numpy())
    copies = {source: new_constant(graph, numbers, f"{result.name}.bytes")}
    made: list[ir.Node] = []
    for node in function:
        inputs = [copies.get(value, value) if value is not None else None for value in node.inputs]
        inputs = [_flat(graph, value) for value in inputs]
        copy = ir.node(
            node.op_type, inputs, dict(node.attributes), name=f"{last.name}.table{len(made)}"
        )
        old, new = node.outputs[0], copy.outputs[0]
        new.name, new.type, new.shape = f"{result.name}.table{len(made)}", old.type, ir.Shape([256])
        copies[old] = new
        made.append(copy)
    table = copies[result]
    found = ir.node("Gather", [table, source], name=last.name)
    y = found.outputs[0]
    y.name, y.type, y.shape = f"{result.name}.found", result.type, result.shape
    insert(last, [*made, found])
    replace(last, y)
    for node in reversed(function[:-1]):
        if not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            remove(node)


def _flat(graph: ir.Graph, value: ir.Value | None) -> ir.Value | None:
    """Return a number that broadcasts to one axis."""
    number = _number(value)
    if value is None or number is None or (constant(value) is not None and number.ndim <= 1):
        return value
    return new_constant(graph, number.reshape(()), f"{value.name}.number")
