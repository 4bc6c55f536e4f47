"""Loops that are recurrent layers become GRU, LSTM and RNN.

tf2onnx leaves every cell of Keras but the plain LSTM a Loop over the steps of the sequence, with
the products of each step in its body. The operator does the same steps, and can do the input's
products of all of them at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from ..extents import extent
from ..loops import behind_identities
from ..rewrite import NearMiss
from ..values import (
    attribute,
    constant,
    insert,
    new_constant,
    rank,
    remove_with_body,
    replace_output,
    scalar,
)
from .cells import Cell, find_cell
from .steps import Steps, steps

if TYPE_CHECKING:
    from ..pipeline import Report


def fuse_recurrent(model: ir.Model, report: Report) -> int:
    """Replace Loops by recurrent operators; returns how many."""
    if model.opset_imports.get("", 1) < 13:
        return 0  # what is made here has axes as inputs
    count = 0
    for graph in list(model.graphs()):
        for node in list(graph):
            if node.op_type == "Loop" and not node.domain and _may_be_recurrent(node):
                count += _fuse(node, report)
    return count


def _may_be_recurrent(loop: ir.Node) -> bool:
    """Tell Loops that carry something with axes and multiply matrices from all others."""
    body = loop.attributes["body"].as_graph()
    carried = any(rank(value) != 0 for value in loop.inputs[2:])
    return carried and any(node.op_type in ("MatMul", "Gemm") for node in body)


def _fuse(loop: ir.Node, report: Report) -> int:
    subject = f"recurrent layer in {loop.name!r}"
    try:
        found = _recognise(loop)
    except NearMiss as reason:
        report.explain(f"{subject} not fused: {reason}", subject, loop)
        return 0
    _replace(loop, found)
    report.explain(f"{subject} fused: {found.cell.op_type}", subject)
    return 1


@dataclass(frozen=True)
class _Layer:
    """A recurrent layer: what it computes, on what, and where its results go."""

    cell: Cell
    sequence: ir.Value
    """Of shape (length, batch, inputs)."""
    states: tuple[int, ...]
    """Which states of the Loop are the hidden and the cell state."""
    initial: tuple[ir.Value | None, ...]
    """What they are in the beginning, of shape (batch, hidden); None for zeros."""


def _recognise(loop: ir.Node) -> _Layer:
    done = steps(loop)
    carried = [k for k in range(len(loop.inputs) - 2) if k not in done.counting]
    if not 1 <= len(carried) <= 2:
        raise NearMiss(f"it carries {len(carried)} states besides the number of the step")
    hidden = _hidden_size(loop, carried)
    for k in carried:
        if loop.inputs[2 + k].dtype != ir.DataType.FLOAT:  # type: ignore[union-attr]
            raise NearMiss("it is not float32")
    states, cell = _cell(done, carried, hidden)
    sequence = _sequence(cell.x, done)
    initial = tuple(_initial(loop.inputs[2 + k], sequence) for k in states)
    layer = _Layer(cell, sequence, states, initial)
    _check_results(loop, layer, done)
    return layer


def _hidden_size(loop: ir.Node, carried: list[int]) -> int:
    sizes = {extent(loop.inputs[2 + k], 1) for k in carried}
    size = sizes.pop()
    if sizes or not isinstance(size, int):
        raise NearMiss("the number of columns of its states is not known")
    if any(rank(loop.inputs[2 + k]) != 2 for k in carried):
        raise NearMiss("its states are not of shape (batch, hidden)")
    return size


def _cell(done: Steps, carried: list[int], hidden: int) -> tuple[tuple[int, ...], Cell]:
    """Find the cell, and which state is which."""
    reasons = []
    for order in itertools.permutations(carried):
        pairs = [(done.before(k), behind_identities(done.after(k))) for k in order]
        try:
            return order, find_cell(pairs, hidden)
        except NearMiss as reason:
            reasons.append(str(reason))
    raise NearMiss(min(reasons, key=lambda text: text.startswith("the new hidden state is no")))


def _sequence(x: ir.Value, done: Steps) -> ir.Value:
    """Find the sequence whose elements are read one a step, all of them."""
    node = x.producer()
    if node is None or node.op_type != "Gather" or node.domain or None in node.inputs[:2]:
        raise NearMiss(f"{x.name!r} is no element of a sequence")
    data, index = node.inputs
    assert data is not None and index is not None
    if attribute(node, "axis", 0) != 0 or rank(data) != 3 or not done.counts(index):
        raise NearMiss(f"{x.name!r} is no element of a sequence of shape (length, batch, inputs)")
    if data.producer() is not None and data.producer().graph is node.graph:  # type: ignore[union-attr]
        raise NearMiss(f"the sequence {data.name!r} is made in each step")
    length = extent(data, 0)
    if length is None or length != done.trips:
        raise NearMiss(
            f"it does {done.trips} steps, and the sequence {data.name!r} has {length} elements"
        )
    return data


def _initial(value: ir.Value | None, sequence: ir.Value) -> ir.Value | None:
    """Return the state in the beginning, None where it is zero."""
    assert value is not None
    batch = extent(sequence, 1)
    if batch is None or extent(value, 0) != batch:
        raise NearMiss(
            f"the state {value.name!r} has {extent(value, 0)} rows, the sequence's elements {batch}"
        )
    array, node = constant(value), value.producer()
    if array is not None:
        return value if array.any() else None
    if node is not None and node.op_type == "Expand" and scalar(node.inputs[0]) == 0.0:
        return None
    if node is not None and node.op_type == "ConstantOfShape":
        filled = node.attributes.get("value")
        if filled is None or not filled.as_tensor().numpy().any():
            return None
    return value


def _check_results(loop: ir.Node, layer: _Layer, done: Steps) -> None:
    """Nothing may be read that the operator does not give."""
    hidden = behind_identities(done.after(layer.states[0]))
    states = len(loop.inputs) - 2
    for index, output in enumerate(loop.outputs):
        if not (output.uses() or output.is_graph_output()):
            continue
        if index < states and index not in layer.states:
            raise NearMiss(f"{output.name!r}, the number of steps, is used")
        if index >= states and behind_identities(done.after(index)) is not hidden:
            raise NearMiss(f"{output.name!r} is used, and collects other than hidden states")


def _replace(loop: ir.Node, layer: _Layer) -> None:
    graph, name, cell = loop.graph, loop.name or "Loop", layer.cell
    assert isinstance(graph, ir.Graph)
    made: list[ir.Node] = []

    def add(op_type: str, inputs: list[ir.Value | None], outputs: int = 1, **more: int) -> ir.Node:
        node = ir.node(op_type, inputs, more, num_outputs=outputs, name=f"{name}.{op_type}")
        made.append(node)
        return node

    def weight(array: np.ndarray, what: str) -> ir.Value:
        return new_constant(graph, array[None], f"{name}.{what}")

    weights = cell.weights.transpose(0, 2, 1).reshape(-1, cell.weights.shape[1])
    hidden = cell.recurrence.shape[-1]
    recurrence = cell.recurrence.transpose(0, 2, 1).reshape(-1, hidden)
    bias = np.concatenate([cell.input_bias.reshape(-1), cell.recurrent_bias.reshape(-1)])
    first = new_constant(graph, np.array([0], np.int64), f"{name}.axis")
    second = new_constant(graph, np.array([1], np.int64), f"{name}.axis")
    inputs: list[ir.Value | None] = [layer.sequence, weight(weights, "W"), weight(recurrence, "R")]
    inputs.append(weight(bias, "B") if bias.any() else None)
    given = [None if x is None else add("Unsqueeze", [x, first]).outputs[0] for x in layer.initial]
    inputs += [None, *given]
    while inputs[-1] is None:
        inputs.pop()
    node = add(cell.op_type, inputs, 1 + len(layer.states), hidden_size=hidden, **cell.attributes)
    length, batch = extent(layer.sequence, 0), extent(layer.sequence, 1)
    shapes = [[length, 1, batch, hidden], *([[1, batch, hidden]] * len(layer.states))]
    for value, shape in zip(node.outputs, shapes, strict=True):
        value.shape, value.type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
    pairs = list(_results(loop, layer, node))
    replaced = []
    for output, value, axis in pairs:
        squeezed = add("Squeeze", [value, first if axis == 0 else second]).outputs[0]
        kept = [size for k, size in enumerate(value.shape or ()) if k != axis]
        squeezed.shape, squeezed.type = ir.Shape(kept), value.type
        replaced.append((output, squeezed))
    insert(loop, made)
    for output, value in replaced:
        replace_output(output, value)
    remove_with_body(loop)


def _results(
    loop: ir.Node, layer: _Layer, node: ir.Node
) -> Iterator[tuple[ir.Value, ir.Value, int]]:
    """Results of the Loop that are read, what gives them now, and the axis that goes."""
    for index, output in enumerate(loop.outputs):
        if output.uses() or output.is_graph_output():
            if index in layer.states:
                yield output, node.outputs[1 + layer.states.index(index)], 0
            else:
                yield output, node.outputs[0], 1
